//! What tests of actors share: one thread, a paused clock, a journal whose every append can be watched and refused.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use actix::{Actor, Addr, Context, Handler};
use bytes::Bytes;
use carillon_storage::{
    AppendError, Author, Body, BodyHash, CacheEntry, CommitList, CommitNumber, Committed, Head, Journal, LogId, MemoryJournal,
    Position, ReadError, Record, SpoolFile, Tell,
};

use crate::clock::Clock;
use crate::doorbell::{Doorbell, Rang, Watch};
use crate::given::NOW;
use crate::id::Ids;
use crate::limits::Limits;
use crate::placement::Placement;
use crate::server::Core;

/// Runs a test as the simulation runs: one thread, actix, tokio's paused clock.
pub(crate) fn simulate<T>(test: impl Future<Output = T>) -> T {
    let system = actix_rt::System::with_tokio_rt(|| {
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
    });
    system.block_on(test)
}

/// A server over `store`, on this thread, whose wall clock follows the paused one.
pub(crate) fn server(store: Arc<dyn Journal>) -> Core {
    server_at(store, Placement::one_thread())
}

/// The same, placed so.
pub(crate) fn server_at(store: Arc<dyn Journal>, placement: Placement) -> Core {
    let begun = tokio::time::Instant::now();
    let clock = Clock::new(move || NOW * 1_000_000 + begun.elapsed().as_micros() as u64);
    Core::start(store, placement, clock, Ids::new(NOW, 42), Limits::default())
}

/// Who asks in tests: the n-th command.
pub(crate) fn author(command: u32) -> Author {
    Author { session: 9, command, tag: format!("a{command}"), verb: "TEST".into() }
}

/// Hears bells, as a session does.
#[derive(Default)]
pub(crate) struct Listener {
    heard: Arc<Mutex<Vec<Rang>>>,
}

/// A listener's ears.
pub(crate) struct Ears {
    pub heard: Arc<Mutex<Vec<Rang>>>,
    pub address: Addr<Listener>,
}

impl Listener {
    pub(crate) fn begin() -> Ears {
        let listener = Self::default();
        Ears { heard: listener.heard.clone(), address: listener.start() }
    }
}

impl Ears {
    pub(crate) fn bell(&self, watch: Watch) -> Doorbell {
        Doorbell::new(self.address.clone().recipient(), watch)
    }

    /// What rang since the last time; everything that is on its way arrives first.
    pub(crate) async fn listen(&self) -> Vec<Rang> {
        settle().await;
        std::mem::take(&mut *self.heard.lock().unwrap())
    }
}

/// Lets everybody do what they can do without time passing.
pub(crate) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<Rang> for Listener {
    type Result = ();
    fn handle(&mut self, rang: Rang, _: &mut Self::Context) {
        self.heard.lock().unwrap().push(rang);
    }
}

type Judge = Box<dyn FnMut(&CommitList) -> Option<AppendError> + Send>;

/// A journal in memory whose appends are counted and judged.
#[derive(Default)]
pub(crate) struct Watched {
    inner: MemoryJournal,
    flushes: AtomicUsize,
    judge: Mutex<Option<Judge>>,
    fatal: Mutex<Option<String>>,
    tell: Mutex<Option<Tell>>,
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

    pub(crate) fn refuse_next(&self, error: AppendError) {
        let mut error = Some(error);
        self.judge(move |_| error.take());
    }

    /// The journal cannot go on; the next append finds out.
    pub(crate) fn break_down(&self, reason: &str) {
        *self.fatal.lock().unwrap() = Some(reason.to_owned());
    }

    /// Somebody found out that the journal cannot go on.
    pub(crate) fn tell(&self) {
        if let Some((reason, tell)) = self.fatal().zip(self.tell.lock().unwrap().as_ref()) {
            tell(&reason);
        }
    }
}

impl Journal for Watched {
    fn append(&self, lists: Vec<CommitList>) -> Vec<Result<Vec<Committed>, AppendError>> {
        self.flushes.fetch_add(1, Ordering::SeqCst);
        let one = |list: CommitList| {
            let refusal = self.judge.lock().unwrap().as_mut().and_then(|judge| judge(&list));
            refusal.map_or_else(|| self.inner.append(vec![list]).remove(0), Err)
        };
        let answers = lists.into_iter().map(one).collect();
        self.tell();
        answers
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
    fn put_cache(&self, entries: Vec<CacheEntry>) -> Result<(), ReadError> {
        self.inner.put_cache(entries)
    }
    fn spool(&self) -> Result<SpoolFile, AppendError> {
        self.inner.spool()
    }
    fn prepare(&self, bodies: Vec<Body>) -> Result<Vec<Body>, AppendError> {
        self.inner.prepare(bodies)
    }
    fn fatal(&self) -> Option<String> {
        self.fatal.lock().unwrap().clone()
    }
    fn on_fatal(&self, tell: Tell) {
        *self.tell.lock().unwrap() = Some(tell);
    }
    fn close(&self) {}
}
