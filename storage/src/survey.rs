//! What the segments on disk say: where each ends, what is damaged, what is only a torn tail.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::Path;

use crate::apply::{Contents, bodies};
use crate::error::OpenError;
use crate::files::read_up_to;
use crate::format::{BodyPlace, GROUP_LENGTH, GroupHeader, HEADER_LENGTH, HeaderError, Identity, SegmentHeader, Taker};
use crate::record::{BodyHash, CommitNumber};
use crate::scan::{Extent, Found, scan};
use crate::segment;

/// One segment; where the file is missing its neighbours say that it was there.
#[derive(Debug)]
pub(crate) struct Span {
    pub(crate) number: u64,
    pub(crate) generation: u32,
    /// Nothing where the file is missing.
    pub(crate) file: Option<File>,
    /// Nothing where it is damaged.
    pub(crate) header: Option<SegmentHeader>,
    pub(crate) length: u64,
    /// Where it ends: bytes behind that do not exist.
    pub(crate) end: u64,
}

impl Span {
    /// Whether it is seen without reading it that something is missing.
    pub(crate) fn is_visibly_damaged(&self) -> bool {
        self.header.is_none() || self.length < self.end
    }
}

/// A damaged part of a segment that is not a torn tail.
#[derive(Clone, Debug)]
pub(crate) struct Damage {
    /// The index of the span.
    pub(crate) span: usize,
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// The first commit that may lie in it.
    pub(crate) first: CommitNumber,
    /// The first commit behind it; equal to `first` where no commit is missing.
    pub(crate) next: CommitNumber,
    /// Its header, where it is one group and that is whole.
    pub(crate) header: Option<GroupHeader>,
    is_behind_all: bool,
}

impl Damage {
    pub(crate) fn lost(&self) -> std::ops::Range<CommitNumber> {
        self.first..self.next
    }
}

/// How what lies at the end of the last segment is to be understood.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tail {
    /// A crash may have cut it off. sled holds the commits up to this one.
    Open(CommitNumber),
    /// All of it was on disk once, up to this commit.
    Closed(CommitNumber),
}

/// What a walk over segments found.
#[derive(Debug, Default)]
pub(crate) struct Examination {
    /// The newest commit of the segments.
    pub(crate) newest: CommitNumber,
    /// The newest checkpoint.
    pub(crate) checkpoint: CommitNumber,
    pub(crate) damages: Vec<Damage>,
    /// Where the last segment ends: what lies behind was never acknowledged.
    pub(crate) cut: u64,
    /// How many bytes lie behind.
    pub(crate) torn_bytes: u64,
    /// Up to where the last segment is known to be on disk.
    pub(crate) synced_offset: u64,
    pub(crate) groups: u64,
    /// The bodies of the last segment.
    pub(crate) index: Vec<(BodyHash, BodyPlace)>,
    /// Groups that may hold what the checkpoint does not cover, ascending: span, offset and last commit.
    unapplied: VecDeque<(usize, u64, CommitNumber)>,
}

impl Examination {
    /// Span and offset of the first group that the checkpoint does not cover.
    pub(crate) fn first_unapplied(&self) -> Option<(usize, u64)> {
        self.unapplied.front().map(|(span, offset, _)| (*span, *offset))
    }
}

fn failed(path: &Path, error: &io::Error) -> OpenError {
    OpenError::Failed(format!("cannot read {}: {error}", path.display()))
}

/// The spans of a directory of segments, ascending and without gaps in their numbers.
pub(crate) fn spans(directory: &Path, identity: &Identity) -> Result<Vec<Span>, OpenError> {
    let mut spans: Vec<Span> = Vec::new();
    for listed in segment::list(directory).map_err(|error| failed(directory, &error))? {
        let read = File::open(&listed.path).and_then(|file| {
            let header = read_up_to(&file, 0, HEADER_LENGTH as usize)?;
            let length = file.metadata()?.len();
            Ok((file, header, length))
        });
        let (file, header, length) = read.map_err(|error| failed(&listed.path, &error))?;
        let header = match SegmentHeader::decode(&header) {
            Ok((_, found)) if found != *identity => {
                return Err(OpenError::Foreign(format!("{} belongs to another store", listed.path.display())));
            }
            Ok((header, _)) => Some(header).filter(|header| header.number == listed.number),
            Err(HeaderError::Newer(format)) => {
                return Err(OpenError::Newer(format!("{} has the newer format {format}", listed.path.display())));
            }
            Err(HeaderError::Damaged) => None,
        };
        let mut missing = spans.last().map_or(1, |last| last.number + 1);
        while missing < listed.number {
            spans.push(Span { number: missing, generation: 0, file: None, header: None, length: 0, end: HEADER_LENGTH });
            missing += 1;
        }
        let (number, generation) = (listed.number, listed.generation);
        spans.push(Span { number, generation, file: Some(file), header, length, end: length });
    }
    for index in 1..spans.len() {
        let end = spans.get(index).and_then(|span| span.header).map(|header| header.predecessor_end);
        if let (Some(span), Some(end)) = (spans.get_mut(index - 1), end) {
            span.end = end;
        }
    }
    for index in 1..spans.len() {
        if spans.get(index).is_some_and(|span| span.header.is_none())
            && let Some(first) = first_commit(spans.get(index), identity).map_err(|error| failed(directory, &error))?
            && let Some(before) = spans.get_mut(index - 1)
        {
            before.end = end_before(before, first, identity).map_err(|error| failed(directory, &error))?;
        }
    }
    Ok(spans)
}

/// The last span behind whose header all of commit `first` and what was written ahead of it must lie.
pub(crate) fn span_before(spans: &[Span], first: CommitNumber) -> usize {
    let is_before = |span: &Span| span.header.is_some_and(|header| header.predecessor_commit + 1 < first);
    spans.iter().rposition(is_before).unwrap_or(0)
}

fn groups(span: &Span, identity: &Identity, visit: &mut dyn FnMut(u64, &GroupHeader)) -> io::Result<()> {
    let Some(file) = &span.file else { return Ok(()) };
    let end = span.end.min(span.length);
    let extent = Extent { file, identity, segment: span.number, from: HEADER_LENGTH, end };
    scan::<io::Error>(&extent, &mut |found| {
        if let Found::Group { offset, header, .. } = found {
            visit(offset, &header);
        }
        Ok(())
    })
}

/// The first commit of a segment whose header is damaged.
fn first_commit(span: Option<&Span>, identity: &Identity) -> io::Result<Option<CommitNumber>> {
    let mut first = None;
    if let Some(span) = span {
        groups(span, identity, &mut |_, header| first = first.or(Some(header.first)))?;
    }
    Ok(first)
}

/// Where a segment ends whose successor no longer says so: before a group that was refused and whose commits the successor has.
fn end_before(span: &Span, first: CommitNumber, identity: &Identity) -> io::Result<u64> {
    let mut end = span.end;
    groups(span, identity, &mut |offset, header| {
        if header.next() > first {
            end = end.min(offset);
        }
    })?;
    Ok(end)
}

struct Walk {
    examination: Examination,
    expected: CommitNumber,
    /// The damage that a jump of the commit numbers belongs to.
    pending: Option<usize>,
}

impl Walk {
    /// Bytes that are no group at all, or the beginning of one.
    fn damage(&mut self, span: usize, start: u64, end: u64) {
        let damages = &mut self.examination.damages;
        match damages.last_mut() {
            Some(last) if last.span == span && last.end == start && last.header.is_none() => last.end = end,
            _ => {
                let (first, next) = (self.expected, self.expected);
                damages.push(Damage { span, start, end, first, next, header: None, is_behind_all: true });
            }
        }
        self.pending = damages.len().checked_sub(1);
    }

    /// The commits before `first` that were not met are missing.
    fn reach(&mut self, span: usize, offset: u64, first: CommitNumber) {
        if first > self.expected {
            if self.pending.is_none() {
                self.damage(span, offset, offset);
            }
            if let Some(damage) = self.pending.and_then(|index| self.examination.damages.get_mut(index)) {
                damage.next = first;
            }
            self.expected = first;
        }
        self.pending = None;
    }

    fn marks(&mut self, header: &GroupHeader) {
        self.examination.checkpoint = self.examination.checkpoint.max(header.checkpoint);
        self.examination.synced_offset = self.examination.synced_offset.max(header.synced_offset);
    }

    fn group(&mut self, span: usize, offset: u64, header: &GroupHeader) {
        let examination = &mut self.examination;
        examination.groups += 1;
        examination.damages.iter_mut().for_each(|damage| damage.is_behind_all = false);
        // One without commits has the number of the next commit.
        examination.unapplied.push_back((span, offset, header.first.max(header.next().saturating_sub(1))));
        while examination.unapplied.front().is_some_and(|(_, _, last)| *last <= examination.checkpoint) {
            examination.unapplied.pop_front();
        }
    }

    fn found(&mut self, span: usize, found: &Found<'_>) {
        match found {
            Found::Group { offset, header, .. } => {
                self.marks(header);
                self.reach(span, *offset, header.first);
                self.expected = self.expected.max(header.next());
                self.group(span, *offset, header);
            }
            Found::Damage { start, end, header: Some(header) } => {
                self.marks(header);
                self.reach(span, *start, header.first);
                let is_all_there = end - start == GROUP_LENGTH as u64 + header.length;
                let (first, next, header) = (header.first, header.next(), is_all_there.then_some(*header));
                let damages = &mut self.examination.damages;
                damages.push(Damage { span, start: *start, end: *end, first, next, header, is_behind_all: true });
                self.pending = damages.len().checked_sub(1).filter(|_| !is_all_there);
                self.expected = self.expected.max(next);
            }
            Found::Damage { start, end, header: None } => self.damage(span, *start, *end),
        }
    }
}

/// Walks the spans from index `from` on and shows all that it finds.
pub(crate) fn examine(
    spans: &[Span],
    from: usize,
    identity: &Identity,
    tail: Tail,
    visit: &mut dyn FnMut(&Span, &Found<'_>) -> io::Result<()>,
) -> io::Result<Examination> {
    let first = spans.get(from).and_then(|span| span.header).map_or(1, |header| header.predecessor_commit + 1);
    let mut walk = Walk { examination: Examination::default(), expected: first, pending: None };
    for (index, span) in spans.iter().enumerate().skip(from) {
        walk.examination.synced_offset = 0;
        match span.header {
            Some(header) => {
                walk.examination.checkpoint = walk.examination.checkpoint.max(header.checkpoint);
                walk.reach(index, HEADER_LENGTH, header.predecessor_commit + 1);
            }
            None => {
                // What is missing at the end of the segment before it has its place there.
                let pending = walk.pending;
                walk.damage(index, 0, HEADER_LENGTH);
                walk.pending = pending.or(walk.pending);
            }
        }
        let end = span.end.min(span.length);
        if let Some(file) = &span.file {
            let extent = Extent { file, identity, segment: span.number, from: HEADER_LENGTH, end };
            scan::<io::Error>(&extent, &mut |found| {
                walk.found(index, &found);
                if let Found::Group { offset, payload, .. } = &found
                    && index + 1 == spans.len()
                {
                    let found = bodies(span.number, *offset, payload, identity).map_err(io::Error::other)?;
                    let own = found.places.into_iter().filter(|(_, place)| place.segment == span.number);
                    walk.examination.index.extend(own);
                }
                visit(span, &found)
            })?;
        }
        if end < span.end {
            walk.damage(index, end.max(HEADER_LENGTH), span.end);
        }
    }
    let Walk { mut examination, expected, .. } = walk;
    examination.newest = expected - 1;
    close(&mut examination, spans, tail);
    Ok(examination)
}

/// Tells the torn tail of the last segment from damage, and finds commits that are missing at the end.
fn close(examination: &mut Examination, spans: &[Span], tail: Tail) {
    let Some(last) = spans.len().checked_sub(1) else { return };
    let end = spans.get(last).map_or(0, |span| span.end);
    examination.cut = end;
    let known = match tail {
        Tail::Closed(known) => known,
        Tail::Open(known) => {
            tear(examination, last, known);
            known
        }
    };
    if known > examination.newest {
        let (first, next, cut) = (examination.newest + 1, known + 1, examination.cut);
        let at_end = examination.damages.last_mut();
        let at_end = at_end.filter(|damage| damage.span == last && damage.is_behind_all && damage.end == cut);
        match at_end.filter(|damage| damage.header.is_none()) {
            Some(damage) => damage.next = next,
            None => {
                let damage = Damage { span: last, start: cut, end: cut, first, next, header: None, is_behind_all: true };
                examination.damages.push(damage);
            }
        }
        examination.newest = known;
    }
}

/// Cuts what was never acknowledged: damage behind everything that is known to have been on disk, and all that lies behind it.
fn tear(examination: &mut Examination, last: usize, known: CommitNumber) {
    let synced = examination.synced_offset.max(HEADER_LENGTH);
    let is_torn = |damage: &Damage| damage.span == last && damage.start >= synced && damage.first > known;
    let Some(index) = examination.damages.iter().position(is_torn) else { return };
    if let Some(damage) = examination.damages.drain(index..).next() {
        examination.torn_bytes = examination.cut - damage.start;
        (examination.cut, examination.newest) = (damage.start, damage.first - 1);
    }
}

/// Looks for a body in the sealed segments, by their footers.
pub(crate) fn search_footers(directory: &Path, identity: &Identity, hash: BodyHash) -> io::Result<Option<BodyPlace>> {
    let spans = spans(directory, identity).map_err(io::Error::other)?;
    for span in spans.iter().rev().skip(1) {
        if let Some((_, place)) = bodies_of(span, identity)?.into_iter().find(|(known, _)| *known == hash) {
            return Ok(Some(place));
        }
    }
    Ok(None)
}

/// The bodies of a sealed segment: by its footer, or by a walk where healing left none.
pub(crate) fn bodies_of(span: &Span, identity: &Identity) -> io::Result<Vec<(BodyHash, BodyPlace)>> {
    let Some(file) = &span.file else { return Ok(Vec::new()) };
    let length = read_up_to(file, span.end.saturating_sub(8), 8)?;
    let start = Taker(&length).u64().and_then(|length| span.end.checked_sub(length)).filter(|start| *start >= HEADER_LENGTH);
    let mut footer = None;
    if let Some(start) = start {
        visit_bodies(span, file, identity, start, &mut |contents| footer = contents.index)?;
    }
    if let Some(footer) = footer {
        return Ok(footer);
    }
    let mut found = Vec::new();
    visit_bodies(span, file, identity, HEADER_LENGTH, &mut |contents| found.extend(contents.places))?;
    Ok(found)
}

fn visit_bodies(span: &Span, file: &File, identity: &Identity, from: u64, visit: &mut dyn FnMut(Contents)) -> io::Result<()> {
    let extent = Extent { file, identity, segment: span.number, from, end: span.end.min(span.length) };
    scan::<io::Error>(&extent, &mut |found| {
        if let Found::Group { offset, payload, .. } = found {
            visit(bodies(span.number, offset, payload, identity).map_err(io::Error::other)?);
        }
        Ok(())
    })
}
