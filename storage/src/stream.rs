//! The durable stream: writes groups to the newest segment, each with one write and one fdatasync.
//!
//! A write or sync that failed is never tried again and nothing is written behind it: what it may have left on disk is declared not to exist, by the
//! header of the next segment. Where even that cannot be made durable, the outcome is unknown.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::files::Files;
use crate::format::{
    BodyPlace, ENTRY_LENGTH, EntryKind, GROUP_LENGTH, GroupHeader, GroupPlace, HEADER_LENGTH, Identity, SegmentHeader,
    encode_places,
};
use crate::record::{BodyHash, CommitNumber};
use crate::segment;

/// A segment is sealed before it has more bodies than this: its footer, 64 bytes for each of them, is written on somebody's acknowledgement.
const INDEX_LIMIT: usize = 16 * 1024;

/// A group while it is put together.
#[derive(Debug)]
pub(crate) struct Group {
    /// Room for the header, then the entries.
    bytes: Vec<u8>,
    pub(crate) first: CommitNumber,
    pub(crate) count: u32,
    /// The bodies in it; offsets count from the first entry.
    pub(crate) bodies: Vec<(BodyHash, BodyPlace)>,
}

/// A group as it was before a list that is refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark(usize, u32, usize);

impl Group {
    pub(crate) fn new(first: CommitNumber) -> Self {
        Self { bytes: vec![0; GROUP_LENGTH], first, count: 0, bodies: Vec::new() }
    }

    /// One with these entries.
    pub(crate) fn of(first: CommitNumber, count: u32, entries: &[u8]) -> Self {
        let mut group = Self { count, ..Self::new(first) };
        group.bytes.extend_from_slice(entries);
        group
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0 && self.bytes.len() == GROUP_LENGTH
    }

    pub(crate) fn next(&self) -> CommitNumber {
        self.first + u64::from(self.count)
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark(self.bytes.len(), self.count, self.bodies.len())
    }

    pub(crate) fn rewind(&mut self, mark: Mark) {
        self.bytes.truncate(mark.0);
        self.count = mark.1;
        self.bodies.truncate(mark.2);
    }

    pub(crate) fn entry(&mut self, kind: EntryKind, content: &[u8]) {
        self.bytes.extend_from_slice(&kind.head(content.len() as u64));
        self.bytes.extend_from_slice(content);
    }

    pub(crate) fn body(&mut self, identity: &Identity, hash: BodyHash, bytes: &[u8]) {
        let head = self.bytes.len();
        self.bytes.resize(head + ENTRY_LENGTH, 0);
        crate::body::encode(identity, hash, bytes, &mut self.bytes);
        let start = head + ENTRY_LENGTH;
        let stored = (self.bytes.len() - start) as u64;
        if let Some(room) = self.bytes.get_mut(head..start) {
            room.copy_from_slice(&EntryKind::Body.head(stored));
        }
        let place = BodyPlace { segment: 0, offset: (start - GROUP_LENGTH) as u64, stored, length: bytes.len() as u64 };
        self.bodies.push((hash, place));
    }

    /// The bytes for a place in a segment.
    pub(crate) fn seal(&mut self, identity: &Identity, place: GroupPlace, marks: Marks) -> &[u8] {
        let payload = self.bytes.get(GROUP_LENGTH..).unwrap_or_default();
        let header = GroupHeader {
            length: payload.len() as u64,
            first: self.first,
            count: self.count,
            synced_commit: marks.synced_commit,
            synced_offset: marks.synced_offset,
            checkpoint: marks.checkpoint,
            checksum: GroupHeader::checksum(payload, identity, place),
        };
        let header = header.encode(identity, place);
        if let Some(room) = self.bytes.get_mut(..GROUP_LENGTH) {
            room.copy_from_slice(&header);
        }
        &self.bytes
    }
}

/// What a group says about everything before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marks {
    pub(crate) synced_commit: CommitNumber,
    pub(crate) synced_offset: u64,
    pub(crate) checkpoint: CommitNumber,
}

/// Why a group was not written.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// Nothing of it exists, now and after any crash.
    Refused { is_full: bool, reason: String },
    /// Only a new start can tell.
    Unknown(String),
}

/// The newest segment.
#[derive(Debug)]
pub(crate) struct Stream {
    files: Files,
    directory: PathBuf,
    identity: Identity,
    segment_bytes: u64,
    file: Arc<File>,
    pub(crate) number: u64,
    /// Up to where it is on disk.
    pub(crate) end: u64,
    /// The newest commit on disk.
    pub(crate) newest: CommitNumber,
    /// The newest commit known to be in sled's files.
    pub(crate) checkpoint: CommitNumber,
    /// The bodies of this segment, for its footer.
    pub(crate) index: Vec<(BodyHash, BodyPlace)>,
    /// Set when a failed operation left bytes behind `end` whose absence is not yet durable.
    is_dead: bool,
    /// Set when the segment is sealed but the next one could not be made: nothing more may be written to it.
    is_sealed: bool,
}

/// What a stream goes on from.
#[derive(Debug)]
pub(crate) struct StreamState {
    pub(crate) number: u64,
    pub(crate) end: u64,
    pub(crate) newest: CommitNumber,
    pub(crate) checkpoint: CommitNumber,
    pub(crate) index: Vec<(BodyHash, BodyPlace)>,
}

impl Stream {
    /// The first segment of a store.
    pub(crate) fn create(files: Files, directory: &Path, identity: Identity, segment_bytes: u64) -> io::Result<Self> {
        let header = SegmentHeader { generation: 0, number: 1, predecessor_end: 0, predecessor_commit: 0, checkpoint: 0 };
        let file = Arc::new(make(&files, directory, &identity, &header)?);
        let state = StreamState { number: 1, end: HEADER_LENGTH, newest: 0, checkpoint: 0, index: Vec::new() };
        Ok(Self::resume(files, directory, identity, segment_bytes, file, state))
    }

    /// Goes on in a segment that recovery has made whole.
    pub(crate) fn resume(
        files: Files,
        directory: &Path,
        identity: Identity,
        segment_bytes: u64,
        file: Arc<File>,
        state: StreamState,
    ) -> Self {
        let StreamState { number, end, newest, checkpoint, index } = state;
        let directory = directory.to_path_buf();
        Self {
            files,
            directory,
            identity,
            segment_bytes,
            file,
            number,
            end,
            newest,
            checkpoint,
            index,
            is_dead: false,
            is_sealed: false,
        }
    }

    /// Makes a group durable; the places of its bodies.
    pub(crate) fn write(&mut self, group: &mut Group) -> Result<Vec<(BodyHash, BodyPlace)>, WriteError> {
        if self.is_dead {
            return Err(WriteError::Unknown("an earlier write left the segment in doubt".into()));
        }
        if self.is_sealed {
            self.follow()?;
        } else if self.end > HEADER_LENGTH && self.is_full_with(group) {
            self.roll()?;
        }
        self.put(group)
    }

    fn is_full_with(&self, group: &Group) -> bool {
        self.end + group.len() as u64 > self.segment_bytes || self.index.len() + group.bodies.len() > INDEX_LIMIT
    }

    fn put(&mut self, group: &mut Group) -> Result<Vec<(BodyHash, BodyPlace)>, WriteError> {
        let place = GroupPlace { segment: self.number, offset: self.end };
        let marks = Marks { synced_commit: self.newest, synced_offset: self.end, checkpoint: self.checkpoint };
        let bytes = group.seal(&self.identity, place, marks);
        let length = bytes.len() as u64;
        if let Err(error) = self.files.write_at(&self.file, bytes, self.end) {
            return Err(self.refuse(&error, true));
        }
        if let Err(error) = self.files.sync(&self.file) {
            return Err(self.refuse(&error, false));
        }
        let base = self.end + GROUP_LENGTH as u64;
        let placed = |(hash, place): &(BodyHash, BodyPlace)| {
            (*hash, BodyPlace { segment: self.number, offset: place.offset + base, ..*place })
        };
        let places: Vec<_> = group.bodies.iter().map(placed).collect();
        self.end += length;
        self.newest = group.next() - 1;
        self.index.extend_from_slice(&places);
        Ok(places)
    }

    /// Seals the segment and begins the next one.
    pub(crate) fn roll(&mut self) -> Result<(), WriteError> {
        let mut footer = Group::new(self.newest + 1);
        let mut content = encode_places(&self.index);
        let length = (GROUP_LENGTH + ENTRY_LENGTH + content.len() + 8) as u64;
        content.extend_from_slice(&length.to_le_bytes());
        footer.entry(EntryKind::Index, &content);
        let number = self.number;
        self.put(&mut footer)?;
        self.is_sealed = self.number == number;
        self.follow()
    }

    /// Begins the segment behind a sealed one. A failure refuses the group at hand and nothing else: it can be tried again, for nothing that anybody was told
    /// of lies in what it left.
    fn follow(&mut self) -> Result<(), WriteError> {
        let left = self.directory.join(segment::name(self.number + 1, 0));
        self.files.remove(&left).and_then(|()| self.begin_next()).map_err(|error| {
            let reason = format!("segment {} could not be made: {error}", self.number + 1);
            WriteError::Refused { is_full: error.kind() == io::ErrorKind::StorageFull, reason }
        })
    }

    fn begin_next(&mut self) -> io::Result<()> {
        let header = SegmentHeader {
            generation: 0,
            number: self.number + 1,
            predecessor_end: self.end,
            predecessor_commit: self.newest,
            checkpoint: self.checkpoint,
        };
        self.file = Arc::new(make(&self.files, &self.directory, &self.identity, &header)?);
        self.number = header.number;
        self.end = HEADER_LENGTH;
        self.index.clear();
        self.is_sealed = false;
        Ok(())
    }

    /// Makes durable that nothing lies behind the last synced byte.
    fn refuse(&mut self, error: &io::Error, is_write: bool) -> WriteError {
        let is_full = error.kind() == io::ErrorKind::StorageFull;
        let reason = format!("segment {} at byte {}: {error}", self.number, self.end);
        tracing::error!(segment = self.number, offset = self.end, %error, "a group could not be written");
        let is_cut =
            is_full && is_write && self.files.truncate(&self.file, self.end).is_ok() && self.files.sync(&self.file).is_ok();
        if is_cut {
            return WriteError::Refused { is_full, reason };
        }
        match self.begin_next() {
            Ok(()) => WriteError::Refused { is_full, reason },
            Err(second) => {
                self.is_dead = true;
                WriteError::Unknown(format!("{reason}; and no new segment could be made: {second}"))
            }
        }
    }
}

/// A new segment with its header, durable with its directory.
fn make(files: &Files, directory: &Path, identity: &Identity, header: &SegmentHeader) -> io::Result<File> {
    let file = files.create(&directory.join(segment::name(header.number, header.generation)))?;
    files.write_at(&file, &header.encode(identity), 0)?;
    files.sync(&file)?;
    files.sync_directory(directory)?;
    Ok(file)
}
