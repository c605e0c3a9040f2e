//! The doorbell: how an actor tells a session "look again", in O(1) for a session that never looks, and without losing a ring.

use actix::{Message, Recipient};

use crate::id::MailboxId;

/// Which watched actor a bell belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Watch {
    /// The session's account.
    Account,
    /// This mailbox.
    Mailbox(MailboxId),
}

/// What the subscriber receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rang {
    /// Whose bell it was.
    pub watch: Watch,
    /// The bell was dropped: its actor died, or lets go of its subscribers. The subscription is gone; ask the actor's owner for it anew.
    pub dropped: bool,
}

impl Message for Rang {
    type Result = ();
}

/// A subscriber's bell, in the hands of the actor that it watches. At most one ring is in flight between two looks. Rings when it is dropped, so that a
/// subscriber learns of a panic too.
#[derive(Debug)]
pub struct Doorbell {
    recipient: Recipient<Rang>,
    watch: Watch,
    has_rung: bool,
    is_silent: bool,
}

impl Doorbell {
    /// A bell that rings at `recipient`.
    pub fn new(recipient: Recipient<Rang>, watch: Watch) -> Self {
        Self { recipient, watch, has_rung: false, is_silent: false }
    }

    /// Rings, unless it has rung since the last look.
    pub fn ring(&mut self) {
        if !self.has_rung {
            self.has_rung = true;
            self.recipient.do_send(Rang { watch: self.watch, dropped: false });
        }
    }

    /// The subscriber looks now: the next change rings again.
    pub fn rearm(&mut self) {
        self.has_rung = false;
    }

    /// Whether anybody is left to hear it.
    pub fn is_heard(&self) -> bool {
        self.recipient.connected()
    }

    /// Takes the bell down: its subscriber asked for that, so nothing rings.
    pub fn silence(mut self) {
        self.is_silent = true;
    }
}

impl Drop for Doorbell {
    fn drop(&mut self) {
        if !self.is_silent {
            self.recipient.do_send(Rang { watch: self.watch, dropped: true });
        }
    }
}
