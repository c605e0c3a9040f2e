//! What a store holds after any history with crashes is what was acknowledged.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::{Model, copy_tree, crash, open, options, scratch};
use crate::contract::{commit, draft, log};
use crate::fault::{Failure, Fault, FaultPlan, Operation};
use crate::record::BodyHash;
use crate::{AppendError, Commit, Journal, Store, StoreOptions};

#[derive(Clone, Debug)]
enum Step {
    /// Lists of one or more commits, each to the logs named; `true` for a wrong expected position.
    Append(Vec<Vec<(Vec<u64>, bool)>>),
    Checkpoint,
    /// The power goes, with so many bytes of a group half written.
    Crash(u8),
    /// sled is as it was at the last checkpoint.
    PowerLoss,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let commit = (prop::collection::btree_set(0_u64..4, 0..3), prop::bool::weighted(0.1));
    let commit = commit.prop_map(|(logs, is_wrong)| (logs.into_iter().collect(), is_wrong));
    let append = prop::collection::vec(prop::collection::vec(commit, 1..3), 1..5).prop_map(Step::Append);
    let step =
        prop_oneof![8 => append, 2 => Just(Step::Checkpoint), 2 => any::<u8>().prop_map(Step::Crash), 1 => Just(Step::PowerLoss)];
    prop::collection::vec(step, 1..14)
}

fn commits(model: &mut Model, list: &[(Vec<u64>, bool)], salt: usize) -> Vec<Commit> {
    let make = |(logs, is_wrong): &(Vec<u64>, bool)| {
        let bytes = format!("body {salt} of {logs:?}").repeat(1 + salt % 40).into_bytes();
        let records =
            logs.iter().map(|id| draft(*id, model.position(log(*id)) + u64::from(*is_wrong) * 5, &bytes[..9])).collect();
        let commit = commit(records, &[&bytes]);
        model.accept(0, &commit);
        commit
    };
    list.iter().map(make).collect()
}

fn append(store: &Store, model: &mut Model, lists: &[Vec<(Vec<u64>, bool)>], salt: usize) {
    let mut scratch = model.clone();
    let mut made = Vec::new();
    for (index, list) in lists.iter().enumerate() {
        let mut tried = scratch.clone();
        made.push(commits(&mut tried, list, salt * 10 + index));
        // A wrong position refuses the list, and the next one stands on what was before it.
        if !list.iter().any(|(logs, is_wrong)| *is_wrong && !logs.is_empty()) {
            scratch = tried;
        }
    }
    for (answer, (list, wanted)) in store.append(made.clone()).into_iter().zip(made.iter().zip(lists)) {
        let is_wrong = wanted.iter().any(|(logs, is_wrong)| *is_wrong && !logs.is_empty());
        match answer {
            Ok(committed) => {
                assert!(!is_wrong);
                committed.iter().zip(list).for_each(|(committed, commit)| model.accept(committed.commit, commit));
            }
            Err(AppendError::Conflict { .. }) => assert!(is_wrong),
            Err(error) => panic!("{error}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn the_fold_of_all_records_is_the_model(steps in steps()) {
        let mut directory = scratch();
        let mut model = Model::default();
        let (mut store, _) = open(directory.path());
        let mut synced_sled = crash(directory.path());
        for (salt, step) in steps.iter().enumerate() {
            match step {
                Step::Append(lists) => append(&store, &mut model, lists, salt),
                Step::Checkpoint => {
                    store.close();
                    synced_sled = crash(directory.path());
                }
                Step::Crash(_) | Step::PowerLoss => {
                    let copy = crash(directory.path());
                    drop(store);
                    if let Step::Crash(length) = step {
                        let last = crate::segment::list(&copy.path().join("segments")).unwrap().pop().unwrap().path;
                        let torn = [b"CARILGRP".as_slice(), &[7; 300]].concat();
                        let bytes = [fs::read(&last).unwrap(), torn[..usize::from(*length)].to_vec()].concat();
                        fs::write(last, bytes).unwrap();
                    } else {
                        fs::remove_dir_all(copy.path().join("sled")).unwrap();
                        copy_tree(&synced_sled.path().join("sled"), &copy.path().join("sled"));
                    }
                    directory = copy;
                    store = open(directory.path()).0;
                }
            }
            model.check(&store);
        }
        prop_assert!(store.verify(false).unwrap().findings.is_empty());
    }
}

/// Readers see every commit that was answered, and never half a commit, while checkpoints run.
#[test]
fn readers_and_checkpoints_beside_a_writer() {
    let directory = scratch();
    let quick = StoreOptions { checkpoint_interval: Duration::from_millis(1), ..options() };
    let (store, _) = Store::open(directory.path(), quick).unwrap();
    std::thread::scope(|scope| {
        let store = &store;
        for reader in 0..2_u64 {
            scope.spawn(move || {
                loop {
                    let newest = store.newest_commit();
                    let records = store.read(log(reader), 1, usize::MAX).unwrap();
                    assert!(records.len() as u64 >= newest, "{} of {newest}", records.len());
                    assert!(store.head(log(1 - reader)).unwrap().position >= records.len() as u64);
                    if newest == 300 {
                        break;
                    }
                }
            });
        }
        for number in 0..300_u64 {
            let both = commit(vec![draft(0, number, b"left"), draft(1, number, b"right")], &[&number.to_le_bytes()]);
            assert!(store.append(vec![vec![both]])[0].is_ok());
            assert_eq!(store.body(BodyHash::of(&number.to_le_bytes())).unwrap(), number.to_le_bytes().as_slice());
        }
    });
    assert_eq!(store.fatal(), None);
    drop(store);
    let (store, report) = open(directory.path());
    assert!(!report.is_rebuilt, "{report:?}");
    assert_eq!(store.newest_commit(), 300);
}

/// A large body whose file cannot be written leaves nothing behind, and comes in at the next try.
#[test]
fn each_operation_on_a_large_body_fails_once() {
    let large = vec![7_u8; 200_000];
    let body = || crate::contract::body(&large);
    let mut faults = 0;
    for operation in [Operation::Create, Operation::Write, Operation::Sync, Operation::Rename, Operation::SyncDirectory] {
        for failure in [Failure::InputOutput, Failure::Full] {
            for nth in 1.. {
                let directory = scratch();
                let plan = Arc::new(FaultPlan::new());
                let (store, _) =
                    Store::open(directory.path(), StoreOptions { faults: Some(Arc::clone(&plan)), ..options() }).unwrap();
                let before = plan.count(operation);
                plan.arm(Fault { operation, nth: before + nth, failure, is_torn: true, is_lasting: false });
                let prepared = store.prepare(vec![body()]);
                if plan.count(operation) < before + nth {
                    break;
                }
                faults += 1;
                assert_eq!(prepared == Err(AppendError::DiskFull), failure == Failure::Full);
                assert!(prepared.is_err() && store.fatal().is_none());
                let mut with_body = commit(vec![draft(1, 0, b"large")], &[]);
                with_body.bodies = store.prepare(vec![body()]).unwrap();
                assert!(store.append(vec![vec![with_body]])[0].is_ok());
                let crashed = crash(directory.path());
                assert_eq!(open(crashed.path()).0.body(BodyHash::of(&large)).unwrap(), large);
            }
        }
    }
    assert!(faults >= 14, "{faults}");
}
