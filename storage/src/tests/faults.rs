//! Every operation on the disk fails once, at each place of a small history.

use std::sync::Arc;

use super::{Model, crash, history, open, options, scratch};
use crate::contract::{commit, draft};
use crate::fault::{Failure, Fault, FaultPlan, Operation};
use crate::{AppendError, Commit, Journal, Store, StoreOptions};

const STEPS: u64 = 9;

fn faulty(plan: &Arc<FaultPlan>) -> StoreOptions {
    // Small segments, so that sealing and beginning one is part of the history.
    StoreOptions { faults: Some(Arc::clone(plan)), segment_bytes: 4096, ..options() }
}

/// Runs the history with one fault. What was acknowledged is there, what was refused is not, and what is unknown is there or not, after a crash at the
/// end; and the store went on or said that it cannot.
fn run(fault: Fault) {
    let directory = scratch();
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
    let directory = scratch();
    let plan = Arc::new(FaultPlan::new());
    let (store, _) = Store::open(directory.path(), faulty(&plan)).unwrap();
    let mut model = Model::default();
    for number in 1..=STEPS {
        model.append(&store, number).unwrap();
        if number == STEPS / 2 {
            store.close();
        }
    }
    use Operation::{Apply, Ask, Create, Flush, Remove, Rename, Sync, SyncDirectory, SyncTree, Truncate, Write};
    let all = [Create, Write, Sync, Truncate, Rename, Remove, SyncDirectory, SyncTree, Apply, Ask, Flush];
    all.into_iter().map(|kind| (kind, plan.count(kind))).collect()
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
    assert!(runs > 100, "{runs}");
}

#[test]
fn a_disk_that_stays_broken_ends_the_server_or_refuses() {
    for (operation, count) in clean_counts() {
        for nth in 1..=count {
            for failure in [Failure::InputOutput, Failure::Full] {
                // A full disk under sled is waited for; that takes half a minute each time.
                if failure == Failure::Full && [Operation::Apply, Operation::Ask, Operation::Flush].contains(&operation) {
                    continue;
                }
                run(Fault { operation, nth, failure, is_torn: operation == Operation::Write, is_lasting: true });
            }
        }
    }
}

#[test]
fn service_resumes_when_there_is_room_again() {
    let directory = scratch();
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

/// The threads that sled writes with meet a full disk behind the change that asked for it: the next question says so, and the writer may be who asks.
#[test]
fn a_sled_that_met_a_full_disk_is_opened_anew_whoever_finds_out() {
    let directory = scratch();
    let plan = Arc::new(FaultPlan::new());
    let (store, _) = Store::open(directory.path(), faulty(&plan)).unwrap();
    let mut model = Model::default();
    let full_at = |operation| {
        let nth = plan.count(operation) + 1;
        plan.arm(Fault { operation, nth, failure: Failure::Full, is_torn: false, is_lasting: false });
    };
    for number in 1..=8 {
        model.append(&store, number).unwrap();
    }
    // The head of a log that the writer does not know yet.
    full_at(Operation::Ask);
    let new_log = || commit(vec![draft(100, 0, b"new")], &[b"new"]);
    assert_eq!(within_a_minute(|| store.append(vec![vec![new_log()]])).len(), 1);
    model.accept(9, &new_log());
    // The place of a body that it is told to be stored.
    let prepared = store.prepare(vec![crate::contract::body(&vec![1; 100_000])]).unwrap();
    store.shared.places.forget_all();
    full_at(Operation::Ask);
    let with_body = Commit { bodies: prepared, ..commit(vec![draft(100, 1, b"large")], &[]) };
    let answers = within_a_minute(|| store.append(vec![vec![with_body.clone()]]));
    model.accept(answers[0].as_ref().unwrap()[0].commit, &with_body);
    full_at(Operation::Apply);
    within_a_minute(|| model.append(&store, 11)).unwrap();
    full_at(Operation::Ask);
    within_a_minute(|| model.check(&store));
    full_at(Operation::Apply);
    within_a_minute(|| store.put_cache(vec![(b"key".to_vec(), b"value".as_slice().into())])).unwrap();
    assert_eq!(store.cache(b"key").unwrap().as_deref(), Some(b"value".as_slice()));
    full_at(Operation::Flush);
    within_a_minute(|| store.close());
    assert_eq!(store.fatal(), None);
    model.check(&store);
    let crashed = crash(directory.path());
    let (store, report) = open(crashed.path());
    assert!(!report.is_rebuilt, "{report:?}");
    model.check(&store);
}

/// A job that must not hang.
fn within_a_minute<T: Send>(job: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let job = scope.spawn(job);
        for _ in 0..6000 {
            if job.is_finished() {
                return job.join().unwrap();
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        eprintln!("it hangs");
        std::process::abort();
    })
}

/// Opened anew, sled is given what lies behind the checkpoint. Where that cannot be read the server must end, not serve without it.
#[test]
fn a_group_that_reads_back_damaged_when_sled_is_opened_anew_ends_the_server() {
    for at_end in [false, true] {
        let directory = scratch();
        let plan = Arc::new(FaultPlan::new());
        let options = StoreOptions { segment_bytes: 1 << 20, ..faulty(&plan) };
        let (store, _) = Store::open(directory.path(), options).unwrap();
        let mut model = history(&store, 6);
        let path = directory.path().join("segments").join(crate::segment::name(1, 0));
        let wanted = if at_end { b"event 6 " } else { b"event 3 " };
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.windows(8).position(|window| window == wanted).unwrap();
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let nth = plan.count(Operation::Ask) + 1;
        plan.arm(Fault { operation: Operation::Ask, nth, failure: Failure::Full, is_torn: false, is_lasting: false });
        assert!(store.cache(b"anything").is_err());
        assert!(store.fatal().is_some());
        assert!(matches!(model.append(&store, 7), Err(AppendError::Failed(_))));
    }
}

#[test]
fn whoever_waits_is_told_when_a_read_finds_that_sled_is_broken() {
    let directory = scratch();
    let plan = Arc::new(FaultPlan::new());
    let (store, _) = Store::open(directory.path(), faulty(&plan)).unwrap();
    history(&store, 3);
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let telling = Arc::clone(&told);
    store.on_fatal(Arc::new(move |reason| telling.lock().unwrap().push(reason.to_owned())));
    let nth = plan.count(Operation::Ask) + 1;
    plan.arm(Fault { operation: Operation::Ask, nth, failure: Failure::InputOutput, is_torn: false, is_lasting: false });
    assert!(store.cache(b"anything").is_err());
    assert_eq!(*told.lock().unwrap(), [store.fatal().unwrap()]);
    // Who comes late is told at once.
    let telling = Arc::clone(&told);
    store.on_fatal(Arc::new(move |reason| telling.lock().unwrap().push(reason.to_owned())));
    assert_eq!(told.lock().unwrap().len(), 2);
}
