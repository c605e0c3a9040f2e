//! Structures, envelopes and sections of whole messages: known, nested, broken and hostile ones.

use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::command::{Partial, Section, SectionText};
use crate::encode::encode;
use crate::mailbox_name::NameFormat;
use crate::number::SeqNum;
use crate::response::{FetchData, Response, Untagged};

fn fetched(datum: FetchData) -> String {
    let mut out = Vec::new();
    encode(&Response::Untagged(Untagged::Fetch(SeqNum::MIN, vec![datum])), NameFormat::default(), &mut out);
    let text = String::from_utf8(out).unwrap();
    text.strip_prefix("* 1 FETCH (").unwrap().strip_suffix(")\r\n").unwrap().to_owned()
}

fn structure(message: &str) -> String {
    fetched(FetchData::Body(Box::new(summarise(message.as_bytes()).structure)))
}

fn envelope(message: &str) -> String {
    fetched(FetchData::Envelope(Box::new(summarise(message.as_bytes()).envelope)))
}

/// The message of RFC 3501 §8, whose lines are counted there.
const RFC_3501: &str = "Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\nFrom: Terry Gray <gray@cac.washington.edu>\r\n\
    Subject: IMAP4rev1 WG mtg summary and minutes\r\nTo: imap@cac.washington.edu\r\n\
    cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\n\
    Message-Id: <B27397-0100000@cac.washington.edu>\r\nMIME-Version: 1.0\r\n\
    Content-Type: TEXT/PLAIN; CHARSET=US-ASCII\r\n\r\n";

#[test]
fn the_example_of_rfc_3501() {
    assert_eq!(
        envelope(RFC_3501),
        "ENVELOPE (\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"IMAP4rev1 WG mtg summary and minutes\" \
         ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) \
         ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((NIL NIL \"imap\" \"cac.washington.edu\")) \
         ((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")(\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) NIL NIL \
         \"<B27397-0100000@cac.washington.edu>\")"
    );
    let message = format!("{RFC_3501}{}", "0123456789\r\n".repeat(92));
    assert_eq!(structure(&message), "BODY (\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 1104 92)");
}

#[test]
fn the_two_parts_of_rfc_3501() {
    // The structure of RFC 3501 §7.4.2, with a body of 152 and one of 554 octets as transferred.
    let text = format!("{}\r\n", "x".repeat(1150));
    let message = format!(
        "Content-Type: MULTIPART/MIXED; boundary=x\r\n\r\n--x\r\nContent-Type: TEXT/PLAIN; CHARSET=US-ASCII\r\n\r\n{text}\r\n--x\r\n\
         Content-Type: TEXT/PLAIN; CHARSET=US-ASCII; NAME=cc.diff\r\nContent-ID: <960723163407.20117h@cac.washington.edu>\r\n\
         Content-Description: Compiler diff\r\nContent-Transfer-Encoding: BASE64\r\n\r\n{}\r\n--x--\r\n",
        "QUFB\r\n".repeat(73)
    );
    assert_eq!(
        structure(&message),
        "BODY ((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 1152 1)(\"TEXT\" \"PLAIN\" (\"CHARSET\" \
         \"US-ASCII\" \"NAME\" \"cc.diff\") \"<960723163407.20117h@cac.washington.edu>\" \"Compiler diff\" \"BASE64\" 438 73) \
         \"MIXED\")"
    );
}

#[test]
fn envelopes_keep_the_octets() {
    let message = "Subject: =?utf-8?q?a?=\r\n =?utf-8?q?b?=\r\nSubject: second\r\nFrom: =?utf-8?q?J=2C?= <j@x>\r\nSender:\r\n\
        To: a@b\r\nTo: c@d\r\nDate:\r\n\r\n";
    assert_eq!(
        envelope(message),
        "ENVELOPE (\"\" \"=?utf-8?q?a?= =?utf-8?q?b?=\" ((\"=?utf-8?q?J=2C?=\" NIL \"j\" \"x\")) ((\"=?utf-8?q?J=2C?=\" NIL \
         \"j\" \"x\")) ((\"=?utf-8?q?J=2C?=\" NIL \"j\" \"x\")) ((NIL NIL \"a\" \"b\")(NIL NIL \"c\" \"d\")) NIL NIL NIL NIL)"
    );
    let summary = summarise(b"Subject: \xff\0x\r\n\r\n");
    assert_eq!(summary.envelope.subject.as_deref(), Some(b"\xff?x".as_slice()));
}

const NESTED: &str = "Subject: outer\r\nContent-Type: multipart/mixed; boundary=\"o\"\r\n\r\npreamble\r\n--o\r\n\r\none\r\n--o\r\n\
    Content-Type: message/rfc822\r\nX-Part: 2\r\n\r\nSubject: inner\r\nFrom: a@b\r\nContent-Type: multipart/alternative; boundary=i\r\n\r\n\
    --i\r\nContent-Type: text/html\r\n\r\n<p>\r\n--i\r\nContent-Type: message/rfc822\r\n\r\nSubject: deep\r\n\r\nbottom\r\n\
    --i--\r\n--o  \r\nContent-Type: message/rfc822\r\n\r\nSubject: single\r\n\r\nsingle body\r\n--o--\r\nepilogue\r\n";

fn section(message: &str, part: &[u32], text: Option<SectionText>) -> Option<String> {
    let summary = summarise(message.as_bytes());
    let section = Section { part: part.to_vec(), text };
    let bytes = section_bytes(&Bytes::copy_from_slice(message.as_bytes()), &summary.structure, &section, None)?;
    Some(String::from_utf8(bytes.to_vec()).unwrap())
}

#[test]
fn nested_structure() {
    let text = "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\"";
    let none = "NIL NIL NIL NIL NIL NIL NIL NIL";
    let from = "((NIL NIL \"a\" \"b\"))";
    let deep = format!("(\"message\" \"rfc822\" NIL NIL NIL \"7BIT\" 23 (NIL \"deep\" {none}) {text} 6 0) 2)");
    let inner = format!("((\"text\" \"html\" NIL NIL NIL \"7BIT\" 3 0){deep} \"alternative\")");
    let envelope = format!("(NIL \"inner\" {from} {from} {from} NIL NIL NIL NIL NIL)");
    let single = format!("(\"message\" \"rfc822\" NIL NIL NIL \"7BIT\" 30 (NIL \"single\" {none}) {text} 11 0) 2)");
    let second = format!("(\"message\" \"rfc822\" NIL NIL NIL \"7BIT\" 182 {envelope} {inner} 14)");
    assert_eq!(structure(NESTED), format!("BODY ({text} 3 0){second}{single} \"mixed\")"));
}

#[test]
fn sections_of_a_nested_message() {
    let of = |part: &[u32], text| section(NESTED, part, text);
    assert_eq!(of(&[], None).as_deref(), Some(NESTED));
    assert_eq!(
        of(&[], Some(SectionText::Header)).as_deref(),
        Some("Subject: outer\r\nContent-Type: multipart/mixed; boundary=\"o\"\r\n\r\n")
    );
    assert!(of(&[], Some(SectionText::Text)).unwrap().starts_with("preamble\r\n--o"));
    assert_eq!(of(&[1], None).as_deref(), Some("one"));
    assert_eq!(of(&[1], Some(SectionText::Mime)).as_deref(), Some("\r\n"));
    assert_eq!(of(&[1], Some(SectionText::Header)), None);
    assert_eq!(of(&[1], Some(SectionText::Text)), None);
    assert_eq!(of(&[1, 1], None), None);
    assert!(of(&[2], None).unwrap().starts_with("Subject: inner"));
    assert_eq!(of(&[2], Some(SectionText::Mime)).as_deref(), Some("Content-Type: message/rfc822\r\nX-Part: 2\r\n\r\n"));
    let fields = SectionText::HeaderFields(vec!["SUBJECT".into()]);
    assert_eq!(of(&[2], Some(fields.clone())).as_deref(), Some("Subject: inner\r\n\r\n"));
    assert_eq!(of(&[], Some(fields.clone())).as_deref(), Some("Subject: outer\r\n\r\n"));
    assert_eq!(of(&[1], Some(fields)), None);
    let others = SectionText::HeaderFieldsNot(vec!["content-type".into(), "from".into()]);
    assert_eq!(of(&[2], Some(others)).as_deref(), Some("Subject: inner\r\n\r\n"));
    assert!(of(&[2], Some(SectionText::Text)).unwrap().starts_with("--i\r\n"));
    assert_eq!(of(&[2, 1], None).as_deref(), Some("<p>"));
    assert_eq!(of(&[2, 2], None).as_deref(), Some("Subject: deep\r\n\r\nbottom"));
    assert_eq!(of(&[2, 2, 1], None).as_deref(), Some("bottom"));
    assert_eq!(of(&[2, 2, 1], Some(SectionText::Mime)).as_deref(), Some("Subject: deep\r\n\r\n"));
    assert_eq!(of(&[2, 2, 1, 1], None), None);
    assert_eq!(of(&[3, 1], None).as_deref(), Some("single body"));
    assert_eq!(of(&[3, 2], None), None);
    assert_eq!(of(&[4], None), None);
    assert_eq!(of(&[0], None), None);
}

#[test]
fn a_single_part_is_part_one() {
    let message = "Subject: x\r\n\r\nbody\r\n";
    assert_eq!(section(message, &[1], None).as_deref(), Some("body\r\n"));
    assert_eq!(section(message, &[1], Some(SectionText::Mime)).as_deref(), Some("Subject: x\r\n\r\n"));
    assert_eq!(section(message, &[1, 1], None), None);
    assert_eq!(section(message, &[2], None), None);
    let message = "Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nbody";
    assert_eq!(section(message, &[1], None).as_deref(), Some("Subject: in\r\n\r\nbody"));
    assert_eq!(section(message, &[1, 1], None).as_deref(), Some("body"));
    assert_eq!(section(message, &[1], Some(SectionText::Text)).as_deref(), Some("body"));
}

#[test]
fn partials() {
    let cut_to = |first, count| cut(10..20, Some(Partial { first, count }));
    assert_eq!(cut(10..20, None), 10..20);
    assert_eq!(cut_to(0, 3), 10..13);
    assert_eq!(cut_to(8, 3), 18..20);
    assert!(cut_to(10, 1).is_empty() && cut_to(u32::MAX, u32::MAX).is_empty());
    let message = Bytes::from_static(b"A: b\r\nC: d\r\n\r\nbody");
    let structure = summarise(&message).structure;
    let fields = Section { part: vec![], text: Some(SectionText::HeaderFields(vec!["c".into()])) };
    let partial = Some(Partial { first: 3, count: 100 });
    assert_eq!(section_bytes(&message, &structure, &fields, partial).unwrap(), "d\r\n\r\n");
}

#[test]
fn broken_messages_are_plain_text() {
    let plain = |size: usize, lines: usize| {
        format!("BODY (\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" {size} {lines})")
    };
    assert_eq!(structure(""), plain(0, 0));
    assert_eq!(structure("no header at all"), plain(0, 0));
    assert_eq!(structure("\r\nbody\r\n"), plain(6, 1));
    assert_eq!(structure("Content-Type: multipart/mixed\r\n\r\nbody"), plain(4, 0));
    assert_eq!(structure("Content-Type: multipart/mixed; boundary=x\r\n\r\nbody --x"), plain(8, 0));
    assert_eq!(structure("Content-Type: multipart/mixed; boundary=\"\"\r\n\r\n--\r\n"), plain(4, 1));
    assert_eq!(structure("Content-Type: nonsense\r\n\r\nbody\0\u{e9}"), plain(7, 0));
    assert_eq!(structure("\0\0\0"), plain(0, 0));
    assert_eq!(structure("A: b\nContent-Type: text/x\n\na\nb\n"), "BODY (\"text\" \"x\" NIL NIL NIL \"7BIT\" 4 2)");
}

#[test]
fn delimiters() {
    let of = |body: &str| {
        let message = format!("Content-Type: multipart/x; boundary=b\r\n\r\n{body}");
        let structure = summarise(message.as_bytes()).structure;
        let text = |part: &BodyPart| message[part.body_start as usize..part.body_end as usize].to_owned();
        match &structure.content {
            PartContent::Multipart(parts) => parts.iter().map(text).collect(),
            _ => vec![],
        }
    };
    assert_eq!(of("--b\r\n\r\none\r\n--b--\r\nafter\r\n--b\r\n\r\nnot"), ["one"]);
    assert_eq!(
        of("--b\r\n\r\none\r\n--bb\r\n--b-\r\n --b\r\n--b x\r\n--b \t\r\n\r\ntwo"),
        ["one\r\n--bb\r\n--b-\r\n --b\r\n--b x", "two"]
    );
    assert_eq!(of("--b\n\none\n--b--"), ["one"]);
    assert_eq!(of("--b\r\n--b\r\n\r\n--b\r\nA: b\r\n--b--"), ["", "", ""]);
    assert_eq!(of("--b--\r\n"), Vec::<String>::new());
    assert_eq!(of("--b"), [""]);
}

#[test]
fn digest_parts_are_messages() {
    let message = "Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: one\r\n\r\nx\r\n--b\r\n\
        Content-Type: text/plain\r\n\r\ny\r\n--b--\r\n";
    let PartContent::Multipart(parts) = summarise(message.as_bytes()).structure.content else { panic!("no parts") };
    let PartContent::Message(envelope, _) = &parts[0].content else { panic!("no message") };
    assert_eq!(envelope.subject.as_deref(), Some(b"one".as_slice()));
    assert_eq!(parts[1].subtype, "plain");
}

/// Runs it and asserts that it ends in time: seconds where a quadratic algorithm needs minutes.
fn in_time<T>(what: &str, run: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = run();
    assert!(started.elapsed() < Duration::from_secs(30), "{what} took {:?}", started.elapsed());
    result
}

/// Row 30 (CVE-2024-23184): address fields without end.
#[test]
fn row_30_many_address_fields() {
    let message = "To: a@b, c@d\r\n".repeat(100_000);
    let summary = in_time("fields", || summarise(message.as_bytes()));
    assert_eq!(summary.envelope.to.len(), MAX_ADDRESSES);
    let message = format!("To: {}\r\n\r\n", "a@b,".repeat(500_000));
    let summary = in_time("addresses", || summarise(message.as_bytes()));
    assert_eq!(summary.envelope.to.len(), MAX_ADDRESSES);
    let message = format!("From: {}\r\n\r\n", "g:".repeat(500_000));
    in_time("groups", || summarise(message.as_bytes()));
}

/// Row 31 (CVE-2024-23185): giant headers.
#[test]
fn row_31_giant_headers() {
    let message = format!("Subject: {}\r\n{}\r\n", "x\r\n ".repeat(2_000_000), "X: y\r\n".repeat(500_000));
    let summary = in_time("header", || summarise(message.as_bytes()));
    assert_eq!(summary.glance.header_length, message.len() as u64);
    let message = format!("Subject: {}\r\n\r\n", "=?utf-8?q?a".repeat(300_000));
    in_time("encoded words", || summarise(message.as_bytes()));
    let message = format!("Subject: {}\r\n\r\n", "=?utf-8?b?YQ== ".repeat(300_000));
    in_time("base64 words", || summarise(message.as_bytes()));
    let message = format!("Subject: {}\r\n\r\n", "=?".repeat(1_000_000));
    in_time("starts of words", || summarise(message.as_bytes()));
    let message = format!("Subject: {}\r\n\r\n", "=?a*".repeat(500_000));
    in_time("charsets", || summarise(message.as_bytes()));
}

fn depth(part: &BodyPart) -> usize {
    1 + match &part.content {
        PartContent::Single => 0,
        PartContent::Multipart(parts) => parts.iter().map(depth).max().unwrap_or(0),
        PartContent::Message(_, inner) => depth(inner),
    }
}

fn count(part: &BodyPart) -> usize {
    1 + match &part.content {
        PartContent::Single => 0,
        PartContent::Multipart(parts) => parts.iter().map(count).sum(),
        PartContent::Message(_, inner) => count(inner),
    }
}

/// Row 32 (CVE-2020-12100, CVE-2020-25275): nested MIME, and the 10,000th part.
#[test]
fn row_32_nested_and_many_parts() {
    let message = "Content-Type: message/rfc822\r\n\r\n".repeat(100_000);
    let summary = in_time("messages in messages", || summarise(message.as_bytes()));
    assert_eq!(depth(&summary.structure), MAX_DEPTH + 1);
    fetched(FetchData::BodyStructure(Box::new(summary.structure)));
    let nested: String = (0..5000).map(|n| format!("Content-Type: multipart/mixed; boundary={n}\r\n\r\n--{n}\r\n")).collect();
    let summary = in_time("multiparts in multiparts", || summarise(nested.as_bytes()));
    assert_eq!(depth(&summary.structure), MAX_DEPTH + 1);
    for parts in [9_997, 9_998, 9_999, 10_000, 10_001, 200_000] {
        let message = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{}", "--b\r\n\r\nx\r\n".repeat(parts));
        let summary = in_time("parts", || summarise(message.as_bytes()));
        assert_eq!(count(&summary.structure), (parts + 1).min(MAX_PARTS), "{parts} parts");
        let PartContent::Multipart(found) = &summary.structure.content else { panic!("no parts") };
        assert!(found.last().unwrap().body_end as usize >= message.len() - 2);
    }
}

/// Row 33 (CVE-2026-27859): RFC 2231 parameters without end.
#[test]
fn row_33_many_parameters() {
    let pieces: String = (0..200_000).map(|n| format!(";boundary*{n}=x")).collect();
    let message = format!("Content-Type: multipart/mixed{pieces}\r\n\r\n--x\r\n");
    let summary = in_time("pieces", || summarise(message.as_bytes()));
    assert!(summary.structure.parameters.len() <= 1000);
    let message = format!("Content-Type: a/b{}\r\n\r\n", ";a(".repeat(300_000));
    in_time("comments", || summarise(message.as_bytes()));
}

/// Row 34 (CVE-2026-26312): a structure that seems to hold itself.
#[test]
fn row_34_the_same_boundary_inside() {
    let head = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n";
    let summary = in_time("cycle", || summarise(head.repeat(20_000).as_bytes()));
    assert!(count(&summary.structure) <= MAX_PARTS);
    assert!(depth(&summary.structure) <= 3);
}

/// Rows 35 and 36 (CVE-2026-27852, CVE-2019-19722): bad headers, groups in From and To.
#[test]
fn rows_35_and_36_bad_headers_and_groups() {
    for header in [
        "From: :;",
        "From: a:;",
        "From: ;",
        "To: a:b:c;;",
        "From: g: <>;",
        "From: @",
        "From: <@>",
        "From: <:>",
        "From: \"",
        "From: \\",
        "From: (",
        "From",
        ":",
        ": x",
        " x",
        "\t",
        "From:\r\n ",
        "Content-Type: ;;;=",
        "Content-Type: a/b;=",
        "Date: \u{0}",
        "Date: 99999999999 Jan",
        "References: <",
        "Content-Disposition: \"",
        "Content-Language: ,,(,",
        "From: <a@b",
        "From: [",
        "From: a@[",
        "From: =?",
        "From: =?=?=?",
    ] {
        let summary = summarise(header.as_bytes());
        fetched(FetchData::Envelope(Box::new(summary.envelope)));
        fetched(FetchData::BodyStructure(Box::new(summary.structure)));
    }
    let text = envelope("From: g: a@b;\r\nTo: :;\r\n\r\n");
    assert!(text.contains("((NIL NIL \"g\" NIL)(NIL NIL \"a\" \"b\")(NIL NIL NIL NIL))"), "{text}");
    assert!(text.contains("((NIL NIL \"\" NIL)(NIL NIL NIL NIL))"), "{text}");
}

/// Row 37 (CVE-2020-7046, CVE-2020-7957): UTF-8 that is cut off.
#[test]
fn row_37_truncated_utf8() {
    let message = b"Subject: \xc3\r\nFrom: \xe2\x82 <a@b>\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\xf0\x9f\x98";
    let summary = summarise(message);
    assert_eq!(summary.envelope.subject.as_deref(), Some(b"\xc3".as_slice()));
    let bodies = texts(&summary.structure).filter(|text| text.kind == TextKind::Body);
    assert_eq!(bodies.map(|text| text.read(message)).collect::<Vec<_>>(), ["\u{fffd}"]);
    let words = b"Subject: =?utf-8?q?=C3?= =?utf-8?b?8J+Y?= =?utf-16?b?2A==?=\r\n\r\n";
    assert_eq!(fields(words).map(|field| field_text(&field)).collect::<Vec<_>>().len(), 1);
}

/// Rows 38 and 39 (CVE-2026-47088, CVE-2026-39820): comments that end in a backslash, comments in comments.
#[test]
fn rows_38_and_39_comments() {
    for field in [
        "From: a@b (x\\",
        "From: (\\",
        "From: \"x\\",
        "From: <a@b(\\",
        "Content-Type: text/plain (\\",
        "Content-Type: a/b; c=\"\\",
    ] {
        summarise(field.as_bytes());
    }
    for field in
        ["From", "Content-Type", "Content-Disposition", "Content-Transfer-Encoding", "Content-Language", "Date", "References"]
    {
        for piece in ["(", "()", "(\\", "a(", "<(", "\"("] {
            let message = format!("{field}: {}\r\n\r\n", piece.repeat(300_000));
            in_time(field, || summarise(message.as_bytes()));
        }
    }
}

/// Every leaf and every body has the size that its octets have, and lies where it should.
fn assert_sound(message: &[u8], part: &BodyPart, outer: std::ops::Range<u64>) {
    assert!(outer.start <= part.header_start && part.header_start <= part.body_start);
    assert!(part.body_start <= part.body_end && part.body_end <= outer.end);
    assert_eq!(part.size, part.body_end - part.body_start);
    let octets = &message[part.body_start as usize..part.body_end as usize];
    if let Some(lines) = part.lines {
        assert_eq!(lines, octets.iter().filter(|byte| **byte == b'\n').count() as u64);
    }
    assert!(!part.media_type.is_empty() && !part.subtype.is_empty() && !part.encoding.is_empty());
    match &part.content {
        PartContent::Single => assert!(!part.is_message_type()),
        PartContent::Multipart(parts) => {
            assert!(!parts.is_empty());
            assert!(parts.is_sorted_by(|left, right| left.body_end <= right.header_start));
            parts.iter().for_each(|inner| assert_sound(message, inner, part.body_start..part.body_end));
        }
        PartContent::Message(_, inner) => {
            assert_eq!((inner.header_start, inner.body_end), (part.body_start, part.body_end));
            assert_sound(message, inner, part.body_start..part.body_end);
        }
    }
}

/// A message's text and the texts of its leaves.
fn generated() -> impl Strategy<Value = (String, Vec<String>)> {
    let leaf =
        "[a-z -]{0,10}(\r\n[a-z -]{0,10}){0,3}".prop_map(|text| (format!("Content-Type: text/plain\r\n\r\n{text}"), vec![text]));
    let number = std::sync::atomic::AtomicU32::new(0);
    leaf.prop_recursive(4, 30, 4, move |inner| {
        let boundary = format!("=_{}", number.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let message = inner.clone().prop_map(|(text, leaves)| (format!("Content-Type: message/rfc822\r\n\r\n{text}"), leaves));
        let multipart = (proptest::collection::vec(inner, 1..4), any::<bool>()).prop_map(move |(parts, is_closed)| {
            let body: String = parts.iter().map(|(text, _)| format!("--{boundary}\r\n{text}\r\n")).collect();
            let end = if is_closed { format!("--{boundary}--\r\nepilogue") } else { format!("--{boundary}--") };
            let text = format!("Content-Type: multipart/mixed; boundary=\"{boundary}\"\r\n\r\npreamble\r\n{body}{end}");
            (text, parts.into_iter().flat_map(|(_, leaves)| leaves).collect())
        });
        prop_oneof![message, multipart]
    })
}

fn leaves(message: &str, part: &BodyPart, found: &mut Vec<String>) {
    match &part.content {
        PartContent::Single => found.push(message[part.body_start as usize..part.body_end as usize].to_owned()),
        PartContent::Multipart(parts) => parts.iter().for_each(|inner| leaves(message, inner, found)),
        PartContent::Message(_, inner) => leaves(message, inner, found),
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_have_a_sound_summary(bytes: Vec<u8>) {
        assert_sound(&bytes, &summarise(&bytes).structure, 0..bytes.len() as u64);
    }

    #[test]
    fn arbitrary_mime_has_a_sound_summary(pieces in proptest::collection::vec(prop_oneof![
        Just("Content-Type: multipart/mixed; boundary=b\r\n"), Just("Content-Type: multipart/digest; boundary=\"c\"\n"),
        Just("Content-Type: message/rfc822\r\n"), Just("\r\n"), Just("\n"), Just("--b\r\n"), Just("--b--\r\n"), Just("--c"), Just("\r"),
        Just("From: g: a <b@c>, (x) d;\r\n"), Just("text"), Just("--"), Just(" "), Just("\0"), Just("Content-Transfer-Encoding: base64\r\n"),
        Just("Date: Mon, 7 Feb 1994 21:52:25 -0800\r\n"), Just("Subject: =?utf-8?q?"), Just("\u{e9}"), Just(":"), Just("\""),
    ], 0..40)) {
        let message = pieces.concat();
        let summary = summarise(message.as_bytes());
        assert_sound(message.as_bytes(), &summary.structure, 0..message.len() as u64);
        let json = serde_json::to_string(&summary).unwrap();
        prop_assert_eq!(serde_json::from_str::<Summary>(&json).unwrap(), summary);
    }

    #[test]
    fn a_generated_message_is_taken_apart((message, texts) in generated()) {
        let summary = summarise(message.as_bytes());
        assert_sound(message.as_bytes(), &summary.structure, 0..message.len() as u64);
        let mut found = Vec::new();
        leaves(&message, &summary.structure, &mut found);
        prop_assert_eq!(found, texts);
    }
}
