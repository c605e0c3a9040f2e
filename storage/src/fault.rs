//! Faults on purpose: a plan that makes the n-th operation on a file fail, and a journal that fails, tears or stalls at its n-th append.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;

use crate::error::{AppendError, ReadError};
use crate::fate::Fate;
use crate::journal::{CommitList, Journal, Tell};
use crate::record::{Body, BodyHash, CacheEntry, CommitNumber, Committed, Head, LogId, Position, Record};
use crate::spool::SpoolFile;

/// What the store does to its files. What sled does to its own is not among them: `Apply`, `Ask` and `Flush` stand for calls of sled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Making a file.
    Create,
    /// Writing bytes.
    Write,
    /// fdatasync of a file.
    Sync,
    /// Cutting a file.
    Truncate,
    /// Renaming a file.
    Rename,
    /// Removing a file, or a directory with all that is in it.
    Remove,
    /// fsync of a directory.
    SyncDirectory,
    /// fsync of all of sled's files.
    SyncTree,
    /// A batch that goes to sled.
    Apply,
    /// A question to sled.
    Ask,
    /// sled's flush.
    Flush,
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// EIO.
    InputOutput,
    /// ENOSPC.
    Full,
}

impl Failure {
    fn error(self) -> io::Error {
        let number = match self {
            Self::InputOutput => rustix::io::Errno::IO,
            Self::Full => rustix::io::Errno::NOSPC,
        };
        io::Error::from_raw_os_error(number.raw_os_error())
    }
}

/// One failure to come.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Which operation.
    pub operation: Operation,
    /// The n-th of its kind, counted from 1 over the life of the plan.
    pub nth: u64,
    /// How.
    pub failure: Failure,
    /// Whether half of the bytes are written first.
    pub is_torn: bool,
    /// Whether every later operation of any kind fails too.
    pub is_lasting: bool,
}

#[derive(Debug, Default)]
struct Plan {
    /// All operations, in order.
    done: Vec<Operation>,
    fault: Option<Fault>,
    is_broken: bool,
}

impl Plan {
    fn count(&self, operation: Operation) -> u64 {
        self.done.iter().filter(|done| **done == operation).count() as u64
    }
}

/// Who sees each operation before it is done.
type Watcher = Box<dyn Fn(Operation) + Send + Sync>;

/// Notes the operations of a store and makes one of them fail. The same plan may be given to several stores, one after another.
#[derive(Default)]
pub struct FaultPlan {
    plan: Mutex<Plan>,
    watcher: OnceLock<Watcher>,
}

impl std::fmt::Debug for FaultPlan {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("FaultPlan").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl FaultPlan {
    /// A plan that only counts.
    pub fn new() -> Self {
        Self::default()
    }

    /// A plan with a fault.
    pub fn with(fault: Fault) -> Self {
        let plan = Self::default();
        plan.arm(fault);
        plan
    }

    fn lock(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a fault in the place of the one before.
    pub fn arm(&self, fault: Fault) {
        self.lock().fault = Some(fault);
    }

    /// Takes the fault away; what failed lastingly works again.
    pub fn disarm(&self) {
        let mut plan = self.lock();
        plan.fault = None;
        plan.is_broken = false;
    }

    /// From now on `watcher` is called with each operation, on the thread that is about to do it. Only the first one is.
    pub fn watch(&self, watcher: impl Fn(Operation) + Send + Sync + 'static) {
        let _ = self.watcher.set(Box::new(watcher));
    }

    /// How often an operation was asked for.
    pub fn count(&self, operation: Operation) -> u64 {
        self.lock().count(operation)
    }

    /// The operations that were asked for since the plan was made, in order.
    pub fn operations(&self) -> Vec<Operation> {
        self.lock().done.clone()
    }

    /// Counts an operation; the error with which it must fail, and whether half of it is done first.
    pub(crate) fn strike(&self, operation: Operation) -> Option<(io::Error, bool)> {
        self.watcher.get().inspect(|watcher| watcher(operation));
        let mut plan = self.lock();
        plan.done.push(operation);
        let fault = plan.fault?;
        let count = plan.count(operation);
        if plan.is_broken {
            return Some((fault.failure.error(), false));
        }
        if fault.operation != operation || fault.nth != count {
            return None;
        }
        plan.is_broken = fault.is_lasting;
        Some((fault.failure.error(), fault.is_torn))
    }
}

/// What a [`FaultJournal`] does at the chosen append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendFault {
    /// Every list is refused; nothing of it exists.
    Fail,
    /// As if the disk was full.
    Full,
    /// Everything becomes durable, but nobody is told: the server dies between the two.
    Tear,
    /// Nothing becomes durable and nobody knows: the server dies before.
    Vanish,
    /// The append waits until [`FaultJournal::release`].
    Stall,
}

/// A journal over another one, with one fault. After `Tear` and `Vanish` it refuses appends and [`Journal::fatal`] says why; the next server starts
/// on the inner journal.
#[derive(Debug)]
pub struct FaultJournal<J> {
    inner: J,
    nth: u64,
    fault: AppendFault,
    appends: AtomicU64,
    fate: Fate,
    gate: (Mutex<bool>, Condvar),
}

impl<J: Journal> FaultJournal<J> {
    /// `inner`, whose `nth` append (from 1; 0 for none) has the fault.
    pub fn new(inner: J, nth: u64, fault: AppendFault) -> Self {
        let gate = (Mutex::new(false), Condvar::new());
        Self { inner, nth, fault, appends: AtomicU64::new(0), fate: Fate::default(), gate }
    }

    /// The journal inside.
    pub fn inner(&self) -> &J {
        &self.inner
    }

    /// How many appends there were.
    pub fn appends(&self) -> u64 {
        self.appends.load(Ordering::SeqCst)
    }

    /// Lets a stalled append go on, or one that is still to come.
    pub fn release(&self) {
        *self.gate.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.gate.1.notify_all();
    }

    fn wait_for_release(&self) {
        let mut is_open = self.gate.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !*is_open {
            is_open = self.gate.1.wait(is_open).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn die(&self, lists: usize) -> Vec<Result<Vec<Committed>, AppendError>> {
        let reason = format!("fault on purpose at append {}", self.nth);
        self.fate.seal(&reason);
        vec![Err(AppendError::Unknown(reason)); lists]
    }
}

impl<J: Journal> Journal for FaultJournal<J> {
    fn append(&self, lists: Vec<CommitList>) -> Vec<Result<Vec<Committed>, AppendError>> {
        if let Some(reason) = self.fatal() {
            return vec![Err(AppendError::Failed(reason)); lists.len()];
        }
        let is_struck = self.appends.fetch_add(1, Ordering::SeqCst) + 1 == self.nth;
        if !is_struck {
            return self.inner.append(lists);
        }
        let count = lists.len();
        match self.fault {
            AppendFault::Fail => vec![Err(AppendError::Failed("fault on purpose".into())); count],
            AppendFault::Full => vec![Err(AppendError::DiskFull); count],
            AppendFault::Vanish => self.die(count),
            AppendFault::Tear => {
                // The answers are what gets lost.
                drop(self.inner.append(lists));
                self.die(count)
            }
            AppendFault::Stall => {
                self.wait_for_release();
                self.inner.append(lists)
            }
        }
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
        self.fate.reason().or_else(|| self.inner.fatal())
    }

    fn on_fatal(&self, tell: Tell) {
        self.inner.on_fatal(Arc::clone(&tell));
        self.fate.tell(tell);
    }

    fn close(&self) {
        self.inner.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{self, commit, draft, log};
    use crate::memory::MemoryJournal;

    #[test]
    fn without_a_fault_the_contract_holds() {
        contract::check(&FaultJournal::new(MemoryJournal::new(), 0, AppendFault::Fail));
    }

    #[test]
    fn each_fault_does_what_it_says() {
        let one = |expected| vec![vec![commit(vec![draft(1, expected, b"x")], &[])]];
        for (fault, position) in
            [(AppendFault::Fail, 1), (AppendFault::Full, 1), (AppendFault::Tear, 2), (AppendFault::Vanish, 1)]
        {
            let journal = FaultJournal::new(MemoryJournal::new(), 2, fault);
            assert!(journal.append(one(0))[0].is_ok());
            let answer = journal.append(one(1)).remove(0);
            assert!(answer.is_err());
            assert_eq!(journal.inner().head(log(1)).unwrap().position, position);
            let is_dead = matches!(fault, AppendFault::Tear | AppendFault::Vanish);
            assert_eq!((journal.fatal().is_some(), matches!(answer, Err(AppendError::Unknown(_)))), (is_dead, is_dead));
            assert_eq!(journal.append(one(1))[0].is_ok(), !is_dead);
        }
    }

    #[test]
    fn a_stalled_append_goes_on_when_released() {
        let journal = FaultJournal::new(MemoryJournal::new(), 1, AppendFault::Stall);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| journal.append(vec![vec![commit(vec![draft(1, 0, b"x")], &[])]]));
            assert_eq!(journal.newest_commit(), 0);
            journal.release();
            assert!(waiting.join().unwrap()[0].is_ok());
        });
        assert_eq!(journal.newest_commit(), 1);
    }
}
