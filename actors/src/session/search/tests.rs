use std::sync::Arc;

use carillon_protocol::command::{DateComparison, SearchKey};
use carillon_protocol::date::{Day, InternalDate};
use carillon_protocol::flag::{FlagChange, FlagSet, Keyword, SystemFlag};
use carillon_protocol::set::{Numbering, SequenceSet, SetItem, SetNumber};
use carillon_storage::{BodyHash, MemoryJournal};
use proptest::prelude::*;

use super::*;
use crate::mailbox::event::Details;
use crate::session::resolve::BadSequence;
use crate::session::testing::{Server, details, flags, stored, uids};
use crate::session::view::{Mode, View};
use crate::turn::{Order, at_once};

struct Fixture {
    journal: Arc<MemoryJournal>,
    server: Server,
    view: View,
}

impl Fixture {
    /// Five messages, UIDs 2, 4, 6, 8, 10.
    fn new() -> Self {
        let (journal, mut server) = (Arc::new(MemoryJournal::new()), Server::new(100));
        let messages = [
            "From: Ann <ann@x>\r\nSubject: Hello\r\nDate: Mon, 6 Jan 2020 23:30:00 -0500\r\n\r\nfirst body, M\u{fc}nchen\r\n",
            "From: Bob <bob@x>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nX-MMS-MESSAGE-ID: 42\r\nDate: Tue, 7 Jan 2020 00:00:00 +0000\r\n\r\nsecond\r\n",
            "To: ann@x\r\nX-Empty:\r\n\r\nhello in the body\r\n",
            "Cc: cc@x\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8gaGlkZGVu\r\n",
            "Bcc: b@x\r\n\r\n",
        ];
        for (message, day) in messages.iter().zip(0i64..) {
            let date = InternalDate { unix_seconds: day * 86_400 - 60, offset_minutes: 2 };
            let plain = stored(&journal, message.as_bytes());
            server.append(&FlagSet::new(), details(BodyHash::of(b"gone"), 1, 0));
            server.append(&FlagSet::new(), Arc::new(Details { internal_date: date, ..(*plain).clone() }));
        }
        server.expunge(&uids((1..10).step_by(2)));
        server.store(&uids([2, 4]), FlagChange::Add, &flags("\\Seen Work"));
        server.store(&uids([4, 6]), FlagChange::Add, &flags("\\Flagged"));
        let view = server.select(Mode::ReadWrite);
        Self { journal, server, view }
    }

    fn search(&self, key: &SearchKey) -> Search {
        let query = Query::bind(key, &self.view).unwrap();
        Search::new(self.view.reader(), query, Source::new(self.journal.clone(), 1 << 20))
    }

    /// In one go; and in turns that are as short as can be.
    fn found(&self, key: &SearchKey) -> String {
        let found = at_once(self.search(key)).unwrap();
        assert_eq!(in_turns_of(1, self.search(key)).0, found, "{key:?}");
        assert_eq!(found.damage, None);
        found.uids.to_string()
    }
}

/// In turns of so many questions each; and how many it took.
fn in_turns_of(questions: u32, mut search: Search) -> (Found, usize) {
    for turns in 1.. {
        if let Some(found) = search.advance(&mut Turn::of(questions)).unwrap() {
            return (found, turns);
        }
    }
    unreachable!("it ends")
}

fn set(text: &str) -> SequenceSet {
    let number = |text: &str| if text == "*" { SetNumber::Star } else { SetNumber::Number(text.parse().unwrap()) };
    let item = |text: &str| match text.split_once(':') {
        Some((one, other)) => SetItem::Range(number(one), number(other)),
        None => SetItem::One(number(text)),
    };
    SequenceSet::Items(text.split(',').map(item).collect())
}

fn by_number(text: &str) -> SearchKey {
    SearchKey::Set(Numbering::Seq, set(text))
}

fn by_uid(text: &str) -> SearchKey {
    SearchKey::Set(Numbering::Uid, set(text))
}

fn not(key: SearchKey) -> SearchKey {
    SearchKey::Not(Box::new(key))
}

fn or(one: SearchKey, other: SearchKey) -> SearchKey {
    SearchKey::Or(Box::new(one), Box::new(other))
}

fn header(name: &str, text: &str) -> SearchKey {
    SearchKey::Header(name.to_owned(), text.to_owned())
}

/// The story of the sequence set (IMAP-292): a set is a key like any other, in every form.
#[test]
fn a_sequence_set_is_a_key_in_every_form() {
    let mut fixture = Fixture::new();
    for (key, expected) in [
        (by_number("2:4"), "4,6,8"),
        (by_number("4:2"), "4,6,8"),
        (by_number("*"), "10"),
        (by_number("*:2"), "4,6,8,10"),
        (by_number("1,3,5:*"), "2,6,10"),
        (by_number("0:*"), "2,4,6,8,10"),
        (by_number("9"), ""),
        (by_number("7:9"), ""),
        (by_number("1,9"), "2"),
        (not(by_number("1:2")), "6,8,10"),
        (not(by_number("9")), "2,4,6,8,10"),
        (or(by_number("1"), by_number("3:4")), "2,6,8"),
        (or(by_number("9"), SearchKey::Flag(SystemFlag::Flagged)), "4,6"),
        (SearchKey::And(vec![by_number("2:4"), not(by_uid("6"))]), "4,8"),
        (SearchKey::And(vec![by_number("2:4"), by_uid("1:6"), by_number("3")]), "6"),
        (SearchKey::And(vec![by_number("1:2"), by_number("4:5")]), ""),
        (by_uid("1,3,4,99"), "4"),
        (by_uid("99:*"), "10"),
        (by_uid("5"), ""),
        (SearchKey::Set(Numbering::Seq, SequenceSet::Saved), ""),
    ] {
        assert_eq!(fixture.found(&key), expected, "{key:?}");
    }
    assert_eq!(Query::bind(&by_number("0"), &fixture.view).err(), Some(BadSequence::Zero));
    assert_eq!(Query::bind(&not(by_uid("0")), &fixture.view).err(), Some(BadSequence::Zero));
    fixture.view.save_result(uids([4, 8]));
    assert_eq!(fixture.found(&or(SearchKey::Set(Numbering::Uid, SequenceSet::Saved), by_number("1"))), "2,4,8");
    fixture.view = Server::new(1).select(Mode::ReadWrite);
    for key in [by_number("1"), by_number("*"), by_number("1:*"), not(by_number("1:*")), by_uid("*")] {
        assert_eq!(fixture.found(&key), "", "{key:?}");
    }
}

#[test]
fn every_other_key() {
    let fixture = Fixture::new();
    let keyword = |name: &str| SearchKey::Keyword(Keyword::new(name).unwrap());
    let day = |year, month, day| Day::from_civil(year, month, day).unwrap();
    let text = |text: &str| SearchKey::Text(text.to_owned());
    let body = |text: &str| SearchKey::Body(text.to_owned());
    use DateComparison::{Before, On, Since};
    for (key, expected) in [
        (SearchKey::All, "2,4,6,8,10"),
        (SearchKey::And(vec![]), "2,4,6,8,10"),
        (SearchKey::Flag(SystemFlag::Seen), "2,4"),
        (not(SearchKey::Flag(SystemFlag::Seen)), "6,8,10"),
        (keyword("WORK"), "2,4"),
        (keyword("other"), ""),
        (not(keyword("other")), "2,4,6,8,10"),
        (SearchKey::Recent, "2,4,6,8,10"),
        // One minute before midnight UTC, two minutes east of it: the day that follows.
        (SearchKey::Internal(On, day(1970, 1, 1)), "2"),
        (SearchKey::Internal(Before, day(1970, 1, 3)), "2,4"),
        (SearchKey::Internal(Since, day(1970, 1, 3)), "6,8,10"),
        // The day as written, without zone; no Date is no day.
        (SearchKey::Sent(On, day(2020, 1, 6)), "2"),
        (SearchKey::Sent(Since, day(2020, 1, 7)), "4"),
        (SearchKey::Sent(Before, day(2030, 1, 1)), "2,4"),
        (SearchKey::Smaller(13), "10"),
        (SearchKey::Larger(11), "2,4,6,8,10"),
        (SearchKey::Larger(12), "2,4,6,8"),
        (header("From", "BOB@X"), "4"),
        (header("from", "ann"), "2"),
        (header("Subject", "grüsse"), "4"),
        (header("X-MMS-MESSAGE-ID", "42"), "4"),
        (header("X-Empty", ""), "6"),
        (header("X-None", ""), ""),
        (header("Bcc", "b@"), "10"),
        (body("HELLO"), "6,8"),
        (body("münchen"), "2"),
        (body("subject"), ""),
        (text("hello"), "2,6,8"),
        (text("subject: hello"), "2"),
        (text(""), "2,4,6,8,10"),
        (or(body("hello"), header("Subject", "hello")), "2,6,8"),
        (SearchKey::And(vec![text("hello"), not(SearchKey::Flag(SystemFlag::Seen)), not(body("hidden"))]), "6"),
    ] {
        assert_eq!(fixture.found(&key), expected, "{key:?}");
    }
}

#[test]
fn ghosts_are_left_out() {
    let mut fixture = Fixture::new();
    fixture.server.expunge(&uids([4]));
    let look = fixture.server.look(Mode::ReadWrite);
    fixture.view.catch_up(look, carillon_protocol::command::Expunges::Withhold);
    assert_eq!(fixture.found(&SearchKey::All), "2,6,8,10");
    assert_eq!(fixture.found(&by_number("2:3")), "6");
}

#[test]
fn damage_leaves_out_only_what_it_hides() {
    let mut fixture = Fixture::new();
    fixture.server.append(&flags("\\Answered"), details(BodyHash::of(b"lost"), 100, 0));
    fixture.view = fixture.server.select(Mode::ReadWrite);
    let searched = |key: &SearchKey| at_once(fixture.search(key)).unwrap();
    let found = searched(&SearchKey::Text("hello".to_owned()));
    assert_eq!(found.uids, uids([2, 6, 8]));
    assert!(matches!(found.damage, Some(Fault::Damaged(_))));
    // Also of its negation nothing is known.
    assert_eq!(searched(&not(SearchKey::Text("hello".to_owned()))).uids, uids([4, 10]));
    // What the rest of the key decides needs no bytes.
    let answered = SearchKey::Flag(SystemFlag::Answered);
    let hello = || SearchKey::Text("hello".to_owned());
    assert_eq!(searched(&or(hello(), answered.clone())), Found { uids: uids([2, 6, 8, 11]), damage: None });
    let neither = SearchKey::And(vec![hello(), not(answered.clone())]);
    assert_eq!(searched(&neither), Found { uids: uids([2, 6, 8]), damage: None });
    let nested =
        or(SearchKey::And(vec![hello(), header("Subject", "hello")]), SearchKey::And(vec![answered, SearchKey::Larger(1)]));
    assert_eq!(searched(&nested).uids, uids([2, 11]));
}

/// Between any two windows of one text, and between its fields.
#[test]
fn a_large_message_is_left_and_taken_up_again() {
    let fixture = Fixture::new();
    let mut server = Server::new(10);
    let words: String = (0..20_000).map(|number| format!("w\u{f6}rd{number} ")).collect();
    let field: String = (0..4_000).map(|number| format!("field{number}\r\n ")).collect();
    for encoding in ["8bit", "quoted-printable"] {
        let header = format!("X-Long: {field}\r\nX-Long: last\r\nContent-Transfer-Encoding: {encoding}\r\n");
        let message = format!("{header}Content-Type: text/plain; charset=utf-8\r\n\r\n{words}\r\n");
        server.append(&FlagSet::new(), stored(&fixture.journal, message.as_bytes()));
    }
    let fixture = Fixture { view: server.select(Mode::ReadOnly), ..fixture };
    let (text, body) = (|text: &str| SearchKey::Text(text.to_owned()), |text: &str| SearchKey::Body(text.to_owned()));
    let part = |end| &words["w\u{f6}rd".len()..words.floor_char_boundary(end)];
    for (key, expected) in [
        (SearchKey::And(vec![body("W\u{d6}RD19999"), text("field3999"), header("x-long", "LAST"), not(text("nothing"))]), "1:2"),
        (not(or(text("w\u{f6}rd3 w\u{f6}rd5"), or(header("X-Long", "field3999x"), body("field")))), "1:2"),
        (or(header("x-long", "field3998 field3999"), body("nothing")), "1:2"),
        (SearchKey::And((0..200).map(|number| body(&format!("rd{} ", number * 99))).collect()), "1:2"),
        (text(part(20_000)), "1:2"),
        (body(&format!("{}x", part(200_000))), ""),
    ] {
        assert_eq!(fixture.found(&key), expected);
    }
    assert!(in_turns_of(1, fixture.search(&body("nothing"))).1 > 12);
}

/// A first turn is short: what may take longer waits for a later one, and what needs no bytes does not.
#[test]
fn a_first_turn_reads_no_large_message() {
    let fixture = Fixture::new();
    let mut server = Server::new(10);
    server.append(&flags("\\Seen"), stored(&fixture.journal, format!("a: b\r\n\r\n{}", "large ".repeat(200_000)).as_bytes()));
    let fixture = Fixture { view: server.select(Mode::ReadOnly), ..fixture };
    let text = SearchKey::Text("large l".to_owned());
    let first = |search: &mut Search| search.advance(&mut Turn::begin(Order::First, false)).unwrap();
    let seen = SearchKey::And(vec![not(SearchKey::Flag(SystemFlag::Seen)), text.clone()]);
    assert_eq!(first(&mut fixture.search(&seen)), Some(Found::default()));
    let mut search = fixture.search(&text);
    assert_eq!(first(&mut search), None);
    assert_eq!(search.advance(&mut Turn::begin(Order::Later, false)).unwrap().unwrap().uids, uids([1]));
}

#[test]
fn one_is_enough_where_one_was_asked_for() {
    let fixture = Fixture::new();
    let query = Query::bind(&SearchKey::Flag(SystemFlag::Flagged), &fixture.view).unwrap();
    let search = Search::for_one(fixture.view.reader(), query, Source::new(fixture.journal.clone(), 0));
    assert_eq!(at_once(search).unwrap().uids, uids([4]));
}

/// What a key means, without any of the ways to know it sooner.
fn is_match(key: &SearchKey, message: &[u8]) -> bool {
    use carillon_protocol::mime::{TextKind, field_text, fields, folded, summarise, texts};
    let is_in = |needle: &str, text: &str| folded(text).contains(&*folded(needle));
    let structure = summarise(message).structure;
    let has_text = |needle: &str, is_body: bool| {
        texts(&structure).any(|text| (!is_body || text.kind == TextKind::Body) && is_in(needle, &text.read(message)))
    };
    match key {
        SearchKey::And(keys) => keys.iter().all(|key| is_match(key, message)),
        SearchKey::Or(one, other) => is_match(one, message) || is_match(other, message),
        SearchKey::Not(key) => !is_match(key, message),
        SearchKey::Larger(size) => message.len() as u64 > *size,
        SearchKey::Header(name, needle) => {
            let header = &message[..usize::try_from(structure.body_start).unwrap()];
            fields(header).any(|field| field.is(name) && is_in(needle, &field_text(&field)))
        }
        SearchKey::Body(needle) => has_text(needle, true),
        SearchKey::Text(needle) => has_text(needle, false),
        other => panic!("{other:?} is not drawn"),
    }
}

fn any_key() -> impl Strategy<Value = SearchKey> {
    let text = || prop_oneof!["[ab\u{e4}\u{c4}]{0,3}", Just("a b".to_owned()), Just("x-odd: a".to_owned())];
    let name = prop_oneof![Just("Subject"), Just("x-odd"), Just("TO"), Just("Content-Type"), Just("none")];
    let leaf = prop_oneof![
        (name, text()).prop_map(|(name, text)| header(name, &text)),
        text().prop_map(SearchKey::Body),
        text().prop_map(SearchKey::Text),
        (0..200u64).prop_map(SearchKey::Larger),
    ];
    leaf.prop_recursive(4, 16, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(not),
            (inner.clone(), inner.clone()).prop_map(|(one, other)| or(one, other)),
            prop::collection::vec(inner, 0..4).prop_map(SearchKey::And),
        ]
    })
}

proptest! {
    /// Every tree of keys over any messages finds what it means, in one go and in turns that are as short as can be.
    #[test]
    fn a_search_finds_what_its_key_means(
        messages in prop::collection::vec("((Subject|X-Odd|to|bcc): ?(a|b|\u{e4}|\u{c4}|\r\n |\t){0,4}\r\n){0,4}(Content-Type: multipart/x; boundary=q\r\n\r\n(--q\r\n(X-Odd: a\r\n)?\r\n[ab\u{e4} ]{0,4}\r\n){1,3}|\r\n[abAB\u{c4} ]{0,6}\r\n)", 0..5),
        key in any_key(),
    ) {
        let (journal, mut server) = (Arc::new(MemoryJournal::new()), Server::new(10));
        messages.iter().for_each(|message| server.append(&FlagSet::new(), stored(&journal, message.as_bytes())));
        let fixture = Fixture { journal, view: server.select(Mode::ReadOnly), server };
        let expected: UidSet = (1..).zip(&messages).filter(|(_, message)| is_match(&key, message.as_bytes())).map(|(number, _)| crate::session::testing::uid(number)).collect();
        prop_assert_eq!(fixture.found(&key), expected.to_string());
    }
}
