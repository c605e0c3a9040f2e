//! The journal's actor: one group of commits is under way in the writer's thread; what arrives meanwhile is the next group. No timers.

use std::collections::VecDeque;
use std::sync::Arc;

use actix::fut::wrap_future;
use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, ResponseFuture};
use carillon_storage::codec::CodecError;
use carillon_storage::{
    AppendError, Author, BodySource, Commit, CommitList, CommitNumber, Committed, Journal, LogId, Position, ReadError, Record,
};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::requests::{Append, Close, Settle};
use crate::fault::{Ending, Indispensable};
use crate::placement::{Lane, Placement};
use crate::refusal::Fault;

/// The most lists that share a flush.
const GROUP_LISTS: usize = 1024;
/// A group takes no further list once its bodies and events hold this many bytes.
const GROUP_BYTES: u64 = 16 << 20;
/// Commits that are looked through at a time for one command's.
const FOUND_COMMITS: usize = 64;
/// Records that are read at a time.
pub const READ_RECORDS: usize = 1000;

impl Message for Append {
    type Result = Result<Vec<Committed>, AppendError>;
}
impl Message for Settle {
    type Result = Result<(), Fault>;
}
impl Message for Close {
    type Result = ();
}

type Answer = oneshot::Sender<Result<Vec<Committed>, AppendError>>;

/// A list that waits for the next group.
struct Waiting {
    number: u64,
    list: CommitList,
    answer: Answer,
}

/// Who waits for what was accepted: the last list's number that it needs.
struct Settling {
    number: u64,
    answer: oneshot::Sender<()>,
}

/// The group that is in the writer's thread.
#[derive(Default)]
struct Group {
    answers: Vec<Answer>,
    logs: Vec<LogId>,
    last: u64,
}

/// The actor.
pub struct JournalActor {
    store: Arc<dyn Journal>,
    writer: Lane,
    ending: Ending,
    indispensable: Indispensable,
    waiting: VecDeque<Waiting>,
    under_way: Option<Group>,
    /// Numbers of lists: accepted so far, and decided so far.
    accepted: u64,
    decided: u64,
    settling: Vec<Settling>,
    /// Who waits for the end; set: nothing more is accepted.
    closing: Option<Vec<oneshot::Sender<()>>>,
}

impl JournalActor {
    /// Starts the actor in front of `store`, on the calling thread.
    pub fn start(store: Arc<dyn Journal>, placement: &Placement, ending: &Ending) -> JournalHandle {
        // Whoever finds out: a read, a checkpoint and a verification too, when nobody writes.
        let told = ending.clone();
        store.on_fatal(Arc::new(move |reason| told.trigger(reason)));
        let actor = Self {
            store: Arc::clone(&store),
            writer: placement.lane("journal"),
            ending: ending.clone(),
            indispensable: Indispensable::new(ending.clone(), "journal"),
            waiting: VecDeque::new(),
            under_way: None,
            accepted: 0,
            decided: 0,
            settling: Vec::new(),
            closing: None,
        };
        JournalHandle { address: placement.here().start(move |_| actor), store, placement: placement.clone() }
    }

    /// Takes what waits as the next group, unless one is under way.
    fn pump(&mut self, context: &mut Context<Self>) {
        if self.under_way.is_some() {
            return;
        }
        if self.waiting.is_empty() {
            self.finish_closing(context);
            return;
        }
        let (mut lists, mut group, mut bytes) = (Vec::new(), Group::default(), 0);
        while lists.len() < GROUP_LISTS && (lists.is_empty() || bytes < GROUP_BYTES) {
            let Some(Waiting { number, list, answer }) = self.waiting.pop_front() else { break };
            bytes += list.iter().map(weight).sum::<u64>();
            group.logs.extend(list.iter().flat_map(|commit| &commit.records).map(|record| record.log));
            group.last = number;
            group.answers.push(answer);
            lists.push(list);
        }
        let (records, commits) = (group.logs.len(), lists.iter().map(Vec::len).sum::<usize>());
        self.under_way = Some(group);
        let store = Arc::clone(&self.store);
        let began = Instant::now();
        let flush = self.writer.run(move || store.append(lists));
        context.spawn(wrap_future(flush).map(move |outcome, actor: &mut Self, context: &mut Context<Self>| {
            let flush_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            tracing::debug!(name: "journal.group", commits, records, bytes, flush_us);
            let answers = outcome.unwrap_or_else(|fault| {
                actor.ending.trigger(format!("the journal's writer: {fault}"));
                Vec::new()
            });
            actor.decide(answers);
            actor.pump(context);
        }));
    }

    /// The group under way is decided.
    fn decide(&mut self, outcomes: Vec<Result<Vec<Committed>, AppendError>>) {
        let group = self.under_way.take().unwrap_or_default();
        let mut outcomes = outcomes.into_iter();
        for answer in group.answers {
            let outcome = outcomes.next().unwrap_or_else(|| Err(self.unknown()));
            // An asker that is gone finds its record when it is started again.
            let _ = answer.send(outcome);
        }
        self.decided = group.last.max(self.decided);
        if self.ending.reason().is_some() {
            for Waiting { number, answer, .. } in std::mem::take(&mut self.waiting) {
                let _ = answer.send(Err(self.unknown()));
                self.decided = number;
            }
        }
        let decided = self.decided;
        for settling in self.settling.extract_if(.., |settling| settling.number <= decided) {
            let _ = settling.answer.send(());
        }
    }

    fn unknown(&self) -> AppendError {
        AppendError::Unknown(self.ending.reason().unwrap_or_else(|| "the store gave no answer".to_owned()))
    }

    fn finish_closing(&mut self, context: &mut Context<Self>) {
        let Some(askers) = self.closing.as_mut().map(std::mem::take).filter(|askers| !askers.is_empty()) else { return };
        self.indispensable.done();
        let store = Arc::clone(&self.store);
        let close = self.writer.run(move || store.close());
        context.spawn(wrap_future(close).map(|outcome, _: &mut Self, _: &mut Context<Self>| {
            if let Err(fault) = outcome {
                tracing::error!(%fault, "the store could not be closed in order");
            }
            drop(askers);
        }));
    }

    /// The number of the last accepted list that writes to this log and is not decided yet.
    fn last_writer(&self, log: LogId) -> Option<u64> {
        let writes = |waiting: &&Waiting| waiting.list.iter().flat_map(|commit| &commit.records).any(|record| record.log == log);
        let waiting = self.waiting.iter().rev().find(writes).map(|waiting| waiting.number);
        waiting.or_else(|| self.under_way.as_ref().filter(|group| group.logs.contains(&log)).map(|group| group.last))
    }
}

/// Bytes that a commit brings into a group.
fn weight(commit: &Commit) -> u64 {
    let bodies = commit.bodies.iter().filter(|body| body.source != BodySource::Stored).map(|body| body.length);
    bodies.chain(commit.records.iter().map(|record| record.events.len() as u64)).sum()
}

impl Actor for JournalActor {
    type Context = Context<Self>;
}

impl Handler<Append> for JournalActor {
    type Result = ResponseFuture<Result<Vec<Committed>, AppendError>>;

    fn handle(&mut self, Append(list): Append, context: &mut Self::Context) -> Self::Result {
        if self.closing.is_some() {
            return Box::pin(async { Err(AppendError::Failed("the server is ending".to_owned())) });
        }
        if self.ending.reason().is_some() {
            let unknown = self.unknown();
            return Box::pin(async { Err(unknown) });
        }
        let (answer, outcome) = oneshot::channel();
        self.accepted += 1;
        self.waiting.push_back(Waiting { number: self.accepted, list, answer });
        self.pump(context);
        Box::pin(async { outcome.await.unwrap_or_else(|_| Err(AppendError::Unknown("the journal is gone".to_owned()))) })
    }
}

impl Handler<Settle> for JournalActor {
    type Result = ResponseFuture<Result<(), Fault>>;

    fn handle(&mut self, Settle(log): Settle, _: &mut Self::Context) -> Self::Result {
        let Some(number) = self.last_writer(log) else { return Box::pin(async { Ok(()) }) };
        let (answer, settled) = oneshot::channel();
        self.settling.push(Settling { number, answer });
        Box::pin(async { settled.await.map_err(|_| Fault::Ending) })
    }
}

impl Handler<Close> for JournalActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Close: Close, context: &mut Self::Context) -> Self::Result {
        let (asker, closed) = oneshot::channel::<()>();
        self.closing.get_or_insert_default().push(asker);
        self.pump(context);
        Box::pin(async {
            // The sender is dropped when all is done.
            let _ = closed.await;
        })
    }
}

/// The way to the journal.
#[derive(Clone)]
pub struct JournalHandle {
    address: Addr<JournalActor>,
    store: Arc<dyn Journal>,
    placement: Placement,
}

impl JournalHandle {
    /// Makes commits durable, all or none of them. What arrives during a flush shares the next one.
    ///
    /// # Errors
    /// As [`Journal::append`]; `Unknown` also where the journal is gone.
    pub async fn append(&self, list: CommitList) -> Result<Vec<Committed>, AppendError> {
        let answer = self.address.send(Append(list)).await;
        answer.unwrap_or_else(|_| Err(AppendError::Unknown("the journal is gone".to_owned())))
    }

    /// Waits until every commit that was accepted so far for `log` is decided: what is read then is all that can still become true.
    ///
    /// # Errors
    /// `Ending` where the journal is gone.
    pub async fn settled(&self, log: LogId) -> Result<(), Fault> {
        self.address.send(Settle(log)).await.unwrap_or(Err(Fault::Ending))
    }

    /// The records of `log` from position `from` on, behind every commit that was accepted so far.
    ///
    /// # Errors
    /// `Ending` where the journal is gone, and what reading gives.
    pub async fn replay(&self, log: LogId, from: Position) -> Result<Vec<Record>, Fault> {
        self.settled(log).await?;
        let store = Arc::clone(&self.store);
        let read = move || {
            let mut records = Vec::new();
            for_each_record(&*store, log, from, |record| {
                records.push(record);
                Ok(())
            })?;
            Ok(records)
        };
        self.placement.run(read).await?.map_err(|error: ReadError| error.into())
    }

    /// The record that one command wrote to `log`, whether or not it was answered: how a session learns what became of its command after the actor died that it had
    /// asked. `since` is the newest commit from before the command was sent: only what came behind it is looked at, however long the log is.
    ///
    /// # Errors
    /// As [`Self::replay`].
    pub async fn record_of(&self, author: &Author, since: CommitNumber, log: LogId) -> Result<Option<Record>, Fault> {
        self.settled(log).await?;
        let (store, wanted) = (Arc::clone(&self.store), (author.session, author.command, log));
        let find = move || {
            let newest = store.newest_commit();
            let mut from = since.saturating_add(1);
            while from <= newest {
                let records = store.commits(from, FOUND_COMMITS)?;
                let is_own = |record: &Record| (record.author.session, record.author.command, record.log) == wanted;
                if let Some(record) = records.into_iter().find(is_own) {
                    return Ok(Some(record));
                }
                from = from.saturating_add(FOUND_COMMITS as u64);
            }
            Ok(None)
        };
        self.placement.run(find).await?.map_err(|error: ReadError| error.into())
    }

    /// Finishes what was accepted and leaves a checkpoint. Later appends are refused.
    pub async fn close(&self) {
        // Where the journal is gone there is nothing left to close.
        let _ = self.address.send(Close).await;
    }

    /// The store itself, for reads in the pool.
    pub fn store(&self) -> &Arc<dyn Journal> {
        &self.store
    }

    /// Where reads of the store run.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }
}

/// Passes the records of a log from position `from` on to `take`, some at a time. Blocks.
///
/// # Errors
/// What reading gives, and what `take` gives.
pub fn for_each_record(
    store: &dyn Journal,
    log: LogId,
    from: Position,
    mut take: impl FnMut(Record) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    let mut next = from.max(1);
    loop {
        let records = store.read(log, next, READ_RECORDS)?;
        let is_last = records.len() < READ_RECORDS;
        for record in records {
            next = record.position.saturating_add(1);
            take(record)?;
        }
        if is_last {
            return Ok(());
        }
    }
}

/// A record whose payload cannot be read.
pub(crate) fn damaged(record: &Record, error: &CodecError) -> ReadError {
    let LogId { kind, id } = record.log;
    ReadError::Damaged(format!("log {kind}/{id:016x}, position {}: {error}", record.position))
}
