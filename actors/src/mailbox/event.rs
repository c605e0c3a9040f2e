//! What can happen in a mailbox: the payload of its log. Append-only for ever; docs/log-format.md.

use std::sync::Arc;

use bytes::Bytes;
use carillon_protocol::date::InternalDate;
use carillon_protocol::flag::{FlagChange, FlagSet};
use carillon_protocol::number::{Uid, UidValidity};
use carillon_protocol::set::UidSet;
use carillon_storage::BodyHash;
use carillon_storage::codec::{self, CodecError};
use serde::{Deserialize, Serialize};

use crate::id::MailboxId;

/// The version of the encoding of [`MailboxEvent`] that is written.
pub const VERSION: u16 = 1;

/// The payload of a record: its events in version [`VERSION`].
///
/// # Errors
/// None that an event can cause; the encoder's are passed on.
pub fn encode(events: &[MailboxEvent]) -> Result<Bytes, CodecError> {
    codec::encode(&events).map(Bytes::from)
}

/// The events of a record's payload, of whatever version: the place where older ones are brought up to date.
///
/// # Errors
/// A version that this server does not know, or bytes that are no such events.
pub fn decode(version: u16, payload: &[u8]) -> Result<Vec<MailboxEvent>, CodecError> {
    match version {
        VERSION => codec::decode(payload),
        other => Err(CodecError(format!("mailbox events of version {other} are newer than this server"))),
    }
}

/// An event of a mailbox's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MailboxEvent {
    /// Always position 1, a record of its own.
    Opened {
        /// Of this mailbox for all its life.
        uid_validity: UidValidity,
    },
    /// Messages came in, UIDs ascending.
    Appended {
        /// At least one.
        arrivals: Vec<Arrival>,
    },
    /// Flags changed.
    FlagsChanged {
        /// Only those whose flags really changed.
        uids: UidSet,
        /// How.
        change: FlagChange,
        /// What.
        flags: FlagSet,
    },
    /// Messages are gone.
    Expunged {
        /// At least one.
        uids: UidSet,
        /// Why.
        why: Expunging,
    },
    /// The mailbox was deleted; always the last record.
    Ended,
}

impl MailboxEvent {
    /// How many messages it is about.
    pub fn messages(&self) -> usize {
        match self {
            Self::Opened { .. } | Self::Ended => 0,
            Self::Appended { arrivals } => arrivals.len(),
            Self::FlagsChanged { uids, .. } | Self::Expunged { uids, .. } => usize::try_from(uids.len()).unwrap_or(usize::MAX),
        }
    }
}

/// A message that came in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// Its UID.
    pub uid: Uid,
    /// Its flags at arrival.
    pub flags: FlagSet,
    /// What stays the same for its life.
    pub details: Arc<Details>,
    /// How it came.
    pub origin: Origin,
}

/// What never changes about a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// Header lines of this recipient alone, before the body; a message is prefix + body.
    pub prefix: Option<Arc<[u8]>>,
    /// The name of the rest of its bytes.
    pub body: BodyHash,
    /// Octets of prefix and body.
    pub size: u64,
    /// INTERNALDATE.
    pub internal_date: InternalDate,
    /// When it entered this mailbox: seconds since 1970 (RFC 8514).
    pub save_date: u64,
    /// Hash of prefix, body hash and INTERNALDATE (RFC 8474 §5.1).
    pub email_id: [u8; 16],
    /// Hash of the first id of References, In-Reply-To, Message-ID or EMAILID (RFC 8474 §5.2).
    pub thread_id: [u8; 16],
}

/// How a message came into a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// APPEND, or import.
    Append,
    /// LMTP.
    Delivery,
    /// COPY, MOVE or RENAME INBOX from there.
    Copy {
        /// The source.
        mailbox: MailboxId,
        /// Its UID there.
        uid: Uid,
    },
    /// Undo or restore.
    Restore,
}

/// Why messages are gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expunging {
    /// EXPUNGE or UID EXPUNGE.
    Expunge,
    /// CLOSE.
    Close,
    /// MOVE, or RENAME INBOX.
    MovedTo {
        /// The target.
        mailbox: MailboxId,
        /// The UIDs there, in the order of the UIDs here.
        uids: UidSet,
    },
    /// REPLACE.
    Replaced,
}
