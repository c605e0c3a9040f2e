//! Random histories of a mailbox: what the properties of state and snapshot run over.

use carillon_protocol::flag::{FlagChange, FlagSet};
use proptest::prelude::*;

use super::event::MailboxEvent;
use super::requests::Change;
use super::state::State;
use crate::given::{Given, flags, given_with, new_message, uids};
use crate::limits::Limits;

/// A request in numbers that are small enough to meet messages.
pub(super) fn changes() -> impl Strategy<Value = Vec<Change>> {
    let some_uids = || {
        prop_oneof![
            prop::collection::vec(1..400u32, 0..9),
            (1..300u32, 1..200u32).prop_map(|(from, length)| (from..from + length).collect())
        ]
        .prop_map(uids)
    };
    let how = prop_oneof![Just(FlagChange::Add), Just(FlagChange::Remove), Just(FlagChange::Replace)];
    let append = prop::collection::vec((0..50u64, some_flags()), 0..80)
        .prop_map(|messages| Change::Append(messages.into_iter().map(|(number, flags)| new_message(number, flags)).collect()));
    let change = prop_oneof![
        3 => append,
        3 => (some_uids(), how, some_flags()).prop_map(|(uids, change, flags)| Change::Store { uids, change, flags }),
        1 => (prop::option::of(some_uids()), any::<bool>()).prop_map(|(among, by_close)| Change::Expunge { among, by_close }),
        1 => some_uids().prop_map(Change::MoveWithin),
    ];
    prop::collection::vec(change, 0..40)
}

fn some_flags() -> impl Strategy<Value = FlagSet> {
    let word = prop::sample::select(vec!["\\Seen", "\\Deleted", "\\Flagged", "Work", "work", "$Junk", "a", "b", "c", "d"]);
    prop::collection::vec(word, 0..4).prop_map(|words| flags(&words.join(" ")))
}

/// The log that requests leave: the events of each record, `Opened` first.
pub(super) fn log(limits: &Limits, changes: &[Change]) -> (Given<State>, Vec<Vec<MailboxEvent>>) {
    let mut given = given_with(limits, []);
    let mut log = vec![vec![MailboxEvent::Opened { uid_validity: given.state.uid_validity() }]];
    for change in changes {
        match given.commit(change) {
            Ok(decision) if !decision.events.is_empty() => log.push(decision.events),
            // Nothing to change, or refused; where no record was made the position stays.
            _ => {}
        }
    }
    (given, log)
}

pub(super) fn fold(state: &mut State, log: &[Vec<MailboxEvent>], after: u64) {
    for (position, events) in (1..).zip(log).filter(|(position, _)| *position > after) {
        events.iter().for_each(|event| state.apply(position, event));
    }
}

/// What two states that are the same have in common; the window of recent changes is no part of it.
pub(super) fn assert_same(left: &State, right: &State) {
    let all = |state: &State| {
        let messages = state.messages().iter().map(|m| (m.uid, m.flags, m.modseq, m.details.clone()));
        (messages.collect::<Vec<_>>(), state.keywords().iter().map(|k| k.as_str().to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(all(left), all(right));
    assert_eq!(left.counts(), right.counts());
    let heads = |state: &State| (state.position(), state.uid_validity(), state.uid_next(), state.is_ended());
    assert_eq!(heads(left), heads(right));
    assert_eq!(left.first_unseen(), right.first_unseen());
}
