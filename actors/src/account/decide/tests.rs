use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::given::{Given, NOW, given_account, name};

fn create(text: &str) -> Change {
    Change::Create { mailbox: name(text), special_use: Vec::new() }
}

fn rename(from: &str, to: &str) -> Change {
    Change::Rename { from: name(from), to: name(to) }
}

fn delete(text: &str) -> Change {
    Change::Delete(name(text))
}

fn subscribe(text: &str) -> Change {
    Change::Subscribe(name(text))
}

/// An account without the mailboxes that every new one has, but for INBOX.
fn given(requests: impl IntoIterator<Item = Change>) -> Given<State> {
    let first = ["Drafts", "Sent", "Junk", "Trash", "Archive"];
    let empty = first.into_iter().flat_map(|text| [delete(text), Change::Unsubscribe(name(text))]);
    given_account(empty.chain([Change::Unsubscribe(name("INBOX"))]).chain(requests))
}

fn names(state: &State) -> Vec<String> {
    state.entries().map(|entry| entry.name.to_string()).collect()
}

fn subscriptions(state: &State) -> Vec<String> {
    state.subscriptions().map(ToString::to_string).collect()
}

#[test]
fn a_new_account_has_its_first_mailboxes() {
    let given = given_account([]);
    assert_eq!(names(&given.state), ["Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"]);
    assert_eq!(subscriptions(&given.state), names(&given.state));
    let use_of = |text: &str| given.state.find(&name(text)).unwrap().special_use.clone();
    assert_eq!((use_of("INBOX"), use_of("Junk"), use_of("Archive")), (vec![], vec![SpecialUse::Junk], vec![SpecialUse::Archive]));
    let validities: BTreeSet<u64> = given.state.entries().map(|entry| u64::from(entry.uid_validity.get())).collect();
    assert_eq!(validities, (NOW..NOW + 6).collect());
}

#[test]
fn create_makes_missing_superiors() {
    let mut given = given([create("a")]);
    let events = given.commit(&create("a/b/c")).unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(names(&given.state), ["INBOX", "a", "a/b", "a/b/c"]);
    assert!(subscriptions(&given.state).is_empty());
    assert_eq!(given.when(&create("a/b")), Err(Refusal::MailboxExists));
    assert_eq!(given.when(&create("inbox")), Err(Refusal::MailboxExists));
    given.commit(&create("inbox/Sub")).unwrap();
    assert_eq!(names(&given.state)[..2], ["INBOX", "INBOX/Sub"]);
}

#[test]
fn a_name_made_again_is_another_mailbox() {
    let mut given = given([create("a")]);
    let old = given.state.find(&name("a")).unwrap().clone();
    given.commit(&delete("a")).unwrap();
    given.now_seconds = 5;
    given.commit(&create("a")).unwrap();
    let new = given.state.find(&name("a")).unwrap();
    assert!(new.mailbox != old.mailbox && new.uid_validity > old.uid_validity);
    assert!(given.state.by_id(old.mailbox).is_none());
}

#[test]
fn uid_validity_follows_the_clock_and_never_falls() {
    let mut given = given([]);
    let mut made = |now, text: &str| {
        given.now_seconds = now;
        given.commit(&create(text)).unwrap();
        given.state.find(&name(text)).unwrap().uid_validity.get()
    };
    assert_eq!(made(NOW + 100, "a"), NOW as u32 + 100);
    assert_eq!((made(NOW + 100, "b"), made(0, "c"), made(u64::MAX, "d")), (NOW as u32 + 101, NOW as u32 + 102, NOW as u32 + 103));
    given.now_seconds = u64::from(u32::MAX);
    given.commit(&create("last")).unwrap();
    assert!(matches!(given.when(&create("more")), Err(Refusal::Limit(_))));
}

#[test]
fn special_uses_are_unique_and_real() {
    let with = |text: &str, special_use: Vec<SpecialUse>| Change::Create { mailbox: name(text), special_use };
    let mut given = given_account([]);
    assert!(matches!(given.when(&with("Sent2", vec![SpecialUse::Sent])), Err(Refusal::SpecialUse(_))));
    assert!(matches!(given.when(&with("All", vec![SpecialUse::All])), Err(Refusal::SpecialUse(_))));
    given.commit(&delete("Sent")).unwrap();
    given.commit(&with("x/Sent2", vec![SpecialUse::Sent, SpecialUse::Important, SpecialUse::Sent])).unwrap();
    assert_eq!(given.state.find(&name("x/Sent2")).unwrap().special_use, [SpecialUse::Important, SpecialUse::Sent]);
    assert!(given.state.find(&name("x")).unwrap().special_use.is_empty());
    given.commit(&rename("x", "y")).unwrap();
    assert_eq!(given.state.find(&name("y/Sent2")).unwrap().special_use, [SpecialUse::Important, SpecialUse::Sent]);
}

#[test]
fn delete_leaves_children_and_subscription() {
    let mut given = given([create("a/b"), subscribe("a"), subscribe("a/b")]);
    let mailbox = given.state.find(&name("a")).unwrap().mailbox;
    assert_eq!(given.commit(&delete("a")), Ok(vec![AccountEvent::MailboxDeleted { mailbox, name: name("a") }]));
    assert_eq!(given.state.exists(&name("a")), Existence::NonExistentParent);
    assert_eq!(given.when(&delete("a")), Err(Refusal::HasChildren));
    assert_eq!(subscriptions(&given.state), ["a", "a/b"]);
    given.commit(&delete("a/b")).unwrap();
    assert_eq!(given.state.exists(&name("a")), Existence::No);
    assert_eq!(given.when(&delete("a")), Err(Refusal::NoSuchMailbox));
    assert!(matches!(given.when(&delete("INBOX")), Err(Refusal::Cannot(_))));
}

#[test]
fn create_makes_a_parent_a_mailbox_again() {
    let mut given = given([create("a/b"), delete("a"), create("a/c")]);
    assert_eq!(names(&given.state), ["INBOX", "a/b", "a/c"]);
    given.commit(&create("a")).unwrap();
    assert_eq!(given.state.exists(&name("a")), Existence::Mailbox);
}

/// The stale subscription: tests/transcripts/stories.
#[test]
fn rename_moves_tree_and_subscriptions_in_one_event() {
    let mut given =
        given([create("Work/2024/x"), create("Workshop"), subscribe("Work"), subscribe("Work/2024"), subscribe("Workshop")]);
    let ids = |state: &State| state.entries().map(|entry| (entry.mailbox, entry.uid_validity)).collect::<BTreeSet<_>>();
    let before = ids(&given.state);
    let events = given.commit(&rename("Work", "Archive/Old/Work")).unwrap();
    let [AccountEvent::MailboxRenamed { moves, created, subscriptions: moved }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((moves.len(), created.len(), moved.len()), (3, 2, 2));
    let expected = ["Archive", "Archive/Old", "Archive/Old/Work", "Archive/Old/Work/2024", "Archive/Old/Work/2024/x"];
    assert_eq!(names(&given.state), [&expected[..], &["INBOX", "Workshop"]].concat());
    assert_eq!(subscriptions(&given.state), ["Archive/Old/Work", "Archive/Old/Work/2024", "Workshop"]);
    assert!(ids(&given.state).is_superset(&before));
    assert_eq!(given.when(&rename("Work", "Else")), Err(Refusal::NoSuchMailbox));
    assert_eq!(given.when(&Change::Unsubscribe(name("Work"))), Ok(vec![]));
}

#[test]
fn subscriptions_below_the_source_move_even_if_their_mailbox_is_gone() {
    let mut given = given([create("a/b"), subscribe("a/b"), delete("a/b"), subscribe("a/never")]);
    given.commit(&rename("a", "z")).unwrap();
    assert_eq!(subscriptions(&given.state), ["z/b", "z/never"]);
}

#[test]
fn subscriptions_that_meet_become_one() {
    let mut given = given([create("a"), subscribe("a"), subscribe("b")]);
    given.commit(&rename("a", "b")).unwrap();
    assert_eq!(subscriptions(&given.state), ["b"]);
}

#[test]
fn rename_is_refused_whole() {
    let given = given([create("a/b"), create("c/b"), create("d/b/c"), delete("c"), create("e/f"), delete("e")]);
    let then = |from, to| given.when(&rename(from, to)).unwrap_err();
    assert_eq!(then("a", "d"), Refusal::MailboxExists);
    // c itself is no mailbox, but c/b is one.
    assert_eq!(then("a", "c"), Refusal::MailboxExists);
    // e/f may not go into a mailbox that exists, though nothing there is called f.
    assert_eq!(then("e", "d"), Refusal::MailboxExists);
    assert_eq!(then("a", "inbox"), Refusal::MailboxExists);
    assert_eq!(then("a", "a"), Refusal::MailboxExists);
    assert!(matches!(then("a", "a/x"), Refusal::Cannot(_)));
    assert_eq!(then("nothing", "x"), Refusal::NoSuchMailbox);
    assert!(matches!(then("d", &format!("x{}", "/y".repeat(62))), Refusal::Cannot(_)));
}

#[test]
fn rename_of_a_parent_without_mailbox_moves_its_children() {
    let mut given = given([create("a/b"), create("a/c/d"), delete("a"), subscribe("a")]);
    given.commit(&rename("a", "x/y")).unwrap();
    assert_eq!(names(&given.state), ["INBOX", "x", "x/y/b", "x/y/c", "x/y/c/d"]);
    assert_eq!(given.state.exists(&name("x/y")), Existence::NonExistentParent);
    assert_eq!(subscriptions(&given.state), ["x/y"]);
}

#[test]
fn a_tree_may_move_up_into_the_name_above_it() {
    let mut given = given([create("a/a/a/b"), delete("a"), subscribe("a/a"), subscribe("a/a/a")]);
    let top = given.state.find(&name("a/a")).unwrap().mailbox;
    given.commit(&rename("a/a", "a")).unwrap();
    assert_eq!(names(&given.state), ["INBOX", "a", "a/a", "a/a/b"]);
    assert_eq!(given.state.find(&name("a")).unwrap().mailbox, top);
    assert_eq!(subscriptions(&given.state), ["a", "a/a"]);
}

#[test]
fn rename_of_inbox_makes_a_mailbox_and_leaves_inbox() {
    let mut given = given([subscribe("INBOX"), create("INBOX/kept"), create("x")]);
    let inbox = given.state.find(&name("INBOX")).unwrap().clone();
    let events = given.commit(&rename("inbox", "Old/Mail")).unwrap();
    let [AccountEvent::MailboxRenamed { moves, created, subscriptions: moved }] = &events[..] else { panic!("{events:?}") };
    assert!(moves.is_empty() && moved.is_empty());
    assert_eq!(created.iter().map(|creation| creation.name.to_string()).collect::<Vec<_>>(), ["Old", "Old/Mail"]);
    assert_eq!(given.state.find(&name("INBOX")), Some(&inbox));
    assert_eq!(names(&given.state), ["INBOX", "INBOX/kept", "Old", "Old/Mail", "x"]);
    assert_eq!(subscriptions(&given.state), ["INBOX"]);
    assert_eq!(given.when(&rename("INBOX", "x")), Err(Refusal::MailboxExists));
    assert_eq!(given.when(&rename("INBOX", "inbox")), Err(Refusal::MailboxExists));
    assert!(matches!(given.when(&rename("INBOX", "INBOX/x")), Err(Refusal::Cannot(_))));
}

#[test]
fn subscribing_twice_is_done_already() {
    let mut given = given([]);
    assert_eq!(given.commit(&subscribe("no/such")), Ok(vec![AccountEvent::Subscribed(name("no/such"))]));
    assert_eq!(given.commit(&subscribe("no/such")), Ok(vec![]));
    let off = Change::Unsubscribe(name("no/such"));
    assert_eq!(given.commit(&off), Ok(vec![AccountEvent::Unsubscribed(name("no/such"))]));
    assert_eq!(given.commit(&off), Ok(vec![]));
}

#[test]
fn mailboxes_and_subscriptions_have_limits() {
    let mut given = given([create("a"), subscribe("a")]);
    given.limits.mailboxes = 4;
    given.limits.subscriptions = 2;
    assert!(matches!(given.when(&create("b/c/d")), Err(Refusal::Limit(_))));
    assert!(matches!(given.when(&rename("a", "b/c/d/e")), Err(Refusal::Limit(_))));
    assert!(matches!(given.when(&rename("INBOX", "b/c/d")), Err(Refusal::Limit(_))));
    given.commit(&create("b/c")).unwrap();
    given.commit(&subscribe("b")).unwrap();
    assert!(matches!(given.when(&subscribe("c")), Err(Refusal::Limit(_))));
    assert_eq!(given.when(&subscribe("b")), Ok(vec![]));
    assert!(given.when(&rename("a", "z")).is_ok());
}

fn some_name() -> impl Strategy<Value = MailboxName> {
    let segment = || prop::sample::select(vec!["a", "b", "c", "inbox"]);
    prop::collection::vec(segment(), 1..4).prop_map(|segments| MailboxName::from_segments(segments).unwrap())
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        3 => some_name().prop_map(|mailbox| Change::Create { mailbox, special_use: Vec::new() }),
        2 => some_name().prop_map(Change::Delete),
        4 => (some_name(), some_name()).prop_map(|(from, to)| Change::Rename { from, to }),
        3 => some_name().prop_map(Change::Subscribe),
        1 => some_name().prop_map(Change::Unsubscribe),
    ];
    prop::collection::vec(change, 0..60)
}

fn all_subscriptions(state: &State) -> BTreeSet<MailboxName> {
    state.subscriptions().cloned().collect()
}

/// What SUBSCRIBE, UNSUBSCRIBE and RENAME may do to subscriptions, said without events.
fn expected_subscriptions(before: BTreeSet<MailboxName>, change: &Change) -> BTreeSet<MailboxName> {
    let mut after = before.clone();
    match change {
        Change::Subscribe(name) => drop(after.insert(name.clone())),
        Change::Unsubscribe(name) => drop(after.remove(name)),
        Change::Rename { from, to } if !from.is_inbox() => {
            let renamed = |name: MailboxName| name.replace_prefix(from, to).unwrap().unwrap_or(name);
            after = before.into_iter().map(renamed).collect();
        }
        _ => {}
    }
    after
}

fn check_account(state: &State, ever: &mut BTreeMap<MailboxId, UidValidity>) {
    let names: Vec<&MailboxName> = state.entries().map(|entry| &entry.name).collect();
    assert!(names.is_sorted() && names.len() == state.mailboxes());
    assert!(state.find(&MailboxName::inbox()).is_some());
    let mut ids = BTreeSet::new();
    for entry in state.entries() {
        assert!(ids.insert(entry.mailbox));
        assert_eq!(state.by_id(entry.mailbox), Some(entry));
        assert_eq!(*ever.entry(entry.mailbox).or_insert(entry.uid_validity), entry.uid_validity);
    }
    assert_eq!(ever.values().collect::<BTreeSet<_>>().len(), ever.len());
    assert_eq!(ever.values().max().copied(), state.largest_uid_validity());
}

proptest! {
    #[test]
    fn names_and_subscriptions_keep_their_promises(changes in changes()) {
        let mut given = given_account([]);
        let mut ever = BTreeMap::new();
        check_account(&given.state, &mut ever);
        for change in changes {
            let before = given.state.clone();
            let largest = before.largest_uid_validity();
            let Ok(events) = given.commit(&change) else {
                prop_assert_eq!(given.state.position(), before.position());
                continue;
            };
            check_account(&given.state, &mut ever);
            // Subscriptions change only by SUBSCRIBE, UNSUBSCRIBE, RENAME.
            prop_assert_eq!(all_subscriptions(&given.state), expected_subscriptions(all_subscriptions(&before), &change));
            for event in &events {
                match event {
                    AccountEvent::MailboxRenamed { moves, subscriptions, .. } => {
                        let targets = moves.iter().map(|one| &one.to).chain(subscriptions.iter().map(|(_, to)| to));
                        let targets: BTreeSet<&MailboxName> = targets.collect();
                        for one in moves.iter().filter(|one| !targets.contains(&one.from)) {
                            prop_assert!(!given.state.is_subscribed(&one.from) && given.state.find(&one.from).is_none());
                        }
                        // Children move with their parents: none stays below a name that went.
                        if let (Change::Rename { from, to }, false) = (&change, moves.is_empty()) {
                            prop_assert!(!given.state.has_children(from) || from.is_below(to));
                        }
                    }
                    AccountEvent::MailboxCreated(creation) => prop_assert!(Some(creation.uid_validity) > largest),
                    _ => {}
                }
            }
        }
    }
}
