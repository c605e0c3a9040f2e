//! What the segments on disk say: where each ends, what is damaged, what is only a torn tail.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::apply::contents;
use crate::error::OpenError;
use crate::files::read_up_to;
use crate::format::{BodyPlace, GroupHeader, HEADER_LENGTH, HeaderError, Identity, SegmentHeader, Taker};
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
    is_behind_all: bool,
}

impl Damage {
    pub(crate) fn without_commits(span: usize, start: u64, end: u64, first: CommitNumber) -> Self {
        Self { span, start, end, first, next: first, is_behind_all: true }
    }

    pub(crate) fn lost(&self) -> std::ops::Range<CommitNumber> {
        self.first..self.next
    }
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
        let mut missing = spans.last().map_or(listed.number, |last| last.number + 1);
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
    fn damage(&mut self, span: usize, start: u64, end: u64) {
        if let Some(last) = self.examination.damages.last_mut()
            && last.span == span
            && last.end == start
            && last.next == last.first
        {
            last.end = end;
            return;
        }
        let (first, next) = (self.expected, self.expected);
        self.pending = Some(self.examination.damages.len());
        self.examination.damages.push(Damage { span, start, end, first, next, is_behind_all: true });
    }

    /// The commits before `first` that were not met are missing.
    fn reach(&mut self, span: usize, offset: u64, first: CommitNumber) {
        if first <= self.expected {
            return;
        }
        if self.pending.is_none() {
            self.damage(span, offset, offset);
        }
        if let Some(damage) = self.pending.take().and_then(|index| self.examination.damages.get_mut(index)) {
            damage.next = first;
        }
        self.expected = first;
    }

    fn marks(&mut self, header: &GroupHeader) {
        self.examination.checkpoint = self.examination.checkpoint.max(header.checkpoint);
        self.examination.synced_offset = self.examination.synced_offset.max(header.synced_offset);
    }

    fn found(&mut self, span: usize, found: &Found<'_>) {
        match found {
            Found::Group { offset, header, .. } => {
                self.examination.groups += 1;
                self.marks(header);
                self.reach(span, *offset, header.first);
                self.expected = self.expected.max(header.next());
                self.pending = None;
                for damage in &mut self.examination.damages {
                    damage.is_behind_all = false;
                }
            }
            Found::Damage { start, end, header } => {
                if let Some(header) = header {
                    self.marks(header);
                }
                self.damage(span, *start, *end);
            }
        }
    }
}

/// Walks the spans from index `from` on. `known` is the newest commit that sled holds: what lies up to there was on disk.
pub(crate) fn examine(spans: &[Span], from: usize, identity: &Identity, known: CommitNumber) -> io::Result<Examination> {
    examine_with(spans, from, identity, known, &mut |_, _| Ok(()))
}

/// [`examine`], showing all that it finds.
pub(crate) fn examine_with(
    spans: &[Span],
    from: usize,
    identity: &Identity,
    known: CommitNumber,
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
            None => walk.damage(index, 0, HEADER_LENGTH),
        }
        let end = span.end.min(span.length);
        if let Some(file) = &span.file {
            let extent = Extent { file, identity, segment: span.number, from: HEADER_LENGTH, end };
            scan::<io::Error>(&extent, &mut |found| {
                walk.found(index, &found);
                visit(span, &found)
            })?;
        }
        if end < span.end {
            walk.damage(index, end.max(HEADER_LENGTH), span.end);
        }
    }
    let Walk { mut examination, expected, .. } = walk;
    examination.newest = expected - 1;
    tail(&mut examination, spans, known);
    Ok(examination)
}

/// Tells the torn tail of the last segment from damage.
fn tail(examination: &mut Examination, spans: &[Span], known: CommitNumber) {
    let Some(last) = spans.len().checked_sub(1) else { return };
    let end = spans.get(last).map_or(0, |span| span.end);
    let synced = examination.synced_offset;
    examination.cut = end;
    let is_torn =
        |damage: &Damage| damage.span == last && damage.start >= HEADER_LENGTH && damage.start >= synced && damage.first > known;
    if let Some(index) = examination.damages.iter().position(is_torn) {
        let at = examination.damages.get(index).map(|damage| (damage.start, damage.first));
        examination.damages.truncate(index);
        if let Some((start, first)) = at {
            (examination.cut, examination.torn_bytes, examination.newest) = (start, end - start, first - 1);
        }
    }
    if known > examination.newest {
        // sled has more than the segments: the end is missing, or what is left of it is damaged.
        let at_end =
            examination.damages.last_mut().filter(|damage| damage.span == last && damage.is_behind_all && damage.end == end);
        let (first, next) = (examination.newest + 1, known + 1);
        match at_end {
            Some(damage) => damage.next = next,
            None => {
                let cut = examination.cut;
                examination.damages.push(Damage { span: last, start: cut, end: cut, first, next, is_behind_all: true });
            }
        }
        examination.newest = known;
    }
}

impl Damage {
    /// Whether nothing lies behind it, so that what it held can be written again at the end.
    pub(crate) fn is_at_end(&self, spans: &[Span], cut: u64) -> bool {
        self.span + 1 == spans.len() && self.is_behind_all && self.end == cut && self.start >= HEADER_LENGTH
    }
}

/// Looks for a body in the footers of the sealed segments.
pub(crate) fn search_footers(directory: &Path, identity: &Identity, hash: BodyHash) -> io::Result<Option<BodyPlace>> {
    let spans = spans(directory, identity).map_err(io::Error::other)?;
    for span in spans.iter().rev() {
        let footer = footer(span, identity)?;
        if let Some((_, place)) = footer.into_iter().find(|(known, _)| *known == hash) {
            return Ok(Some(place));
        }
    }
    Ok(None)
}

/// The bodies that a sealed segment's footer names; none where there is no whole footer.
pub(crate) fn footer(span: &Span, identity: &Identity) -> io::Result<Vec<(BodyHash, BodyPlace)>> {
    let Some(file) = &span.file else { return Ok(Vec::new()) };
    let length = read_up_to(file, span.end.saturating_sub(8), 8)?;
    let Some(start) =
        Taker(&length).u64().and_then(|length| span.end.checked_sub(length)).filter(|start| *start >= HEADER_LENGTH)
    else {
        return Ok(Vec::new());
    };
    let mut bodies = Vec::new();
    let extent = Extent { file, identity, segment: span.number, from: start, end: span.end };
    scan::<io::Error>(&extent, &mut |found| {
        if let Found::Group { offset, payload, .. } = found {
            bodies.extend(contents(span.number, offset, payload, identity).map_err(io::Error::other)?.index);
        }
        Ok(())
    })?;
    Ok(bodies)
}
