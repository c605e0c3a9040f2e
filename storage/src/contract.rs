//! What every [`Journal`] must do, checked on an empty one. Each engine's tests call it.

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
    Body { hash: BodyHash::of(bytes), length: bytes.len() as u64, source }
}

pub(crate) fn check(journal: &dyn Journal) {
    appends_and_refusals(journal);
    reads(journal);
    bodies(journal);
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
    let large = vec![b'x'; 3 * 1024 * 1024];
    let path = journal.spool().unwrap();
    std::fs::write(&path, &large).unwrap();
    let spooled = Body { hash: BodyHash::of(&large), length: large.len() as u64, source: BodySource::File(path.clone()) };
    let prepared = journal.prepare(spooled.clone()).unwrap();
    assert_eq!((&prepared.source, path.exists()), (&BodySource::Stored, false));
    let mut with_large = commit(vec![draft(4, 0, b"large")], &[]);
    with_large.bodies.push(prepared);
    assert!(matches!(journal.append(vec![vec![with_large]]).as_slice(), [Ok(_)]));
    assert_eq!(journal.body(spooled.hash).unwrap(), large);
    let mut unknown = commit(vec![draft(4, 1, b"?")], &[]);
    unknown.bodies.push(Body { hash: BodyHash::of(b"?"), length: 1, source: BodySource::Stored });
    assert!(matches!(journal.append(vec![vec![unknown]]).as_slice(), [Err(AppendError::Failed(_))]));
    let path = journal.spool().unwrap();
    std::fs::write(&path, b"small").unwrap();
    let mut unprepared = commit(vec![draft(4, 1, b"small")], &[]);
    unprepared.bodies.push(Body { hash: BodyHash::of(b"small"), length: 5, source: BodySource::File(path.clone()) });
    assert!(matches!(journal.append(vec![vec![unprepared]]).as_slice(), [Ok(_)]));
    assert_eq!((journal.body(BodyHash::of(b"small")).unwrap(), path.exists()), (Bytes::from_static(b"small"), false));
    let mut misnamed = commit(vec![draft(4, 2, b"misnamed")], &[b"one"]);
    misnamed.bodies[0].hash = BodyHash::of(b"other");
    assert!(matches!(journal.append(vec![vec![misnamed]]).as_slice(), [Err(AppendError::Failed(_))]));
    assert_eq!(journal.newest_commit(), 5);
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
