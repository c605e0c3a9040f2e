//! What happens to sessions: the payload of the server's log. Append-only for ever; docs/log-format.md.

use bytes::Bytes;
use carillon_storage::codec::{self, CodecError};
use serde::{Deserialize, Serialize};

use crate::id::{AccountId, SessionId};

/// The version of the encoding of [`ServerEvent`] that is written.
pub const VERSION: u16 = 1;

/// The payload of a record: its events in version [`VERSION`].
///
/// # Errors
/// None that an event can cause; the encoder's are passed on.
pub fn encode(events: &[ServerEvent]) -> Result<Bytes, CodecError> {
    codec::encode(&events).map(Bytes::from)
}

/// The events of a record's payload, of whatever version.
///
/// # Errors
/// A version that this server does not know, or bytes that are no such events.
pub fn decode(version: u16, payload: &[u8]) -> Result<Vec<ServerEvent>, CodecError> {
    match version {
        VERSION => codec::decode(payload),
        other => Err(CodecError(format!("server events of version {other} are newer than this server"))),
    }
}

/// An event of the server's log. Nothing is written before a login: the log never holds a name that is no account's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerEvent {
    /// A session logged in.
    SessionOpened {
        /// Which.
        session: SessionId,
        /// As whom.
        account: AccountId,
        /// From where.
        peer: String,
        /// The TLS version and cipher; empty without TLS.
        tls: String,
        /// What the client said of itself (RFC 2971); empty where it said nothing yet.
        client: String,
    },
    /// A session's client said what it is (RFC 2971).
    SessionIdentified {
        /// Which.
        session: SessionId,
        /// As it said, bounded.
        client: String,
    },
    /// A session that had logged in ended.
    SessionClosed {
        /// Which.
        session: SessionId,
    },
}
