//! One list of commits of an account: what waits is decided in order, each wish on the state that the one before it leaves.

use std::sync::Arc;

use carillon_storage::{Author, Commit, CommitList};
use tokio::sync::oneshot;

use super::decide::{Context, decide};
use super::load::records;
use super::requests::{Change, Snapshot};
use super::state::State;
use crate::clock::Clock;
use crate::id::{AccountId, Ids};
use crate::limits::Limits;
use crate::refusal::Refusal;

/// What is the same for all of an account's life in memory.
#[derive(Clone)]
pub(super) struct About {
    pub id: AccountId,
    pub ids: Ids,
    pub clock: Clock,
    pub limits: Arc<Limits>,
}

impl About {
    /// What a decision needs beside the state, now.
    pub fn context(&self) -> Context<'_> {
        Context { ids: &self.ids, now_seconds: self.clock.seconds(), limits: &self.limits }
    }
}

/// Where the answer to a wish goes.
pub(super) type Answer = oneshot::Sender<Result<Snapshot, Refusal>>;

/// A change that somebody waits for.
pub(super) struct Wish {
    pub author: Author,
    pub change: Change,
    pub answer: Answer,
}

impl Wish {
    /// Whether it changes a mailbox's log too: then it is a commit of its own, with a hold on that mailbox.
    pub fn needs_hold(&self) -> bool {
        match &self.change {
            Change::Delete(_) => true,
            Change::Rename { from, .. } => from.is_inbox(),
            _ => false,
        }
    }
}

/// What a list of wishes comes to.
pub(super) struct Draft {
    /// The state behind them.
    pub state: State,
    /// What has to become durable first.
    pub list: CommitList,
    /// The answers then: refusals too, for they were decided on what went before.
    pub answers: Vec<(Answer, Result<(), Refusal>)>,
}

/// Decides wishes in order.
pub(super) fn draft(state: State, wishes: Vec<Wish>, about: &About) -> Draft {
    let mut draft = Draft { state, list: Vec::new(), answers: Vec::with_capacity(wishes.len()) };
    for Wish { author, change, answer } in wishes {
        let outcome = draft.take(author, &change, about);
        draft.answers.push((answer, outcome));
    }
    draft
}

impl Draft {
    fn take(&mut self, author: Author, change: &Change, about: &About) -> Result<(), Refusal> {
        let events = decide(&self.state, change, &about.context())?;
        if events.is_empty() {
            return Ok(());
        }
        let expected = self.state.position();
        let records = records(about.id, expected, &events)?;
        for event in &events {
            self.state.apply(expected + 1, event);
        }
        self.list.push(Commit { at: about.clock.microseconds(), author, records, bodies: Vec::new() });
        Ok(())
    }
}
