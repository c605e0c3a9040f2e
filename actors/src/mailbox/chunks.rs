//! The messages of a mailbox: a persistent tree, a root over sections of 32 groups of 32 chunks of 128 messages. A clone is O(1), a change copies
//! one chunk and the nodes above it where a clone still holds them. Measured against other structures before it was written; the figures
//! stand in docs/adr/0010-chunk-tree.md, `cargo run --release -p carillon-actors --example state_figures` prints today's.

use std::ops::Range;
use std::sync::Arc;

use carillon_protocol::number::{ModSeq, Uid};
use carillon_protocol::set::UidSet;

use super::chunk::{Chunk, ChunkIter};
use super::event::Details;
use super::flags::{FlagEdit, Flags};
use super::state::Counts;

/// First and last UID, both included.
pub(super) type UidRange = (Uid, Uid);

/// One message as the state holds it.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Its UID.
    pub uid: Uid,
    /// Its flags; [`super::state::State::flag_set`] names them.
    pub flags: Flags,
    /// The position of the record that changed it last (RFC 7162 §3.1).
    pub modseq: ModSeq,
    /// What never changes about it.
    pub details: &'a Arc<Details>,
}

/// What chunks and the nodes above them have in common.
pub(super) trait Node: Clone + Default {
    /// The most units (messages of a chunk, children of a branch) that it holds; the root holds any number.
    const FULL: usize;

    fn counts(&self) -> Counts;
    fn first(&self) -> Option<Uid>;
    fn units(&self) -> usize;
    /// Whether one more message fits at the end.
    fn has_room(&self) -> bool;
    /// Adds a message behind the last; the caller asked `has_room`.
    fn push(this: &mut Arc<Self>, message: Message<'_>);
    fn find(&self, uid: Uid) -> Result<usize, usize>;
    fn at(&self, index: usize) -> Option<Message<'_>>;
    fn first_unseen(&self) -> Option<usize>;
    fn collect_deleted(&self, found: &mut dyn FnMut(Uid));
    /// The keywords that its messages have, as bits.
    fn held_keywords(&self) -> u64;
    /// Whether it may hold a message of the ranges: if not, it is not even copied.
    fn touches(&self, ranges: &[UidRange]) -> bool;
    fn change(&mut self, ranges: &[UidRange], edit: FlagEdit, modseq: ModSeq);
    fn remove(&mut self, ranges: &[UidRange]);
    /// Takes the units of the node behind it; the caller saw that they fit.
    fn absorb(&mut self, next: &Self);
}

#[derive(Clone, Debug)]
struct Child<N> {
    first: Uid,
    /// Messages of this branch before it.
    start: usize,
    counts: Counts,
    node: Arc<N>,
}

/// A node of nodes: a group of chunks, a section of groups, or the root over sections. No child is empty.
#[derive(Clone, Debug)]
struct Branch<N> {
    children: Vec<Child<N>>,
}

type Group = Branch<Chunk>;
type Section = Branch<Group>;

impl<N> Default for Branch<N> {
    fn default() -> Self {
        Self { children: Vec::new() }
    }
}

/// The part of ascending `ranges` that overlaps `first..=last`.
fn overlapping(ranges: &[UidRange], first: Uid, last: Uid) -> &[UidRange] {
    let start = ranges.partition_point(|range| range.1 < first);
    let end = ranges.partition_point(|range| range.0 <= last);
    ranges.get(start..end).unwrap_or_default()
}

impl<N: Node> Branch<N> {
    /// Calls `edit` once for each child that holds messages of the ranges, with the ranges that may lie in it.
    fn edit_children(&mut self, ranges: &[UidRange], mut edit: impl FnMut(&mut N, &[UidRange])) {
        let (Some((lowest, _)), Some((_, highest))) = (ranges.first(), ranges.last()) else { return };
        let begin = self.children.partition_point(|child| child.first <= *lowest).saturating_sub(1);
        let mut rest = self.children.get_mut(begin..).unwrap_or_default();
        while let Some((child, behind)) = rest.split_first_mut().filter(|(child, _)| child.first <= *highest) {
            // Every UID of a child is below the next child's first.
            let hit = overlapping(ranges, child.first, behind.first().map_or(Uid::MAX, |next| next.first));
            if child.node.touches(hit) {
                let node = Arc::make_mut(&mut child.node);
                edit(node, hit);
                child.counts = node.counts();
                child.first = node.first().unwrap_or(child.first);
            }
            rest = behind;
        }
    }

    /// Counts anew how many messages are before each child.
    fn rank(&mut self) {
        let mut start = 0;
        for child in &mut self.children {
            child.start = start;
            start += child.counts.messages as usize;
        }
    }

    /// Drops empty children and joins small ones with a neighbour.
    fn tidy(&mut self) {
        self.children.retain(|child| child.counts.messages > 0);
        let is_small = |child: &Child<N>| child.node.units() < N::FULL / 4;
        if self.children.len() < 2 || !self.children.iter().any(is_small) {
            return;
        }
        let mut joined: Vec<Child<N>> = Vec::with_capacity(self.children.len());
        for child in self.children.drain(..) {
            match joined.last_mut() {
                Some(before) if (is_small(before) || is_small(&child)) && before.node.units() + child.node.units() <= N::FULL => {
                    Arc::make_mut(&mut before.node).absorb(&child.node);
                    before.counts.add(child.counts);
                }
                _ => joined.push(child),
            }
        }
        self.children = joined;
    }

    fn child_of_index(&self, index: usize) -> Option<(usize, &Child<N>)> {
        let place = self.children.partition_point(|child| child.start <= index).checked_sub(1)?;
        Some((place, self.children.get(place)?))
    }

    /// The child that has the message at a place, the place within it, and the children behind it.
    fn split_at_index(&self, index: usize) -> (std::slice::Iter<'_, Child<N>>, Option<&N>, usize) {
        let Some((place, child)) = self.child_of_index(index) else { return Default::default() };
        let behind = self.children.get(place + 1..).unwrap_or_default();
        (behind.iter(), Some(&child.node), index - child.start)
    }
}

impl<N: Node> Node for Branch<N> {
    const FULL: usize = 32;

    fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        self.children.iter().for_each(|child| sum.add(child.counts));
        sum
    }

    fn first(&self) -> Option<Uid> {
        self.children.first().map(|child| child.first)
    }

    fn units(&self) -> usize {
        self.children.len()
    }

    fn has_room(&self) -> bool {
        self.children.len() < Self::FULL || self.children.last().is_some_and(|child| child.node.has_room())
    }

    fn push(this: &mut Arc<Self>, message: Message<'_>) {
        let branch = Arc::make_mut(this);
        match branch.children.last_mut() {
            Some(last) if last.node.has_room() => {
                N::push(&mut last.node, message);
                last.counts.add(Counts::of(message));
            }
            last => {
                let start = last.map_or(0, |last| last.start + last.counts.messages as usize);
                let mut node = Arc::new(N::default());
                N::push(&mut node, message);
                branch.children.push(Child { first: message.uid, start, counts: node.counts(), node });
            }
        }
    }

    fn find(&self, uid: Uid) -> Result<usize, usize> {
        let place = self.children.partition_point(|child| child.first <= uid);
        let Some(child) = place.checked_sub(1).and_then(|place| self.children.get(place)) else { return Err(0) };
        child.node.find(uid).map(|index| index + child.start).map_err(|index| index + child.start)
    }

    fn at(&self, index: usize) -> Option<Message<'_>> {
        let (_, child) = self.child_of_index(index)?;
        child.node.at(index - child.start)
    }

    fn first_unseen(&self) -> Option<usize> {
        let child = self.children.iter().find(|child| child.counts.unseen > 0)?;
        Some(child.start + child.node.first_unseen()?)
    }

    fn collect_deleted(&self, found: &mut dyn FnMut(Uid)) {
        for child in self.children.iter().filter(|child| child.counts.deleted > 0) {
            child.node.collect_deleted(found);
        }
    }

    fn held_keywords(&self) -> u64 {
        self.children.iter().fold(0, |held, child| held | child.node.held_keywords())
    }

    fn touches(&self, ranges: &[UidRange]) -> bool {
        // Whether there really is one is asked of the chunks; events name messages that are there.
        !ranges.is_empty()
    }

    fn change(&mut self, ranges: &[UidRange], edit: FlagEdit, modseq: ModSeq) {
        self.edit_children(ranges, |node, hit| node.change(hit, edit, modseq));
    }

    fn remove(&mut self, ranges: &[UidRange]) {
        self.edit_children(ranges, N::remove);
        self.tidy();
        self.rank();
    }

    fn absorb(&mut self, next: &Self) {
        let mut start = self.counts().messages as usize;
        for child in &next.children {
            self.children.push(Child { start, ..child.clone() });
            start += child.counts.messages as usize;
        }
    }
}

/// All messages of a mailbox, ascending by UID. A clone is O(1).
#[derive(Clone, Debug, Default)]
pub struct Messages {
    root: Arc<Branch<Section>>,
    counts: Counts,
}

impl Messages {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.counts.messages as usize
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.counts.messages == 0
    }

    /// The message at a place counted from 0. O(log n).
    pub fn get(&self, index: usize) -> Option<Message<'_>> {
        self.root.at(index)
    }

    /// The place of a UID, counted from 0. O(log n).
    ///
    /// # Errors
    /// Where it would be, if it is not there.
    pub fn index_of(&self, uid: Uid) -> Result<usize, usize> {
        self.root.find(uid)
    }

    /// The message with a UID. O(log n).
    pub fn by_uid(&self, uid: Uid) -> Option<Message<'_>> {
        self.get(self.index_of(uid).ok()?)
    }

    /// All, ascending.
    pub fn iter(&self) -> Iter<'_> {
        self.range(0..self.len())
    }

    /// Those at some places, ascending; what lies beyond the end is left out. Starting is O(log n).
    pub fn range(&self, indexes: Range<usize>) -> Iter<'_> {
        let end = indexes.end.min(self.len());
        let left = end.saturating_sub(indexes.start);
        if left == 0 {
            return Iter::default();
        }
        let (sections, section, place) = self.root.split_at_index(indexes.start);
        let (groups, group, place) = section.map_or_else(Default::default, |section| section.split_at_index(place));
        let (chunks, chunk, place) = group.map_or_else(Default::default, |group| group.split_at_index(place));
        let messages = chunk.map_or_else(ChunkIter::default, |chunk| chunk.iter_from(place));
        Iter { sections, groups, chunks, messages, left }
    }

    /// Those of a set that are there, ascending.
    pub fn among<'a>(&'a self, uids: &'a UidSet) -> impl Iterator<Item = Message<'a>> {
        uids.ranges().flat_map(|(first, last)| {
            let start = self.index_of(first).unwrap_or_else(|place| place);
            let end = self.index_of(last).map_or_else(|place| place, |place| place + 1);
            self.range(start..end)
        })
    }

    /// The UIDs of all.
    pub fn uids(&self) -> UidSet {
        let mut runs = Runs::default();
        let groups = self.root.children.iter().flat_map(|section| &section.node.children);
        for chunk in groups.flat_map(|group| &group.node.children) {
            chunk.node.uids().iter().for_each(|uid| runs.push(*uid));
        }
        runs.finish()
    }

    /// The UIDs of those that have \Deleted. Passes over chunks that hold none.
    pub(super) fn deleted(&self) -> UidSet {
        let mut runs = Runs::default();
        self.root.collect_deleted(&mut |uid| runs.push(uid));
        runs.finish()
    }

    /// The keywords that messages have, as bits. O(n), but chunks without keywords cost nothing.
    pub(super) fn held_keywords(&self) -> u64 {
        self.root.held_keywords()
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    pub(super) fn first_unseen(&self) -> Option<usize> {
        self.root.first_unseen()
    }

    /// Adds a message; its UID is greater than every other (the caller saw to it).
    pub(super) fn push(&mut self, message: Message<'_>) {
        // Nobody asks the root whether it has room: it is not bounded.
        Node::push(&mut self.root, message);
        self.counts.add(Counts::of(message));
    }

    /// Changes flags and mod-sequence of those of the set that are there.
    pub(super) fn change(&mut self, uids: &UidSet, edit: FlagEdit, modseq: ModSeq) {
        let ranges: Vec<UidRange> = uids.ranges().collect();
        let root = Arc::make_mut(&mut self.root);
        root.change(&ranges, edit, modseq);
        self.counts = root.counts();
    }

    /// Takes out those of the set that are there.
    pub(super) fn remove(&mut self, uids: &UidSet) {
        let ranges: Vec<UidRange> = uids.ranges().collect();
        let root = Arc::make_mut(&mut self.root);
        root.remove(&ranges);
        self.counts = root.counts();
    }
}

/// Messages, ascending.
#[derive(Clone, Debug, Default)]
pub struct Iter<'a> {
    sections: std::slice::Iter<'a, Child<Section>>,
    groups: std::slice::Iter<'a, Child<Group>>,
    chunks: std::slice::Iter<'a, Child<Chunk>>,
    messages: ChunkIter<'a>,
    left: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Message<'a>;

    #[inline]
    fn next(&mut self) -> Option<Message<'a>> {
        if self.left == 0 {
            return None;
        }
        loop {
            if let Some(message) = self.messages.next() {
                self.left -= 1;
                return Some(message);
            }
            if let Some(chunk) = self.chunks.next() {
                self.messages = chunk.node.iter_from(0);
            } else if let Some(group) = self.groups.next() {
                self.chunks = group.node.children.iter();
            } else {
                self.groups = self.sections.next()?.node.children.iter();
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

/// Collects ascending UIDs into a set, a range at a time.
#[derive(Default)]
pub(super) struct Runs {
    set: UidSet,
    run: Option<UidRange>,
}

impl Runs {
    pub(super) fn push(&mut self, uid: Uid) {
        match &mut self.run {
            Some((_, last)) if last.next() == Some(uid) => *last = uid,
            run => {
                if let Some((first, last)) = run.replace((uid, uid)) {
                    self.set.insert_range(first, last);
                }
            }
        }
    }

    pub(super) fn finish(mut self) -> UidSet {
        if let Some((first, last)) = self.run {
            self.set.insert_range(first, last);
        }
        self.set
    }
}

#[cfg(test)]
mod tests;
