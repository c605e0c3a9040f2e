//! The log that is read: records, heads, the commits' index, body places and caches in one sled tree, told apart by the first byte of the key.
//!
//! Everything in it but the caches can be made again from the segments. sled may err or panic on damage: every call is guarded.

use std::collections::HashMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use crate::fault::Operation;
use crate::files::Files;
use crate::format::{BodyPlace, Taker};
use crate::record::{BodyHash, CacheEntry, Chain, CommitNumber, Head, LogId, Position, Record};
use crate::snapshot;

const NEWEST: &[u8] = b"Mnewest";
const STORE: &[u8] = b"Mstore";
/// How often, and how long in between, a sled is waited for that is being dropped.
const LOCK_TRIES: u32 = 1000;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// What is wrong with sled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LogError {
    /// It met a full disk, and answers so until it is opened anew.
    Full(String),
    /// It failed, panicked, or what it holds contradicts itself: it must be made again.
    Broken(String),
}

impl std::fmt::Display for LogError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Full(text) | Self::Broken(text) => formatter.write_str(text),
        }
    }
}

pub(crate) fn broken<T>(text: impl Into<String>) -> Result<T, LogError> {
    Err(LogError::Broken(text.into()))
}

fn guard<T>(call: impl FnOnce() -> ::sled::Result<T>) -> Result<T, LogError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(::sled::Error::Io(error))) if error.kind() == std::io::ErrorKind::StorageFull => {
            Err(LogError::Full(error.to_string()))
        }
        Ok(Err(error)) => broken(format!("sled: {error}")),
        Err(_) => broken("sled panicked"),
    }
}

/// Threads of a sled that was just dropped may still hold its lock. Nobody else can: the data directory is ours.
fn open_patiently(config: &::sled::Config) -> ::sled::Result<::sled::Db> {
    let mut opened = config.open();
    for _ in 0..LOCK_TRIES {
        match &opened {
            Err(::sled::Error::Io(error)) if error.to_string().contains("could not acquire lock") => {
                std::thread::sleep(LOCK_PAUSE);
                opened = config.open();
            }
            _ => break,
        }
    }
    opened
}

fn log_key(prefix: u8, log: LogId) -> Vec<u8> {
    let mut key = Vec::with_capacity(18);
    key.push(prefix);
    key.push(log.kind);
    key.extend_from_slice(&log.id.to_be_bytes());
    key
}

fn record_key(log: LogId, position: Position) -> Vec<u8> {
    let mut key = log_key(b'R', log);
    key.extend_from_slice(&position.to_be_bytes());
    key
}

fn commit_key(commit: CommitNumber) -> Vec<u8> {
    [b"C".as_slice(), &commit.to_be_bytes()].concat()
}

fn body_key(hash: BodyHash) -> Vec<u8> {
    [b"B".as_slice(), &hash.0].concat()
}

fn cache_key(key: &[u8]) -> Vec<u8> {
    [b"K", key].concat()
}

fn parse_log(key: &[u8]) -> Option<LogId> {
    let mut taker = Taker(key);
    let [_prefix, kind] = taker.array()?;
    Some(LogId { kind, id: u64::from_be_bytes(taker.array()?) })
}

fn parse_head(value: &[u8]) -> Option<Head> {
    let mut taker = Taker(value);
    Some(Head { position: taker.u64()?, chain: Chain(taker.array()?) })
}

fn parse_places(value: &[u8]) -> Option<Vec<(LogId, Position)>> {
    let mut taker = Taker(value);
    let mut places = Vec::with_capacity(value.len() / 17);
    while !taker.0.is_empty() {
        let [kind] = taker.array()?;
        places.push((LogId { kind, id: taker.u64()? }, taker.u64()?));
    }
    Some(places)
}

/// A change of sled that is visible whole or not at all.
#[derive(Clone, Default)]
pub(crate) struct Change {
    batch: ::sled::Batch,
}

impl Change {
    /// A record with its bytes.
    pub(crate) fn record(&mut self, record: &Record, encoded: &[u8]) {
        snapshot::put(&mut self.batch, &record_key(record.log, record.position), encoded);
    }

    pub(crate) fn head(&mut self, log: LogId, head: Head) {
        self.batch.insert(log_key(b'H', log), [head.position.to_le_bytes().as_slice(), &head.chain.0].concat());
    }

    /// What a commit wrote.
    pub(crate) fn commit(&mut self, commit: CommitNumber, places: &[(LogId, Position)]) {
        let mut value = Vec::with_capacity(places.len() * 17);
        for (log, position) in places {
            value.push(log.kind);
            value.extend_from_slice(&log.id.to_le_bytes());
            value.extend_from_slice(&position.to_le_bytes());
        }
        self.batch.insert(commit_key(commit), value);
    }

    pub(crate) fn place(&mut self, hash: BodyHash, place: &BodyPlace) {
        self.batch.insert(body_key(hash), place.encode());
    }

    /// A cached value that stands beside a body: always the same one, so no pieces of a longer one have to go.
    pub(crate) fn cached(&mut self, key: &[u8], value: &[u8]) {
        snapshot::put(&mut self.batch, &cache_key(key), value);
    }

    #[cfg(test)]
    pub(crate) fn no_place(&mut self, hash: BodyHash) {
        self.batch.remove(body_key(hash));
    }

    #[cfg(test)]
    pub(crate) fn no_commit(&mut self, commit: CommitNumber) {
        self.batch.remove(commit_key(commit));
    }

    pub(crate) fn newest(&mut self, commit: CommitNumber) {
        self.batch.insert(NEWEST, commit.to_le_bytes().as_slice());
    }
}

impl From<std::io::Error> for LogError {
    fn from(error: std::io::Error) -> Self {
        let text = error.to_string();
        if error.kind() == std::io::ErrorKind::StorageFull { Self::Full(text) } else { Self::Broken(text) }
    }
}

/// How a sled is opened.
#[derive(Clone, Copy)]
pub(crate) struct SledOptions<'a> {
    pub(crate) cache_bytes: u64,
    /// The store that it belongs to.
    pub(crate) store: &'a [u8; 16],
    /// For faults on purpose.
    pub(crate) files: &'a Files,
}

/// sled, opened.
pub(crate) struct SledLog {
    db: ::sled::Db,
    files: Files,
}

impl SledLog {
    /// Opens in a thread of its own: a damaged sled panics. Nobody else may read what is in it.
    pub(crate) fn open(path: &Path, options: &SledOptions<'_>) -> Result<Self, LogError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let config = ::sled::Config::new().path(path).cache_capacity(options.cache_bytes).flush_every_ms(None);
        let opened = std::thread::Builder::new().name("sled-open".into()).spawn(move || guard(|| open_patiently(&config)));
        let log = match opened.map(std::thread::JoinHandle::join) {
            Ok(Ok(db)) => Self { db: db?, files: options.files.clone() },
            Ok(Err(_)) => return broken("sled panicked while it was opened"),
            Err(error) => return broken(format!("no thread: {error}")),
        };
        match log.get(STORE)? {
            Some(found) if found.as_ref() == options.store => Ok(log),
            Some(_) => broken("it belongs to another store"),
            None if log.newest()? != 0 => broken("it does not say whose it is"),
            None => {
                guard(|| log.db.insert(STORE, options.store.as_slice()))?;
                Ok(log)
            }
        }
    }

    fn get(&self, key: &[u8]) -> Result<Option<::sled::IVec>, LogError> {
        self.files.check(Operation::Ask)?;
        guard(|| self.db.get(key))
    }

    pub(crate) fn apply(&self, change: Change) -> Result<(), LogError> {
        self.files.check(Operation::Apply)?;
        guard(|| self.db.apply_batch(change.batch))
    }

    /// Hands everything to the operating system; durable only when the files are synced.
    pub(crate) fn flush(&self) -> Result<(), LogError> {
        self.files.check(Operation::Flush)?;
        guard(|| self.db.flush()).map(|_| ())
    }

    /// The newest commit that was applied.
    pub(crate) fn newest(&self) -> Result<CommitNumber, LogError> {
        match self.get(NEWEST)? {
            None => Ok(0),
            Some(value) => Taker(&value).u64().map_or_else(|| broken("the newest commit is no number"), Ok),
        }
    }

    pub(crate) fn head(&self, log: LogId) -> Result<Head, LogError> {
        match self.get(&log_key(b'H', log))? {
            None => Ok(Head::default()),
            Some(value) => parse_head(&value).map_or_else(|| broken(format!("the head of log {}/{:016x}", log.kind, log.id)), Ok),
        }
    }

    fn decode(&self, key: &[u8], value: &::sled::IVec) -> Result<Record, LogError> {
        let bytes = guard(|| snapshot::get(&self.db, key, value))?;
        let Some(bytes) = bytes else { return broken("a record without its pieces") };
        match crate::codec::decode::<Record>(&bytes) {
            Ok(record) if record_key(record.log, record.position) == key => Ok(record),
            Ok(record) => broken(format!("a record of log {}/{:016x} at another place", record.log.kind, record.log.id)),
            Err(error) => broken(format!("a record that is none: {error}")),
        }
    }

    pub(crate) fn record(&self, log: LogId, position: Position) -> Result<Option<Record>, LogError> {
        let key = record_key(log, position);
        self.get(&key)?.map(|value| self.decode(&key, &value)).transpose()
    }

    /// The chain at a position; all zero before the first.
    pub(crate) fn chain(&self, log: LogId, position: Position) -> Result<Option<Chain>, LogError> {
        if position == 0 { Ok(Some(Chain::default())) } else { Ok(self.record(log, position)?.map(|record| record.chain)) }
    }

    /// Records of a log, checked: no gap, no broken chain, none missing before the head.
    pub(crate) fn records(&self, log: LogId, from: Position, limit: usize) -> Result<Vec<Record>, LogError> {
        let from = from.max(1);
        // The head first: what an append adds meanwhile may be there too.
        let head = self.head(log)?;
        if from > head.position || limit == 0 {
            return Ok(Vec::new());
        }
        let name = || format!("log {}/{:016x}", log.kind, log.id);
        let Some(mut chain) = self.chain(log, from - 1)? else { return broken(format!("{} has no record {}", name(), from - 1)) };
        let count = usize::try_from(head.position - from).unwrap_or(usize::MAX).saturating_add(1).min(limit);
        let mut records = Vec::with_capacity(count.min(4096));
        let mut range = self.db.range(record_key(log, from)..=record_key(log, head.position));
        for position in (from..).take(count) {
            let Some((key, value)) = guard(|| range.next().transpose())? else {
                return broken(format!("{} has no record {position}", name()));
            };
            let record = self.decode(&key, &value)?;
            if record.position != position || record.chain != record.chain_after(chain) {
                return broken(format!("{} is broken at record {position}", name()));
            }
            chain = record.chain;
            records.push(record);
        }
        let is_at_head = records.last().is_some_and(|record| record.position == head.position);
        if is_at_head && chain != head.chain { broken(format!("{} does not end at its head", name())) } else { Ok(records) }
    }

    pub(crate) fn logs(&self, prefix: &[u8]) -> Result<Vec<(LogId, Head)>, LogError> {
        let mut range = self.db.scan_prefix([b"H", prefix].concat());
        let mut logs = Vec::new();
        while let Some((key, value)) = guard(|| range.next().transpose())? {
            match parse_log(&key).zip(parse_head(&value)) {
                Some(found) => logs.push(found),
                None => return broken("a head that is none"),
            }
        }
        Ok(logs)
    }

    /// What a commit wrote; nothing where sled does not have it.
    pub(crate) fn commit(&self, commit: CommitNumber) -> Result<Option<Vec<(LogId, Position)>>, LogError> {
        let Some(value) = self.get(&commit_key(commit))? else { return Ok(None) };
        parse_places(&value).map_or_else(|| broken(format!("the index of commit {commit}")), |places| Ok(Some(places)))
    }

    /// The records of a commit, checked against their predecessors; nothing where sled does not have it whole.
    pub(crate) fn commit_records(&self, commit: CommitNumber) -> Result<Option<Vec<Record>>, LogError> {
        let Some(places) = self.commit(commit)? else { return Ok(None) };
        let mut records = Vec::with_capacity(places.len());
        for (log, position) in places {
            let chain = self.chain(log, position.saturating_sub(1))?;
            match self.record(log, position)?.zip(chain) {
                Some((record, chain)) if record.commit == commit && record.chain == record.chain_after(chain) => {
                    records.push(record)
                }
                _ => return Ok(None),
            }
        }
        Ok(Some(records))
    }

    pub(crate) fn place(&self, hash: BodyHash) -> Result<Option<BodyPlace>, LogError> {
        let Some(value) = self.get(&body_key(hash))? else { return Ok(None) };
        BodyPlace::decode(&value).map_or_else(|| broken(format!("the place of body {hash}")), |place| Ok(Some(place)))
    }

    /// Shows the place of every body that sled knows.
    pub(crate) fn places(&self, visit: &mut dyn FnMut(BodyHash, &BodyPlace)) -> Result<(), LogError> {
        let mut range = self.db.scan_prefix(b"B");
        while let Some((key, value)) = guard(|| range.next().transpose())? {
            let hash = key.get(1..).and_then(|rest| Taker(rest).array()).map(BodyHash);
            match hash.zip(BodyPlace::decode(&value)) {
                Some((hash, place)) => visit(hash, &place),
                None => return broken("a body's place that is none"),
            }
        }
        Ok(())
    }

    pub(crate) fn cache(&self, key: &[u8]) -> Result<Option<Bytes>, LogError> {
        let key = cache_key(key);
        match self.get(&key)? {
            None => Ok(None),
            Some(head) => guard(|| snapshot::get(&self.db, &key, &head)),
        }
    }

    /// Puts cached values; one caller at a time.
    pub(crate) fn put_cache(&self, entries: &[CacheEntry]) -> Result<(), LogError> {
        let mut batch = ::sled::Batch::default();
        for (key, value) in entries {
            let key = cache_key(key);
            let older = self.get(&key)?.unwrap_or_default();
            if value.is_empty() {
                snapshot::remove_pieces(&mut batch, &key, &older, 0);
                batch.remove(key);
            } else {
                snapshot::remove_pieces(&mut batch, &key, &older, snapshot::piece_count(value.len()));
                snapshot::put(&mut batch, &key, value);
            }
        }
        self.apply(Change { batch })
    }

    /// Looks for gaps: every head has its record; of the newest `limit` commits each is there with its records, each of them on its predecessor.
    pub(crate) fn check(&self, limit: u64) -> Result<(), LogError> {
        // Before the heads: what is appended meanwhile is not looked at.
        let newest = self.newest()?;
        let heads: HashMap<LogId, Head> = self.logs(&[])?.into_iter().collect();
        for (log, head) in &heads {
            if self.chain(*log, head.position)? != Some(head.chain) {
                return broken(format!("log {}/{:016x} does not end at its head", log.kind, log.id));
            }
        }
        let mut met: HashMap<LogId, Head> = HashMap::new();
        for commit in newest.saturating_sub(limit) + 1..=newest {
            let Some(places) = self.commit(commit)? else { return broken(format!("commit {commit} is missing")) };
            for (log, position) in places {
                let before = position.saturating_sub(1);
                let chain = match met.get(&log).filter(|met| met.position == before) {
                    Some(met) => Some(met.chain),
                    None => self.chain(log, before)?,
                };
                match self.record(log, position)?.zip(chain) {
                    Some((record, chain)) if record.commit == commit && record.chain == record.chain_after(chain) => {
                        met.insert(log, Head { position, chain: record.chain });
                    }
                    _ => return broken(format!("commit {commit} is not whole")),
                }
                if heads.get(&log).is_none_or(|head| head.position < position) {
                    return broken(format!("log {}/{:016x} goes on behind its head", log.kind, log.id));
                }
            }
        }
        Ok(())
    }
}
