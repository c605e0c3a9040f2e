//! The account's actor: one list of changes of names under way, one transfer at a time, and the life of its mailboxes' actors.

mod handle;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use actix::fut::wrap_future;
use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseFuture};
use carillon_storage::{AppendError, Author, Committed};
use tokio::sync::oneshot;

pub use self::handle::AccountHandle;
use super::decide::decide;
use super::draft::{About, Draft, Wish, draft};
use super::load::{self, Loaded, deletions};
use super::mailboxes::Mailboxes;
use super::requests::{
    Change, Finish, Locate, LookAgain, Open, Peek, Snapshot, Submit, Subscribe, Transfer, Transferred, Unsubscribe,
};
use super::state::State;
use super::transfer::{self, Desk, Failure, Held};
use crate::clock::Clock;
use crate::directory::actor::DirectoryHandle;
use crate::discard::discard;
use crate::doorbell::Doorbell;
use crate::id::{AccountId, Ids, MailboxId};
use crate::journal::actor::JournalHandle;
use crate::limits::Limits;
use crate::mailbox::actor::{MailboxActor, MailboxHandle, Setting as MailboxSetting};
use crate::mailbox::load as mailbox_load;
use crate::mailbox::requests::{Retire, SubscriberId};
use crate::placement::Place;
use crate::refusal::{Fault, Refusal};

/// Decisions about more names than this may take over 1 ms: they run in the pool.
const LARGE_NAMES: usize = 100;
/// The most wishes of one list.
const LIST_WISHES: usize = 256;
/// A snapshot is taken when more records than this lie behind the last one.
const SNAPSHOT_TAIL: u64 = 1_000;

impl Message for Subscribe {
    type Result = Result<(SubscriberId, Snapshot), Refusal>;
}
impl Message for LookAgain {
    type Result = Result<Snapshot, Refusal>;
}
impl Message for Peek {
    type Result = Result<Snapshot, Refusal>;
}
impl Message for Unsubscribe {
    type Result = ();
}
impl Message for Submit {
    type Result = Result<Snapshot, Refusal>;
}
impl Message for Open {
    type Result = Result<MailboxHandle, Refusal>;
}
impl Message for Locate {
    type Result = Result<Option<MailboxHandle>, Refusal>;
}
impl Message for Transfer {
    type Result = Result<Transferred, Refusal>;
}
impl Message for Finish {
    type Result = ();
}

/// What an account is started with.
#[derive(Clone)]
pub(crate) struct Setting {
    pub id: AccountId,
    pub place: Place,
    pub journal: JournalHandle,
    pub directory: DirectoryHandle,
    pub clock: Clock,
    pub ids: Ids,
    pub limits: Arc<Limits>,
}

/// The actor.
pub struct AccountActor {
    about: About,
    place: Place,
    journal: JournalHandle,
    directory: DirectoryHandle,
    /// Durable, always.
    state: State,
    /// Behind this position the tail of the last snapshot begins.
    snapshot: u64,
    bells: BTreeMap<SubscriberId, Doorbell>,
    last_number: u64,
    waiting: VecDeque<Wish>,
    /// A list, or a change that needs a hold, is under way.
    is_busy: bool,
    transfers: VecDeque<(Transfer, oneshot::Sender<Result<Transferred, Refusal>>)>,
    is_transferring: bool,
    mailboxes: Mailboxes,
}

impl AccountActor {
    /// Starts an account from its loaded state.
    pub(crate) fn start(setting: Setting, loaded: Loaded) -> AccountHandle {
        let Setting { id, place, journal, directory, clock, ids, limits } = setting;
        let about = About { id, ids, clock, limits };
        let (own, store) = (about.clone(), journal.clone());
        let address = place.clone().start(move |_| Self {
            about,
            place,
            journal,
            directory,
            state: loaded.state,
            snapshot: loaded.snapshot,
            bells: BTreeMap::new(),
            last_number: 0,
            waiting: VecDeque::new(),
            is_busy: false,
            transfers: VecDeque::new(),
            is_transferring: false,
            mailboxes: Mailboxes::default(),
        });
        AccountHandle::new(id, address, store, own.limits)
    }

    fn handle(&self, context: &Context<Self>) -> AccountHandle {
        AccountHandle::new(self.about.id, context.address(), self.journal.clone(), Arc::clone(&self.about.limits))
    }

    fn desk(&self, author: Author, context: &Context<Self>) -> Desk {
        Desk { about: self.about.clone(), account: self.handle(context), journal: self.journal.clone(), author }
    }

    /// Begins what waits.
    fn pump(&mut self, context: &mut Context<Self>) {
        while !self.is_busy {
            match self.waiting.pop_front() {
                None => return,
                Some(wish) if wish.needs_hold() => self.change_with_hold(wish, context),
                Some(first) => {
                    let mut wishes = vec![first];
                    while wishes.len() < LIST_WISHES
                        && let Some(wish) = self.waiting.pop_front_if(|wish| !wish.needs_hold())
                    {
                        wishes.push(wish);
                    }
                    self.decide(wishes, context);
                }
            }
        }
    }

    /// Decides a list: here where it is about few names, else in the pool.
    fn decide(&mut self, wishes: Vec<Wish>, context: &mut Context<Self>) {
        let names: usize = wishes.iter().map(|wish| wish.names(&self.state, LARGE_NAMES)).sum();
        let (state, about) = (self.state.clone(), self.about.clone());
        if names < LARGE_NAMES {
            return self.append(draft(state, wishes, &about), context);
        }
        self.is_busy = true;
        let placement = self.journal.placement().clone();
        let run = wrap_future(async move { placement.run(move || draft(state, wishes, &about)).await });
        context.spawn(run.map(|draft, actor: &mut Self, context: &mut Context<Self>| match draft {
            Ok(draft) => {
                actor.is_busy = false;
                actor.append(draft, context);
                actor.pump(context);
            }
            // As if it had panicked here.
            Err(_) => context.stop(),
        }));
    }

    fn append(&mut self, mut draft: Draft, context: &mut Context<Self>) {
        for wish in draft.rest.drain(..).rev() {
            self.waiting.push_front(wish);
        }
        let list = std::mem::take(&mut draft.list);
        if list.is_empty() {
            return self.answer(draft);
        }
        self.is_busy = true;
        let journal = self.journal.clone();
        let append = wrap_future(async move { journal.append(list).await });
        context.spawn(append.map(|outcome, actor: &mut Self, context: &mut Context<Self>| {
            actor.is_busy = false;
            actor.decided(draft, outcome, context);
            actor.pump(context);
        }));
    }

    fn decided(&mut self, draft: Draft, outcome: Result<Vec<Committed>, AppendError>, context: &mut Context<Self>) {
        let error = match outcome {
            Ok(_) => {
                self.publish(draft.state.clone(), context);
                return self.answer(draft);
            }
            Err(error) => error,
        };
        tracing::warn!(account = %self.about.id, %error, "a list of commits was refused");
        if matches!(&error, AppendError::Conflict { log, .. } if *log == self.about.id.log()) {
            self.start_anew(context);
        }
        let fault = Fault::from(error);
        for (answer, _) in draft.answers {
            let _ = answer.send(Err(fault.clone().into()));
        }
    }

    fn answer(&self, draft: Draft) {
        for (answer, outcome) in draft.answers {
            // An asker that is gone has nobody to tell.
            let _ = answer.send(outcome.map(|()| self.state.clone()));
        }
    }

    /// The log is further than the state, which only a second writer can have done: the directory starts the account again, from the journal.
    fn start_anew(&self, context: &mut Context<Self>) {
        tracing::error!(account = %self.about.id, "the account's log is further than its state");
        context.stop();
    }

    /// A new durable state: everybody may know.
    fn publish(&mut self, state: State, context: &mut Context<Self>) {
        let old = std::mem::replace(&mut self.state, state);
        discard(self.journal.placement(), old.mailboxes(), old);
        tracing::debug!(name: "account.commit", account = %self.about.id, position = self.state.position());
        self.bells.retain(|_, bell| {
            bell.ring();
            bell.is_heard()
        });
        if self.state.position() - self.snapshot > SNAPSHOT_TAIL {
            self.keep_snapshot(context);
        }
    }

    fn keep_snapshot(&mut self, context: &mut Context<Self>) {
        self.snapshot = self.state.position();
        let (journal, id, state) = (self.journal.clone(), self.about.id, self.state.clone());
        context.spawn(wrap_future(async move { put_snapshot(&journal, id, state).await }));
    }

    /// DELETE and RENAME INBOX.
    fn change_with_hold(&mut self, wish: Wish, context: &mut Context<Self>) {
        let Wish { author, change, answer } = wish;
        let events = match decide(&self.state, &change, &self.about.context()) {
            Ok(events) => events,
            Err(refusal) => {
                let _ = answer.send(Err(refusal));
                return;
            }
        };
        self.is_busy = true;
        let (desk, state) = (self.desk(author, context), self.state.clone());
        let position = state.position();
        let run = async move {
            match change {
                Change::Rename { to, .. } => transfer::rename_inbox(&desk, &state, &to, events).await,
                _ => transfer::delete(&desk, position, events).await,
            }
        };
        context.spawn(wrap_future(run).map(move |outcome, actor: &mut Self, context: &mut Context<Self>| {
            actor.is_busy = false;
            match outcome {
                Ok((held, events)) => {
                    let mut state = actor.state.clone();
                    events.iter().for_each(|event| state.apply(position + 1, event));
                    // The names first: who hears of the mailbox's end finds it gone here.
                    actor.publish(state, context);
                    for mailbox in deletions(&events) {
                        actor.mailboxes.deleted(mailbox);
                        actor.directory.mailbox_gone(actor.about.id, mailbox);
                    }
                    actor.release(held, answer, context);
                }
                Err(Failure { refusal, is_stale }) => {
                    if is_stale {
                        actor.start_anew(context);
                    }
                    let _ = answer.send(Err(refusal));
                }
            }
            actor.pump(context);
        }));
    }

    fn release(&mut self, held: Vec<Held>, answer: super::draft::Answer, context: &mut Context<Self>) {
        let state = self.state.clone();
        context.spawn(wrap_future(async move {
            transfer::release(held).await;
            let _ = answer.send(Ok(state));
        }));
    }

    /// Begins the next transfer, unless one is under way.
    fn pump_transfers(&mut self, context: &mut Context<Self>) {
        while !self.is_transferring {
            let Some((Transfer { author, source, uids, target }, answer)) = self.transfers.pop_front() else { return };
            let Some(target) = self.state.find(&target).map(|entry| (entry.mailbox, entry.uid_validity)) else {
                let _ = answer.send(Err(Refusal::NoTargetMailbox));
                continue;
            };
            self.is_transferring = true;
            let desk = self.desk(author, context);
            let run = wrap_future(async move { transfer::transfer(&desk, source, uids, target).await });
            context.spawn(run.map(|outcome, actor: &mut Self, context: &mut Context<Self>| {
                actor.is_transferring = false;
                let _ = answer.send(outcome);
                actor.pump_transfers(context);
            }));
        }
    }

    /// Starts a mailbox from the disk, behind everything that the journal has accepted for it.
    fn load(&mut self, mailbox: MailboxId, context: &mut Context<Self>) {
        let (journal, limits) = (self.journal.clone(), Arc::clone(&self.about.limits));
        let load = wrap_future(async move {
            journal.settled(mailbox.log()).await?;
            let store = Arc::clone(journal.store());
            journal.placement().run(move || mailbox_load::load(&*store, mailbox, &limits)).await?
        });
        context.spawn(load.map(move |loaded, actor: &mut Self, _: &mut Context<Self>| {
            if let Err(fault) = &loaded {
                tracing::error!(%mailbox, %fault, "a mailbox could not be loaded");
            }
            let outcome = loaded.map(|loaded| {
                let About { clock, limits, .. } = actor.about.clone();
                let setting = MailboxSetting { id: mailbox, journal: actor.journal.clone(), clock, limits };
                let handle = MailboxActor::start(&actor.place, setting, loaded);
                // Before anybody else gets it: who replaces this account ends its mailboxes first.
                actor.directory.mailbox_started(actor.about.id, handle.clone());
                handle
            });
            actor.mailboxes.loaded(mailbox, outcome);
        }));
    }

    /// Passivates mailboxes that nobody uses.
    fn sweep(&mut self, context: &mut Context<Self>) {
        for handle in self.mailboxes.retire() {
            let (journal, idle, mailbox) = (self.journal.clone(), self.about.limits.retire_after, handle.id());
            let retire = {
                let handle = handle.clone();
                async move {
                    let Some(look) = handle.retire(Retire(idle)).await else { return false };
                    let store = Arc::clone(journal.store());
                    // Before it can be loaded again: the summary says what is recent.
                    let put = journal.placement().run(move || mailbox_load::put_summary(&*store, mailbox, &look)).await;
                    if !matches!(put, Ok(Ok(()))) {
                        tracing::warn!(%mailbox, "no summary could be kept");
                    }
                    true
                }
            };
            context.spawn(wrap_future(retire).map(move |has_retired, actor: &mut Self, context: &mut Context<Self>| {
                if !has_retired {
                    return actor.mailboxes.stays(&handle);
                }
                actor.directory.mailbox_gone(actor.about.id, mailbox);
                if actor.mailboxes.retired(mailbox) {
                    actor.load(mailbox, context);
                }
            }));
        }
    }
}

async fn put_snapshot(journal: &JournalHandle, account: AccountId, state: State) {
    let store = Arc::clone(journal.store());
    let put = journal.placement().run(move || load::put_snapshot(&*store, account, &state)).await;
    if !matches!(put, Ok(Ok(()))) {
        tracing::warn!(%account, "no snapshot could be taken");
    }
}

impl Actor for AccountActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let period = self.about.limits.retire_after / 2;
        context.run_interval(period.max(std::time::Duration::from_millis(1)), Self::sweep);
    }
}

impl Handler<Subscribe> for AccountActor {
    type Result = Result<(SubscriberId, Snapshot), Refusal>;

    fn handle(&mut self, Subscribe(bell): Subscribe, _: &mut Self::Context) -> Self::Result {
        self.last_number += 1;
        let subscriber = SubscriberId(self.last_number);
        self.bells.insert(subscriber, bell);
        Ok((subscriber, self.state.clone()))
    }
}

impl Handler<LookAgain> for AccountActor {
    type Result = Result<Snapshot, Refusal>;

    fn handle(&mut self, LookAgain(subscriber): LookAgain, _: &mut Self::Context) -> Self::Result {
        self.bells.get_mut(&subscriber).ok_or(Fault::Gone)?.rearm();
        Ok(self.state.clone())
    }
}

impl Handler<Peek> for AccountActor {
    type Result = Result<Snapshot, Refusal>;

    fn handle(&mut self, Peek: Peek, _: &mut Self::Context) -> Self::Result {
        Ok(self.state.clone())
    }
}

impl Handler<Unsubscribe> for AccountActor {
    type Result = ();

    fn handle(&mut self, Unsubscribe(subscriber): Unsubscribe, _: &mut Self::Context) {
        if let Some(bell) = self.bells.remove(&subscriber) {
            bell.silence();
        }
    }
}

/// What comes later, or `Gone` where the actor goes before.
fn later<T: 'static>(outcome: oneshot::Receiver<Result<T, Refusal>>) -> ResponseFuture<Result<T, Refusal>> {
    Box::pin(async { outcome.await.unwrap_or_else(|_| Err(Fault::Gone.into())) })
}

impl Handler<Submit> for AccountActor {
    type Result = ResponseFuture<Result<Snapshot, Refusal>>;

    fn handle(&mut self, Submit { author, change }: Submit, context: &mut Self::Context) -> Self::Result {
        let (answer, outcome) = oneshot::channel();
        self.waiting.push_back(Wish { author, change, answer });
        self.pump(context);
        later(outcome)
    }
}

impl Handler<Open> for AccountActor {
    type Result = ResponseFuture<Result<MailboxHandle, Refusal>>;

    fn handle(&mut self, Open(mailbox): Open, context: &mut Self::Context) -> Self::Result {
        if self.state.by_id(mailbox).is_none() {
            return Box::pin(async { Err(Refusal::NoSuchMailbox) });
        }
        let (answer, outcome) = oneshot::channel();
        if self.mailboxes.open(mailbox, answer) {
            self.load(mailbox, context);
        }
        later(outcome)
    }
}

impl Handler<Locate> for AccountActor {
    type Result = ResponseFuture<Result<Option<MailboxHandle>, Refusal>>;

    fn handle(&mut self, Locate(mailbox): Locate, context: &mut Self::Context) -> Self::Result {
        if self.state.by_id(mailbox).is_none() {
            return Box::pin(async { Err(Refusal::NoSuchMailbox) });
        }
        let (found, is_pending) = self.mailboxes.locate(mailbox);
        if is_pending {
            let opened = Handler::<Open>::handle(self, Open(mailbox), context);
            return Box::pin(async { opened.await.map(Some) });
        }
        Box::pin(async { Ok(found) })
    }
}

impl Handler<Transfer> for AccountActor {
    type Result = ResponseFuture<Result<Transferred, Refusal>>;

    fn handle(&mut self, transfer: Transfer, context: &mut Self::Context) -> Self::Result {
        let (answer, outcome) = oneshot::channel();
        self.transfers.push_back((transfer, answer));
        self.pump_transfers(context);
        later(outcome)
    }
}

impl Handler<Finish> for AccountActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Finish: Finish, _: &mut Self::Context) -> Self::Result {
        let (journal, id, state, mailboxes) = (self.journal.clone(), self.about.id, self.state.clone(), self.mailboxes.alive());
        Box::pin(async move {
            for handle in mailboxes {
                let (store, mailbox) = (Arc::clone(journal.store()), handle.id());
                if let Ok(look) = handle.peek().await {
                    // A summary that is missing is read from the log.
                    let _ = journal.placement().run(move || mailbox_load::put_summary(&*store, mailbox, &look)).await;
                }
            }
            put_snapshot(&journal, id, state).await;
        })
    }
}
