//! Sets: what a client writes ([`SequenceSet`], still with `*` and `$`) and what the server computes with ([`UidSet`]).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::number::Uid;

/// Which numbers a set holds: message sequence numbers, or UIDs because the command was prefixed with `UID`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Numbering {
    /// Message sequence numbers.
    Seq,
    /// Unique identifiers.
    Uid,
}

impl Numbering {
    /// The one or the other.
    pub const fn of<T: Copy>(self, seq: T, uid: T) -> T {
        match self {
            Self::Seq => seq,
            Self::Uid => uid,
        }
    }
}

/// One end of a range as written: a number or `*` (RFC 9051 §9, `seq-number`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetNumber {
    /// A number. 0 occurs only as an end of a range, where it reads as 1 (docs/adr, "0:*").
    Number(u32),
    /// `*`, the highest number in use.
    Star,
}

/// One member of a set as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetItem {
    /// `n` or `*`.
    One(SetNumber),
    /// `a:b`, in either order.
    Range(SetNumber, SetNumber),
}

/// A set as the client wrote it (RFC 9051 §9, `sequence-set`). Only the view resolves it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SequenceSet {
    /// `$`: the result saved by SEARCH (RFC 5182).
    Saved,
    /// At least one member, at most [`SequenceSet::MAX_ITEMS`].
    Items(Vec<SetItem>),
}

impl SequenceSet {
    /// The greatest number of members that the grammar accepts.
    pub const MAX_ITEMS: usize = 20_000;
}

/// UIDs as ascending ranges that neither overlap nor touch. Serialised as the differences between range ends, so that the usual
/// integer compression makes "all messages" a few bytes; in human-readable formats it is the wire form (`"1:4,7"`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct UidSet {
    /// Inclusive (first, last).
    ranges: Vec<(u32, u32)>,
}

impl UidSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self { ranges: Vec::new() }
    }

    /// The set of all UIDs from `first` to `last`, both included; empty if `first > last`.
    pub fn from_range(first: Uid, last: Uid) -> Self {
        let mut set = Self::new();
        set.insert_range(first, last);
        set
    }

    /// Whether there is no UID in it.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The number of UIDs in it.
    pub fn len(&self) -> u64 {
        self.ranges.iter().map(|(first, last)| u64::from(last - first) + 1).sum()
    }

    /// The smallest UID.
    pub fn first(&self) -> Option<Uid> {
        self.ranges.first().and_then(|(first, _)| Uid::new(*first))
    }

    /// The greatest UID.
    pub fn last(&self) -> Option<Uid> {
        self.ranges.last().and_then(|(_, last)| Uid::new(*last))
    }

    /// The ascending inclusive ranges.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = (Uid, Uid)> + DoubleEndedIterator + '_ {
        // 0 never enters a range: every way in takes a `Uid` or checks it.
        self.ranges.iter().map(|(first, last)| (Uid::new(*first).unwrap_or(Uid::MIN), Uid::new(*last).unwrap_or(Uid::MIN)))
    }

    /// All UIDs, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Uid> + '_ {
        self.ranges.iter().flat_map(|(first, last)| (*first..=*last).filter_map(Uid::new))
    }

    /// Whether `uid` is in it. O(log ranges).
    pub fn contains(&self, uid: Uid) -> bool {
        let place = self.ranges.partition_point(|(_, last)| *last < uid.get());
        self.ranges.get(place).is_some_and(|(first, _)| *first <= uid.get())
    }

    /// Adds one UID. O(1) when UIDs come in ascending order.
    pub fn insert(&mut self, uid: Uid) {
        self.insert_range(uid, uid);
    }

    /// Adds all UIDs from `first` to `last`, both included.
    pub fn insert_range(&mut self, first: Uid, last: Uid) {
        let (mut first, mut last) = (first.get(), last.get());
        if first > last {
            return;
        }
        let start = self.ranges.partition_point(|(_, end)| end.saturating_add(1) < first);
        let mut stop = start;
        while let Some((other_first, other_last)) = self.ranges.get(stop).copied() {
            if other_first > last.saturating_add(1) {
                break;
            }
            first = first.min(other_first);
            last = last.max(other_last);
            stop += 1;
        }
        self.ranges.splice(start..stop, [(first, last)]);
    }

    /// The UIDs that are in one of the two or in both.
    pub fn union(&self, other: &Self) -> Self {
        let mut ranges: Vec<(u32, u32)> = Vec::with_capacity(self.ranges.len() + other.ranges.len());
        let (mut left, mut right) = (self.ranges.iter().peekable(), other.ranges.iter().peekable());
        loop {
            let next = match (left.peek(), right.peek()) {
                (Some(a), Some(b)) if a.0 <= b.0 => left.next(),
                (_, Some(_)) => right.next(),
                (Some(_), None) => left.next(),
                (None, None) => break,
            };
            if let Some((first, last)) = next.copied() {
                match ranges.last_mut() {
                    Some(end) if first <= end.1.saturating_add(1) => end.1 = end.1.max(last),
                    _ => ranges.push((first, last)),
                }
            }
        }
        Self { ranges }
    }

    /// The UIDs that are in both.
    pub fn intersection(&self, other: &Self) -> Self {
        let mut ranges = Vec::new();
        let (mut left, mut right) = (self.ranges.iter().peekable(), other.ranges.iter().peekable());
        while let (Some((a, b)), Some((c, d))) = (left.peek().copied(), right.peek().copied()) {
            let (first, last) = (*a.max(c), *b.min(d));
            if first <= last {
                ranges.push((first, last));
            }
            if b < d {
                left.next();
            } else {
                right.next();
            }
        }
        Self { ranges }
    }

    /// The UIDs that are in this set and not in the other.
    pub fn difference(&self, other: &Self) -> Self {
        let mut ranges = Vec::new();
        let mut holes = other.ranges.iter().peekable();
        for (first, last) in self.ranges.iter().copied() {
            let mut next = Some(first);
            while let Some((hole_first, hole_last)) = holes.peek().copied().copied() {
                let Some(from) = next else { break };
                if hole_last < from {
                    holes.next();
                    continue;
                }
                if hole_first > last {
                    break;
                }
                if hole_first > from {
                    ranges.push((from, hole_first - 1));
                }
                next = hole_last.checked_add(1).filter(|from| *from <= last);
                if next.is_some() {
                    holes.next();
                }
            }
            if let Some(from) = next {
                ranges.push((from, last));
            }
        }
        Self { ranges }
    }
}

impl FromIterator<Uid> for UidSet {
    fn from_iter<I: IntoIterator<Item = Uid>>(uids: I) -> Self {
        let mut set = Self::new();
        for uid in uids {
            set.insert(uid);
        }
        set
    }
}

impl fmt::Display for UidSet {
    /// The wire form (RFC 4315 §4, `uid-set`); an empty set prints nothing.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.ranges.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            if first == last {
                write!(formatter, "{comma}{first}")?;
            } else {
                write!(formatter, "{comma}{first}:{last}")?;
            }
        }
        Ok(())
    }
}

impl Serialize for UidSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_str(self);
        }
        let mut before = 0;
        let mut differences = Vec::with_capacity(self.ranges.len() * 2);
        for (first, last) in &self.ranges {
            differences.push(first - before);
            differences.push(last - first);
            before = *last;
        }
        differences.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for UidSet {
    /// Reads the compact form only: the human-readable one is for people.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let differences = Vec::<u32>::deserialize(deserializer)?;
        let mut ranges = Vec::with_capacity(differences.len() / 2);
        let mut before = 0u32;
        for pair in differences.chunks(2) {
            let [gap, length] = pair else {
                return Err(serde::de::Error::custom("a UID set is pairs of differences"));
            };
            let first = before.checked_add(*gap).filter(|_| *gap > 0);
            let last = first.and_then(|first| first.checked_add(*length));
            let (Some(first), Some(last)) = (first, last) else {
                return Err(serde::de::Error::custom("a UID set ascends from 1 to 2^32-1"));
            };
            ranges.push((first, last));
            before = last;
        }
        Ok(Self { ranges })
    }
}
