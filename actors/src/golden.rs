//! Golden bytes: every version of every event as it stands on somebody's disk. A file of tests/golden/ is never changed, only joined by the next version's.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};

use bytes::Bytes;
use carillon_protocol::command::SpecialUse;
use carillon_protocol::date::InternalDate;
use carillon_protocol::flag::FlagChange;
use carillon_storage::BodyHash;
use carillon_storage::codec::CodecError;

use crate::account::event::{AccountEvent, Creation, Move};
use crate::given::{flags, name, uid, uid_validity, uids};
use crate::id::MailboxId;
use crate::mailbox::event::{Arrival, Details, Expunging, MailboxEvent, Origin};
use crate::{account, mailbox};

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

#[test]
fn mailbox_version_1() {
    let changed = |change| MailboxEvent::FlagsChanged { uids: uids([1, 2, 3, 70_000]), change, flags: flags("\\Deleted Work") };
    let expunged = |why| MailboxEvent::Expunged { uids: uids([2, 4, 5, u32::MAX]), why };
    let source = Origin::Copy { mailbox: MailboxId(0x0123_4567_89ab_cdef), uid: uid(300) };
    let target = Expunging::MovedTo { mailbox: MailboxId(u64::MAX), uids: uids([9, 10, 11, 12]) };
    let arrivals =
        vec![arrival(1, Origin::Append), arrival(2, Origin::Delivery), arrival(300, source), arrival(301, Origin::Restore)];
    let payloads = [
        ("opened", vec![MailboxEvent::Opened { uid_validity: uid_validity(1_700_000_000) }]),
        ("appended", vec![MailboxEvent::Appended { arrivals }]),
        ("flags added", vec![changed(FlagChange::Add)]),
        ("flags removed", vec![changed(FlagChange::Remove)]),
        ("flags replaced", vec![changed(FlagChange::Replace)]),
        ("expunged", vec![expunged(Expunging::Expunge)]),
        ("expunged by close", vec![expunged(Expunging::Close)]),
        ("moved", vec![expunged(target)]),
        ("replaced", vec![MailboxEvent::Appended { arrivals: vec![arrival(7, Origin::Append)] }, expunged(Expunging::Replaced)]),
        ("ended", vec![MailboxEvent::Ended]),
        ("nothing", vec![]),
    ];
    check("mailbox-1.txt", &payloads, mailbox::event::encode, |bytes| mailbox::event::decode(1, bytes));
}

#[test]
fn account_version_1() {
    let uses = [
        SpecialUse::All,
        SpecialUse::Archive,
        SpecialUse::Drafts,
        SpecialUse::Flagged,
        SpecialUse::Important,
        SpecialUse::Junk,
        SpecialUse::Sent,
        SpecialUse::Trash,
    ];
    let creation = |text: &str, special_use: &[SpecialUse]| Creation {
        mailbox: MailboxId(0x0123_4567_89ab_cdef),
        name: name(text),
        uid_validity: uid_validity(u32::MAX),
        special_use: special_use.to_vec(),
    };
    let moves = vec![Move { mailbox: MailboxId(1), from: name("a/b"), to: name("c/b") }];
    let subscriptions = vec![(name("a"), name("c")), (name("a/b"), name("c/b"))];
    let renamed = AccountEvent::MailboxRenamed { moves, created: vec![creation("c", &[])], subscriptions };
    let payloads = [
        ("created", vec![AccountEvent::MailboxCreated(creation("Entw\u{fc}rfe/2024", &uses))]),
        ("created with its superior", ["x", "x/y"].map(|text| AccountEvent::MailboxCreated(creation(text, &[]))).to_vec()),
        ("renamed", vec![renamed]),
        ("deleted", vec![AccountEvent::MailboxDeleted { mailbox: MailboxId(2), name: name("Trash") }]),
        ("subscribed", vec![AccountEvent::Subscribed(name("INBOX"))]),
        ("unsubscribed", vec![AccountEvent::Unsubscribed(name("a/b/c"))]),
    ];
    check("account-1.txt", &payloads, account::event::encode, |bytes| account::event::decode(1, bytes));
}

#[test]
fn another_version_is_refused() {
    assert!(mailbox::event::decode(2, &[0]).is_err() && account::event::decode(0, &[0]).is_err());
}
