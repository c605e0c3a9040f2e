//! What the journal keeps: records of events in logs, written by commits; and bodies, named by their hash.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::spool::SpoolFile;

/// Which sequence of events: its owner's kind and id. The journal does not know what the kinds mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogId {
    /// The kind of owner; chosen by the caller.
    pub kind: u8,
    /// The owner's stable id.
    pub id: u64,
}

/// The place of a record in its log: counts from 1 without gaps; 0 is "before the first".
pub type Position = u64;

/// The number of a commit: counts over the whole server from 1 without gaps.
pub type CommitNumber = u64;

/// BLAKE3 over the predecessor's chain and the record; proves that nothing in between was lost or altered.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Chain(pub [u8; 32]);

/// The BLAKE3 hash of a body's bytes: its name.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BodyHash(pub [u8; 32]);

impl BodyHash {
    /// The name of the body that has these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

fn write_hex(bytes: &[u8], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
}
impl fmt::Display for Chain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, formatter)
    }
}
impl fmt::Debug for Chain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, formatter)
    }
}
impl fmt::Display for BodyHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, formatter)
    }
}
impl fmt::Debug for BodyHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, formatter)
    }
}

/// Who caused a commit: which command of which session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// The session's id, unique over all runs of the server; 0 for the server itself.
    pub session: u64,
    /// The command's number within the session, counted by the server from 1.
    pub command: u32,
    /// The client's tag, as sent; empty where there is none.
    pub tag: String,
    /// The command's name (`UID STORE`, `LMTP`, `import`).
    pub verb: String,
}

/// One record as it stands in the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The log it belongs to.
    pub log: LogId,
    /// Its place in that log.
    pub position: Position,
    /// The commit that wrote it, together with that commit's records in other logs.
    pub commit: CommitNumber,
    /// When: microseconds since 1970-01-01T00:00:00Z, as the committer's clock said.
    pub at: u64,
    /// Who.
    pub author: Author,
    /// The version of the payload's encoding.
    pub version: u16,
    /// The payload: encoded events, which the journal does not read.
    pub events: Bytes,
    /// The hash of this record (all fields above) and of its predecessor's chain.
    pub chain: Chain,
}

impl Record {
    /// The chain that this record has after a predecessor with chain `previous` (all zero before position 1): BLAKE3 over `previous` and all fields
    /// but the chain, little-endian, texts and payload with their lengths as u64 before them. docs/log-format.md gives the bytes.
    pub fn chain_after(&self, previous: Chain) -> Chain {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&previous.0);
        hasher.update(&[self.log.kind]);
        for number in [self.log.id, self.position, self.commit, self.at, self.author.session] {
            hasher.update(&number.to_le_bytes());
        }
        hasher.update(&self.author.command.to_le_bytes());
        hasher.update(&self.version.to_le_bytes());
        for bytes in [self.author.tag.as_bytes(), self.author.verb.as_bytes(), &self.events] {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        }
        Chain(*hasher.finalize().as_bytes())
    }
}

/// A record to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordDraft {
    /// The log to append to.
    pub log: LogId,
    /// The position that the log's newest record has, as far as the writer knows; 0 for a new log. The append is refused where it has another.
    pub expected: Position,
    /// The version of the payload's encoding.
    pub version: u16,
    /// The payload.
    pub events: Bytes,
}

/// One command's change: all of its records become durable together or not at all. At most one record a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// When: microseconds since 1970-01-01T00:00:00Z.
    pub at: u64,
    /// Who.
    pub author: Author,
    /// What.
    pub records: Vec<RecordDraft>,
    /// Bodies that the records name and that must be durable with them, prepared by [`crate::Journal::prepare`]; 16 MiB at most that are not.
    pub bodies: Vec<Body>,
}

/// Bytes to be stored under their hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The hash of the bytes; the caller computed it.
    pub hash: BodyHash,
    /// The length in bytes.
    pub length: u64,
    /// Where the bytes are.
    pub source: BodySource,
    /// A cached value about it that is put in one step with the commit that brings it: a step of its own, as by
    /// [`crate::journal::Journal::put_cache`], would cost as much as the commit.
    pub beside: Option<CacheEntry>,
}

/// The key and the value of something cached.
pub type CacheEntry = (Vec<u8>, Bytes);

/// Where the bytes of a body to be stored are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodySource {
    /// In memory.
    Memory(Bytes),
    /// In a file that [`crate::journal::Journal::spool`] made.
    File(Arc<SpoolFile>),
    /// In the journal already: what [`crate::journal::Journal::prepare`] gives back.
    Stored,
}

/// What became of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its number.
    pub commit: CommitNumber,
    /// The position of each of its records, in the order of [`Commit::records`].
    pub positions: Vec<Position>,
}

/// The newest record of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Its position; 0 for a log without records.
    pub position: Position,
    /// Its chain; all zero for a log without records.
    pub chain: Chain,
}
