//! What the encoder writes, by example. That it loses nothing is shown beside the decoder.

use bytes::Bytes;

use super::*;
use crate::command::{Section, SectionText};
use crate::date::InternalDate;
use crate::flag::{FlagSet, Keyword};
use crate::mime::{Address, BodyPart, Envelope, PartContent};
use crate::number::{SeqNum, Uid};
use crate::response::{FetchData, Rfc822Item, Thread};

fn wire(untagged: Untagged) -> String {
    wire_in(untagged, NameFormat::default())
}

fn wire_in(untagged: Untagged, format: NameFormat) -> String {
    let mut out = Vec::new();
    encode(&Response::Untagged(untagged), format, &mut out);
    String::from_utf8(out).unwrap()
}

fn fetch(datum: FetchData) -> String {
    wire(Untagged::Fetch(SeqNum::new(12).unwrap(), vec![datum]))
}

fn status(condition: Condition, code: Option<ResponseCode>, text: &str) -> String {
    let mut out = Vec::new();
    let status = Status { condition, code, text: text.to_owned() };
    encode(&Response::Tagged(Tag::new("a1").unwrap(), status), NameFormat::default(), &mut out);
    String::from_utf8(out).unwrap()
}

fn uids(range: std::ops::RangeInclusive<u32>) -> UidSet {
    range.map(|uid| Uid::new(uid).unwrap()).collect()
}

#[test]
fn status_lines() {
    assert_eq!(status(Condition::Ok, None, "LOGIN completed"), "a1 OK LOGIN completed\r\n");
    assert_eq!(status(Condition::No, Some(ResponseCode::TryCreate), "none"), "a1 NO [TRYCREATE] none\r\n");
    assert_eq!(status(Condition::Bad, None, ""), "a1 BAD not understood\r\n");
    assert_eq!(status(Condition::Ok, None, "a\r\nb2 OK c\0\u{e9}"), "a1 OK a  b2 OK c ?\r\n");
    assert_eq!(status(Condition::Ok, None, "[ALERT] x"), "a1 OK  [ALERT] x\r\n");
    assert_eq!(status(Condition::No, Some(ResponseCode::Other("X ]\r\n* BYE".into())), "t"), "a1 NO [X ?  * BYE] t\r\n");
}

#[test]
fn codes_with_data() {
    let validity = UidValidity::new(7).unwrap();
    let of = |code| status(Condition::Ok, Some(code), "t");
    assert_eq!(of(ResponseCode::AppendUid(validity, uids(3..=3))), "a1 OK [APPENDUID 7 3] t\r\n");
    assert_eq!(of(ResponseCode::CopyUid(validity, uids(1..=3), uids(8..=10))), "a1 OK [COPYUID 7 1:3 8:10] t\r\n");
    assert_eq!(of(ResponseCode::CopyUid(validity, UidSet::new(), UidSet::new())), "a1 OK t\r\n");
    assert_eq!(of(ResponseCode::BadCharset(vec!["UTF-8".into()])), "a1 OK [BADCHARSET (UTF-8)] t\r\n");
    assert_eq!(of(ResponseCode::BadCharset(vec![])), "a1 OK [BADCHARSET] t\r\n");
    let flags = vec![Flag::System(SystemFlag::Seen)];
    assert_eq!(of(ResponseCode::PermanentFlags(flags, NewKeywords::Allowed)), "a1 OK [PERMANENTFLAGS (\\Seen \\*)] t\r\n");
    assert_eq!(of(ResponseCode::PermanentFlags(vec![], NewKeywords::Refused)), "a1 OK [PERMANENTFLAGS ()] t\r\n");
    let url = "imap://user@host/a b]\r\n".to_owned();
    assert_eq!(of(ResponseCode::Referral(vec![url])), "a1 OK [REFERRAL imap://user@host/a%20b%5D%0D%0A] t\r\n");
    assert_eq!(of(ResponseCode::Capability(vec![Capability("IMAP4REV1".into())])), "a1 OK [CAPABILITY IMAP4rev1] t\r\n");
}

#[test]
fn untagged_data() {
    assert_eq!(wire(Untagged::Exists(23)), "* 23 EXISTS\r\n");
    assert_eq!(wire(Untagged::Search(vec![])), "* SEARCH\r\n");
    assert_eq!(wire(Untagged::Search(vec![2, u32::MAX])), "* SEARCH 2 4294967295\r\n");
    assert_eq!(wire(Untagged::Id(vec![])), "* ID NIL\r\n");
    assert_eq!(wire(Untagged::Id(vec![("name".into(), None)])), "* ID (\"name\" NIL)\r\n");
    let namespace = [vec![(String::new(), '/')], vec![], vec![("Shared/".into(), '\\')]];
    assert_eq!(wire(Untagged::Namespace(namespace)), "* NAMESPACE ((\"\" \"/\")) NIL ((\"Shared/\" \"\\\\\"))\r\n");
    let items = vec![(StatusItem::Messages, 231), (StatusItem::Size, u64::MAX)];
    assert_eq!(
        wire(Untagged::StatusData(MailboxName::inbox(), items)),
        "* STATUS INBOX (MESSAGES 231 SIZE 18446744073709551615)\r\n"
    );
    let list = |name: &str, separator| ListEntry {
        kind: ListResponse::List,
        attributes: vec![ListAttribute::NoSelect, ListAttribute::SpecialUse(SpecialUse::Sent)],
        separator,
        name: ListName::Text(name.to_owned()),
    };
    assert_eq!(wire(Untagged::List(list("", Some('/')))), "* LIST (\\Noselect \\Sent) \"/\" \"\"\r\n");
    assert_eq!(wire(Untagged::List(list("NIL", None))), "* LIST (\\Noselect \\Sent) NIL \"NIL\"\r\n");
    assert_eq!(wire(Untagged::List(list("a\"b", None))), "* LIST (\\Noselect \\Sent) NIL \"a\\\"b\"\r\n");
    let utf8 = NameFormat { utf8: true, ..NameFormat::default() };
    assert_eq!(wire_in(Untagged::List(list("é", None)), utf8), "* LIST (\\Noselect \\Sent) NIL \"é\"\r\n");
    assert_eq!(wire(Untagged::List(list("é", None))), "* LIST (\\Noselect \\Sent) NIL {2}\r\né\r\n");
}

#[test]
fn threads_of_rfc_5256() {
    let node = |message: u32, replies: Vec<Thread>| Thread { message: Some(message), replies };
    let dummy = |replies: Vec<Thread>| Thread { message: None, replies };
    // The example of RFC 5256 §4.
    let fork = node(6, vec![node(4, vec![node(23, vec![])]), node(44, vec![node(7, vec![node(96, vec![])])])]);
    let roots = vec![node(2, vec![]), node(3, vec![fork])];
    assert_eq!(wire(Untagged::Thread(roots)), "* THREAD (2)(3 6 (4 23)(44 7 96))\r\n");
    assert_eq!(wire(Untagged::Thread(vec![])), "* THREAD\r\n");
    assert_eq!(wire(Untagged::Thread(vec![dummy(vec![node(3, vec![]), node(5, vec![])])])), "* THREAD ((3)(5))\r\n");
    assert_eq!(wire(Untagged::Thread(vec![dummy(vec![node(3, vec![])]), dummy(vec![])])), "* THREAD (3)\r\n");
    let inner = node(1, vec![dummy(vec![node(2, vec![]), node(3, vec![])]), node(4, vec![])]);
    assert_eq!(wire(Untagged::Thread(vec![inner])), "* THREAD (1 (2)(3)(4))\r\n");
}

#[test]
fn fetch_flags_and_numbers() {
    let mut flags = FlagSet::from(SystemFlag::Seen);
    flags.insert(Flag::Keyword(Keyword::new("$Forwarded").unwrap()));
    assert_eq!(fetch(FetchData::Flags { flags, recent: true }), "* 12 FETCH (FLAGS (\\Seen $Forwarded \\Recent))\r\n");
    assert_eq!(fetch(FetchData::Flags { flags: FlagSet::new(), recent: false }), "* 12 FETCH (FLAGS ())\r\n");
    let data = vec![FetchData::Uid(Uid::MAX), FetchData::Rfc822Size(0)];
    assert_eq!(wire(Untagged::Fetch(SeqNum::MIN, data)), "* 1 FETCH (UID 4294967295 RFC822.SIZE 0)\r\n");
    let date = InternalDate { unix_seconds: 837_596_665, offset_minutes: -420 };
    assert_eq!(fetch(FetchData::InternalDate(date)), "* 12 FETCH (INTERNALDATE \"17-Jul-1996 02:44:25 -0700\")\r\n");
}

#[test]
fn fetch_sections() {
    let section = |part: &[u32], text| Section { part: part.to_vec(), text };
    let of = |section, origin, data: Option<&'static [u8]>| {
        fetch(FetchData::Section { section, origin, data: data.map(Bytes::from_static) })
    };
    assert_eq!(of(section(&[], None), None, Some(b"a\r\n")), "* 12 FETCH (BODY[] {3}\r\na\r\n)\r\n");
    assert_eq!(of(section(&[1, 2], None), Some(0), Some(b"")), "* 12 FETCH (BODY[1.2]<0> {0}\r\n)\r\n");
    assert_eq!(of(section(&[4], Some(SectionText::Mime)), None, None), "* 12 FETCH (BODY[4.MIME] NIL)\r\n");
    let fields = SectionText::HeaderFields(vec!["DATE".into(), "X \"".into()]);
    assert_eq!(
        of(section(&[], Some(fields)), None, Some(b"x")),
        "* 12 FETCH (BODY[HEADER.FIELDS (DATE \"X \\\"\")] {1}\r\nx)\r\n"
    );
    let fields = SectionText::HeaderFieldsNot(vec!["To".into()]);
    assert_eq!(of(section(&[2], Some(fields)), None, None), "* 12 FETCH (BODY[2.HEADER.FIELDS.NOT (To)] NIL)\r\n");
    assert_eq!(
        fetch(FetchData::Binary { part: vec![1], origin: Some(5), data: Some(Bytes::from_static(b"\0a")) }),
        "* 12 FETCH (BINARY[1]<5> ~{2}\r\n\0a)\r\n"
    );
    assert_eq!(fetch(FetchData::BinarySize { part: vec![1, 2], size: 9 }), "* 12 FETCH (BINARY.SIZE[1.2] 9)\r\n");
    let header = FetchData::Rfc822(Rfc822Item::Header, Bytes::from_static(b"\r\n"));
    assert_eq!(fetch(header), "* 12 FETCH (RFC822.HEADER {2}\r\n\r\n)\r\n");
}

#[test]
fn a_fetch_in_pieces_is_the_same_as_whole() {
    let mut out = Vec::new();
    let section = Section { part: vec![1], text: None };
    let mut line = FetchLine::begin(&mut out, SeqNum::MIN);
    line.datum(&mut out, NameFormat::default(), &FetchData::Uid(Uid::MIN));
    line.section_head(&mut out, &section, Some(3), 4);
    out.extend_from_slice(b"data");
    line.rfc822_head(&mut out, Rfc822Item::Text, 1);
    out.extend_from_slice(b"x");
    line.end(&mut out);
    let whole = vec![
        FetchData::Uid(Uid::MIN),
        FetchData::Section { section, origin: Some(3), data: Some(Bytes::from_static(b"data")) },
        FetchData::Rfc822(Rfc822Item::Text, Bytes::from_static(b"x")),
    ];
    assert_eq!(String::from_utf8(out).unwrap(), wire(Untagged::Fetch(SeqNum::MIN, whole)));
}

#[test]
fn what_is_only_borrowed_is_written_the_same() {
    let (envelope, part) = (Envelope { subject: Some(b"s".to_vec()), ..Envelope::default() }, text_part(3, 1));
    let section = Section { part: vec![2], text: Some(SectionText::Mime) };
    let (mut out, format) = (Vec::new(), NameFormat::default());
    let mut line = FetchLine::begin(&mut out, SeqNum::MIN);
    line.envelope(&mut out, format, &envelope);
    line.body(&mut out, format, &part);
    line.body_structure(&mut out, format, &part);
    line.section(&mut out, &section, None, None);
    line.end(&mut out);
    let whole = vec![
        FetchData::Envelope(Box::new(envelope)),
        FetchData::Body(Box::new(part.clone())),
        FetchData::BodyStructure(Box::new(part)),
        FetchData::Section { section, origin: None, data: None },
    ];
    assert_eq!(String::from_utf8(out).unwrap(), wire(Untagged::Fetch(SeqNum::MIN, whole)));
}

fn text_part(size: u64, lines: u64) -> BodyPart {
    BodyPart {
        media_type: "TEXT".into(),
        subtype: "PLAIN".into(),
        parameters: vec![("CHARSET".into(), b"US-ASCII".to_vec())],
        encoding: "7BIT".into(),
        size,
        lines: Some(lines),
        ..BodyPart::default()
    }
}

#[test]
fn envelope_and_structure_of_rfc_3501() {
    let person = |name: Option<&str>, mailbox: &str, host: &str| Address {
        name: name.map(|name| name.into()),
        route: None,
        mailbox: Some(mailbox.into()),
        host: Some(host.into()),
    };
    let gray = vec![person(Some("Terry Gray"), "gray", "cac.washington.edu")];
    let envelope = Envelope {
        date: Some(b"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)".to_vec()),
        subject: Some(b"IMAP4rev1 WG mtg summary and minutes".to_vec()),
        from: gray.clone(),
        sender: gray.clone(),
        reply_to: gray,
        to: vec![person(None, "imap", "cac.washington.edu")],
        cc: vec![person(None, "minutes", "CNRI.Reston.VA.US"), person(Some("John Klensin"), "KLENSIN", "MIT.EDU")],
        message_id: Some(b"<B27397-0100000@cac.washington.edu>".to_vec()),
        ..Envelope::default()
    };
    // RFC 3501 §8.
    assert_eq!(
        fetch(FetchData::Envelope(Box::new(envelope))),
        "* 12 FETCH (ENVELOPE (\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"IMAP4rev1 WG mtg summary and minutes\" \
         ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) \
         ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((NIL NIL \"imap\" \"cac.washington.edu\")) \
         ((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")(\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) NIL NIL \
         \"<B27397-0100000@cac.washington.edu>\"))\r\n"
    );
    assert_eq!(
        fetch(FetchData::Body(Box::new(text_part(3028, 92)))),
        "* 12 FETCH (BODY (\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 3028 92))\r\n"
    );
}

#[test]
fn extended_structures() {
    let mut message = BodyPart {
        media_type: "message".into(),
        subtype: "rfc822".into(),
        encoding: "7BIT".into(),
        size: 3,
        lines: Some(1),
        disposition: Some(("attachment".into(), vec![("filename".into(), b"a\"b".to_vec())])),
        language: vec![b"de".to_vec(), b"en".to_vec()],
        content: PartContent::Message(Box::default(), Box::new(text_part(1, 0))),
        ..BodyPart::default()
    };
    let text = r#"("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 1 0 NIL NIL NIL NIL)"#;
    let envelope = "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)";
    let expected = format!(
        r#"("message" "rfc822" NIL NIL NIL "7BIT" 3 {envelope} {text} 1 NIL ("attachment" ("filename" "a\"b")) ("de" "en") NIL)"#
    );
    let of = |part: &BodyPart| fetch(FetchData::BodyStructure(Box::new(part.clone())));
    assert_eq!(of(&message), format!("* 12 FETCH (BODYSTRUCTURE {expected})\r\n"));
    let mixed = BodyPart {
        media_type: "multipart".into(),
        subtype: "mixed".into(),
        parameters: vec![("boundary".into(), b"x".to_vec())],
        language: vec![b"de".to_vec()],
        location: Some(b"here".to_vec()),
        content: PartContent::Multipart(vec![text_part(1, 0), message.clone()]),
        ..BodyPart::default()
    };
    assert_eq!(
        of(&mixed),
        format!("* 12 FETCH (BODYSTRUCTURE ({text}{expected} \"mixed\" (\"boundary\" \"x\") NIL \"de\" \"here\"))\r\n")
    );
    // What has no form in the grammar becomes an opaque part.
    message.content = PartContent::Single;
    assert!(of(&message).contains(r#"("APPLICATION" "OCTET-STREAM" NIL NIL NIL "8BIT" 3 NIL NIL NIL NIL)"#));
    let mut deep = text_part(1, 0);
    for _ in 0..150 {
        deep = BodyPart { content: PartContent::Multipart(vec![deep]), ..BodyPart::default() };
    }
    let text = of(&deep);
    assert_eq!(text.matches('(').count(), text.matches(')').count());
    assert!(text.len() < 5000);
}

#[test]
fn long_strings_are_literals() {
    let long = "x".repeat(5000);
    let line = wire(Untagged::Id(vec![("name".into(), Some(long.clone()))]));
    assert_eq!(line, format!("* ID (\"name\" {{5000}}\r\n{long})\r\n"));
}

#[test]
fn every_plain_code_has_its_own_name() {
    let mut names: Vec<_> = ResponseCode::PLAIN.iter().map(ResponseCode::name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), ResponseCode::PLAIN.len());
    assert!(names.iter().all(|name| !name.is_empty()));
}
