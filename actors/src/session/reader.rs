//! What a client has been told, as an immutable value that any thread may read: FETCH, SEARCH, SORT and THREAD see nothing else.

use std::iter::Peekable;
use std::slice;
use std::sync::Arc;

use carillon_protocol::flag::FlagSet;
use carillon_protocol::number::{ModSeq, SeqNum, Uid};
use carillon_protocol::set::{Numbering, UidSet};
use carillon_storage::Position;

use crate::mailbox::event::Details;
use crate::mailbox::requests::Snapshot;
use crate::mailbox::state::{Flags, Message, Messages};

/// A message that was told and that the mailbox has no more: it keeps its number until its EXPUNGE is told.
#[derive(Clone, Debug)]
pub(super) struct Ghost {
    /// Its place in the client's numbering, from 0. Only telling expunges moves it, and that ends all ghosts.
    pub(super) place: usize,
    pub(super) uid: Uid,
    /// As last told.
    pub(super) flags: Flags,
    pub(super) modseq: ModSeq,
    pub(super) details: Arc<Details>,
    /// The position of its Expunged, or the smallest that it can have.
    pub(super) position: Position,
}

/// The messages as this client counts them. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Reader {
    pub(super) told: Snapshot,
    /// Those of `told`; none once the end of a deleted mailbox was told.
    pub(super) messages: Messages,
    /// Ascending by UID, and so by place.
    pub(super) ghosts: Arc<Vec<Ghost>>,
    pub(super) recent: Arc<UidSet>,
}

/// One message as the client sees it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Its message sequence number.
    pub seq: SeqNum,
    /// Its UID.
    pub uid: Uid,
    /// Its stored flags; [`Reader::flag_set`] spells them out.
    pub flags: Flags,
    /// Whether this session holds it as recent.
    pub recent: bool,
    /// Its mod-sequence; of a ghost as last told.
    pub modseq: ModSeq,
    /// What stays the same for its life.
    pub details: &'a Arc<Details>,
    /// Whether it is expunged and the client was not told yet. SEARCH, SORT, THREAD and $ leave it out, \Seen is not set on it.
    pub ghost: bool,
}

impl Reader {
    /// The number of messages that the client counts (EXISTS).
    pub fn exists(&self) -> usize {
        self.messages.len() + self.ghosts.len()
    }

    /// The state that was told last; its messages are those of the client less the ghosts.
    pub fn snapshot(&self) -> &Snapshot {
        &self.told
    }

    /// The flags of a message as a set.
    pub fn flag_set(&self, flags: Flags) -> FlagSet {
        self.told.flag_set(flags)
    }

    /// The number of the message with this UID. O(log n).
    pub fn seq_of(&self, uid: Uid) -> Option<SeqNum> {
        let place = match self.messages.index_of(uid) {
            Ok(index) => index + self.ghosts_below(uid),
            Err(_) => self.ghost(uid)?.place,
        };
        SeqNum::from_index(place)
    }

    /// What stands for a message in a response: its number, if it is there, or its UID.
    pub fn number(&self, uid: Uid, numbering: Numbering) -> Option<u32> {
        match numbering {
            Numbering::Uid => Some(uid.get()),
            Numbering::Seq => self.seq_of(uid).map(SeqNum::get),
        }
    }

    /// The UID of the message with this number. O(log n).
    pub fn uid_at(&self, seq: SeqNum) -> Option<Uid> {
        self.uid_at_place(seq.index())
    }

    pub(super) fn uid_at_place(&self, place: usize) -> Option<Uid> {
        let ghosts_before = self.ghosts.partition_point(|ghost| ghost.place < place);
        match self.ghosts.get(ghosts_before) {
            Some(ghost) if ghost.place == place => Some(ghost.uid),
            _ => self.messages.get(place.checked_sub(ghosts_before)?).map(|message| message.uid),
        }
    }

    /// The highest UID: `*`.
    pub fn highest(&self) -> Option<Uid> {
        self.uid_at_place(self.exists().checked_sub(1)?)
    }

    /// The number of messages with a smaller UID. O(log n).
    pub(super) fn below(&self, uid: Uid) -> usize {
        self.messages.index_of(uid).unwrap_or_else(|place| place) + self.ghosts_below(uid)
    }

    /// The number of messages with this UID or a smaller one. O(log n).
    pub(super) fn up_to(&self, uid: Uid) -> usize {
        uid.next().map_or_else(|| self.exists(), |next| self.below(next))
    }

    fn ghosts_below(&self, uid: Uid) -> usize {
        self.ghosts.partition_point(|ghost| ghost.uid < uid)
    }

    /// Both included.
    pub(super) fn ghosts_between(&self, first: Uid, last: Uid) -> &[Ghost] {
        let end = self.ghosts.partition_point(|ghost| ghost.uid <= last);
        self.ghosts.get(self.ghosts_below(first)..end).unwrap_or_default()
    }

    fn ghost(&self, uid: Uid) -> Option<&Ghost> {
        self.ghosts.get(self.ghosts_below(uid)).filter(|ghost| ghost.uid == uid)
    }

    /// The message with this UID, a ghost too. O(log n).
    pub fn message(&self, uid: Uid) -> Option<Seen<'_>> {
        self.range(uid, uid).next()
    }

    /// All messages, ghosts too, in the order of their numbers.
    pub fn all(&self) -> impl Iterator<Item = Seen<'_>> {
        self.range(Uid::MIN, Uid::MAX)
    }

    /// Those of `uids` that are there, ghosts too, in the order of their numbers; others are passed over. O(ranges · log n + matches).
    pub fn messages<'a>(&'a self, uids: &'a UidSet) -> impl Iterator<Item = Seen<'a>> {
        self.messages_from(uids, Uid::MIN)
    }

    /// The same from a UID on: where work over them goes on.
    pub fn messages_from<'a>(&'a self, uids: &'a UidSet, from: Uid) -> impl Iterator<Item = Seen<'a>> {
        let rest = uids.ranges().skip_while(move |(_, last)| *last < from);
        rest.flat_map(move |(first, last)| self.range(first.max(from), last))
    }

    /// The messages of `uids` that the mailbox still had at the last look: without ghosts and exact, where `uids` may name what is not there.
    pub fn living(&self, uids: &UidSet) -> UidSet {
        self.messages(uids).filter(|message| !message.ghost).map(|message| message.uid).collect()
    }

    fn range(&self, first: Uid, last: Uid) -> impl Iterator<Item = Seen<'_>> {
        let messages = &self.messages;
        let start = messages.index_of(first).unwrap_or_else(|place| place);
        let end = messages.index_of(last).map_or_else(|place| place, |place| place + 1);
        Merged {
            recent: &self.recent,
            place: start + self.ghosts_below(first),
            living: messages.range(start..end.max(start)).peekable(),
            ghosts: self.ghosts_between(first, last).iter().peekable(),
        }
    }
}

/// Two sequences with ascending UIDs as one, numbered.
struct Merged<'a, I: Iterator<Item = Message<'a>>> {
    recent: &'a UidSet,
    place: usize,
    living: Peekable<I>,
    ghosts: Peekable<slice::Iter<'a, Ghost>>,
}

impl<'a, I: Iterator<Item = Message<'a>>> Iterator for Merged<'a, I> {
    type Item = Seen<'a>;

    fn next(&mut self) -> Option<Seen<'a>> {
        let is_ghost_next = match (self.ghosts.peek(), self.living.peek()) {
            (Some(ghost), Some(message)) => ghost.uid < message.uid,
            (ghost, _) => ghost.is_some(),
        };
        let (uid, flags, modseq, details) = if is_ghost_next {
            self.ghosts.next().map(|ghost| (ghost.uid, ghost.flags, ghost.modseq, &ghost.details))
        } else {
            self.living.next().map(|message| (message.uid, message.flags, message.modseq, message.details))
        }?;
        let seq = SeqNum::from_index(self.place)?;
        self.place += 1;
        Some(Seen { seq, uid, flags, recent: self.recent.contains(uid), modseq, details, ghost: is_ghost_next })
    }
}
