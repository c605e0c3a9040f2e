//! `log verify` says what is damaged, whose it is, and mends it while the store serves.

use std::fs;

use super::{history, open};
use crate::contract::log;
use crate::record::BodyHash;
use crate::{Journal, Store};

#[test]
fn a_whole_store_has_no_findings() {
    let directory = tempfile::tempdir().unwrap();
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
    let directory = tempfile::tempdir().unwrap();
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
    let directory = tempfile::tempdir().unwrap();
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
    let directory = tempfile::tempdir().unwrap();
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
