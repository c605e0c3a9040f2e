//! One list of commits: what waits is decided in order, each wish on the state that the one before it leaves. Nothing of it is true until the list is durable.

use std::sync::Arc;

use carillon_protocol::set::UidSet;
use carillon_storage::{Author, Commit, CommitList, Position, RecordDraft};
use tokio::sync::oneshot;

use super::decide::{Context, Leaving, append_for_move, decide, moved_to};
use super::event::{MailboxEvent, VERSION, encode};
use super::requests::{Change, Changed};
use super::state::State;
use crate::batch::{Fit, Room, in_order};
use crate::clock::Clock;
use crate::id::MailboxId;
use crate::limits::Limits;
use crate::refusal::{Fault, Refusal};

/// What is the same for all of a mailbox's life in memory.
#[derive(Clone)]
pub(super) struct About {
    pub id: MailboxId,
    pub clock: Clock,
    pub limits: Arc<Limits>,
}

impl About {
    /// What a decision needs beside the state, now.
    pub fn context(&self) -> Context<'_> {
        Context { mailbox: self.id, now_seconds: self.clock.seconds(), limits: &self.limits }
    }
}

/// Where the answer to a wish goes.
pub(super) type Answer = oneshot::Sender<Result<Changed, Refusal>>;

/// A change that somebody waits for.
pub(super) struct Wish {
    pub author: Author,
    pub change: Arc<Change>,
    pub answer: Answer,
}

/// What a list of wishes comes to.
pub(super) struct Draft {
    /// The state behind them.
    pub state: State,
    /// What has to become durable first.
    pub list: CommitList,
    /// The answers then: refusals too, for they were decided on what went before.
    pub answers: Vec<(Answer, Result<Changed, Refusal>)>,
    /// What did not fit into the list any more: it is for the next one.
    pub rest: Vec<Wish>,
    room: Room,
}

/// Decides wishes in order, until the list has as many bytes of events as it may.
pub(super) fn draft(state: State, wishes: Vec<Wish>, about: &About) -> Draft {
    let room = Room::new(about.limits.change_bytes);
    let mut draft = Draft { state, list: Vec::new(), answers: Vec::new(), rest: Vec::new(), room };
    let (decided, rest) = in_order(wishes, |wish| draft.take(wish, about));
    draft.answers = decided.into_iter().map(|(wish, outcome)| (wish.answer, outcome)).collect();
    draft.rest = rest;
    draft
}

impl Draft {
    /// What becomes of a wish; `None` where it must wait for the next list.
    fn take(&mut self, wish: &Wish, about: &About) -> Option<Result<Changed, Refusal>> {
        let expected = self.state.position();
        let decided = decide(&self.state, &wish.change, &about.context()).and_then(|decision| {
            let record = if decision.events.is_empty() { None } else { Some(record(about.id, expected, &decision.events)?) };
            Ok((decision, record))
        });
        let (decision, record) = match decided {
            Ok((decision, Some(record))) => (decision, record),
            Ok((decision, None)) => return Some(Ok(decision.changed)),
            Err(refusal) => return Some(Err(refusal)),
        };
        let bytes = record.events.len();
        match self.room.take(bytes) {
            Fit::Now => {}
            Fit::Later => return None,
            Fit::Never => return Some(Err(Refusal::TOO_MUCH_AT_ONCE)),
        }
        for event in &decision.events {
            self.state.apply(expected + 1, event);
        }
        let bodies = match &*wish.change {
            Change::Append(messages) => messages.iter().filter_map(|message| message.body.clone()).collect(),
            _ => Vec::new(),
        };
        self.list.push(Commit { at: about.clock.microseconds(), author: wish.author.clone(), records: vec![record], bodies });
        Some(Ok(Changed { position: Some(expected + 1), ..decision.changed }))
    }
}

/// A record that is committed together with others, and its events, to be folded then.
#[derive(Debug)]
pub(crate) struct Prospect {
    pub record: RecordDraft,
    pub events: Vec<MailboxEvent>,
}

/// Both halves of a transfer.
#[derive(Debug, Default)]
pub(crate) struct Crossing {
    /// What to commit: in the source, and in the target. Empty where nothing moves.
    pub prospects: Vec<Prospect>,
    /// The UIDs in the source.
    pub from: UidSet,
    /// The UIDs in the target, pairwise.
    pub to: UidSet,
}

/// What leaves a mailbox arrives in one that has this state.
///
/// # Errors
/// As the target decides.
pub(crate) fn cross(state: &State, leaving: &Leaving, context: &Context<'_>) -> Result<Crossing, Refusal> {
    let decision = append_for_move(state, leaving, context)?;
    if decision.events.is_empty() {
        return Ok(Crossing::default());
    }
    let (from, to) = (leaving.uids(), decision.changed.appended);
    let left = vec![moved_to(from.clone(), context.mailbox, to.clone())];
    let source = Prospect { record: record(leaving.mailbox, leaving.position, &left)?, events: left };
    let target = record(context.mailbox, state.position(), &decision.events)?;
    let target = Prospect { record: target, events: decision.events };
    Ok(Crossing { prospects: vec![source, target], from, to })
}

/// A record for a mailbox's log.
///
/// # Errors
/// A programming error: events that cannot be encoded.
pub(crate) fn record(mailbox: MailboxId, expected: Position, events: &[MailboxEvent]) -> Result<RecordDraft, Fault> {
    let events = encode(events).map_err(|error| {
        tracing::error!(%mailbox, %error, "events that cannot be encoded");
        Fault::Bug("events that cannot be encoded")
    })?;
    Ok(RecordDraft { log: mailbox.log(), expected, version: VERSION, events })
}
