//! The directory's actor: starts each account once and replaces it when it died, knows who is connected, writes the server's log, and ends the server in order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, ResponseFuture};
use carillon_storage::{AppendError, Commit, Position, RecordDraft};
use futures_util::future::join_all;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::event::{VERSION, encode};
use super::register::Register;
use super::requests::{
    End, GetAccount, Kick, Line, MailboxGone, MailboxStarted, SessionGone, SessionInfo, SessionIs, SessionSaid, SessionStop,
    Stop, Who,
};
use crate::account::actor::{AccountActor, AccountHandle, Setting};
use crate::account::decide::Context as DecideContext;
use crate::account::load;
use crate::clock::Clock;
use crate::fault::{Deaths, Ending, Indispensable};
use crate::id::{AccountId, Ids, MailboxId, SERVER_LOG, SessionId};
use crate::journal::actor::JournalHandle;
use crate::limits::Limits;
use crate::mailbox::actor::MailboxHandle;
use crate::refusal::{Fault, Refusal};

/// How long the end waits for sessions to say BYE, and for accounts to leave their summaries.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most lines of the server's log that wait; nobody waits for them, and older ones are dropped.
const LINES: usize = 10_000;
/// The most lines of one list.
const LIST_LINES: usize = 256;

impl Message for GetAccount {
    type Result = Result<AccountHandle, Refusal>;
}
impl Message for MailboxStarted {
    type Result = ();
}
impl Message for MailboxGone {
    type Result = ();
}
impl Message for SessionIs {
    type Result = ();
}
impl Message for SessionSaid {
    type Result = ();
}
impl Message for SessionGone {
    type Result = ();
}
impl Message for Who {
    type Result = Vec<SessionInfo>;
}
impl Message for Kick {
    type Result = ();
}
impl Message for End {
    type Result = ();
}

type Answer = oneshot::Sender<Result<AccountHandle, Refusal>>;

/// One account that was asked for.
#[derive(Default)]
struct Slot {
    handle: Option<AccountHandle>,
    /// Its mailboxes' actors: they end before it is started again.
    mailboxes: BTreeMap<MailboxId, MailboxHandle>,
    /// It is being asked whether it lives, or is being started.
    is_pending: bool,
    waiting: Vec<Answer>,
    deaths: Deaths,
}

/// The server's own log.
#[derive(Default)]
struct ServerLog {
    /// Of the newest record; `None`: to be read.
    position: Option<Position>,
    waiting: VecDeque<Line>,
    is_under_way: bool,
}

/// How far the end is.
#[derive(Default)]
struct TheEnd {
    has_begun: bool,
    is_done: bool,
    /// Told when the last session is gone.
    last_session: Option<oneshot::Sender<()>>,
    /// Told when the last line is written.
    last_line: Option<oneshot::Sender<()>>,
    /// Who waits for the end of it.
    waiting: Vec<oneshot::Sender<()>>,
}

/// What the directory gives to the accounts that it starts.
#[derive(Clone)]
pub(crate) struct Tools {
    pub journal: JournalHandle,
    pub clock: Clock,
    pub ids: Ids,
    pub limits: Arc<Limits>,
}

/// The actor.
pub struct DirectoryActor {
    tools: Tools,
    indispensable: Indispensable,
    accounts: BTreeMap<AccountId, Slot>,
    register: Register,
    log: ServerLog,
    end: TheEnd,
}

impl DirectoryActor {
    /// Starts the directory on the calling thread.
    pub(crate) fn start(tools: Tools, ending: &Ending) -> DirectoryHandle {
        let indispensable = Indispensable::new(ending.clone(), "directory");
        let place = tools.journal.placement().here();
        let address = place.start(move |_| Self {
            tools,
            indispensable,
            accounts: BTreeMap::new(),
            register: Register::default(),
            log: ServerLog::default(),
            end: TheEnd::default(),
        });
        DirectoryHandle { address }
    }

    /// Asks the account whether it lives: its address may still seem alive while it dies on its own thread.
    fn check(&mut self, account: AccountId, context: &mut Context<Self>) {
        let handle = self.accounts.get(&account).and_then(|slot| slot.handle.clone());
        let check = async move {
            match handle {
                Some(handle) => Some(handle.is_alive().await),
                None => None,
            }
        };
        context.spawn(wrap_future(check).map(move |is_alive, actor: &mut Self, context: &mut Context<Self>| {
            let Some(slot) = actor.accounts.get_mut(&account) else { return };
            match is_alive {
                Some(true) => return slot.found(),
                Some(false) => {
                    tracing::warn!(%account, "an account's actor died");
                    slot.handle = None;
                    slot.deaths.note();
                }
                None => {}
            }
            match slot.deaths.may_start() {
                Ok(()) => actor.start_account(account, context),
                Err(fault) => slot.failed(&fault.into()),
            }
        }));
    }

    fn start_account(&mut self, account: AccountId, context: &mut Context<Self>) {
        let orphans = self.accounts.get_mut(&account).map(|slot| std::mem::take(&mut slot.mailboxes)).unwrap_or_default();
        let directory = DirectoryHandle { address: context.address() };
        let tools = self.tools.clone();
        let start = async move {
            // No mailbox has two writers: what the dead account had started ends first.
            join_all(orphans.values().map(MailboxHandle::end)).await;
            start_account(account, tools, directory).await
        };
        context.spawn(wrap_future(start).map(move |outcome, actor: &mut Self, _: &mut Context<Self>| {
            let Some(slot) = actor.accounts.get_mut(&account) else { return };
            match outcome {
                Ok(handle) => {
                    slot.handle = Some(handle);
                    slot.found();
                }
                Err(refusal) => {
                    tracing::error!(%account, ?refusal, "an account could not be started");
                    slot.failed(&refusal);
                }
            }
        }));
    }

    fn note(&mut self, line: Option<Line>, context: &mut Context<Self>) {
        let Some(line) = line else { return };
        if self.log.waiting.len() >= LINES {
            tracing::warn!("a line of the server's log is dropped: the journal is behind");
            self.log.waiting.pop_front();
        }
        self.log.waiting.push_back(line);
        self.write(context);
    }

    /// Appends the lines that wait. Nobody waits for them: what cannot be written is traced and dropped.
    fn write(&mut self, context: &mut Context<Self>) {
        if self.log.is_under_way {
            return;
        }
        if self.log.waiting.is_empty() {
            self.end.last_line = None;
            return;
        }
        self.log.is_under_way = true;
        let count = self.log.waiting.len().min(LIST_LINES);
        let lines: Vec<Line> = self.log.waiting.drain(..count).collect();
        let (journal, position) = (self.tools.journal.clone(), self.log.position);
        let write = wrap_future(async move { append(&journal, position, lines).await });
        context.spawn(write.map(|outcome, actor: &mut Self, context: &mut Context<Self>| {
            actor.log.is_under_way = false;
            actor.log.position = match outcome {
                Ok(position) => Some(position),
                Err(reason) => {
                    tracing::warn!(reason, "lines of the server's log are lost");
                    None
                }
            };
            actor.write(context);
        }));
    }

    /// BYE to all, then the accounts, then the journal.
    fn begin_end(&mut self, context: &mut Context<Self>) {
        self.end.has_begun = true;
        let (told, last_session) = oneshot::channel::<()>();
        self.end.last_session = Some(told);
        self.register.stop(None, Stop::Shutdown);
        self.session_left();
        // An error is the answer: the sender is dropped when the last session is gone.
        let wait = wrap_future(async move { timeout(PATIENCE, last_session).await.is_ok() });
        context.spawn(wait.map(|are_gone, actor: &mut Self, context: &mut Context<Self>| {
            if !are_gone {
                tracing::warn!(left = actor.register.who().len(), "sessions did not end in time");
            }
            actor.finish(context);
        }));
    }

    fn finish(&mut self, context: &mut Context<Self>) {
        let (told, last_line) = oneshot::channel::<()>();
        self.end.last_line = Some(told);
        self.write(context);
        let accounts: Vec<AccountHandle> = self.accounts.values().filter_map(|slot| slot.handle.clone()).collect();
        let journal = self.tools.journal.clone();
        let finish = async move {
            let work = async {
                join_all(accounts.iter().map(AccountHandle::finish)).await;
                let _ = last_line.await;
            };
            if timeout(PATIENCE, work).await.is_err() {
                tracing::warn!("summaries could not be kept in time");
            }
            journal.close().await;
        };
        context.spawn(wrap_future(finish).map(|(), actor: &mut Self, _: &mut Context<Self>| {
            actor.indispensable.done();
            actor.end.is_done = true;
            actor.end.waiting.clear();
        }));
    }

    fn session_left(&mut self) {
        if self.register.is_empty() {
            self.end.last_session = None;
        }
    }
}

impl Slot {
    fn found(&mut self) {
        self.is_pending = false;
        if let Some(handle) = &self.handle {
            for answer in self.waiting.drain(..) {
                let _ = answer.send(Ok(handle.clone()));
            }
        }
    }

    fn failed(&mut self, refusal: &Refusal) {
        self.is_pending = false;
        for answer in self.waiting.drain(..) {
            let _ = answer.send(Err(refusal.clone()));
        }
    }
}

/// Loads an account, or makes it, and starts its actor.
async fn start_account(account: AccountId, tools: Tools, directory: DirectoryHandle) -> Result<AccountHandle, Refusal> {
    let Tools { journal, clock, ids, limits } = tools;
    journal.settled(account.log()).await?;
    let store = Arc::clone(journal.store());
    let mut loaded = journal.placement().run(move || load::load(&*store, account)).await??;
    if loaded.state.position() == 0 {
        let context = DecideContext { ids: &ids, now_seconds: clock.seconds(), limits: &limits };
        let (commit, events) = load::first_commit(account, clock.microseconds(), &context)?;
        journal.append(vec![commit]).await.map_err(Fault::from)?;
        events.iter().for_each(|event| loaded.state.apply(1, event));
    }
    let place = journal.placement().place_of(account);
    Ok(AccountActor::start(Setting { id: account, place, journal, directory, clock, ids, limits }, loaded))
}

/// Appends lines behind `position`; where that is not known, behind the log's head. The position then.
async fn append(journal: &JournalHandle, position: Option<Position>, lines: Vec<Line>) -> Result<Position, String> {
    let mut position = match position {
        Some(position) => position,
        None => {
            let store = Arc::clone(journal.store());
            let head = journal.placement().run(move || store.head(SERVER_LOG)).await;
            head.map_err(|fault| fault.to_string())?.map_err(|error| error.to_string())?.position
        }
    };
    let mut list = Vec::with_capacity(lines.len());
    for Line { author, at, event } in lines {
        let events = encode(&[event]).map_err(|error| error.to_string())?;
        let record = RecordDraft { log: SERVER_LOG, expected: position, version: VERSION, events };
        list.push(Commit { at, author, records: vec![record], bodies: Vec::new() });
        position += 1;
    }
    journal.append(list).await.map_err(|error: AppendError| error.to_string())?;
    Ok(position)
}

impl Actor for DirectoryActor {
    type Context = Context<Self>;
}

impl Handler<GetAccount> for DirectoryActor {
    type Result = ResponseFuture<Result<AccountHandle, Refusal>>;

    fn handle(&mut self, GetAccount(account): GetAccount, context: &mut Self::Context) -> Self::Result {
        if self.end.has_begun {
            return Box::pin(async { Err(Fault::Ending.into()) });
        }
        let (answer, found) = oneshot::channel();
        let slot = self.accounts.entry(account).or_default();
        slot.waiting.push(answer);
        if !slot.is_pending {
            slot.is_pending = true;
            self.check(account, context);
        }
        Box::pin(async { found.await.unwrap_or_else(|_| Err(Fault::Ending.into())) })
    }
}

impl Handler<MailboxStarted> for DirectoryActor {
    type Result = ();

    fn handle(&mut self, MailboxStarted(account, mailbox): MailboxStarted, _: &mut Self::Context) {
        self.accounts.entry(account).or_default().mailboxes.insert(mailbox.id(), mailbox);
    }
}

impl Handler<MailboxGone> for DirectoryActor {
    type Result = ();

    fn handle(&mut self, MailboxGone(account, mailbox): MailboxGone, _: &mut Self::Context) {
        self.accounts.entry(account).or_default().mailboxes.remove(&mailbox);
    }
}

impl Handler<SessionIs> for DirectoryActor {
    type Result = ();

    fn handle(&mut self, session: SessionIs, context: &mut Self::Context) {
        if let Some(stop) = session.stop.as_ref().filter(|_| self.end.has_begun) {
            // It came while all others were told.
            stop.stop(Stop::Shutdown);
        }
        let line = self.register.put(session, self.tools.clock.microseconds());
        self.note(line, context);
    }
}

impl Handler<SessionSaid> for DirectoryActor {
    type Result = ();

    fn handle(&mut self, SessionSaid(session, client): SessionSaid, context: &mut Self::Context) {
        let line = self.register.said(session, client, self.tools.clock.microseconds());
        self.note(line, context);
    }
}

impl Handler<SessionGone> for DirectoryActor {
    type Result = ();

    fn handle(&mut self, SessionGone(session): SessionGone, context: &mut Self::Context) {
        let line = self.register.gone(session, self.tools.clock.microseconds());
        self.note(line, context);
        self.session_left();
    }
}

impl Handler<Who> for DirectoryActor {
    type Result = Vec<SessionInfo>;

    fn handle(&mut self, Who: Who, _: &mut Self::Context) -> Self::Result {
        self.register.who()
    }
}

impl Handler<Kick> for DirectoryActor {
    type Result = ();

    fn handle(&mut self, Kick(session): Kick, _: &mut Self::Context) {
        self.register.stop(Some(session), Stop::Kick);
    }
}

impl Handler<End> for DirectoryActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, End: End, context: &mut Self::Context) -> Self::Result {
        let (waiting, ended) = oneshot::channel::<()>();
        if !self.end.is_done {
            self.end.waiting.push(waiting);
        }
        if !self.end.has_begun {
            self.begin_end(context);
        }
        Box::pin(async {
            // The sender is dropped when all is done.
            let _ = ended.await;
        })
    }
}

/// The way to the directory.
#[derive(Clone)]
pub struct DirectoryHandle {
    address: Addr<DirectoryActor>,
}

impl DirectoryHandle {
    /// The account's actor; it is started if there is none, and a new account gets its first mailboxes. May be asked again at any time.
    ///
    /// # Errors
    /// `Unavailable` after too many deaths; what loading and committing give; `Ending`.
    pub async fn account(&self, account: AccountId) -> Result<AccountHandle, Refusal> {
        self.address.send(GetAccount(account)).await.unwrap_or_else(|_| Err(Fault::Ending.into()))
    }

    /// A session was accepted, or (where nobody registers before) logged in.
    pub fn session_opened(&self, info: SessionInfo, stop: SessionStop) {
        self.address.do_send(SessionIs { info, stop: Some(stop) });
    }

    /// Something of a session's description changed: it logged in, selected a mailbox.
    pub fn session_changed(&self, info: SessionInfo) {
        self.address.do_send(SessionIs { info, stop: None });
    }

    /// A client said what it is.
    pub fn session_identified(&self, session: SessionId, client: String) {
        self.address.do_send(SessionSaid(session, client));
    }

    /// A session ended.
    pub fn session_closed(&self, session: SessionId) {
        self.address.do_send(SessionGone(session));
    }

    /// Who is connected, ascending by session.
    pub async fn sessions(&self) -> Vec<SessionInfo> {
        self.address.send(Who).await.unwrap_or_default()
    }

    /// Tells one session to say BYE.
    pub fn kick(&self, session: SessionId) {
        self.address.do_send(Kick(session));
    }

    /// Ends the server in order: BYE to all and a bounded wait for them, summaries, the journal's checkpoint. Accounts are refused from now on. A second call waits for
    /// the first.
    pub async fn end(&self) {
        // A directory that is gone has nothing left to end.
        let _ = self.address.send(End).await;
    }

    pub(crate) fn mailbox_started(&self, account: AccountId, mailbox: MailboxHandle) {
        self.address.do_send(MailboxStarted(account, mailbox));
    }

    pub(crate) fn mailbox_gone(&self, account: AccountId, mailbox: MailboxId) {
        self.address.do_send(MailboxGone(account, mailbox));
    }
}
