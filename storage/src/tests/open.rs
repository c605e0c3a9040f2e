//! Opening, closing, crashing.

use std::fs;
use std::path::Path;

use super::{Model, copy_tree, crash, history, open, options, scratch};
use crate::contract;
use crate::contract::{body, commit, draft};
use crate::record::BodyHash;
use crate::{Journal, OpenError, Store, StoreOptions};

#[test]
fn keeps_the_contract() {
    let directory = scratch();
    contract::check(&open(directory.path()).0);
    fs::remove_dir_all(sled_of(directory.path())).unwrap();
    let (store, _) = open(directory.path());
    assert_eq!(store.read(contract::log(6), 1, 10).unwrap().len(), 3);
    assert!(store.verify(false).unwrap().findings.is_empty());
}

#[test]
fn a_store_in_a_relative_directory_that_is_missing() {
    let directory = tempfile::tempdir_in(".").unwrap();
    let relative = directory.path().file_name().unwrap();
    let path = Path::new(relative).join("a/b");
    let model = history(&open(&path).0, 3);
    model.check(&open(&path).0);
}

#[test]
fn everything_is_there_after_a_clean_stop_and_after_a_crash() {
    let directory = scratch();
    let (store, report) = open(directory.path());
    assert!(report.sentences.is_empty(), "{report:?}");
    let mut model = history(&store, 60);
    model.check(&store);
    let crashed = crash(directory.path());
    let (reopened, report) = open(crashed.path());
    assert!(!report.is_rebuilt && report.cut_bytes == 0, "{report:?}");
    model.check(&reopened);
    store.close();
    drop(store);
    let (store, report) = open(directory.path());
    assert_eq!((report.sentences.len(), report.reapplied_commits), (0, 0), "{report:?}");
    model.check(&store);
    model.append(&store, 61).unwrap();
    model.check(&store);
    assert!(fs::read_dir(directory.path().join("segments")).unwrap().count() > 3);
}

#[test]
fn a_second_server_says_so() {
    let directory = scratch();
    let store = open(directory.path());
    assert!(matches!(Store::open(directory.path(), options()), Err(OpenError::Locked(_))));
    drop(store);
    open(directory.path());
}

fn sled_of(directory: &Path) -> std::path::PathBuf {
    directory.join("sled")
}

#[test]
fn a_sled_that_is_gone_cut_flipped_old_or_foreign_is_made_again() {
    let directory = scratch();
    let (store, _) = open(directory.path());
    let mut model = history(&store, 20);
    let early = crash(directory.path());
    for number in 21..=40 {
        model.append(&store, number).unwrap();
    }
    store.close();
    let middle = crash(directory.path());
    for number in 41..=60 {
        model.append(&store, number).unwrap();
    }
    let late = crash(directory.path());
    drop(store);
    let other = scratch();
    history(&open(other.path()).0, 100);
    let database = |copy: &Path| sled_of(copy).join("db");
    let flip = |copy: &Path, part: usize| {
        let mut bytes = fs::read(database(copy)).unwrap();
        let at = bytes.len() * part / 8;
        bytes[at] ^= 0x40;
        fs::write(database(copy), bytes).unwrap();
    };
    type Damage<'a> = (&'a str, Box<dyn Fn(&Path) + 'a>);
    let replaced = |source: &'_ Path| {
        let source = sled_of(source);
        move |copy: &Path| {
            fs::remove_dir_all(sled_of(copy)).unwrap();
            copy_tree(&source, &sled_of(copy));
        }
    };
    let mut damages: Vec<Damage<'_>> = vec![
        ("gone", Box::new(|copy| fs::remove_dir_all(sled_of(copy)).unwrap())),
        ("its file is gone", Box::new(|copy| fs::remove_file(database(copy)).unwrap())),
        ("empty", Box::new(|copy| fs::write(database(copy), "").unwrap())),
        ("cut", Box::new(|copy| fs::write(database(copy), &fs::read(database(copy)).unwrap()[..3000]).unwrap())),
        ("older than the checkpoint", Box::new(replaced(early.path()))),
        ("at the checkpoint", Box::new(replaced(middle.path()))),
        ("another store's", Box::new(replaced(other.path()))),
        (
            "old pages",
            Box::new(|copy| {
                let old = fs::read(database(early.path())).unwrap();
                let mut bytes = fs::read(database(copy)).unwrap();
                let half = old.len() / 2;
                bytes[half..old.len()].copy_from_slice(&old[half..]);
                fs::write(database(copy), bytes).unwrap();
            }),
        ),
    ];
    for part in 0..8 {
        damages.push(("flipped", Box::new(move |copy| flip(copy, part))));
    }
    for (name, damage) in damages {
        let copy = crash(late.path());
        damage(copy.path());
        let (store, report) = open(copy.path());
        model.check(&store);
        assert!(store.fatal().is_none(), "{name}");
        if ["gone", "older than the checkpoint", "another store's", "empty"].contains(&name) {
            assert!(report.is_rebuilt, "{name}: {report:?}");
        }
        let mut model = model.clone();
        model.append(&store, 61).unwrap();
        store.close();
        drop(store);
        let (store, report) = open(copy.path());
        assert!(!report.is_rebuilt, "{name}: {report:?}");
        model.check(&store);
    }
}

#[test]
fn a_torn_tail_of_any_length_is_cut_and_nothing_else() {
    let directory = scratch();
    let (store, _) = open(directory.path());
    let model = history(&store, 6);
    let path = directory.path().join("segments").join(crate::segment::name(1, 0));
    let before = fs::metadata(&path).unwrap().len() as usize;
    let base = crash(directory.path());
    assert!(store.append(vec![vec![commit(vec![draft(7, 0, b"torn")], &[b"a torn body"])]])[0].is_ok());
    let bytes = fs::read(&path).unwrap();
    drop(store);
    for length in before..bytes.len() {
        let copy = crash(base.path());
        fs::write(copy.path().join("segments").join(crate::segment::name(1, 0)), &bytes[..length]).unwrap();
        let (store, report) = open(copy.path());
        assert_eq!(report.cut_bytes as usize, length - before);
        model.check(&store);
        assert!(store.append(vec![vec![commit(vec![draft(7, 0, b"again")], &[b"a torn body"])]])[0].is_ok());
    }
}

#[test]
fn lost_metadata_is_made_again_from_the_segments() {
    let directory = scratch();
    let model = history(&open(directory.path()).0, 5);
    fs::remove_file(directory.path().join("carillon.store")).unwrap();
    let (store, report) = open(directory.path());
    assert_eq!(report.sentences.len(), 1);
    model.check(&store);
}

/// A restore that forgot them: an empty store in their place would have clients delete what they have.
#[test]
fn a_store_whose_segments_are_gone_is_no_new_one() {
    let directory = scratch();
    history(&open(directory.path()).0, 5);
    for gone in ["segments", "sled", "bodies"] {
        let _ = fs::remove_dir_all(directory.path().join(gone));
        assert!(
            matches!(Store::open(directory.path(), options()), Err(OpenError::Damaged(text)) if text.contains("no segments"))
        );
    }
}

#[test]
fn large_bodies_are_files_and_survive() {
    let directory = scratch();
    let (store, _) = open(directory.path());
    let large: Vec<u8> = (0..100_000_u32).flat_map(|number| (number.wrapping_mul(2_654_435_761)).to_le_bytes()).collect();
    let mut first = commit(vec![draft(1, 0, b"large")], &[]);
    first.bodies = store.prepare(vec![body(&large), body(b"small")]).unwrap();
    assert_eq!(first.bodies[1], body(b"small"));
    assert!(store.append(vec![vec![first]])[0].is_ok());
    drop(store);
    fs::remove_dir_all(sled_of(directory.path())).unwrap();
    let (store, _) = open(directory.path());
    assert_eq!(store.body(BodyHash::of(&large)).unwrap(), large);
    assert_eq!(store.body_range(BodyHash::of(&large), 70_000, 10).unwrap(), large[70_000..70_010]);
}

#[test]
fn a_body_that_sled_lost_is_found_in_the_segments_and_sled_is_made_again() {
    let directory = scratch();
    let (store, _) = open(directory.path());
    let model = history(&store, 60);
    let mut change = crate::sled::Change::default();
    let lost = [BodyHash::of(&model.bodies[2]), BodyHash::of(&model.bodies[59])];
    lost.iter().for_each(|hash| change.no_place(*hash));
    store.shared.places.forget_all();
    store.shared.ask(|log| log.apply(change.clone())).unwrap();
    assert_eq!(store.body(lost[0]).unwrap(), model.bodies[2]);
    assert!(store.fatal().is_some());
    assert_eq!(store.body(lost[1]).unwrap(), model.bodies[59]);
    drop(store);
    let (store, report) = open(directory.path());
    assert!(report.is_rebuilt);
    model.check(&store);
}

#[test]
fn below_the_reserve_commits_are_refused_and_reads_go_on() {
    let directory = scratch();
    let model = history(&open(directory.path()).0, 3);
    let greedy = StoreOptions { reserve_bytes: u64::MAX / 2, ..options() };
    let (store, _) = Store::open(directory.path(), greedy).unwrap();
    let mut same = model.clone();
    assert_eq!(same.append(&store, 4), Err(crate::AppendError::DiskFull));
    model.check(&store);
    assert_eq!(store.fatal(), None);
}

#[test]
fn many_lists_in_one_group() {
    let directory = scratch();
    let (store, _) = open(directory.path());
    let mut model = Model::default();
    let lists: Vec<_> =
        (0..500_u64).map(|number| vec![commit(vec![draft(number % 7, number / 7, &number.to_le_bytes())], &[])]).collect();
    for (answer, list) in store.append(lists.clone()).into_iter().zip(&lists) {
        model.accept(answer.unwrap()[0].commit, &list[0]);
    }
    let crashed = crash(directory.path());
    model.check(&open(crashed.path()).0);
}
