//! A journal in memory: for tests, the simulation and `carillon try --memory`. Nothing of it outlives the process.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;

use crate::error::{AppendError, ReadError};
use crate::journal::{CommitList, Journal, LARGE_BODY_BYTES, Tell};
use crate::order::{OrderedList, order};
use crate::record::{Body, BodyHash, BodySource, CacheEntry, CommitNumber, Committed, Head, LogId, Position, Record};
use crate::spool::{Spool, SpoolFile};

#[derive(Debug, Default)]
struct Contents {
    logs: BTreeMap<LogId, Vec<Record>>,
    /// The records of commit n stand at n - 1.
    commits: Vec<Vec<(LogId, Position)>>,
    bodies: HashMap<BodyHash, Bytes>,
    cache: HashMap<Vec<u8>, Bytes>,
}

/// A [`Journal`] in memory.
#[derive(Debug, Default)]
pub struct MemoryJournal {
    contents: RwLock<Contents>,
    spool: OnceLock<Spool>,
}

impl MemoryJournal {
    /// An empty journal.
    pub fn new() -> Self {
        Self::default()
    }

    // No method leaves the contents half changed before something that may panic, so a poisoned lock is still good.
    fn look(&self) -> RwLockReadGuard<'_, Contents> {
        self.contents.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is large, or in a file, is stored at once.
    fn prepare_one(&self, body: &Body) -> Result<Body, AppendError> {
        if !self.look().bodies.contains_key(&body.hash) {
            let is_small = body.length <= LARGE_BODY_BYTES && matches!(body.source, BodySource::Memory(_));
            let loaded = load(body)?;
            if is_small {
                return Ok(body.clone());
            }
            self.change().bodies.insert(body.hash, loaded);
        }
        Ok(Body { source: BodySource::Stored, ..body.clone() })
    }

    fn change(&self) -> RwLockWriteGuard<'_, Contents> {
        self.contents.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn head(&self, log: LogId) -> Head {
        let newest = self.logs.get(&log).and_then(|records| records.last());
        newest.map(|record| Head { position: record.position, chain: record.chain }).unwrap_or_default()
    }

    fn record(&self, log: LogId, position: Position) -> Option<&Record> {
        let index = usize::try_from(position.checked_sub(1)?).ok()?;
        self.logs.get(&log)?.get(index)
    }

    fn append_list(&mut self, list: CommitList) -> Result<Vec<Committed>, AppendError> {
        let first = self.commits.len() as CommitNumber + 1;
        let OrderedList { commits, .. } = order(list, first, &mut |log| Ok(self.head(log)))?;
        let (mut bodies, mut beside) = (Vec::new(), Vec::new());
        for body in commits.iter().flat_map(|commit| &commit.bodies) {
            if !self.bodies.contains_key(&body.hash) {
                bodies.push((body.hash, load(body)?));
            }
            beside.extend(body.beside.clone());
        }
        self.bodies.extend(bodies);
        self.cache.extend(beside);
        let mut answers = Vec::with_capacity(commits.len());
        for commit in commits {
            self.commits.push(commit.records.iter().map(|record| (record.log, record.position)).collect());
            for record in commit.records {
                self.logs.entry(record.log).or_default().push(record);
            }
            answers.push(commit.committed);
        }
        Ok(answers)
    }
}

fn load(body: &Body) -> Result<Bytes, AppendError> {
    let bytes = match &body.source {
        BodySource::Memory(bytes) => bytes.clone(),
        BodySource::File(file) => Bytes::from(fs::read(file.path()).map_err(|error| AppendError::Failed(error.to_string()))?),
        BodySource::Stored => return Err(AppendError::Failed(format!("body {} is not stored", body.hash))),
    };
    if bytes.len() as u64 != body.length || BodyHash::of(&bytes) != body.hash {
        return Err(AppendError::Failed(format!("the bytes of body {} are not what their name says", body.hash)));
    }
    Ok(bytes)
}

impl Journal for MemoryJournal {
    fn append(&self, lists: Vec<CommitList>) -> Vec<Result<Vec<Committed>, AppendError>> {
        let mut contents = self.change();
        lists.into_iter().map(|list| contents.append_list(list)).collect()
    }

    fn read(&self, log: LogId, from: Position, limit: usize) -> Result<Vec<Record>, ReadError> {
        let contents = self.look();
        let skip = usize::try_from(from.saturating_sub(1)).unwrap_or(usize::MAX);
        Ok(contents.logs.get(&log).map(|records| records.iter().skip(skip).take(limit).cloned().collect()).unwrap_or_default())
    }

    fn head(&self, log: LogId) -> Result<Head, ReadError> {
        Ok(self.look().head(log))
    }

    fn logs(&self, kind: u8) -> Result<Vec<LogId>, ReadError> {
        let (first, last) = (LogId { kind, id: 0 }, LogId { kind, id: u64::MAX });
        Ok(self.look().logs.range(first..=last).map(|(log, _)| *log).collect())
    }

    fn commits(&self, from: CommitNumber, limit: usize) -> Result<Vec<Record>, ReadError> {
        let contents = self.look();
        let skip = usize::try_from(from.saturating_sub(1)).unwrap_or(usize::MAX);
        let places = contents.commits.iter().skip(skip).take(limit).flatten();
        Ok(places.filter_map(|(log, position)| contents.record(*log, *position)).cloned().collect())
    }

    fn newest_commit(&self) -> CommitNumber {
        self.look().commits.len() as CommitNumber
    }

    fn body(&self, hash: BodyHash) -> Result<Bytes, ReadError> {
        self.look().bodies.get(&hash).cloned().ok_or(ReadError::NoSuchBody)
    }

    fn body_range(&self, hash: BodyHash, offset: u64, length: u64) -> Result<Bytes, ReadError> {
        let body = self.body(hash)?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(body.len());
        let end = start.saturating_add(usize::try_from(length).unwrap_or(usize::MAX)).min(body.len());
        Ok(body.slice(start..end))
    }

    fn cache(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        Ok(self.look().cache.get(key).cloned())
    }

    fn put_cache(&self, entries: Vec<CacheEntry>) -> Result<(), ReadError> {
        let mut contents = self.change();
        for (key, value) in entries {
            if value.is_empty() {
                contents.cache.remove(&key);
            } else {
                contents.cache.insert(key, value);
            }
        }
        Ok(())
    }

    fn spool(&self) -> Result<SpoolFile, AppendError> {
        let spool = match self.spool.get() {
            Some(spool) => spool,
            None => {
                let made = Spool::temporary().map_err(|error| AppendError::of(&error))?;
                self.spool.get_or_init(|| made)
            }
        };
        spool.file()
    }

    fn prepare(&self, bodies: Vec<Body>) -> Result<Vec<Body>, AppendError> {
        bodies.iter().map(|body| self.prepare_one(body)).collect()
    }

    fn fatal(&self) -> Option<String> {
        None
    }

    fn on_fatal(&self, _: Tell) {}

    fn close(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract;

    #[test]
    fn keeps_the_contract() {
        contract::check(&MemoryJournal::new());
    }

    #[test]
    fn spool_files_are_gone_with_the_journal() {
        let journal = MemoryJournal::new();
        let file = journal.spool().unwrap();
        assert!(file.path().exists());
        drop(journal);
        assert!(!file.path().exists());
    }
}
