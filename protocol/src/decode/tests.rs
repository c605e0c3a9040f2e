//! Encoder and decoder are each other's inverse, and the decoder takes what other servers say.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::command::{Section, SectionText};
use crate::date::InternalDate;
use crate::encode::encode;
use crate::mime::{Address, BodyPart, Envelope, Parameters, PartContent};
use crate::response::{FetchData, Rfc822Item};

fn of(line: &str) -> Response {
    decode(line.as_bytes(), NameFormat::default()).unwrap()
}

fn wire(response: &Response, format: NameFormat) -> Vec<u8> {
    let mut out = Vec::new();
    encode(response, format, &mut out);
    out
}

fn is_other(line: &str) -> bool {
    matches!(of(line), Response::Untagged(Untagged::Other(text)) if format!("* {text}\r\n") == line)
}

#[test]
fn other_servers() {
    assert_eq!(
        of("* ok [HIGHESTMODSEQ 12]  Highest\r\n"),
        Response::Untagged(Untagged::Status(Status {
            condition: Condition::Ok,
            code: Some(ResponseCode::Other("HIGHESTMODSEQ 12".into())),
            text: " Highest".into()
        }))
    );
    assert_eq!(
        of("a OK [uidnext x] t"),
        Response::Tagged(
            Tag::new("a").unwrap(),
            Status { condition: Condition::Ok, code: Some(ResponseCode::Other("uidnext x".into())), text: "t".into() }
        )
    );
    assert_eq!(
        of("* BYE [never closed"),
        Response::Untagged(Untagged::Status(Status { condition: Condition::Bye, code: None, text: "[never closed".into() }))
    );
    for line in [
        "* VANISHED (EARLIER) 1:5\r\n",
        "* ESEARCH (TAG \"a\") UID ALL 1\r\n",
        "* 5 FETCH (MODSEQ (12))\r\n",
        "* 0 EXPUNGE\r\n",
        "* SEARCH 1 2 (MODSEQ 5)\r\n",
        "* STATUS x (HIGHESTMODSEQ 5)\r\n",
        "* 99999999999 EXISTS\r\n",
        "* 1 EXISTS now\r\n",
        "* FLAGS (a\r\n",
        "* 1 FETCH (BODY[] {9}\r\nshort)\r\n",
        "* \r\n",
    ] {
        assert!(is_other(line), "{line}: {:?}", of(line));
    }
    assert_eq!(of("* FLAGS (\\Seen \\Odd $x)"), of("* FLAGS (\\SEEN $X)"));
    assert_eq!(of("* SEARCH 1 2 \r\n"), Response::Untagged(Untagged::Search(vec![1, 2])));
    assert_eq!(
        of("* list (\\Marked) \"/\" inbox (\"CHILDINFO\" (\"a\"))"),
        of("* list (\\Marked) \"/\" inbox (\"CHILDINFO\" (\"a\"))")
    );
    assert_eq!(of("+\r\n"), Response::Continuation(String::new()));
    for line in ["", "a", "a1 MAYBE x", "*", "(a OK", "a\u{e9} OK x"] {
        assert!(decode(line.as_bytes(), NameFormat::default()).is_err(), "{line}");
    }
}

#[test]
fn nesting_is_bounded() {
    for opening in ["* THREAD ", "* 1 FETCH (BODYSTRUCTURE ", "* 1 FETCH (ENVELOPE ", "* NAMESPACE ", "* X "] {
        let line = format!("{opening}{}\r\n", "(".repeat(200_000));
        assert!(is_other(&line));
    }
    let chain = |length: usize, end: &str| format!("* THREAD ({}{end})\r\n", vec!["7"; length].join(" "));
    assert!(!is_other(&chain(Thread::MAX_DEPTH, "")) && !is_other(&chain(Thread::MAX_DEPTH - 1, " (8)(9)")));
    assert!(is_other(&chain(Thread::MAX_DEPTH + 1, "")) && is_other(&chain(Thread::MAX_DEPTH, " (8)(9)")));
}

fn text() -> impl Strategy<Value = String> {
    "[ -~&&[^\\[]][ -~]{0,20}"
}

/// Short ones, and now and then one that is too long for a quoted string.
fn octets() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        20 => short_octets(),
        1 => (4090usize..4100, any::<bool>()).prop_map(|(length, is_plain)| vec![if is_plain { b'x' } else { 200 }; length]),
    ]
}

fn short_octets() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..12),
        "[ -~]{0,12}".prop_map(String::into_bytes),
        "[äöü\\\\\"]{0,5}".prop_map(String::into_bytes)
    ]
}

fn uid() -> impl Strategy<Value = Uid> {
    (1u32..).prop_map(|number| Uid::new(number).unwrap())
}

fn sequence() -> impl Strategy<Value = SeqNum> {
    (1u32..).prop_map(|number| SeqNum::new(number).unwrap())
}

fn validity() -> impl Strategy<Value = UidValidity> {
    (1u32..).prop_map(|number| UidValidity::new(number).unwrap())
}

fn uids() -> impl Strategy<Value = UidSet> {
    vec((1u32..100_000, 0u32..5), 1..8).prop_map(|ranges| {
        let mut set = UidSet::new();
        for (first, length) in ranges {
            set.insert_range(Uid::new(first).unwrap(), Uid::new(first + length).unwrap());
        }
        set
    })
}

fn any_flag() -> impl Strategy<Value = Flag> {
    prop_oneof![
        proptest::sample::select(SystemFlag::ALL.as_slice()).prop_map(Flag::System),
        "[!#$&'+-Z^-z|}~][!#$&'+-\\[^-z|}~]{0,8}".prop_map(|text| Flag::Keyword(Keyword::new(&text).unwrap())),
    ]
}

fn any_capabilities() -> impl Strategy<Value = Vec<Capability>> {
    vec("IMAP4REV1|IMAP4REV2|[A-Z][A-Z0-9=+-]{0,8}".prop_map(|name| Capability::new(&name)), 0..5)
}

fn any_code() -> impl Strategy<Value = ResponseCode> {
    let new_keywords = prop_oneof![Just(NewKeywords::Allowed), Just(NewKeywords::Refused)];
    prop_oneof![
        4 => proptest::sample::select(ResponseCode::PLAIN.to_vec()),
        1 => (validity(), uids()).prop_map(|(validity, set)| ResponseCode::AppendUid(validity, set)),
        1 => (validity(), uids(), uids()).prop_map(|(validity, from, to)| ResponseCode::CopyUid(validity, from, to)),
        1 => vec("[ -~]{1,8}", 0..3).prop_map(ResponseCode::BadCharset),
        1 => any_capabilities().prop_map(ResponseCode::Capability),
        1 => (vec(any_flag(), 0..4), new_keywords).prop_map(|(flags, new)| ResponseCode::PermanentFlags(flags, new)),
        1 => vec("imap://[a-z;=/%@]{1,10}", 1..3).prop_map(ResponseCode::Referral),
        1 => uid().prop_map(ResponseCode::UidNext),
        1 => validity().prop_map(ResponseCode::UidValidity),
        1 => sequence().prop_map(ResponseCode::Unseen),
        1 => "X-[A-Z]{1,5}( [ -\\\\^-~]{0,8})?".prop_map(ResponseCode::Other),
    ]
}

fn any_status() -> impl Strategy<Value = Status> {
    const CONDITIONS: [Condition; 5] = [Condition::Ok, Condition::No, Condition::Bad, Condition::PreAuth, Condition::Bye];
    (proptest::sample::select(CONDITIONS.as_slice()), option::of(any_code()), text()).prop_map(|(condition, code, text)| Status {
        condition,
        code,
        text,
    })
}

/// Names of which each format has some that need escaping.
fn mailbox(separator: char) -> impl Strategy<Value = MailboxName> {
    vec("[a-zA-Z0-9äß&%* \"\\\\()~./-]{1,8}", 1..4).prop_filter_map("a name", move |levels| {
        let other = if separator == '/' { '.' } else { '/' };
        let levels: Vec<String> = levels.iter().map(|level| level.replace(separator, &other.to_string())).collect();
        MailboxName::from_segments(levels).ok()
    })
}

fn list_entry(separator: char) -> impl Strategy<Value = ListEntry> {
    let attribute = prop_oneof![
        proptest::sample::select(vec![
            ListAttribute::HasChildren,
            ListAttribute::NonExistent,
            ListAttribute::NoInferiors,
            ListAttribute::Remote,
            ListAttribute::SpecialUse(SpecialUse::All),
            ListAttribute::SpecialUse(SpecialUse::Trash),
        ]),
        "\\\\X[a-z]{1,5}".prop_map(ListAttribute::Other),
    ];
    let kind = prop_oneof![Just(ListResponse::List), Just(ListResponse::Lsub)];
    let named = (mailbox(separator).prop_map(ListName::Mailbox), Just(Some(separator)));
    // What is no name in this format.
    let text = "|[a-z]{1,5}".prop_map(move |host| {
        ListName::Text(if host.is_empty() { host } else { format!("imap://{host}{separator}{separator}x") })
    });
    let texts = (text, prop_oneof![Just(None), Just(Some(separator))]);
    (kind, vec(attribute, 0..3), prop_oneof![named, texts]).prop_map(|(kind, attributes, (name, separator))| ListEntry {
        kind,
        attributes,
        separator,
        name,
    })
}

fn threads() -> impl Strategy<Value = Vec<Thread>> {
    let leaf = any::<u32>().prop_map(|message| Thread { message: Some(message), replies: vec![] });
    let node = leaf.prop_recursive(6, 40, 4, |inner| {
        (any::<u32>(), vec(inner, 0..4)).prop_map(|(message, replies)| Thread { message: Some(message), replies })
    });
    // Up to the deepest.
    let chain = (vec(any::<u32>(), 1..Thread::MAX_DEPTH), vec(any::<u32>(), 0..3)).prop_map(|(messages, last)| {
        let last = last.into_iter().map(|message| Thread { message: Some(message), replies: vec![] }).collect();
        let link = |replies, message| vec![Thread { message: Some(message), replies }];
        messages.into_iter().fold(last, link).remove(0)
    });
    let root = prop_oneof![
        4 => node.clone(),
        1 => chain,
        1 => vec(node, 2..4).prop_map(|replies| Thread { message: None, replies }),
    ];
    vec(root, 0..4)
}

fn address() -> impl Strategy<Value = Address> {
    (option::of(octets()), option::of(octets()), option::of(octets()), option::of(octets()))
        .prop_map(|(name, route, mailbox, host)| Address { name, route, mailbox, host })
}

fn any_envelope() -> impl Strategy<Value = Envelope> {
    let lists = (
        vec(address(), 0..3),
        vec(address(), 0..2),
        vec(address(), 0..2),
        vec(address(), 0..2),
        vec(address(), 0..2),
        vec(address(), 0..2),
    );
    let texts = (option::of(octets()), option::of(octets()), option::of(octets()), option::of(octets()));
    (lists, texts).prop_map(|((from, sender, reply_to, to, cc, bcc), (date, subject, in_reply_to, message_id))| Envelope {
        date,
        subject,
        from,
        sender,
        reply_to,
        to,
        cc,
        bcc,
        in_reply_to,
        message_id,
    })
}

fn any_parameters() -> impl Strategy<Value = Parameters> {
    vec(("[a-zA-Z*]{1,8}", octets()), 0..3)
}

/// Fills in what stands in BODYSTRUCTURE only.
fn extend(part: BodyPart) -> impl Strategy<Value = BodyPart> {
    let disposition = option::of(("[a-z]{1,8}", any_parameters()));
    (option::of(octets()), disposition, vec(octets(), 0..3), option::of(octets())).prop_map(
        move |(md5, disposition, language, location)| {
            let is_multipart = matches!(part.content, PartContent::Multipart(_));
            BodyPart { md5: if is_multipart { None } else { md5 }, disposition, language, location, ..part.clone() }
        },
    )
}

fn structure(extended: bool) -> impl Strategy<Value = BodyPart> {
    let fields =
        (any_parameters(), option::of(octets()), option::of(octets()), "[A-Z0-9-]{1,8}", any::<u64>(), any::<u64>()).boxed();
    let types =
        vec![("TEXT", "x-\"y"), ("image", "x-\"y"), ("MESSAGE", "delivery-status"), ("message", "Partial"), ("text", "rfc822")];
    let leaf = (proptest::sample::select(types), fields.clone()).prop_map(
        |((media_type, subtype), (parameters, id, description, encoding, size, lines))| {
            let lines = media_type.eq_ignore_ascii_case("TEXT").then_some(lines);
            let (media_type, subtype) = (media_type.to_owned(), subtype.to_owned());
            BodyPart { media_type, subtype, parameters, id, description, encoding, size, lines, ..BodyPart::default() }
        },
    );
    let maybe_extend = move |part: BodyPart| if extended { extend(part).boxed() } else { Just(part).boxed() };
    leaf.prop_flat_map(maybe_extend).prop_recursive(4, 20, 3, move |inner| {
        let multipart = (vec(inner.clone(), 1..4), any_parameters()).prop_map(move |(parts, parameters)| BodyPart {
            media_type: "MULTIPART".into(),
            subtype: "MIXED".into(),
            parameters: if extended { parameters } else { vec![] },
            content: PartContent::Multipart(parts),
            ..BodyPart::default()
        });
        let message = (fields.clone(), any_envelope(), inner).prop_map(
            |((parameters, id, description, encoding, size, lines), envelope, inner)| BodyPart {
                media_type: "message".into(),
                subtype: "RFC822".into(),
                parameters,
                id,
                description,
                encoding,
                size,
                lines: Some(lines),
                content: PartContent::Message(Box::new(envelope), Box::new(inner)),
                ..BodyPart::default()
            },
        );
        prop_oneof![multipart, message].prop_flat_map(maybe_extend)
    })
}

fn section() -> impl Strategy<Value = Section> {
    let names = vec("[!-~ ]{1,8}", 1..3);
    let text = prop_oneof![
        Just(SectionText::Header),
        Just(SectionText::Text),
        names.clone().prop_map(SectionText::HeaderFields),
        names.prop_map(SectionText::HeaderFieldsNot),
    ];
    (vec(1u32.., 0..4), option::of(text)).prop_map(|(part, text)| Section { part, text })
}

fn bytes() -> impl Strategy<Value = Bytes> {
    octets().prop_map(Bytes::from)
}

fn datum() -> impl Strategy<Value = FetchData> {
    let item = prop_oneof![Just(Rfc822Item::Message), Just(Rfc822Item::Header), Just(Rfc822Item::Text)];
    let date = (-60_000_000_000i64..250_000_000_000, -1439i16..1439)
        .prop_map(|(unix_seconds, offset_minutes)| FetchData::InternalDate(InternalDate { unix_seconds, offset_minutes }));
    prop_oneof![
        uid().prop_map(FetchData::Uid),
        (vec(any_flag(), 0..4), any::<bool>())
            .prop_map(|(flags, recent)| FetchData::Flags { flags: flags.into_iter().collect(), recent }),
        date,
        any::<u64>().prop_map(FetchData::Rfc822Size),
        any_envelope().prop_map(|envelope| FetchData::Envelope(Box::new(envelope))),
        structure(false).prop_map(|part| FetchData::Body(Box::new(part))),
        structure(true).prop_map(|part| FetchData::BodyStructure(Box::new(part))),
        (item, bytes()).prop_map(|(item, bytes)| FetchData::Rfc822(item, bytes)),
        (section(), option::of(any::<u32>()), option::of(bytes())).prop_map(|(section, origin, data)| FetchData::Section {
            section,
            origin,
            data
        }),
        (vec(1u32.., 0..3), option::of(any::<u32>()), option::of(bytes())).prop_map(|(part, origin, data)| FetchData::Binary {
            part,
            origin,
            data
        }),
        (vec(1u32.., 1..3), any::<u64>()).prop_map(|(part, size)| FetchData::BinarySize { part, size }),
    ]
}

fn untagged_data(separator: char) -> impl Strategy<Value = Untagged> {
    const ITEMS: [StatusItem; 5] =
        [StatusItem::Messages, StatusItem::UidNext, StatusItem::Unseen, StatusItem::Deleted, StatusItem::Size];
    let namespaces = || vec(("[a-z./\"]{0,5}", prop_oneof![Just('/'), Just('.'), Just('\\'), Just('"')]), 0..3);
    prop_oneof![
        any_status().prop_map(Untagged::Status),
        any_capabilities().prop_map(Untagged::Capability),
        any_capabilities().prop_map(Untagged::Enabled),
        vec((text(), option::of(text())), 0..3).prop_map(Untagged::Id),
        (namespaces(), namespaces(), namespaces()).prop_map(|(own, other, shared)| Untagged::Namespace([own, other, shared])),
        list_entry(separator).prop_map(Untagged::List),
        (mailbox(separator), vec((proptest::sample::select(ITEMS.as_slice()), any::<u64>()), 0..4))
            .prop_map(|(name, items)| Untagged::StatusData(name, items)),
        vec(any_flag(), 0..5).prop_map(Untagged::Flags),
        any::<u32>().prop_map(Untagged::Exists),
        any::<u32>().prop_map(Untagged::Recent),
        sequence().prop_map(Untagged::Expunge),
        vec(any::<u32>(), 0..20).prop_map(Untagged::Search),
        vec(any::<u32>(), 0..20).prop_map(Untagged::Sort),
        threads().prop_map(Untagged::Thread),
        (sequence(), vec(datum(), 1..4)).prop_map(|(message, data)| Untagged::Fetch(message, data)),
        "X[A-Z]{1,5}( [ -z]{0,10}[a-z])?".prop_map(Untagged::Other),
    ]
}

fn any_response(separator: char) -> impl Strategy<Value = Response> {
    prop_oneof![
        1 => "|[ -~]{1,20}".prop_map(Response::Continuation),
        1 => ("[!#$&',-Z^-z|}~\\[\\]]{1,8}", any_status()).prop_map(|(tag, status)| Response::Tagged(Tag::new(&tag).unwrap(), status)),
        8 => untagged_data(separator).prop_map(Response::Untagged),
    ]
}

fn any_responses() -> impl Strategy<Value = (char, Vec<Response>)> {
    let some = |separator| (Just(separator), vec(any_response(separator), 1..4));
    prop_oneof![some('/'), some('.')]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_is_encoded_is_decoded((separator, responses) in any_responses(), utf8: bool, piece in 1usize..50) {
        let format = NameFormat { separator, utf8 };
        let stream: Vec<u8> = responses.iter().flat_map(|response| wire(response, format)).collect();
        let mut framer = ResponseFramer::new(1_000_000);
        let mut found = Vec::new();
        for bytes in stream.chunks(piece) {
            framer.push(bytes);
            while let Some(response) = framer.next_response().unwrap() {
                found.push(decode(&response, format).unwrap());
            }
        }
        prop_assert_eq!(found, responses);
    }

    #[test]
    fn nothing_panics(response in any_response('/'), place: usize, byte: u8) {
        let mut bytes = wire(&response, NameFormat::default());
        let place = place % bytes.len();
        let _ = decode(&bytes[..place], NameFormat::default());
        bytes[place] = byte;
        let _ = decode(&bytes, NameFormat::default());
    }

    #[test]
    fn noise_does_not_panic(bytes: Vec<u8>) {
        let _ = decode(&bytes, NameFormat::default());
        let _ = decode(&[b"* ", bytes.as_slice()].concat(), NameFormat::default());
    }
}
