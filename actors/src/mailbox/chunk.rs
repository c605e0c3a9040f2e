//! One chunk of messages: arrays per field, so that what is read often lies close together.

use std::sync::Arc;

use carillon_protocol::number::{ModSeq, Uid};

use super::chunks::{Message, Node, UidRange};
use super::event::Details;
use super::flags::{DELETED, FlagEdit, Flags, SEEN};
use super::state::Counts;

/// Messages ascending by UID, at most [`Chunk::FULL`].
#[derive(Clone, Debug, Default)]
pub(super) struct Chunk {
    uids: Vec<Uid>,
    system: Vec<u8>,
    keywords: Vec<u64>,
    modseqs: Vec<ModSeq>,
    /// Apart, so that a change of flags copies none of it.
    details: Arc<Vec<Arc<Details>>>,
    counts: Counts,
}

impl Chunk {
    pub(super) fn message(&self, index: usize) -> Option<Message<'_>> {
        Some(Message {
            uid: *self.uids.get(index)?,
            flags: Flags { system: *self.system.get(index)?, keywords: *self.keywords.get(index)? },
            modseq: *self.modseqs.get(index)?,
            details: self.details.get(index)?,
        })
    }

    pub(super) fn uids(&self) -> &[Uid] {
        &self.uids
    }

    /// The places of the messages of a range.
    fn places(&self, (first, last): UidRange) -> std::ops::Range<usize> {
        let start = self.uids.partition_point(|uid| *uid < first);
        let end = self.uids.partition_point(|uid| *uid <= last);
        start..end.max(start)
    }

    fn recount_flags(&mut self) {
        self.counts.unseen = self.system.iter().filter(|bits| **bits & SEEN == 0).count() as u64;
        self.counts.deleted = self.system.iter().filter(|bits| **bits & DELETED != 0).count() as u64;
    }

    /// A copy that has room for one more at least.
    fn roomy(&self) -> Self {
        let room = (self.uids.len() + 1).next_power_of_two().clamp(8, Self::FULL);
        Self {
            uids: copy_with_room(&self.uids, room),
            system: copy_with_room(&self.system, room),
            keywords: copy_with_room(&self.keywords, room),
            modseqs: copy_with_room(&self.modseqs, room),
            details: Arc::new(copy_with_room(&self.details, room)),
            counts: self.counts,
        }
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
        self.uids.first().copied()
    }

    fn units(&self) -> usize {
        self.uids.len()
    }

    fn has_room(&self) -> bool {
        self.uids.len() < Self::FULL
    }

    fn push(this: &mut Arc<Self>, message: Message<'_>) {
        if Arc::get_mut(this).is_none() {
            *this = Arc::new(this.roomy());
        }
        let chunk = Arc::make_mut(this);
        chunk.uids.push(message.uid);
        chunk.system.push(message.flags.system);
        chunk.keywords.push(message.flags.keywords);
        chunk.modseqs.push(message.modseq);
        if Arc::get_mut(&mut chunk.details).is_none() {
            chunk.details = Arc::new(copy_with_room(&chunk.details, chunk.uids.capacity()));
        }
        Arc::make_mut(&mut chunk.details).push(Arc::clone(message.details));
        chunk.counts.add(Counts::of(message));
    }

    fn find(&self, uid: Uid) -> Result<usize, usize> {
        self.uids.binary_search(&uid)
    }

    fn at(&self, index: usize) -> Option<Message<'_>> {
        self.message(index)
    }

    fn first_unseen(&self) -> Option<usize> {
        self.system.iter().position(|bits| bits & SEEN == 0)
    }

    fn collect_deleted(&self, found: &mut dyn FnMut(Uid)) {
        for (uid, bits) in self.uids.iter().zip(&self.system) {
            if bits & DELETED != 0 {
                found(*uid);
            }
        }
    }

    fn touches(&self, ranges: &[UidRange]) -> bool {
        ranges.iter().any(|range| !self.places(*range).is_empty())
    }

    fn change(&mut self, ranges: &[UidRange], edit: FlagEdit, modseq: ModSeq) {
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
            self.uids.drain(places.clone());
            self.system.drain(places.clone());
            self.keywords.drain(places.clone());
            self.modseqs.drain(places.clone());
            let gone = Arc::make_mut(&mut self.details).drain(places).map(|details| details.size);
            self.counts.size -= gone.sum::<u64>();
        }
        self.counts.messages = self.uids.len() as u64;
        self.recount_flags();
    }

    fn absorb(&mut self, next: &Self) {
        self.uids.extend_from_slice(&next.uids);
        self.system.extend_from_slice(&next.system);
        self.keywords.extend_from_slice(&next.keywords);
        self.modseqs.extend_from_slice(&next.modseqs);
        Arc::make_mut(&mut self.details).extend_from_slice(&next.details);
        self.counts.add(next.counts);
    }
}
