//! A start that fails, or that a crash cuts off, at each of its operations: the next one finds everything.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::{Model, crash, damage, history, open, options, scratch};
use crate::fault::Operation::{self, *};
use crate::fault::{Failure, Fault, FaultPlan};
use crate::record::BodyHash;
use crate::{Journal, OpenError, Store, StoreOptions};

/// What a start finds, and what must be there behind it.
struct Case {
    name: &'static str,
    directory: tempfile::TempDir,
    model: Model,
}

fn last_segment(directory: &Path) -> std::path::PathBuf {
    crate::segment::list(&directory.join("segments")).unwrap().pop().unwrap().path
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Flips a bit of the record of an event.
fn flip_record(path: &Path, event: &str) {
    change(path, |bytes| {
        let at = bytes.windows(event.len()).position(|window| window == event.as_bytes()).unwrap();
        bytes[at] ^= 1;
    });
}

fn cases() -> Vec<Case> {
    let running = scratch();
    let (store, _) = open(running.path());
    let mut model = history(&store, 20);
    store.close();
    for number in 21..=24 {
        model.append(&store, number).unwrap();
    }
    // sled has them too.
    store.shared.ask(crate::sled::SledLog::flush).unwrap();
    let case = |name, break_it: &dyn Fn(&Path)| {
        let directory = crash(running.path());
        break_it(directory.path());
        Case { name, directory, model: model.clone() }
    };
    let segment = |directory: &Path| last_segment(directory);
    vec![
        Case { name: "new", directory: scratch(), model: Model::default() },
        case("torn tail", &|directory| change(&segment(directory), |bytes| bytes.extend(b"CARILGRP and half of a group"))),
        case("damaged group", &|directory| flip_record(&segment(directory), "event 22 ")),
        case("damaged group and torn tail", &|directory| {
            flip_record(&segment(directory), "event 22 ");
            change(&segment(directory), |bytes| bytes.extend([7; 300]));
        }),
        case("damaged tail", &|directory| flip_record(&segment(directory), "event 24 ")),
        case("cut tail", &|directory| change(&segment(directory), |bytes| bytes.truncate(bytes.len() - 100))),
        case("lost header", &|directory| change(&segment(directory), |bytes| bytes[75] ^= 1)),
        case("lost metadata", &|directory| fs::remove_file(directory.join("carillon.store")).unwrap()),
        case("no sled", &|directory| fs::remove_dir_all(directory.join("sled")).unwrap()),
        case("doubtful sled and damaged group", &|directory| {
            fs::write(directory.join("carillon.rebuild"), "tried").unwrap();
            flip_record(&segment(directory), "event 22 ");
        }),
    ]
}

/// All records are there, and all bodies but that of the last group, where what was cut off cannot be had.
fn check(model: &Model, store: &Store, what: &str) {
    for (log, expected) in &model.logs {
        let records = store.read(*log, 1, usize::MAX).unwrap();
        let found: Vec<_> = records.iter().map(|record| (record.commit, record.events.clone())).collect();
        assert_eq!(&found, expected, "{what}");
    }
    let bodies = model.bodies.len() - usize::from(what.starts_with("cut tail"));
    for body in &model.bodies[..bodies] {
        assert_eq!(store.body(BodyHash::of(body)).unwrap(), body, "{what}");
    }
    assert_eq!(store.fatal(), None, "{what}");
}

fn run(case: &Case, fault: Fault) -> bool {
    let what = format!("{}: {fault:?}", case.name);
    let directory = crash(case.directory.path());
    let plan = Arc::new(FaultPlan::with(fault));
    let opened = Store::open(directory.path(), StoreOptions { faults: Some(Arc::clone(&plan)), ..options() });
    let is_struck = plan.count(fault.operation) >= fault.nth;
    match opened {
        Ok((store, report)) => {
            plan.disarm();
            // What must not be asked of sled again does not end a start: it makes sled again.
            assert!(!is_struck || report.is_rebuilt || [Apply, Ask].contains(&fault.operation), "{what}: {report:?}");
            check(&case.model, &store, &what);
        }
        Err(OpenError::Failed(_)) => assert!(is_struck, "{what}"),
        // Nothing of sled can be read.
        Err(OpenError::Damaged(_)) => assert!(fault.is_lasting && fault.operation == Ask, "{what}"),
        Err(OpenError::Full(_)) => assert!(is_struck && fault.failure == Failure::Full, "{what}"),
        Err(error) => panic!("{what}: {error}"),
    }
    // As a crash leaves it: the next start may find what the first one left half done.
    let crashed = crash(directory.path());
    let (store, _) = Store::open(crashed.path(), options()).unwrap_or_else(|error| panic!("{what}: {error}"));
    check(&case.model, &store, &what);
    let mut model = case.model.clone();
    model.append(&store, 25).unwrap();
    drop(store);
    fs::remove_dir_all(crashed.path().join("sled")).unwrap();
    check(&model, &open(crashed.path()).0, &what);
    is_struck
}

#[test]
fn a_start_that_fails_at_any_operation_loses_nothing() {
    let operations: [Operation; 11] = [Create, Write, Sync, Truncate, Rename, Remove, SyncDirectory, SyncTree, Apply, Ask, Flush];
    let mut struck = Vec::new();
    for case in cases() {
        for operation in operations {
            for nth in 1.. {
                let fault = |failure, is_torn, is_lasting| Fault { operation, nth, failure, is_torn, is_lasting };
                // Of the many questions to sled some are enough.
                if (operation == Ask && nth > 6) || !run(&case, fault(Failure::InputOutput, false, false)) {
                    break;
                }
                if [Write, Apply, Flush].contains(&operation) {
                    run(&case, fault(Failure::Full, true, false));
                }
                run(&case, fault(Failure::InputOutput, operation == Write, true));
                struck.push((case.name, operation));
            }
        }
    }
    for expected in [
        ("new", Create),
        ("torn tail", Truncate),
        ("damaged group", Rename),
        ("damaged tail", Write),
        ("cut tail", Rename),
        ("no sled", SyncTree),
        ("doubtful sled and damaged group", Rename),
    ] {
        assert!(struck.contains(&expected), "{expected:?}");
    }
    assert!(struck.len() > 100, "{}", struck.len());
}

#[test]
fn a_verification_that_fails_at_any_operation_loses_nothing() {
    for operation in [Create, Write, Sync, Rename, Remove, SyncDirectory] {
        for nth in 1.. {
            let (base, model) = damage::stopped();
            let plan = Arc::new(FaultPlan::new());
            let (store, _) = Store::open(base.path(), StoreOptions { faults: Some(Arc::clone(&plan)), ..options() }).unwrap();
            for segment in crate::segment::list(&base.path().join("segments")).unwrap() {
                change(&segment.path, |bytes| {
                    let at = bytes.windows(6).position(|window| window == b"event ").unwrap();
                    bytes[at] ^= 1;
                });
            }
            let nth = plan.count(operation) + nth;
            plan.arm(Fault { operation, nth, failure: Failure::InputOutput, is_torn: true, is_lasting: false });
            let verified = store.verify(true);
            let is_struck = plan.count(operation) >= nth;
            assert!(is_struck || verified.as_ref().is_ok_and(crate::VerifyReport::is_whole), "{operation:?} {nth}: {verified:?}");
            plan.disarm();
            let what = format!("{operation:?} {nth}");
            if store.fatal().is_none() {
                check(&model, &store, &what);
                let report = store.verify(true).unwrap();
                assert!(report.is_whole(), "{what}: {report:?}");
            }
            let crashed = crash(base.path());
            drop(store);
            let (store, _) = open(crashed.path());
            store.verify(true).unwrap();
            drop(store);
            fs::remove_dir_all(crashed.path().join("sled")).unwrap();
            check(&model, &open(crashed.path()).0, &what);
            if !is_struck {
                break;
            }
        }
    }
}
