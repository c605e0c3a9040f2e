use super::*;
use crate::grammar::search;

fn key(text: &str) -> SearchKey {
    match command(format!("SEARCH {text}")) {
        Command::Search { numbering: Numbering::Seq, key, .. } => key,
        other => panic!("{other:?}"),
    }
}

fn not(key: SearchKey) -> SearchKey {
    SearchKey::Not(Box::new(key))
}

#[test]
fn search_keys() {
    let header = |field: &str, text: &str| SearchKey::Header(field.into(), text.into());
    let set = |items: &[SetItem]| SearchKey::Set(Numbering::Seq, SequenceSet::Items(items.to_vec()));
    for (text, expected) in [
        ("ALL", SearchKey::All),
        ("answered", SearchKey::Flag(SystemFlag::Answered)),
        ("UNDRAFT", not(SearchKey::Flag(SystemFlag::Draft))),
        ("OLD", not(SearchKey::Recent)),
        ("NEW", SearchKey::And(vec![SearchKey::Recent, not(SearchKey::Flag(SystemFlag::Seen))])),
        ("BEFORE 1-Feb-1994", SearchKey::Internal(DateComparison::Before, Day(8797))),
        ("SENTSINCE \"1-Feb-1994\"", SearchKey::Sent(DateComparison::Since, Day(8797))),
        ("ON 01-feb-1994", SearchKey::Internal(DateComparison::On, Day(8797))),
        ("LARGER 4294967296", SearchKey::Larger(4_294_967_296)),
        ("SMALLER 0", SearchKey::Smaller(0)),
        ("FROM Smith", header("From", "Smith")),
        ("header X-MMS-MESSAGE-ID \"\"", header("X-MMS-MESSAGE-ID", "")),
        ("BODY {3}\r\na b", SearchKey::Body("a b".into())),
        ("TEXT \"a\\\\b\"", SearchKey::Text("a\\b".into())),
        ("KEYWORD $Junk", SearchKey::Keyword(Keyword::new("$junk").unwrap())),
        ("UNKEYWORD a", not(SearchKey::Keyword(Keyword::new("a").unwrap()))),
        ("NOT 1:2", not(set(&[SetItem::Range(number(1), number(2))]))),
        ("UID 7", SearchKey::Set(Numbering::Uid, one(7))),
        ("$", SearchKey::Set(Numbering::Seq, SequenceSet::Saved)),
        ("2:4", set(&[SetItem::Range(number(2), number(4))])),
        ("*:2", set(&[SetItem::Range(SetNumber::Star, number(2))])),
        ("OR 1 (SEEN 2)", {
            let and = SearchKey::And(vec![SearchKey::Flag(SystemFlag::Seen), SearchKey::Set(Numbering::Seq, one(2))]);
            SearchKey::Or(Box::new(SearchKey::Set(Numbering::Seq, one(1))), Box::new(and))
        }),
        ("((ALL))", SearchKey::All),
        ("SEEN DELETED ", SearchKey::And(vec![SearchKey::Flag(SystemFlag::Seen), SearchKey::Flag(SystemFlag::Deleted)])),
    ] {
        assert_eq!(key(text), expected, "{text}");
    }
    for broken in [
        "",
        "0",
        "1:2:3",
        "(",
        "()",
        "(ALL",
        "ALL)",
        "NOT",
        "OR ALL",
        "FROM",
        "BEFORE 31-Feb-1994",
        "BEFORE x",
        "UNALL",
        "UNFROM a",
        "HEADER a",
        "HEADER a:b c",
        "KEYWORD \\Seen",
        "LARGER -1",
        "SMALLER 99999999999999999999",
        "UID",
        "NOT  ALL",
        "XYZZY",
        "CHARSET",
        "RETURN () ALL",
    ] {
        wrong(format!("SEARCH {broken}"));
    }
    assert_eq!(wrong("SEARCH FROM").1, "a space and what to search for");
    assert_eq!(wrong("SEARCH XYZZY y").1, "a search key");
}

#[test]
fn search_is_bounded() {
    for open in ["(", "NOT ", "OR ALL "] {
        assert!(try_command(format!("SEARCH {}ALL{}", open.repeat(50), ")".repeat(if open == "(" { 50 } else { 0 }))).is_ok());
        for depth in [200, 100_000] {
            assert_eq!(wrong(format!("SEARCH {}", open.repeat(depth))).1, "search keys that stand less deep within each other");
        }
    }
    assert!(try_command(format!("SEARCH{}", " ALL".repeat(search::MAX_KEYS))).is_ok());
    assert_eq!(wrong(format!("SEARCH{}", " ALL".repeat(search::MAX_KEYS + 1))).1, "fewer search keys");
}

#[test]
fn charsets() {
    let found = |text: &[u8]| match command(text) {
        Command::Search { charset, key: SearchKey::Text(text), .. } => (charset, text),
        other => panic!("{other:?}"),
    };
    assert_eq!(found("SEARCH CHARSET UTF-8 TEXT \"\u{e4}\"".as_bytes()), (Some("UTF-8".into()), "\u{e4}".into()));
    assert_eq!(found("SEARCH TEXT \"\u{e4}\"".as_bytes()), (None, "\u{e4}".into()));
    assert_eq!(found(b"SEARCH charset \"iso-8859-15\" TEXT \"\xa4\"").1, "\u{20ac}");
    assert_eq!(found(b"SEARCH CHARSET KOI8-R TEXT {1}\r\n\xc1").1, "\u{430}");
    assert_eq!(found(b"SEARCH CHARSET us-ascii TEXT a").1, "a");
    for broken in [
        "SEARCH CHARSET us-ascii TEXT \"\u{e4}\"".as_bytes(),
        &b"SEARCH CHARSET us-ascii TEXT \"\xe4\""[..],
        b"SEARCH CHARSET UTF-8 TEXT \"\xe4\"",
        b"SEARCH TEXT \"\xe4\"",
    ] {
        assert_eq!(wrong(broken).1, "a text in the charset of the command");
    }
    for unknown in [
        "SEARCH CHARSET KLINGON ALL",
        "SORT (DATE) X-NONE ALL",
        "UID THREAD REFERENCES {1}\r\n\u{1} ALL",
        "SEARCH CHARSET UTF-7 ALL",
    ] {
        assert!(matches!(try_command(unknown), Err(CommandError::BadCharset { .. })), "{unknown}");
    }
}

#[test]
fn sort_and_thread() {
    let criteria =
        vec![SortCriterion { reverse: false, key: SortKey::Subject }, SortCriterion { reverse: true, key: SortKey::Date }];
    let expected = Command::Sort { numbering: Numbering::Uid, criteria, charset: "UTF-8".into(), key: SearchKey::All };
    assert_eq!(command("UID SORT (subject REVERSE DATE) UTF-8 ALL"), expected);
    let thread = Command::Thread {
        numbering: Numbering::Seq,
        algorithm: ThreadAlgorithm::References,
        charset: "US-ASCII".into(),
        key: SearchKey::Set(Numbering::Seq, one(1)),
    };
    assert_eq!(command("THREAD references US-ASCII 1"), thread);
    for broken in [
        "SORT () UTF-8 ALL",
        "SORT (REVERSE) UTF-8 ALL",
        "SORT (REVERSE REVERSE DATE) UTF-8 ALL",
        "SORT DATE UTF-8 ALL",
        "SORT (DATE) UTF-8",
        "THREAD REFS UTF-8 ALL",
        "THREAD REFERENCES",
    ] {
        wrong(broken);
    }
    wrong(format!("SORT ({}) UTF-8 ALL", vec!["DATE"; 33].join(" ")));
}
