//! Finds what is whole in a damaged part of a segment. Bodies have checksums of their own; a record is whole if its chain stands on its predecessor's, which
//! nobody who sends mail can know.

use std::collections::{HashMap, HashSet};
use std::io;
use std::ops::Range;

use bytes::Bytes;

use crate::apply::contents;
use crate::body::{self, BodyHead};
use crate::format::{BodyPlace, ENTRY_LENGTH, EntryKind, GROUP_LENGTH, HEADER_LENGTH, Identity, decode_places, encode_record};
use crate::record::{BodyHash, Chain, CommitNumber, LogId, Position, Record};
use crate::scan::{Extent, Found, scan};
use crate::sled::SledLog;
use crate::survey::Span;

/// The chains that records stand on: of those that were met, and of sled.
pub(crate) struct Chains<'a> {
    known: HashMap<(LogId, Position), Chain>,
    pub(crate) log: Option<&'a SledLog>,
}

impl<'a> Chains<'a> {
    pub(crate) fn new(log: Option<&'a SledLog>) -> Self {
        Self { known: HashMap::new(), log }
    }

    fn at(&self, log: LogId, position: Position) -> Option<Chain> {
        if position == 0 {
            return Some(Chain::default());
        }
        let known = self.known.get(&(log, position)).copied();
        // A sled that fails while it is asked has nothing.
        known.or_else(|| self.log?.chain(log, position).ok().flatten())
    }

    pub(crate) fn add(&mut self, record: &Record) {
        self.known.insert((record.log, record.position), record.chain);
    }

    /// Whether a record is what was written.
    fn vouch(&self, record: &Record) -> bool {
        let before = record.position.checked_sub(1).and_then(|before| self.at(record.log, before));
        before.is_some_and(|before| record.chain_after(before) == record.chain)
    }

    /// Looks in whole groups for the records that those in damaged parts stand on.
    pub(crate) fn learn(&mut self, spans: &[Span], identity: &Identity, wanted: &HashSet<(LogId, Position)>) -> io::Result<()> {
        for span in spans.iter().filter(|_| !wanted.is_empty()) {
            let Some(file) = &span.file else { continue };
            let extent = Extent { file, identity, segment: span.number, from: HEADER_LENGTH, end: span.end.min(span.length) };
            scan::<io::Error>(&extent, &mut |found| {
                if let Found::Group { offset, payload, .. } = found {
                    let contents = contents(span.number, offset, payload, identity).map_err(io::Error::other)?;
                    let records = contents.records.iter().map(|(record, _)| record);
                    records.filter(|record| wanted.contains(&(record.log, record.position))).for_each(|record| self.add(record));
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// What a whole entry is.
#[derive(Debug)]
pub(crate) enum Piece {
    Record(Record),
    /// Its head is whole; whether its blocks are too.
    Body {
        hash: BodyHash,
        is_whole: bool,
    },
    Large,
}

/// An entry in damaged bytes.
#[derive(Debug)]
pub(crate) struct Kept {
    /// Its bytes, with its head.
    pub(crate) range: Range<usize>,
    pub(crate) piece: Piece,
}

/// What is whole in damaged bytes.
#[derive(Debug, Default)]
pub(crate) struct Salvage {
    /// Ascending.
    pub(crate) kept: Vec<Kept>,
    /// Whether these are all records that there were: what lies between is known to be something else.
    pub(crate) has_all_records: bool,
}

impl Salvage {
    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.kept.iter().filter_map(|kept| if let Piece::Record(record) = &kept.piece { Some(record) } else { None })
    }

    /// Bodies that cannot be read.
    pub(crate) fn unreadable(&self) -> impl Iterator<Item = BodyHash> {
        self.kept.iter().filter_map(|kept| match kept.piece {
            Piece::Body { hash, is_whole: false } => Some(hash),
            _ => None,
        })
    }
}

/// Damaged bytes, from where a group began or should have.
pub(crate) struct Ruin<'a> {
    pub(crate) bytes: &'a Bytes,
    pub(crate) identity: &'a Identity,
    /// The commits that may lie there.
    pub(crate) commits: Range<CommitNumber>,
    /// Whether it is one group, whose header is whole.
    pub(crate) is_headed: bool,
    /// Whether a large body has its file, or sled its place.
    pub(crate) is_stored: &'a dyn Fn(BodyHash, &BodyPlace) -> bool,
}

impl Ruin<'_> {
    /// The records on which those stand that seem to lie here.
    pub(crate) fn wanted(&self) -> Vec<(LogId, Position)> {
        let record_at = |at| match self.entry_at(at) {
            Some((EntryKind::Record, content)) => crate::codec::decode::<Record>(&content).ok(),
            _ => None,
        };
        let records = (0..self.bytes.len()).filter_map(record_at).filter(|record| self.commits.contains(&record.commit));
        records.filter_map(|record| Some((record.log, record.position.checked_sub(1)?))).collect()
    }

    fn entry_at(&self, at: usize) -> Option<(EntryKind, Bytes)> {
        let (kind, length) = EntryKind::parse(self.bytes.get(at..)?)?;
        let start = at.checked_add(ENTRY_LENGTH)?;
        let end = start.checked_add(length).filter(|end| *end <= self.bytes.len())?;
        Some((kind, self.bytes.slice(start..end)))
    }

    fn body(&self, content: &Bytes) -> Option<Piece> {
        let head = BodyHead::decode(content, content.len() as u64, self.identity)?;
        Some(Piece::Body { hash: head.hash, is_whole: body::decode(content, self.identity).is_some() })
    }

    fn piece_at(&self, at: usize, chains: &Chains<'_>) -> Option<Kept> {
        let (kind, content) = self.entry_at(at)?;
        let piece = match kind {
            EntryKind::Body => self.body(&content)?,
            EntryKind::Record => {
                let record = crate::codec::decode::<Record>(&content).ok()?;
                let is_whole = self.commits.contains(&record.commit)
                    && chains.vouch(&record)
                    && encode_record(&record).is_ok_and(|encoded| encoded == content);
                is_whole.then_some(Piece::Record(record))?
            }
            EntryKind::Large => {
                let places = decode_places(&content);
                let is_whole =
                    places.len() * 64 == content.len() && places.iter().all(|(hash, place)| (self.is_stored)(*hash, place));
                (is_whole && !places.is_empty()).then_some(Piece::Large)?
            }
            EntryKind::Index | EntryKind::Lost => return None,
        };
        Some(Kept { range: at..at + ENTRY_LENGTH + content.len(), piece })
    }

    /// Finds all that is whole. Chains of records that are found become known.
    pub(crate) fn salvage(&self, chains: &mut Chains<'_>) -> Salvage {
        loop {
            let before = chains.known.len();
            let kept = self.search(chains);
            // Another record may stand on one that was found behind it.
            if chains.known.len() == before {
                return self.judge(kept);
            }
        }
    }

    fn search(&self, chains: &mut Chains<'_>) -> Vec<Kept> {
        let mut kept: Vec<Kept> = Vec::new();
        let mut at = GROUP_LENGTH;
        while at < self.bytes.len() {
            let Some(found) = self.piece_at(at, chains) else {
                at += 1;
                continue;
            };
            if let Piece::Record(record) = &found.piece {
                chains.add(record);
            }
            at = found.range.end;
            kept.push(found);
        }
        kept
    }

    /// Says what lies between the whole entries.
    fn judge(&self, kept: Vec<Kept>) -> Salvage {
        let mut salvage = Salvage { kept: Vec::with_capacity(kept.len()), has_all_records: true };
        let (mut end, mut is_sure) = (GROUP_LENGTH.min(self.bytes.len()), self.is_headed);
        for next in kept.into_iter().map(Some).chain([None]) {
            let gap = end..next.as_ref().map_or(self.bytes.len(), |next| next.range.start);
            end = next.as_ref().map_or(end, |next| next.range.end);
            if let Some(body) = self.body_without_head(&gap) {
                salvage.kept.push(body);
            } else if self
                .bytes
                .get(gap.clone())
                .is_some_and(|bytes| bytes.len() >= ENTRY_LENGTH || bytes.iter().any(|byte| *byte != 0))
            {
                is_sure = false;
                salvage.has_all_records &= self.leads_through(&gap);
            }
            salvage.kept.extend(next);
        }
        // A length that is wrong could lead over a record, and who knows how many groups there were.
        let met: HashSet<CommitNumber> = salvage.records().map(|record| record.commit).collect();
        salvage.has_all_records &= is_sure || self.commits.clone().all(|commit| met.contains(&commit));
        salvage
    }

    /// A body that fills a gap, so that it is known what its entry's head has to be: the body's own covers its length.
    fn body_without_head(&self, gap: &Range<usize>) -> Option<Kept> {
        let start = gap.start.checked_add(ENTRY_LENGTH).filter(|start| *start < gap.end)?;
        Some(Kept { range: gap.clone(), piece: self.body(&self.bytes.slice(start..gap.end))? })
    }

    /// Whether a gap is made of entries that are no records, as far as their heads say.
    fn leads_through(&self, gap: &Range<usize>) -> bool {
        let mut at = gap.start;
        while at < gap.end {
            match self.entry_at(at) {
                Some((EntryKind::Body | EntryKind::Large | EntryKind::Lost, content))
                    if crate::codec::decode::<Record>(&content).is_err() =>
                {
                    at += ENTRY_LENGTH + content.len();
                }
                _ => return false,
            }
        }
        at == gap.end
    }
}
