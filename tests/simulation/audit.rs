//! The auditor: a fresh session reads everything while nobody works; the books and what every other session believes must agree with it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use crate::client::{Client, Known, flags_of, uid_of};
use crate::people::{Books, Life};
use crate::verdict::{Census, Found, Mailbox};

/// How long a push may take, and how often one looks.
const PATIENCE: Duration = Duration::from_secs(5);
const GLANCE: Duration = Duration::from_millis(10);

/// FETCH of all that the books want to know.
pub const FETCH_ALL: &str = "FETCH 1:* (UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])";

/// The end of a span: a fresh session reads everything, and the books must agree. `None` where the server is gone.
pub async fn audit(life: &Rc<Life>) -> Option<Census> {
    let mut client = life.connect("auditor").await?;
    let census = take_census(&mut client, &life.books).await;
    let mut books = life.books.borrow_mut();
    books.complaints.append(&mut client.complaints);
    let census = census?;
    books.judge(&census);
    Some(census)
}

async fn take_census(client: &mut Client, books: &Books) -> Option<Census> {
    let mailboxes = check_names(client, books).await?;
    let mut census = Census::new();
    for (name, mailbox) in mailboxes {
        let answer = client.select(&name, true).await;
        if answer.is_lost() {
            return None;
        }
        let Some(selected) = client.selected.clone() else {
            client.complain(format!("{name} cannot be selected: {}", answer.status));
            continue;
        };
        let exists = selected.view.len();
        let lines = if exists == 0 { Vec::new() } else { fetch_all(client, books).await? };
        let messages: BTreeMap<u32, Found> = lines.iter().filter_map(|line| found(line)).collect();
        let uids = client.uids();
        if messages.len() != exists || uids.len() != exists || !uids.is_sorted_by(|one, other| one < other) {
            client.complain(format!("{name} has {exists} messages with the UIDs {uids:?}"));
        }
        books.borrow_mut().has_uid_validity(mailbox, selected.uid_validity);
        let (uid_next, flags) = (selected.uid_next, selected.flags);
        let known = census.insert(selected.uid_validity, Mailbox { name: name.clone(), uid_next, flags, messages });
        if let Some(other) = known {
            client.complain(format!("{name} and {} have one UIDVALIDITY", other.name));
        }
    }
    Some(census)
}

/// What a FETCH of all says; the books note it.
pub async fn fetch_all(client: &mut Client, books: &Books) -> Option<Vec<String>> {
    let answer = client.command(FETCH_ALL).await;
    if answer.is_lost() {
        return None;
    }
    let uid_validity = client.selected.as_ref().map_or(0, |selected| selected.uid_validity);
    for (uid, Found { number, .. }) in answer.untagged.iter().filter_map(|line| found(line)) {
        books.borrow_mut().saw((uid_validity, uid), number);
    }
    Some(answer.untagged)
}

fn found(line: &str) -> Option<(u32, Found)> {
    let (_, subject) = line.split_once("Subject: message ")?;
    let number = subject.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()?;
    Some((uid_of(line)?, Found { number, flags: flags_of(line)? }))
}

/// LIST and LSUB must show one of the possible outcomes; from here on it is the one. The names with the numbers of their mailboxes' making; `None` where the server
/// is gone.
pub async fn check_names(client: &mut Client, books: &Books) -> Option<BTreeMap<String, u32>> {
    let (listed, subscribed) = (client.command("LIST \"\" *").await, client.command("LSUB \"\" *").await);
    if !listed.is_ok() || !subscribed.is_ok() {
        return None;
    }
    let names = |lines: &[String], kind: &str| -> BTreeSet<String> {
        let of_line = |line: &String| {
            let (attributes, name) = line.strip_prefix(&format!("* {kind} "))?.split_once(") \"/\" ")?;
            (!attributes.contains("Noselect") && !attributes.contains("NonExistent")).then(|| name.trim_matches('"').to_owned())
        };
        lines.iter().filter_map(of_line).collect()
    };
    let (mailboxes, subscribed) = (names(&listed.untagged, "LIST"), names(&subscribed.untagged, "LSUB"));
    let mut books = books.borrow_mut();
    if let Some(names) = books.possible.iter().find(|names| names.look_like(&mailboxes, &subscribed)).cloned() {
        books.possible = vec![names.clone()];
        return Some(names.mailboxes);
    }
    client.complain(format!("names are {mailboxes:?}, subscribed {subscribed:?}, possible are {:?}", books.possible));
    None
}

/// What a client believes must be what the fresh session found. One that idles is not asked to look: it must have been told, or be told soon.
pub async fn compare(client: &mut Client, census: &Census) {
    let mut waited = Duration::ZERO;
    while client.is_idling() && difference(client, census).is_some() && waited < PATIENCE {
        if !client.listen(GLANCE).await {
            return;
        }
        waited += GLANCE;
    }
    if let Some(difference) = difference(client, census) {
        let state = if client.is_idling() { "in IDLE" } else { "after NOOP" };
        client.complain(format!("{state}: {difference}"));
    }
}

fn difference(client: &Client, census: &Census) -> Option<String> {
    let selected = client.selected.as_ref()?;
    let Some(mailbox) = census.get(&selected.uid_validity) else {
        return (!selected.view.is_empty())
            .then(|| format!("{} is deleted and has {} messages", selected.name, selected.view.len()));
    };
    if selected.name != mailbox.name {
        return Some(format!("{} is believed to be {}", mailbox.name, selected.name));
    }
    if selected.flags != mailbox.flags {
        return Some(format!("the flags of {} are {:?}, believed to be {:?}", mailbox.name, mailbox.flags, selected.flags));
    }
    if selected.view.len() != mailbox.messages.len() {
        return Some(format!("{} has {} messages, believed are {}", mailbox.name, mailbox.messages.len(), selected.view.len()));
    }
    let is_other = |known: &Known, uid: u32, flags: &BTreeSet<String>| {
        known.uid.is_some_and(|known| known != uid) || known.flags.as_ref().is_some_and(|known| known != flags)
    };
    let mut pairs = selected.view.iter().zip(&mailbox.messages);
    let (known, now) = pairs.find(|(known, (uid, found))| is_other(known, **uid, &found.flags))?;
    Some(format!("a message of {} is {now:?}, believed to be {known:?}", mailbox.name))
}
