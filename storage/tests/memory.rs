//! What making sled again costs in memory: a process of its own, because it is measured.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

use std::fs;

use bytes::Bytes;
use carillon_storage::{Author, Body, BodyHash, BodySource, Commit, Journal, LogId, RecordDraft, Store, StoreOptions};

const COMMITS: u64 = 20_000;
const MEBIBYTE: u64 = 1024 * 1024;

/// Bytes, as the kernel counts them.
fn memory(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn options() -> StoreOptions {
    StoreOptions { reserve_bytes: 0, sled_cache_bytes: 16 * MEBIBYTE, ..StoreOptions::default() }
}

fn message(log: u64, number: u64) -> Commit {
    let bytes = Bytes::from(format!("Subject: message {number} of {log}\r\n\r\nIt says little.\r\n"));
    let body = Body { hash: BodyHash::of(&bytes), length: bytes.len() as u64, source: BodySource::Memory(bytes), beside: None };
    let records =
        vec![RecordDraft { log: LogId { kind: 2, id: log }, expected: number, version: 1, events: vec![7; 150].into() }];
    Commit { at: 0, author: Author::default(), records, bodies: vec![body] }
}

/// With batches of 4 MiB it took some 10 KiB a commit: a store of a million messages could not be opened any more once its sled was in doubt.
#[test]
fn making_sled_again_takes_memory_for_what_sled_keeps_alone() {
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let (store, _) = Store::open(directory.path(), options()).unwrap();
    let logs = 20;
    for number in 0..COMMITS / logs {
        let lists = (0..logs).map(|log| vec![message(log, number)]).collect();
        assert!(store.append(lists).iter().all(Result::is_ok));
    }
    store.close();
    drop(store);
    fs::remove_dir_all(directory.path().join("sled")).unwrap();
    // The peak from here on.
    let before = memory("VmRSS");
    if fs::write("/proc/self/clear_refs", "5").is_err() {
        eprintln!("LEFT OUT: the peak of memory cannot be reset here");
        return;
    }
    let (store, report) = Store::open(directory.path(), options()).unwrap();
    assert!(report.is_rebuilt && store.newest_commit() == COMMITS);
    let taken = memory("VmHWM").saturating_sub(before) / MEBIBYTE;
    eprintln!("{COMMITS} commits: {taken} MiB");
    assert!(taken < 70, "making sled again of {COMMITS} commits took {taken} MiB");
}
