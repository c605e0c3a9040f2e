//! The order of what is done to the disk: an acknowledgement rests on it, and no crash that a test can make without root shows that a sync is missing.

use std::fs;
use std::sync::Arc;

use super::{Model, crash, history, open, options, scratch};
use crate::contract::{body, commit, draft};
use crate::fault::Operation::{self, *};
use crate::fault::{Failure, Fault, FaultPlan};
use crate::{Journal, Store, StoreOptions};

/// What happened since the last time, without the questions to sled.
struct Watch {
    plan: Arc<FaultPlan>,
    seen: usize,
}

impl Watch {
    fn open(directory: &std::path::Path) -> (Store, Self) {
        let plan = Arc::new(FaultPlan::new());
        let options = StoreOptions { faults: Some(Arc::clone(&plan)), ..options() };
        (Store::open(directory, options).unwrap().0, Self { plan, seen: 0 })
    }

    fn since(&mut self) -> Vec<Operation> {
        let all = self.plan.operations();
        let new = all[self.seen..].iter().copied().filter(|operation| *operation != Ask).collect();
        self.seen = all.len();
        new
    }
}

const GROUP: [Operation; 3] = [Write, Sync, Apply];
const SEGMENT: [Operation; 4] = [Create, Write, Sync, SyncDirectory];
/// A file that takes the place of another one.
const REPLACED: [Operation; 6] = [Remove, Create, Write, Sync, Rename, SyncDirectory];
const PUT_ASIDE: [Operation; 2] = [Rename, SyncDirectory];

#[test]
fn a_new_store_is_there_before_it_says_so() {
    let directory = scratch();
    let (_store, mut watch) = Watch::open(&directory.path().join("new"));
    let directories = [SyncDirectory; 4];
    // What an earlier try left is removed: sled.new and a first segment.
    let expected = [&directories[..], &[Remove, Remove], &SEGMENT, &REPLACED, &[SyncDirectory]].concat();
    assert_eq!(watch.since(), expected);
}

#[test]
fn a_commit_is_on_disk_before_sled_and_its_answer() {
    let directory = scratch();
    let (store, mut watch) = Watch::open(directory.path());
    watch.since();
    let mut model = Model::default();
    for number in 1..=5 {
        model.append(&store, number).unwrap();
        assert_eq!(watch.since(), GROUP);
    }
    let lists = (0..50).map(|log| vec![commit(vec![draft(log + 10, 0, b"together")], &[b"body"])]).collect();
    assert!(store.append(lists).iter().all(Result::is_ok));
    assert_eq!(watch.since(), GROUP);
    let number = (6..).find(|number| {
        model.append(&store, *number).unwrap();
        let operations = watch.since();
        let rolled = [&[Write, Sync, Remove][..], &SEGMENT, &GROUP].concat();
        assert!(operations == GROUP || operations == rolled, "{operations:?}");
        operations == rolled
    });
    assert!(number.unwrap() < 40, "no segment was begun");
}

#[test]
fn what_is_prepared_is_on_disk_before_the_commit_that_names_it() {
    let directory = scratch();
    let (store, mut watch) = Watch::open(directory.path());
    watch.since();
    let large = vec![7; 200_000];
    let prepared = store.prepare(vec![body(&large), body(b"small")]).unwrap();
    // Four blocks, the table, the head.
    assert_eq!(watch.since(), [&[Create][..], &[Write; 6], &[Sync, Rename, SyncDirectory]].concat());
    let mut named = commit(vec![draft(1, 0, b"large")], &[]);
    named.bodies = prepared;
    assert!(store.append(vec![vec![named]])[0].is_ok());
    assert_eq!(watch.since(), GROUP);
    assert_eq!(store.prepare(vec![body(&large)]).unwrap()[0].source, crate::BodySource::Stored);
    assert_eq!(watch.since(), []);
}

/// 17 MiB of one command: nobody waits for more than some of them at a time, and they are no files.
#[test]
fn what_is_much_is_written_ahead_some_at_a_time() {
    let directory = scratch();
    let plan = Arc::new(FaultPlan::new());
    let options =
        StoreOptions { faults: Some(Arc::clone(&plan)), large_body_bytes: 1 << 20, segment_bytes: 64 << 20, ..options() };
    let (store, _) = Store::open(directory.path(), options).unwrap();
    let mut watch = Watch { plan, seen: 0 };
    watch.since();
    let many: Vec<Vec<u8>> = (0..20_u8).map(|number| super::noise(u64::from(number), 900_000)).collect();
    let prepared = store.prepare(many.iter().map(|bytes| body(bytes)).collect()).unwrap();
    let operations = watch.since();
    assert_eq!(operations, GROUP.repeat(operations.len() / 3));
    assert!((6..=20).contains(&(operations.len() / 3)), "{operations:?}");
    assert!(prepared.iter().all(|body| body.source == crate::BodySource::Stored));
    let mut named = commit(vec![draft(1, 0, b"many")], &[]);
    named.bodies = prepared;
    assert!(store.append(vec![vec![named]])[0].is_ok());
    assert_eq!(watch.since(), GROUP);
    assert_eq!(fs::read_dir(directory.path().join("bodies")).unwrap().count(), 0);
    fs::remove_dir_all(crash(directory.path()).path().join("sled")).unwrap();
    let crashed = crash(directory.path());
    fs::remove_dir_all(crashed.path().join("sled")).unwrap();
    for store in [&store, &open(crashed.path()).0] {
        assert!(many.iter().all(|bytes| store.body(crate::BodyHash::of(bytes)).unwrap() == bytes));
    }
}

#[test]
fn a_checkpoint_is_noted_when_sleds_files_are_on_disk() {
    let directory = scratch();
    let (store, mut watch) = Watch::open(directory.path());
    history(&store, 5);
    watch.since();
    store.close();
    assert_eq!(watch.since(), [Flush, SyncTree, Write, Sync]);
    store.close();
    assert_eq!(watch.since(), []);
}

#[test]
fn a_checkpoint_whose_files_are_not_on_disk_is_not_noted() {
    let marked = REPLACED.to_vec();
    for (operation, before) in [(Flush, vec![Flush]), (SyncTree, vec![Flush, SyncTree])] {
        let directory = scratch();
        let (store, mut watch) = Watch::open(directory.path());
        let model = history(&store, 5);
        let nth = watch.plan.count(operation) + 1;
        watch.plan.arm(Fault { operation, nth, failure: Failure::InputOutput, is_torn: false, is_lasting: false });
        watch.since();
        store.close();
        assert_eq!(watch.since(), [before, marked.clone()].concat());
        assert!(store.fatal().is_some());
        let crashed = crash(directory.path());
        let (store, report) = open(crashed.path());
        assert!(report.is_rebuilt);
        model.check(&store);
    }
}

#[test]
fn what_a_start_shows_is_on_disk_before() {
    let directory = scratch();
    let (store, _) = open(directory.path());
    let model = history(&store, 5);
    let crashed = crash(directory.path());
    let (store, mut watch) = Watch::open(crashed.path());
    model.check(&store);
    // sled.new is removed, the tail is written once more; the marker is removed.
    let expected = [&[Remove][..], &[Write, Sync, SyncDirectory], &[Apply], &[Remove, SyncDirectory]].concat();
    assert_eq!(watch.since(), expected);
}

#[test]
fn a_sled_that_is_made_again_takes_its_place_when_it_is_on_disk() {
    let directory = scratch();
    let (store, _) = open(directory.path());
    let model = history(&store, 5);
    let crashed = crash(directory.path());
    fs::write(crashed.path().join("carillon.rebuild"), "tried").unwrap();
    let (store, mut watch) = Watch::open(crashed.path());
    model.check(&store);
    let tail = [Write, Sync, SyncDirectory];
    let made = [Remove, Apply, Flush, SyncTree, Remove, Rename, Rename, SyncDirectory];
    assert_eq!(watch.since(), [&[Remove][..], &tail, &made, &[Remove, SyncDirectory]].concat());
}

#[test]
fn a_mended_segment_takes_its_place_when_it_is_on_disk_and_the_damaged_one_is_kept() {
    let (base, model) = super::damage::stopped();
    let last = crate::segment::list(&base.path().join("segments")).unwrap().pop().unwrap();
    let mut bytes = fs::read(&last.path).unwrap();
    bytes[200] ^= 1;
    fs::write(&last.path, &bytes).unwrap();
    let (store, mut watch) = Watch::open(base.path());
    let tail = [Write, Sync, SyncDirectory];
    let expected = [&[Remove][..], &REPLACED, &PUT_ASIDE, &tail, &[Apply, Remove, SyncDirectory]].concat();
    assert_eq!(watch.since(), expected);
    assert_eq!(fs::read(base.path().join("damaged").join(last.path.file_name().unwrap())).unwrap(), bytes);
    for log in model.logs.keys() {
        assert_eq!(store.head(*log).unwrap().position, model.position(*log));
    }
}
