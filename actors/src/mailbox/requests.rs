//! What a mailbox can be asked: the whole protocol between it and the rest. Handles in `actor.rs` send these.

use std::sync::Arc;
use std::time::Duration;

use carillon_protocol::flag::{FlagChange, FlagSet};
use carillon_protocol::number::{Uid, UidValidity};
use carillon_protocol::set::UidSet;
use carillon_storage::{Author, Body, Position};
use tokio::sync::oneshot;

use super::decide::Leaving;
use super::draft::Crossing;
use super::event::{Details, Origin};
use super::hold::Hold;
use super::state::Counts;
use crate::doorbell::Doorbell;

/// What a reader gets: the state as a whole, immutable, cheap to clone.
pub type Snapshot = super::state::State;

/// Names one subscriber of one watched actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriberId(pub u64);

/// Whether a look also claims the recent messages (corners.md, \Recent).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// SELECT, and a look that will tell EXISTS in a read-write session.
    Recent,
    /// EXAMINE and STATUS only look.
    Nothing,
}

/// The answer to a look.
#[derive(Clone, Debug)]
pub struct Look {
    /// The state, durable.
    pub snapshot: Snapshot,
    /// The smallest recent UID: claimed by this look if it was a claim, the snapshot's UIDNEXT where there is none.
    pub recent_from: Uid,
}

/// A message to be appended: its UID is the mailbox's to give.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// Its flags.
    pub flags: FlagSet,
    /// All else.
    pub details: Arc<Details>,
    /// How it comes.
    pub origin: Origin,
    /// Its bytes, unless the journal has them already (COPY, MOVE).
    pub body: Option<Body>,
}

/// A wish for a change of one mailbox. One wish is one commit.
#[derive(Clone, Debug)]
pub enum Change {
    /// APPEND, MULTIAPPEND, COPY into this mailbox, delivery: all of them or none.
    Append(Vec<NewMessage>),
    /// STORE.
    Store {
        /// Of these messages; those that are gone are passed over.
        uids: UidSet,
        /// How.
        change: FlagChange,
        /// What.
        flags: FlagSet,
    },
    /// EXPUNGE, UID EXPUNGE, CLOSE: of the messages that have \Deleted, all or those among `among`.
    Expunge {
        /// UID EXPUNGE's set.
        among: Option<UidSet>,
        /// By CLOSE: nobody is answered per message.
        by_close: bool,
    },
    /// MOVE onto itself: copies and expunges in one record.
    MoveWithin(UidSet),
}

impl Change {
    /// How many messages have to be looked at for it, at most, in a mailbox with so many.
    pub fn messages(&self, counts: Counts) -> usize {
        let among = |uids: &UidSet| uids.len().min(counts.messages);
        let messages = match self {
            Self::Append(messages) => messages.len() as u64,
            Self::Store { uids, .. } | Self::MoveWithin(uids) => among(uids),
            Self::Expunge { .. } => counts.deleted,
        };
        usize::try_from(messages).unwrap_or(usize::MAX)
    }
}

/// What became of a change; durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The record that it made; `None` where there was nothing to change.
    pub position: Option<Position>,
    /// The mailbox's UIDVALIDITY.
    pub uid_validity: UidValidity,
    /// The UIDs that were appended; they ascend in the order of the request.
    pub appended: UidSet,
    /// The UIDs that were changed or expunged; of MoveWithin the old ones.
    pub affected: UidSet,
}

/// Subscribing and the first look: one request.
#[derive(Debug)]
pub struct Subscribe {
    /// Rings at each change.
    pub bell: Doorbell,
    /// Whether this look is a claim too.
    pub claim: Claim,
}

/// A subscriber's look; re-arms its bell.
#[derive(Debug)]
pub struct LookAgain {
    /// Who.
    pub subscriber: SubscriberId,
    /// Whether this look is a claim too.
    pub claim: Claim,
}

/// A look without a subscription.
#[derive(Debug)]
pub struct Peek;

/// The end of a subscription.
#[derive(Debug)]
pub struct Unsubscribe(pub SubscriberId);

/// A change, and who asks for it.
#[derive(Debug)]
pub struct Submit {
    /// Who.
    pub author: Author,
    /// What.
    pub change: Arc<Change>,
}

/// What the account asks a mailbox to prepare, before it commits for several logs at once.
#[derive(Debug)]
pub(crate) enum Prepare {
    /// MOVE out of this mailbox, of these messages; RENAME INBOX: of all.
    Expunge(Option<UidSet>),
    /// MOVE into this mailbox.
    Append(Arc<Leaving>),
    /// DELETE.
    End,
}

impl Prepare {
    /// How many messages have to be looked at for it, at most, in a mailbox with so many.
    pub(super) fn messages(&self, counts: Counts) -> usize {
        let messages = match self {
            Self::Expunge(uids) => uids.as_ref().map_or(counts.messages, |uids| uids.len().min(counts.messages)),
            Self::Append(leaving) => leaving.messages.len() as u64,
            Self::End => 0,
        };
        usize::try_from(messages).unwrap_or(usize::MAX)
    }
}

/// What a mailbox prepared. Until the hold is released it serves looks and lets requests wait.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The mailbox's word that nothing changes meanwhile.
    pub hold: Hold,
    /// The mailbox's UIDVALIDITY.
    pub uid_validity: UidValidity,
    /// Of `Expunge`: the messages that are there.
    pub leaving: Arc<Leaving>,
    /// Of `Append`: what to commit in both mailboxes.
    pub crossing: Crossing,
}

/// Passivation: granted where nobody is subscribed, nothing waits or is under way, and nobody asked for anything for that long. The mailbox then answers `Gone` to
/// everything, and ends with its last address. The answer is its last look.
#[derive(Debug)]
pub struct Retire(pub Duration);

/// By the directory, after the account's death: the actor ends now. Something that was appended may still become durable.
#[derive(Debug)]
pub struct End(pub oneshot::Sender<()>);
