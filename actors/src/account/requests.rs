//! What an account can be asked: the whole protocol between it and the rest. Handles in `actor.rs` send these.

use carillon_protocol::command::SpecialUse;
use carillon_protocol::mailbox_name::MailboxName;
use carillon_protocol::number::{Uid, UidValidity};
use carillon_protocol::set::UidSet;
use carillon_storage::{Author, Position};

use crate::doorbell::Doorbell;
use crate::id::MailboxId;
use crate::mailbox::requests::SubscriberId;
use crate::mailbox::state::Counts;

/// What a reader gets: names, subscriptions and recent changes, immutable, cheap to clone.
pub type Snapshot = super::state::State;

/// A wish for a change of names or subscriptions. One wish is one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// CREATE; missing superiors are made too.
    Create {
        /// The name.
        mailbox: MailboxName,
        /// Its special uses.
        special_use: Vec<SpecialUse>,
    },
    /// DELETE.
    Delete(MailboxName),
    /// RENAME of a mailbox with its children and subscriptions; of INBOX: its messages (RFC 3501 §6.3.5).
    Rename {
        /// The old name.
        from: MailboxName,
        /// The new name.
        to: MailboxName,
    },
    /// SUBSCRIBE
    Subscribe(MailboxName),
    /// UNSUBSCRIBE
    Unsubscribe(MailboxName),
}

/// MOVE, done: source and target changed in one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transferred {
    /// The target's UIDVALIDITY.
    pub uid_validity: UidValidity,
    /// The UIDs in the source. Messages that were gone are not there.
    pub from: UidSet,
    /// The UIDs in the target, pairwise: both ascend.
    pub to: UidSet,
}

/// What STATUS tells of a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// How many messages of which kind.
    pub counts: Counts,
    /// Messages that no session has claimed as recent.
    pub recent: u64,
    /// UIDNEXT.
    pub uid_next: Uid,
    /// UIDVALIDITY.
    pub uid_validity: UidValidity,
    /// HIGHESTMODSEQ.
    pub position: Position,
}

/// Subscribing and the first look: one request.
#[derive(Debug)]
pub struct Subscribe(pub Doorbell);

/// A subscriber's look; re-arms its bell.
#[derive(Debug)]
pub struct LookAgain(pub SubscriberId);

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
    pub change: Change,
}

/// The mailbox's actor, started if there is none.
#[derive(Debug)]
pub struct Open(pub MailboxId);

/// The mailbox's actor, if there is one: for those who would not wake it.
#[derive(Debug)]
pub struct Locate(pub MailboxId);

/// MOVE between two mailboxes.
#[derive(Debug)]
pub struct Transfer {
    /// Who.
    pub author: Author,
    /// From there.
    pub source: MailboxId,
    /// These; those that are gone are passed over.
    pub uids: UidSet,
    /// To there.
    pub target: MailboxName,
}

/// A clean stop: leave summaries and a snapshot.
#[derive(Debug)]
pub struct Finish;
