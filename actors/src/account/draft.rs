//! One list of commits of an account: what waits is decided in order, each wish on the state that the one before it leaves.

use std::sync::Arc;

use carillon_storage::{Author, Commit, CommitList};
use tokio::sync::oneshot;

use super::decide::{Context, decide};
use super::load::records;
use super::requests::{Change, Snapshot};
use super::state::State;
use crate::batch::{Fit, Room, in_order};
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
    /// How many names have to be looked at for it; as many as `enough` are not counted on.
    pub fn names(&self, state: &State, enough: usize) -> usize {
        match &self.change {
            Change::Rename { from, .. } => {
                state.below(from).take(enough).count() + state.subscriptions_under(from).take(enough).count()
            }
            Change::Create { special_use, .. } if !special_use.is_empty() => state.mailboxes(),
            _ => 1,
        }
    }

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
    fn take(&mut self, wish: &Wish, about: &About) -> Option<Result<(), Refusal>> {
        let expected = self.state.position();
        let decided = decide(&self.state, &wish.change, &about.context()).and_then(|events| {
            let records = if events.is_empty() { Vec::new() } else { records(about.id, expected, &events)? };
            Ok((events, records))
        });
        let (events, records) = match decided {
            Ok((events, records)) => (events, records),
            Err(refusal) => return Some(Err(refusal)),
        };
        if records.is_empty() {
            return Some(Ok(()));
        }
        let bytes = records.iter().map(|record| record.events.len()).sum::<usize>();
        match self.room.take(bytes) {
            Fit::Now => {}
            Fit::Later => return None,
            Fit::Never => return Some(Err(Refusal::TOO_MUCH_AT_ONCE)),
        }
        for event in &events {
            self.state.apply(expected + 1, event);
        }
        self.list.push(Commit { at: about.clock.microseconds(), author: wish.author.clone(), records, bodies: Vec::new() });
        Some(Ok(()))
    }
}
