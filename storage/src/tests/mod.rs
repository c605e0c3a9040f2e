//! Tests of the store as a whole.

mod bodies;
mod damage;
mod faults;
mod open;
mod order;
mod properties;
mod starts;
mod verify;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use crate::contract::{commit, draft, log};
use crate::record::{BodyHash, Commit, CommitNumber, LogId, Record};
use crate::{Journal, OpenReport, Store, StoreOptions};

pub(crate) fn options() -> StoreOptions {
    StoreOptions {
        reserve_bytes: 0,
        segment_bytes: 16 * 1024,
        // No checkpoint but by `close`, so that each test decides.
        checkpoint_interval: Duration::from_secs(3600),
        sled_cache_bytes: 4 * 1024 * 1024,
        large_body_bytes: 64 * 1024,
        ..StoreOptions::default()
    }
}

pub(crate) fn open(directory: &Path) -> (Store, OpenReport) {
    Store::open(directory, options()).unwrap()
}

/// A new directory, in memory where there is such a thing: what these tests sync no power cut takes away.
pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// The directory as a crash now would leave it: what the kernel has, without what sled writes when it is dropped.
pub(crate) fn crash(directory: &Path) -> tempfile::TempDir {
    let copy = scratch();
    copy_tree(directory, copy.path());
    copy
}

pub(crate) fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The n-th commit of a history: writes to one or two of three logs, with a body of its own.
pub(crate) fn step(model: &Model, number: u64) -> Commit {
    let body = body_of(number);
    let first = number % 3;
    let mut records =
        vec![draft(first, model.position(log(first)), format!("event {number} {}", "x".repeat(number as usize % 50)).as_bytes())];
    if number.is_multiple_of(4) {
        let second = (number + 1) % 3;
        records.push(draft(second, model.position(log(second)), b"moved"));
    }
    commit(records, &[&body])
}

pub(crate) fn body_of(number: u64) -> Vec<u8> {
    format!("Subject: message {number}\r\n\r\n{}", "text ".repeat((number * 37 % 400) as usize)).into_bytes()
}

/// Bytes that do not compress.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// What must be there.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Model {
    pub(crate) logs: BTreeMap<LogId, Vec<(CommitNumber, Bytes)>>,
    pub(crate) bodies: Vec<Vec<u8>>,
}

impl Model {
    pub(crate) fn position(&self, log: LogId) -> u64 {
        self.logs.get(&log).map_or(0, |records| records.len() as u64)
    }

    pub(crate) fn accept(&mut self, number: CommitNumber, commit: &Commit) {
        for record in &commit.records {
            self.logs.entry(record.log).or_default().push((number, record.events.clone()));
        }
        for body in &commit.bodies {
            if let crate::BodySource::Memory(bytes) = &body.source {
                self.bodies.push(bytes.to_vec());
            }
        }
    }

    /// Appends step `number` and notes it if it was accepted.
    pub(crate) fn append(&mut self, store: &dyn Journal, number: u64) -> Result<(), crate::AppendError> {
        let commit = step(self, number);
        let committed = store.append(vec![vec![commit.clone()]]).remove(0)?;
        self.accept(committed[0].commit, &commit);
        Ok(())
    }

    /// The store holds exactly this.
    pub(crate) fn check(&self, store: &dyn Journal) {
        let logs = store.logs(3).unwrap();
        assert_eq!(logs, self.logs.keys().copied().collect::<Vec<_>>());
        let mut by_commit: Vec<Record> = Vec::new();
        for (log, expected) in &self.logs {
            let records = store.read(*log, 1, usize::MAX).unwrap();
            let found: Vec<_> = records.iter().map(|record| (record.commit, record.events.clone())).collect();
            assert_eq!(&found, expected);
            by_commit.extend(records);
        }
        by_commit.sort_by_key(|record| (record.commit, record.log));
        assert_eq!(store.commits(1, usize::MAX).unwrap(), by_commit);
        for body in &self.bodies {
            assert_eq!(store.body(BodyHash::of(body)).unwrap(), body);
        }
    }
}

/// A store with `count` commits and what must be there.
pub(crate) fn history(store: &Store, count: u64) -> Model {
    let mut model = Model::default();
    for number in 1..=count {
        model.append(store, number).unwrap();
    }
    model
}
