mod search;

use proptest::prelude::*;

use super::*;
use crate::command::{
    AppendMessage, DateComparison, Expunges, FetchItem, ListKind, MessageLiteral, Partial, SearchKey, Section, SectionText,
    SortCriterion, SortKey, SpecialUse, States, StatusItem, ThreadAlgorithm,
};
use crate::date::{Day, InternalDate};
use crate::flag::{Flag, FlagChange, FlagSet, Keyword, SystemFlag};
use crate::mailbox_name::MailboxName;
use crate::set::{SequenceSet, SetItem, SetNumber};
use crate::text::Secret;

fn frame(text: &[u8]) -> Frame {
    Frame { text: text.to_vec(), messages: vec![3; 3] }
}

fn try_command(text: impl AsRef<[u8]>) -> Result<Command, CommandError> {
    let text = [b"a1 ", text.as_ref()].concat();
    parse(&frame(&text), NameFormat::default()).map(|tagged| {
        assert_eq!(tagged.tag.as_str(), "a1");
        tagged.command
    })
}

fn command(text: impl AsRef<[u8]>) -> Command {
    let text = text.as_ref();
    try_command(text).unwrap_or_else(|error| panic!("{}: {error:?}", String::from_utf8_lossy(text)))
}

/// Where the text behind the tag leaves the grammar, and what was expected.
fn wrong(text: impl AsRef<[u8]>) -> (usize, &'static str) {
    let text = text.as_ref();
    match try_command(text) {
        Err(CommandError::Syntax(error)) => {
            assert!(error.tag.is_some());
            (error.at - 3, error.expected)
        }
        other => panic!("{}: {other:?}", String::from_utf8_lossy(text)),
    }
}

fn name(text: &str) -> MailboxName {
    MailboxName::parse(text.as_bytes(), NameFormat::default()).unwrap()
}

fn number(number: u32) -> SetNumber {
    SetNumber::Number(number)
}

fn one(only: u32) -> SequenceSet {
    SequenceSet::Items(vec![SetItem::One(number(only))])
}

fn fetch(text: &str) -> Vec<FetchItem> {
    match command(format!("FETCH 1 {text}")) {
        Command::Fetch { items, .. } => items,
        other => panic!("{other:?}"),
    }
}

#[test]
fn commands_without_arguments() {
    for (text, expected) in [
        ("CAPABILITY", Command::Capability),
        ("noop", Command::Noop),
        ("Logout", Command::Logout),
        ("STARTTLS", Command::StartTls),
        ("NAMESPACE", Command::Namespace),
        ("IDLE", Command::Idle),
        ("CHECK ", Command::Check),
        ("CLOSE", Command::Close),
        ("UNSELECT", Command::Unselect),
        ("EXPUNGE", Command::Expunge),
    ] {
        assert_eq!(command(text), expected);
        assert_eq!(wrong(format!("{text} x")).1, "the end of the command");
    }
}

#[test]
fn tags() {
    let bad = |text: &[u8]| match parse(&frame(text), NameFormat::default()) {
        Err(CommandError::Syntax(error)) => (error.at, error.tag.map(|tag| tag.as_str().to_owned())),
        other => panic!("{other:?}"),
    };
    for text in [&b""[..], b" NOOP", b"+ NOOP", b"a+b NOOP", b"(a NOOP", b"\"a\" NOOP", b"\xe4 NOOP", &[b'a'; 300]] {
        assert_eq!(bad(text), (0, None), "{}", String::from_utf8_lossy(text));
    }
    assert_eq!(bad(b"a1"), (2, Some("a1".to_owned())));
    assert_eq!(bad(b"a1 "), (3, Some("a1".to_owned())));
    assert_eq!(bad(b"a1  NOOP"), (3, Some("a1".to_owned())));
    assert_eq!(bad(b"a1 NOPE"), (3, Some("a1".to_owned())));
    assert_eq!(bad(b"a1 UID NOOP"), (3, Some("a1".to_owned())));
    assert!(parse(&frame(b"A.1]x! noop"), NameFormat::default()).is_ok());
}

#[test]
fn connection() {
    let login = |user: &str, password: &[u8]| Command::Login { user: user.into(), password: Secret::new(password.to_vec()) };
    assert_eq!(command("LOGIN smith sesame"), login("smith", b"sesame"));
    assert_eq!(command(r#"login "a \"b\" \\c" """#), login("a \"b\" \\c", b""));
    assert_eq!(command(b"LOGIN {2}\r\nab {3}\r\n\r\n\xff"), login("ab", b"\r\n\xff"));
    assert_eq!(wrong("LOGIN smith").0, 11);
    assert_eq!(wrong("LOGIN smith  x").0, 12);
    assert_eq!(wrong("LOGIN smith \"x").1, "the quotation mark that ends the string");
    assert_eq!(wrong(b"LOGIN \"\xff\" x").1, "a text in UTF-8");

    let authenticate = |initial: Option<&[u8]>| Command::Authenticate {
        mechanism: "PLAIN".into(),
        initial: initial.map(|initial| Secret::new(initial.to_vec())),
    };
    assert_eq!(command("AUTHENTICATE plain"), authenticate(None));
    assert_eq!(command("AUTHENTICATE PLAIN ="), authenticate(Some(b"")));
    assert_eq!(command("AUTHENTICATE PLAIN AGEAYg=="), authenticate(Some(b"\0a\0b")));
    for broken in ["AGEAYg", "*", "AG\tEAYg==", "AGEAYg== x"] {
        wrong(format!("AUTHENTICATE PLAIN {broken}"));
    }
    assert_eq!(command("ENABLE condstore X-y"), Command::Enable(vec!["CONDSTORE".into(), "X-Y".into()]));
    wrong("ENABLE");
}

#[test]
fn id() {
    assert_eq!(command("ID NIL"), Command::Id(None));
    assert_eq!(command("ID ()"), Command::Id(Some(vec![])));
    let fields = vec![("name".to_owned(), Some("x".to_owned())), ("os".to_owned(), None)];
    assert_eq!(command(r#"ID ("name" "x" "os" NIL)"#), Command::Id(Some(fields)));
    // Report 22 of the reliability page: very many parameters.
    assert!(try_command(format!("ID ({})", vec!["\"a\" \"b\""; 30].join(" "))).is_ok());
    assert_eq!(wrong(format!("ID ({})", vec!["\"a\" \"b\""; 31].join(" "))).1, "at most 30 fields");
    wrong(format!("ID (\"a\" \"{}\")", "x".repeat(1025)));
    wrong(format!("ID (\"{}\" \"x\")", "a".repeat(31)));
}

#[test]
fn mailboxes() {
    assert_eq!(command("SELECT inbox"), Command::Select(MailboxName::inbox()));
    assert_eq!(command("EXAMINE \"a b/c\""), Command::Examine(name("a b/c")));
    assert_eq!(command("DELETE {3}\r\na]b"), Command::Delete(name("a]b")));
    assert_eq!(command("RENAME a b/"), Command::Rename { from: name("a"), to: name("b") });
    assert_eq!(command("SUBSCRIBE &AOQ-"), Command::Subscribe(name("&AOQ-")));
    assert_eq!(command("UNSUBSCRIBE a"), Command::Unsubscribe(name("a")));
    assert_eq!(command("CREATE a"), Command::Create { mailbox: name("a"), special_use: vec![] });
    let special_use = vec![SpecialUse::Drafts, SpecialUse::Sent];
    assert_eq!(command("CREATE a (USE (\\sent \\Drafts))"), Command::Create { mailbox: name("a"), special_use });
    wrong("CREATE a (USE (\\Nowhere))");
    wrong("CREATE a (USE)");
    let items = vec![StatusItem::UidNext, StatusItem::Messages];
    assert_eq!(command("STATUS a (UIDNEXT messages UIDNEXT)"), Command::Status { mailbox: name("a"), items });
    for broken in
        ["STATUS a", "STATUS a ()", "STATUS a MESSAGES", "STATUS a (X)", "STATUS a (MESSAGES )", "SELECT a b", "SELECT a(b"]
    {
        wrong(broken);
    }
}

#[test]
fn a_broken_name_is_refused_as_a_name() {
    for (text, verb, error) in [
        ("CREATE a&b", "CREATE", NameError::Encoding),
        ("RENAME a \"\"", "RENAME", NameError::EmptySegment),
        ("UID COPY 1 a//b", "UID COPY", NameError::EmptySegment),
        ("LIST \"\" \"&\"", "LIST", NameError::Encoding),
        ("SELECT {3}\r\na\tb", "SELECT", NameError::ControlCharacter),
    ] {
        match try_command(text) {
            Err(CommandError::BadName { verb: found, error: why, .. }) => assert_eq!((found, why), (verb, error)),
            other => panic!("{text}: {other:?}"),
        }
    }
    // In a session that has UTF-8 names, & is ordinary.
    let utf8 = NameFormat { utf8: true, separator: '/' };
    assert!(parse(&frame(b"a CREATE a&b"), utf8).is_ok());
    assert!(parse(&frame("a CREATE \"\u{e4}\"".as_bytes()), utf8).is_ok());
}

#[test]
fn listing() {
    let list =
        |kind, reference: &str, pattern: &str| Command::List { kind, reference: reference.into(), pattern: pattern.into() };
    assert_eq!(command("LIST \"\" *"), list(ListKind::List, "", "*"));
    assert_eq!(command("LSUB a/ %/x]*"), list(ListKind::Lsub, "a/", "%/x]*"));
    assert_eq!(command("RLIST \"\" \"a b%\""), list(ListKind::RList, "", "a b%"));
    assert_eq!(command("RLSUB \"\" \"&AOQ-*\""), list(ListKind::RLsub, "", "\u{e4}*"));
    assert_eq!(command("LIST \"\" \"\""), list(ListKind::List, "", ""));
    let scan = Command::Scan { reference: String::new(), pattern: "*".into(), text: "cake".into() };
    assert_eq!(command("SCAN \"\" * cake"), scan);
    for broken in ["LIST", "LIST \"\"", "LIST \"\" (", "LIST % %", "SCAN \"\" *", "SCAN \"\" * a b"] {
        wrong(broken);
    }
}

#[test]
fn append() {
    let message = |index, flags: FlagSet, date: Option<&str>, binary| AppendMessage {
        flags,
        date: date.and_then(InternalDate::parse),
        literal: MessageLiteral { index, length: 3, binary },
    };
    let expected = Command::Append { mailbox: name("a"), messages: vec![message(0, FlagSet::new(), None, false)] };
    assert_eq!(command("APPEND a \x000\x00"), expected);
    let date = "17-Jul-1996 02:44:25 -0700";
    let flags = FlagSet::from(SystemFlag::Seen);
    let messages = vec![
        message(0, flags, Some(date), false),
        message(1, FlagSet::new(), Some(date), true),
        message(2, FlagSet::new(), None, false),
    ];
    let text = format!("APPEND a (\\seen) \"{date}\" \x000\x00 \"{date}\" ~\x001\x00 () \x002\x00");
    assert_eq!(command(text), Command::Append { mailbox: name("a"), messages });
    for broken in [
        "APPEND a",
        "APPEND a ()",
        "APPEND a {3}\r\nabc",
        "APPEND a \x001\x00",
        "APPEND a \x000\x00 \x000\x00",
        "APPEND a (\\Recent) \x000\x00",
        "APPEND a \"1-Jan-2000\" \x000\x00",
        "APPEND a \x000\x00x",
    ] {
        wrong(broken);
    }
    let none = Frame { text: b"a APPEND a \x000\x00".to_vec(), messages: vec![] };
    assert!(parse(&none, NameFormat::default()).is_err());
}

#[test]
fn sets() {
    let set = |text: &str| match command(format!("UID EXPUNGE {text}")) {
        Command::UidExpunge(SequenceSet::Items(items)) => items,
        other => panic!("{other:?}"),
    };
    assert_eq!(set("2:4"), [SetItem::Range(number(2), number(4))]);
    assert_eq!(set("4:2"), [SetItem::Range(number(4), number(2))]);
    assert_eq!(set("*"), [SetItem::One(SetNumber::Star)]);
    assert_eq!(set("*:2"), [SetItem::Range(SetNumber::Star, number(2))]);
    let several = [SetItem::One(number(1)), SetItem::One(number(3)), SetItem::Range(number(5), SetNumber::Star)];
    assert_eq!(set("1,3,5:*"), several);
    // The console story: 0 in a range is for the view to read as 1; alone it is an error.
    assert_eq!(set("0:*"), [SetItem::Range(number(0), SetNumber::Star)]);
    assert_eq!(set("4294967295"), [SetItem::One(number(u32::MAX))]);
    assert_eq!(command("UID EXPUNGE $"), Command::UidExpunge(SequenceSet::Saved));
    assert_eq!(wrong("UID EXPUNGE 1,0"), (14, "a number of at least 1"));
    for broken in ["0", "4294967296", "1,", ",1", "1:", ":1", "1:2:3", "1-2", "-1", "$,1", "1 2", "a"] {
        wrong(format!("UID EXPUNGE {broken}"));
    }
    assert!(try_command(format!("UID EXPUNGE {}", vec!["1"; SequenceSet::MAX_ITEMS].join(","))).is_ok());
    wrong(format!("UID EXPUNGE {}", vec!["1"; SequenceSet::MAX_ITEMS + 1].join(",")));
}

#[test]
fn changing_messages() {
    let store = |change, silent, flags: &[Flag]| Command::Store {
        numbering: Numbering::Seq,
        set: one(1),
        change,
        silent,
        flags: flags.iter().cloned().collect(),
    };
    let (deleted, keyword) = (Flag::System(SystemFlag::Deleted), Flag::Keyword(Keyword::new("$Forwarded").unwrap()));
    assert_eq!(command("STORE 1 FLAGS ()"), store(FlagChange::Replace, false, &[]));
    assert_eq!(command("STORE 1 +flags.silent (\\DELETED)"), store(FlagChange::Add, true, std::slice::from_ref(&deleted)));
    assert_eq!(command("STORE 1 -FLAGS \\Deleted $Forwarded"), store(FlagChange::Remove, false, &[deleted, keyword]));
    // An unknown flag with a backslash is ignored; \Recent is an error; of two spellings the first stays.
    assert_eq!(command("STORE 1 +FLAGS (\\Unheard)"), store(FlagChange::Add, false, &[]));
    for broken in [
        "+FLAGS (\\Recent)",
        "+FLAGS (\\*)",
        "FLAGS",
        "FLAGS ",
        "+FLAG x",
        "FLAGS.SILENTLY x",
        "+ FLAGS x",
        "FLAGS (a",
        "FLAGS (a))",
    ] {
        wrong(format!("STORE 1 {broken}"));
    }
    wrong(format!("STORE 1 FLAGS {}", "x".repeat(Keyword::MAX_BYTES + 1)));
    match command("STORE 1 FLAGS (b Abc aBC)") {
        Command::Store { flags, .. } => {
            assert_eq!(flags.keywords().iter().map(Keyword::as_str).collect::<Vec<_>>(), ["Abc", "b"])
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(command("COPY 1 a"), Command::Copy { numbering: Numbering::Seq, set: one(1), mailbox: name("a") });
    assert_eq!(command("uid move 1 a"), Command::Move { numbering: Numbering::Uid, set: one(1), mailbox: name("a") });
}

#[test]
fn fetch_items() {
    let section =
        |part: &[u32], text, partial, peek| FetchItem::Section { section: Section { part: part.to_vec(), text }, partial, peek };
    let fast = [FetchItem::Flags, FetchItem::InternalDate, FetchItem::Rfc822Size];
    assert_eq!(fetch("FAST"), fast);
    assert_eq!(fetch("all"), [&fast[..], &[FetchItem::Envelope]].concat());
    assert_eq!(fetch("FULL"), [&fast[..], &[FetchItem::Envelope, FetchItem::Body]].concat());
    assert_eq!(fetch("(UID BODY BODYSTRUCTURE)"), [FetchItem::Uid, FetchItem::Body, FetchItem::BodyStructure]);
    assert_eq!(fetch("(RFC822 RFC822.HEADER RFC822.TEXT)"), [FetchItem::Rfc822, FetchItem::Rfc822Header, FetchItem::Rfc822Text]);
    assert_eq!(fetch("BODY[]"), [section(&[], None, None, false)]);
    assert_eq!(fetch("body.peek[]<0.2048>"), [section(&[], None, Some(Partial { first: 0, count: 2048 }), true)]);
    assert_eq!(fetch("BODY[1.2.MIME]"), [section(&[1, 2], Some(SectionText::Mime), None, false)]);
    assert_eq!(fetch("BODY[3.HEADER]"), [section(&[3], Some(SectionText::Header), None, false)]);
    assert_eq!(fetch("BODY[4]"), [section(&[4], None, None, false)]);
    let fields = SectionText::HeaderFields(vec!["FROM".into(), "X-MMS-MESSAGE-ID".into()]);
    assert_eq!(fetch("BODY[HEADER.FIELDS (FROM \"X-MMS-MESSAGE-ID\")]"), [section(&[], Some(fields), None, false)]);
    let fields = SectionText::HeaderFieldsNot(vec!["To".into()]);
    assert_eq!(fetch("BODY[1.HEADER.FIELDS.NOT (To)]"), [section(&[1], Some(fields), None, false)]);
    assert_eq!(
        fetch("BINARY.PEEK[1]<5.6>"),
        [FetchItem::Binary { part: vec![1], partial: Some(Partial { first: 5, count: 6 }), peek: true }]
    );
    assert_eq!(
        fetch("(BINARY[] BINARY.SIZE[2.1])"),
        [FetchItem::Binary { part: vec![], partial: None, peek: false }, FetchItem::BinarySize { part: vec![2, 1] }]
    );
    assert_eq!(fetch("(FLAGS flags UID UID)"), [FetchItem::Flags, FetchItem::Uid]);
    for (text, expected) in
        [("FLAGS", vec![FetchItem::Uid, FetchItem::Flags]), ("(FLAGS UID)", vec![FetchItem::Uid, FetchItem::Flags])]
    {
        let command = command(format!("UID FETCH 1 {text}"));
        assert_eq!(command, Command::Fetch { numbering: Numbering::Uid, set: one(1), items: expected });
    }
}

#[test]
fn broken_fetch_items() {
    for broken in [
        "()",
        "(ALL)",
        "FLAGS UID",
        "(FLAGS  UID)",
        "BODY[",
        "BODY[MIME]",
        "BODY[0]",
        "BODY[1.]",
        "BODY[.1]",
        "BODY[1.0]",
        "BODY[1 2]",
        "BODY[HEADER.FIELDS]",
        "BODY[HEADER.FIELDS ()]",
        "BODY[HEADER.FIELDS (\"\")]",
        "BODY[HEADER.FIELDS (a:b)]",
        "BODY[HEADER.FIELDS (\"a\r\nb\")]",
        "BODY[]<0>",
        "BODY[]<0.0>",
        "BODY[]<.1>",
        "BODY[]<1.2",
        "BODY[X]",
        "FLAGS[1]",
        "BINARY[1.TEXT]",
        "BINARY.SIZE[1]<0.1>",
        "BINARY",
        "RFC822.PEEK",
    ] {
        wrong(format!("FETCH 1 {broken}"));
    }
    assert!(try_command(format!("FETCH 1 BODY[{}1]", "1.".repeat(Section::MAX_DEPTH - 1))).is_ok());
    wrong(format!("FETCH 1 BODY[{}1]", "1.".repeat(Section::MAX_DEPTH)));
    wrong(format!("FETCH 1 ({})", vec!["BODY[]"; fetch::MAX_ITEMS + 1].join(" ")));
    wrong(format!("FETCH 1 BODY[HEADER.FIELDS ({})]", vec!["a"; fetch::MAX_FIELDS + 1].join(" ")));
}

/// Report 12 of the reliability page and its kin: nesting and repetition have bounds.
/// Report 7 of the reliability page: NUL in a quoted string or an ordinary literal is an error and nothing else.
#[test]
fn nul_is_refused() {
    for text in [&b"LOGIN \"a\0b\" c"[..], b"LOGIN a\0 c", b"LOGIN {3}\r\na\0b c", b"SEARCH TEXT \"\\\0\"", b"SELECT \0\x30\0"] {
        wrong(text);
    }
}

#[test]
fn hostile_arguments_end() {
    // Report 27 of the reliability page: APPEND and STATUS that a parser never gets out of.
    for text in
        ["APPEND", "APPEND ", "APPEND x", "APPEND x (", "APPEND x (\\Seen", "APPEND x () ", "APPEND x \"", "APPEND x \x000\x00 ("]
    {
        wrong(text);
    }
    for text in
        ["STATUS x (", "STATUS x (MESSAGES", "STATUS x (MESSAGES ", "STATUS x ()", "STATUS x (MESSAGES))", "STATUS x \x000\x00"]
    {
        wrong(text);
    }
    wrong(format!("STATUS x {}", "(".repeat(50_000)));
    wrong(format!("APPEND x {}", "(".repeat(50_000)));
    // Report 40: numbers that overflow.
    for partial in ["<0.4294967296>", "<4294967296.1>", "<18446744073709551616.1>", "<-1.1>"] {
        wrong(format!("FETCH 1 BODY[]{partial}"));
    }
    assert_eq!(fetch("BODY[]<4294967295.4294967295>").len(), 1);
    // Report 50: line ends in arguments that are sent on or answered.
    for text in ["CREATE {4}\r\na\r\nb", "SUBSCRIBE {2}\r\na\n"] {
        assert!(matches!(try_command(text), Err(CommandError::BadName { error: NameError::ControlCharacter, .. })));
    }
    wrong("FETCH 1 BODY[HEADER.FIELDS ({4}\r\na\r\nb)]");
}

#[test]
fn errors_say_where_and_never_what_was_sent() {
    let error = try_command("LOGIN hunter2 \"hunter2").unwrap_err();
    assert_eq!(
        error.to_string(),
        "expected the quotation mark that ends the string at character 26; it goes: LOGIN USER PASSWORD"
    );
    assert!(!format!("{error:?}").contains("hunter2"));
    assert_eq!(error.tag().map(Tag::as_str), Some("a1"));
}

#[test]
fn rules() {
    for (text, states, expunges) in [
        ("NOOP", States::Any, Expunges::Tell),
        ("LOGIN a b", States::NotAuthenticated, Expunges::Tell),
        ("IDLE", States::Authenticated, Expunges::Tell),
        ("FETCH 1 UID", States::Selected, Expunges::Withhold),
        ("UID FETCH 1 UID", States::Selected, Expunges::Tell),
        ("STORE 1 FLAGS x", States::Selected, Expunges::Withhold),
        ("UID STORE 1 FLAGS x", States::Selected, Expunges::Tell),
        ("SEARCH ALL", States::Selected, Expunges::Withhold),
        ("UID SEARCH ALL", States::Selected, Expunges::Tell),
        ("UID SEARCH NOT (OR SEEN 1)", States::Selected, Expunges::Withhold),
        ("UID SORT (DATE) UTF-8 1", States::Selected, Expunges::Withhold),
        ("UID THREAD REFERENCES UTF-8 UID 1", States::Selected, Expunges::Tell),
        ("COPY 1 a", States::Selected, Expunges::Tell),
    ] {
        let rule = command(text).rule();
        assert_eq!((rule.states, rule.expunges), (states, expunges), "{text}");
    }
}

#[test]
fn peek_reads_what_there_is() {
    assert_eq!(peek(b"a uid fetch garbage ("), (Tag::new("a"), Some("UID FETCH")));
    assert_eq!(peek(b"a what"), (Tag::new("a"), None));
    assert_eq!(peek(b"* x"), (None, None));
}

proptest! {
    #[test]
    fn no_bytes_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&frame(&text), NameFormat::default());
    }

    /// Garbage made of the grammar's own words gets further than bytes do.
    #[test]
    fn no_words_panic(words in prop::collection::vec(prop::sample::select(vec![
        " ", "(", ")", "a", "1", "0", "*", ":", ",", "$", "\"", "\\", "[", "]", "<", ">", ".", "{1}\r\n", "~", "\x000\x00", "UID", "FETCH", "SEARCH",
        "STORE", "APPEND", "BODY", "HEADER.FIELDS", "FLAGS", "OR", "NOT", "FROM", "CHARSET", "UTF-8", "LIST", "SORT", "THREAD", "DATE", "\u{e4}",
    ]), 0..30), verb in prop::sample::select(VERBS.to_vec())) {
        let text = format!("a {verb} {}", words.concat());
        if let Err(CommandError::Syntax(error)) = parse(&frame(text.as_bytes()), NameFormat::default()) {
            prop_assert!(error.at <= text.len());
        }
    }
}
