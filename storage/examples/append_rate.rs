#![allow(clippy::print_stdout, reason = "printing is what this example is for")]
//! Prints how many durable commits a second a store takes, alone and in groups, and how long reading takes.
//! `cargo run --release -p carillon-storage --example append_rate [DIRECTORY]`

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use carillon_storage::{Author, Body, BodyHash, BodySource, Commit, Journal, LogId, RecordDraft, Store, StoreOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let temporary = tempfile::tempdir_in(".")?;
    let directory = std::env::args().nth(1).map_or_else(|| temporary.path().to_path_buf(), PathBuf::from);
    let (store, report) = Store::open(&directory, StoreOptions::default())?;
    for sentence in &report.sentences {
        println!("{sentence}");
    }
    let mut positions = vec![0; 64];
    let mut number = 0;
    for (group, seconds) in [(1, 3), (8, 3), (64, 5)] {
        rate(&store, &mut positions, group, Duration::from_secs(seconds), &mut number)?;
    }
    bodies(&store)?;
    reads(&store)?;
    let start = Instant::now();
    store.close();
    println!("clean stop: {:?}", start.elapsed());
    drop(store);
    let start = Instant::now();
    let (store, _) = Store::open(&directory, StoreOptions::default())?;
    println!("start with {} commits: {:?}", store.newest_commit(), start.elapsed());
    Ok(())
}

fn commit(log: u64, expected: u64, number: u64, bodies: Vec<Body>) -> Commit {
    let author = Author { session: number, command: 1, tag: "a1".into(), verb: "UID STORE".into() };
    let events = Bytes::from(vec![number.to_le_bytes()[0]; 150]);
    let records = vec![RecordDraft { log: LogId { kind: 2, id: log }, expected, version: 1, events }];
    Commit { at: number, author, records, bodies }
}

fn rate(
    store: &Store,
    positions: &mut [u64],
    group: usize,
    duration: Duration,
    number: &mut u64,
) -> Result<(), Box<dyn std::error::Error>> {
    let (start, mut done, mut slowest) = (Instant::now(), 0_u64, Duration::ZERO);
    while start.elapsed() < duration {
        let mut lists = Vec::with_capacity(group);
        for (log, position) in (0_u64..).zip(positions.iter_mut()).take(group) {
            *number += 1;
            lists.push(vec![commit(log, *position, *number, Vec::new())]);
            *position += 1;
        }
        let asked = Instant::now();
        for answer in store.append(lists) {
            answer?;
        }
        slowest = slowest.max(asked.elapsed());
        done += group as u64;
    }
    let per_second = done as f64 / start.elapsed().as_secs_f64();
    println!("groups of {group:>2}: {per_second:>8.0} durable commits/s, slowest append {slowest:?}");
    Ok(())
}

fn message(number: u64) -> Vec<u8> {
    let mut bytes = format!("Subject: message {number}\r\n\r\n").into_bytes();
    let mut noise = vec![0; 6000];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut noise);
    bytes.extend(noise.iter().map(|byte| b' ' + byte % 90));
    bytes
}

fn bodies(store: &Store) -> Result<(), Box<dyn std::error::Error>> {
    let (start, mut stored) = (Instant::now(), 0);
    for group in 0..200_u64 {
        let lists = (0..50).map(|index| {
            let bytes = message(group * 50 + index);
            let body = Body {
                hash: BodyHash::of(&bytes),
                length: bytes.len() as u64,
                source: BodySource::Memory(bytes.into()),
                beside: None,
            };
            vec![commit(1000 + index, group, group, vec![body])]
        });
        for answer in store.append(lists.collect()) {
            stored += answer?.len();
        }
    }
    println!("{stored} messages of 6 kB in groups of 50: {:?}", start.elapsed());
    Ok(())
}

fn reads(store: &Store) -> Result<(), Box<dyn std::error::Error>> {
    let hashes: Vec<_> = (0..10_000).map(|number| BodyHash::of(&message(number))).collect();
    for round in ["first", "second"] {
        let start = Instant::now();
        for hash in &hashes {
            store.body(*hash)?;
        }
        println!("10,000 bodies, {round} time: {:?} each", start.elapsed() / 10_000);
    }
    let start = Instant::now();
    let records = store.read(LogId { kind: 2, id: 0 }, 1, usize::MAX)?;
    let each = start.elapsed() / u32::try_from(records.len().max(1))?;
    println!("{} records of one log: {each:?} each", records.len());
    Ok(())
}
