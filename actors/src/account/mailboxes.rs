//! The account's mailboxes in memory: which have an actor, and who waits for one.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use crate::fault::Deaths;
use crate::id::MailboxId;
use crate::mailbox::actor::MailboxHandle;
use crate::refusal::{Fault, Refusal};

/// Where a mailbox's handle goes.
pub(super) type Answer = oneshot::Sender<Result<MailboxHandle, Refusal>>;

/// One mailbox that was opened.
#[derive(Default)]
struct Slot {
    handle: Option<MailboxHandle>,
    /// It is being loaded, or asked to retire.
    is_pending: bool,
    waiting: Vec<Answer>,
    deaths: Deaths,
}

/// All of them.
#[derive(Default)]
pub(super) struct Mailboxes(BTreeMap<MailboxId, Slot>);

impl Mailboxes {
    /// Somebody wants the mailbox: answers where that is possible. `true`: it has to be loaded now.
    pub fn open(&mut self, mailbox: MailboxId, answer: Answer) -> bool {
        let slot = self.0.entry(mailbox).or_default();
        if slot.is_pending {
            slot.waiting.push(answer);
            return false;
        }
        if let Some(handle) = slot.handle.as_ref().filter(|handle| handle.is_alive()) {
            let _ = answer.send(Ok(handle.clone()));
            return false;
        }
        if slot.handle.take().is_some() {
            // The account alone ends mailboxes, and takes those out of here: this one died.
            tracing::warn!(%mailbox, "a mailbox's actor died");
            slot.deaths.note();
        }
        if let Err(fault) = slot.deaths.may_start() {
            let _ = answer.send(Err(fault.into()));
            return false;
        }
        slot.is_pending = true;
        slot.waiting.push(answer);
        true
    }

    /// The actor, if there is one; `true` if that is being decided.
    pub fn locate(&self, mailbox: MailboxId) -> (Option<MailboxHandle>, bool) {
        let Some(slot) = self.0.get(&mailbox) else { return (None, false) };
        (slot.handle.clone().filter(MailboxHandle::is_alive), slot.is_pending)
    }

    /// The loading came to this.
    pub fn loaded(&mut self, mailbox: MailboxId, outcome: Result<MailboxHandle, Fault>) {
        let Some(slot) = self.0.get_mut(&mailbox) else { return };
        slot.is_pending = false;
        slot.handle = outcome.as_ref().ok().cloned();
        for answer in slot.waiting.drain(..) {
            let _ = answer.send(outcome.clone().map_err(Refusal::from));
        }
    }

    /// Those that may be asked to retire; whoever wants one meanwhile waits.
    pub fn retire(&mut self) -> Vec<MailboxHandle> {
        let slots = self.0.values_mut().filter(|slot| !slot.is_pending);
        let alive = slots.filter(|slot| slot.handle.as_ref().is_some_and(MailboxHandle::is_alive));
        alive
            .filter_map(|slot| {
                slot.is_pending = true;
                slot.handle.clone()
            })
            .collect()
    }

    /// The mailbox said no.
    pub fn stays(&mut self, handle: &MailboxHandle) {
        self.loaded(handle.id(), Ok(handle.clone()));
    }

    /// The mailbox retired. `true`: somebody waits, and it has to be loaded again.
    pub fn retired(&mut self, mailbox: MailboxId) -> bool {
        let Some(slot) = self.0.get_mut(&mailbox) else { return false };
        slot.handle = None;
        if slot.waiting.is_empty() {
            self.0.remove(&mailbox);
            return false;
        }
        true
    }

    /// The mailbox was deleted. Nobody waits for it: a hold on it was what deleted it.
    pub fn deleted(&mut self, mailbox: MailboxId) {
        self.0.remove(&mailbox);
    }

    /// All that have an actor.
    pub fn alive(&self) -> Vec<MailboxHandle> {
        self.0.values().filter_map(|slot| slot.handle.clone()).filter(MailboxHandle::is_alive).collect()
    }
}
