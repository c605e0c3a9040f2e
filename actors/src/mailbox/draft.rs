//! One list of commits: what waits is decided in order, each wish on the state that the one before it leaves. Nothing of it is true until the list is durable.

use std::sync::Arc;

use carillon_storage::{Author, Commit, CommitList, Position, RecordDraft};
use tokio::sync::oneshot;

use super::decide::{Context, decide};
use super::event::{MailboxEvent, VERSION, encode};
use super::requests::{Change, Changed};
use super::state::State;
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
    pub change: Change,
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
}

/// Decides wishes in order.
pub(super) fn draft(state: State, wishes: Vec<Wish>, about: &About) -> Draft {
    let mut draft = Draft { state, list: Vec::new(), answers: Vec::with_capacity(wishes.len()) };
    for Wish { author, change, answer } in wishes {
        let outcome = draft.take(author, change, about);
        draft.answers.push((answer, outcome));
    }
    draft
}

impl Draft {
    fn take(&mut self, author: Author, change: Change, about: &About) -> Result<Changed, Refusal> {
        let decision = decide(&self.state, &change, &about.context())?;
        let mut changed = decision.changed;
        if decision.events.is_empty() {
            return Ok(changed);
        }
        let expected = self.state.position();
        let record = record(about.id, expected, &decision.events)?;
        let bodies = match change {
            Change::Append(messages) => messages.into_iter().filter_map(|message| message.body).collect(),
            _ => Vec::new(),
        };
        for event in &decision.events {
            self.state.apply(expected + 1, event);
        }
        changed.position = Some(expected + 1);
        self.list.push(Commit { at: about.clock.microseconds(), author, records: vec![record], bodies });
        Ok(changed)
    }
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
