//! One chunk of messages: arrays per field, so that what is read often lies close together.

use std::slice::Iter;
use std::sync::Arc;

use carillon_protocol::number::{ModSeq, Uid};

use super::chunks::{Message, Node, UidRange};
use super::event::Details;
use super::flags::{DELETED, FlagEdit, Flags, SEEN};
use super::state::Counts;

/// Messages ascending by UID, at most [`Chunk::FULL`].
#[derive(Clone, Debug, Default)]
pub(super) struct Chunk {
    /// Apart, so that a change of flags copies none of it.
    fixed: Arc<Fixed>,
    system: Vec<u8>,
    /// Empty where no message has keywords: the usual case costs nothing.
    keywords: Vec<u64>,
    modseqs: Vec<ModSeq>,
    counts: Counts,
}

/// What stays the same about messages for as long as they are there.
#[derive(Clone, Debug, Default)]
struct Fixed {
    uids: Vec<Uid>,
    details: Vec<Arc<Details>>,
}

impl Chunk {
    /// The messages from a place on.
    pub(super) fn iter_from(&self, place: usize) -> ChunkIter<'_> {
        ChunkIter {
            uids: self.fixed.uids.get(place..).unwrap_or_default().iter(),
            system: self.system.get(place..).unwrap_or_default().iter(),
            keywords: self.keywords.get(place..).unwrap_or_default().iter(),
            modseqs: self.modseqs.get(place..).unwrap_or_default().iter(),
            details: self.fixed.details.get(place..).unwrap_or_default().iter(),
        }
    }

    pub(super) fn uids(&self) -> &[Uid] {
        &self.fixed.uids
    }

    /// The places of the messages of a range.
    fn places(&self, (first, last): UidRange) -> std::ops::Range<usize> {
        let start = self.fixed.uids.partition_point(|uid| *uid < first);
        let end = self.fixed.uids.partition_point(|uid| *uid <= last);
        start..end.max(start)
    }

    fn recount_flags(&mut self) {
        self.counts.unseen = self.system.iter().filter(|bits| **bits & SEEN == 0).count() as u64;
        self.counts.deleted = self.system.iter().filter(|bits| **bits & DELETED != 0).count() as u64;
    }

    /// A copy that has room for one more at least.
    fn roomy(&self) -> Self {
        let room = self.room();
        Self {
            fixed: Arc::clone(&self.fixed),
            system: copy_with_room(&self.system, room),
            keywords: if self.keywords.is_empty() { Vec::new() } else { copy_with_room(&self.keywords, room) },
            modseqs: copy_with_room(&self.modseqs, room),
            counts: self.counts,
        }
    }

    fn room(&self) -> usize {
        (self.units() + 1).next_power_of_two().clamp(8, Self::FULL)
    }

    /// The keywords of all, for a change that sets some.
    fn spelled_out(&mut self) -> &mut Vec<u64> {
        if self.keywords.is_empty() {
            self.keywords.resize(self.system.len(), 0);
        }
        &mut self.keywords
    }
}

/// The messages of a chunk.
#[derive(Clone, Debug, Default)]
pub(super) struct ChunkIter<'a> {
    uids: Iter<'a, Uid>,
    system: Iter<'a, u8>,
    keywords: Iter<'a, u64>,
    modseqs: Iter<'a, ModSeq>,
    details: Iter<'a, Arc<Details>>,
}

impl<'a> Iterator for ChunkIter<'a> {
    type Item = Message<'a>;

    #[inline]
    fn next(&mut self) -> Option<Message<'a>> {
        Some(Message {
            uid: *self.uids.next()?,
            flags: Flags { system: *self.system.next()?, keywords: self.keywords.next().copied().unwrap_or(0) },
            modseq: *self.modseqs.next()?,
            details: self.details.next()?,
        })
    }
}

fn copy_with_room<T: Clone>(items: &[T], room: usize) -> Vec<T> {
    let mut copy = Vec::with_capacity(room.max(items.len()));
    copy.extend_from_slice(items);
    copy
}

impl Node for Chunk {
    const FULL: usize = 128;

    fn counts(&self) -> Counts {
        self.counts
    }

    fn first(&self) -> Option<Uid> {
        self.fixed.uids.first().copied()
    }

    fn units(&self) -> usize {
        self.fixed.uids.len()
    }

    fn has_room(&self) -> bool {
        self.units() < Self::FULL
    }

    fn push(this: &mut Arc<Self>, message: Message<'_>) {
        if Arc::get_mut(this).is_none() {
            *this = Arc::new(this.roomy());
        }
        let chunk = Arc::make_mut(this);
        if message.flags.keywords != 0 || !chunk.keywords.is_empty() {
            chunk.spelled_out().push(message.flags.keywords);
        }
        chunk.system.push(message.flags.system);
        chunk.modseqs.push(message.modseq);
        if Arc::get_mut(&mut chunk.fixed).is_none() {
            let room = chunk.room();
            let Fixed { uids, details } = chunk.fixed.as_ref();
            chunk.fixed = Arc::new(Fixed { uids: copy_with_room(uids, room), details: copy_with_room(details, room) });
        }
        let fixed = Arc::make_mut(&mut chunk.fixed);
        fixed.uids.push(message.uid);
        fixed.details.push(Arc::clone(message.details));
        chunk.counts.add(Counts::of(message));
    }

    fn find(&self, uid: Uid) -> Result<usize, usize> {
        self.fixed.uids.binary_search(&uid)
    }

    fn at(&self, index: usize) -> Option<Message<'_>> {
        Some(Message {
            uid: *self.fixed.uids.get(index)?,
            flags: Flags { system: *self.system.get(index)?, keywords: self.keywords.get(index).copied().unwrap_or(0) },
            modseq: *self.modseqs.get(index)?,
            details: self.fixed.details.get(index)?,
        })
    }

    fn first_unseen(&self) -> Option<usize> {
        self.system.iter().position(|bits| bits & SEEN == 0)
    }

    fn collect_deleted(&self, found: &mut dyn FnMut(Uid)) {
        for (uid, bits) in self.fixed.uids.iter().zip(&self.system) {
            if bits & DELETED != 0 {
                found(*uid);
            }
        }
    }

    fn held_keywords(&self) -> u64 {
        self.keywords.iter().fold(0, |held, bits| held | bits)
    }

    fn touches(&self, ranges: &[UidRange]) -> bool {
        ranges.iter().any(|range| !self.places(*range).is_empty())
    }

    fn change(&mut self, ranges: &[UidRange], edit: FlagEdit, modseq: ModSeq) {
        if edit.set.keywords != 0 {
            self.spelled_out();
        }
        for range in ranges {
            let places = self.places(*range);
            for bits in self.system.get_mut(places.clone()).unwrap_or_default() {
                *bits = *bits & edit.kept.system | edit.set.system;
            }
            for bits in self.keywords.get_mut(places.clone()).unwrap_or_default() {
                *bits = *bits & edit.kept.keywords | edit.set.keywords;
            }
            self.modseqs.get_mut(places).unwrap_or_default().fill(modseq);
        }
        self.recount_flags();
    }

    fn remove(&mut self, ranges: &[UidRange]) {
        // From the end, so that the places before stay what they are.
        for range in ranges.iter().rev() {
            let places = self.places(*range);
            if places.is_empty() {
                continue;
            }
            self.system.drain(places.clone());
            if !self.keywords.is_empty() {
                self.keywords.drain(places.clone());
            }
            self.modseqs.drain(places.clone());
            let fixed = Arc::make_mut(&mut self.fixed);
            fixed.uids.drain(places.clone());
            self.counts.size -= fixed.details.drain(places).map(|details| details.size).sum::<u64>();
        }
        self.counts.messages = self.units() as u64;
        self.recount_flags();
    }

    fn absorb(&mut self, next: &Self) {
        if !next.keywords.is_empty() || !self.keywords.is_empty() {
            self.spelled_out().extend_from_slice(&next.keywords);
        }
        self.system.extend_from_slice(&next.system);
        if !self.keywords.is_empty() {
            self.keywords.resize(self.system.len(), 0);
        }
        self.modseqs.extend_from_slice(&next.modseqs);
        let fixed = Arc::make_mut(&mut self.fixed);
        fixed.uids.extend_from_slice(&next.fixed.uids);
        fixed.details.extend_from_slice(&next.fixed.details);
        self.counts.add(next.counts);
    }
}
