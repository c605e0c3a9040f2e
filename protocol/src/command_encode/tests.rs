use proptest::prelude::*;

use super::*;
use crate::command::{DateComparison, Frame, ListKind, MessageLiteral, SearchKey, SpecialUse, StatusItem, Tag};
use crate::date::{Day, InternalDate};
use crate::flag::{Flag, Keyword, SystemFlag};
use crate::frame::{FrameLimits, FrameReader, Step};
use crate::grammar::{CommandError, VERBS, parse};
use crate::text::Secret;

/// A frame reader, as a server has it, and what came out.
struct Receiver {
    reader: FrameReader,
    chunk: usize,
    frames: Vec<Frame>,
    /// The lengths of the literals that wait for `+`.
    waiting: Vec<u64>,
}

impl Receiver {
    fn new(chunk: usize) -> Self {
        let limits = FrameLimits { line_bytes: 1 << 20, literals_bytes: 1 << 20, ..FrameLimits::AUTHENTICATED };
        Self { reader: FrameReader::new(limits), chunk, frames: Vec::new(), waiting: Vec::new() }
    }

    fn push(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(self.chunk) {
            self.reader.push(chunk);
            loop {
                match self.reader.step() {
                    Step::NeedMore => break,
                    Step::MessageStart { .. } | Step::MessageChunk(_) | Step::MessageEnd => {}
                    Step::Continue { announced } => self.waiting.push(announced),
                    Step::Frame(frame) => self.frames.push(frame),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    fn frame(self) -> Frame {
        assert!(self.waiting.is_empty());
        let [frame] = self.frames.try_into().unwrap();
        frame
    }
}

/// A command with LITERAL+, all at once.
fn receive_at_once(pieces: &[Piece], chunk: usize) -> Frame {
    let mut receiver = Receiver::new(chunk);
    receiver.push(&command_bytes(pieces, &[MESSAGE; 4]));
    receiver.frame()
}

/// The same, but each literal is announced and waits for the server's `+`.
fn receive_waiting(pieces: &[Piece], chunk: usize) -> Frame {
    let mut receiver = Receiver::new(chunk);
    for piece in pieces {
        let (tilde, literal) = match piece {
            Piece::Text(text) => {
                receiver.push(text);
                continue;
            }
            Piece::Literal(literal) => ("", literal.as_slice()),
            Piece::Message { binary, .. } => (if *binary { "~" } else { "" }, MESSAGE),
        };
        receiver.push(format!("{tilde}{{{}}}\r\n", literal.len()).as_bytes());
        assert_eq!(receiver.waiting.pop(), Some(literal.len() as u64));
        receiver.push(literal);
    }
    receiver.frame()
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9]{1,8}",
        "[ -~]{0,12}",
        "[\u{1}-\u{7f}\u{e4}\u{65e5}\u{1f600}]{0,8}",
        Just("NIL".to_owned()),
        Just("{3+}".to_owned())
    ]
}

fn mailbox() -> impl Strategy<Value = MailboxName> {
    let segment = prop_oneof!["[a-zA-Z0-9 ]{1,6}", "[!-.0-~]{1,6}", "[\u{e4}&\u{65e5}-]{1,5}", Just("inbox".to_owned())];
    prop::collection::vec(segment, 1..4).prop_map(|segments| MailboxName::from_segments(segments).unwrap())
}

fn set() -> impl Strategy<Value = SequenceSet> {
    let number = prop_oneof![3 => any::<u32>().prop_map(SetNumber::Number), 1 => Just(SetNumber::Star)].boxed();
    let one =
        number.clone().prop_map(|number| SetItem::One(if number == SetNumber::Number(0) { SetNumber::Star } else { number }));
    let range = (number.clone(), number).prop_map(|(first, last)| SetItem::Range(first, last));
    prop_oneof![1 => Just(SequenceSet::Saved), 9 => prop::collection::vec(prop_oneof![one, range], 1..6).prop_map(SequenceSet::Items)]
}

fn numbering() -> impl Strategy<Value = Numbering> {
    prop::sample::select(vec![Numbering::Seq, Numbering::Uid])
}

fn keyword() -> impl Strategy<Value = Keyword> {
    "[$a-zA-Z][a-zA-Z0-9!#&'+,./:;<=>?@^_`|}~-]{0,9}".prop_map(|text| Keyword::new(&text).unwrap())
}

fn system_flag() -> impl Strategy<Value = SystemFlag> {
    prop::sample::select(SystemFlag::ALL.to_vec())
}

fn flags() -> impl Strategy<Value = FlagSet> {
    prop::collection::vec(prop_oneof![system_flag().prop_map(Flag::System), keyword().prop_map(Flag::Keyword)], 0..4)
        .prop_map(|flags| flags.into_iter().collect())
}

fn field() -> impl Strategy<Value = String> {
    "[!-9;-~]{1,12}"
}

/// Keys whose texts are of a charset.
fn key(text: impl Strategy<Value = String> + Clone + 'static) -> impl Strategy<Value = SearchKey> {
    let text = move || text.clone();
    let day = || (Day::FIRST.0..=Day::LAST.0).prop_map(Day);
    let comparison = || prop::sample::select(vec![DateComparison::Before, DateComparison::On, DateComparison::Since]);
    let leaf = prop_oneof![
        Just(SearchKey::All),
        Just(SearchKey::Recent),
        system_flag().prop_map(SearchKey::Flag),
        keyword().prop_map(SearchKey::Keyword),
        (numbering(), set()).prop_map(|(numbering, set)| SearchKey::Set(numbering, set)),
        (comparison(), day()).prop_map(|(comparison, day)| SearchKey::Internal(comparison, day)),
        (comparison(), day()).prop_map(|(comparison, day)| SearchKey::Sent(comparison, day)),
        (0..1u64 << 63).prop_map(SearchKey::Larger),
        (0..1u64 << 63).prop_map(SearchKey::Smaller),
        (field(), text()).prop_map(|(field, text)| SearchKey::Header(field, text)),
        text().prop_map(SearchKey::Body),
        text().prop_map(SearchKey::Text),
    ];
    leaf.prop_recursive(5, 30, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|key| SearchKey::Not(Box::new(key))),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| SearchKey::Or(Box::new(left), Box::new(right))),
            prop::collection::vec(inner, 2..4).prop_map(SearchKey::And),
        ]
    })
}

fn part() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(1..100u32, 0..4)
}

fn partial() -> impl Strategy<Value = Option<Partial>> {
    prop::option::of((any::<u32>(), 1..u32::MAX).prop_map(|(first, count)| Partial { first, count }))
}

fn section() -> impl Strategy<Value = Section> {
    let fields = || prop::collection::vec(field(), 1..4);
    let text = prop_oneof![
        Just(SectionText::Header),
        Just(SectionText::Text),
        Just(SectionText::Mime),
        fields().prop_map(SectionText::HeaderFields),
        fields().prop_map(SectionText::HeaderFieldsNot),
    ];
    (part(), prop::option::of(text)).prop_map(|(part, text)| {
        let text = text.filter(|text| !part.is_empty() || *text != SectionText::Mime);
        Section { part, text }
    })
}

fn fetch_items() -> impl Strategy<Value = Vec<FetchItem>> {
    let plain = prop::sample::select(vec![
        FetchItem::Uid,
        FetchItem::Flags,
        FetchItem::InternalDate,
        FetchItem::Rfc822Size,
        FetchItem::Envelope,
        FetchItem::Body,
        FetchItem::BodyStructure,
        FetchItem::Rfc822,
        FetchItem::Rfc822Header,
        FetchItem::Rfc822Text,
    ]);
    let item = prop_oneof![
        plain,
        (section(), partial(), any::<bool>()).prop_map(|(section, partial, peek)| FetchItem::Section { section, partial, peek }),
        (part(), partial(), any::<bool>()).prop_map(|(part, partial, peek)| FetchItem::Binary { part, partial, peek }),
        part().prop_map(|part| FetchItem::BinarySize { part }),
    ];
    prop::collection::vec(item, 1..5)
}

/// As the parser gives them: each item once, UID FETCH with UID in front.
fn fetch((numbering, set, named): (Numbering, SequenceSet, Vec<FetchItem>)) -> Command {
    let mut items = Vec::new();
    for item in (numbering == Numbering::Uid).then_some(FetchItem::Uid).into_iter().chain(named) {
        if !items.contains(&item) {
            items.push(item);
        }
    }
    Command::Fetch { numbering, set, items }
}

/// The length of every message in these tests.
const MESSAGE: &[u8] = b"Subject: x\r\n\r\na NOOP\r\n";

fn append() -> impl Strategy<Value = Command> {
    let date = (-60_000_000_000i64..250_000_000_000, -5999i16..=5999);
    let date = date.prop_map(|(unix_seconds, offset_minutes)| InternalDate { unix_seconds, offset_minutes });
    let message = (flags(), prop::option::of(date), any::<bool>());
    (mailbox(), prop::collection::vec(message, 1..4)).prop_map(|(mailbox, messages)| {
        let message = |(index, (flags, date, binary))| AppendMessage {
            flags,
            date,
            literal: MessageLiteral { index, length: MESSAGE.len() as u64, binary },
        };
        Command::Append { mailbox, messages: messages.into_iter().enumerate().map(message).collect() }
    })
}

fn connection_command() -> impl Strategy<Value = Command> {
    let plain = vec![
        Command::Capability,
        Command::Noop,
        Command::Logout,
        Command::StartTls,
        Command::Namespace,
        Command::Idle,
        Command::Check,
        Command::Close,
        Command::Unselect,
        Command::Expunge,
        Command::Id(None),
    ];
    let secret = || prop::collection::vec(1..=255u8, 0..10).prop_map(Secret::new);
    let fields = prop::collection::vec(("[ -~]{0,30}", prop::option::of(text())), 0..5);
    prop_oneof![
        prop::sample::select(plain),
        fields.prop_map(|fields| Command::Id(Some(fields))),
        ("[A-Z0-9-]{1,10}", prop::option::of(secret()))
            .prop_map(|(mechanism, initial)| Command::Authenticate { mechanism, initial }),
        (text(), secret()).prop_map(|(user, password)| Command::Login { user, password }),
        prop::collection::vec("[A-Z0-9=]{1,9}", 1..4).prop_map(Command::Enable),
    ]
}

fn mailbox_command() -> impl Strategy<Value = Command> {
    let kind = prop::sample::select(vec![ListKind::List, ListKind::Lsub, ListKind::RList, ListKind::RLsub]);
    let items = vec![
        StatusItem::Messages,
        StatusItem::Recent,
        StatusItem::UidNext,
        StatusItem::UidValidity,
        StatusItem::Unseen,
        StatusItem::Deleted,
        StatusItem::Size,
    ];
    let special_use = prop::sample::subsequence(SpecialUse::ALL.to_vec(), 0..4);
    prop_oneof![
        mailbox().prop_map(Command::Select),
        mailbox().prop_map(Command::Examine),
        (mailbox(), special_use).prop_map(|(mailbox, special_use)| Command::Create { mailbox, special_use }),
        mailbox().prop_map(Command::Delete),
        (mailbox(), mailbox()).prop_map(|(from, to)| Command::Rename { from, to }),
        mailbox().prop_map(Command::Subscribe),
        mailbox().prop_map(Command::Unsubscribe),
        (kind, text(), text()).prop_map(|(kind, reference, pattern)| Command::List { kind, reference, pattern }),
        (text(), text(), text()).prop_map(|(reference, pattern, text)| Command::Scan { reference, pattern, text }),
        (mailbox(), prop::sample::subsequence(items, 1..7)).prop_map(|(mailbox, items)| Command::Status { mailbox, items }),
        append(),
    ]
}

/// A charset, and keys whose texts it can hold.
fn key_in_charset() -> impl Strategy<Value = (String, SearchKey)> {
    let of = |names: &[&'static str], text: BoxedStrategy<String>| {
        (prop::sample::select(names.to_vec()).prop_map(str::to_owned), key(text))
    };
    prop_oneof![
        4 => of(&["UTF-8", "utf8"], text().boxed()),
        1 => of(&["US-ASCII", "ascii"], "[ -~\r\n]{0,9}".boxed()),
        1 => of(&["ISO-8859-1", "windows-1252"], "[a-z\"\\\\ äöüßéÿ]{0,9}".boxed()),
        1 => of(&["KOI8-R", "windows-1251", "iso-8859-5"], "[a-z\"Приветмя]{0,9}".boxed()),
        1 => of(&["Shift_JIS", "EUC-JP", "ISO-2022-JP"], "[a-z\"日本語表ソア]{0,9}".boxed()),
        1 => of(&["GB18030", "Big5", "EUC-KR"], "[a-z中一]{0,9}".boxed()),
        1 => of(&["GB18030"], text().boxed()),
    ]
}

fn message_command() -> impl Strategy<Value = Command> {
    let sort_keys =
        vec![SortKey::Arrival, SortKey::Cc, SortKey::Date, SortKey::From, SortKey::Size, SortKey::Subject, SortKey::To];
    let criterion = (any::<bool>(), prop::sample::select(sort_keys)).prop_map(|(reverse, key)| SortCriterion { reverse, key });
    let algorithm = prop::sample::select(vec![ThreadAlgorithm::OrderedSubject, ThreadAlgorithm::References]);
    let change = prop::sample::select(vec![FlagChange::Add, FlagChange::Remove, FlagChange::Replace]);
    prop_oneof![
        set().prop_map(Command::UidExpunge),
        (
            numbering(),
            prop_oneof![
                key_in_charset().prop_map(|(name, key)| (Some(name), key)),
                key(text().boxed()).prop_map(|key| (None, key))
            ]
        )
            .prop_map(|(numbering, (charset, key))| Command::Search { numbering, charset, key }),
        (numbering(), prop::collection::vec(criterion, 1..4), key_in_charset())
            .prop_map(|(numbering, criteria, (charset, key))| Command::Sort { numbering, criteria, charset, key }),
        (numbering(), algorithm, key_in_charset()).prop_map(|(numbering, algorithm, (charset, key))| Command::Thread {
            numbering,
            algorithm,
            charset,
            key
        }),
        (numbering(), set(), fetch_items()).prop_map(fetch),
        (numbering(), set(), change, any::<bool>(), flags()).prop_map(|(numbering, set, change, silent, flags)| Command::Store {
            numbering,
            set,
            change,
            silent,
            flags
        }),
        (numbering(), set(), mailbox()).prop_map(|(numbering, set, mailbox)| Command::Copy { numbering, set, mailbox }),
        (numbering(), set(), mailbox()).prop_map(|(numbering, set, mailbox)| Command::Move { numbering, set, mailbox }),
    ]
}

fn tagged() -> impl Strategy<Value = TaggedCommand> {
    let command = prop_oneof![1 => connection_command(), 1 => mailbox_command(), 2 => message_command()];
    ("[a-zA-Z0-9.!]{1,9}", command).prop_map(|(tag, command)| TaggedCommand { tag: Tag::new(&tag).unwrap(), command })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_command_comes_back(tagged in tagged(), utf8: bool, separator in prop::sample::select(vec!['/', '.']), chunk in 1..50usize) {
        let format = NameFormat { separator, utf8 };
        let pieces = encode_command(&tagged, format);
        let frames = [receive_at_once(&pieces, chunk), receive_waiting(&pieces, chunk)];
        prop_assert_eq!(frames.map(|frame| parse(&frame, format)), [Ok(tagged.clone()), Ok(tagged)]);
    }
}

/// Each charset that is taken can be written; what is no charset of 8-bit texts is not taken, for no command could hold such a text.
#[test]
fn charsets_have_an_inverse() {
    let parsed = |charset: &str| {
        let mut receiver = Receiver::new(99);
        receiver.push(format!("a SEARCH CHARSET {charset} TEXT {{2+}}\r\nab\r\n").as_bytes());
        parse(&receiver.frame(), NameFormat::default())
    };
    for charset in [
        "utf-16",
        "UTF-16LE",
        "utf-16be",
        "unicode",
        "ucs-2",
        "csunicode",
        "unicodefffe",
        "iso-2022-kr",
        "replacement",
        "utf-7",
        "x",
    ] {
        assert_eq!(parsed(charset), Err(CommandError::BadCharset { tag: Tag::new("a").unwrap() }), "{charset}");
    }
    for charset in
        ["utf-8", "unicode-1-1-utf-8", "latin1", "macintosh", "x-user-defined", "iso-2022-jp", "gbk", "windows-874", "ibm866"]
    {
        let tagged = parsed(charset).unwrap();
        let pieces = encode_command(&tagged, NameFormat::default());
        assert_eq!(parse(&receive_at_once(&pieces, 99), NameFormat::default()), Ok(tagged), "{charset}");
    }
}

/// The table of names, the names of commands and the grammar know the same commands.
#[test]
fn every_name_is_generated_and_parsed() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut seen = std::collections::BTreeSet::new();
    let mut runner = TestRunner::deterministic();
    for _ in 0..5000 {
        seen.insert(tagged().new_tree(&mut runner).unwrap().current().command.name());
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), {
        let mut verbs = VERBS.to_vec();
        verbs.sort_unstable();
        verbs
    });
}

#[test]
fn how_it_looks() {
    let encode = |command| {
        let tagged = TaggedCommand { tag: Tag::new("a").unwrap(), command };
        encode_command(&tagged, NameFormat::default())
    };
    let login = Command::Login { user: "a b".into(), password: Secret::new(b"\xff".to_vec()) };
    let pieces = encode(login);
    let text = |text: &str| Piece::Text(text.as_bytes().to_vec());
    assert_eq!(pieces, [text("a LOGIN \"a b\" "), Piece::Literal(b"\xff".to_vec()), text("\r\n")]);
    assert_eq!(command_bytes::<&[u8]>(&pieces, &[]), b"a LOGIN \"a b\" {1+}\r\n\xff\r\n");
    let unseen = SearchKey::Not(Box::new(SearchKey::Flag(SystemFlag::Seen)));
    let key = SearchKey::And(vec![unseen.clone(), SearchKey::And(vec![SearchKey::Recent, unseen])]);
    let search = Command::Search { numbering: Numbering::Uid, charset: None, key };
    assert_eq!(encode(search), [text("a UID SEARCH UNSEEN NEW\r\n")]);
}
