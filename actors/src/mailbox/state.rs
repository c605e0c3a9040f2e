//! A mailbox's state: the fold of its log. Immutable for those who look, cheap to clone, changed by [`State::apply`] alone.

use std::fmt;

use carillon_protocol::flag::{FlagSet, Keyword};
use carillon_protocol::number::{ModSeq, Uid, UidValidity};
use carillon_protocol::set::UidSet;
use carillon_storage::Position;
use serde::{Deserialize, Serialize};

use super::event::{Arrival, MailboxEvent};
use super::flags::{DELETED, FlagEdit, Keywords, SEEN};
use crate::limits::Limits;
use crate::recent::Recent;

pub use super::chunks::{Iter, Message, Messages};
pub use super::flags::Flags;

/// How many messages of which kind there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// All.
    pub messages: u64,
    /// Those without \Seen.
    pub unseen: u64,
    /// Those with \Deleted.
    pub deleted: u64,
    /// The octets of all (STATUS=SIZE, RFC 8438).
    pub size: u64,
}

impl Counts {
    pub(super) fn of(message: Message<'_>) -> Self {
        Self {
            messages: 1,
            unseen: u64::from(message.flags.system & SEEN == 0),
            deleted: u64::from(message.flags.system & DELETED != 0),
            size: message.details.size,
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.messages += other.messages;
        self.unseen += other.unseen;
        self.deleted += other.deleted;
        self.size += other.size;
    }
}

/// One of the newest changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecentChange {
    /// The record that made it.
    pub position: Position,
    /// What it did.
    pub kind: ChangeKind,
}

/// What a change did to which messages. MOVE onto itself is two changes with one position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// They came in.
    Arrived(UidSet),
    /// Their flags changed.
    Flags(UidSet),
    /// They are gone.
    Expunged(UidSet),
}

/// A mailbox's state. A clone is O(1); a change copies what a clone still holds of the touched chunks.
#[derive(Clone)]
pub struct State {
    pub(super) position: Position,
    pub(super) uid_validity: UidValidity,
    pub(super) uid_next: Uid,
    pub(super) is_ended: bool,
    pub(super) messages: Messages,
    pub(super) keywords: Keywords,
    keywords_limit: usize,
    recent: Recent<RecentChange>,
}

impl State {
    /// The state before `Opened`: UIDVALIDITY is not known yet.
    pub fn new(limits: &Limits) -> Self {
        Self::at(0, limits)
    }

    /// An empty state that has seen the records up to `position`, but knows no change of them.
    pub(super) fn at(position: Position, limits: &Limits) -> Self {
        Self {
            position,
            uid_validity: UidValidity::MIN,
            uid_next: Uid::MIN,
            is_ended: false,
            messages: Messages::default(),
            keywords: Keywords::default(),
            keywords_limit: limits.keywords.min(Keywords::MAX),
            recent: Recent::new(limits.recent_changes, position),
        }
    }

    /// Folds an event of the record at `position` into the state. Total: what does not fit (a record of the past, a UID out of order, a keyword
    /// beyond the 64th) is left out with a line in the trace; it cannot come from [`decide`](super::decide::decide).
    pub fn apply(&mut self, position: Position, event: &MailboxEvent) {
        if position < self.position {
            tracing::warn!(position, at = self.position, "an event of the past is left out");
            return;
        }
        self.position = position;
        match event {
            MailboxEvent::Opened { uid_validity } => self.uid_validity = *uid_validity,
            MailboxEvent::Appended { arrivals } => {
                let arrived: UidSet = arrivals.iter().filter_map(|arrival| self.arrive(arrival)).collect();
                self.note(ChangeKind::Arrived(arrived));
            }
            MailboxEvent::FlagsChanged { uids, change, flags } => {
                if *change != carillon_protocol::flag::FlagChange::Remove {
                    self.learn(flags);
                }
                let edit = FlagEdit::new(*change, self.keywords.flags(flags));
                self.messages.change(uids, edit, ModSeq(position));
                self.note(ChangeKind::Flags(uids.clone()));
            }
            MailboxEvent::Expunged { uids, .. } => {
                self.messages.remove(uids);
                self.note(ChangeKind::Expunged(uids.clone()));
            }
            MailboxEvent::Ended => self.is_ended = true,
        }
    }

    fn arrive(&mut self, arrival: &Arrival) -> Option<Uid> {
        let (uid, details) = (arrival.uid, &arrival.details);
        let Some(next) = uid.next().filter(|_| uid >= self.uid_next) else {
            tracing::warn!(position = self.position, uid = uid.get(), "a UID that is used up is left out");
            return None;
        };
        self.learn(&arrival.flags);
        let flags = self.keywords.flags(&arrival.flags);
        self.messages.push(Message { uid, flags, modseq: ModSeq(self.position), details });
        self.uid_next = next;
        Some(uid)
    }

    fn learn(&mut self, flags: &FlagSet) {
        let messages = &self.messages;
        if !self.keywords.learn(flags, || messages.held_keywords()) {
            tracing::warn!(position = self.position, "a keyword beyond the last bit is left out");
        }
    }

    fn note(&mut self, kind: ChangeKind) {
        let (ChangeKind::Arrived(uids) | ChangeKind::Flags(uids) | ChangeKind::Expunged(uids)) = &kind;
        if !uids.is_empty() {
            let weight = uids.ranges().len();
            self.recent.push(self.position, weight, RecentChange { position: self.position, kind });
        }
    }

    /// The position of the newest applied record: HIGHESTMODSEQ (RFC 7162 §3.1.2).
    pub fn position(&self) -> Position {
        self.position
    }

    /// UIDVALIDITY.
    pub fn uid_validity(&self) -> UidValidity {
        self.uid_validity
    }

    /// UIDNEXT.
    pub fn uid_next(&self) -> Uid {
        self.uid_next
    }

    /// Whether the mailbox was deleted; its messages stay readable for those who look at this state.
    pub fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// All messages.
    pub fn messages(&self) -> &Messages {
        &self.messages
    }

    /// The keywords in the order of their first use.
    pub fn keywords(&self) -> &[Keyword] {
        self.keywords.as_slice()
    }

    /// Whether there is room for another keyword: `\*` in PERMANENTFLAGS. Counts those that messages have.
    pub fn may_add_keywords(&self) -> bool {
        let limit = self.keywords_limit;
        self.keywords().len() < limit || (self.messages.held_keywords().count_ones() as usize) < limit
    }

    /// How many messages of which kind there are. O(1).
    pub fn counts(&self) -> Counts {
        self.messages.counts()
    }

    /// How many messages have `recent_from` or a greater UID. O(log n).
    pub fn recent(&self, recent_from: Uid) -> u64 {
        let first = self.messages.index_of(recent_from).unwrap_or_else(|place| place);
        self.messages.len().saturating_sub(first) as u64
    }

    /// The place of the first message without \Seen, counted from 0.
    pub fn first_unseen(&self) -> Option<usize> {
        self.messages.first_unseen()
    }

    /// The flags that the bits stand for.
    pub fn flag_set(&self, flags: Flags) -> FlagSet {
        self.keywords.flag_set(flags)
    }

    /// The bits of the flags; a keyword that this mailbox never saw has none.
    pub fn flags(&self, set: &FlagSet) -> Flags {
        self.keywords.flags(set)
    }

    /// The changes behind `position`, ascending. `None` if the window does not reach back so far, or if the position is ahead of this state.
    pub fn changes_since(&self, position: Position) -> Option<impl Iterator<Item = &RecentChange>> {
        let changes = self.recent.since(position).filter(|_| position <= self.position)?;
        Some(changes.map(|(_, change)| change))
    }
}

impl fmt::Debug for State {
    /// Short: a state can hold a million messages.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("State")
            .field("position", &self.position)
            .field("uid_validity", &self.uid_validity)
            .field("uid_next", &self.uid_next)
            .field("counts", &self.counts())
            .field("is_ended", &self.is_ended)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
