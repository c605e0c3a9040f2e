//! What the directory can be asked.

use std::fmt;

use carillon_storage::Author;
use serde::{Deserialize, Serialize};

use super::event::ServerEvent;
use crate::id::{AccountId, MailboxId, SessionId};
use crate::mailbox::actor::MailboxHandle;

/// What `carillon who` shows of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionInfo {
    /// Which.
    pub session: SessionId,
    /// `None` before login.
    pub account: Option<AccountId>,
    /// The account's name; empty before login.
    pub user: String,
    /// The client's address.
    pub peer: String,
    /// The TLS version and cipher; empty without TLS.
    pub tls: String,
    /// What the client said of itself (RFC 2971); empty where it said nothing.
    pub client: String,
    /// The selected mailbox's name; empty where there is none.
    pub selected: String,
    /// What it is doing, in a word: the protocol state, or IDLE.
    pub state: String,
    /// When it was accepted: seconds since 1970.
    pub since_seconds: u64,
    /// Bytes received.
    pub in_bytes: u64,
    /// Bytes sent.
    pub out_bytes: u64,
}

/// Why a session has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Somebody asked for this one's end.
    Kick,
    /// The server ends.
    Shutdown,
}

/// How the directory tells a session to say BYE: called on the directory's thread, must not block.
pub struct SessionStop(Box<dyn Fn(Stop) + Send>);

impl SessionStop {
    /// `tell` sends the session its stop.
    pub fn new(tell: impl Fn(Stop) + Send + 'static) -> Self {
        Self(Box::new(tell))
    }

    /// Tells it.
    pub fn stop(&self, why: Stop) {
        (self.0)(why);
    }
}

impl fmt::Debug for SessionStop {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SessionStop")
    }
}

/// The account's actor, started if there is none.
#[derive(Debug)]
pub struct GetAccount(pub AccountId);

/// An account started a mailbox's actor: nobody else has its address yet.
#[derive(Debug)]
pub struct MailboxStarted(pub AccountId, pub MailboxHandle);

/// A mailbox retired or was deleted.
#[derive(Debug)]
pub struct MailboxGone(pub AccountId, pub MailboxId);

/// A session was accepted, or logged in, or does something else now.
#[derive(Debug)]
pub struct SessionIs {
    /// All of it.
    pub info: SessionInfo,
    /// With its first request: how to stop it.
    pub stop: Option<SessionStop>,
}

/// A client said what it is.
#[derive(Debug)]
pub struct SessionSaid(pub SessionId, pub String);

/// A session ended.
#[derive(Debug)]
pub struct SessionGone(pub SessionId);

/// Who is connected?
#[derive(Debug)]
pub struct Who;

/// End one session.
#[derive(Debug)]
pub struct Kick(pub SessionId);

/// End everything, in order.
#[derive(Debug)]
pub struct End;

/// A line of the server's log that waits.
#[derive(Debug)]
pub(super) struct Line {
    pub author: Author,
    pub at: u64,
    pub event: ServerEvent,
}
