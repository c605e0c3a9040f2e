use std::collections::BTreeMap;

use carillon_protocol::flag::FlagChange;
use proptest::prelude::*;

use super::*;
use crate::given::{appended, flags, given, given_with, uid, uid_validity, uids};
use crate::mailbox::event::Expunging;
use crate::mailbox::history::{assert_same, changes, fold, log};

fn gone(numbers: impl IntoIterator<Item = u32>) -> MailboxEvent {
    MailboxEvent::Expunged { uids: uids(numbers), why: Expunging::Expunge }
}

#[test]
fn the_mod_sequence_is_the_position() {
    let changed = MailboxEvent::FlagsChanged { uids: uids([2]), change: FlagChange::Add, flags: flags("\\Seen") };
    let state = given([appended([1, 2], ""), appended([3], ""), changed, gone([3])]).state;
    let modseqs: Vec<u64> = state.messages().iter().map(|message| message.modseq.0).collect();
    assert_eq!((modseqs, state.position()), (vec![2, 4], 5));
    assert_eq!((state.uid_validity(), state.uid_next()), (uid_validity(9), uid(4)));
}

#[test]
fn keywords_keep_their_first_spelling_and_their_order() {
    let changed = MailboxEvent::FlagsChanged { uids: uids([1]), change: FlagChange::Replace, flags: flags("WORK zebra") };
    let removed = MailboxEvent::FlagsChanged { uids: uids([1]), change: FlagChange::Remove, flags: flags("never Zebra") };
    let state = given([appended([1], "Work"), appended([2], "apple work"), changed, removed]).state;
    let names = |keywords: &[Keyword]| keywords.iter().map(|keyword| keyword.as_str().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(state.keywords()), ["Work", "apple", "zebra"]);
    let of = |number| state.flag_set(state.messages().by_uid(uid(number)).unwrap().flags);
    assert_eq!(
        (names(of(1).keywords()), names(of(2).keywords())),
        (vec!["Work".to_owned()], vec!["apple".into(), "Work".into()])
    );
    assert_eq!(state.flags(&flags("\\Seen WORK other")), state.flags(&flags("\\Seen work")));
}

#[test]
fn what_does_not_fit_is_left_out() {
    let mut state = given([appended([1, 5], "")]).state;
    let before = state.clone();
    state.apply(1, &appended([9], ""));
    assert_same(&state, &before);
    state.apply(3, &appended([4, 6, 6, u32::MAX], "late"));
    assert_eq!((state.messages().uids(), state.uid_next(), state.position()), (uids([1, 5, 6]), uid(7), 3));
    state.apply(4, &gone([2, 3, 100]));
    let change = FlagChange::Replace;
    state.apply(5, &MailboxEvent::FlagsChanged { uids: uids([2, 100]), change, flags: flags("\\Seen") });
    assert_eq!((state.messages().len(), state.counts().unseen, state.position()), (3, 3, 5));
    let many: Vec<String> = (0..70).map(|number| format!("k{number}")).collect();
    state.apply(6, &appended([7], &many.join(" ")));
    assert_eq!(state.keywords().len(), 64);
    state.apply(7, &MailboxEvent::Ended);
    assert!(state.is_ended() && state.messages().len() == 4);
}

#[test]
fn changes_are_told_from_a_position_on() {
    let mut given = given([appended([1, 2], "\\Deleted"), gone([1])]);
    given.commit(&crate::mailbox::requests::Change::MoveWithin(uids([2]))).unwrap();
    let since = |position| {
        let changes = given.state.changes_since(position)?;
        Some(changes.map(|change| (change.position, change.kind.clone())).collect::<Vec<_>>())
    };
    let [first, second] = [(2, ChangeKind::Arrived(uids([1, 2]))), (3, ChangeKind::Expunged(uids([1])))];
    let moved = [(4, ChangeKind::Arrived(uids([3]))), (4, ChangeKind::Expunged(uids([2])))];
    assert_eq!(since(0), Some([&[first, second.clone()][..], &moved].concat()));
    assert_eq!(since(2), Some([&[second][..], &moved].concat()));
    assert_eq!((since(4), since(5)), (Some(vec![]), None));
}

#[test]
fn the_window_is_bounded() {
    let limits = Limits { recent_changes: 100, ..Limits::default() };
    let state = given_with(&limits, (1..=500).map(|number| appended([number], ""))).state;
    assert!(state.changes_since(400).is_none());
    let newest: Vec<u64> = state.changes_since(470).unwrap().map(|change| change.position).collect();
    assert_eq!(newest, (471..=501).collect::<Vec<_>>());
}

/// A message of a session that replays changes: what it needs to know.
type Told = BTreeMap<Uid, (FlagSet, ModSeq)>;

fn told(state: &State) -> Told {
    state.messages().iter().map(|message| (message.uid, (state.flag_set(message.flags), message.modseq))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, ..ProptestConfig::default() })]

    /// Whoever knew the state at any position and hears the changes behind it knows the newest state.
    #[test]
    fn changes_lead_from_any_state_to_the_newest(changes in changes(), from in 0.0..=1.0f64) {
        let (given, log) = log(&Limits::default(), &changes);
        let mut old = State::new(&Limits::default());
        fold(&mut old, &log[..(from * log.len() as f64) as usize], 0);
        let (mut known, new) = (told(&old), told(&given.state));
        for change in given.state.changes_since(old.position()).unwrap() {
            let (ChangeKind::Arrived(uids) | ChangeKind::Flags(uids) | ChangeKind::Expunged(uids)) = &change.kind;
            for uid in uids.iter() {
                match new.get(&uid) {
                    Some(message) => drop(known.insert(uid, message.clone())),
                    None => drop(known.remove(&uid)),
                }
            }
        }
        prop_assert_eq!(known, new);
    }

    /// UIDs ascend and are never used twice; mod-sequences never fall; a record that changes nothing is not made.
    #[test]
    fn uids_ascend_and_never_repeat(changes in changes()) {
        let (_, log) = log(&Limits::default(), &changes);
        let mut last = 0;
        let mut state = State::new(&Limits::default());
        for (position, events) in (1..).zip(&log) {
            let before = told(&state);
            events.iter().for_each(|event| state.apply(position, event));
            for event in events {
                if let MailboxEvent::Appended { arrivals } = event {
                    for arrival in arrivals {
                        prop_assert!(arrival.uid.get() > last);
                        last = arrival.uid.get();
                    }
                }
            }
            prop_assert!(state.uid_next().get() > last && state.position() == position);
            let after = told(&state);
            prop_assert!(position == 1 || before != after);
            for (uid, (flags, modseq)) in &after {
                let is_right = match before.get(uid) {
                    Some(old) if old.0 == *flags => old.1 == *modseq,
                    _ => modseq.0 == position,
                };
                prop_assert!(is_right, "uid {}", uid);
            }
        }
    }
}
