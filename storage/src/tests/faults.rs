//! Every operation on the disk fails once, at each place of a small history.

use std::sync::Arc;

use super::{Model, crash, open, options};
use crate::fault::{Failure, Fault, FaultPlan, Operation};
use crate::{AppendError, Journal, Store, StoreOptions};

const STEPS: u64 = 9;

fn faulty(plan: &Arc<FaultPlan>) -> StoreOptions {
    // Small segments, so that sealing and beginning one is part of the history.
    StoreOptions { faults: Some(Arc::clone(plan)), segment_bytes: 4096, ..options() }
}

/// Runs the history with one fault. What was acknowledged is there, what was refused is not, and what is unknown is there or not, after a crash at the
/// end; and the store went on or said that it cannot.
fn run(fault: Fault) {
    let directory = tempfile::tempdir().unwrap();
    let plan = Arc::new(FaultPlan::with(fault));
    let store = match Store::open(directory.path(), faulty(&plan)) {
        Ok((store, _)) => store,
        Err(error) => {
            assert!(matches!(error, crate::OpenError::Failed(_) | crate::OpenError::Full(_)), "{fault:?}: {error}");
            plan.disarm();
            Model::default().check(&open(directory.path()).0);
            return;
        }
    };
    let (mut model, mut unknown, mut refusals) = (Model::default(), None, 0);
    for number in 1..=STEPS {
        match model.append(&store, number) {
            Ok(()) => assert!(store.fatal().is_none(), "{fault:?}"),
            Err(AppendError::Unknown(_)) => {
                assert!(store.fatal().is_some(), "{fault:?}");
                unknown = Some(super::step(&model, number));
                break;
            }
            // The note of a checkpoint met the fault before.
            Err(AppendError::Failed(_)) if store.fatal().is_some() => break,
            Err(error) => {
                let is_full = error == AppendError::DiskFull;
                assert_eq!(is_full, fault.failure == Failure::Full, "{fault:?}: {error}");
                assert!(store.fatal().is_none(), "{fault:?}: {error}");
                refusals += 1;
            }
        }
        if number == STEPS / 2 {
            store.close();
        }
    }
    assert!(refusals <= 1 || fault.is_lasting, "{fault:?}");
    plan.disarm();
    if unknown.is_none() && store.fatal().is_none() {
        model.check(&store);
    }
    let crashed = crash(directory.path());
    let (reopened, report) = open(crashed.path());
    if let Some(commit) = unknown
        && reopened.newest_commit() > model.logs.values().flatten().map(|(number, _)| *number).max().unwrap_or(0)
    {
        model.accept(reopened.newest_commit(), &commit);
    }
    assert!(!report.is_rebuilt || fault.operation == Operation::Apply || store.fatal().is_some(), "{fault:?}: {report:?}");
    model.check(&reopened);
    // What the model does not know must not be there either: the numbers of commits have no gaps.
    assert_eq!(
        reopened.newest_commit(),
        model.logs.values().flatten().map(|(number, _)| *number).max().unwrap_or(0),
        "{fault:?}"
    );
    model.append(&reopened, STEPS + 1).unwrap();
    model.check(&reopened);
}

fn clean_counts() -> Vec<(Operation, u64)> {
    let directory = tempfile::tempdir().unwrap();
    let plan = Arc::new(FaultPlan::new());
    let (store, _) = Store::open(directory.path(), faulty(&plan)).unwrap();
    let mut model = Model::default();
    for number in 1..=STEPS {
        model.append(&store, number).unwrap();
        if number == STEPS / 2 {
            store.close();
        }
    }
    use Operation::{Apply, Create, Rename, Sync, SyncDirectory, Truncate, Write};
    [Create, Write, Sync, Truncate, Rename, SyncDirectory, Apply].into_iter().map(|kind| (kind, plan.count(kind))).collect()
}

#[test]
fn each_operation_fails_once_at_each_place() {
    let mut runs = 0;
    for (operation, count) in clean_counts() {
        for nth in 1..=count {
            for failure in [Failure::InputOutput, Failure::Full] {
                let torn = if operation == Operation::Write { vec![false, true] } else { vec![false] };
                for is_torn in torn {
                    run(Fault { operation, nth, failure, is_torn, is_lasting: false });
                    runs += 1;
                }
            }
        }
    }
    assert!(runs > 60, "{runs}");
}

#[test]
fn a_disk_that_stays_broken_ends_the_server_or_refuses() {
    for (operation, count) in clean_counts() {
        // A full disk under sled is waited for; that takes half a minute each time.
        if operation == Operation::Apply {
            continue;
        }
        for nth in 1..=count {
            for failure in [Failure::InputOutput, Failure::Full] {
                run(Fault { operation, nth, failure, is_torn: operation == Operation::Write, is_lasting: true });
            }
        }
    }
}

#[test]
fn service_resumes_when_there_is_room_again() {
    let directory = tempfile::tempdir().unwrap();
    let plan = Arc::new(FaultPlan::new());
    let (store, _) = Store::open(directory.path(), faulty(&plan)).unwrap();
    let mut model = Model::default();
    model.append(&store, 1).unwrap();
    for number in 2..=6 {
        let nth = plan.count(Operation::Write) + 1;
        plan.arm(Fault { operation: Operation::Write, nth, failure: Failure::Full, is_torn: true, is_lasting: false });
        assert_eq!(model.append(&store, number), Err(AppendError::DiskFull));
        model.append(&store, number).unwrap();
        model.check(&store);
    }
    assert_eq!(store.fatal(), None);
}
