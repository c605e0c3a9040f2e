use carillon_protocol::command::SpecialUse;

use super::*;
use crate::account::requests::Change;
use crate::given::{given_account, name};

fn create(text: &str) -> Change {
    Change::Create { mailbox: name(text), special_use: Vec::new() }
}

fn subscribe(text: &str) -> Change {
    Change::Subscribe(name(text))
}

/// INBOX and what is given, no subscriptions.
fn account(requests: impl IntoIterator<Item = Change>) -> State {
    let first = ["Drafts", "Sent", "Junk", "Trash", "Archive"];
    let empty = first.into_iter().flat_map(|text| [Change::Delete(name(text)), Change::Unsubscribe(name(text))]);
    given_account(empty.chain([Change::Unsubscribe(name("INBOX"))]).chain(requests)).state
}

/// A line as `name attributes`, the attributes by their last letters.
fn lines(state: &State, kind: ListKind, reference: &str, pattern: &str) -> Vec<String> {
    let remote =
        ["Shared/News", "Shared/News/old", "INBOX"].map(|text| (name(text), "imap://host/".to_owned())).into_iter().collect();
    let entries = list(state, &remote, kind, reference, pattern, NameFormat::default());
    entries.iter().map(|entry| format!("{}{}", text(&entry.name), letters(&entry.attributes))).collect()
}

fn text(name: &ListName) -> String {
    match name {
        ListName::Mailbox(name) => name.to_string(),
        ListName::Text(text) => format!("{text:?}"),
    }
}

fn letters(attributes: &[ListAttribute]) -> String {
    let letter = |attribute: &ListAttribute| match attribute {
        ListAttribute::HasChildren => "+".to_owned(),
        ListAttribute::HasNoChildren => String::new(),
        ListAttribute::NoSelect => " noselect".to_owned(),
        ListAttribute::NonExistent => " nonexistent".to_owned(),
        ListAttribute::SpecialUse(special_use) => format!(" {special_use:?}"),
        other => format!("{other:?}"),
    };
    attributes.iter().map(letter).collect()
}

fn listed(state: &State, pattern: &str) -> Vec<String> {
    lines(state, ListKind::List, "", pattern)
}

fn lsub(state: &State, pattern: &str) -> Vec<String> {
    lines(state, ListKind::Lsub, "", pattern)
}

#[test]
fn list_is_inbox_first_then_by_name() {
    let state = given_account([create("inbox/Sub"), create("zebra"), create("Work/2024")]).state;
    let expected = ["INBOX+", "Archive Archive", "Drafts Drafts", "INBOX/Sub", "Junk Junk", "Sent Sent", "Trash Trash"];
    assert_eq!(listed(&state, "*"), [&expected[..], &["Work+", "Work/2024", "zebra"]].concat());
    assert_eq!(listed(&state, "%")[..3], ["INBOX+", "Archive Archive", "Drafts Drafts"]);
    assert_eq!(listed(&state, "inbox"), ["INBOX+"]);
    assert_eq!(listed(&state, "iNb%"), ["INBOX+"]);
    assert_eq!(listed(&state, "inbox/%"), ["INBOX/Sub"]);
    assert_eq!(lines(&state, ListKind::RList, "Work/", "%"), ["Work/2024"]);
    assert!(listed(&state, "work").is_empty() && listed(&state, "Work/").is_empty());
}

#[test]
fn the_empty_pattern_asks_for_the_root() {
    let state = account([]);
    for kind in [ListKind::List, ListKind::RList, ListKind::Lsub] {
        assert_eq!(lines(&state, kind, "", ""), ["\"\" noselect"]);
        assert_eq!(lines(&state, kind, "Work/", ""), ["\"\" noselect"]);
    }
    let dotted = NameFormat { separator: '.', utf8: false };
    assert_eq!(list(&state, &RemoteMailboxes::default(), ListKind::List, "", "", dotted)[0].separator, Some('.'));
}

#[test]
fn a_parent_without_mailbox_is_listed_where_its_name_matches() {
    let state = account([create("a/b/c/d"), Change::Delete(name("a")), Change::Delete(name("a/b/c")), create("a!")]);
    let parent = |text: &str| format!("{text} noselect nonexistent+");
    let all = ["INBOX".to_owned(), parent("a"), "a/b+".into(), parent("a/b/c"), "a/b/c/d".into(), "a!".into()];
    assert_eq!(listed(&state, "*"), all);
    assert_eq!(listed(&state, "%"), ["INBOX".to_owned(), parent("a"), "a!".into()]);
    assert_eq!(listed(&state, "a/b/%"), [parent("a/b/c")]);
    assert_eq!(listed(&state, "%/%"), ["a/b+"]);
    let lone = account([create("x/y/z"), Change::Delete(name("x")), Change::Delete(name("x/y"))]);
    assert_eq!(listed(&lone, "x*"), [parent("x"), parent("x/y"), "x/y/z".into()]);
    let gone = account([create("x/y"), Change::Delete(name("x")), Change::Delete(name("x/y"))]);
    assert_eq!(listed(&gone, "*"), ["INBOX"]);
}

#[test]
fn neighbours_with_names_that_begin_alike_are_no_children() {
    let state = account([create("a"), create("a b"), create("a/b"), create("ab/c")]);
    assert_eq!(listed(&state, "*"), ["INBOX", "a+", "a/b", "a b", "ab+", "ab/c"]);
}

#[test]
fn lsub_names_what_is_subscribed() {
    let state =
        account([create("a/b/c"), subscribe("a/b/c"), subscribe("gone"), subscribe("x/y/z"), subscribe("x"), subscribe("inbox")]);
    assert_eq!(lsub(&state, "*"), ["INBOX", "a/b/c", "gone", "x", "x/y/z"]);
    assert_eq!(lsub(&state, "%"), ["INBOX", "a noselect", "gone", "x"]);
    assert_eq!(lsub(&state, "%/%"), ["a/b noselect", "x/y noselect"]);
    assert_eq!(lines(&state, ListKind::RLsub, "a/", "%"), ["a/b noselect"]);
    assert_eq!(lsub(&state, "a"), Vec::<String>::new());
}

#[test]
fn remote_mailboxes_stand_among_the_others_and_local_ones_before_them() {
    let state = account([create("Sent"), create("Shared/Own"), create("Shared/News/old"), Change::Delete(name("Shared/News"))]);
    let all = ["INBOX", "Sent", "Shared+", "Shared/News+", "Shared/News/old", "Shared/Own"];
    assert_eq!(lines(&state, ListKind::RList, "", "*"), all);
    let bare = account([create("Sent")]);
    assert_eq!(lines(&bare, ListKind::RList, "", "%"), ["INBOX", "Sent", "Shared noselect nonexistent+"]);
    assert_eq!(lines(&bare, ListKind::RList, "", "Shared/%"), ["Shared/News+"]);
    assert_eq!(listed(&bare, "*"), ["INBOX", "Sent"]);
}

#[test]
fn lsub_is_silent_about_remote_mailboxes() {
    let state = account([subscribe("Shared/News"), subscribe("Shared/News/today"), subscribe("Shared/Own"), subscribe("INBOX")]);
    assert_eq!(lsub(&state, "*"), ["INBOX", "Shared/Own"]);
    assert_eq!(lines(&state, ListKind::RLsub, "", "*"), ["INBOX", "Shared/News", "Shared/News/today", "Shared/Own"]);
}

#[test]
fn reference_and_pattern_are_decoded_already() {
    let state = account([create("Entw\u{fc}rfe/v1.2"), create("A & B")]);
    assert_eq!(listed(&state, "Entw\u{fc}%"), ["Entw\u{fc}rfe+"]);
    assert_eq!(listed(&state, "A & B"), ["A & B"]);
    assert!(listed(&state, "Entw&APw-%").is_empty());
    let utf8 = NameFormat { separator: '.', utf8: true };
    let found = list(&state, &RemoteMailboxes::default(), ListKind::List, "", "Entw\u{fc}rfe.v1/%", utf8);
    assert_eq!((found.len(), text(&found[0].name), found[0].separator), (1, "Entw\u{fc}rfe/v1.2".to_owned(), Some('.')));
}

#[test]
fn attributes_for_pushed_lines_are_those_of_list() {
    let state = given_account([create("Trash/old")]).state;
    let of = |text: &str| attributes(&state, state.find(&name(text)).unwrap());
    assert_eq!(of("Trash"), [ListAttribute::HasChildren, ListAttribute::SpecialUse(SpecialUse::Trash)]);
    assert_eq!(of("Trash/old"), [ListAttribute::HasNoChildren]);
}
