//! Carries groups of the message log over to sled, checking that each record stands on its predecessor.

use std::collections::{BTreeMap, HashMap};
use std::io;

use crate::body::BodyHead;
use crate::format::{BodyPlace, EntryKind, GROUP_LENGTH, GroupHeader, Identity, decode_places, entries};
use crate::record::{BodyHash, CommitNumber, Head, LogId, Position, Record};
use crate::sled::{Change, LogError, SledLog};

/// How many bytes of groups go to sled in one batch. What sled frees it frees a little at each call: with batches of some MiB, making it again from 260,000 commits
/// took 2.6 GiB of memory, with these some 200 MiB.
const BATCH_BYTES: usize = 64 * 1024;

/// A group's entries, decoded.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// Records with the bytes that they were decoded from, by commit and log: healing puts them where there is room.
    pub(crate) records: Vec<(Record, Vec<u8>)>,
    pub(crate) places: Vec<(BodyHash, BodyPlace)>,
    /// What the footer says, where the group is one.
    pub(crate) index: Option<Vec<(BodyHash, BodyPlace)>>,
}

/// Decodes a group whose checksum was right.
pub(crate) fn contents(segment: u64, offset: u64, payload: &[u8], identity: &Identity) -> Result<Contents, String> {
    let mut contents = bodies(segment, offset, payload, identity)?;
    for entry in entries(payload) {
        let entry = entry?;
        if entry.kind == EntryKind::Record {
            let record = crate::codec::decode(entry.content).map_err(|error| error.to_string())?;
            contents.records.push((record, entry.content.to_vec()));
        }
    }
    contents.records.sort_by_key(|(record, _): &(Record, _)| (record.commit, record.log));
    Ok(contents)
}

/// As [`contents`], but without records.
pub(crate) fn bodies(segment: u64, offset: u64, payload: &[u8], identity: &Identity) -> Result<Contents, String> {
    let mut contents = Contents::default();
    for entry in entries(payload) {
        let entry = entry?;
        match entry.kind {
            EntryKind::Body => {
                let stored = entry.content.len() as u64;
                let head = BodyHead::decode(entry.content, stored, identity).ok_or("a body's head is none")?;
                let offset = offset + (GROUP_LENGTH + entry.offset) as u64;
                contents.places.push((head.hash, BodyPlace { segment, offset, stored, length: head.length }));
            }
            EntryKind::Large => contents.places.extend(decode_places(entry.content)),
            EntryKind::Index => contents.index = Some(decode_places(entry.content)),
            EntryKind::Record | EntryKind::Lost => {}
        }
    }
    Ok(contents)
}

/// Why groups could not be put into sled.
#[derive(Debug)]
pub(crate) enum ApplyError {
    /// Because of sled.
    Log(LogError),
    /// The segments contradict themselves, or sled.
    Segments(String),
}

impl From<LogError> for ApplyError {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}
impl From<io::Error> for ApplyError {
    fn from(error: io::Error) -> Self {
        Self::Log(error.into())
    }
}
impl From<ApplyError> for LogError {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Log(error) => error,
            ApplyError::Segments(text) => Self::Broken(text),
        }
    }
}

/// Puts groups into sled.
pub(crate) struct Applier<'a> {
    log: &'a SledLog,
    identity: &'a Identity,
    /// Commits before it are in sled already.
    from: CommitNumber,
    /// The commit that must come next.
    next: CommitNumber,
    heads: HashMap<LogId, Head>,
    touched: HashMap<LogId, Head>,
    change: Change,
    weight: usize,
    newest: CommitNumber,
    /// How many commits were applied.
    pub(crate) commits: u64,
}

impl<'a> Applier<'a> {
    pub(crate) fn new(log: &'a SledLog, identity: &'a Identity, from: CommitNumber) -> Self {
        let (heads, touched, change) = (HashMap::new(), HashMap::new(), Change::default());
        Self { log, identity, from, next: from, heads, touched, change, weight: 0, newest: 0, commits: 0 }
    }

    /// Adds a group whose checksum was right.
    pub(crate) fn group(&mut self, segment: u64, offset: u64, header: &GroupHeader, payload: &[u8]) -> Result<(), ApplyError> {
        // Its bodies came to sled in one batch with its commits. One without commits has the number of the next commit.
        if header.first < self.from && header.next() <= self.from {
            return Ok(());
        }
        if header.first > self.next {
            let (from, to) = (self.next, header.first - 1);
            return Err(ApplyError::Segments(format!("the segments lack commits {from} to {to}")));
        }
        self.next = self.next.max(header.next());
        let contents = contents(segment, offset, payload, self.identity).map_err(ApplyError::Segments)?;
        self.contents(header.first..header.next(), &contents)?;
        self.weight += payload.len() + GROUP_LENGTH;
        if self.weight >= BATCH_BYTES { Ok(self.finish()?) } else { Ok(()) }
    }

    fn contents(&mut self, range: std::ops::Range<CommitNumber>, contents: &Contents) -> Result<(), ApplyError> {
        for (hash, place) in &contents.places {
            self.change.place(*hash, place);
        }
        let mut commits: BTreeMap<CommitNumber, Vec<(LogId, Position)>> = BTreeMap::new();
        for commit in range.start.max(self.from)..range.end {
            commits.insert(commit, Vec::new());
        }
        for (record, encoded) in &contents.records {
            if record.commit < self.from {
                continue;
            }
            self.record(record, encoded)?;
            commits.entry(record.commit).or_default().push((record.log, record.position));
        }
        for (commit, places) in commits {
            self.change.commit(commit, &places);
            self.newest = self.newest.max(commit);
            self.commits += 1;
        }
        Ok(())
    }

    fn record(&mut self, record: &Record, encoded: &[u8]) -> Result<(), ApplyError> {
        let before = record.position.saturating_sub(1);
        let known = match self.heads.get(&record.log) {
            Some(head) if head.position == before => Some(head.chain),
            Some(_) => None,
            None => self.log.chain(record.log, before)?,
        };
        if known.map(|chain| record.chain_after(chain)) != Some(record.chain) {
            return Err(ApplyError::Segments(format!(
                "record {} of log {}/{:016x} (commit {}) does not stand on its predecessor",
                record.position, record.log.kind, record.log.id, record.commit
            )));
        }
        let head = Head { position: record.position, chain: record.chain };
        self.heads.insert(record.log, head);
        self.touched.insert(record.log, head);
        self.change.record(record, encoded);
        Ok(())
    }

    /// Gives what was added to sled.
    pub(crate) fn finish(&mut self) -> Result<(), LogError> {
        for (log, head) in self.touched.drain() {
            self.change.head(log, head);
        }
        if self.newest > 0 {
            self.change.newest(self.newest);
        }
        self.weight = 0;
        self.log.apply(std::mem::take(&mut self.change))
    }
}
