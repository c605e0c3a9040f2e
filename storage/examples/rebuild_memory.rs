#![allow(clippy::print_stdout, reason = "printing is what this example is for")]
//! Prints how long it takes, and how much memory, to make sled again from the segments of a store of so many small messages.
//! `cargo run --release -p carillon-storage --example rebuild_memory [COMMITS [DIRECTORY]]`

use std::time::Instant;

use bytes::Bytes;
use carillon_storage::{Author, Body, BodyHash, BodySource, Commit, Journal, LogId, RecordDraft, Store, StoreOptions};

fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok()).unwrap_or_default() / 1024
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: u64 = std::env::args().nth(1).map_or(Ok(260_000), |text| text.parse())?;
    let temporary = tempfile::tempdir_in(".")?;
    let directory = std::env::args().nth(2).map_or_else(|| temporary.path().to_path_buf(), std::path::PathBuf::from);
    if !directory.join("carillon.store").exists() {
        fill(&directory, count)?;
        println!("filled; peak {} MiB", memory("VmHWM"));
        if std::env::args().nth(2).is_some() {
            return Ok(());
        }
    }
    std::fs::remove_dir_all(directory.join("sled"))?;
    let begun = Instant::now();
    let (store, report) = Store::open(&directory, StoreOptions::default())?;
    println!(
        "{:?}: {:?}; {} commits; now {} MiB, peak {} MiB",
        begun.elapsed(),
        report.sentences,
        store.newest_commit(),
        memory("VmRSS"),
        memory("VmHWM")
    );
    drop(store);
    let begun = Instant::now();
    let (_store, _) = Store::open(&directory, StoreOptions::default())?;
    println!("opened once more: {:?}", begun.elapsed());
    Ok(())
}

fn fill(directory: &std::path::Path, count: u64) -> Result<(), Box<dyn std::error::Error>> {
    let (store, _) = Store::open(directory, StoreOptions::default())?;
    let (logs, mut number) = (24, 0);
    let mut position = 0;
    while number < count {
        let lists = (0..logs).map(|log| {
            let text = format!("Subject: m{number} {log}\r\nFrom: a@b.c\r\n\r\nhello world {position}");
            let bytes = Bytes::from(text);
            let body = Body { hash: BodyHash::of(&bytes), length: bytes.len() as u64, source: BodySource::Memory(bytes) };
            let author = Author { session: log, command: 1, tag: "a1".into(), verb: "APPEND".into() };
            let events = Bytes::from(vec![7; 150]);
            let records = vec![RecordDraft { log: LogId { kind: 2, id: log }, expected: position, version: 1, events }];
            vec![Commit { at: number, author, records, bodies: vec![body] }]
        });
        for answer in store.append(lists.collect()) {
            number += answer?.len() as u64;
        }
        position += 1;
    }
    store.close();
    Ok(())
}
