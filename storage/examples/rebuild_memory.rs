#![allow(clippy::print_stdout, reason = "printing is what this example is for")]
//! Prints how long it takes, and how much memory, to make sled again from the segments of a store of so many small messages.
//! `cargo run --release -p carillon-storage --example rebuild_memory [COMMITS [DIRECTORY]]`

use std::path::{Path, PathBuf};
use std::time::Instant;

use bytes::Bytes;
use carillon_storage::{Author, Body, BodyHash, BodySource, Commit, Journal, LogId, RecordDraft, Store, StoreOptions};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Mebibytes, as the kernel counts them.
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok()).unwrap_or_default() / 1024
}

fn main() -> Outcome<()> {
    let count: u64 = std::env::args().nth(1).map_or(Ok(260_000), |text| text.parse())?;
    let temporary = tempfile::tempdir_in(".")?;
    let directory = std::env::args().nth(2).map_or_else(|| temporary.path().to_path_buf(), PathBuf::from);
    if !directory.join("carillon.store").exists() {
        fill(&directory, count)?;
    }
    std::fs::remove_dir_all(directory.join("sled"))?;
    // The peak from here on.
    std::fs::write("/proc/self/clear_refs", "5")?;
    println!("before: {} MiB", memory("VmRSS"));
    let begun = Instant::now();
    let (store, _) = Store::open(&directory, StoreOptions::default())?;
    let (took, peak) = (begun.elapsed(), memory("VmHWM"));
    println!("made again from {} commits: {took:?}, at most {peak} MiB", store.newest_commit());
    drop(store);
    let begun = Instant::now();
    let (_store, _) = Store::open(&directory, StoreOptions::default())?;
    println!("opened once more: {:?}", begun.elapsed());
    Ok(())
}

fn message(log: u64, number: u64) -> Commit {
    let bytes = Bytes::from(format!("Subject: message {number} of {log}\r\nFrom: a@example.org\r\n\r\nIt says little.\r\n"));
    let body = Body { hash: BodyHash::of(&bytes), length: bytes.len() as u64, source: BodySource::Memory(bytes), beside: None };
    let author = Author { session: log, command: 1, tag: "a1".into(), verb: "APPEND".into() };
    let events = Bytes::from(vec![7; 150]);
    let records = vec![RecordDraft { log: LogId { kind: 2, id: log }, expected: number, version: 1, events }];
    Commit { at: number, author, records, bodies: vec![body] }
}

fn fill(directory: &Path, count: u64) -> Outcome<()> {
    const LOGS: u64 = 24;
    let (store, _) = Store::open(directory, StoreOptions::default())?;
    for number in 0..count.div_ceil(LOGS) {
        for answer in store.append((0..LOGS).map(|log| vec![message(log, number)]).collect()) {
            answer?;
        }
    }
    store.close();
    Ok(())
}
