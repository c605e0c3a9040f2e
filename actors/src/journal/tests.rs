use std::sync::Arc;

use bytes::Bytes;
use carillon_storage::{AppendError, Author, Commit, LogId, Position, RecordDraft};
use futures_util::future::{join, join_all};

use super::actor::{JournalActor, JournalHandle};
use crate::fault::Ending;
use crate::placement::Placement;
use crate::testing::{Watched, simulate};

const LOG: LogId = LogId { kind: 2, id: 7 };

fn log(id: u64) -> LogId {
    LogId { kind: 2, id }
}

fn commit(log: LogId, expected: Position, command: u32) -> Commit {
    let author = Author { session: 3, command, ..Author::default() };
    let records = vec![RecordDraft { log, expected, version: 1, events: Bytes::from_static(b"x") }];
    Commit { at: 1, author, records, bodies: vec![] }
}

fn start(store: &Arc<Watched>) -> (JournalHandle, Ending) {
    let ending = Ending::default();
    (JournalActor::start(store.clone(), &Placement::one_thread(), &ending), ending)
}

#[test]
fn what_arrives_during_a_flush_shares_the_next_one() {
    simulate(async {
        let store = Watched::new();
        let (journal, _) = start(&store);
        let answers = join_all((0..50).map(|id| journal.append(vec![commit(log(id), 0, 1)]))).await;
        assert!(answers.iter().all(Result::is_ok));
        assert_eq!(store.flushes(), 2);
    });
}

#[test]
fn a_refused_list_does_not_touch_its_neighbours() {
    simulate(async {
        let (journal, _) = start(&Watched::new());
        let lists = [vec![commit(LOG, 0, 1)], vec![commit(log(8), 0, 1), commit(LOG, 0, 2)], vec![commit(LOG, 1, 3)]];
        let answers = join_all(lists.map(|list| journal.append(list))).await;
        assert!(answers[0].is_ok() && answers[2].is_ok());
        assert_eq!(answers[1], Err(AppendError::Conflict { log: LOG, expected: 0, found: 1 }));
        assert_eq!(journal.replay(log(8), 1).await, Ok(vec![]));
    });
}

#[test]
fn a_replay_waits_behind_accepted_commits() {
    simulate(async {
        let (journal, _) = start(&Watched::new());
        let (first, second) = (journal.append(vec![commit(LOG, 0, 1)]), journal.append(vec![commit(LOG, 1, 2)]));
        let (appended, records) = join(join(first, second), journal.replay(LOG, 1)).await;
        assert!(appended.0.is_ok() && appended.1.is_ok());
        assert_eq!(records.unwrap().len(), 2);
        let author = Author { session: 3, command: 2, ..Author::default() };
        assert_eq!(journal.record_of(&author, 0, LOG).await.unwrap().unwrap().position, 2);
        assert_eq!(journal.record_of(&author, 2, LOG).await, Ok(None));
    });
}

#[test]
fn a_journal_that_cannot_tell_is_the_servers_end() {
    simulate(async {
        let store = Watched::new();
        let (journal, ending) = start(&store);
        store.break_down("tried");
        let answers = join_all((0..3).map(|id| journal.append(vec![commit(log(id), 0, 1)]))).await;
        // The first was flushed and is durable; nothing is written behind it.
        assert!(answers[0].is_ok());
        assert_eq!(answers[1..], [Err(AppendError::Unknown("tried".into())), Err(AppendError::Unknown("tried".into()))]);
        assert_eq!((ending.wait().await.as_str(), store.flushes()), ("tried", 1));
        assert!(matches!(journal.append(vec![]).await, Err(AppendError::Unknown(_))));
        assert_eq!(journal.settled(LOG).await, Ok(()));
    });
}

#[test]
fn a_journal_that_a_read_finds_broken_ends_the_server_at_once() {
    simulate(async {
        let store = Watched::new();
        let (journal, ending) = start(&store);
        store.break_down("tried");
        store.tell();
        assert_eq!((ending.wait().await.as_str(), store.flushes()), ("tried", 0));
        assert!(matches!(journal.append(vec![commit(LOG, 0, 1)]).await, Err(AppendError::Unknown(_))));
    });
}

#[test]
fn a_panic_in_the_writer_is_the_servers_end() {
    simulate(async {
        let store = Watched::new();
        let (journal, ending) = start(&store);
        store.judge(|_| panic!("tried"));
        assert!(matches!(journal.append(vec![commit(LOG, 0, 1)]).await, Err(AppendError::Unknown(_))));
        assert!(ending.reason().unwrap().contains("writer"));
    });
}

#[test]
fn closing_finishes_what_was_accepted_and_refuses_the_rest() {
    simulate(async {
        let (journal, ending) = start(&Watched::new());
        let (appended, ()) = join(journal.append(vec![commit(LOG, 0, 1)]), journal.close()).await;
        assert!(appended.is_ok());
        assert!(matches!(journal.append(vec![commit(LOG, 1, 2)]).await, Err(AppendError::Failed(_))));
        drop(journal);
        tokio::task::yield_now().await;
        assert_eq!(ending.reason(), None);
    });
}

#[test]
fn threads_run_jobs_and_catch_their_panics() {
    let system = actix_rt::System::new();
    system.block_on(async {
        let placement = Placement::threads(2);
        let lane = placement.lane("test");
        assert_eq!(placement.run(|| 1 + 1).await, Ok(2));
        assert!(placement.run(|| panic!("tried")).await.is_err());
        assert_eq!(lane.run(|| 2 + 1).await, Ok(3));
        assert!(lane.run(|| panic!("tried")).await.is_err());
        assert_eq!(lane.run(|| 2 + 2).await, Ok(4));
        let threads = join_all((0..8).map(|_| {
            let (sender, name) = tokio::sync::oneshot::channel();
            let spawned = placement.session_arbiter().spawn(async move { sender.send(std::thread::current().id()).unwrap() });
            async move { spawned.then_some(name.await) }
        }));
        let threads: Vec<_> = threads.await.into_iter().map(|thread| thread.unwrap().unwrap()).collect();
        assert_eq!(threads.iter().collect::<std::collections::HashSet<_>>().len(), 2);
        let store = Watched::new();
        let journal = JournalActor::start(store, &placement, &Ending::default());
        assert!(journal.append(vec![commit(LOG, 0, 1)]).await.is_ok());
        journal.close().await;
    });
}
