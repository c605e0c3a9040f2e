//! The one interface to durable storage. Another engine (a shared database for several nodes) can stand behind it: docs/architecture.md.

use std::sync::Arc;

use bytes::Bytes;

use crate::error::{AppendError, ReadError};
use crate::record::{Body, BodyHash, CacheEntry, Commit, CommitNumber, Committed, Head, LogId, Position, Record};
use crate::spool::SpoolFile;

/// Commits that stand and fall together: one mailbox decided each on the state that the one before it leaves.
pub type CommitList = Vec<Commit>;

/// A body with more bytes is stored by itself when it is prepared.
pub const LARGE_BODY_BYTES: u64 = 1024 * 1024;
/// Bodies that are no larger but together have more bytes are stored when they are prepared.
pub const AHEAD_BYTES: u64 = 4 * 1024 * 1024;

/// Who is told that the journal cannot go on, and why; perhaps more than once.
pub type Tell = Arc<dyn Fn(&str) + Send + Sync>;

/// Order, atomicity and durability of events. Every method may block on the disk: never call one on a thread that serves sessions.
pub trait Journal: Send + Sync {
    /// Makes lists of commits durable with one flush, in the given order; each list is accepted or refused whole, and a refused one does not touch the others.
    /// When this returns, accepted commits survive a power loss and every reader sees them. Called by one thread at a time.
    fn append(&self, lists: Vec<CommitList>) -> Vec<Result<Vec<Committed>, AppendError>>;

    /// Records of `log` from position `from` on (1 is the first), ascending, at most `limit`.
    fn read(&self, log: LogId, from: Position, limit: usize) -> Result<Vec<Record>, ReadError>;

    /// The newest record of a log: position 0 where it has none.
    fn head(&self, log: LogId) -> Result<Head, ReadError>;

    /// The logs of one kind, ascending by id.
    fn logs(&self, kind: u8) -> Result<Vec<LogId>, ReadError>;

    /// Records of all logs from commit `from` on in the order of commits (and of logs within one), at most `limit` commits.
    fn commits(&self, from: CommitNumber, limit: usize) -> Result<Vec<Record>, ReadError>;

    /// The number of the newest commit that readers see; 0 before the first.
    fn newest_commit(&self) -> CommitNumber;

    /// The whole body. Verified against its hash or checksum before it is returned.
    fn body(&self, hash: BodyHash) -> Result<Bytes, ReadError>;

    /// `length` bytes of a body from `offset`; less at its end. Does not read the whole where the engine can avoid it.
    fn body_range(&self, hash: BodyHash, offset: u64, length: u64) -> Result<Bytes, ReadError>;

    /// A cached value. Caches are rebuildable: they may be lost at any time and are never the only place of a fact.
    fn cache(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError>;

    /// Puts cached values, all or none visible; empty values delete. Not durable by itself. A step of its own each time: what belongs to a body
    /// that comes in goes along with it ([`Body::beside`]).
    fn put_cache(&self, entries: Vec<CacheEntry>) -> Result<(), ReadError>;

    /// A new, empty file for a large body while it arrives, on the same file system as the store where there is one.
    ///
    /// # Errors
    /// `DiskFull` where little more than the reserve is free; `Failed` where the disk fails.
    fn spool(&self) -> Result<SpoolFile, AppendError>;

    /// Makes the bodies of one command ready for its commit, in their order: what is large, and what together is much ([`LARGE_BODY_BYTES`], [`AHEAD_BYTES`]),
    /// becomes durable ahead of the commit that names it, so that no other commit's flush waits for its bytes; what is stored already is not written again. The commit
    /// then carries the bodies that this returns. Any thread may call it, beside `append`; it blocks for as long as the disk needs. A prepared body can be read, and stays if no commit ever names it.
    ///
    /// # Errors
    /// As for `append`.
    fn prepare(&self, bodies: Vec<Body>) -> Result<Vec<Body>, AppendError>;

    /// Whether the journal can no longer tell what is durable and the server must end (BYE, exit 75): the reason.
    fn fatal(&self) -> Option<String>;

    /// Has `tell` called with the reason as soon as [`Self::fatal`] has one, on whatever thread finds it, before that thread's call returns; at once where it has one.
    fn on_fatal(&self, tell: Tell);

    /// Flushes what a clean stop should leave behind (a checkpoint). Nothing acknowledged depends on it.
    fn close(&self);
}

/// A shared journal is one: wrappers and a next server can stand over the same store.
impl<J: Journal + ?Sized> Journal for Arc<J> {
    fn append(&self, lists: Vec<CommitList>) -> Vec<Result<Vec<Committed>, AppendError>> {
        (**self).append(lists)
    }
    fn read(&self, log: LogId, from: Position, limit: usize) -> Result<Vec<Record>, ReadError> {
        (**self).read(log, from, limit)
    }
    fn head(&self, log: LogId) -> Result<Head, ReadError> {
        (**self).head(log)
    }
    fn logs(&self, kind: u8) -> Result<Vec<LogId>, ReadError> {
        (**self).logs(kind)
    }
    fn commits(&self, from: CommitNumber, limit: usize) -> Result<Vec<Record>, ReadError> {
        (**self).commits(from, limit)
    }
    fn newest_commit(&self) -> CommitNumber {
        (**self).newest_commit()
    }
    fn body(&self, hash: BodyHash) -> Result<Bytes, ReadError> {
        (**self).body(hash)
    }
    fn body_range(&self, hash: BodyHash, offset: u64, length: u64) -> Result<Bytes, ReadError> {
        (**self).body_range(hash, offset, length)
    }
    fn cache(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        (**self).cache(key)
    }
    fn put_cache(&self, entries: Vec<CacheEntry>) -> Result<(), ReadError> {
        (**self).put_cache(entries)
    }
    fn spool(&self) -> Result<SpoolFile, AppendError> {
        (**self).spool()
    }
    fn prepare(&self, bodies: Vec<Body>) -> Result<Vec<Body>, AppendError> {
        (**self).prepare(bodies)
    }
    fn fatal(&self) -> Option<String> {
        (**self).fatal()
    }
    fn on_fatal(&self, tell: Tell) {
        (**self).on_fatal(tell);
    }
    fn close(&self) {
        (**self).close();
    }
}
