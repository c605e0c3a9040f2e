//! What tests of actors share: one thread, a paused clock, a journal whose every append can be watched and refused.

use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use carillon_storage::{
    AppendError, Body, BodyHash, CommitList, CommitNumber, Committed, Head, Journal, LogId, MemoryJournal, Position, ReadError,
    Record,
};

/// Runs a test as the simulation runs: one thread, actix, tokio's paused clock.
pub(crate) fn simulate<T>(test: impl Future<Output = T>) -> T {
    let system = actix_rt::System::with_tokio_rt(|| {
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
    });
    system.block_on(test)
}

type Judge = Box<dyn FnMut(&CommitList) -> Option<AppendError> + Send>;

/// A journal in memory whose appends are counted and judged.
#[derive(Default)]
pub(crate) struct Watched {
    inner: MemoryJournal,
    flushes: AtomicUsize,
    judge: Mutex<Option<Judge>>,
    fatal: Mutex<Option<String>>,
}

impl Watched {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn flushes(&self) -> usize {
        self.flushes.load(Ordering::SeqCst)
    }

    /// From now on each list is shown to `judge`, who refuses it by an error.
    pub(crate) fn judge(&self, judge: impl FnMut(&CommitList) -> Option<AppendError> + Send + 'static) {
        *self.judge.lock().unwrap() = Some(Box::new(judge));
    }

    pub(crate) fn break_down(&self, reason: &str) {
        *self.fatal.lock().unwrap() = Some(reason.to_owned());
    }
}

impl Journal for Watched {
    fn append(&self, lists: Vec<CommitList>) -> Vec<Result<Vec<Committed>, AppendError>> {
        self.flushes.fetch_add(1, Ordering::SeqCst);
        let one = |list: CommitList| {
            let refusal = self.judge.lock().unwrap().as_mut().and_then(|judge| judge(&list));
            refusal.map_or_else(|| self.inner.append(vec![list]).remove(0), Err)
        };
        lists.into_iter().map(one).collect()
    }
    fn read(&self, log: LogId, from: Position, limit: usize) -> Result<Vec<Record>, ReadError> {
        self.inner.read(log, from, limit)
    }
    fn head(&self, log: LogId) -> Result<Head, ReadError> {
        self.inner.head(log)
    }
    fn logs(&self, kind: u8) -> Result<Vec<LogId>, ReadError> {
        self.inner.logs(kind)
    }
    fn commits(&self, from: CommitNumber, limit: usize) -> Result<Vec<Record>, ReadError> {
        self.inner.commits(from, limit)
    }
    fn newest_commit(&self) -> CommitNumber {
        self.inner.newest_commit()
    }
    fn body(&self, hash: BodyHash) -> Result<Bytes, ReadError> {
        self.inner.body(hash)
    }
    fn body_range(&self, hash: BodyHash, offset: u64, length: u64) -> Result<Bytes, ReadError> {
        self.inner.body_range(hash, offset, length)
    }
    fn cache(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        self.inner.cache(key)
    }
    fn put_cache(&self, entries: Vec<(Vec<u8>, Bytes)>) -> Result<(), ReadError> {
        self.inner.put_cache(entries)
    }
    fn spool(&self) -> Result<PathBuf, ReadError> {
        self.inner.spool()
    }
    fn prepare(&self, body: Body) -> Result<Body, AppendError> {
        self.inner.prepare(body)
    }
    fn fatal(&self) -> Option<String> {
        self.fatal.lock().unwrap().clone()
    }
    fn close(&self) {}
}
