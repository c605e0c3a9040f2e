//! Commands from their text (RFC 3501 §9 and its extensions), with nom. Total: any frame gives a command or an error, in time and
//! memory linear in its length, with bounds on every depth and count.

pub mod append;
pub mod connection;
pub mod fetch;
pub mod mailbox;
pub mod message;
pub(crate) mod primitive;
pub mod search;
pub mod usage;

#[cfg(test)]
mod tests;

use std::fmt;

use nom::IResult;
use nom::error::{ErrorKind, ParseError};

use crate::command::{Command, Frame, Tag, TaggedCommand};
use crate::extension;
use crate::mailbox_name::{NameError, NameFormat};
use crate::set::Numbering;
pub use usage::Hint;

/// Why a frame is no command that can be executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// `tag BAD`: not the grammar.
    Syntax(SyntaxError),
    /// `tag NO [CANNOT]`: a text that stands where a mailbox name belongs, and is none.
    BadName {
        /// The command's tag.
        tag: Tag,
        /// The command, as in [`Command::name`].
        verb: &'static str,
        /// What is wrong with the name.
        error: NameError,
    },
    /// `tag NO [BADCHARSET]`: a charset of SEARCH, SORT or THREAD that is not known (RFC 3501 §6.4.4).
    BadCharset {
        /// The command's tag.
        tag: Tag,
    },
}

/// Where the text leaves the grammar, and what would have been right there. It never repeats what the client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// The place in the command, in bytes from 0, literals included.
    pub at: usize,
    /// What was expected there.
    pub expected: &'static str,
    /// The tag, where there is one.
    pub tag: Option<Tag>,
    /// What helps whoever typed it.
    pub hint: Option<Hint>,
}

impl CommandError {
    /// The tag to answer with, where it is known.
    pub const fn tag(&self) -> Option<&Tag> {
        match self {
            Self::Syntax(error) => error.tag.as_ref(),
            Self::BadName { tag, .. } | Self::BadCharset { tag } => Some(tag),
        }
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "expected {} at character {}", self.expected, self.at + 1)?;
        self.hint.map_or(Ok(()), |hint| write!(formatter, "; {hint}"))
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(error) => error.fmt(formatter),
            Self::BadName { error, .. } => error.fmt(formatter),
            Self::BadCharset { .. } => formatter.write_str("this charset is not known"),
        }
    }
}

impl std::error::Error for SyntaxError {}
impl std::error::Error for CommandError {}

/// What every parser of this module returns.
pub(crate) type Parsed<'a, T> = IResult<&'a [u8], T, Fail>;

/// A failed parser: how much input was left, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fail {
    rest: usize,
    cause: Cause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Expected(&'static str),
    Name(NameError),
    Charset,
}

impl ParseError<&[u8]> for Fail {
    fn from_error_kind(input: &[u8], _: ErrorKind) -> Self {
        Self { rest: input.len(), cause: Cause::Expected("something else") }
    }

    fn append(_: &[u8], _: ErrorKind, other: Self) -> Self {
        other
    }

    /// Of two alternatives the one that got further knows better what was meant.
    fn or(self, other: Self) -> Self {
        if other.rest < self.rest { other } else { self }
    }
}

/// What parsers of arguments need beside their input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'f> {
    /// The whole frame, for the message literals of APPEND.
    pub(crate) frame: &'f Frame,
    /// How names stand on the wire.
    pub(crate) format: NameFormat,
}

/// Every command as it is written, in the order of [`Command`].
pub(crate) const VERBS: [&str; 43] = [
    "CAPABILITY",
    "NOOP",
    "LOGOUT",
    "ID",
    "STARTTLS",
    "AUTHENTICATE",
    "LOGIN",
    "ENABLE",
    "SELECT",
    "EXAMINE",
    "CREATE",
    "DELETE",
    "RENAME",
    "SUBSCRIBE",
    "UNSUBSCRIBE",
    "LIST",
    "LSUB",
    "RLIST",
    "RLSUB",
    "SCAN",
    "NAMESPACE",
    "STATUS",
    "APPEND",
    "IDLE",
    "CHECK",
    "CLOSE",
    "UNSELECT",
    "EXPUNGE",
    "UID EXPUNGE",
    "SEARCH",
    "UID SEARCH",
    "SORT",
    "UID SORT",
    "THREAD",
    "UID THREAD",
    "FETCH",
    "UID FETCH",
    "STORE",
    "UID STORE",
    "COPY",
    "UID COPY",
    "MOVE",
    "UID MOVE",
];

/// Parses one command.
///
/// ```text
/// command = tag SP (command-any / command-auth / command-nonauth / command-select) CRLF   ; RFC 3501 §9
/// ```
/// One space before the CRLF is tolerated: people type it.
///
/// # Errors
/// [`CommandError`], which says how to answer.
pub fn parse(frame: &Frame, format: NameFormat) -> Result<TaggedCommand, CommandError> {
    let text = frame.text.as_slice();
    let (rest, tag) = primitive::tag(text).map_err(|error| syntax_error(text, &error, None, None))?;
    let (rest, verb) = verb(rest).map_err(|error| syntax_error(text, &error, Some(&tag), None))?;
    let parsed = arguments(verb, rest, Context { frame, format }).and_then(|(rest, command)| {
        let (_, ()) = primitive::end(rest)?;
        Ok(command)
    });
    match parsed {
        Ok(command) => Ok(TaggedCommand { tag, command }),
        Err(error) => Err(match fail_of(&error).cause {
            Cause::Expected(_) => syntax_error(text, &error, Some(&tag), Some(verb)),
            Cause::Name(error) => CommandError::BadName { tag, verb, error },
            Cause::Charset => CommandError::BadCharset { tag },
        }),
    }
}

/// The tag and the command's name, as far as they can be read: for what has to be said of a frame that is not parsed.
pub fn peek(text: &[u8]) -> (Option<Tag>, Option<&'static str>) {
    let Ok((rest, tag)) = primitive::tag(text) else { return (None, None) };
    (Some(tag), verb(rest).ok().map(|(_, verb)| verb))
}

/// What stands behind tag and name of this one command.
pub(crate) fn behind_verb<'a>(text: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
    let (rest, _) = primitive::tag(text).ok()?;
    verb(rest).ok().filter(|(_, found)| *found == wanted).map(|(rest, _)| rest)
}

fn fail_of(error: &nom::Err<Fail>) -> Fail {
    match error {
        nom::Err::Error(fail) | nom::Err::Failure(fail) => *fail,
        // Complete parsers never ask for more.
        nom::Err::Incomplete(_) => Fail { rest: 0, cause: Cause::Expected("more") },
    }
}

fn syntax_error(text: &[u8], error: &nom::Err<Fail>, tag: Option<&Tag>, verb: Option<&'static str>) -> CommandError {
    let Fail { rest, cause } = fail_of(error);
    let expected = if let Cause::Expected(expected) = cause { expected } else { "something else" };
    let hint = Hint::of(tag.map(Tag::as_str), verb);
    CommandError::Syntax(SyntaxError { at: text.len().saturating_sub(rest), expected, tag: tag.cloned(), hint })
}

/// A command's name behind its tag.
fn verb(input: &[u8]) -> Parsed<'_, &'static str> {
    let (start, ()) = primitive::sp(input)?;
    let (mut rest, first) = primitive::word(start)?;
    let found = if first.eq_ignore_ascii_case("UID") {
        let (behind, ()) = primitive::sp(rest)?;
        let (behind, second) = primitive::word(behind)?;
        rest = behind;
        VERBS.into_iter().find(|verb| verb.strip_prefix("UID ").is_some_and(|name| name.eq_ignore_ascii_case(second)))
    } else {
        VERBS.into_iter().find(|verb| verb.eq_ignore_ascii_case(first))
    };
    found.map_or_else(|| primitive::fail(start, "a command"), |verb| Ok((rest, verb)))
}

/// The arguments behind the command's name.
fn arguments<'a>(verb: &'static str, input: &'a [u8], context: Context<'_>) -> Parsed<'a, Command> {
    let (name, numbering) = verb.strip_prefix("UID ").map_or((verb, Numbering::Seq), |name| (name, Numbering::Uid));
    match name {
        "CAPABILITY" => Ok((input, Command::Capability)),
        "NOOP" => Ok((input, Command::Noop)),
        "LOGOUT" => Ok((input, Command::Logout)),
        "STARTTLS" => Ok((input, Command::StartTls)),
        "NAMESPACE" => Ok((input, Command::Namespace)),
        "IDLE" => Ok((input, Command::Idle)),
        "CHECK" => Ok((input, Command::Check)),
        "CLOSE" => Ok((input, Command::Close)),
        "UNSELECT" => Ok((input, Command::Unselect)),
        "ID" => extension::rfc2971_id::id(input),
        "AUTHENTICATE" => connection::authenticate(input),
        "LOGIN" => connection::login(input),
        "ENABLE" => extension::rfc5161_enable::enable(input),
        "APPEND" => append::append(input, context),
        "SCAN" => extension::uw_scan::scan(input, context.format),
        "SEARCH" => search::search(input, numbering),
        "SORT" => extension::rfc5256_sort_thread::sort(input, numbering),
        "THREAD" => extension::rfc5256_sort_thread::thread(input, numbering),
        "FETCH" => fetch::fetch(input, numbering),
        "STORE" => message::store(input, numbering),
        "COPY" => message::copy(input, numbering, context.format),
        "MOVE" => extension::rfc6851_move::move_messages(input, numbering, context.format),
        "EXPUNGE" if numbering == Numbering::Uid => extension::rfc4315_uidplus::uid_expunge(input),
        "EXPUNGE" => Ok((input, Command::Expunge)),
        other => mailbox::mailbox_command(other, input, context.format),
    }
}
