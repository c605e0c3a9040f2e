//! The store: segments for durability, sled for reading, one lock on the directory.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;

use bytes::Bytes;

use crate::ballast::Ballast;
use crate::body;
use crate::checkpoint;
use crate::error::{AppendError, OpenError, ReadError};
use crate::fate::Fate;
use crate::files::Files;
use crate::format::Identity;
use crate::home::Home;
use crate::journal::{CommitList, Journal, Tell};
use crate::options::{OpenReport, StoreOptions};
use crate::places::Places;
use crate::record::{Body, BodyHash, CacheEntry, CommitNumber, Committed, Head, LogId, Position, Record};
use crate::recovery::{self, Recovered};
use crate::room::Room;
use crate::segment::Shelf;
use crate::sled::SledLog;
use crate::spool::{Spool, SpoolFile};
use crate::stream::Stream;

/// The durable journal of one server.
#[derive(Debug)]
pub struct Store {
    pub(crate) shared: Arc<Shared>,
    checkpointer: Mutex<Option<JoinHandle<()>>>,
}

/// What only the writer touches.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) stream: Stream,
    /// Heads of logs written to lately.
    pub(crate) heads: HashMap<LogId, Head>,
}

pub(crate) struct ReadLog {
    /// Absent only while it is opened anew.
    pub(crate) log: Option<SledLog>,
    /// Counts the openings.
    pub(crate) epoch: u64,
}

pub(crate) struct Shared {
    pub(crate) home: Home,
    pub(crate) options: StoreOptions,
    pub(crate) files: Files,
    pub(crate) shelf: Shelf,
    pub(crate) spool: Spool,
    pub(crate) room: Arc<Room>,
    pub(crate) ballast: Ballast,
    pub(crate) read_log: RwLock<ReadLog>,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) newest: AtomicU64,
    /// The logs that an append under way writes to: who reads them waits.
    pub(crate) in_flight: Mutex<HashSet<LogId>>,
    pub(crate) landed: Condvar,
    pub(crate) places: Places,
    cache_writer: Mutex<()>,
    fate: Fate,
    /// One at a time writes segments anew.
    pub(crate) healing: Mutex<()>,
    pub(crate) is_stopping: Mutex<bool>,
    pub(crate) stop: Condvar,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shared").field("home", &self.home).field("newest", &self.newest).finish_non_exhaustive()
    }
}

/// A poisoned lock is taken all the same: what it guards is changed in one step or is only a cache.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    /// Opens the store in `directory`, or makes one there if it is empty or missing. Decides alone what to do after a crash: see [`OpenReport`].
    ///
    /// # Errors
    /// Another process has it, it is somebody else's directory, a newer version wrote it, records are damaged that cannot be mended, or the disk fails.
    pub fn open(directory: &Path, options: StoreOptions) -> Result<(Self, OpenReport), OpenError> {
        let files = Files::new(options.faults.clone());
        let home = Home::open(directory, &files)?;
        let failed = |error: std::io::Error| OpenError::of(format!("{}: {error}", directory.display()), &error);
        let room = Arc::new(Room::new(directory, options.reserve_bytes));
        let ballast = Ballast::new(directory, options.reserve_bytes / 2);
        if crate::files::free_bytes(directory).map_err(failed)? < options.reserve_bytes {
            ballast.release();
        }
        let recovered = recovery::recover(&home, &options, &files);
        ballast.take();
        let Recovered { stream, log, report } = recovered?;
        let spool = Spool::at(&directory.join("spool"), Arc::clone(&room)).map_err(failed)?;
        // sled's directory and the spool's may be new.
        files.sync_directory(directory).map_err(failed)?;
        for sentence in &report.sentences {
            tracing::warn!(directory = %directory.display(), "{sentence}");
        }
        let shared = Arc::new(Shared {
            shelf: Shelf::new(directory),
            newest: AtomicU64::new(stream.newest),
            writer: Mutex::new(Writer { stream, heads: HashMap::new() }),
            read_log: RwLock::new(ReadLog { log: Some(log), epoch: 0 }),
            in_flight: Mutex::default(),
            landed: Condvar::new(),
            places: Places::default(),
            cache_writer: Mutex::default(),
            fate: Fate::default(),
            healing: Mutex::default(),
            is_stopping: Mutex::default(),
            stop: Condvar::new(),
            home,
            options,
            files,
            spool,
            room,
            ballast,
        });
        let checkpointer = checkpoint::start(Arc::clone(&shared)).map_err(failed)?;
        Ok((Self { shared, checkpointer: Mutex::new(Some(checkpointer)) }, report))
    }

    fn stop_checkpoints(&self) {
        *lock(&self.shared.is_stopping) = true;
        self.shared.stop.notify_all();
        if let Some(thread) = lock(&self.checkpointer).take() {
            // It ends by itself; one that panicked has nothing more to say.
            let _ = thread.join();
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.stop_checkpoints();
    }
}

impl Shared {
    pub(crate) fn identity(&self) -> &Identity {
        &self.home.identity
    }

    pub(crate) fn fatal(&self) -> Option<String> {
        self.fate.reason()
    }

    /// The server must end; the first reason stays.
    pub(crate) fn end(&self, reason: &str) {
        tracing::error!(reason, "the journal cannot go on");
        self.fate.seal(reason);
    }

    /// sled must be made again: the next start does that.
    pub(crate) fn doubt(&self, reason: &str) {
        let marked = self.files.replace(&self.home.directory, recovery::REBUILD, reason.as_bytes());
        if let Err(error) = marked {
            tracing::error!(%error, "sled could not be marked for rebuilding");
        }
        self.end(&format!("sled is in doubt and is made again at the next start: {reason}"));
    }
}

impl Journal for Store {
    fn append(&self, lists: Vec<CommitList>) -> Vec<Result<Vec<Committed>, AppendError>> {
        self.shared.append(lists)
    }

    fn read(&self, log: LogId, from: Position, limit: usize) -> Result<Vec<Record>, ReadError> {
        self.shared.wait_for(log);
        self.shared.ask(|sled| sled.records(log, from, limit))
    }

    fn head(&self, log: LogId) -> Result<Head, ReadError> {
        self.shared.wait_for(log);
        self.shared.ask(|sled| sled.head(log))
    }

    fn logs(&self, kind: u8) -> Result<Vec<LogId>, ReadError> {
        let logs = self.shared.ask(|sled| sled.logs(&[kind]))?;
        Ok(logs.into_iter().map(|(log, _)| log).collect())
    }

    fn commits(&self, from: CommitNumber, limit: usize) -> Result<Vec<Record>, ReadError> {
        let from = from.max(1);
        let count = u64::try_from(limit).unwrap_or(u64::MAX);
        let last = self.newest_commit().min(from.saturating_add(count).saturating_sub(1));
        let mut records = Vec::new();
        for commit in from..=last {
            let found = self.shared.ask(|sled| match sled.commit(commit)? {
                None => crate::sled::broken(format!("commit {commit} is missing")),
                Some(_) => {
                    sled.commit_records(commit)?.map_or_else(|| crate::sled::broken(format!("commit {commit} is not whole")), Ok)
                }
            })?;
            records.extend(found);
        }
        Ok(records)
    }

    fn newest_commit(&self) -> CommitNumber {
        self.shared.newest.load(Ordering::Acquire)
    }

    fn body(&self, hash: BodyHash) -> Result<Bytes, ReadError> {
        self.shared.read_body(hash, |file, place| body::read(file, place, hash, self.shared.identity()))
    }

    fn body_range(&self, hash: BodyHash, offset: u64, length: u64) -> Result<Bytes, ReadError> {
        let range = offset..offset.saturating_add(length);
        self.shared.read_body(hash, |file, place| body::read_range(file, place, hash, range.clone(), self.shared.identity()))
    }

    fn cache(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        self.shared.ask(|sled| sled.cache(key))
    }

    fn put_cache(&self, entries: Vec<CacheEntry>) -> Result<(), ReadError> {
        // It can be made again; what there is of room is for what cannot.
        if self.shared.room.check(0).is_err() {
            return Ok(());
        }
        let _one_at_a_time = lock(&self.shared.cache_writer);
        self.shared.ask(|sled| sled.put_cache(&entries))
    }

    fn spool(&self) -> Result<SpoolFile, AppendError> {
        self.shared.spool.file()
    }

    fn prepare(&self, bodies: Vec<Body>) -> Result<Vec<Body>, AppendError> {
        self.shared.prepare(&bodies)
    }

    fn fatal(&self) -> Option<String> {
        self.shared.fatal()
    }

    fn on_fatal(&self, tell: Tell) {
        self.shared.fate.tell(tell);
    }

    fn close(&self) {
        self.stop_checkpoints();
        checkpoint::take(&self.shared);
    }
}
