use std::collections::BTreeMap;

use carillon_protocol::flag::FlagChange;
use proptest::prelude::*;

use super::*;
use crate::given::{message_details, uid};
use crate::mailbox::flags::{DELETED, SEEN};

type Model = BTreeMap<u32, (Flags, u64, u64)>;

#[derive(Clone, Debug)]
enum Step {
    /// So many, with gaps of so many UIDs.
    Append(u32, u32, Flags),
    /// Thousandths of the UID space, from and to; every n-th UID.
    Change(u32, u32, u32, FlagChange, Flags),
    Remove(u32, u32, u32),
    Hold,
}

fn flags() -> impl Strategy<Value = Flags> {
    (0..32u8, 0..4u64).prop_map(|(system, keywords)| Flags { system, keywords })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let change = prop_oneof![Just(FlagChange::Add), Just(FlagChange::Remove), Just(FlagChange::Replace)];
    let span = (0..1000u32, prop_oneof![0..5u32, 0..300u32, Just(1000)], prop_oneof![Just(1), Just(1), 2..50u32]);
    let step = prop_oneof![
        3 => (prop_oneof![Just(1), 1..200u32, 1000..9000u32], prop_oneof![4 => Just(1), 1 => 2..40u32], flags())
            .prop_map(|(count, gap, flags)| Step::Append(count, gap, flags)),
        3 => (span.clone(), change, flags()).prop_map(|((from, length, every), change, flags)| Step::Change(from, length, every, change, flags)),
        3 => span.prop_map(|(from, length, every)| Step::Remove(from, length, every)),
        1 => Just(Step::Hold),
    ];
    prop::collection::vec(step, 1..40)
}

fn set(next: u32, from: u32, length: u32, every: u32) -> UidSet {
    let first = (u64::from(next) * u64::from(from) / 1000) as u32 + 1;
    let last = (u64::from(next) * u64::from(from + length) / 1000) as u32 + 1;
    if every == 1 { UidSet::from_range(uid(first), uid(last)) } else { (first..=last).step_by(every as usize).map(uid).collect() }
}

fn run(messages: &mut Messages, model: &mut Model, next: &mut u32, position: u64, step: &Step) {
    match step {
        Step::Append(count, gap, flags) => {
            for _ in 0..*count {
                let number = u64::from(*next % 10);
                let details = message_details(number);
                messages.push(Message { uid: uid(*next), flags: *flags, modseq: ModSeq(position), details: &details });
                model.insert(*next, (*flags, position, details.size));
                *next += gap;
            }
        }
        Step::Change(from, length, every, change, flags) => {
            let (uids, edit) = (set(*next, *from, *length, *every), FlagEdit::new(*change, *flags));
            messages.change(&uids, edit, ModSeq(position));
            for (number, entry) in model.iter_mut().filter(|(number, _)| uids.contains(uid(**number))) {
                let _ = number;
                let (before, set) = (entry.0, *flags);
                entry.0 = match change {
                    FlagChange::Add => Flags { system: before.system | set.system, keywords: before.keywords | set.keywords },
                    FlagChange::Remove => {
                        Flags { system: before.system & !set.system, keywords: before.keywords & !set.keywords }
                    }
                    FlagChange::Replace => set,
                };
                entry.1 = position;
            }
        }
        Step::Remove(from, length, every) => {
            let uids = set(*next, *from, *length, *every);
            messages.remove(&uids);
            model.retain(|number, _| !uids.contains(uid(*number)));
        }
        Step::Hold => {}
    }
}

fn check(messages: &Messages, model: &Model) {
    let found: Vec<_> = messages.iter().map(|m| (m.uid.get(), (m.flags, m.modseq.0, m.details.size))).collect();
    let expected: Vec<_> = model.iter().map(|(number, entry)| (*number, *entry)).collect();
    let different = found.iter().zip(&expected).find(|(found, expected)| found != expected);
    assert!(found.len() == expected.len() && different.is_none(), "{} of {}: {different:?}", found.len(), expected.len());
    let counts = Counts {
        messages: model.len() as u64,
        unseen: model.values().filter(|entry| entry.0.system & SEEN == 0).count() as u64,
        deleted: model.values().filter(|entry| entry.0.system & DELETED != 0).count() as u64,
        size: model.values().map(|entry| entry.2).sum(),
    };
    assert_eq!(messages.counts(), counts);
    assert_eq!(messages.len(), model.len());
    assert_eq!(messages.uids(), model.keys().copied().map(uid).collect());
    let deleted = model.iter().filter(|(_, entry)| entry.0.system & DELETED != 0);
    assert_eq!(messages.deleted(), deleted.map(|(number, _)| uid(*number)).collect());
    assert_eq!(messages.first_unseen(), model.values().position(|entry| entry.0.system & SEEN == 0));
    let last = model.keys().next_back().copied().unwrap_or(0);
    for index in (0..model.len()).step_by(model.len() / 50 + 1).chain([model.len().saturating_sub(1), model.len()]) {
        let message = messages.get(index);
        assert_eq!(message.map(|message| message.uid.get()), expected.get(index).map(|entry| entry.0));
        assert!(message.is_none_or(|message| messages.index_of(message.uid) == Ok(index)));
        let range: Vec<u32> = messages.range(index..index + 300).map(|message| message.uid.get()).collect();
        let end = (index + 300).min(expected.len());
        assert!(range.iter().eq(expected.get(index..end).unwrap_or_default().iter().map(|entry| &entry.0)));
    }
    for number in (1..=last + 1).step_by(last as usize / 50 + 1).chain([last + 1]) {
        let place = model.range(..number).count();
        let expected = if model.contains_key(&number) { Ok(place) } else { Err(place) };
        assert_eq!(messages.index_of(uid(number)), expected);
        assert_eq!(messages.by_uid(uid(number)).is_some(), expected.is_ok());
    }
    for among in [set(last + 1, 0, 1000, 1), set(last + 1, 300, 200, 7), set(last + 1, 990, 500, 3)] {
        let found: Vec<u32> = messages.among(&among).map(|message| message.uid.get()).collect();
        let expected: Vec<u32> = model.keys().copied().filter(|number| among.contains(uid(*number))).collect();
        assert!(found == expected, "{} of {} among {among}", found.len(), expected.len());
    }
    check_shape(messages);
}

/// No empty node, none too full; ranks, counts and first UIDs as they are below.
fn check_shape(messages: &Messages) {
    check_branch(&messages.root, |section| check_branch(section, |group| check_branch(group, |_| {})));
}

fn check_branch<N: Node>(branch: &Branch<N>, below: impl Fn(&N)) {
    let mut start = 0;
    for child in &branch.children {
        assert_eq!((child.start, child.counts), (start, child.node.counts()));
        assert_eq!(Some(child.first), child.node.first());
        assert!((1..=N::FULL).contains(&child.node.units()));
        below(&child.node);
        start += child.counts.messages as usize;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, ..ProptestConfig::default() })]
    #[test]
    fn is_a_map_of_uids(steps in steps()) {
        let (mut messages, mut model, mut next) = (Messages::default(), Model::new(), 1);
        let mut held = vec![(messages.clone(), model.clone())];
        for (position, step) in (1..).zip(&steps) {
            run(&mut messages, &mut model, &mut next, position, step);
            if matches!(step, Step::Hold) {
                held.push((messages.clone(), model.clone()));
            }
        }
        check(&messages, &model);
        // Nobody who holds an older state sees anything of what came after it.
        held.iter().for_each(|(messages, model)| check(messages, model));
    }
}

#[test]
fn what_is_mostly_empty_is_joined() {
    let (mut messages, mut model, mut next) = (Messages::default(), Model::new(), 1);
    run(&mut messages, &mut model, &mut next, 1, &Step::Append(100_000, 1, Flags::default()));
    assert_eq!(messages.root.children.len(), 1);
    assert_eq!(messages.root.children[0].node.children.len(), 25);
    let kept: UidSet = (1..=100_000).step_by(100).map(uid).collect();
    messages.remove(&messages.uids().difference(&kept));
    model.retain(|number, _| number % 100 == 1);
    check(&messages, &model);
    let groups = &messages.root.children[0].node.children;
    let chunks: usize = groups.iter().map(|group| group.node.children.len()).sum();
    assert!(chunks <= 1000 / (Chunk::FULL / 4), "{chunks} chunks for 1000 messages");
    assert_eq!(groups.len(), 1);
}

#[test]
fn what_is_not_there_changes_nothing() {
    let (mut messages, mut model, mut next) = (Messages::default(), Model::new(), 1);
    messages.remove(&set(1000, 0, 1000, 1));
    messages.change(&set(1000, 0, 1000, 1), FlagEdit::new(FlagChange::Add, Flags::default()), ModSeq(1));
    run(&mut messages, &mut model, &mut next, 1, &Step::Append(300, 2, Flags::default()));
    let held = messages.clone();
    let chunk = |messages: &Messages| Arc::as_ptr(&messages.root.children[0].node.children[0].node.children[1].node);
    messages.remove(&(2..600).step_by(2).map(uid).collect());
    assert_eq!(chunk(&held), chunk(&messages));
    check(&messages, &model);
}
