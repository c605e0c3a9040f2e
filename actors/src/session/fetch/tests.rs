use std::sync::Arc;

use carillon_protocol::flag::FlagSet;
use carillon_storage::{BodyHash, MemoryJournal};

use super::*;
use crate::refusal::Fault;
use crate::session::testing::{Server, details, flags, stored, uids};
use crate::session::view::Mode;

const MESSAGE: &[u8] = b"From: a@b\r\nSubject: hello\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
    --b\r\nContent-Transfer-Encoding: base64\r\n\r\nAGhp\r\n--b\r\nContent-Transfer-Encoding: x-odd\r\n\r\nodd\r\n--b--\r\n";

struct Fixture {
    journal: Arc<MemoryJournal>,
    server: Server,
}

impl Fixture {
    /// Messages with these bytes.
    fn new(messages: &[&[u8]]) -> Self {
        let mut fixture = Self { journal: Arc::new(MemoryJournal::new()), server: Server::new(100) };
        for bytes in messages {
            let details = stored(&fixture.journal, bytes);
            fixture.server.append(&FlagSet::new(), details);
        }
        fixture.server.look(Mode::ReadWrite);
        fixture
    }

    fn batch(&mut self, uids: &UidSet, plan: &Plan, max_bytes: usize) -> Batch {
        let (view, source) = (self.server.select(Mode::ReadWrite), Source::new(self.journal.clone(), 1 << 20));
        encode_batch(&view.reader(), uids, plan, &source, NameFormat::default(), max_bytes, &mut Turn::endless())
    }

    fn fetch(&mut self, items: &[FetchItem]) -> (String, Option<Refusal>) {
        let batch = self.batch(&uids(1..100), &Plan::new(items), usize::MAX);
        assert!(batch.rest.is_empty());
        (String::from_utf8(batch.encoded).unwrap(), batch.refusal)
    }
}

fn section(part: &[u32], text: Option<SectionText>, partial: Option<Partial>) -> FetchItem {
    FetchItem::Section { section: Section { part: part.to_vec(), text }, partial, peek: true }
}

fn binary(part: &[u32], partial: Option<Partial>) -> FetchItem {
    FetchItem::Binary { part: part.to_vec(), partial, peek: true }
}

#[test]
fn items_that_need_no_bytes() {
    let mut fixture = Fixture::new(&[b"one", b"three"]);
    fixture.server.store(&uids([2]), carillon_protocol::flag::FlagChange::Add, &flags("\\Seen Work"));
    let items = [FetchItem::Uid, FetchItem::Flags, FetchItem::Rfc822Size, FetchItem::InternalDate, FetchItem::Uid];
    let expected = "* 1 FETCH (UID 1 FLAGS () RFC822.SIZE 3 INTERNALDATE \"01-Jan-1970 00:00:00 +0000\")\r\n\
        * 2 FETCH (UID 2 FLAGS (\\Seen Work) RFC822.SIZE 5 INTERNALDATE \"01-Jan-1970 00:00:00 +0000\")\r\n";
    let (encoded, refusal) = fixture.fetch(&items);
    assert_eq!((encoded.replace("\" 1-", "\"01-").as_str(), refusal), (expected, None));
}

#[test]
fn sections() {
    let mut fixture = Fixture::new(&[MESSAGE]);
    let partial = |first, count| Some(Partial { first, count });
    let fields = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    for (item, expected) in [
        (section(&[], None, partial(6, 3)), "BODY[]<6> {3}\r\na@b"),
        (section(&[], None, partial(5000, 3)), "BODY[]<5000> \"\""),
        (section(&[1], None, None), "BODY[1] {4}\r\nAGhp"),
        (section(&[1], Some(SectionText::Mime), None), "BODY[1.MIME] {37}\r\nContent-Transfer-Encoding: base64\r\n\r\n"),
        (section(&[3], None, None), "BODY[3] NIL"),
        (
            section(&[], Some(SectionText::HeaderFields(fields(&["subject", "X"]))), None),
            "BODY[HEADER.FIELDS (subject X)] {18}\r\nSubject: hello\r\n\r\n",
        ),
        (
            section(&[], Some(SectionText::HeaderFieldsNot(fields(&["Content-Type"]))), partial(0, 9)),
            "BODY[HEADER.FIELDS.NOT (Content-Type)]<0> {9}\r\nFrom: a@b",
        ),
        (FetchItem::Rfc822Header, "RFC822.HEADER {"),
        (FetchItem::Rfc822Text, "RFC822.TEXT {"),
        (FetchItem::Envelope, "ENVELOPE (NIL \"hello\" ((NIL NIL \"a\" \"b\"))"),
        (binary(&[1], None), "BINARY[1] ~{3}\r\n\0hi"),
        (binary(&[1], partial(1, 9)), "BINARY[1]<1> {2}\r\nhi"),
        (binary(&[3], None), "BINARY[3] NIL"),
        (FetchItem::BinarySize { part: vec![1] }, "BINARY.SIZE[1] 3)"),
        (FetchItem::BinarySize { part: vec![] }, "BINARY.SIZE[] "),
    ] {
        let (encoded, refusal) = fixture.fetch(std::slice::from_ref(&item));
        let expected = format!("* 1 FETCH ({expected}");
        let is_expected = encoded.replace("<5000> {0}\r\n", "<5000> \"\"").starts_with(&expected);
        assert!(is_expected && refusal.is_none(), "{item:?}: {encoded:?}, not {expected:?}");
    }
    let whole = fixture.fetch(&[FetchItem::Rfc822]).0;
    assert!(whole.contains(std::str::from_utf8(MESSAGE).unwrap()));
}

#[test]
fn several_sections_of_one_message_are_the_same_as_each_alone() {
    let mut fixture = Fixture::new(&[MESSAGE]);
    let items = [FetchItem::Rfc822, section(&[1], None, None), FetchItem::Rfc822Header, FetchItem::BodyStructure];
    let alone: Vec<String> = items.iter().map(|item| fixture.fetch(std::slice::from_ref(item)).0).collect();
    let inner = |line: &String| line.strip_prefix("* 1 FETCH (").unwrap().strip_suffix(")\r\n").unwrap().to_owned();
    let expected = alone.iter().map(inner).collect::<Vec<_>>().join(" ");
    assert_eq!(fixture.fetch(&items).0, format!("* 1 FETCH ({expected})\r\n"));
}

#[test]
fn an_unknown_encoding_refuses_its_message_and_no_other() {
    let mut fixture = Fixture::new(&[b"one\r\n\r\nA", MESSAGE, b"three\r\n\r\nB"]);
    let (encoded, refusal) = fixture.fetch(&[FetchItem::Uid, binary(&[2], None)]);
    assert_eq!(refusal, Some(Refusal::UnknownEncoding));
    assert_eq!(encoded, "* 1 FETCH (UID 1 BINARY[2] NIL)\r\n* 3 FETCH (UID 3 BINARY[2] NIL)\r\n");
}

#[test]
fn damage_of_one_message_keeps_no_other_back() {
    let mut fixture = Fixture::new(&[b"one"]);
    fixture.server.append(&FlagSet::new(), details(BodyHash::of(b"lost"), 4, 0));
    let three = stored(&fixture.journal, b"three");
    fixture.server.append(&FlagSet::new(), three);
    let (encoded, refusal) = fixture.fetch(&[section(&[], None, None)]);
    assert!(matches!(refusal, Some(Refusal::Fault(Fault::Damaged(_)))));
    assert_eq!(encoded, "* 1 FETCH (BODY[] {3}\r\none)\r\n* 3 FETCH (BODY[] {5}\r\nthree)\r\n");
    // What needs no bytes is whole.
    assert_eq!(fixture.fetch(&[FetchItem::Rfc822Size]).0.lines().count(), 3);
}

#[test]
fn batches_together_are_one() {
    let bodies: Vec<Vec<u8>> = (0..50u8).map(|number| vec![b'x'; usize::from(number) * 7]).collect();
    let mut fixture = Fixture::new(&bodies.iter().map(Vec::as_slice).collect::<Vec<_>>());
    fixture.server.expunge(&uids([7, 8, 30]));
    let plan = Plan::new(&[FetchItem::Uid, section(&[], None, None)]);
    let all = fixture.batch(&uids(1..100), &plan, usize::MAX).encoded;
    for max_bytes in [0, 1, 200, 1000] {
        let (mut rest, mut encoded) = (uids(1..100), Vec::new());
        while !rest.is_empty() {
            let batch = fixture.batch(&rest, &plan, max_bytes);
            assert!(batch.encoded.len() < max_bytes + 400);
            encoded.extend(batch.encoded);
            rest = batch.rest;
        }
        assert_eq!(encoded, all);
    }
}

#[test]
fn what_sets_seen() {
    let unpeeked = |item: FetchItem| match item {
        FetchItem::Section { section, partial, .. } => FetchItem::Section { section, partial, peek: false },
        FetchItem::Binary { part, partial, .. } => FetchItem::Binary { part, partial, peek: false },
        item => item,
    };
    for item in [FetchItem::Rfc822, FetchItem::Rfc822Text, unpeeked(section(&[], None, None)), unpeeked(binary(&[1], None))] {
        assert!(Plan::new(&[FetchItem::Uid, item]).sets_seen());
    }
    for item in [FetchItem::Rfc822Header, section(&[], None, None), binary(&[1], None), FetchItem::BodyStructure] {
        assert!(!Plan::new(&[item]).sets_seen());
    }
    let mut plan = Plan::new(&[FetchItem::Uid]);
    plan.tell_flags();
    plan.tell_flags();
    let encoded = Fixture::new(&[b"x"]).batch(&uids([1]), &plan, usize::MAX).encoded;
    assert_eq!(encoded, b"* 1 FETCH (UID 1 FLAGS ())\r\n");
}

#[test]
fn a_response_is_bounded_whatever_is_asked() {
    let bytes = vec![b'x'; 1 << 20];
    let mut fixture = Fixture::new(&[&bytes]);
    let items: Vec<FetchItem> = (0..30).map(|first| section(&[], None, Some(Partial { first, count: u32::MAX }))).collect();
    let (encoded, refusal) = fixture.fetch(&items);
    assert_eq!(encoded, "");
    assert!(matches!(refusal, Some(Refusal::Limit(_))));
}
