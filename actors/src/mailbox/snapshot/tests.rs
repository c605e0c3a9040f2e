use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::given::{appended, flags, given, uids};
use crate::mailbox::event::MailboxEvent;
use crate::mailbox::history::{assert_same, changes, fold, log};

const CHAIN: Chain = Chain([7; 32]);

#[derive(Clone, Default)]
struct Cache(HashMap<Part, Bytes>);

impl Cache {
    fn put(&mut self, written: &Written) {
        for (part, bytes) in &written.entries {
            if bytes.is_empty() { drop(self.0.remove(part)) } else { drop(self.0.insert(*part, bytes.clone())) }
        }
    }

    fn load(&self) -> Option<(State, Header)> {
        from_chunks(self.0.get(&Part::Header)?, |number| self.0.get(&Part::Chunk(number)).cloned(), &Limits::default())
    }
}

fn three_chunks() -> State {
    let gone = MailboxEvent::Expunged { uids: uids(2..5), why: crate::mailbox::event::Expunging::Close };
    given([appended(1..300, "\\Seen Work"), gone]).state
}

#[test]
fn only_what_changed_is_written_again() {
    let mut state = three_chunks();
    let first = to_chunks(&state, CHAIN, None).unwrap();
    let parts = |written: &Written| written.entries.iter().map(|(part, _)| *part).collect::<Vec<_>>();
    assert_eq!(parts(&first), [Part::Chunk(0), Part::Chunk(1), Part::Chunk(2), Part::Header]);
    let same = to_chunks(&state, CHAIN, Some(&first.header)).unwrap();
    assert_eq!(parts(&same), [Part::Header]);
    let change = carillon_protocol::flag::FlagChange::Add;
    state.apply(4, &MailboxEvent::FlagsChanged { uids: uids([200]), change, flags: flags("\\Flagged") });
    state.apply(5, &MailboxEvent::Expunged { uids: uids(1..128), why: crate::mailbox::event::Expunging::Expunge });
    let second = to_chunks(&state, CHAIN, Some(&first.header)).unwrap();
    assert_eq!(parts(&second), [Part::Chunk(1), Part::Chunk(0), Part::Header]);
    let mut cache = Cache::default();
    cache.put(&first);
    cache.put(&second);
    assert_eq!(cache.0.len(), 3);
    let (loaded, header) = cache.load().unwrap();
    assert_same(&loaded, &state);
    assert_eq!((header.position, header.chain), (5, CHAIN));
    assert!(loaded.changes_since(5).is_some_and(|mut changes| changes.next().is_none()) && loaded.changes_since(4).is_none());
}

#[test]
fn an_old_chunk_under_a_new_header_is_no_snapshot() {
    let mut state = three_chunks();
    let mut cache = Cache::default();
    let first = to_chunks(&state, CHAIN, None).unwrap();
    cache.put(&first);
    let change = carillon_protocol::flag::FlagChange::Add;
    state.apply(4, &MailboxEvent::FlagsChanged { uids: uids([200]), change, flags: flags("\\Flagged") });
    let second = to_chunks(&state, CHAIN, Some(&first.header)).unwrap();
    let (mut header_only, mut chunk_only, mut missing) = (cache.clone(), cache.clone(), cache);
    header_only.put(&Written { entries: second.entries[1..].to_vec(), ..second.clone() });
    chunk_only.put(&Written { entries: second.entries[..1].to_vec(), ..second });
    missing.0.remove(&Part::Chunk(2));
    assert!(header_only.load().is_none() && chunk_only.load().is_none() && missing.load().is_none());
}

#[test]
fn no_flipped_byte_is_served() {
    let state = three_chunks();
    let mut cache = Cache::default();
    cache.put(&to_chunks(&state, CHAIN, None).unwrap());
    for part in [Part::Header, Part::Chunk(1)] {
        let bytes = cache.0[&part].to_vec();
        for place in (0..bytes.len()).step_by(bytes.len() / 60 + 1).chain([bytes.len() - 1]) {
            let mut flipped = bytes.clone();
            flipped[place] ^= 0x10;
            let mut damaged = cache.clone();
            damaged.0.insert(part, flipped.into());
            assert!(damaged.load().is_none(), "{part:?} {place}");
            damaged.0.insert(part, bytes[..place].to_vec().into());
            assert!(damaged.load().is_none(), "{part:?} cut at {place}");
        }
    }
}

#[test]
fn a_summary_comes_back_whole_or_not_at_all() {
    let summary = Summary::of(&three_chunks(), CHAIN, crate::given::uid(250));
    let bytes = summary.to_bytes().unwrap();
    assert_eq!(Summary::from_bytes(&bytes), Some(summary));
    assert_eq!((summary.counts.messages, summary.position, summary.uid_next.get()), (296, 3, 300));
    let mut flipped = bytes.to_vec();
    flipped[3] ^= 1;
    assert!(Summary::from_bytes(&flipped).is_none() && Summary::from_bytes(&[]).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, ..ProptestConfig::default() })]
    #[test]
    fn whole_log_equals_snapshot_and_tail(changes in changes(), cuts in prop::collection::vec(0.0..=1.0f64, 1..4)) {
        let limits = Limits::default();
        let (given, log) = log(&limits, &changes);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| (cut * log.len() as f64) as usize).collect();
        cuts.sort_unstable();
        let (mut cache, mut known) = (Cache::default(), None);
        for cut in cuts {
            let mut state = State::new(&limits);
            fold(&mut state, &log[..cut], 0);
            let written = to_chunks(&state, CHAIN, known.as_ref()).unwrap();
            cache.put(&written);
            known = Some(written.header);
            let (mut loaded, header) = cache.load().unwrap();
            assert_same(&loaded, &state);
            fold(&mut loaded, &log, header.position);
            assert_same(&loaded, &given.state);
        }
    }
}
