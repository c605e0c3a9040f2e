use proptest::prelude::*;

use super::*;

const SMALL: FrameLimits =
    FrameLimits { line_bytes: 100, literals_bytes: 50, literal_count: 4, message_bytes: 1000, messages: 3, swallow_bytes: 500 };

/// A step as a test compares it: chunks of a message are joined.
#[derive(Clone, Debug, PartialEq)]
enum Event {
    Continue(u64),
    Start(usize, u64, bool),
    Bytes(Vec<u8>),
    End,
    Frame(Vec<u8>),
    Line(Vec<u8>),
    TooBig(Option<String>, Limit),
    Nul(Option<String>, usize),
    Fatal(Lost),
}

fn steps(reader: &mut FrameReader, events: &mut Vec<Event>) {
    loop {
        let tag_text = |tag: Option<Tag>| tag.map(|tag| tag.as_str().to_owned());
        let event = match reader.step() {
            Step::NeedMore => return,
            Step::Continue { announced } => Event::Continue(announced),
            Step::MessageStart { index, length, binary } => Event::Start(index, length, binary),
            Step::MessageChunk(chunk) => {
                assert!(!chunk.is_empty());
                if let Some(Event::Bytes(bytes)) = events.last_mut() {
                    bytes.extend_from_slice(&chunk);
                    continue;
                }
                Event::Bytes(chunk.to_vec())
            }
            Step::MessageEnd => Event::End,
            Step::Frame(frame) => Event::Frame(frame.text),
            Step::Line(line) => Event::Line(line),
            Step::TooBig { tag, limit } => Event::TooBig(tag_text(tag), limit),
            Step::SyntaxError(error) => Event::Nul(tag_text(error.tag), error.at),
            Step::Fatal(lost) => {
                if events.last() != Some(&Event::Fatal(lost)) {
                    events.push(Event::Fatal(lost));
                }
                return;
            }
        };
        events.push(event);
    }
}

fn read(limits: FrameLimits, input: &[u8], chunk: usize) -> Vec<Event> {
    let (mut reader, mut events) = (FrameReader::new(limits), Vec::new());
    for chunk in input.chunks(chunk) {
        reader.push(chunk);
        steps(&mut reader, &mut events);
    }
    events
}

/// In one piece, byte by byte, and in pieces of three: always the same.
fn events(input: &[u8]) -> Vec<Event> {
    let whole = read(SMALL, input, usize::MAX);
    for chunk in [1, 3] {
        // Bytes behind a literal that has to be waited for are seen at once or later: only the whole input can show a client that did not wait.
        if !whole.contains(&Event::Fatal(Lost::DidNotWait)) {
            assert_eq!(read(SMALL, input, chunk), whole, "in pieces of {chunk}");
        }
    }
    whole
}

fn frame(text: &str) -> Event {
    Event::Frame(text.as_bytes().to_vec())
}

fn bytes(text: &str) -> Event {
    Event::Bytes(text.as_bytes().to_vec())
}

fn too_big(tag: &str, limit: Limit) -> Event {
    Event::TooBig(Some(tag.to_owned()), limit)
}

#[test]
fn lines() {
    assert_eq!(events(b"a NOOP\r\nb NOOP\n\r\n\nc \r\n"), [frame("a NOOP"), frame("b NOOP"), frame("c ")]);
    assert_eq!(events(b"a NOOP"), []);
    // What only looks like a literal.
    assert_eq!(events(b"a {1-}\r\nb {}\r\nc {1} \r\n"), [frame("a {1-}"), frame("b {}"), frame("c {1} ")]);
}

#[test]
fn literals_go_into_the_text() {
    assert_eq!(events(b"a LOGIN {2+}\r\nab {3+}\nx\r\n\r\n"), [frame("a LOGIN {2}\r\nab {3}\r\nx\r\n")]);
    let expected = [Event::Continue(2), Event::Continue(0), frame("a LOGIN {2}\r\nab {0}\r\n")];
    assert_eq!(events(b"a LOGIN {2}\r\nab {0}\r\n\r\n"), expected);
    assert_eq!(events(b"a X ~{2+}\r\n\0\0 y\r\n"), [frame("a X ~{2}\r\n\0\0 y")]);
    // A literal that looks like commands is a literal.
    assert_eq!(events(b"a X {15+}\r\nb LOGOUT\r\nc {9}\r\n"), [frame("a X {15}\r\nb LOGOUT\r\nc {9}")]);
}

#[test]
fn messages_are_handed_out() {
    let expected =
        [Event::Continue(5), Event::Start(0, 5, false), bytes("abc\r\n"), Event::End, frame("a APPEND x (\\Seen) \x000\x00")];
    assert_eq!(events(b"a APPEND x (\\Seen) {5}\r\nabc\r\n\r\n"), expected);
    let expected = [
        Event::Start(0, 1, false),
        bytes("a"),
        Event::End,
        Event::Start(1, 2, true),
        bytes("\0b"),
        Event::End,
        Event::Start(2, 0, false),
        Event::End,
        frame("a append \"x y\" \x000\x00 ~\x001\x00 \x002\x00"),
        frame("b NOOP"),
    ];
    assert_eq!(events(b"a append \"x y\" {1+}\r\na ~{2+}\r\n\0b {0+}\r\n\r\nb NOOP\r\n"), expected);
    // The mailbox is a literal too.
    let expected = [Event::Start(0, 1, false), bytes("m"), Event::End, frame("a APPEND {1}\r\nx \x000\x00")];
    assert_eq!(events(b"a APPEND {1+}\r\nx {1+}\r\nm\r\n"), expected);
    // No mailbox, or another command: an ordinary literal.
    assert_eq!(events(b"a APPEND {1+}\r\nx{1+}\r\ny\r\n"), [frame("a APPEND {1}\r\nx{1}\r\ny")]);
    assert_eq!(events(b"a APPENDS x {1+}\r\ny\r\n"), [frame("a APPENDS x {1}\r\ny")]);
}

#[test]
fn a_frame_knows_its_messages() {
    let mut reader = FrameReader::new(SMALL);
    reader.push(b"a APPEND x {1+}\r\na ~{2+}\r\nbc\r\nb APPEND x {3+}\r\nabc\r\n");
    let frames = std::iter::from_fn(|| Some(reader.step()).filter(|step| !matches!(step, Step::NeedMore)));
    let frames = frames.filter_map(|step| if let Step::Frame(frame) = step { Some(frame.messages) } else { None });
    assert_eq!(frames.collect::<Vec<_>>(), [vec![1, 2], vec![3]]);
}

#[test]
fn raw_lines() {
    let mut reader = FrameReader::new(SMALL);
    let mut found = Vec::new();
    reader.push(b"a AUTHENTICATE PLAIN\r\nAGEAYg== {5+}\r\nb IDLE\r\nDO");
    assert!(matches!(reader.step(), Step::Frame(_)));
    reader.expect_line();
    steps(&mut reader, &mut found);
    assert_eq!(found, [Event::Line(b"AGEAYg== {5+}".to_vec()), frame("b IDLE")]);
    reader.expect_line();
    reader.push(b"NE\r\n\r\n");
    steps(&mut reader, &mut found);
    assert_eq!(found.last(), Some(&Event::Line(b"DONE".to_vec())));
    // An empty answer is an answer.
    reader.expect_line();
    reader.push(b"\r\n");
    assert!(matches!(reader.step(), Step::Line(line) if line.is_empty()));
    reader.expect_line();
    reader.push(format!("{}{{5+}}\r\nc NOOP\r\n", "x".repeat(200)).as_bytes());
    found.clear();
    steps(&mut reader, &mut found);
    assert_eq!(found, [Event::TooBig(None, Limit::Line), frame("c NOOP")]);
}

#[test]
fn refusing_a_literal() {
    let mut reader = FrameReader::new(SMALL);
    reader.push(b"a APPEND x {5}\r\n");
    assert!(matches!(reader.step(), Step::Continue { announced: 5 }));
    assert_eq!(reader.current(), (Tag::new("a"), Some("APPEND")));
    reader.refuse();
    reader.push(b"b NOOP\r\n");
    let mut found = Vec::new();
    steps(&mut reader, &mut found);
    assert_eq!(found, [frame("b NOOP")]);
    // A client that did not wait: its literal is not read as commands.
    reader.push(b"a LOGIN {9}\r\nb LOGOUT\r\n");
    assert!(matches!(reader.step(), Step::Continue { .. }));
    reader.refuse();
    assert!(matches!(reader.step(), Step::Fatal(Lost::DidNotWait)));
    reader.push(b"c NOOP\r\n");
    assert!(matches!(reader.step(), Step::Fatal(Lost::DidNotWait)));
    assert_eq!(reader.held_bytes(), 0);
}

#[test]
fn a_line_that_is_too_long_is_stepped_over() {
    let long = format!("a {}\r\nb NOOP\r\n", "x".repeat(200));
    assert_eq!(events(long.as_bytes()), [too_big("a", Limit::Line), frame("b NOOP")]);
    assert_eq!(events(format!("a {}\r\n", "x".repeat(98)).as_bytes()), [frame(&format!("a {}", "x".repeat(98)))]);
    // All lines of a command count together.
    let parts = format!("a {} {{1+}}\r\nx {}\r\nb NOOP\r\n", "x".repeat(50), "y".repeat(60));
    assert_eq!(events(parts.as_bytes()), [too_big("a", Limit::Line), frame("b NOOP")]);
    // It ends with a literal: that belongs to it. One that waits for us never comes.
    let literal = format!("a {} {{9+}}\r\nc LOGOUT\r\n\r\nb NOOP\r\n", "x".repeat(200));
    assert_eq!(events(literal.as_bytes()), [too_big("a", Limit::Line), frame("b NOOP")]);
    assert_eq!(events(format!("a {} {{9}}\r\n", "x".repeat(200)).as_bytes()), [too_big("a", Limit::Line)]);
    assert_eq!(events("x".repeat(300).as_bytes()), []);
    assert_eq!(events("x".repeat(600).as_bytes()), [Event::Fatal(Lost::TooMuch)]);
}

/// Reports 8, 9, 10 and 11 of the reliability page: many literals, big literals, in every state of the reader.
#[test]
fn literals_that_are_too_many_or_too_big() {
    let too_many = format!("a X{}\r\nb NOOP\r\n", " {1+}\r\nx".repeat(5));
    assert_eq!(events(too_many.as_bytes()), [too_big("a", Limit::LiteralCount), frame("b NOOP")]);
    let together = format!("a X {{30+}}\r\n{0} {{30+}}\r\n{0}\r\nb NOOP\r\n", "y".repeat(30));
    assert_eq!(events(together.as_bytes()), [too_big("a", Limit::Literals), frame("b NOOP")]);
    assert_eq!(events(b"a X {51}\r\n"), [too_big("a", Limit::Literals)]);
    assert_eq!(events(b"a X {99999999999999999999999}\r\n"), [too_big("a", Limit::Literals)]);
    for huge in ["{99999999999999999999999+}", "{501+}", "{18446744073709551615+}"] {
        assert_eq!(events(format!("a X {huge}\r\nb NOOP\r\n").as_bytes()), [Event::Fatal(Lost::TooMuch)]);
    }
    let swallowed = format!("a X {}\r\nb NOOP\r\n", format!("{{51+}}\r\n{}", "y".repeat(51)).repeat(8));
    assert_eq!(events(swallowed.as_bytes()), [too_big("a", Limit::Literals), frame("b NOOP")]);
    let endless = format!("a X {}\r\n", format!("{{51+}}\r\n{}", "y".repeat(51)).repeat(9));
    assert_eq!(events(endless.as_bytes()), [Event::Fatal(Lost::TooMuch)]);
    let without_waiting = format!("a X {{51}}\r\n{}\r\n", "y".repeat(51));
    assert_eq!(events(without_waiting.as_bytes()), [Event::Fatal(Lost::DidNotWait)]);
}

#[test]
fn messages_that_are_too_many_or_too_big() {
    assert_eq!(events(b"a APPEND x {1001}\r\n"), [too_big("a", Limit::Message)]);
    assert_eq!(read(FrameLimits::UNAUTHENTICATED, b"a APPEND x {1}\r\n", 1), [too_big("a", Limit::Messages)]);
    let input = format!("a APPEND x{}\r\nb NOOP\r\n", " {1+}\r\nm".repeat(4));
    let found = events(input.as_bytes());
    assert_eq!(found.get(found.len() - 2..), Some(&[too_big("a", Limit::Messages), frame("b NOOP")][..]));
    let small = FrameLimits { message_bytes: 10, ..SMALL };
    let input = b"a APPEND x {11+}\r\nb LOGOUT\r\nb\r\nc NOOP\r\n";
    assert_eq!(read(small, input, 1), [too_big("a", Limit::Message), frame("c NOOP")]);
}

/// Report 7 of the reliability page.
#[test]
fn nul() {
    let nul = |tag: &str, at| Event::Nul(Some(tag.to_owned()), at);
    assert_eq!(events(b"a LOGIN \"x\0y\" z\r\nb NOOP\r\n"), [nul("a", 10), frame("b NOOP")]);
    assert_eq!(events(b"a LOGIN x\0 {9+}\r\nc LOGOUT\r\n\r\nb NOOP\r\n"), [nul("a", 9), frame("b NOOP")]);
    assert_eq!(events(b"a X {1+}\r\nx \0\r\nb NOOP\r\n"), [nul("a", 11), frame("b NOOP")]);
    // In an ordinary literal too, and then nothing of it stays.
    assert!(
        matches!(events(b"a X {9+}\r\nxx\0xx\r\nyy z\r\nb NOOP\r\n").as_slice(), [Event::Nul(..), other] if *other == frame("b NOOP"))
    );
    // Of a message, what came before may have been handed out.
    for chunk in [1, 2, 100] {
        let found = read(SMALL, b"a APPEND x {5+}\r\nab\0cd\r\nb NOOP\r\n", chunk);
        assert!(matches!(found.first(), Some(Event::Start(0, 5, false))));
        assert_eq!(found.get(found.len() - 2..), Some(&[nul("a", 14), frame("b NOOP")][..]));
    }
    assert_eq!(events(b"\0\r\nb NOOP\r\n"), [Event::Nul(None, 0), frame("b NOOP")]);
}

/// Report 12 of the reliability page: parentheses, then braces, before login.
#[test]
fn parentheses_and_braces_cost_nothing() {
    for fill in ["(", "{", "{(", "\"", "{1", "}"] {
        let input = format!("a X {}\r\nb NOOP\r\n", fill.repeat(20_000 / fill.len()));
        let mut reader = FrameReader::new(FrameLimits::UNAUTHENTICATED);
        let mut found = Vec::new();
        for chunk in input.as_bytes().chunks(1000) {
            reader.push(chunk);
            steps(&mut reader, &mut found);
            assert!(reader.held_bytes() < 64 << 10);
        }
        assert_eq!(found, [too_big("a", Limit::Line), frame("b NOOP")]);
    }
}

/// Reports 1 to 6 of the reliability page: what came in plain text behind STARTTLS is gone.
#[test]
fn discarding_what_was_pipelined() {
    let mut reader = FrameReader::new(SMALL);
    reader.push(b"a STARTTLS\r\nb LOGIN x y\r\nc AP");
    assert!(matches!(reader.step(), Step::Frame(_)));
    assert_eq!((reader.buffered(), reader.discard(), reader.buffered()), (17, 17, 0));
    reader.push(b"d NOOP\r\n");
    let mut found = Vec::new();
    steps(&mut reader, &mut found);
    assert_eq!(found, [frame("d NOOP")]);
}

#[test]
fn debug_output_shows_nothing_of_the_peer() {
    let mut reader = FrameReader::new(SMALL);
    reader.push(b"a LOGIN x hunter2\r\nb APPEND x {7+}\r\nhunter2 hunter2\r\nhunter2");
    for expected in ["Frame", "MessageStart", "MessageChunk", "MessageEnd", "Frame", "Line"] {
        if expected == "Line" {
            reader.expect_line();
            reader.push(b"\r\n");
        }
        let shown = format!("{:?} {reader:?}", reader.step());
        assert!(shown.starts_with(expected) && !shown.contains("hunter2") && !shown.contains("104, 117"), "{shown}");
    }
}

#[test]
fn an_idle_reader_holds_nothing() {
    let mut reader = FrameReader::new(FrameLimits::AUTHENTICATED);
    let mut found = Vec::new();
    reader.push(format!("a {}\r\n", "x".repeat(60_000)).as_bytes());
    reader.push(b"a APPEND x {3+}\r\nabc\r\n");
    steps(&mut reader, &mut found);
    assert_eq!((found.len(), reader.held_bytes()), (5, 0));
}

/// One command on the wire with what must come of it.
fn a_command() -> impl Strategy<Value = (Vec<u8>, Vec<Event>)> {
    let literal = (prop::collection::vec(1..=255u8, 0..20), any::<bool>(), any::<bool>());
    ("[a-z]{1,3}", prop::collection::vec(literal, 0..4), any::<bool>()).prop_map(|(tag, literals, is_append)| {
        let mut wire = format!("{tag} {}", if is_append { "APPEND \"x\"" } else { "X" }).into_bytes();
        let mut text = wire.clone();
        let mut found = Vec::new();
        // No more messages than the limits allow.
        for (index, (literal, waits, binary)) in literals.into_iter().enumerate().take(3) {
            let (tilde, plus) = (if binary { "~" } else { "" }, if waits { "" } else { "+" });
            wire.extend(format!(" {tilde}{{{}{plus}}}\r\n", literal.len()).bytes());
            wire.extend(&literal);
            found.extend(waits.then_some(Event::Continue(literal.len() as u64)));
            if is_append {
                text.extend(format!(" {tilde}\0{index}\0").bytes());
                found.push(Event::Start(index, literal.len() as u64, binary));
                found.extend((!literal.is_empty()).then(|| Event::Bytes(literal.clone())));
                found.push(Event::End);
            } else {
                text.extend(format!(" {tilde}{{{}}}\r\n", literal.len()).bytes());
                text.extend(&literal);
            }
        }
        wire.extend(b"\r\n");
        found.push(Event::Frame(text));
        (wire, found)
    })
}

proptest! {
    #[test]
    fn commands_come_out_however_they_are_cut(commands in prop::collection::vec(a_command(), 0..6), cuts in prop::collection::vec(1..40usize, 1..50)) {
        let limits = FrameLimits { literals_bytes: 100, line_bytes: 200, ..SMALL };
        let wire: Vec<u8> = commands.iter().flat_map(|(wire, _)| wire.clone()).collect();
        let expected: Vec<Event> = commands.into_iter().flat_map(|(_, events)| events).collect();
        let (mut reader, mut found) = (FrameReader::new(limits), Vec::new());
        let mut rest = wire.as_slice();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, behind) = rest.split_at((*cut).min(rest.len()));
            reader.push(chunk);
            steps(&mut reader, &mut found);
            rest = behind;
        }
        prop_assert_eq!(found, expected);
        prop_assert_eq!(reader.held_bytes(), 0);
    }

    #[test]
    fn garbage_is_bounded(parts in prop::collection::vec(prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60),
        prop::sample::select(vec!["\r\n", "\n", "{5+}\r\n", "{5}\r\n", "~{70+}\r\n", "{2000+}\r\n", "a APPEND x ", " ", "\0", "}", "{99999999999999999999+}\r\n"])
            .prop_map(|text| text.as_bytes().to_vec()),
    ], 0..60), raw: bool) {
        let mut reader = FrameReader::new(SMALL);
        for part in parts {
            if raw {
                reader.expect_line();
            }
            reader.push(&part);
            let mut rounds = 0;
            while !matches!(reader.step(), Step::NeedMore | Step::Fatal(_)) {
                rounds += 1;
                // No step without progress: one byte makes at most three (announced, begun, ended).
                prop_assert!(rounds <= 3 * part.len() + 10);
            }
            // Twice for the growth of vectors.
            let most = 2 * (SMALL.line_bytes + SMALL.literals_bytes) + 100;
            prop_assert!(reader.buffered() <= SMALL.line_bytes + 2 && reader.held_bytes() <= most + 400, "{}", reader.held_bytes());
        }
    }
}
