//! The frame reader: from bytes to frames, before any grammar and without I/O.
//!
//! It knows lines and literals, and that is enough to step over any command, however broken: the bytes of a literal are never taken for a
//! command. Bytes are pushed in, steps come out; how the bytes were cut makes no difference to the steps, save for the cuts of a message.

mod header;
mod limits;
#[cfg(test)]
mod tests;

use std::fmt;

use bytes::{Bytes, BytesMut};

use self::header::{Header, TAIL_BYTES, literal_header};
pub use self::limits::{FrameLimits, Limit, Lost};
use crate::command::{Frame, Tag};
use crate::grammar::{self, SyntaxError};

/// What comes out of the reader. Debug output shows no bytes of the peer's.
#[derive(Clone)]
pub enum Step {
    /// Nothing before more bytes are pushed.
    NeedMore,
    /// A synchronising literal of so many bytes is announced. The caller sends `+` and steps on, or calls [`FrameReader::refuse`].
    Continue {
        /// Its length in bytes.
        announced: u64,
    },
    /// A message of APPEND begins. Its bytes follow as chunks, and then its end or, where the command turns out to be refused,
    /// [`Step::TooBig`] or [`Step::SyntaxError`].
    MessageStart {
        /// Its place among the messages of the command, from 0.
        index: usize,
        /// Its length in bytes.
        length: u64,
        /// A literal8, which may hold NUL.
        binary: bool,
    },
    /// Bytes of the message, never none.
    MessageChunk(Bytes),
    /// The message is complete.
    MessageEnd,
    /// A command is complete. The caller has the bytes of its messages.
    Frame(Frame),
    /// The line that was asked for with [`FrameReader::expect_line`], without its end.
    Line(Vec<u8>),
    /// A command was too big and has been stepped over.
    TooBig {
        /// Its tag, where there was one.
        tag: Option<Tag>,
        /// What was too big.
        limit: Limit,
    },
    /// A command holds NUL where there may be none and has been stepped over.
    SyntaxError(SyntaxError),
    /// The connection cannot go on. So is every step from now on; what is pushed is thrown away.
    Fatal(Lost),
}

/// The reader of one connection. Holds at most what the limits allow and what was pushed and not yet read; nothing between commands.
pub struct FrameReader {
    limits: FrameLimits,
    input: BytesMut,
    /// How much of `input` is known to hold no line end.
    scanned: usize,
    state: State,
    command: Unfinished,
    /// The next line is asked for as it is.
    raw: bool,
}

/// The command that is being read.
#[derive(Default)]
struct Unfinished {
    text: Vec<u8>,
    line_bytes: usize,
    literals_bytes: usize,
    literal_count: usize,
    /// The lengths of its messages.
    messages: Vec<u64>,
    /// It is APPEND and its mailbox is complete: literals are messages.
    takes_messages: bool,
}

enum State {
    /// In a line.
    Line,
    /// The caller was asked whether this literal may come.
    Asked(Literal),
    /// In a literal.
    Literal(Literal),
    /// In a line of a refused command.
    SkipLine(Skip),
    /// In a literal of a refused command; so many bytes of it are left.
    SkipLiteral(Skip, u64),
    /// Nobody knows where the next command begins.
    Lost(Lost),
}

/// A literal on its way.
#[derive(Clone, Copy, Debug)]
struct Literal {
    left: u64,
    binary: bool,
    place: Place,
}

/// Where the bytes of a literal go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Text,
    /// A message that the caller has not been told of.
    NewMessage,
    Message,
}

/// A refused command while it is stepped over.
struct Skip {
    why: Refusal,
    tag: Option<Tag>,
    swallowed: u64,
    /// The last bytes of the line so far: a literal may be announced in them.
    tail: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum Refusal {
    TooBig(Limit),
    Nul { at: usize, expected: &'static str },
}

/// What [`FrameReader::advance`] comes to: a step, or another round.
type Advance = std::ops::ControlFlow<Step>;

impl FrameReader {
    /// A reader at the beginning of a connection.
    pub fn new(limits: FrameLimits) -> Self {
        Self { limits, input: BytesMut::new(), scanned: 0, state: State::Line, command: Unfinished::default(), raw: false }
    }

    /// Other limits, from the next line on.
    pub const fn set_limits(&mut self, limits: FrameLimits) {
        self.limits = limits;
    }

    /// Takes in bytes from the peer. To be called when the last step was [`Step::NeedMore`]; what is pushed earlier is kept.
    pub fn push(&mut self, bytes: &[u8]) {
        if !matches!(self.state, State::Lost(_)) {
            self.input.extend_from_slice(bytes);
        }
    }

    /// The next step.
    pub fn step(&mut self) -> Step {
        loop {
            if let Advance::Break(step) = self.advance() {
                if self.input.is_empty() {
                    // An idle connection holds no buffer.
                    self.input = BytesMut::new();
                }
                return step;
            }
        }
    }

    /// The next line is no command but an answer of SASL or DONE: it comes as [`Step::Line`]. To be called between commands.
    pub const fn expect_line(&mut self) {
        self.raw = true;
    }

    /// Refuses the literal that was announced by the last [`Step::Continue`], and its command with it; the caller answers the command.
    /// Where the client has sent the literal without waiting, the next step is [`Step::Fatal`].
    pub fn refuse(&mut self) {
        if matches!(self.state, State::Asked(_)) {
            self.finish_waiting();
        }
    }

    /// Tag and name of the command that is being read, as far as they are there.
    pub fn current(&self) -> (Option<Tag>, Option<&'static str>) {
        grammar::peek(&self.command.text)
    }

    /// How many bytes were pushed and not yet read.
    pub fn buffered(&self) -> usize {
        self.input.len()
    }

    /// Throws away what was pushed and not yet read, and an unfinished command: what came in plain text ahead of TLS is not to be
    /// executed (RFC 3501 §6.2.1). Gives the number of bytes.
    pub fn discard(&mut self) -> usize {
        let bytes = self.input.len() + self.command.text.len();
        *self = Self::new(self.limits);
        bytes
    }

    /// How much memory it holds, in bytes.
    pub fn held_bytes(&self) -> usize {
        self.input.capacity() + self.command.text.capacity()
    }

    fn advance(&mut self) -> Advance {
        match std::mem::replace(&mut self.state, State::Line) {
            State::Line => self.line(),
            // The caller stepped on: it has said `+`.
            State::Asked(literal) | State::Literal(literal) => self.literal(literal),
            State::SkipLine(skip) => self.skip_line(skip),
            State::SkipLiteral(skip, left) => self.skip_literal(skip, left),
            State::Lost(lost) => {
                self.command = Unfinished::default();
                self.input = BytesMut::new();
                self.state = State::Lost(lost);
                Advance::Break(Step::Fatal(lost))
            }
        }
    }

    /// Cuts the next line off the input, with its end; `None` if it is not complete.
    fn cut_line(&mut self) -> Option<BytesMut> {
        let unseen = self.input.get(self.scanned..).unwrap_or_default();
        match memchr::memchr(b'\n', unseen) {
            Some(place) => {
                let line = self.input.split_to(self.scanned + place + 1);
                self.scanned = 0;
                Some(line)
            }
            None => {
                self.scanned = self.input.len();
                None
            }
        }
    }

    fn line(&mut self) -> Advance {
        // Two bytes more for the line's end.
        let room = (self.limits.line_bytes + 2).saturating_sub(self.command.line_bytes);
        let Some(line) = self.cut_line() else {
            if self.input.len() <= room {
                return Advance::Break(Step::NeedMore);
            }
            self.scanned = 0;
            return self.refuse_from_here(Refusal::TooBig(Limit::Line));
        };
        if line.len() > room {
            self.unread(line);
            return self.refuse_from_here(Refusal::TooBig(Limit::Line));
        }
        let content = without_end(&line);
        if self.raw {
            self.raw = false;
            return Advance::Break(Step::Line(content.to_vec()));
        }
        if content.is_empty() && self.command.text.is_empty() {
            // Some clients send an empty line behind a literal, people press the key twice.
            return Advance::Continue(());
        }
        if let Some(place) = memchr::memchr(0, content) {
            let at = self.command.text.len() + place;
            self.unread(line);
            return self.refuse_from_here(Refusal::Nul { at, expected: "a line without NUL" });
        }
        self.command.line_bytes += line.len();
        match literal_header(content) {
            None => {
                self.command.text.extend_from_slice(content);
                let Unfinished { text, messages, .. } = std::mem::take(&mut self.command);
                Advance::Break(Step::Frame(Frame { text, messages }))
            }
            Some(header) => {
                self.command.text.extend_from_slice(content.get(..header.start).unwrap_or_default());
                self.announced(header)
            }
        }
    }

    fn unread(&mut self, line: BytesMut) {
        let rest = std::mem::replace(&mut self.input, line);
        self.input.unsplit(rest);
        self.scanned = 0;
    }

    /// A literal is announced at the end of a line.
    fn announced(&mut self, header: Header) -> Advance {
        let command = &mut self.command;
        command.takes_messages = command.takes_messages || is_append_with_mailbox(&command.text);
        let length = header.length.unwrap_or(u64::MAX);
        if let Some(limit) = self.broken_limit(length) {
            let skip = self.skip(Refusal::TooBig(limit));
            return self.skip_announced(skip, header);
        }
        let command = &mut self.command;
        if header.binary {
            command.text.push(b'~');
        }
        let place = if command.takes_messages {
            command.text.extend_from_slice(format!("\0{}\0", command.messages.len()).as_bytes());
            command.messages.push(length);
            Place::NewMessage
        } else {
            command.text.extend_from_slice(format!("{{{length}}}\r\n").as_bytes());
            command.literal_count += 1;
            // It is within the limit, which is a usize.
            command.literals_bytes += usize::try_from(length).unwrap_or(usize::MAX);
            Place::Text
        };
        let literal = Literal { left: length, binary: header.binary, place };
        if header.synchronising {
            self.state = State::Asked(literal);
            Advance::Break(Step::Continue { announced: length })
        } else {
            self.state = State::Literal(literal);
            Advance::Continue(())
        }
    }

    fn broken_limit(&self, length: u64) -> Option<Limit> {
        let (limits, command) = (&self.limits, &self.command);
        if command.takes_messages {
            return if command.messages.len() >= limits.messages {
                Some(Limit::Messages)
            } else {
                (length > limits.message_bytes).then_some(Limit::Message)
            };
        }
        if command.literal_count >= limits.literal_count {
            return Some(Limit::LiteralCount);
        }
        let room = limits.literals_bytes.saturating_sub(command.literals_bytes);
        (length > room as u64).then_some(Limit::Literals)
    }

    fn literal(&mut self, mut literal: Literal) -> Advance {
        if literal.place == Place::NewMessage {
            let (length, binary) = (literal.left, literal.binary);
            self.state = State::Literal(Literal { place: Place::Message, ..literal });
            return Advance::Break(Step::MessageStart { index: self.command.messages.len().saturating_sub(1), length, binary });
        }
        if literal.left == 0 {
            self.state = State::Line;
            if literal.place == Place::Message {
                return Advance::Break(Step::MessageEnd);
            }
            return Advance::Continue(());
        }
        let bytes = self.take(literal.left);
        literal.left -= bytes.len() as u64;
        if let Some(place) = memchr::memchr(0, &bytes).filter(|_| !literal.binary) {
            // RFC 3501 §9: a literal is made of CHAR8, which has no NUL. A message is no part of the text: its place is the literal's.
            let at = self.command.text.len() + if literal.place == Place::Text { place } else { 0 };
            let why = Refusal::Nul { at, expected: "a literal without NUL, or a literal8" };
            self.state = State::SkipLiteral(self.skip(why), literal.left);
            return Advance::Continue(());
        }
        self.state = State::Literal(literal);
        if bytes.is_empty() {
            return Advance::Break(Step::NeedMore);
        }
        if literal.place == Place::Message {
            return Advance::Break(Step::MessageChunk(bytes.freeze()));
        }
        self.command.text.extend_from_slice(&bytes);
        Advance::Continue(())
    }

    /// At most so many bytes off the input.
    fn take(&mut self, most: u64) -> BytesMut {
        let count = usize::try_from(most).unwrap_or(usize::MAX).min(self.input.len());
        self.scanned = 0;
        self.input.split_to(count)
    }

    /// Gives up the command's text, keeps its tag.
    fn skip(&mut self, why: Refusal) -> Skip {
        let tag = if self.command.text.is_empty() {
            let start = self.input.get(..self.input.len().min(Tag::MAX_BYTES + 1)).unwrap_or_default();
            if self.raw { None } else { grammar::peek(start).0 }
        } else {
            grammar::peek(&self.command.text).0
        };
        self.command = Unfinished::default();
        Skip { why, tag, swallowed: 0, tail: Vec::new() }
    }

    /// The line at the front of the input is refused, and all that belongs to its command.
    fn refuse_from_here(&mut self, why: Refusal) -> Advance {
        self.state = State::SkipLine(self.skip(why));
        Advance::Continue(())
    }

    fn skip_line(&mut self, mut skip: Skip) -> Advance {
        let (part, is_complete) = match self.cut_line() {
            Some(line) => (line, true),
            None => (self.take(u64::MAX), false),
        };
        skip.swallowed += part.len() as u64;
        skip.tail.extend_from_slice(part.get(part.len().saturating_sub(TAIL_BYTES)..).unwrap_or_default());
        skip.tail.drain(..skip.tail.len().saturating_sub(TAIL_BYTES));
        if skip.swallowed > self.limits.swallow_bytes.max(self.limits.line_bytes as u64) {
            return self.lose(Lost::TooMuch);
        }
        if !is_complete {
            self.state = State::SkipLine(skip);
            return Advance::Break(Step::NeedMore);
        }
        let tail = std::mem::take(&mut skip.tail);
        match literal_header(without_end(&tail)).filter(|_| !self.raw) {
            Some(header) => self.skip_announced(skip, header),
            None => {
                self.raw = false;
                Advance::Break(skip.into_step())
            }
        }
    }

    /// A refused command announces a literal: one that waits for us never comes, any other is thrown away.
    fn skip_announced(&mut self, mut skip: Skip, header: Header) -> Advance {
        if header.synchronising {
            self.finish_waiting();
            return if matches!(self.state, State::Lost(_)) { Advance::Continue(()) } else { Advance::Break(skip.into_step()) };
        }
        let total = header.length.and_then(|length| skip.swallowed.checked_add(length));
        match (header.length, total) {
            (Some(length), Some(total)) if total <= self.limits.swallow_bytes => {
                skip.swallowed = total;
                self.state = State::SkipLiteral(skip, length);
                Advance::Continue(())
            }
            _ => self.lose(Lost::TooMuch),
        }
    }

    fn skip_literal(&mut self, skip: Skip, left: u64) -> Advance {
        let left = left - self.take(left).len() as u64;
        if left == 0 {
            self.state = State::SkipLine(skip);
            return Advance::Continue(());
        }
        self.state = State::SkipLiteral(skip, left);
        Advance::Break(Step::NeedMore)
    }

    /// The client waits for an answer to a literal that it will not be let send: its next bytes are the next command. If there are
    /// bytes already, it has not waited, and they are the literal.
    fn finish_waiting(&mut self) {
        self.command = Unfinished::default();
        self.state = if self.input.is_empty() { State::Line } else { State::Lost(Lost::DidNotWait) };
    }

    fn lose(&mut self, lost: Lost) -> Advance {
        self.state = State::Lost(lost);
        Advance::Continue(())
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeedMore => formatter.write_str("NeedMore"),
            Self::Continue { announced } => write!(formatter, "Continue({announced})"),
            Self::MessageStart { index, length, .. } => write!(formatter, "MessageStart({index}, {length})"),
            Self::MessageChunk(bytes) => write!(formatter, "MessageChunk({} bytes)", bytes.len()),
            Self::MessageEnd => formatter.write_str("MessageEnd"),
            Self::Frame(frame) => frame.fmt(formatter),
            Self::Line(line) => write!(formatter, "Line({} bytes)", line.len()),
            Self::TooBig { limit, .. } => write!(formatter, "TooBig({limit:?})"),
            Self::SyntaxError(error) => error.fmt(formatter),
            Self::Fatal(lost) => write!(formatter, "Fatal({lost:?})"),
        }
    }
}

impl fmt::Debug for FrameReader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("FrameReader").field("held_bytes", &self.held_bytes()).finish_non_exhaustive()
    }
}

impl Skip {
    fn into_step(self) -> Step {
        match self.why {
            Refusal::TooBig(limit) => Step::TooBig { tag: self.tag, limit },
            Refusal::Nul { at, expected } => Step::SyntaxError(SyntaxError { at, expected, tag: self.tag, hint: None }),
        }
    }
}

/// A line without LF or CRLF.
fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Whether the text is an APPEND whose mailbox is complete: from there on its literals are messages.
fn is_append_with_mailbox(text: &[u8]) -> bool {
    use crate::grammar::primitive::{astring, sp};
    let mailbox = grammar::behind_verb(text, "APPEND").and_then(|rest| sp(rest).ok()).and_then(|(rest, ())| astring(rest).ok());
    mailbox.is_some_and(|(rest, _)| sp(rest).is_ok())
}
