//! Golden bytes: every version of every event as it stands on somebody's disk. A file of tests/golden/ is never changed, only joined by the next version's.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};

use bytes::Bytes;
use carillon_protocol::command::SpecialUse;
use carillon_protocol::date::InternalDate;
use carillon_protocol::flag::FlagChange;
use carillon_storage::codec::{self, CodecError};
use carillon_storage::{Author, BodyHash, Chain, Record};

use crate::account::event::{AccountEvent, Creation, Move};
use crate::directory::event::ServerEvent;
use crate::given::{flags, name, uid, uid_validity, uids};
use crate::id::{AccountId, MailboxId, SessionId};
use crate::mailbox::event::{Arrival, Details, Expunging, MailboxEvent, Origin};
use crate::{account, directory, mailbox};

fn golden(file: &str) -> BTreeMap<String, Vec<u8>> {
    let path = format!("{}/../tests/golden/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let line = |line: &str| {
        let (name, hex) = line.split_once(": ").unwrap();
        (name.to_owned(), hex.as_bytes().chunks(2).map(byte).collect())
    };
    lines.map(line).collect()
}

/// Each payload is encoded to its golden bytes, and its golden bytes are decoded to it.
fn check<E: Debug + PartialEq>(
    file: &str,
    payloads: &[(&str, Vec<E>)],
    encode: impl Fn(&[E]) -> Result<Bytes, CodecError>,
    decode: impl Fn(&[u8]) -> Result<Vec<E>, CodecError>,
) {
    let golden = golden(file);
    let mut missing = String::new();
    for (name, events) in payloads {
        let bytes = encode(events).unwrap();
        match golden.get(*name) {
            Some(golden) => {
                assert_eq!(decode(golden).as_ref(), Ok(events), "{file}: {name}");
                assert_eq!(&bytes[..], &golden[..], "{file}: {name} is written in another way: that needs another version");
            }
            None => {
                write!(missing, "{name}: ").unwrap();
                bytes.iter().for_each(|byte| write!(missing, "{byte:02x}").unwrap());
                missing.push('\n');
            }
        }
    }
    assert!(missing.is_empty(), "not in tests/golden/{file}:\n{missing}");
    assert_eq!(golden.len(), payloads.len(), "tests/golden/{file} has more than is tested");
}

/// All values of a type, each from the one before it. The functions that are given here match without a wildcard, so that whoever adds a variant is told by the compiler
/// that it has no golden bytes yet.
fn all<T>(next: impl Fn(Option<&T>) -> Option<T>) -> Vec<T> {
    let mut values = Vec::new();
    while let Some(value) = next(values.last()) {
        values.push(value);
    }
    values
}

fn origins() -> Vec<Origin> {
    all(|before: Option<&Origin>| match before {
        None => Some(Origin::Append),
        Some(Origin::Append) => Some(Origin::Delivery),
        Some(Origin::Delivery) => Some(Origin::Copy { mailbox: MailboxId(0x0123_4567_89ab_cdef), uid: uid(300) }),
        Some(Origin::Copy { .. }) => Some(Origin::Restore),
        Some(Origin::Restore) => None,
    })
}

fn flag_changes() -> Vec<FlagChange> {
    all(|before| match before {
        None => Some(FlagChange::Add),
        Some(FlagChange::Add) => Some(FlagChange::Remove),
        Some(FlagChange::Remove) => Some(FlagChange::Replace),
        Some(FlagChange::Replace) => None,
    })
}

fn expungings() -> Vec<Expunging> {
    all(|before| match before {
        None => Some(Expunging::Expunge),
        Some(Expunging::Expunge) => Some(Expunging::Close),
        Some(Expunging::Close) => Some(Expunging::MovedTo { mailbox: MailboxId(u64::MAX), uids: uids([9, 10, 11, 12]) }),
        Some(Expunging::MovedTo { .. }) => Some(Expunging::Replaced),
        Some(Expunging::Replaced) => None,
    })
}

fn special_uses() -> Vec<SpecialUse> {
    all(|before| match before {
        None => Some(SpecialUse::All),
        Some(SpecialUse::All) => Some(SpecialUse::Archive),
        Some(SpecialUse::Archive) => Some(SpecialUse::Drafts),
        Some(SpecialUse::Drafts) => Some(SpecialUse::Flagged),
        Some(SpecialUse::Flagged) => Some(SpecialUse::Important),
        Some(SpecialUse::Important) => Some(SpecialUse::Junk),
        Some(SpecialUse::Junk) => Some(SpecialUse::Sent),
        Some(SpecialUse::Sent) => Some(SpecialUse::Trash),
        Some(SpecialUse::Trash) => None,
    })
}

fn arrival(number: u32, origin: Origin) -> Arrival {
    let details = Details {
        prefix: number.is_multiple_of(2).then(|| b"Delivered-To: ada@example.org\r\n".as_slice().into()),
        body: BodyHash([number as u8; 32]),
        size: 5_000_000_000,
        internal_date: InternalDate { unix_seconds: -1_000_000, offset_minutes: -210 },
        save_date: 1_700_000_000,
        email_id: [0xe1; 16],
        thread_id: [0x71; 16],
    };
    Arrival { uid: uid(number), flags: flags("\\Seen \\Draft $Forwarded work"), details: details.into(), origin }
}

/// The payloads of a mailbox event's kind.
fn mailbox_payloads(event: &MailboxEvent) -> Vec<(&'static str, Vec<MailboxEvent>)> {
    let expunged = |why| MailboxEvent::Expunged { uids: uids([2, 4, 5, u32::MAX]), why };
    match event {
        MailboxEvent::Opened { .. } => vec![("opened", vec![MailboxEvent::Opened { uid_validity: uid_validity(1_700_000_000) }])],
        MailboxEvent::Appended { .. } => {
            let arrivals = [1, 2, 300, 301].into_iter().zip(origins()).map(|(number, origin)| arrival(number, origin)).collect();
            vec![("appended", vec![MailboxEvent::Appended { arrivals }])]
        }
        MailboxEvent::FlagsChanged { .. } => {
            let changed =
                |change| MailboxEvent::FlagsChanged { uids: uids([1, 2, 3, 70_000]), change, flags: flags("\\Deleted Work") };
            let payload = |change| match change {
                FlagChange::Add => ("flags added", vec![changed(change)]),
                FlagChange::Remove => ("flags removed", vec![changed(change)]),
                FlagChange::Replace => ("flags replaced", vec![changed(change)]),
            };
            flag_changes().into_iter().map(payload).collect()
        }
        MailboxEvent::Expunged { .. } => {
            let payload = |why| match why {
                Expunging::Expunge => ("expunged", vec![expunged(why)]),
                Expunging::Close => ("expunged by close", vec![expunged(why)]),
                Expunging::MovedTo { .. } => ("moved", vec![expunged(why)]),
                Expunging::Replaced => {
                    let arrivals = vec![arrival(7, Origin::Append)];
                    ("replaced", vec![MailboxEvent::Appended { arrivals }, expunged(why)])
                }
            };
            expungings().into_iter().map(payload).collect()
        }
        MailboxEvent::Ended => vec![("ended", vec![MailboxEvent::Ended]), ("nothing", vec![])],
    }
}

#[test]
fn mailbox_version_1() {
    let kinds = all(|before: Option<&MailboxEvent>| match before {
        None => Some(MailboxEvent::Opened { uid_validity: uid_validity(1) }),
        Some(MailboxEvent::Opened { .. }) => Some(MailboxEvent::Appended { arrivals: vec![] }),
        Some(MailboxEvent::Appended { .. }) => {
            Some(MailboxEvent::FlagsChanged { uids: uids([]), change: FlagChange::Add, flags: flags("") })
        }
        Some(MailboxEvent::FlagsChanged { .. }) => Some(MailboxEvent::Expunged { uids: uids([]), why: Expunging::Expunge }),
        Some(MailboxEvent::Expunged { .. }) => Some(MailboxEvent::Ended),
        Some(MailboxEvent::Ended) => None,
    });
    let payloads: Vec<_> = kinds.iter().flat_map(mailbox_payloads).collect();
    check("mailbox-1.txt", &payloads, mailbox::event::encode, |bytes| mailbox::event::decode(1, bytes));
}

fn creation(text: &str, special_use: &[SpecialUse]) -> Creation {
    let (mailbox, uid_validity) = (MailboxId(0x0123_4567_89ab_cdef), uid_validity(u32::MAX));
    Creation { mailbox, name: name(text), uid_validity, special_use: special_use.to_vec() }
}

/// The payloads of an account event's kind.
fn account_payloads(event: &AccountEvent) -> Vec<(&'static str, Vec<AccountEvent>)> {
    match event {
        AccountEvent::MailboxCreated(_) => vec![
            ("created", vec![AccountEvent::MailboxCreated(creation("Entw\u{fc}rfe/2024", &special_uses()))]),
            ("created with its superior", ["x", "x/y"].map(|text| AccountEvent::MailboxCreated(creation(text, &[]))).to_vec()),
        ],
        AccountEvent::MailboxRenamed { .. } => {
            let moves = vec![Move { mailbox: MailboxId(1), from: name("a/b"), to: name("c/b") }];
            let subscriptions = vec![(name("a"), name("c")), (name("a/b"), name("c/b"))];
            vec![("renamed", vec![AccountEvent::MailboxRenamed { moves, created: vec![creation("c", &[])], subscriptions }])]
        }
        AccountEvent::MailboxDeleted { .. } => {
            vec![("deleted", vec![AccountEvent::MailboxDeleted { mailbox: MailboxId(2), name: name("Trash") }])]
        }
        AccountEvent::Subscribed(_) => vec![("subscribed", vec![AccountEvent::Subscribed(name("INBOX"))])],
        AccountEvent::Unsubscribed(_) => vec![("unsubscribed", vec![AccountEvent::Unsubscribed(name("a/b/c"))])],
    }
}

#[test]
fn account_version_1() {
    let kinds = all(|before: Option<&AccountEvent>| match before {
        None => Some(AccountEvent::MailboxCreated(creation("x", &[]))),
        Some(AccountEvent::MailboxCreated(_)) => {
            Some(AccountEvent::MailboxRenamed { moves: vec![], created: vec![], subscriptions: vec![] })
        }
        Some(AccountEvent::MailboxRenamed { .. }) => {
            Some(AccountEvent::MailboxDeleted { mailbox: MailboxId(2), name: name("x") })
        }
        Some(AccountEvent::MailboxDeleted { .. }) => Some(AccountEvent::Subscribed(name("x"))),
        Some(AccountEvent::Subscribed(_)) => Some(AccountEvent::Unsubscribed(name("x"))),
        Some(AccountEvent::Unsubscribed(_)) => None,
    });
    let payloads: Vec<_> = kinds.iter().flat_map(account_payloads).collect();
    check("account-1.txt", &payloads, account::event::encode, |bytes| account::event::decode(1, bytes));
}

#[test]
fn server_version_1() {
    let session = SessionId(0x0069_55b9_0000_0005);
    let events = all(|before: Option<&ServerEvent>| match before {
        None => Some(ServerEvent::SessionOpened {
            session,
            account: AccountId(7),
            peer: "192.0.2.1:40000".to_owned(),
            tls: "TLSv1.3 TLS13_AES_256_GCM_SHA384".to_owned(),
            client: String::new(),
        }),
        Some(ServerEvent::SessionOpened { .. }) => {
            Some(ServerEvent::SessionIdentified { session, client: "\"name\" \"Thunderbird\"".to_owned() })
        }
        Some(ServerEvent::SessionIdentified { .. }) => Some(ServerEvent::SessionClosed { session }),
        Some(ServerEvent::SessionClosed { .. }) => None,
    });
    let payload = |event| match event {
        ServerEvent::SessionOpened { .. } => ("opened", vec![event]),
        ServerEvent::SessionIdentified { .. } => ("identified", vec![event]),
        ServerEvent::SessionClosed { .. } => ("closed", vec![event]),
    };
    let payloads: Vec<_> = events.into_iter().map(payload).collect();
    check("server-1.txt", &payloads, directory::event::encode, |bytes| directory::event::decode(1, bytes));
}

/// The envelope of all payloads, as docs/log-format.md describes it.
#[test]
fn record_version_1() {
    let author = Author { session: 0x0069_55b9_0000_0005, command: 300, tag: "a1".to_owned(), verb: "UID STORE".to_owned() };
    let mut record = Record {
        log: MailboxId(0x0123_4567_89ab_cdef).log(),
        position: 70_000,
        commit: 251,
        at: 1_700_000_000_000_000,
        author,
        version: 1,
        events: Bytes::from_static(b"\x00events"),
        chain: Chain([0xc4; 32]),
    };
    record.chain = record.chain_after(Chain([0x11; 32]));
    let payloads = [("a record, and its chain behind 32 bytes of 11", vec![record])];
    check(
        "record-1.txt",
        &payloads,
        |records| codec::encode(&records[0]).map(Bytes::from),
        |bytes| Ok(vec![codec::decode(bytes)?]),
    );
}

#[test]
fn another_version_is_refused() {
    assert!(mailbox::event::decode(2, &[0]).is_err() && account::event::decode(0, &[0]).is_err());
    assert!(directory::event::decode(2, &[0]).is_err());
}
