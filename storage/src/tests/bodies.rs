//! Bodies: where they are stored, that they are stored once, and what room they need.

use std::fs;
use std::sync::Arc;

use super::{crash, noise, open, options, scratch};
use crate::contract::{body, commit, draft, log, spooled};
use crate::fault::{FaultPlan, Operation};
use crate::format::Identity;
use crate::record::{BodyHash, BodySource};
use crate::{AppendError, Body, Commit, Journal, Store, StoreOptions};

fn append(store: &Store, position: u64, bodies: Vec<Body>) {
    let commit = Commit { bodies, ..commit(vec![draft(1, position, b"bodies")], &[]) };
    assert!(store.append(vec![vec![commit]])[0].is_ok());
}

/// The file of a large body as another version may write it: the same body, stored without compression.
fn plain_file(identity: &Identity, bytes: &[u8]) -> Vec<u8> {
    let hash = BodyHash::of(bytes);
    let mut writer = crate::body::BodyWriter::plain(identity, hash, bytes.len() as u64);
    let blocks: Vec<u8> = bytes.chunks(crate::body::BLOCK).flat_map(|block| writer.block(block).into_owned()).collect();
    let (head, table, _) = writer.finish();
    [crate::large::header(identity), head, blocks, table].concat()
}

#[test]
fn a_large_body_that_is_stored_with_another_length_is_read_and_kept() {
    let directory = scratch();
    let (store, _) = open(directory.path());
    let bytes = b"the same line again and again\r\n".repeat(10_000);
    let hash = BodyHash::of(&bytes);
    append(&store, 0, store.prepare(vec![body(&bytes)]).unwrap());
    let path = directory.path().join("bodies").join(format!("{hash}.body"));
    let plain = plain_file(store.shared.identity(), &bytes);
    assert!(plain.len() > 10 * fs::read(&path).unwrap().len());
    fs::write(&path, &plain).unwrap();
    assert_eq!(store.body(hash).unwrap(), bytes);
    assert_eq!(store.body_range(hash, 309_990, 20).unwrap(), bytes[309_990..]);
    drop(store);
    let (store, _) = open(directory.path());
    append(&store, 1, store.prepare(vec![body(&bytes)]).unwrap());
    assert_eq!(fs::read(&path).unwrap(), plain, "it was written again");
    drop(store);
    fs::remove_dir_all(directory.path().join("sled")).unwrap();
    let (store, _) = open(directory.path());
    assert_eq!(store.body(hash).unwrap(), bytes);
    assert!(store.verify(false).unwrap().findings.is_empty());
}

#[test]
fn a_large_body_whose_file_is_damaged_anywhere_is_written_again() {
    let directory = scratch();
    let bytes = noise(1, 3_000_000);
    let hash = BodyHash::of(&bytes);
    let path = directory.path().join("bodies").join(format!("{hash}.body"));
    let mut position = 0;
    for at in [50, 150_000, 2_900_000] {
        // This process may have read it whole before.
        let (store, _) = open(directory.path());
        append(&store, position, store.prepare(vec![body(&bytes)]).unwrap());
        let mut damaged = fs::read(&path).unwrap();
        damaged[at] ^= 1;
        fs::write(&path, damaged).unwrap();
        drop(store);
        let (store, _) = open(directory.path());
        assert!(store.body(hash).is_err());
        append(&store, position + 1, store.prepare(vec![body(&bytes)]).unwrap());
        assert_eq!(store.body(hash).unwrap(), bytes);
        position += 2;
    }
}

/// Five hundred recipients of one mail: it is read whole once, not each time, and by nobody's writer.
#[test]
fn a_body_that_is_stored_is_asked_for_once() {
    let directory = scratch();
    let bytes = noise(2, 50_000);
    append(&open(directory.path()).0, 0, vec![body(&bytes)]);
    let plan = Arc::new(FaultPlan::new());
    let options = StoreOptions { faults: Some(Arc::clone(&plan)), segment_bytes: 1 << 20, ..options() };
    let (store, _) = Store::open(directory.path(), options).unwrap();
    let asked = || plan.count(Operation::Ask);
    let before = asked();
    assert_eq!(store.prepare(vec![body(&bytes)]).unwrap()[0].source, BodySource::Stored);
    assert_eq!(asked() - before, 1);
    for _ in 0..5 {
        assert_eq!(store.prepare(vec![body(&bytes)]).unwrap()[0].source, BodySource::Stored);
    }
    assert_eq!(asked() - before, 1);
    let end = || store.shared.writer.lock().unwrap().stream.end;
    let (start, asked_before) = (end(), asked());
    append(&store, 1, store.prepare(vec![body(&bytes)]).unwrap());
    append(&store, 2, vec![body(&bytes)]);
    assert!(end() - start < 1000);
    // The head of the log.
    assert_eq!(asked() - asked_before, 1);
}

/// What is prepared and named by no commit can be read, and that does not put sled in doubt.
#[test]
fn a_prepared_body_survives_and_ends_nothing() {
    let directory = scratch();
    let (store, _) = open(directory.path());
    let (large, many) = (noise(3, 100_000), (0..100).map(|seed| noise(seed, 60_000)).collect::<Vec<_>>());
    store.prepare(vec![body(&large)]).unwrap();
    store.prepare(many.iter().map(|bytes| body(bytes)).collect()).unwrap();
    let crashed = crash(directory.path());
    for store in [&store, &open(crashed.path()).0] {
        store.shared.places.forget_all();
        for bytes in many.iter().chain([&large]) {
            assert_eq!(store.body(BodyHash::of(bytes)).unwrap(), bytes);
        }
        assert_eq!((store.fatal(), store.newest_commit()), (None, 0));
    }
}

#[test]
fn uploads_are_refused_before_small_changes_are() {
    let directory = tempfile::tempdir().unwrap();
    let free = crate::files::free_bytes(directory.path()).unwrap();
    let (store, _) = Store::open(directory.path(), StoreOptions { reserve_bytes: free / 10 * 7, ..options() }).unwrap();
    assert_eq!(store.spool().unwrap_err(), AppendError::DiskFull);
    for bodies in [vec![body(&noise(1, 100_000))], (0..100).map(|seed| body(&noise(seed, 60_000))).collect()] {
        assert_eq!(store.prepare(bodies), Err(AppendError::DiskFull));
    }
    append(&store, 0, vec![body(b"small")]);
    assert_eq!(store.head(log(1)).unwrap().position, 1);
}

#[test]
fn an_upload_stops_where_the_room_ends() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = open(directory.path());
    let (in_file, path) = spooled(&store, &noise(1, 100_000));
    assert!(path.exists());
    drop(in_file);
    assert!(!path.exists());
    drop(store);
    let free = crate::files::free_bytes(directory.path()).unwrap();
    let room = Arc::new(crate::room::Room::new(directory.path(), free / 10 * 4));
    let spool = crate::spool::Spool::at(&directory.path().join("spool"), room).unwrap();
    assert!(spool.file().unwrap().write(b"there is room").is_ok());
    let room = Arc::new(crate::room::Room::new(directory.path(), free / 10 * 7));
    let file = crate::spool::Spool::at(&directory.path().join("spool"), room).unwrap().open().unwrap();
    assert_eq!(file.write(b"there is none"), Err(AppendError::DiskFull));
}

/// Files that are not the spool's own stay.
#[test]
fn a_start_sweeps_its_own_spool_files_alone() {
    let directory = scratch();
    let (store, _) = open(directory.path());
    std::mem::forget(store.spool().unwrap());
    fs::write(directory.path().join("spool/notes.txt"), "mine").unwrap();
    drop(store);
    let _store = open(directory.path());
    let left: Vec<_> = fs::read_dir(directory.path().join("spool")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["notes.txt"]);
}

/// sled's leaves over 128 KiB would be files that it never syncs, and that come and go under a checkpoint.
#[test]
fn nothing_that_is_put_makes_a_leaf_too_large() {
    let directory = scratch();
    let (store, _) = open(directory.path());
    let blobs = directory.path().join("sled/blobs");
    for round in 0..6_u64 {
        for size in [3000, 12_000, 70_000, 400_000] {
            let entries = (0..40_u64).map(|key| (format!("{size} {key}").into_bytes(), noise(key + round, size).into()));
            store.put_cache(entries.collect()).unwrap();
        }
        for position in round * 5..round * 5 + 5 {
            let events = noise(position, 60_000);
            assert!(store.append(vec![vec![commit(vec![draft(2, position, &events)], &[])]])[0].is_ok());
        }
        store.shared.ask(crate::sled::SledLog::flush).unwrap();
        assert_eq!(fs::read_dir(&blobs).unwrap().count(), 0, "round {round}");
    }
}

/// The footer names each body and is written on somebody's acknowledgement.
#[test]
fn a_segment_is_sealed_before_its_footer_is_long() {
    let directory = scratch();
    let (store, _) = Store::open(directory.path(), StoreOptions { segment_bytes: 64 << 20, ..options() }).unwrap();
    for group in 0..4_u64 {
        let lists = (0..5000_u64).map(|number| {
            let bytes = (group * 5000 + number).to_le_bytes();
            vec![commit(vec![draft(number, group, b"small")], &[&bytes])]
        });
        assert!(store.append(lists.collect()).iter().all(Result::is_ok));
    }
    let segments = crate::segment::list(&directory.path().join("segments")).unwrap();
    assert_eq!(segments.len(), 2);
    assert!(store.shared.writer.lock().unwrap().stream.index.len() <= 5000);
}
