//! A flipped byte in a segment is said, healed or refused; never served.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{Model, body_of, crash, history, open, options, scratch};
use crate::contract::log;
use crate::record::BodyHash;
use crate::survey::{Tail, examine};
use crate::{Journal, OpenError, OpenReport, ReadError, Store};

/// Everything that the store gives is what was put in, or an error; the bodies that are none.
fn lost_bodies(model: &Model, store: &Store) -> Vec<BodyHash> {
    for (log, expected) in &model.logs {
        let records = store.read(*log, 1, usize::MAX).unwrap();
        let found: Vec<_> = records.iter().map(|record| (record.commit, record.events.clone())).collect();
        assert_eq!(&found, expected);
    }
    let is_lost = |hash: &BodyHash, body: &[u8]| match store.body(*hash) {
        Ok(found) => {
            assert_eq!(found, body);
            false
        }
        Err(ReadError::Damaged(_) | ReadError::NoSuchBody) => true,
        Err(error) => panic!("{error}"),
    };
    let bodies = model.bodies.iter().map(|body| (BodyHash::of(body), body));
    bodies.filter(|(hash, body)| is_lost(hash, body)).map(|(hash, _)| hash).collect()
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x20;
    fs::write(path, bytes).unwrap();
}

fn segments(directory: &Path) -> Vec<std::path::PathBuf> {
    crate::segment::list(&directory.join("segments")).unwrap().into_iter().map(|file| file.path).collect()
}

/// A directory with forty commits in several segments, stopped cleanly, and what must be there.
pub(super) fn stopped() -> (tempfile::TempDir, Model) {
    let directory = scratch();
    let (store, _) = open(directory.path());
    let model = history(&store, 40);
    // Without this sled's files are empty: what it was given lies in its memory.
    store.close();
    let base = crash(directory.path());
    (base, model)
}

fn without_sled(directory: &Path) {
    fs::remove_dir_all(directory.join("sled")).unwrap();
}

/// Nothing is damaged, and each segment's header says what is true.
fn is_all_right(store: &Store, newest: u64) {
    let identity = store.shared.identity();
    let found = crate::survey::spans(&store.shared.home.directory.join("segments"), identity).unwrap();
    let mut next = std::collections::HashMap::new();
    let examination = examine(&found, 0, identity, Tail::Open(newest), &mut |span, met| {
        if let crate::scan::Found::Group { header, .. } = met {
            next.entry(span.number + 1).and_modify(|next| *next = header.next().max(*next)).or_insert(header.next());
        }
        Ok(())
    });
    let examination = examination.unwrap();
    assert!(examination.damages.is_empty() && examination.newest == newest, "{examination:?}");
    for pair in found.windows(2) {
        let header = pair[1].header.unwrap();
        assert_eq!(header.predecessor_commit + 1, next[&pair[1].number], "{header:?}");
        assert_eq!((header.predecessor_end, pair[0].length), (pair[0].end, pair[0].end));
    }
}

/// Where in the files the entries of bodies lie, with their heads: file, begin and end.
fn bodies_on_disk(store: &Store, model: &Model) -> Vec<(BodyHash, usize, std::ops::Range<usize>)> {
    let place = |body: &Vec<u8>| {
        let place = store.shared.place(BodyHash::of(body)).unwrap().unwrap();
        let start = place.offset as usize;
        (BodyHash::of(body), place.segment as usize - 1, start..start + place.stored as usize)
    };
    model.bodies.iter().map(place).collect()
}

#[test]
fn with_a_whole_sled_one_flipped_byte_costs_one_body_at_most() {
    let (base, model) = stopped();
    let bodies = bodies_on_disk(&open(crash(base.path()).path()).0, &model);
    for (index, path) in segments(base.path()).iter().enumerate() {
        for at in (0..fs::metadata(path).unwrap().len() as usize).step_by(311) {
            let what = format!("segment {index} byte {at}");
            let hit: Vec<_> = bodies.iter().filter(|(_, file, range)| *file == index && range.contains(&at)).collect();
            let copy = crash(base.path());
            flip(&segments(copy.path())[index], at);
            for is_mended in [false, true] {
                let (store, report) = open(copy.path());
                assert_eq!(
                    lost_bodies(&model, &store),
                    hit.iter().map(|(hash, ..)| *hash).collect::<Vec<_>>(),
                    "{what}: {report:?}"
                );
                assert!(store.fatal().is_none(), "{what}: {report:?}");
                let findings = store.verify(true).unwrap();
                let named: BTreeSet<BodyHash> = findings.findings.iter().flat_map(|finding| finding.bodies.clone()).collect();
                // Of one without a head only sled and the logs know.
                let with_head: Vec<_> = hit.iter().filter(|(_, _, range)| at >= range.start + crate::body::HEAD).collect();
                assert!(with_head.iter().all(|(hash, ..)| named.contains(hash)), "{what} {is_mended}: {findings:?}");
                assert!(named.iter().all(|hash| hit.iter().any(|(hit, ..)| hit == hash)), "{what} {is_mended}: {findings:?}");
                assert!(with_head.is_empty() || !findings.is_whole(), "{what} {is_mended}: {findings:?}");
                assert!(
                    findings.findings.iter().all(|finding| finding.is_healed || finding.records.is_empty()),
                    "{what}: {findings:?}"
                );
                drop(store);
                // What was mended stands without sled too.
                without_sled(copy.path());
            }
            model.clone().append(&open(copy.path()).0, 41).unwrap();
        }
    }
}

#[test]
fn with_sled_gone_too_a_start_is_refused_for_a_record_alone() {
    let (base, model) = stopped();
    let bodies = bodies_on_disk(&open(crash(base.path()).path()).0, &model);
    without_sled(base.path());
    let (mut opened, mut refused) = (0, 0);
    for (index, path) in segments(base.path()).iter().enumerate() {
        let bytes = fs::read(path).unwrap();
        for at in (0..bytes.len()).step_by(197) {
            let what = format!("segment {index} byte {at}");
            let hit: Vec<_> = bodies.iter().filter(|(_, file, range)| *file == index && range.contains(&at)).collect();
            let copy = crash(base.path());
            flip(&segments(copy.path())[index], at);
            match Store::open(copy.path(), options()) {
                Ok((store, report)) => {
                    let lost = lost_bodies(&model, &store);
                    assert_eq!(lost, hit.iter().map(|(hash, ..)| *hash).collect::<Vec<_>>(), "{what}: {report:?}");
                    assert_eq!(store.newest_commit(), 40, "{what}: {report:?}");
                    let is_said = |hash: &BodyHash| report.sentences.iter().any(|text| text.contains(&hash.to_string()));
                    let has_head = |range: &std::ops::Range<usize>| at >= range.start + crate::body::HEAD;
                    assert!(hit.iter().all(|(hash, _, range)| is_said(hash) || !has_head(range)), "{what}: {report:?}");
                    opened += 1;
                }
                Err(OpenError::Damaged(text)) => {
                    assert!(hit.is_empty(), "{what}: {text}");
                    assert!(text.contains("commits"), "{text}");
                    refused += 1;
                }
                Err(error) => panic!("{what}: {error}"),
            }
        }
    }
    assert!(opened > 100 && refused > 10, "{opened} {refused}");
}

#[test]
fn a_segment_that_was_cut_or_is_gone_is_mended_from_sled() {
    let (base, model) = stopped();
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
            let lost = lost_bodies(&model, &store);
            assert!(!lost.is_empty() && report.healed_records > 0, "{index} {is_removed}: {report:?}");
            is_all_right(&store, 40);
            let mut model = model.clone();
            model.append(&store, 41).unwrap();
            drop(store);
            // What was mended holds all records: sled can be made from it.
            without_sled(copy.path());
            let (store, report) = open(copy.path());
            assert_eq!(lost_bodies(&model, &store), lost, "{report:?}");
            assert_eq!(store.newest_commit(), 41);
        }
    }
}

/// The end of one segment and the header of the next: what is missing has no room where it was.
#[test]
fn a_cut_segment_before_a_lost_header_is_mended_from_sled() {
    let (base, model) = stopped();
    let paths = segments(base.path());
    let bytes = fs::read(&paths[1]).unwrap();
    // One of them between two groups, where nothing damaged is left.
    let between = (200..).find(|at| bytes[*at..].starts_with(b"CARILGRP")).unwrap() as u64;
    for cut in [129, 700, 5000, between] {
        let copy = crash(base.path());
        let path = |index: usize| copy.path().join("segments").join(paths[index].file_name().unwrap());
        fs::File::options().write(true).open(path(1)).unwrap().set_len(cut).unwrap();
        flip(&path(2), 75);
        let (store, report) = open(copy.path());
        assert!(!lost_bodies(&model, &store).is_empty() && report.healed_records > 0, "{report:?}");
        is_all_right(&store, 40);
        drop(store);
        without_sled(copy.path());
        let (store, _) = open(copy.path());
        lost_bodies(&model, &store);
    }
}

#[test]
fn many_flipped_bits_in_one_segment_are_mended_together() {
    let (base, model) = stopped();
    let copy = crash(base.path());
    let path = &segments(copy.path())[1];
    let mut bytes = fs::read(path).unwrap();
    (500..bytes.len()).step_by(900).for_each(|at| bytes[at] ^= 4);
    fs::write(path, bytes).unwrap();
    let (store, _) = open(copy.path());
    // The start had no need of that segment.
    assert!(!lost_bodies(&model, &store).is_empty());
    let report = store.verify(true).unwrap();
    assert!(report.findings.iter().all(|finding| finding.is_healed || finding.records.is_empty()), "{report:?}");
    let lost = lost_bodies(&model, &store);
    drop(store);
    without_sled(copy.path());
    assert_eq!(lost_bodies(&model, &open(copy.path()).0), lost);
}

/// A mail can hold what looks like a record's entry. Where its body is damaged those bytes are searched for records; whoever sent it knows no chain to put there.
#[test]
fn a_record_that_a_mail_pretends_to_be_is_none() {
    for (has_sled, at_head) in [(true, true), (true, false), (false, true), (false, false)] {
        let directory = scratch();
        let (store, _) = open(directory.path());
        let mut model = history(&store, 5);
        let mut forged = store.read(log(2), model.position(log(2)), 1).unwrap().remove(0);
        (forged.position, forged.commit, forged.events) = (forged.position + 1, 6, bytes::Bytes::from_static(b"forged"));
        let encoded = crate::format::encode_record(&forged).unwrap();
        let mut mail = b"Subject: see attachment\r\n\r\n".to_vec();
        mail.extend(crate::format::EntryKind::Record.head(encoded.len() as u64));
        mail.extend(encoded);
        mail.extend(b"\r\nthe end of it\r\n");
        let with_mail = crate::contract::commit(vec![crate::contract::draft(1, model.position(log(1)), b"sixth")], &[&mail]);
        let committed = store.append(vec![vec![with_mail.clone()]]).remove(0).unwrap();
        model.accept(committed[0].commit, &with_mail);
        model.append(&store, 7).unwrap();
        store.close();
        let copy = crash(directory.path());
        drop(store);
        let path = &segments(copy.path())[0];
        let bytes = fs::read(path).unwrap();
        let begin = bytes.windows(mail.len()).position(|window| window == mail).unwrap();
        flip(path, if at_head { begin - 20 } else { begin + mail.len() - 3 });
        if !has_sled {
            without_sled(copy.path());
        }
        let (store, report) = open(copy.path());
        assert_eq!(lost_bodies(&model, &store), [BodyHash::of(&mail)], "{report:?}");
        store.verify(true).unwrap();
        assert_eq!(store.head(log(2)).unwrap().position, model.position(log(2)));
    }
}

#[test]
fn a_body_that_is_damaged_is_written_again_when_it_comes_again() {
    let directory = scratch();
    let (store, _) = open(directory.path());
    let model = history(&store, 3);
    let body = body_of(2);
    let path = &segments(directory.path())[0];
    let bytes = fs::read(path).unwrap();
    let at = bytes.windows(20).position(|window| window == &body[..20]).unwrap();
    flip(path, at + 3);
    assert!(matches!(store.body(BodyHash::of(&body)), Err(ReadError::Damaged(_))));
    let mut again = crate::contract::commit(vec![crate::contract::draft(9, 0, b"again")], &[]);
    again.bodies = store.prepare(vec![crate::contract::body(&body)]).unwrap();
    assert!(store.append(vec![vec![again]])[0].is_ok());
    assert_eq!(store.body(BodyHash::of(&body)).unwrap(), body);
    assert!(lost_bodies(&model, &store).is_empty());
}

/// After a failed sync the group's bytes may well be in the file. The next segment's header says that they do not exist; without it, that segment's commits say so.
#[test]
fn a_refused_group_stays_refused_when_the_header_that_says_so_is_damaged() {
    use crate::StoreOptions;
    use crate::fault::{Failure, Fault, FaultPlan, Operation};
    let plan = std::sync::Arc::new(FaultPlan::new());
    let directory = scratch();
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
            without_sled(copy.path());
        }
        let (store, report): (Store, OpenReport) = open(copy.path());
        model.check(&store);
        assert_eq!(store.newest_commit(), 6, "{is_flipped} {has_sled}: {report:?}");
        assert_eq!(store.head(log(9)).unwrap().position, 0);
    }
}
