//! given(events) / when(request) / then(events | refusal): the tests of what is decided, without an actor.

use std::sync::Arc;

use carillon_protocol::date::InternalDate;
use carillon_protocol::flag::{Flag, FlagSet, Keyword, SystemFlag};
use carillon_protocol::mailbox_name::MailboxName;
use carillon_protocol::number::{Uid, UidValidity};
use carillon_protocol::set::UidSet;
use carillon_storage::BodyHash;

use crate::id::{Ids, MailboxId};
use crate::limits::Limits;
use crate::mailbox::details::{self, MessageIds};
use crate::mailbox::event::{Arrival, Details, MailboxEvent, Origin};
use crate::mailbox::requests::NewMessage;
use crate::refusal::Refusal;
use crate::{account, mailbox};

pub(crate) const NOW: u64 = 1_700_000_000;
pub(crate) const OWN: MailboxId = MailboxId(7);

pub(crate) fn uid(number: u32) -> Uid {
    Uid::new(number).unwrap()
}

pub(crate) fn uids(numbers: impl IntoIterator<Item = u32>) -> UidSet {
    numbers.into_iter().map(uid).collect()
}

pub(crate) fn uid_validity(number: u32) -> UidValidity {
    UidValidity::new(number).unwrap()
}

/// `flags("\\Seen Work")`
pub(crate) fn flags(text: &str) -> FlagSet {
    let flag = |word: &str| {
        let system = SystemFlag::ALL.into_iter().find(|flag| flag.name() == word);
        system.map_or_else(|| Flag::Keyword(Keyword::new(word).unwrap()), Flag::System)
    };
    text.split_whitespace().map(flag).collect()
}

pub(crate) fn name(text: &str) -> MailboxName {
    MailboxName::from_segments(text.split('/')).unwrap()
}

pub(crate) fn message_details(number: u64) -> Arc<Details> {
    let date = InternalDate { unix_seconds: 1_000_000_000 + number as i64, offset_minutes: 120 };
    let body = BodyHash::of(&number.to_le_bytes());
    Arc::new(details::new(None, body, 100 + number, date, NOW, MessageIds::default()))
}

pub(crate) fn new_message(number: u64, flags: FlagSet) -> NewMessage {
    NewMessage { flags, details: message_details(number), origin: Origin::Append, body: None }
}

/// Messages `numbers` arrived, each with its number as UID.
pub(crate) fn appended(numbers: impl IntoIterator<Item = u32>, set: &str) -> MailboxEvent {
    let arrival = |number: u32| Arrival {
        uid: uid(number),
        flags: flags(set),
        details: message_details(u64::from(number)),
        origin: Origin::Append,
    };
    MailboxEvent::Appended { arrivals: numbers.into_iter().map(arrival).collect() }
}

/// A mailbox's history, a record an event, behind its `Opened`.
pub(crate) fn given(events: impl IntoIterator<Item = MailboxEvent>) -> Given<mailbox::state::State> {
    given_with(&Limits::default(), events)
}

pub(crate) fn given_with(limits: &Limits, events: impl IntoIterator<Item = MailboxEvent>) -> Given<mailbox::state::State> {
    let mut state = mailbox::state::State::new(limits);
    let opened = MailboxEvent::Opened { uid_validity: uid_validity(9) };
    for (position, event) in (1..).zip([opened].into_iter().chain(events)) {
        state.apply(position, &event);
    }
    Given { state, limits: limits.clone(), now_seconds: NOW, ids: Ids::new(0, 1) }
}

/// An account's history behind its creation, by the requests that made it.
pub(crate) fn given_account(requests: impl IntoIterator<Item = account::requests::Change>) -> Given<account::state::State> {
    let mut given =
        Given { state: account::state::State::new(), limits: Limits::default(), now_seconds: NOW, ids: Ids::new(0, 1) };
    let first = account::decide::new_account(&given.account_context()).unwrap();
    first.iter().for_each(|event| given.state.apply(1, event));
    for request in requests {
        given.commit(&request).unwrap();
    }
    given
}

/// A state, and what a decision needs beside it.
pub(crate) struct Given<S> {
    pub(crate) state: S,
    pub(crate) limits: Limits,
    pub(crate) now_seconds: u64,
    pub(crate) ids: Ids,
}

impl Given<mailbox::state::State> {
    pub(crate) fn context(&self) -> mailbox::decide::Context<'_> {
        mailbox::decide::Context { mailbox: OWN, now_seconds: self.now_seconds, limits: &self.limits }
    }

    pub(crate) fn when(&self, change: &mailbox::requests::Change) -> Result<mailbox::decide::Decision, Refusal> {
        mailbox::decide::decide(&self.state, change, &self.context())
    }

    /// Decides and folds, as one record.
    pub(crate) fn commit(&mut self, change: &mailbox::requests::Change) -> Result<mailbox::decide::Decision, Refusal> {
        let decision = self.when(change)?;
        let position = self.state.position() + 1;
        decision.events.iter().for_each(|event| self.state.apply(position, event));
        Ok(decision)
    }
}

impl Given<account::state::State> {
    pub(crate) fn account_context(&self) -> account::decide::Context<'_> {
        account::decide::Context { ids: &self.ids, now_seconds: self.now_seconds, limits: &self.limits }
    }

    pub(crate) fn when(&self, change: &account::requests::Change) -> Result<Vec<account::event::AccountEvent>, Refusal> {
        account::decide::decide(&self.state, change, &self.account_context())
    }

    /// Decides and folds, as one record.
    pub(crate) fn commit(&mut self, change: &account::requests::Change) -> Result<Vec<account::event::AccountEvent>, Refusal> {
        let events = self.when(change)?;
        let position = self.state.position() + 1;
        events.iter().for_each(|event| self.state.apply(position, event));
        Ok(events)
    }
}
