//! Mends a damaged part of a segment: records come from sled, bodies from what is left of them. The mended segment is a new generation of its file, of
//! the same length and with every other byte where it was; the damaged file is kept.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::body;
use crate::files::{Files, read_up_to};
use crate::format::{ENTRY_LENGTH, EntryKind, GROUP_LENGTH, GroupPlace, HEADER_LENGTH, Identity, SegmentHeader, encode_record};
use crate::record::{BodyHash, CommitNumber, Record};
use crate::segment::{self, SegmentFile};
use crate::sled::{LogError, SledLog};
use crate::stream::{Group, Marks};
use crate::survey::{Damage, Span};

/// A damaged part and the records that belong there.
pub(crate) type Mendable = (Damage, Vec<Record>);

/// A body that was found whole in damaged bytes.
#[derive(Debug)]
pub(crate) struct Salvaged {
    /// Where its content began in the segment.
    pub(crate) offset: u64,
    pub(crate) hash: BodyHash,
    pub(crate) length: u64,
    pub(crate) content: Bytes,
}

/// The records of commits, from sled; nothing where it does not have all of them.
pub(crate) fn records(log: &SledLog, lost: std::ops::Range<CommitNumber>) -> Result<Option<Vec<Record>>, LogError> {
    let mut records = Vec::new();
    for commit in lost {
        match log.commit_records(commit)? {
            Some(found) => records.extend(found),
            None => return Ok(None),
        }
    }
    Ok(Some(records))
}

/// Finds whole bodies in a part of a segment.
pub(crate) fn salvage(file: &File, start: u64, end: u64, identity: &Identity) -> io::Result<Vec<Salvaged>> {
    let bytes = Bytes::from(read_up_to(file, start, usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX))?);
    let mut found = Vec::new();
    let mut at = ENTRY_LENGTH;
    while let Some(next) = bytes.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'B')) {
        at += next;
        match body_at(&bytes, at, identity) {
            Some((hash, length, content)) => {
                let size = content.len();
                found.push(Salvaged { offset: start + at as u64, hash, length, content });
                at += size;
            }
            None => at += 1,
        }
    }
    Ok(found)
}

fn body_at(bytes: &Bytes, at: usize, identity: &Identity) -> Option<(BodyHash, u64, Bytes)> {
    if !bytes.get(at..)?.starts_with(b"BODY") {
        return None;
    }
    let length = u64::from_le_bytes(bytes.get(at.checked_sub(8)?..at)?.try_into().ok()?);
    let end = at.checked_add(usize::try_from(length).ok()?).filter(|end| *end <= bytes.len())?;
    let content = bytes.slice(at..end);
    let (hash, body) = body::decode(&content, identity)?;
    Some((hash, body.len() as u64, content))
}

/// What became of a damaged part.
#[derive(Debug, Default)]
pub(crate) struct Healed {
    pub(crate) records: usize,
    pub(crate) bodies: usize,
    /// Bodies that are whole but had to make room: they must be written again.
    pub(crate) displaced: Vec<Salvaged>,
}

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

    /// Writes the next generation of a span with `damages` mended by the records beside them.
    pub(crate) fn span(&self, span: &Span, predecessor: (u64, CommitNumber), damages: &[Mendable]) -> io::Result<Healed> {
        let generation = span.generation + 1;
        let (predecessor_end, predecessor_commit) = predecessor;
        let header = SegmentHeader { generation, number: span.number, predecessor_end, predecessor_commit, checkpoint: 0 };
        let header = span.header.map_or(header, |known| SegmentHeader { generation, ..known });
        let mut bytes = match &span.file {
            Some(file) => read_up_to(file, 0, usize::try_from(span.end).unwrap_or(usize::MAX))?,
            None => Vec::new(),
        };
        bytes.resize(usize::try_from(span.end).unwrap_or(usize::MAX).max(bytes.len()), 0);
        let mut healed = Healed::default();
        for (damage, records) in damages {
            let start = damage.start.max(HEADER_LENGTH);
            if damage.end <= start {
                continue;
            }
            let salvaged = match &span.file {
                Some(file) => salvage(file, start, damage.end, self.identity)?,
                None => Vec::new(),
            };
            let group = self.group(span.number, start, damage, records, salvaged, &mut healed)?;
            let range = usize::try_from(start).unwrap_or(usize::MAX)..usize::try_from(damage.end).unwrap_or(usize::MAX);
            bytes.get_mut(range).ok_or(io::ErrorKind::InvalidData)?.copy_from_slice(&group);
        }
        let encoded = header.encode(self.identity);
        bytes.get_mut(..encoded.len()).ok_or(io::ErrorKind::InvalidData)?.copy_from_slice(&encoded);
        self.replace(span, generation, &bytes)?;
        Ok(healed)
    }

    /// A group that fills exactly the damaged part, with each whole body where it was.
    fn group(
        &self,
        segment: u64,
        start: u64,
        damage: &Damage,
        records: &[Record],
        salvaged: Vec<Salvaged>,
        healed: &mut Healed,
    ) -> io::Result<Vec<u8>> {
        let too_small = || io::Error::other("the damaged part has no room for its records");
        let size = usize::try_from(damage.end - start).map_err(|_| too_small())?;
        if size < GROUP_LENGTH {
            // Too short for a group: it stays as it is, damaged but empty.
            return if records.is_empty() { Ok(vec![0; size]) } else { Err(too_small()) };
        }
        let mut group = Group::new(damage.first);
        group.count = u32::try_from(damage.next - damage.first).map_err(|_| too_small())?;
        for record in records {
            group.entry(EntryKind::Record, &encode_record(record).map_err(io::Error::other)?);
            healed.records += 1;
        }
        for body in salvaged {
            let head = usize::try_from(body.offset - start).map_err(|_| too_small())?.checked_sub(ENTRY_LENGTH);
            match head.filter(|head| *head >= group.len()) {
                Some(head) => {
                    pad(&mut group, head);
                    group.stored_body(body.hash, &body.content, body.length);
                    healed.bodies += 1;
                }
                None => healed.displaced.push(body),
            }
        }
        if group.len() > size {
            return Err(too_small());
        }
        pad(&mut group, size);
        let marks = Marks { synced_commit: damage.first.saturating_sub(1), synced_offset: start, checkpoint: 0 };
        Ok(group.seal(self.identity, GroupPlace { segment, offset: start }, marks).to_vec())
    }

    fn replace(&self, span: &Span, generation: u32, bytes: &[u8]) -> io::Result<()> {
        let directory = self.segments();
        let old = directory.join(segment::name(span.number, span.generation));
        self.files.replace(&directory, &segment::name(span.number, generation), bytes)?;
        if span.file.is_some() {
            self.keep(&old)?;
        }
        Ok(())
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
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// Fills a group with nothing until it has `length` bytes.
fn pad(group: &mut Group, length: usize) {
    let room = length.saturating_sub(group.len());
    if room >= ENTRY_LENGTH {
        group.entry(EntryKind::Lost, &vec![0; room - ENTRY_LENGTH]);
    } else {
        group.zeros(room);
    }
}
