//! The newest changes of a state, for sessions to catch up with: a deque of pieces that clones share. Used by mailbox and account alike.

use std::collections::VecDeque;
use std::sync::Arc;

use carillon_storage::Position;

/// Entries of one piece.
const PIECE: usize = 64;
/// What the entries may weigh on the average before old ones are dropped early: ranges of UIDs, or names.
const WEIGHT_PER_ENTRY: usize = 8;

/// The newest changes, ascending by position. A clone is O(1).
#[derive(Clone, Debug)]
pub(crate) struct Recent<T> {
    full: Arc<VecDeque<Piece<T>>>,
    open: Piece<T>,
    entries: usize,
    weight: usize,
    limit: usize,
    /// Every change behind this position is here.
    complete_from: Position,
}

#[derive(Debug)]
struct Piece<T> {
    entries: Arc<Vec<(Position, Arc<T>)>>,
    weight: usize,
}

impl<T> Clone for Piece<T> {
    fn clone(&self) -> Self {
        Self { entries: Arc::clone(&self.entries), weight: self.weight }
    }
}

impl<T> Default for Piece<T> {
    fn default() -> Self {
        Self { entries: Arc::default(), weight: 0 }
    }
}

impl<T> Piece<T> {
    fn last(&self) -> Option<Position> {
        self.entries.last().map(|(position, _)| *position)
    }
}

impl<T> Recent<T> {
    /// An empty window of at most `limit` changes; what comes after `complete_from` will be in it.
    pub(crate) fn new(limit: usize, complete_from: Position) -> Self {
        Self { full: Arc::default(), open: Piece::default(), entries: 0, weight: 0, limit, complete_from }
    }

    /// Adds a change; positions ascend, several changes may share one. `weight` is its size: ranges of UIDs, or names.
    pub(crate) fn push(&mut self, position: Position, weight: usize, change: T) {
        Arc::make_mut(&mut self.open.entries).push((position, Arc::new(change)));
        self.open.weight += weight;
        self.entries += 1;
        self.weight += weight;
        if self.open.entries.len() >= PIECE || self.open.weight >= PIECE * WEIGHT_PER_ENTRY {
            let sealed = std::mem::take(&mut self.open);
            Arc::make_mut(&mut self.full).push_back(sealed);
        }
        while self.entries > self.limit || self.weight > self.limit.saturating_mul(WEIGHT_PER_ENTRY) {
            let dropped = if self.full.is_empty() { None } else { Arc::make_mut(&mut self.full).pop_front() };
            let dropped = dropped.unwrap_or_else(|| std::mem::take(&mut self.open));
            self.entries -= dropped.entries.len();
            self.weight -= dropped.weight;
            self.complete_from = dropped.last().unwrap_or(position);
        }
    }

    /// The changes behind `position`, ascending; `None` if some of them are no longer here.
    pub(crate) fn since(&self, position: Position) -> Option<impl Iterator<Item = (Position, &T)>> {
        if position < self.complete_from {
            return None;
        }
        let first = self.full.partition_point(|piece| piece.last().is_some_and(|last| last <= position));
        let entries = self.full.range(first..).chain([&self.open]).flat_map(|piece| piece.entries.iter());
        Some(entries.skip_while(move |(at, _)| *at <= position).map(|(at, change)| (*at, change.as_ref())))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn since(recent: &Recent<u64>, position: Position) -> Option<Vec<u64>> {
        recent.since(position).map(|changes| changes.map(|(at, value)| at * 1000 + *value).collect())
    }

    #[test]
    fn one_heavy_change_does_not_stay() {
        let mut recent = Recent::new(10, 0);
        recent.push(1, 1, 0);
        recent.push(2, 1000, 0);
        assert_eq!(since(&recent, 1), None);
        assert_eq!(since(&recent, 2), Some(vec![]));
        recent.push(3, 1, 7);
        assert_eq!(since(&recent, 2), Some(vec![3007]));
    }

    proptest! {
        #[test]
        fn says_all_or_nothing(limit in 0..400usize, steps in prop::collection::vec((0..2u64, 0..20usize), 0..900)) {
            let mut recent = Recent::new(limit, 0);
            let mut all: Vec<(Position, u64)> = Vec::new();
            let mut position = 1;
            let mut held = recent.clone();
            for (number, (step, weight)) in steps.into_iter().enumerate() {
                position += step;
                all.push((position, number as u64));
                recent.push(position, weight, number as u64);
                if number % 7 == 0 {
                    held = recent.clone();
                }
            }
            prop_assert!(recent.entries <= limit && recent.weight <= limit * WEIGHT_PER_ENTRY);
            for from in 0..=position {
                if let Some(found) = since(&recent, from) {
                    let expected: Vec<u64> = all.iter().filter(|(at, _)| *at > from).map(|(at, value)| at * 1000 + value).collect();
                    prop_assert_eq!(found, expected);
                }
            }
            prop_assert!(since(&recent, position).is_some());
            prop_assert!(held.since(position).is_some());
        }
    }
}
