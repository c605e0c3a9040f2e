//! Whatever stands on the disk is read as what it says or refused: segments' headers, groups and entries, records, events of every kind and version.
#![no_main]

use carillon_actors::{account, directory, mailbox};
use carillon_storage::{Record, codec, record};
use libfuzzer_sys::fuzz_target;

// The format is private to the crate: its source is read here as it stands, over the crate's public parts.
#[allow(dead_code, reason = "what writes is not fuzzed")]
#[path = "../../../storage/src/format.rs"]
mod format;

use format::{GroupHeader, GroupPlace, Identity, SegmentHeader};

fuzz_target!(|input: (u8, u16, &[u8])| {
    let (kind, version, bytes) = input;
    match kind % 7 {
        0 => drop(SegmentHeader::decode(bytes)),
        1 => group(bytes),
        2 => {
            if let Ok(record) = codec::decode::<Record>(bytes) {
                let written = codec::encode(&record).expect("what was read can be written");
                assert_eq!(codec::decode::<Record>(&written).as_ref(), Ok(&record));
            }
        }
        3 => drop(directory::event::decode(version % 3, bytes)),
        4 => drop(account::event::decode(version % 3, bytes)),
        5 => drop(mailbox::event::decode(version % 3, bytes)),
        _ => drop(codec::decode::<carillon_protocol::mime::Summary>(bytes)),
    }
});

/// A group whose checksums are right, whatever it holds: as if the salt had been guessed.
fn group(bytes: &[u8]) {
    let identity = Identity { store: [1; 16], salt: [2; 32] };
    let place = GroupPlace { segment: 1, offset: 128 };
    let _ = GroupHeader::decode(bytes, &identity, place);
    assert!(GroupHeader::find(bytes).is_none_or(|place| place < bytes.len()));
    let mut end = 0;
    for entry in format::entries(bytes) {
        let Ok(entry) = entry else { break };
        assert!(entry.offset >= end && entry.offset + entry.content.len() <= bytes.len(), "entries overlap");
        end = entry.offset + entry.content.len();
        let _ = (format::decode_places(entry.content), codec::decode::<Record>(entry.content));
    }
}
