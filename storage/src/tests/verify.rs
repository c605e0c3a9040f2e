//! `log verify` says what is damaged, whose it is, and mends it while the store serves.

use std::fs;
use std::sync::{Arc, Mutex};

use super::{history, open, scratch};
use crate::contract::log;
use crate::fault::{FaultPlan, Operation};
use crate::record::BodyHash;
use crate::{Journal, Store, StoreOptions};

#[test]
fn a_whole_store_has_no_findings() {
    let directory = scratch();
    let (store, _) = open(directory.path());
    history(&store, 60);
    let report = store.verify(false).unwrap();
    assert!(report.is_whole() && report.findings.is_empty(), "{report:?}");
    assert_eq!((report.records, report.bodies), (75, 60));
}

fn flip_in(store: &Store, index: usize, needle: &[u8]) {
    let listed = crate::segment::list(&store.shared.home.directory.join("segments")).unwrap();
    let mut bytes = fs::read(&listed[index].path).unwrap();
    let at = bytes.windows(needle.len()).position(|window| window == needle).unwrap();
    bytes[at] ^= 1;
    fs::write(&listed[index].path, bytes).unwrap();
}

#[test]
fn a_damaged_record_is_named_and_mended_in_old_and_new_segments() {
    let directory = scratch();
    let (store, _) = open(directory.path());
    let mut model = history(&store, 60);
    let last = crate::segment::list(&directory.path().join("segments")).unwrap().len() - 1;
    flip_in(&store, 0, b"event 3 ");
    flip_in(&store, last, b"event 60 ");
    let report = store.verify(false).unwrap();
    assert!(!report.is_whole());
    let records: Vec<_> = report.findings.iter().flat_map(|finding| finding.records.clone()).collect();
    assert_eq!(records.iter().map(|(log, _)| *log).collect::<Vec<_>>(), [log(0), log(0), log(1)], "{report:?}");
    assert!(report.findings.iter().all(|finding| finding.bodies.is_empty() && !finding.is_healed), "{report:?}");
    let report = store.verify(true).unwrap();
    assert!(report.is_whole() && report.findings.len() == 2, "{report:?}");
    assert_eq!(store.verify(false).unwrap().findings, []);
    assert!(fs::read_dir(directory.path().join("damaged")).unwrap().count() >= 2);
    model.append(&store, 61).unwrap();
    model.check(&store);
    drop(store);
    fs::remove_dir_all(directory.path().join("sled")).unwrap();
    let (store, _) = open(directory.path());
    model.check(&store);
}

#[test]
fn a_damaged_body_is_named_and_the_others_of_its_group_are_kept() {
    let directory = scratch();
    let (store, _) = open(directory.path());
    let mut model = history(&store, 10);
    let both = crate::contract::commit(
        vec![crate::contract::draft(2, model.position(log(2)), b"both")],
        &[b"the first of two bodies", b"the second of two bodies", b"the third of two bodies"],
    );
    model.accept(store.append(vec![vec![both.clone()]]).remove(0).unwrap()[0].commit, &both);
    history_on(&store, &mut model, 12..=40);
    flip_in(&store, 0, b"the second of two");
    let lost = BodyHash::of(b"the second of two bodies");
    let report = store.verify(true).unwrap();
    assert_eq!(report.findings.len(), 1, "{report:?}");
    assert_eq!(report.findings[0].bodies, [lost]);
    assert!(report.findings[0].is_healed && !report.is_whole());
    assert!(store.body(lost).is_err());
    model.bodies.retain(|body| body != b"the second of two bodies");
    model.check(&store);
    store.close();
    drop(store);
    fs::remove_dir_all(directory.path().join("sled")).unwrap();
    let (store, _) = open(directory.path());
    model.check(&store);
}

fn history_on(store: &Store, model: &mut super::Model, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        model.append(store, number).unwrap();
    }
}

#[test]
fn a_sled_that_is_wrong_is_made_again_while_the_store_serves() {
    let directory = scratch();
    let (store, _) = open(directory.path());
    let mut model = history(&store, 30);
    let mut change = crate::sled::Change::default();
    let mut forged = store.read(log(1), 2, 1).unwrap().remove(0);
    forged.events = bytes::Bytes::from_static(b"forged");
    change.record(&forged, &crate::format::encode_record(&forged).unwrap());
    change.no_place(BodyHash::of(&model.bodies[3]));
    store.shared.ask(|sled| sled.apply(change.clone())).unwrap();
    let report = store.verify(true).unwrap();
    assert!(report.findings.len() >= 2 && report.is_whole(), "{report:?}");
    assert!(report.findings.iter().any(|finding| finding.records == [(log(1), 2)]), "{report:?}");
    assert_eq!(store.verify(false).unwrap().findings, []);
    model.append(&store, 31).unwrap();
    model.check(&store);
    assert_eq!(store.fatal(), None);
}

/// A store whose every operation is watched, with forty commits in several segments.
fn watched(directory: &std::path::Path) -> (Store, Arc<FaultPlan>, super::Model) {
    let plan = Arc::new(FaultPlan::new());
    let options = StoreOptions { faults: Some(Arc::clone(&plan)), ..super::options() };
    let (store, _) = Store::open(directory, options).unwrap();
    let model = history(&store, 40);
    (store, plan, model)
}

/// The operations that are done while the writer is held.
fn with_the_writer(store: &Store, plan: &FaultPlan) -> Arc<Mutex<Vec<Operation>>> {
    let (shared, held) = (Arc::clone(&store.shared), Arc::new(Mutex::new(Vec::new())));
    let seen = Arc::clone(&held);
    plan.watch(move |operation| {
        if shared.writer.try_lock().is_err() {
            seen.lock().unwrap().push(operation);
        }
    });
    held
}

#[test]
fn appends_wait_for_a_new_segment_alone_while_damage_is_mended() {
    for (index, expected) in [
        (0, vec![]),
        // The footer, and the segment behind it.
        (
            3,
            vec![
                Operation::Write,
                Operation::Sync,
                Operation::Remove,
                Operation::Create,
                Operation::Write,
                Operation::Sync,
                Operation::SyncDirectory,
            ],
        ),
    ] {
        let directory = scratch();
        let (store, plan, mut model) = watched(directory.path());
        flip_in(&store, index, b"event ");
        let held = with_the_writer(&store, &plan);
        let report = store.verify(true).unwrap();
        assert!(report.is_whole() && report.findings.len() == 1, "{report:?}");
        assert_eq!(*held.lock().unwrap(), expected);
        model.append(&store, 41).unwrap();
        model.check(&store);
    }
}

#[test]
fn appends_wait_for_the_last_commits_alone_while_sled_is_made_again() {
    let directory = scratch();
    let (store, plan, mut model) = watched(directory.path());
    let mut change = crate::sled::Change::default();
    change.no_place(BodyHash::of(&model.bodies[3]));
    store.shared.ask(|sled| sled.apply(change.clone())).unwrap();
    let before = plan.count(Operation::Apply);
    let held = with_the_writer(&store, &plan);
    let report = store.verify(true).unwrap();
    assert!(report.is_whole() && !report.findings.is_empty(), "{report:?}");
    let held = held.lock().unwrap().clone();
    // All of it was applied before; what came meanwhile, which is nothing, after.
    let applied = held.iter().filter(|operation| **operation == Operation::Apply).count() as u64;
    assert_eq!((plan.count(Operation::Apply) - before, applied), (2, 1), "{held:?}");
    model.append(&store, 41).unwrap();
    model.check(&store);
}

/// Commits that come while sled is made again are in the new one.
#[test]
fn nothing_that_is_appended_meanwhile_is_lost_when_sled_is_made_again() {
    let directory = scratch();
    let (store, _) = open(directory.path());
    let mut model = history(&store, 30);
    for round in 0..4_u64 {
        let mut change = crate::sled::Change::default();
        change.no_place(BodyHash::of(&model.bodies[3]));
        store.shared.ask(|sled| sled.apply(change.clone())).unwrap();
        std::thread::scope(|scope| {
            let verified = scope.spawn(|| store.verify(true));
            for number in 31 + round * 50..81 + round * 50 {
                model.append(&store, number).unwrap();
            }
            assert!(verified.join().unwrap().unwrap().is_whole());
        });
        model.check(&store);
    }
    assert_eq!(store.verify(false).unwrap().findings, []);
    assert_eq!(store.fatal(), None);
}

/// What cannot be mended is not said to be, though something else is.
#[test]
fn each_finding_says_for_itself_whether_it_was_mended() {
    let directory = scratch();
    let (store, _) = open(directory.path());
    let model = history(&store, 60);
    let lost = store.shared.ask(|sled| sled.commit(1)).unwrap().unwrap();
    let mut change = crate::sled::Change::default();
    change.no_commit(1);
    store.shared.ask(|sled| sled.apply(change.clone())).unwrap();
    flip_in(&store, 0, b"event 1 ");
    flip_in(&store, 1, b"event ");
    let report = store.verify(true).unwrap();
    let damages: Vec<_> = report.findings.iter().filter(|finding| finding.what.contains("damaged;")).collect();
    assert_eq!(damages.iter().map(|finding| finding.is_healed).collect::<Vec<_>>(), [false, true], "{report:?}");
    assert!(!report.is_whole() && lost.len() == 1);
    // sled is not made again from segments that lack what it has.
    assert_eq!(store.read(lost[0].0, 1, usize::MAX).unwrap().len() as u64, model.position(lost[0].0));
}
