//! What a set that a client wrote means in its view: every rule about `$`, `*`, 0, reversed ranges and the end, once (docs/conformance.md).

use carillon_protocol::number::{SeqNum, Uid};
use carillon_protocol::set::{Numbering, SequenceSet, SetItem, SetNumber, UidSet};

use super::reader::Reader;

/// Why a set means nothing in this mailbox: the command is BAD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadSequence {
    /// A lone 0: numbers and UIDs count from 1.
    Zero,
    /// A message number beyond the last message.
    Beyond,
    /// A message number in an empty mailbox.
    Empty,
}

impl BadSequence {
    /// For people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Zero => "0 is no message: numbers and UIDs count from 1",
            Self::Beyond => "There are not so many messages: the number is beyond the last one",
            Self::Empty => "The mailbox is empty: there is no message number",
        }
    }
}

/// What becomes of a message number that does not exist.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Beyond {
    /// The command is BAD.
    Refuse,
    /// It matches nothing: a search key.
    Ignore,
}

/// The UIDs that a set names among the messages of `reader`, ghosts too. Each range begins and ends with a message that is there and may name others
/// between: so `1:*` costs O(log n), and the result is empty only if nothing matches.
pub(super) fn resolve(reader: &Reader, items: &[SetItem], numbering: Numbering, beyond: Beyond) -> Result<UidSet, BadSequence> {
    let mut ranges = Vec::with_capacity(items.len());
    for item in items {
        let places = match numbering {
            Numbering::Seq => by_number(reader.exists(), *item, beyond)?,
            Numbering::Uid => by_uid(reader, *item)?,
        };
        if let Some((first, last)) =
            places.and_then(|(first, last)| Some((reader.uid_at_place(first)?, reader.uid_at_place(last)?)))
        {
            ranges.push((first, last));
        }
    }
    Ok(from_ranges(ranges))
}

/// The places (from 0) of the first and the last message that a member names by number.
fn by_number(exists: usize, item: SetItem, beyond: Beyond) -> Result<Option<(usize, usize)>, BadSequence> {
    let star = u32::try_from(exists).unwrap_or(u32::MAX);
    let (first, last) = match item {
        SetItem::One(SetNumber::Number(0)) => return Err(BadSequence::Zero),
        SetItem::One(number) => (value(number, star), value(number, star)),
        SetItem::Range(one, other) => ends(one, other, star),
    };
    match (beyond, first > star) {
        _ if exists == 0 && beyond == Beyond::Refuse => Err(BadSequence::Empty),
        (Beyond::Refuse, true) => Err(BadSequence::Beyond),
        (Beyond::Ignore, true) => Ok(None),
        (_, false) => Ok(place(first).zip(place(last.min(star)))),
    }
}

/// The same for a member that names UIDs: what is not there is passed over (RFC 9051 §6.4.9).
fn by_uid(reader: &Reader, item: SetItem) -> Result<Option<(usize, usize)>, BadSequence> {
    let Some(star) = reader.highest().map(Uid::get) else {
        return if item == SetItem::One(SetNumber::Number(0)) { Err(BadSequence::Zero) } else { Ok(None) };
    };
    let (first, last) = match item {
        SetItem::One(SetNumber::Number(0)) => return Err(BadSequence::Zero),
        SetItem::One(number) => (value(number, star), value(number, star)),
        SetItem::Range(one, other) => ends(one, other, star),
    };
    let (Some(first), Some(last)) = (Uid::new(first), Uid::new(last)) else { return Ok(None) };
    let (start, end) = (reader.below(first), reader.up_to(last));
    Ok((start < end).then(|| (start, end - 1)))
}

fn value(number: SetNumber, star: u32) -> u32 {
    match number {
        SetNumber::Number(number) => number,
        SetNumber::Star => star,
    }
}

/// A range in ascending order; 0 reads as 1 (the console story).
fn ends(one: SetNumber, other: SetNumber, star: u32) -> (u32, u32) {
    let (one, other) = (value(one, star).max(1), value(other, star).max(1));
    (one.min(other), one.max(other))
}

fn place(number: u32) -> Option<usize> {
    SeqNum::new(number).map(SeqNum::index)
}

/// The UIDs that a set names expressly and that once were or could have been in the mailbox but are not now: lone UIDs, and ranges without any message.
/// UIDs that are still to come are no miss.
pub(super) fn missed(reader: &Reader, set: &SequenceSet) -> UidSet {
    let SequenceSet::Items(items) = set else { return UidSet::new() };
    let newest = reader.snapshot().uid_next().get().saturating_sub(1);
    let mut ranges = Vec::new();
    for item in items {
        let (first, last) = match *item {
            SetItem::One(SetNumber::Number(number)) => (number, number),
            SetItem::Range(one @ SetNumber::Number(_), other @ SetNumber::Number(_)) => ends(one, other, newest),
            SetItem::One(SetNumber::Star) | SetItem::Range(..) => continue,
        };
        if let (Some(first), Some(last)) = (Uid::new(first), Uid::new(last.min(newest)))
            && first <= last
            && reader.below(first) == reader.up_to(last)
        {
            ranges.push((first, last));
        }
    }
    from_ranges(ranges)
}

/// A set of ranges in any order. Sorted first: adding them one by one would be quadratic.
pub(super) fn from_ranges(mut ranges: Vec<(Uid, Uid)>) -> UidSet {
    ranges.sort_unstable();
    let mut set = UidSet::new();
    ranges.into_iter().for_each(|(first, last)| set.insert_range(first, last));
    set
}
