//! What can happen in an account: names, hierarchy, subscriptions. Append-only for ever; docs/log-format.md.

use bytes::Bytes;
use carillon_protocol::command::SpecialUse;
use carillon_protocol::mailbox_name::MailboxName;
use carillon_protocol::number::UidValidity;
use carillon_storage::codec::{self, CodecError};
use serde::{Deserialize, Serialize};

use crate::id::MailboxId;

/// The version of the encoding of [`AccountEvent`] that is written.
pub const VERSION: u16 = 1;

/// The payload of a record: its events in version [`VERSION`].
///
/// # Errors
/// None that an event can cause; the encoder's are passed on.
pub fn encode(events: &[AccountEvent]) -> Result<Bytes, CodecError> {
    codec::encode(&events).map(Bytes::from)
}

/// The events of a record's payload, of whatever version: the place where older ones are brought up to date.
///
/// # Errors
/// A version that this server does not know, or bytes that are no such events.
pub fn decode(version: u16, payload: &[u8]) -> Result<Vec<AccountEvent>, CodecError> {
    match version {
        VERSION => codec::decode(payload),
        other => Err(CodecError(format!("account events of version {other} are newer than this server"))),
    }
}

/// An event of an account's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccountEvent {
    /// A mailbox was made. In the same commit its own log gets `Opened`.
    MailboxCreated(Creation),
    /// Names changed, and the subscriptions with them: one event, so that no crash falls between (the stale subscription).
    MailboxRenamed {
        /// Every mailbox whose name changed, children too.
        moves: Vec<Move>,
        /// Missing superiors of the target; for RENAME INBOX the new mailbox and its superiors.
        created: Vec<Creation>,
        /// The subscriptions that moved along: old and new name.
        subscriptions: Vec<(MailboxName, MailboxName)>,
    },
    /// A mailbox was deleted; its subscription stays (RFC 9051 §6.3.7). In the same commit its own log gets `Ended`.
    MailboxDeleted {
        /// Which.
        mailbox: MailboxId,
        /// Its name.
        name: MailboxName,
    },
    /// SUBSCRIBE of a name that was not subscribed.
    Subscribed(MailboxName),
    /// UNSUBSCRIBE of a name that was.
    Unsubscribed(MailboxName),
}

/// A mailbox that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Creation {
    /// Its id for ever.
    pub mailbox: MailboxId,
    /// Its name.
    pub name: MailboxName,
    /// Greater than every other UIDVALIDITY of the account.
    pub uid_validity: UidValidity,
    /// Its special uses; they travel with it.
    pub special_use: Vec<SpecialUse>,
}

/// A mailbox that changed its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// Which.
    pub mailbox: MailboxId,
    /// The old name.
    pub from: MailboxName,
    /// The new name.
    pub to: MailboxName,
}
