//! What every [`Journal`] must do, checked on an empty one. Each engine's tests call it.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::{AppendError, ReadError};
use crate::journal::Journal;
use crate::record::{Author, Body, BodyHash, BodySource, Chain, Commit, Committed, Head, LogId, Position, RecordDraft};

pub(crate) fn log(id: u64) -> LogId {
    LogId { kind: 3, id }
}

pub(crate) fn draft(id: u64, expected: Position, events: &[u8]) -> RecordDraft {
    RecordDraft { log: log(id), expected, version: 1, events: Bytes::copy_from_slice(events) }
}

pub(crate) fn commit(records: Vec<RecordDraft>, bodies: &[&[u8]]) -> Commit {
    let author = Author { session: 7, command: 2, tag: "a1".into(), verb: "APPEND".into() };
    Commit { at: 1_700_000_000_000_000, author, records, bodies: bodies.iter().map(|bytes| body(bytes)).collect() }
}

pub(crate) fn body(bytes: &[u8]) -> Body {
    let source = BodySource::Memory(Bytes::copy_from_slice(bytes));
    Body { hash: BodyHash::of(bytes), length: bytes.len() as u64, source, beside: None }
}

/// A body in a file of the journal's spool, and where that is.
pub(crate) fn spooled(journal: &dyn Journal, bytes: &[u8]) -> (Body, PathBuf) {
    let file = journal.spool().unwrap();
    bytes.chunks(1000).for_each(|piece| file.write(piece).unwrap());
    let path = file.path().to_path_buf();
    (Body { source: BodySource::File(Arc::new(file)), ..body(bytes) }, path)
}

pub(crate) fn check(journal: &dyn Journal) {
    appends_and_refusals(journal);
    reads(journal);
    bodies(journal);
    prepared_bodies(journal);
    beside_bodies(journal);
    limits(journal);
    long_records(journal);
    caches(journal);
    assert_eq!(journal.fatal(), None);
    journal.close();
}

fn appends_and_refusals(journal: &dyn Journal) {
    assert_eq!((journal.newest_commit(), journal.head(log(1)).unwrap()), (0, Head::default()));
    let answers = journal.append(vec![
        vec![commit(vec![draft(2, 0, b"two"), draft(1, 0, b"one")], &[b"hello"]), commit(vec![draft(1, 1, b"more")], &[])],
        // Refused whole: its first commit would do, its second does not.
        vec![commit(vec![draft(9, 0, b"nine")], &[b"never"]), commit(vec![draft(1, 1, b"late")], &[])],
        vec![commit(vec![draft(2, 1, b"after")], &[b"hello"])],
        vec![],
    ]);
    assert_eq!(
        answers,
        vec![
            Ok(vec![Committed { commit: 1, positions: vec![1, 1] }, Committed { commit: 2, positions: vec![2] }]),
            Err(AppendError::Conflict { log: log(1), expected: 1, found: 2 }),
            Ok(vec![Committed { commit: 3, positions: vec![2] }]),
            Ok(vec![]),
        ]
    );
    let twice = journal.append(vec![vec![commit(vec![draft(5, 0, b"x"), draft(5, 1, b"y")], &[])]]);
    assert!(matches!(twice.as_slice(), [Err(AppendError::Failed(_))]));
    assert_eq!(journal.head(log(9)).unwrap(), Head::default());
    assert_eq!(journal.newest_commit(), 3);
}

fn reads(journal: &dyn Journal) {
    let records = journal.read(log(1), 1, 10).unwrap();
    assert_eq!(records.iter().map(|record| (record.position, record.commit)).collect::<Vec<_>>(), [(1, 1), (2, 2)]);
    assert_eq!(records[0].author.tag, "a1");
    let mut chain = Chain::default();
    for record in &records {
        assert_eq!(record.chain, record.chain_after(chain));
        chain = record.chain;
    }
    assert_eq!(journal.head(log(1)).unwrap(), Head { position: 2, chain });
    assert_eq!(journal.read(log(1), 0, 1).unwrap(), records[..1]);
    assert_eq!(journal.read(log(1), 2, 10).unwrap(), records[1..]);
    assert_eq!(journal.read(log(1), 3, 10).unwrap(), []);
    assert_eq!(journal.read(log(8), 1, 10).unwrap(), []);
    assert_eq!(journal.read(log(1), u64::MAX, usize::MAX).unwrap(), []);
    assert_eq!(journal.logs(3).unwrap(), [log(1), log(2)]);
    assert_eq!(journal.logs(4).unwrap(), []);
    let places = |from, limit| -> Vec<(u64, u64, u64)> {
        journal.commits(from, limit).unwrap().iter().map(|record| (record.commit, record.log.id, record.position)).collect()
    };
    assert_eq!(places(1, 2), [(1, 1, 1), (1, 2, 1), (2, 1, 2)]);
    assert_eq!(places(2, 10), [(2, 1, 2), (3, 2, 2)]);
    assert_eq!(places(4, 10), []);
}

fn bodies(journal: &dyn Journal) {
    let hello = BodyHash::of(b"hello");
    assert_eq!(journal.body(hello).unwrap(), "hello");
    assert_eq!(journal.body_range(hello, 1, 3).unwrap(), "ell");
    assert_eq!(journal.body_range(hello, 4, u64::MAX).unwrap(), "o");
    assert_eq!(journal.body_range(hello, 5, 1).unwrap(), "");
    assert_eq!(journal.body_range(hello, u64::MAX, u64::MAX).unwrap(), "");
    assert_eq!(journal.body(BodyHash::of(b"never")), Err(ReadError::NoSuchBody));
    assert_eq!(journal.body_range(BodyHash::of(b"never"), 0, 1), Err(ReadError::NoSuchBody));
    let (unprepared, path) = spooled(journal, b"small");
    let mut with_file = commit(vec![draft(4, 0, b"small")], &[]);
    with_file.bodies.push(unprepared);
    assert!(matches!(journal.append(vec![vec![with_file]]).as_slice(), [Ok(_)]));
    assert_eq!((journal.body(BodyHash::of(b"small")).unwrap(), path.exists()), (Bytes::from_static(b"small"), false));
    let mut misnamed = commit(vec![draft(4, 1, b"misnamed")], &[b"one"]);
    misnamed.bodies[0].hash = BodyHash::of(b"other");
    assert!(matches!(journal.append(vec![vec![misnamed]]).as_slice(), [Err(AppendError::Failed(_))]));
    assert_eq!(journal.newest_commit(), 4);
}

/// Appends one commit with these bodies to a log of its own.
fn append_bodies(journal: &dyn Journal, bodies: Vec<Body>) -> Result<Vec<Committed>, AppendError> {
    let position = journal.head(log(5)).unwrap().position;
    journal.append(vec![vec![Commit { bodies, ..commit(vec![draft(5, position, b"bodies")], &[]) }]]).remove(0)
}

fn prepared_bodies(journal: &dyn Journal) {
    let large = vec![b'x'; 3 * 1024 * 1024];
    let (in_file, path) = spooled(journal, &large);
    let many: Vec<Vec<u8>> = (0..6_u8).map(|number| vec![number; 900_000]).collect();
    let together = many.iter().map(|bytes| body(bytes)).chain([in_file, body(&many[0]), body(b"and a small one")]);
    let prepared = journal.prepare(together.collect()).unwrap();
    assert_eq!((prepared.len(), prepared[6].hash, path.exists()), (9, BodyHash::of(&large), false));
    assert_eq!(prepared[6].source, BodySource::Stored);
    // Before a commit names it, as well as behind.
    assert_eq!(journal.body(BodyHash::of(&large)).unwrap(), large);
    assert!(append_bodies(journal, prepared).is_ok());
    for bytes in many.iter().chain([&large]) {
        assert_eq!(journal.body(BodyHash::of(bytes)).unwrap(), bytes);
    }
    let in_memory = journal.prepare(vec![body(&vec![b'y'; 2 * 1024 * 1024])]).unwrap();
    assert_eq!(in_memory[0].source, BodySource::Stored);
    let unknown = Body { source: BodySource::Stored, ..body(b"?") };
    assert!(matches!(append_bodies(journal, vec![unknown]), Err(AppendError::Failed(_))));
    // One that is not what its name says spoils the others of its command, and their files are gone all the same.
    let ((good, first), (wrong, second)) = (spooled(journal, b"good"), spooled(journal, &large[1..]));
    let refused = journal.prepare(vec![good, Body { hash: BodyHash::of(b"other"), ..wrong }]);
    assert!(matches!(refused, Err(AppendError::Failed(_))));
    assert!(!first.exists() && !second.exists());
    let abandoned = journal.spool().unwrap();
    let path = abandoned.path().to_path_buf();
    drop(abandoned);
    assert!(!path.exists());
}

fn beside_bodies(journal: &dyn Journal) {
    let with =
        |bytes: &[u8], value: &'static [u8]| Body { beside: Some((bytes.to_vec(), Bytes::from_static(value))), ..body(bytes) };
    let large = vec![b'z'; 2 * 1024 * 1024];
    let prepared = journal.prepare(vec![with(&large, b"of a large one"), with(b"small", b"of a small one")]).unwrap();
    let refused = vec![with(b"refused", b"of one that is not stored"), Body { source: BodySource::Stored, ..body(b"?") }];
    assert!(append_bodies(journal, refused).is_err());
    assert!(append_bodies(journal, prepared).is_ok());
    assert_eq!(journal.cache(&large).unwrap().as_deref(), Some(b"of a large one".as_slice()));
    assert_eq!(journal.cache(b"small").unwrap().as_deref(), Some(b"of a small one".as_slice()));
    assert_eq!(journal.cache(b"refused"), Ok(None));
}

fn limits(journal: &dyn Journal) {
    let huge = vec![0; crate::format::LIST_LIMIT + 1];
    let too_large = |answers: Vec<Result<_, _>>| assert_eq!(answers, [Err(AppendError::TooLarge)]);
    too_large(journal.append(vec![vec![commit(vec![draft(5, 1, &huge)], &[b"not stored"])]]));
    let unprepared: Vec<Vec<u8>> = (0..17_u8).map(|number| vec![number; 1024 * 1024]).collect();
    let unprepared: Vec<&[u8]> = unprepared.iter().map(Vec::as_slice).collect();
    too_large(journal.append(vec![vec![commit(vec![draft(5, 1, b"bodies")], &unprepared)]]));
    assert_eq!(journal.body(BodyHash::of(b"not stored")), Err(ReadError::NoSuchBody));
}

fn long_records(journal: &dyn Journal) {
    let long: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    for position in 0..3 {
        assert!(journal.append(vec![vec![commit(vec![draft(6, position, &long)], &[])]])[0].is_ok());
    }
    let records = journal.read(log(6), 1, 10).unwrap();
    assert_eq!(records.iter().map(|record| record.position).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(records.iter().all(|record| record.events == long));
}

fn caches(journal: &dyn Journal) {
    let long: Bytes = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    journal.put_cache(vec![(b"a".to_vec(), Bytes::from_static(b"1")), (b"long".to_vec(), long.clone())]).unwrap();
    assert_eq!(journal.cache(b"a").unwrap().as_deref(), Some(b"1".as_slice()));
    assert_eq!(journal.cache(b"long").unwrap(), Some(long.clone()));
    assert_eq!(journal.cache(b"b").unwrap(), None);
    let shorter = long.slice(..100_000);
    journal.put_cache(vec![(b"a".to_vec(), Bytes::new()), (b"long".to_vec(), shorter.clone())]).unwrap();
    assert_eq!(journal.cache(b"a").unwrap(), None);
    assert_eq!(journal.cache(b"long").unwrap(), Some(shorter));
    journal.put_cache(vec![(b"long".to_vec(), Bytes::from_static(b"short"))]).unwrap();
    assert_eq!(journal.cache(b"long").unwrap().as_deref(), Some(b"short".as_slice()));
}
