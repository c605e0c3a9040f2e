use carillon_protocol::flag::FlagChange::{Add, Remove, Replace};

use super::*;
use crate::given::{NOW, OWN, appended, flags, given, given_with, message_details, new_message, uid, uid_validity, uids};

fn store(numbers: &[u32], change: FlagChange, set: &str) -> Change {
    Change::Store { uids: uids(numbers.iter().copied()), change, flags: flags(set) }
}

fn changed(numbers: &[u32], change: FlagChange, set: &str) -> MailboxEvent {
    MailboxEvent::FlagsChanged { uids: uids(numbers.iter().copied()), change, flags: flags(set) }
}

const ALL: Change = Change::Expunge { among: None, by_close: false };

#[test]
fn append_gives_uids_in_order() {
    let decision = given([appended([1, 2, 5], "")])
        .when(&Change::Append(vec![new_message(70, flags("\\Seen Work")), new_message(71, flags(""))]));
    let decision = decision.unwrap();
    assert_eq!(decision.changed.appended, uids([6, 7]));
    assert_eq!((decision.changed.position, decision.changed.uid_validity), (None, uid_validity(9)));
    let [MailboxEvent::Appended { arrivals }] = &decision.events[..] else { panic!("{decision:?}") };
    assert_eq!(arrivals[0].flags, flags("\\Seen Work"));
    assert_eq!((arrivals[1].uid, &arrivals[1].details, arrivals[1].origin), (uid(7), &message_details(71), Origin::Append));
}

#[test]
fn append_of_nothing_is_no_event() {
    assert!(given([]).when(&Change::Append(vec![])).unwrap().events.is_empty());
}

#[test]
fn a_uid_is_never_used_twice() {
    let mut given = given([appended([1, 2, 3], "\\Deleted")]);
    given.commit(&ALL).unwrap();
    assert_eq!(given.when(&Change::Append(vec![new_message(1, flags(""))])).unwrap().changed.appended, uids([4]));
}

#[test]
fn append_is_refused_whole_when_uids_run_out() {
    let given = given([appended([u32::MAX - 2], "")]);
    let new = |count| Change::Append((0..count).map(|number| new_message(number, flags(""))).collect());
    assert_eq!(given.when(&new(1)).unwrap().changed.appended, uids([u32::MAX - 1]));
    assert!(matches!(given.when(&new(2)), Err(Refusal::Limit(_))));
}

#[test]
fn keywords_have_a_limit() {
    let limits = Limits { keywords: 2, ..Limits::default() };
    let given = given_with(&limits, [appended([1], "One")]);
    assert!(given.state.may_add_keywords());
    let two = |first, second| Change::Append(vec![new_message(1, flags(first)), new_message(2, flags(second))]);
    assert!(given.when(&two("one Two", "TWO")).is_ok());
    assert!(matches!(given.when(&two("Two", "Three")), Err(Refusal::Limit(_))));
    assert!(given.when(&store(&[1], Add, "Two ONE")).is_ok());
    assert!(matches!(given.when(&store(&[1], Add, "Two Three")), Err(Refusal::Limit(_))));
    assert!(matches!(given.when(&store(&[1], Replace, "Two Three")), Err(Refusal::Limit(_))));
    assert!(given.when(&store(&[1], Remove, "Two Three")).unwrap().events.is_empty());
}

#[test]
fn known_keywords_stay_usable_when_the_limit_is_lowered() {
    let limits = Limits { keywords: 1, ..Limits::default() };
    let given = given_with(&limits, [appended([1], "One Two"), appended([2], "")]);
    assert!(!given.state.may_add_keywords());
    assert_eq!(given.when(&store(&[2], Add, "two")).unwrap().events, [changed(&[2], Add, "two")]);
}

#[test]
fn there_is_no_bit_for_a_65th_keyword() {
    let limits = Limits { keywords: 1000, ..Limits::default() };
    let all: Vec<String> = (0..64).map(|number| format!("k{number}")).collect();
    let given = given_with(&limits, [appended([1], &all.join(" "))]);
    assert_eq!(given.state.flag_set(given.state.messages().get(0).unwrap().flags), flags(&all.join(" ")));
    assert!(matches!(given.when(&store(&[1], Add, "k64")), Err(Refusal::Limit(_))));
}

#[test]
fn a_keyword_that_no_message_has_gives_its_place_to_a_new_one() {
    let all: Vec<String> = (0..64).map(|number| format!("k{number}")).collect();
    let mut given = given([appended([1], &all.join(" ")), appended([2], "k5")]);
    assert!(!given.state.may_add_keywords());
    given.commit(&store(&[1], Remove, "k5 k6")).unwrap();
    assert!(given.state.may_add_keywords());
    // k5 is still held by the other message, and one place is not enough for two.
    assert!(matches!(given.when(&store(&[1], Add, "new newer")), Err(Refusal::Limit(_))));
    let two = Change::Append(vec![new_message(1, flags("new")), new_message(2, flags("newer"))]);
    assert!(matches!(given.when(&two), Err(Refusal::Limit(_))));
    given.commit(&store(&[1], Add, "new")).unwrap();
    let of = |state: &State, number| state.flag_set(state.messages().by_uid(uid(number)).unwrap().flags);
    assert_eq!(of(&given.state, 2), flags("k5"));
    assert!(of(&given.state, 1).keywords().contains(&carillon_protocol::flag::Keyword::new("new").unwrap()));
    assert!(!given.state.may_add_keywords());
}

#[test]
fn store_names_only_messages_whose_flags_change() {
    let given = given([appended([1, 2], "\\Seen"), appended([3], "\\Seen Work"), appended([5], "\\Flagged")]);
    let then = |change: &Change| {
        let decision = given.when(change).unwrap();
        let affected = decision.changed.affected;
        match &decision.events[..] {
            [] => assert!(affected.is_empty()),
            [MailboxEvent::FlagsChanged { uids, .. }] => assert_eq!(*uids, affected),
            other => panic!("{other:?}"),
        }
        affected
    };
    assert_eq!(then(&store(&[1, 3, 4, 5, 99], Add, "\\Seen")), uids([5]));
    assert_eq!(then(&store(&[1, 2], Add, "\\Seen")), uids([]));
    assert_eq!(then(&store(&[1, 2, 3, 5], Remove, "\\Seen")), uids([1, 2, 3]));
    assert_eq!(then(&store(&[1, 2, 3, 5], Replace, "\\Seen")), uids([3, 5]));
    assert_eq!(then(&store(&[1, 2, 3, 5], Replace, "")), uids([1, 2, 3, 5]));
    assert_eq!(then(&store(&[1, 2, 3, 5], Add, "WORK")), uids([1, 2, 5]));
    assert_eq!(then(&store(&[1, 3], Add, "New")), uids([1, 3]));
    assert_eq!(then(&store(&[1, 3], Remove, "New")), uids([]));
    assert_eq!(then(&store(&[4, 6], Add, "New")), uids([]));
}

#[test]
fn expunge_takes_only_what_is_deleted() {
    let given = given([appended([1, 2], "\\Deleted"), appended([3], ""), appended([4], "\\Deleted \\Seen")]);
    let then = |change: &Change| given.when(change).unwrap();
    let why = Expunging::Expunge;
    assert_eq!(then(&ALL).events, [MailboxEvent::Expunged { uids: uids([1, 2, 4]), why: why.clone() }]);
    assert_eq!(then(&ALL).changed.affected, uids([1, 2, 4]));
    let among = Change::Expunge { among: Some(uids([2, 3, 9])), by_close: false };
    assert_eq!(then(&among).events, [MailboxEvent::Expunged { uids: uids([2]), why }]);
    let close = Change::Expunge { among: None, by_close: true };
    assert_eq!(then(&close).events, [MailboxEvent::Expunged { uids: uids([1, 2, 4]), why: Expunging::Close }]);
    assert!(then(&Change::Expunge { among: Some(uids([3])), by_close: false }).events.is_empty());
}

#[test]
fn a_move_onto_itself_is_one_record() {
    let mut given = given([appended([1, 2, 3], "\\Seen Work")]);
    given.now_seconds = NOW + 50;
    let decision = given.commit(&Change::MoveWithin(uids([1, 3, 8]))).unwrap();
    let [MailboxEvent::Appended { arrivals }, MailboxEvent::Expunged { uids: gone, why }] = &decision.events[..] else {
        panic!("{decision:?}")
    };
    assert_eq!((gone, why), (&uids([1, 3]), &Expunging::MovedTo { mailbox: OWN, uids: uids([4, 5]) }));
    assert_eq!(arrivals[1].origin, Origin::Copy { mailbox: OWN, uid: uid(3) });
    assert_eq!((arrivals[1].details.email_id, arrivals[1].details.save_date), (message_details(3).email_id, NOW + 50));
    assert_eq!((decision.changed.appended, decision.changed.affected), (uids([4, 5]), uids([1, 3])));
    assert_eq!(given.state.messages().uids(), uids([2, 4, 5]));
    let moved = given.state.messages().by_uid(uid(4)).unwrap();
    assert_eq!((given.state.flag_set(moved.flags), moved.modseq.0), (flags("\\Seen Work"), given.state.position()));
    assert!(given.when(&Change::MoveWithin(uids([1, 3]))).unwrap().events.is_empty());
}

#[test]
fn a_transfer_is_the_sources_messages_under_the_targets_uids() {
    let source = given([appended([1, 2, 3], "\\Deleted Work")]);
    let target = given([appended([40], "")]);
    let leaving = leave(&source.state, MailboxId(1), &uids([2, 3, 4]), &source.limits).unwrap();
    assert_eq!((leaving.uids(), leaving.position), (uids([2, 3]), 2));
    let decision = append_for_move(&target.state, &leaving, &target.context()).unwrap();
    assert_eq!(decision.changed.appended, uids([41, 42]));
    let [MailboxEvent::Appended { arrivals }] = &decision.events[..] else { panic!("{decision:?}") };
    assert_eq!(arrivals[0].flags, flags("\\Deleted Work"));
    assert_eq!(arrivals[0].origin, Origin::Copy { mailbox: MailboxId(1), uid: uid(2) });
    assert_eq!(arrivals[0].details, message_details(2));
    let why = Expunging::MovedTo { mailbox: OWN, uids: uids([41, 42]) };
    let event = moved_to(leaving.uids(), OWN, decision.changed.appended);
    assert_eq!(event, MailboxEvent::Expunged { uids: uids([2, 3]), why });
    let nothing = Leaving { messages: Vec::new(), ..leaving };
    assert!(append_for_move(&target.state, &nothing, &target.context()).unwrap().events.is_empty());
}

#[test]
fn a_deleted_mailbox_takes_nothing() {
    let given = given([appended([1], "\\Deleted"), MailboxEvent::Ended]);
    for change in [Change::Append(vec![]), store(&[1], Add, "\\Seen"), ALL, Change::MoveWithin(uids([1]))] {
        assert_eq!(given.when(&change), Err(Refusal::NoSuchMailbox));
    }
    assert_eq!(leave(&given.state, OWN, &uids([1]), &given.limits), Err(Refusal::NoSuchMailbox));
    let nothing = Leaving { mailbox: OWN, position: 1, messages: Vec::new() };
    assert_eq!(append_for_move(&given.state, &nothing, &given.context()), Err(Refusal::NoSuchMailbox));
}

#[test]
fn what_would_not_fit_into_a_commit_is_refused_before_it_is_built() {
    let limits = Limits { change_bytes: 1_000, ..Limits::default() };
    let given = given_with(&limits, [appended(1..=9, "")]);
    assert_eq!(may_be_copied(&given.state, &uids(1..=8), &limits), Ok(()));
    assert_eq!(may_be_copied(&given.state, &uids(1..=9), &limits), Err(Refusal::TOO_MUCH_AT_ONCE));
    assert_eq!(leave(&given.state, OWN, &uids(1..=9), &limits), Err(Refusal::TOO_MUCH_AT_ONCE));
    assert_eq!(given.when(&Change::MoveWithin(uids(1..=9))), Err(Refusal::TOO_MUCH_AT_ONCE));
    // Prefix and keywords count.
    let keywords: Vec<String> = (0..3).map(|number| format!("{}{number}", "k".repeat(150))).collect();
    let details = Arc::new(Details { prefix: Some(vec![b'x'; 800].as_slice().into()), ..Details::clone(&message_details(1)) });
    let arrival = Arrival { uid: uid(1), flags: flags(""), details, origin: Origin::Delivery };
    let given = given_with(&limits, [MailboxEvent::Appended { arrivals: vec![arrival] }, appended([2, 3], &keywords.join(" "))]);
    assert_eq!([1, 2].map(|number| may_be_copied(&given.state, &uids([number]), &limits)), [Ok(()), Ok(())]);
    assert_eq!(may_be_copied(&given.state, &uids([1, 2]), &limits), Err(Refusal::TOO_MUCH_AT_ONCE));
    assert_eq!(may_be_copied(&given.state, &uids([2, 3]), &limits), Err(Refusal::TOO_MUCH_AT_ONCE));
}

#[test]
fn no_arrival_is_longer_than_is_reckoned_with() {
    let longest = Details {
        size: u64::MAX,
        internal_date: carillon_protocol::date::InternalDate { unix_seconds: i64::MIN, offset_minutes: i16::MIN },
        save_date: u64::MAX,
        ..Details::clone(&message_details(1))
    };
    let origin = Origin::Copy { mailbox: MailboxId(u64::MAX), uid: Uid::MAX };
    let arrival = Arrival { uid: Uid::MAX, flags: flags("\\Seen"), details: longest.into(), origin };
    let bytes =
        |count| super::super::event::encode(&[MailboxEvent::Appended { arrivals: vec![arrival.clone(); count] }]).unwrap().len();
    assert!((bytes(200) - bytes(100)) as u64 <= 100 * ARRIVAL_BYTES, "{}", (bytes(200) - bytes(100)) / 100);
}
