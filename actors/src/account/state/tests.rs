use super::*;
use crate::account::requests::Change;
use crate::account::snapshot::{from_bytes, to_bytes};
use crate::given::{given_account, name, uid_validity};
use carillon_storage::Chain;

fn create(text: &str) -> Change {
    Change::Create { mailbox: name(text), special_use: Vec::new() }
}

fn assert_same(left: &State, right: &State) {
    assert!(left.entries().eq(right.entries()) && left.subscriptions().eq(right.subscriptions()));
    assert_eq!(left.position(), right.position());
    assert_eq!(left.largest_uid_validity(), right.largest_uid_validity());
    left.entries().for_each(|entry| assert_eq!(right.by_id(entry.mailbox), Some(entry)));
}

#[test]
fn a_clone_sees_nothing_of_what_comes_after_it() {
    let mut given = given_account([create("a/b")]);
    let held = given.state.clone();
    let before: Vec<Entry> = held.entries().cloned().collect();
    given.commit(&Change::Rename { from: name("a"), to: name("z") }).unwrap();
    given.commit(&Change::Delete(name("Trash"))).unwrap();
    assert!(held.entries().eq(&before) && held.find(&name("a/b")).is_some() && given.state.find(&name("a/b")).is_none());
}

#[test]
fn children_are_directly_behind_their_parent() {
    let given = given_account([create("a"), create("a b/x"), create("a/b/c"), create("a!"), create("ab")]);
    let below: Vec<String> = given.state.below(&name("a")).map(|entry| entry.name.to_string()).collect();
    assert_eq!(below, ["a/b", "a/b/c"]);
    assert!(given.state.has_children(&name("a b")) && !given.state.has_children(&name("a!")));
}

#[test]
fn events_are_told_from_a_position_on() {
    let given = given_account([create("a"), create("b/c")]);
    let since = |position| given.state.changes_since(position).map(|events| events.map(|(at, _)| at).collect::<Vec<_>>());
    assert_eq!((since(1), since(2), since(3), since(4)), (Some(vec![2, 3, 3]), Some(vec![3, 3]), Some(vec![]), None));
}

#[test]
fn what_does_not_fit_is_left_out() {
    let mut state = given_account([create("a")]).state;
    let before = state.clone();
    state.apply(1, &AccountEvent::Subscribed(name("late")));
    assert_same(&state, &before);
    state.apply(3, &AccountEvent::MailboxDeleted { mailbox: MailboxId(1), name: name("a") });
    let moves = vec![Move { mailbox: MailboxId(1), from: name("a"), to: name("b") }];
    state.apply(4, &AccountEvent::MailboxRenamed { moves, created: vec![], subscriptions: vec![] });
    assert!(state.find(&name("a")).is_some() && state.find(&name("b")).is_none());
    let creation = Creation { mailbox: MailboxId(5), name: name("a"), uid_validity: uid_validity(1), special_use: vec![] };
    let old = state.find(&name("a")).unwrap().mailbox;
    state.apply(5, &AccountEvent::MailboxCreated(creation));
    assert_eq!((state.find(&name("a")).unwrap().mailbox, state.by_id(old)), (MailboxId(5), None));
    assert_eq!((state.largest_uid_validity(), state.position()), (before.largest_uid_validity(), 5));
}

#[test]
fn whole_log_equals_snapshot_and_tail() {
    let rename = Change::Rename { from: name("a"), to: name("Archive/a") };
    let requests =
        [create("a/b"), Change::Subscribe(name("a/b")), create("last"), Change::Delete(name("last")), rename, create("z")];
    let whole = given_account(requests.clone()).state;
    for cut in 0..=requests.len() {
        let part = given_account(requests[..cut].to_vec()).state;
        let (mut loaded, chain) = from_bytes(&to_bytes(&part, Chain([3; 32])).unwrap()).unwrap();
        assert_eq!(chain, Chain([3; 32]));
        assert_same(&loaded, &part);
        for (position, event) in whole.changes_since(part.position()).unwrap() {
            loaded.apply(position, event);
        }
        assert_same(&loaded, &whole);
    }
}

#[test]
fn no_flipped_byte_is_served() {
    let bytes = to_bytes(&given_account([create("a/b")]).state, Chain::default()).unwrap();
    for place in 0..bytes.len() {
        let mut flipped = bytes.to_vec();
        flipped[place] ^= 4;
        assert!(from_bytes(&flipped).is_none() && from_bytes(&bytes[..place]).is_none());
    }
}
