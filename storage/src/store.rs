//! The store: segments for durability, sled for reading, one lock on the directory.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;

use crate::ballast::Ballast;
use crate::body;
use crate::checkpoint;
use crate::error::{AppendError, OpenError, ReadError};
use crate::files::Files;
use crate::format::{BodyPlace, Identity};
use crate::home::Home;
use crate::journal::{CommitList, Journal};
use crate::large;
use crate::options::{OpenReport, StoreOptions};
use crate::places::Places;
use crate::record::{Body, BodyHash, BodySource, CommitNumber, Committed, Head, LogId, Position, Record};
use crate::recovery::{self, Recovered};
use crate::segment::Shelf;
use crate::sled::{LogError, SledLog};
use crate::spool::Spool;
use crate::stream::Stream;

/// How often a sled that met a full disk is opened anew before the server ends; half a second lies between.
const REOPENINGS: u32 = 60;

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
    spool: Spool,
    pub(crate) ballast: Ballast,
    pub(crate) read_log: RwLock<ReadLog>,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) newest: AtomicU64,
    /// The logs that an append under way writes to: who reads them waits.
    pub(crate) in_flight: Mutex<HashSet<LogId>>,
    pub(crate) landed: Condvar,
    pub(crate) places: Places,
    cache_writer: Mutex<()>,
    fatal: Mutex<Option<String>>,
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
        let spool = Spool::at(&directory.join("spool")).map_err(failed)?;
        let ballast = Ballast::new(directory, options.reserve_bytes / 2);
        if crate::files::free_bytes(directory).map_err(failed)? < options.reserve_bytes {
            ballast.release();
        }
        let recovered = recovery::recover(&home, &options, &files);
        ballast.take();
        let Recovered { stream, log, report } = recovered?;
        // sled's directory may be new.
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
            fatal: Mutex::default(),
            is_stopping: Mutex::default(),
            stop: Condvar::new(),
            home,
            options,
            files,
            spool,
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
        lock(&self.fatal).clone()
    }

    /// The server must end; the first reason stays.
    pub(crate) fn end(&self, reason: &str) {
        tracing::error!(reason, "the journal cannot go on");
        lock(&self.fatal).get_or_insert_with(|| reason.to_owned());
    }

    /// sled must be made again: the next start does that.
    pub(crate) fn doubt(&self, reason: &str) {
        let marked = self.files.replace(&self.home.directory, recovery::REBUILD, reason.as_bytes());
        if let Err(error) = marked {
            tracing::error!(%error, "sled could not be marked for rebuilding");
        }
        self.end(&format!("sled is in doubt and is made again at the next start: {reason}"));
    }

    fn with_log<T>(&self, ask: impl Fn(&SledLog) -> Result<T, LogError>) -> (u64, Result<T, LogError>) {
        let read_log = self.read_log.read().unwrap_or_else(PoisonError::into_inner);
        let asked = match &read_log.log {
            Some(log) => ask(log),
            None => Err(LogError::Full("sled is not open".into())),
        };
        (read_log.epoch, asked)
    }

    /// Asks sled; one that met a full disk is opened anew first.
    pub(crate) fn ask<T>(&self, ask: impl Fn(&SledLog) -> Result<T, LogError>) -> Result<T, ReadError> {
        let (epoch, mut asked) = self.with_log(&ask);
        if matches!(asked, Err(LogError::Full(_))) {
            let writer = lock(&self.writer);
            if self.reopen(&writer, epoch).is_ok() {
                drop(writer);
                asked = self.with_log(&ask).1;
            }
        }
        asked.map_err(|error| match error {
            LogError::Full(text) => ReadError::Failed(text),
            LogError::Broken(text) => {
                self.doubt(&text);
                ReadError::Damaged(text)
            }
        })
    }

    /// Changes sled behind a durable group. Where that fails in the end the server must end: what is durable is never answered with NO.
    pub(crate) fn apply(&self, writer: &Writer, change: impl Fn() -> crate::sled::Change) -> Result<(), String> {
        let injected = self.files.check(crate::fault::Operation::Apply);
        let (epoch, applied) = match injected {
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {
                (self.with_log(|_| Ok(())).0, Err(LogError::Full(error.to_string())))
            }
            Err(error) => (0, Err(LogError::Broken(error.to_string()))),
            Ok(()) => self.with_log(|log| log.apply(change())),
        };
        match applied {
            Ok(()) => Ok(()),
            // Reopening applies everything since the checkpoint, this group too.
            Err(LogError::Full(_)) => self.reopen(writer, epoch),
            Err(LogError::Broken(text)) => {
                self.doubt(&text);
                Err(text)
            }
        }
    }

    /// Opens sled anew after it met a full disk and applies everything since the checkpoint; readers wait meanwhile.
    pub(crate) fn reopen(&self, writer: &Writer, epoch: u64) -> Result<(), String> {
        let mut read_log = self.read_log.write().unwrap_or_else(PoisonError::into_inner);
        if read_log.epoch != epoch {
            return Ok(());
        }
        tracing::warn!("sled met a full disk: it is opened anew");
        read_log.log = None;
        self.ballast.release();
        let reopened = self.reopened(writer);
        self.ballast.take();
        match reopened {
            Ok(log) => {
                *read_log = ReadLog { log: Some(log), epoch: epoch + 1 };
                Ok(())
            }
            Err(reason) => {
                self.doubt(&reason);
                Err(reason)
            }
        }
    }

    fn reopened(&self, writer: &Writer) -> Result<SledLog, String> {
        let mut reason = String::new();
        for attempt in 0..REOPENINGS {
            if attempt > 0 {
                std::thread::sleep(Duration::from_millis(500));
            }
            match self.opened_anew(writer) {
                Ok(log) => return Ok(log),
                Err(LogError::Full(text)) => reason = text,
                Err(LogError::Broken(text)) => return Err(text),
            }
        }
        Err(reason)
    }

    fn opened_anew(&self, writer: &Writer) -> Result<SledLog, LogError> {
        let log = SledLog::open(&self.home.directory.join("sled"), self.options.sled_cache_bytes, &self.identity().store)?;
        let first = writer.stream.checkpoint + 1;
        if log.newest()? < writer.stream.checkpoint {
            return crate::sled::broken("it ends before the checkpoint");
        }
        let spans = crate::survey::spans(&self.home.directory.join("segments"), self.identity());
        let spans = spans.map_err(|error| LogError::Broken(error.to_string()))?;
        let begins = |span: &crate::survey::Span| span.header.is_some_and(|header| header.predecessor_commit < first);
        let from = spans.iter().rposition(begins).unwrap_or(0);
        recovery::apply_from(&log, &self.home, &spans, from, first, writer.stream.end)?;
        Ok(log)
    }

    /// Waits until no append under way writes to the log, so that a reader sees all that was accepted before it asked.
    fn wait_for(&self, log: LogId) {
        let mut in_flight = lock(&self.in_flight);
        while in_flight.contains(&log) {
            in_flight = self.landed.wait(in_flight).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Where a body lies, from memory or from sled.
    pub(crate) fn place(&self, hash: BodyHash) -> Result<Option<BodyPlace>, ReadError> {
        if let Some(place) = self.places.get(hash) {
            return Ok(Some(place));
        }
        let place = self.ask(|log| log.place(hash))?;
        if let Some(place) = place {
            self.places.put(hash, place);
        }
        Ok(place)
    }

    /// Reads a body by `read`. A place that turns out wrong is asked of sled again: healing may have moved the body. What sled does not know is looked up
    /// in the segments' own indexes before it is called missing.
    fn read_body(
        &self,
        hash: BodyHash,
        read: impl Fn(&fs::File, &BodyPlace) -> Result<Bytes, ReadError>,
    ) -> Result<Bytes, ReadError> {
        let open = |place: &BodyPlace| {
            let file = self.shelf.file(hash, place).map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => ReadError::Damaged(format!("the file of body {hash} is missing")),
                _ => ReadError::Failed(error.to_string()),
            })?;
            read(&file, place)
        };
        let Some(place) = self.place(hash)? else {
            let place = self.search(hash)?.ok_or(ReadError::NoSuchBody)?;
            let bytes = open(&place)?;
            self.doubt(&format!("it lacks the place of body {hash}"));
            return Ok(bytes);
        };
        let first = open(&place);
        if !matches!(first, Err(ReadError::Damaged(_))) {
            return first;
        }
        self.shelf.forget();
        match self.ask(|log| log.place(hash))? {
            Some(place) => open(&place).inspect(|_| self.places.put(hash, place)),
            None => first,
        }
    }

    /// Looks for a body in the index of the newest segment, in the footers of all others and among the large ones.
    fn search(&self, hash: BodyHash) -> Result<Option<BodyPlace>, ReadError> {
        let newest = lock(&self.writer).stream.index.iter().find(|(known, _)| *known == hash).map(|(_, place)| *place);
        if newest.is_some() {
            return Ok(newest);
        }
        if let Ok(place) = large::place_of(&self.shelf, self.identity(), hash) {
            return Ok(Some(place));
        }
        let directory = self.home.directory.join("segments");
        crate::survey::search_footers(&directory, self.identity(), hash).map_err(|error| ReadError::Failed(error.to_string()))
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

    fn put_cache(&self, entries: Vec<(Vec<u8>, Bytes)>) -> Result<(), ReadError> {
        // It can be made again; what there is of room is for what cannot.
        if self.shared.check_room(0).is_err() {
            return Ok(());
        }
        let _one_at_a_time = lock(&self.shared.cache_writer);
        self.shared.ask(|sled| sled.put_cache(&entries))
    }

    fn spool(&self) -> Result<PathBuf, ReadError> {
        self.shared.spool.file().map_err(|error| ReadError::Failed(error.to_string()))
    }

    fn prepare(&self, body: Body) -> Result<Body, AppendError> {
        self.shared.prepare(body)
    }

    fn fatal(&self) -> Option<String> {
        self.shared.fatal()
    }

    fn close(&self) {
        self.stop_checkpoints();
        checkpoint::take(&self.shared);
    }
}

impl Shared {
    fn prepare(&self, body: Body) -> Result<Body, AppendError> {
        let prepared = if body.length > self.options.large_body_bytes {
            self.store_large(&body).map(|_| Body { source: BodySource::Stored, ..body })
        } else if let BodySource::File(_) = body.source {
            large::load(&body).map(|bytes| Body { source: BodySource::Memory(bytes), ..body })
        } else {
            return Ok(body);
        };
        if let BodySource::File(path) = &body.source {
            let _ = fs::remove_file(path);
        }
        prepared
    }

    /// Makes a body durable in a file of its own.
    pub(crate) fn store_large(&self, body: &Body) -> Result<BodyPlace, AppendError> {
        if body.source == BodySource::Stored {
            return large::place_of(&self.shelf, self.identity(), body.hash)
                .map_err(|_| AppendError::Failed(format!("body {} is not stored", body.hash)));
        }
        self.check_room(body.length)?;
        let scratch = self.spool.file().map_err(|error| large::refusal(&error))?;
        let _ = fs::remove_file(&scratch);
        large::store(&self.files, &self.shelf, &scratch, self.identity(), body)
    }

    /// Whether fewer bytes are free; no where the system does not tell.
    pub(crate) fn has_less_than(&self, bytes: u64) -> bool {
        crate::files::free_bytes(&self.home.directory).is_ok_and(|free| free < bytes)
    }

    /// Refuses what would leave less than the reserve.
    pub(crate) fn check_room(&self, bytes: u64) -> Result<(), AppendError> {
        let free = crate::files::free_bytes(&self.home.directory).map_err(|error| AppendError::Failed(error.to_string()))?;
        if free < self.options.reserve_bytes.saturating_add(bytes) { Err(AppendError::DiskFull) } else { Ok(()) }
    }
}
