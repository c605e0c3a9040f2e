//! A flipped byte in a segment is said, healed or refused; never served.

use std::fs;
use std::path::Path;

use super::{Model, body_of, crash, history, open, options};
use crate::record::BodyHash;
use crate::{Journal, OpenError, ReadError, Store};

/// Everything that the store gives is what was put in, or an error.
fn never_wrong(model: &Model, store: &Store) -> bool {
    let mut is_whole = true;
    for (log, expected) in &model.logs {
        match store.read(*log, 1, usize::MAX) {
            Ok(records) => {
                let found: Vec<_> = records.iter().map(|record| (record.commit, record.events.clone())).collect();
                assert_eq!(&found, expected);
            }
            Err(_) => is_whole = false,
        }
    }
    for body in &model.bodies {
        match store.body(BodyHash::of(body)) {
            Ok(found) => assert_eq!(found, body),
            Err(ReadError::Damaged(_) | ReadError::NoSuchBody) => is_whole = false,
            Err(error) => panic!("{error}"),
        }
    }
    is_whole
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x20;
    fs::write(path, bytes).unwrap();
}

fn segments(directory: &Path) -> Vec<std::path::PathBuf> {
    crate::segment::list(&directory.join("segments")).unwrap().into_iter().map(|file| file.path).collect()
}

#[test]
fn with_a_whole_sled_no_record_is_ever_lost() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = open(directory.path());
    let model = history(&store, 40);
    // Without this sled's files are empty: what it was given lies in its memory.
    store.close();
    let base = crash(directory.path());
    drop(store);
    for (index, path) in segments(base.path()).iter().enumerate() {
        for at in (0..fs::metadata(path).unwrap().len() as usize).step_by(311) {
            let copy = crash(base.path());
            flip(&segments(copy.path())[index], at);
            let (store, report) = open(copy.path());
            let is_whole = never_wrong(&model, &store);
            assert!(store.fatal().is_none(), "segment {index} byte {at}: {report:?}");
            assert!(is_whole || !report.sentences.is_empty(), "segment {index} byte {at}");
            for log in model.logs.keys() {
                assert_eq!(store.head(*log).unwrap().position, model.position(*log), "segment {index} byte {at}: {report:?}");
            }
            let mut model = model.clone();
            model.append(&store, 41).unwrap();
        }
    }
}

#[test]
fn with_sled_gone_too_damage_is_refused_unless_it_was_never_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = open(directory.path());
    let model = history(&store, 40);
    store.close();
    let base = crash(directory.path());
    drop(store);
    fs::remove_dir_all(base.path().join("sled")).unwrap();
    let (mut opened, mut refused) = (0, 0);
    for (index, path) in segments(base.path()).iter().enumerate() {
        for at in (0..fs::metadata(path).unwrap().len() as usize).step_by(797) {
            let copy = crash(base.path());
            flip(&segments(copy.path())[index], at);
            match Store::open(copy.path(), options()) {
                Ok((store, report)) => {
                    // A flipped header or footer costs nothing.
                    assert!(never_wrong(&model, &store), "segment {index} byte {at}: {report:?}");
                    assert_eq!(store.newest_commit(), 40, "segment {index} byte {at}: {report:?}");
                    opened += 1;
                }
                Err(OpenError::Damaged(_)) => refused += 1,
                Err(error) => panic!("segment {index} byte {at}: {error}"),
            }
        }
    }
    assert!(opened > 0 && refused > 10, "{opened} {refused}");
}

#[test]
fn a_segment_that_was_cut_or_is_gone_is_mended_from_sled() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = open(directory.path());
    let model = history(&store, 40);
    store.close();
    let base = crash(directory.path());
    drop(store);
    let count = segments(base.path()).len();
    assert!(count >= 3);
    for index in 0..count {
        for is_removed in [false, true] {
            let copy = crash(base.path());
            let path = &segments(copy.path())[index];
            if is_removed {
                fs::remove_file(path).unwrap();
            } else {
                fs::File::options().write(true).open(path).unwrap().set_len(1000).unwrap();
            }
            let (store, report) = open(copy.path());
            never_wrong(&model, &store);
            for log in model.logs.keys() {
                assert_eq!(store.head(*log).unwrap().position, model.position(*log), "{index} {is_removed}: {report:?}");
            }
            let mut model = model.clone();
            model.append(&store, 41).unwrap();
            drop(store);
            let (store, _) = open(copy.path());
            never_wrong(&model, &store);
            assert_eq!(store.newest_commit(), 41);
        }
    }
}

#[test]
fn a_body_that_is_damaged_is_written_again_when_it_comes_again() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = open(directory.path());
    let model = history(&store, 3);
    let body = body_of(2);
    let path = &segments(directory.path())[0];
    let bytes = fs::read(path).unwrap();
    let at = bytes.windows(20).position(|window| window == &body[..20]).unwrap();
    flip(path, at + 3);
    assert!(matches!(store.body(BodyHash::of(&body)), Err(ReadError::Damaged(_))));
    let again = crate::contract::commit(vec![crate::contract::draft(9, 0, b"again")], &[&body]);
    assert!(store.append(vec![vec![again]])[0].is_ok());
    assert_eq!(store.body(BodyHash::of(&body)).unwrap(), body);
    never_wrong(&model, &store);
}

/// After a failed sync the group's bytes may well be in the file. The next segment's header says that they do not exist; without it, that segment's commits say so.
#[test]
fn a_refused_group_stays_refused_when_the_header_that_says_so_is_damaged() {
    use crate::StoreOptions;
    use crate::fault::{Failure, Fault, FaultPlan, Operation};
    let plan = std::sync::Arc::new(FaultPlan::new());
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path(), StoreOptions { faults: Some(plan.clone()), ..options() }).unwrap();
    let mut model = history(&store, 3);
    let nth = plan.count(Operation::Sync) + 1;
    plan.arm(Fault { operation: Operation::Sync, nth, failure: Failure::InputOutput, is_torn: false, is_lasting: false });
    let refused = crate::contract::commit(vec![crate::contract::draft(9, 0, b"refused")], &[b"refused"]);
    assert!(store.append(vec![vec![refused]])[0].is_err());
    for number in 4..=6 {
        model.append(&store, number).unwrap();
    }
    let base = crash(directory.path());
    for (is_flipped, has_sled) in [(false, true), (false, false), (true, true), (true, false)] {
        let copy = crash(base.path());
        if is_flipped {
            flip(&segments(copy.path())[1], 75);
        }
        if !has_sled {
            fs::remove_dir_all(copy.path().join("sled")).unwrap();
        }
        let (store, report) = open(copy.path());
        model.check(&store);
        assert_eq!(store.newest_commit(), 6, "{is_flipped} {has_sled}: {report:?}");
    }
}
