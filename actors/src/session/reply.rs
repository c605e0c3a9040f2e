//! What becomes of refusals and faults on the wire: the one place where they turn into NO, BAD and BYE (RFC 5530).

use carillon_protocol::response::{Condition, ResponseCode, Status};

use super::resolve::BadSequence;
use crate::refusal::{Fault, Refusal};

/// Why a command did not end with the status that it was made for.
#[derive(Debug)]
pub enum Ending {
    /// The owner of the fact, or the session itself, refused.
    Refused(Refusal),
    /// The command cannot be understood in this state.
    Bad(&'static str),
    /// A status of its own.
    Status(Status),
    /// The session ends: BYE, and no tagged reply.
    Bye(Farewell),
    /// The connection is lost: there is nobody to answer.
    Lost(std::io::Error),
}

/// What a command ends with: the tagged status.
pub type Reply = Result<Status, Ending>;

impl From<Refusal> for Ending {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            // Whether the change is durable is known by the next start only.
            Refusal::Fault(Fault::Ending) => Self::Bye(Farewell::Shutdown),
            refusal => Self::Refused(refusal),
        }
    }
}
impl From<Fault> for Ending {
    fn from(fault: Fault) -> Self {
        Refusal::from(fault).into()
    }
}
impl From<BadSequence> for Ending {
    fn from(bad: BadSequence) -> Self {
        Self::Bad(bad.text())
    }
}
impl From<std::io::Error> for Ending {
    fn from(error: std::io::Error) -> Self {
        Self::Lost(error)
    }
}

/// Why the server ends a session (`* BYE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// LOGOUT.
    Logout,
    /// Autologout (RFC 9051 §5.4).
    Timeout,
    /// Too many commands in a row that were none.
    TooManyBad,
    /// Too many failed logins.
    TooManyLogins,
    /// More input than a limit allows, of a kind that cannot be skipped.
    TooMuch,
    /// A literal that was refused came all the same: nobody knows where the next command begins.
    DidNotWait,
    /// The server stops.
    Shutdown,
    /// There are as many connections as may be: this one is not let in.
    Crowded,
    /// An administrator ended the session.
    Kicked,
    /// The client speaks another protocol: what it sends must not be taken for commands (a web page can make a browser send them).
    OtherProtocol,
    /// The TLS handshake failed: nothing can be said any more.
    TlsFailed,
    /// The client went away.
    Disconnected,
}

impl Farewell {
    /// Whether the client may be in the middle of sending.
    pub const fn is_to_a_sender(self) -> bool {
        matches!(self, Self::TooMuch | Self::DidNotWait | Self::TooManyBad | Self::OtherProtocol)
    }

    /// The text of BYE.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Logout => "Logging out",
            Self::Timeout => "Autologout: idle for too long",
            Self::TooManyBad => "Too many bad commands",
            Self::TooManyLogins => "Too many failed logins",
            Self::TooMuch => "Input is larger than this server accepts",
            Self::DidNotWait => "A literal was sent that had to wait for its continuation, and was refused",
            Self::Shutdown => "The server is going down; come again in a moment",
            Self::Crowded => "Too many connections; come again in a moment",
            Self::Kicked => "An administrator ended this session",
            Self::OtherProtocol => "This is an IMAP server",
            Self::TlsFailed => "TLS failed",
            Self::Disconnected => "Disconnected",
        }
    }
}

/// OK with a text.
pub fn ok(text: impl Into<String>) -> Status {
    Status { condition: Condition::Ok, code: None, text: text.into() }
}

/// OK with a code.
pub fn ok_with(code: ResponseCode, text: impl Into<String>) -> Status {
    Status { condition: Condition::Ok, code: Some(code), text: text.into() }
}

/// NO with a code.
pub fn no(code: ResponseCode, text: impl Into<String>) -> Status {
    Status { condition: Condition::No, code: Some(code), text: text.into() }
}

/// BAD with a text.
pub fn bad(text: impl Into<String>) -> Status {
    Status { condition: Condition::Bad, code: None, text: text.into() }
}

/// BYE.
pub fn bye(farewell: Farewell) -> Status {
    let code = matches!(farewell, Farewell::Shutdown | Farewell::Crowded).then_some(ResponseCode::Unavailable);
    Status { condition: Condition::Bye, code, text: farewell.text().to_owned() }
}

/// The status of a refusal. `incident` is the id under which a fault stands in the trace.
pub fn refused(refusal: &Refusal, incident: &str) -> Status {
    match refusal {
        Refusal::NoSuchMailbox => no(ResponseCode::NonExistent, "There is no such mailbox"),
        Refusal::NoTargetMailbox => no(ResponseCode::TryCreate, "There is no such mailbox; CREATE makes it"),
        Refusal::MailboxExists => no(ResponseCode::AlreadyExists, "There is a mailbox of that name already"),
        Refusal::HasChildren => no(ResponseCode::HasChildren, "This name is there for its children only"),
        Refusal::Cannot(why) => no(ResponseCode::Cannot, *why),
        Refusal::SpecialUse(why) => no(ResponseCode::UseAttr, *why),
        Refusal::ReadOnly => no(ResponseCode::ReadOnly, "The mailbox was opened read-only"),
        Refusal::Limit(what) => no(ResponseCode::Limit, *what),
        Refusal::TooBig => no(ResponseCode::TooBig, "The message is larger than this server accepts"),
        Refusal::EmptyMessage => no(ResponseCode::Cannot, "A message has at least one byte"),
        Refusal::ExpungeIssued => no(ResponseCode::ExpungeIssued, "Some of the messages no longer exist"),
        Refusal::UnknownEncoding => no(ResponseCode::UnknownCte, "A part has a transfer encoding that is not known"),
        Refusal::Fault(fault) => faulted(fault, incident),
    }
}

fn faulted(fault: &Fault, incident: &str) -> Status {
    match fault {
        Fault::Unavailable(_) => no(ResponseCode::Unavailable, format!("Not now; nothing was changed [{incident}]")),
        Fault::Damaged(_) => no(ResponseCode::ServerBug, format!("What is stored is damaged [{incident}]")),
        Fault::Gone => no(ResponseCode::ServerBug, format!("The server lost its place; nothing was changed [{incident}]")),
        Fault::Bug(_) => no(ResponseCode::ServerBug, format!("A fault of the server [{incident}]")),
        Fault::Ending => no(ResponseCode::Unavailable, format!("The server is going down [{incident}]")),
    }
}
