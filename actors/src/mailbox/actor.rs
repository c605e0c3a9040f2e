//! The mailbox's actor: one list of commits under way, looks at any time, bells behind every change that is durable.

mod handle;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use actix::fut::wrap_future;
use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, MessageResult, ResponseFuture};
use carillon_protocol::number::Uid;
use carillon_storage::{AppendError, BodySource, Committed, Position};
use tokio::sync::oneshot;
use tokio::time::Instant;

pub use self::handle::MailboxHandle;
use super::decide::{Leaving, leave};
use super::draft::{About, Crossing, Draft, Wish, cross, draft};
use super::event::MailboxEvent;
use super::hold::{Hold, Outcome, Release};
use super::load::{self, Loaded};
use super::requests::{
    Change, Changed, Claim, End, Look, LookAgain, Peek, Prepare, Prepared, Retire, Submit, Subscribe, SubscriberId, Unsubscribe,
};
use super::snapshot::Header;
use super::state::State;
use crate::clock::Clock;
use crate::discard::discard;
use crate::doorbell::Doorbell;
use crate::id::MailboxId;
use crate::journal::actor::JournalHandle;
use crate::limits::Limits;
use crate::placement::Place;
use crate::refusal::{Fault, Refusal};

/// Decisions and folds over more messages than this may take over 1 ms: they run in the pool.
const LARGE_MESSAGES: usize = 1_000;
/// A wish costs as much as so many messages, however few it is about.
const WISH_MESSAGES: usize = 4;
/// A snapshot is taken when more records than this lie behind the last one.
const SNAPSHOT_TAIL: u64 = 1_000;
/// The most wishes of one list.
const LIST_WISHES: usize = 256;
/// A list takes no further wish once its new bodies hold this many bytes.
const LIST_BYTES: u64 = 8 << 20;

impl Message for Subscribe {
    type Result = Result<(SubscriberId, Look), Refusal>;
}
impl Message for LookAgain {
    type Result = Result<Look, Refusal>;
}
impl Message for Peek {
    type Result = Result<Look, Refusal>;
}
impl Message for Unsubscribe {
    type Result = ();
}
impl Message for Submit {
    type Result = Result<Changed, Refusal>;
}
impl Message for Prepare {
    type Result = Result<Prepared, Refusal>;
}
impl Message for Retire {
    type Result = Option<Look>;
}
impl Message for End {
    type Result = ();
}

/// What a mailbox is doing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing: what comes is begun at once.
    Free,
    /// A list is under way, or the pool works on the state.
    Busy,
    /// The account holds it.
    Held(u64),
    /// Retired, or deleted and left by all: everything is answered `Gone`.
    Gone,
}

/// What waits for its turn.
enum Waiting {
    Wish(Wish),
    Prepare(Prepare, oneshot::Sender<Result<Prepared, Refusal>>),
}

/// What a mailbox is started with.
#[derive(Clone)]
pub struct Setting {
    /// Which mailbox.
    pub id: MailboxId,
    /// Where its records go.
    pub journal: JournalHandle,
    /// The time.
    pub clock: Clock,
    /// The bounds.
    pub limits: Arc<Limits>,
}

/// The cache that shortens the next replay.
struct Snapshots {
    /// What the store has.
    header: Option<Arc<Header>>,
    /// Behind this position the tail begins, also where taking the snapshot failed.
    position: Position,
    is_under_way: bool,
}

/// The actor.
pub struct MailboxActor {
    about: About,
    journal: JournalHandle,
    /// Durable, always.
    state: State,
    recent_from: Uid,
    snapshots: Snapshots,
    bells: BTreeMap<SubscriberId, Doorbell>,
    last_number: u64,
    waiting: VecDeque<Waiting>,
    phase: Phase,
    last_used: Instant,
    /// Dropped with the actor: how the directory learns of its end.
    ending: Vec<oneshot::Sender<()>>,
}

impl MailboxActor {
    /// Starts a mailbox from its loaded state.
    pub fn start(place: &Place, setting: Setting, loaded: Loaded) -> MailboxHandle {
        let Setting { id, journal, clock, limits } = setting;
        let address = place.start(move |_| Self {
            about: About { id, clock, limits },
            journal,
            state: loaded.state,
            recent_from: loaded.recent_from,
            snapshots: Snapshots {
                position: loaded.snapshot.as_ref().map_or(0, |header| header.position),
                header: loaded.snapshot,
                is_under_way: false,
            },
            bells: BTreeMap::new(),
            last_number: 0,
            waiting: VecDeque::new(),
            phase: Phase::Free,
            last_used: Instant::now(),
            ending: Vec::new(),
        });
        MailboxHandle::new(id, address)
    }

    fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    fn gone(&self) -> Result<(), Refusal> {
        if self.phase == Phase::Gone { Err(Fault::Gone.into()) } else { Ok(()) }
    }

    fn look(&mut self, claim: Claim) -> Look {
        self.last_used = Instant::now();
        let look = Look { snapshot: self.state.clone(), recent_from: self.recent_from };
        if claim == Claim::Recent {
            self.recent_from = self.state.uid_next();
        }
        look
    }

    /// Begins what waits, as far as it may be begun.
    fn pump(&mut self, context: &mut Context<Self>) {
        while self.phase == Phase::Free {
            match self.waiting.pop_front() {
                None => return,
                Some(Waiting::Prepare(what, answer)) => self.prepare(what, answer, context),
                Some(Waiting::Wish(first)) => {
                    let wishes = self.wishes(first);
                    let counts = self.state.counts();
                    let messages = wishes.iter().map(|wish| WISH_MESSAGES.saturating_add(wish.change.messages(counts)));
                    let messages = messages.fold(0, usize::saturating_add);
                    let (state, about) = (self.state.clone(), self.about.clone());
                    let decide = move || draft(state, wishes, &about);
                    self.work(messages, context, decide, move |actor, draft, context| actor.append(draft, messages, context));
                }
            }
        }
    }

    /// The next list: all wishes up to the next thing that is none.
    fn wishes(&mut self, first: Wish) -> Vec<Wish> {
        let mut bytes = weight(&first.change);
        let mut wishes = vec![first];
        while wishes.len() < LIST_WISHES && bytes < LIST_BYTES {
            match self.waiting.pop_front() {
                Some(Waiting::Wish(wish)) => {
                    bytes += weight(&wish.change);
                    wishes.push(wish);
                }
                Some(other) => {
                    self.waiting.push_front(other);
                    break;
                }
                None => break,
            }
        }
        wishes
    }

    /// Computes over so many messages: here where they are few, else in the pool. `then` sets the next phase.
    fn work<T: Send + 'static>(
        &mut self,
        messages: usize,
        context: &mut Context<Self>,
        job: impl FnOnce() -> T + Send + 'static,
        then: impl FnOnce(&mut Self, T, &mut Context<Self>) + 'static,
    ) {
        self.phase = Phase::Busy;
        if messages < LARGE_MESSAGES {
            let result = job();
            return then(self, result, context);
        }
        let placement = self.journal.placement().clone();
        let run = wrap_future(async move { placement.run(job).await });
        context.spawn(run.map(|result, actor: &mut Self, context: &mut Context<Self>| match result {
            Ok(result) => {
                then(actor, result, context);
                actor.pump(context);
            }
            // As if it had panicked here.
            Err(_) => context.stop(),
        }));
    }

    fn append(&mut self, mut draft: Draft, messages: usize, context: &mut Context<Self>) {
        for wish in draft.rest.drain(..).rev() {
            self.waiting.push_front(Waiting::Wish(wish));
        }
        let list = std::mem::take(&mut draft.list);
        if list.is_empty() {
            self.phase = Phase::Free;
            return draft.answers.into_iter().for_each(tell);
        }
        let journal = self.journal.clone();
        let append = wrap_future(async move { journal.append(list).await });
        context.spawn(append.map(move |outcome, actor: &mut Self, context: &mut Context<Self>| {
            actor.decided(draft, messages, outcome, context);
            actor.pump(context);
        }));
    }

    /// The list is durable, or refused whole.
    fn decided(
        &mut self,
        draft: Draft,
        messages: usize,
        outcome: Result<Vec<Committed>, AppendError>,
        context: &mut Context<Self>,
    ) {
        self.phase = Phase::Free;
        let error = match outcome {
            Ok(committed) => {
                let (mailbox, position) = (self.about.id, draft.state.position());
                tracing::debug!(name: "mailbox.commit", %mailbox, position, commits = committed.len());
                self.publish(draft.state, messages, context);
                return draft.answers.into_iter().for_each(tell);
            }
            Err(error) => error,
        };
        tracing::warn!(mailbox = %self.about.id, %error, "a list of commits was refused");
        if matches!(error, AppendError::Conflict { .. }) {
            self.reload(context);
        }
        discard(self.journal.placement(), messages, draft.state);
        let fault = Fault::from(error);
        draft.answers.into_iter().for_each(|(answer, _)| tell((answer, Err(fault.clone().into()))));
    }

    /// A new durable state, in which so many messages changed: everybody may know.
    fn publish(&mut self, state: State, messages: usize, context: &mut Context<Self>) {
        discard(self.journal.placement(), messages, std::mem::replace(&mut self.state, state));
        self.keep_snapshot(context);
        self.bells.retain(|_, bell| {
            bell.ring();
            bell.is_heard()
        });
        self.leave_ended();
    }

    /// A deleted mailbox that nobody watches any more has nothing left to show.
    fn leave_ended(&mut self) {
        if self.state.is_ended() && self.bells.is_empty() && self.phase == Phase::Free && self.waiting.is_empty() {
            self.let_go();
        }
    }

    /// Takes a snapshot in the pool where the tail behind the last one has become long.
    fn keep_snapshot(&mut self, context: &mut Context<Self>) {
        let position = self.state.position();
        if self.snapshots.is_under_way || position.saturating_sub(self.snapshots.position) <= SNAPSHOT_TAIL {
            return;
        }
        self.snapshots.is_under_way = true;
        self.snapshots.position = position;
        let (journal, id, state, known) =
            (self.journal.clone(), self.about.id, self.state.clone(), self.snapshots.header.clone());
        let store = Arc::clone(journal.store());
        let put = move || load::put_snapshot(&*store, id, &state, known.as_deref());
        let put = wrap_future(async move { journal.placement().run(put).await });
        context.spawn(put.map(move |outcome, actor: &mut Self, _: &mut Context<Self>| {
            actor.snapshots.is_under_way = false;
            match outcome {
                Ok(Ok(header)) => actor.snapshots.header = Some(header),
                Ok(Err(error)) => tracing::warn!(mailbox = %id, %error, "no snapshot could be taken"),
                Err(fault) => tracing::warn!(mailbox = %id, %fault, "no snapshot could be taken"),
            }
        }));
    }

    fn let_go(&mut self) {
        self.phase = Phase::Gone;
        let state = std::mem::replace(&mut self.state, State::new(&self.about.limits));
        discard(self.journal.placement(), state.messages().len(), state);
    }

    /// Asks the journal what is true, behind everything that it has accepted for this mailbox.
    fn reload(&mut self, context: &mut Context<Self>) {
        self.phase = Phase::Busy;
        let (journal, id, limits) = (self.journal.clone(), self.about.id, Arc::clone(&self.about.limits));
        let reload = wrap_future(async move {
            journal.settled(id.log()).await?;
            let store = Arc::clone(journal.store());
            journal.placement().run(move || load::load(&*store, id, &limits)).await?
        });
        context.spawn(reload.map(|loaded, actor: &mut Self, context: &mut Context<Self>| match loaded {
            Ok(Loaded { state, .. }) => {
                actor.phase = Phase::Free;
                actor.publish(state, actor.state.messages().len(), context);
                actor.pump(context);
            }
            Err(fault) => {
                tracing::error!(mailbox = %actor.about.id, %fault, "a mailbox could not be read again");
                context.stop();
            }
        }));
    }

    fn prepare(&mut self, what: Prepare, answer: oneshot::Sender<Result<Prepared, Refusal>>, context: &mut Context<Self>) {
        let hold = Hold::new(context.address().recipient(), self.number(), self.state.position());
        let number = self.last_number;
        let (state, about) = (self.state.clone(), self.about.clone());
        self.work(
            what.messages(state.counts()),
            context,
            move || prepare(&state, &about, what, hold),
            move |actor, outcome, _| {
                actor.phase = if outcome.is_ok() { Phase::Held(number) } else { Phase::Free };
                // Where the account is gone the hold comes back unreleased, as a request of its own.
                let _ = answer.send(outcome);
            },
        );
    }
}

fn weight(change: &Change) -> u64 {
    let Change::Append(messages) = change else { return 0 };
    let bodies = messages.iter().filter_map(|message| message.body.as_ref());
    bodies.filter(|body| body.source != BodySource::Stored).map(|body| body.length).sum()
}

/// An asker that is gone has nobody to tell.
fn tell<T>((answer, outcome): (oneshot::Sender<T>, T)) {
    let _ = answer.send(outcome);
}

fn prepare(state: &State, about: &About, what: Prepare, hold: Hold) -> Result<Prepared, Refusal> {
    let nothing = Leaving { mailbox: about.id, position: state.position(), messages: Vec::new() };
    let outcome = match what {
        Prepare::Expunge(uids) => {
            let uids = uids.unwrap_or_else(|| state.messages().uids());
            leave(state, about.id, &uids, &about.limits).map(|leaving| (leaving, Crossing::default()))
        }
        Prepare::Append(leaving) => cross(state, &leaving, &about.context()).map(|crossing| (nothing, crossing)),
        Prepare::End if state.is_ended() => Err(Refusal::NoSuchMailbox),
        Prepare::End => Ok((nothing, Crossing::default())),
    };
    match outcome {
        Ok((leaving, crossing)) => {
            Ok(Prepared { hold, uid_validity: state.uid_validity(), leaving: Arc::new(leaving), crossing })
        }
        Err(refusal) => {
            hold.unchanged();
            Err(refusal)
        }
    }
}

impl Actor for MailboxActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.keep_snapshot(context);
    }
}

impl Handler<Subscribe> for MailboxActor {
    type Result = Result<(SubscriberId, Look), Refusal>;

    fn handle(&mut self, Subscribe { bell, claim }: Subscribe, _: &mut Self::Context) -> Self::Result {
        if self.phase == Phase::Gone || self.state.is_ended() {
            // The asker is answered; its bell has nothing to add.
            bell.silence();
            return Err(Fault::Gone.into());
        }
        let subscriber = SubscriberId(self.number());
        self.bells.insert(subscriber, bell);
        Ok((subscriber, self.look(claim)))
    }
}

impl Handler<LookAgain> for MailboxActor {
    type Result = Result<Look, Refusal>;

    fn handle(&mut self, LookAgain { subscriber, claim }: LookAgain, _: &mut Self::Context) -> Self::Result {
        self.bells.get_mut(&subscriber).ok_or(Fault::Gone)?.rearm();
        Ok(self.look(claim))
    }
}

impl Handler<Peek> for MailboxActor {
    type Result = Result<Look, Refusal>;

    fn handle(&mut self, Peek: Peek, _: &mut Self::Context) -> Self::Result {
        self.gone()?;
        Ok(Look { snapshot: self.state.clone(), recent_from: self.recent_from })
    }
}

impl Handler<Unsubscribe> for MailboxActor {
    type Result = ();

    fn handle(&mut self, Unsubscribe(subscriber): Unsubscribe, _: &mut Self::Context) {
        self.last_used = Instant::now();
        if let Some(bell) = self.bells.remove(&subscriber) {
            bell.silence();
        }
        self.leave_ended();
    }
}

impl Handler<Submit> for MailboxActor {
    type Result = ResponseFuture<Result<Changed, Refusal>>;

    fn handle(&mut self, Submit { author, change }: Submit, context: &mut Self::Context) -> Self::Result {
        if let Err(gone) = self.gone() {
            return Box::pin(async { Err(gone) });
        }
        self.last_used = Instant::now();
        let (answer, outcome) = oneshot::channel();
        self.waiting.push_back(Waiting::Wish(Wish { author, change, answer }));
        self.pump(context);
        Box::pin(async { outcome.await.unwrap_or_else(|_| Err(Fault::Gone.into())) })
    }
}

impl Handler<Prepare> for MailboxActor {
    type Result = ResponseFuture<Result<Prepared, Refusal>>;

    fn handle(&mut self, what: Prepare, context: &mut Self::Context) -> Self::Result {
        if let Err(gone) = self.gone() {
            return Box::pin(async { Err(gone) });
        }
        self.last_used = Instant::now();
        let (answer, outcome) = oneshot::channel();
        self.waiting.push_back(Waiting::Prepare(what, answer));
        self.pump(context);
        Box::pin(async { outcome.await.unwrap_or_else(|_| Err(Fault::Gone.into())) })
    }
}

impl Handler<Release> for MailboxActor {
    type Result = ();

    fn handle(&mut self, Release { number, outcome, noted }: Release, context: &mut Self::Context) {
        if self.phase != Phase::Held(number) {
            return;
        }
        match outcome {
            Outcome::Unchanged => self.phase = Phase::Free,
            Outcome::Unknown => self.reload(context),
            Outcome::Committed(events) => {
                let mut state = self.state.clone();
                let position = state.position() + 1;
                let messages = events.iter().map(MailboxEvent::messages).fold(0, usize::saturating_add);
                let fold = move || {
                    events.iter().for_each(|event| state.apply(position, event));
                    state
                };
                self.work(messages, context, fold, move |actor, state, context| {
                    actor.phase = Phase::Free;
                    actor.publish(state, messages, context);
                    if let Some(noted) = noted {
                        tell((noted, ()));
                    }
                });
            }
        }
        self.pump(context);
    }
}

impl Handler<Retire> for MailboxActor {
    type Result = MessageResult<Retire>;

    fn handle(&mut self, Retire(idle): Retire, _: &mut Self::Context) -> Self::Result {
        self.bells.retain(|_, bell| bell.is_heard());
        let is_idle = self.bells.is_empty() && self.waiting.is_empty() && self.last_used.elapsed() >= idle;
        if self.phase != Phase::Free || !is_idle {
            return MessageResult(None);
        }
        let look = Look { snapshot: self.state.clone(), recent_from: self.recent_from };
        self.let_go();
        MessageResult(Some(look))
    }
}

impl Handler<End> for MailboxActor {
    type Result = ();

    fn handle(&mut self, End(ended): End, context: &mut Self::Context) {
        self.ending.push(ended);
        context.stop();
    }
}
