//! Records as JSON, and rows as lines for people. No bodies, no secrets. Keys are never renamed; new ones may come.

use carillon_actors::account::event::{AccountEvent, Creation};
use carillon_actors::directory::event::ServerEvent;
use carillon_actors::id::{AccountId, LOG_KIND_ACCOUNT, LOG_KIND_MAILBOX, LOG_KIND_SERVER, MailboxId};
use carillon_actors::mailbox::event::{Arrival, Expunging, MailboxEvent, Origin};
use carillon_protocol::flag::{FlagChange, FlagSet};
use carillon_storage::Record;
use serde_json::{Value, json};

use super::names::{Names, SERVER, text};
use crate::calendar;
use crate::terminal::plain;

/// Every `type` that a row can have, beside `unreadable` and `unknown` for what only a newer version understands.
pub const TYPES: [&str; 13] = [
    "session_opened",
    "session_identified",
    "session_closed",
    "mailbox_created",
    "mailbox_renamed",
    "mailbox_deleted",
    "subscribed",
    "unsubscribed",
    "opened",
    "appended",
    "flags_changed",
    "expunged",
    "ended",
];

/// The rows of a record: one for each of its events.
pub fn rows(record: &Record, names: &Names) -> Vec<Value> {
    events(record, names).into_iter().map(|(kind, data)| envelope(record, names, kind, data)).collect()
}

/// The types of a record's events.
pub fn types(record: &Record) -> Vec<&'static str> {
    events(record, &Names::default()).into_iter().map(|(kind, _)| kind).collect()
}

fn events(record: &Record, names: &Names) -> Vec<(&'static str, Value)> {
    let decoded = match record.log.kind {
        LOG_KIND_SERVER => carillon_actors::directory::event::decode(record.version, &record.events)
            .map(|events| events.iter().map(|event| server(event, names)).collect()),
        LOG_KIND_ACCOUNT => carillon_actors::account::event::decode(record.version, &record.events)
            .map(|events| events.iter().map(account).collect()),
        LOG_KIND_MAILBOX => carillon_actors::mailbox::event::decode(record.version, &record.events)
            .map(|events| events.iter().map(|event| mailbox(event, names)).collect()),
        kind => Ok(vec![("unknown", json!({ "kind": kind }))]),
    };
    decoded.unwrap_or_else(|error| vec![("unreadable", json!({ "error": error.to_string() }))])
}

fn envelope(record: &Record, names: &Names, kind: &str, data: Value) -> Value {
    let author = &record.author;
    let cause = [author.tag.as_str(), author.verb.as_str()].join(" ");
    let mut row = json!({
        "v": 1,
        "seq": record.position,
        "commit": record.commit,
        "ts": calendar::rfc3339(record.at),
        "type": kind,
        "session": format!("{:016x}", author.session),
        "command": author.command,
        "cause": cause.trim(),
        "data": data,
    });
    let mut put = |key: &str, value: String| {
        if let Some(object) = row.as_object_mut() {
            object.insert(key.to_owned(), Value::String(value));
        }
    };
    let log = match record.log.kind {
        LOG_KIND_SERVER => SERVER.to_owned(),
        LOG_KIND_ACCOUNT => {
            let account = AccountId(record.log.id);
            put("user", names.user(account));
            put("account_id", account.to_string());
            names.log(account)
        }
        _ => {
            let mailbox = MailboxId(record.log.id);
            put("mailbox_id", mailbox.to_string());
            match names.mailbox(mailbox) {
                Some(named) => {
                    put("user", names.user(named.account));
                    put("account_id", named.account.to_string());
                    put("mailbox", text(&named.name));
                    format!("{}/{}", names.user(named.account), text(&named.name))
                }
                None => mailbox.to_string(),
            }
        }
    };
    put("log", log);
    row
}

fn server(event: &ServerEvent, names: &Names) -> (&'static str, Value) {
    match event {
        ServerEvent::SessionOpened { session, account, peer, tls, client } => {
            let user = names.user(*account);
            let data = json!({
                "session": session.to_string(), "account_id": account.to_string(), "user": user, "peer": peer, "tls": tls, "client": client,
            });
            ("session_opened", data)
        }
        ServerEvent::SessionIdentified { session, client } => {
            ("session_identified", json!({ "session": session.to_string(), "client": client }))
        }
        ServerEvent::SessionClosed { session } => ("session_closed", json!({ "session": session.to_string() })),
    }
}

fn creation(creation: &Creation) -> Value {
    let special_use: Vec<String> = creation.special_use.iter().map(|special| format!("{special:?}").to_lowercase()).collect();
    let (mailbox, name) = (creation.mailbox.to_string(), text(&creation.name));
    json!({ "mailbox_id": mailbox, "name": name, "uid_validity": creation.uid_validity.get(), "special_use": special_use })
}

fn account(event: &AccountEvent) -> (&'static str, Value) {
    match event {
        AccountEvent::MailboxCreated(made) => ("mailbox_created", creation(made)),
        AccountEvent::MailboxRenamed { moves, created, subscriptions } => {
            let moves: Vec<Value> = moves
                .iter()
                .map(|step| json!({ "mailbox_id": step.mailbox.to_string(), "from": text(&step.from), "to": text(&step.to) }))
                .collect();
            let subscriptions: Vec<Value> =
                subscriptions.iter().map(|(from, to)| json!({ "from": text(from), "to": text(to) })).collect();
            let created: Vec<Value> = created.iter().map(creation).collect();
            ("mailbox_renamed", json!({ "moves": moves, "created": created, "subscriptions": subscriptions }))
        }
        AccountEvent::MailboxDeleted { mailbox, name } => {
            ("mailbox_deleted", json!({ "mailbox_id": mailbox.to_string(), "name": text(name) }))
        }
        AccountEvent::Subscribed(name) => ("subscribed", json!({ "name": text(name) })),
        AccountEvent::Unsubscribed(name) => ("unsubscribed", json!({ "name": text(name) })),
    }
}

fn mailbox(event: &MailboxEvent, names: &Names) -> (&'static str, Value) {
    match event {
        MailboxEvent::Opened { uid_validity } => ("opened", json!({ "uid_validity": uid_validity.get() })),
        MailboxEvent::Appended { arrivals } => {
            let arrivals: Vec<Value> = arrivals.iter().map(|arrival| arrived(arrival, names)).collect();
            ("appended", json!({ "messages": arrivals }))
        }
        MailboxEvent::FlagsChanged { uids, change, flags } => {
            let change = match change {
                FlagChange::Add => "add",
                FlagChange::Remove => "remove",
                FlagChange::Replace => "replace",
            };
            ("flags_changed", json!({ "uids": uids.to_string(), "change": change, "flags": flag_names(flags) }))
        }
        MailboxEvent::Expunged { uids, why } => {
            let mut data = json!({ "uids": uids.to_string() });
            let (why, target) = match why {
                Expunging::Expunge => ("expunge", None),
                Expunging::Close => ("close", None),
                Expunging::Replaced => ("replaced", None),
                Expunging::MovedTo { mailbox, uids } => ("moved", Some(place(*mailbox, uids.to_string(), names))),
            };
            if let Some(object) = data.as_object_mut() {
                object.insert("why".to_owned(), why.into());
                target.into_iter().for_each(|target| drop(object.insert("to".to_owned(), target)));
            }
            ("expunged", data)
        }
        MailboxEvent::Ended => ("ended", json!({})),
    }
}

fn place(mailbox: MailboxId, uids: String, names: &Names) -> Value {
    let name = names.mailbox(mailbox).map(|named| text(&named.name));
    json!({ "mailbox_id": mailbox.to_string(), "mailbox": name, "uids": uids })
}

fn flag_names(flags: &FlagSet) -> Vec<String> {
    flags.iter().map(|flag| flag.to_string()).collect()
}

fn arrived(arrival: &Arrival, names: &Names) -> Value {
    let details = &arrival.details;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (origin, from) = match &arrival.origin {
        Origin::Append => ("append", Value::Null),
        Origin::Delivery => ("delivery", Value::Null),
        Origin::Copy { mailbox, uid } => ("copy", place(*mailbox, uid.to_string(), names)),
        Origin::Restore => ("restore", Value::Null),
    };
    json!({
        "uid": arrival.uid.get(),
        "size": details.size,
        "flags": flag_names(&arrival.flags),
        "internal_date": details.internal_date.unix_seconds,
        "body": details.body.to_string(),
        "email_id": hex(&details.email_id),
        "thread_id": hex(&details.thread_id),
        "origin": origin,
        "from": from,
    })
}

/// A row in one line: when, which log and position, what, of which messages, by whom.
pub fn short(row: &Value) -> String {
    let string = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |key: &str| row.get(key).and_then(Value::as_u64).unwrap_or_default();
    let time = string("ts").get(..23).unwrap_or_default().replace('T', " ");
    let data = row.get("data").cloned().unwrap_or_default();
    let detail = detail(&string("type"), &data);
    let cause = if string("cause").is_empty() { "the server".to_owned() } else { string("cause") };
    plain(&format!(
        "{time} {} #{} {} {detail}{}[{} {cause}]",
        string("log"),
        number("seq"),
        string("type"),
        if detail.is_empty() { "" } else { "  " },
        string("session"),
    ))
}

fn detail(kind: &str, data: &Value) -> String {
    let get = |key: &str| match data.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    };
    let list = |key: &str| data.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let words = |values: Vec<Value>| values.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>().join(" ");
    match kind {
        "appended" => {
            let one = |message: &Value| {
                let part = |key: &str| message.get(key).map(ToString::to_string).unwrap_or_default().replace('"', "");
                format!("uid {} ({} bytes, {})", part("uid"), part("size"), part("origin"))
            };
            let messages = list("messages");
            match messages.as_slice() {
                [only] => one(only),
                [first, .., last] => format!("{} messages, {} to {}", messages.len(), one(first), one(last)),
                [] => String::new(),
            }
        }
        "flags_changed" => {
            let sign = match get("change").as_str() {
                "add" => "+",
                "remove" => "-",
                _ => "",
            };
            format!("uids {} {sign}({})", get("uids"), words(list("flags")))
        }
        "expunged" => {
            let to = data.get("to").and_then(|to| to.get("mailbox")).and_then(Value::as_str);
            format!("uids {} ({}{})", get("uids"), get("why"), to.map(|to| format!(" to {to}")).unwrap_or_default())
        }
        "mailbox_renamed" => {
            let step = |step: &Value| {
                let part = |key: &str| step.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
                format!("{} -> {}", part("from"), part("to"))
            };
            list("moves").iter().map(step).collect::<Vec<_>>().join(", ")
        }
        "session_opened" => format!("{} from {}", get("user"), get("peer")),
        "opened" => format!("uidvalidity {}", get("uid_validity")),
        _ => get(if data.get("name").is_some() { "name" } else { "client" }),
    }
}
