//! Mends damaged parts of segments: what is whole stays where it is, records that are not come from sled and take the room of what is lost. The mended segment is
//! a new generation of its file, which takes its place by one rename; the damaged file is kept.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::files::{Files, read_up_to};
use crate::format::{
    BodyPlace, ENTRY_LENGTH, EntryKind, GROUP_LENGTH, GroupHeader, GroupPlace, HEADER_LENGTH, Identity, SegmentHeader,
    encode_record,
};
use crate::record::{BodyHash, CommitNumber, LogId, Position, Record};
use crate::salvage::{Chains, Kept, Piece, Ruin, Salvage};
use crate::segment::{self, SegmentFile, Shelf};
use crate::sled::{LogError, SledLog};
use crate::stream::{Group, Marks};
use crate::survey::{Damage, Span};

/// The records of commits, from sled; nothing where it does not have all of them.
fn records_of(log: &SledLog, lost: std::ops::Range<CommitNumber>) -> Result<Option<Vec<Record>>, LogError> {
    let mut records = Vec::new();
    for commit in lost {
        match log.commit_records(commit)? {
            Some(found) => records.extend(found),
            None => return Ok(None),
        }
    }
    Ok(Some(records))
}

/// What a damaged part turned out to hold, and what takes its place.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// Records that were whole or are in sled; and how many of them had to be taken from there.
    pub(crate) records: usize,
    pub(crate) from_sled: usize,
    /// Bodies that lie there with a head that is whole, and cannot be read.
    pub(crate) unreadable: Vec<BodyHash>,
    /// Records that seem to have lain there and cannot be had.
    pub(crate) lost: Vec<(LogId, Position)>,
    /// Why sled could not be asked for them.
    pub(crate) failure: Option<LogError>,
    /// Whether what lay there was written anew.
    pub(crate) is_mended: bool,
}

/// Bytes that take the place of damaged ones.
#[derive(Debug)]
struct Patch {
    span: usize,
    start: u64,
    bytes: Vec<u8>,
    /// Where it mends a segment's header: the newest commit before that segment.
    predecessor_commit: Option<CommitNumber>,
}

type Patches = BTreeMap<usize, Vec<Patch>>;

/// The directories and the identity that healing needs.
pub(crate) struct Healer<'a> {
    pub(crate) files: &'a Files,
    pub(crate) directory: &'a Path,
    pub(crate) identity: &'a Identity,
}

impl Healer<'_> {
    fn segments(&self) -> PathBuf {
        self.directory.join("segments")
    }

    /// Mends what can be mended, and says what each damaged part turned out to be. The last span ends where what was acknowledged ends. The records that others
    /// stand on come from the spans from index `from` on, and from sled where there is one.
    ///
    /// A segment is mended by one rename: a crash leaves it as it was or as it shall be, with every whole body in it.
    pub(crate) fn heal(
        &self,
        spans: &[Span],
        from: usize,
        damages: &[Damage],
        log: Option<&SledLog>,
    ) -> io::Result<Vec<Verdict>> {
        let shelf = Shelf::new(self.directory);
        let is_stored = |hash: BodyHash, place: &BodyPlace| {
            let is_known = |log: &SledLog| log.place(hash).is_ok_and(|known| known.as_ref() == Some(place));
            shelf.large(hash, self.identity).is_ok() || log.is_some_and(is_known)
        };
        let mut chains = Chains::new(log);
        let mut wanted = HashSet::new();
        for damage in damages {
            let bytes = self.ruin(spans, damage)?;
            wanted.extend(self.look(&bytes, damage, &is_stored).wanted());
        }
        chains.learn(spans.get(from..).unwrap_or_default(), self.identity, &wanted)?;
        let (mut verdicts, mut waiting) = (Vec::with_capacity(damages.len()), Patches::new());
        let (mut before, mut reached) = ((0, 0), 0);
        for damage in damages {
            let bytes = self.ruin(spans, damage)?;
            let ruin = self.look(&bytes, damage, &is_stored);
            let (verdict, patches) = self.judge(spans, damage, &ruin, &mut chains, reached);
            verdicts.push(verdict);
            reached = reached.max(damage.next);
            // What is missing before a segment may have to stand at the end of the one before it.
            let ready = waiting.keys().copied().filter(|span| *span + 1 < damage.span).collect::<Vec<_>>();
            self.write(spans, ready.into_iter().filter_map(|span| waiting.remove_entry(&span)), &mut before)?;
            patches.into_iter().for_each(|patch| waiting.entry(patch.span).or_default().push(patch));
        }
        self.write(spans, waiting, &mut before)?;
        Ok(verdicts)
    }

    fn look<'b>(&'b self, bytes: &'b Bytes, damage: &Damage, is_stored: &'b dyn Fn(BodyHash, &BodyPlace) -> bool) -> Ruin<'b> {
        Ruin { bytes, identity: self.identity, commits: damage.lost(), is_headed: damage.header.is_some(), is_stored }
    }

    /// The bytes of a damaged part, with zeros for those that the file no longer has.
    fn ruin(&self, spans: &[Span], damage: &Damage) -> io::Result<Bytes> {
        let start = damage.start.max(HEADER_LENGTH);
        let length = usize::try_from(damage.end.saturating_sub(start)).unwrap_or(usize::MAX);
        let mut bytes = match spans.get(damage.span).and_then(|span| span.file.as_ref()) {
            Some(file) => read_up_to(file, start, length)?,
            None => Vec::new(),
        };
        bytes.resize(length, 0);
        Ok(bytes.into())
    }

    /// `reached` is the first commit behind all damage in front of this one.
    fn judge(
        &self,
        spans: &[Span],
        damage: &Damage,
        ruin: &Ruin<'_>,
        chains: &mut Chains<'_>,
        reached: CommitNumber,
    ) -> (Verdict, Vec<Patch>) {
        let salvage = ruin.salvage(chains);
        let unreadable = salvage.unreadable().collect();
        let mut verdict = Verdict { records: 0, from_sled: 0, unreadable, lost: Vec::new(), failure: None, is_mended: false };
        let records = if salvage.has_all_records || damage.lost().is_empty() {
            Some(salvage.records().cloned().collect())
        } else {
            let asked = chains.log.map(|log| records_of(log, damage.lost())).transpose();
            asked
                .unwrap_or_else(|error| {
                    verdict.failure = Some(error);
                    None
                })
                .flatten()
        };
        let Some(records) = records else {
            let seen: BTreeSet<_> = ruin.wanted().into_iter().map(|(log, before)| (log, before + 1)).collect();
            verdict.lost = seen.into_iter().collect();
            return (verdict, Vec::new());
        };
        records.iter().for_each(|record| chains.add(record));
        let mut image = Image::new(ruin.bytes, &salvage, &records);
        (verdict.records, verdict.from_sled) = (records.len(), image.missing.len());
        let patches = self.patches(spans, damage, ruin.bytes.len(), &mut image, reached);
        verdict.is_mended = patches.is_some();
        (verdict, patches.unwrap_or_default())
    }

    /// What is to be written; nothing where there is no room.
    fn patches(
        &self,
        spans: &[Span],
        damage: &Damage,
        room: usize,
        image: &mut Image,
        reached: CommitNumber,
    ) -> Option<Vec<Patch>> {
        let (span, start) = (damage.span, damage.start.max(HEADER_LENGTH));
        let mut patches = Vec::new();
        if damage.start == 0 {
            // What is to stand behind the header may have to stand before it.
            let is_before = damage.end <= HEADER_LENGTH;
            let first = reached.max(if is_before { damage.next } else { damage.first });
            patches.push(Patch { span, start, bytes: Vec::new(), predecessor_commit: Some(first.saturating_sub(1)) });
        }
        if room < GROUP_LENGTH && image.missing.is_empty() {
            // A rest that is too short for a group has nothing to say.
            return (room == 0 || damage.start == 0).then_some(patches);
        }
        let payload = image.fill();
        let (mut span, mut place) = (span, start);
        if payload.len() + GROUP_LENGTH > room {
            // There is room for more only at the end of the last segment, and of one whose successor's header, which says where it ends, is written anew too.
            if damage.start == 0 && damage.end <= HEADER_LENGTH {
                span = span.checked_sub(1)?;
                place = spans.get(span)?.end;
            } else if spans.get(span)?.end != damage.end || spans.get(span + 1).is_some_and(|next| next.header.is_some()) {
                return None;
            }
        }
        let marks = match damage.header {
            Some(GroupHeader { synced_commit, synced_offset, checkpoint, .. }) => {
                Marks { synced_commit, synced_offset, checkpoint }
            }
            None => Marks { synced_commit: damage.first.saturating_sub(1), synced_offset: place, checkpoint: 0 },
        };
        let mut group = Group::of(damage.first, u32::try_from(damage.next - damage.first).ok()?, &payload);
        let place_of_group = GroupPlace { segment: spans.get(span)?.number, offset: place };
        let bytes = group.seal(self.identity, place_of_group, marks).to_vec();
        patches.push(Patch { span, start: place, bytes, predecessor_commit: None });
        Some(patches)
    }

    /// Writes the next generation of segments, ascending; `before` is the index of the last one that was written, and where that ends now.
    fn write(
        &self,
        spans: &[Span],
        patches: impl IntoIterator<Item = (usize, Vec<Patch>)>,
        before: &mut (usize, u64),
    ) -> io::Result<()> {
        for (index, patches) in patches {
            let Some(span) = spans.get(index) else { continue };
            let checkpoint = spans.iter().take(index).filter_map(|span| span.header).map(|header| header.checkpoint).max();
            let predecessor = index.checked_sub(1).and_then(|before| spans.get(before)).map_or(0, |before| before.end);
            let header = SegmentHeader {
                generation: span.generation + 1,
                number: span.number,
                predecessor_end: if before.0 + 1 == index { predecessor.max(before.1) } else { predecessor },
                predecessor_commit: patches.iter().find_map(|patch| patch.predecessor_commit).unwrap_or_default(),
                checkpoint: checkpoint.unwrap_or_default(),
            };
            let known = span.header.map(|known| SegmentHeader { generation: header.generation, ..known });
            *before = (index, self.replace(span, &known.unwrap_or(header), &patches)?);
        }
        Ok(())
    }

    /// Where the new generation ends.
    fn replace(&self, span: &Span, header: &SegmentHeader, patches: &[Patch]) -> io::Result<u64> {
        let size = |length: u64| usize::try_from(length).map_err(io::Error::other);
        let mut bytes = match &span.file {
            Some(file) => read_up_to(file, 0, size(span.end)?)?,
            None => Vec::new(),
        };
        bytes.resize(size(span.end.max(HEADER_LENGTH))?, 0);
        let encoded = header.encode(self.identity);
        for (start, patch) in patches.iter().map(|patch| (patch.start, &patch.bytes)).chain([(0, &encoded)]) {
            let range = size(start)?..size(start)? + patch.len();
            bytes.resize(bytes.len().max(range.end), 0);
            bytes.get_mut(range).ok_or(io::ErrorKind::InvalidData)?.copy_from_slice(patch);
        }
        self.files.replace(&self.segments(), &segment::name(span.number, header.generation), &bytes)?;
        if span.file.is_some() {
            self.keep(&self.segments().join(segment::name(span.number, span.generation)))?;
        }
        Ok(bytes.len() as u64)
    }

    /// Moves a damaged file out of the way.
    pub(crate) fn keep(&self, path: &Path) -> io::Result<()> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let mut target = self.directory.join("damaged").join(name);
        while target.exists() {
            target.as_mut_os_string().push("~");
        }
        self.files.rename(path, &target)?;
        self.files.sync_directory(&self.segments())
    }

    /// Older generations that a crash left beside newer ones, and files that were never finished.
    pub(crate) fn tidy(&self) -> io::Result<()> {
        let newest: HashSet<PathBuf> = segment::list(&self.segments())?.into_iter().map(|file| file.path).collect();
        for SegmentFile { path, .. } in segment::list_all(&self.segments())? {
            if !newest.contains(&path) {
                self.keep(&path)?;
            }
        }
        for entry in fs::read_dir(self.segments())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "new") {
                self.files.remove(&path)?;
            }
        }
        Ok(())
    }
}

/// The bytes of a damaged part while they are mended.
struct Image {
    bytes: Vec<u8>,
    /// What may be written over, ascending.
    gaps: Vec<Range<usize>>,
    /// Entries that are to be there and are not.
    missing: Vec<Vec<u8>>,
}

impl Image {
    /// What is whole stays, as far as it is a body or one of `records`.
    fn new(ruin: &Bytes, salvage: &Salvage, records: &[Record]) -> Self {
        let mut bytes = ruin.to_vec();
        bytes.resize(bytes.len().max(GROUP_LENGTH), 0);
        let mut image = Self { gaps: Vec::new(), missing: Vec::new(), bytes };
        let wanted: HashMap<_, _> = records.iter().map(|record| ((record.log, record.position), record.chain)).collect();
        let (mut end, mut kept_records) = (GROUP_LENGTH, HashSet::new());
        for Kept { range, piece } in &salvage.kept {
            let kind = match piece {
                Piece::Record(record) if wanted.get(&(record.log, record.position)) != Some(&record.chain) => continue,
                Piece::Record(record) => {
                    kept_records.insert((record.log, record.position));
                    EntryKind::Record
                }
                Piece::Body { .. } => EntryKind::Body,
                Piece::Large => EntryKind::Large,
            };
            image.put(range.start, &kind.head((range.len() - ENTRY_LENGTH) as u64));
            image.gaps.push(end..range.start);
            end = range.end;
        }
        image.gaps.push(end..image.bytes.len());
        let missing = records.iter().filter(|record| !kept_records.contains(&(record.log, record.position)));
        image.missing.extend(missing.filter_map(|record| encode_record(record).ok()).map(|encoded| {
            let head = EntryKind::Record.head(encoded.len() as u64);
            [head.as_slice(), &encoded].concat()
        }));
        image
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(room) = self.bytes.get_mut(at..at + bytes.len()) {
            room.copy_from_slice(bytes);
        }
    }

    /// The group's entries: what is missing goes into the gaps, where it came from; what finds no room goes behind; what of the gaps is left holds nothing.
    fn fill(&mut self) -> Vec<u8> {
        let mut missing = std::mem::take(&mut self.missing);
        missing.sort_by_key(|entry| std::cmp::Reverse(entry.len()));
        for entry in missing {
            match self.gaps.iter_mut().find(|gap| gap.len() >= entry.len()) {
                Some(gap) => {
                    let at = gap.start;
                    gap.start += entry.len();
                    self.put(at, &entry);
                }
                None => self.bytes.extend_from_slice(&entry),
            }
        }
        for gap in std::mem::take(&mut self.gaps) {
            match gap.len().checked_sub(ENTRY_LENGTH) {
                Some(length) => self.put(gap.start, &EntryKind::Lost.head(length as u64)),
                None => self.put(gap.start, &vec![0; gap.len()]),
            }
        }
        self.bytes.get(GROUP_LENGTH..).unwrap_or_default().to_vec()
    }
}
