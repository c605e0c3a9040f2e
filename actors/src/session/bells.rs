//! The session's side of its doorbells: what has rung and was not yet answered by a look (design.md §2).

use std::cell::Cell;
use std::rc::Rc;

use tokio::sync::Notify;

use super::reply::Farewell;
use crate::doorbell::{Doorbell, Watch};

/// What the actor half of a session hears, kept for the half that serves the connection.
pub struct Bells {
    account: Cell<bool>,
    mailbox: Cell<bool>,
    stop: Cell<Option<Farewell>>,
    changed: Notify,
    make: Box<dyn Fn(Watch) -> Doorbell>,
}

impl Bells {
    /// `make` builds a doorbell that rings this session.
    pub fn new(make: Box<dyn Fn(Watch) -> Doorbell>) -> Rc<Self> {
        Rc::new(Self { account: Cell::default(), mailbox: Cell::default(), stop: Cell::default(), changed: Notify::new(), make })
    }

    /// A new doorbell for a watched actor.
    pub fn doorbell(&self, watch: Watch) -> Doorbell {
        (self.make)(watch)
    }

    /// A bell rang. A bell of a mailbox that is no longer selected costs one look too many and nothing else.
    pub fn rang(&self, watch: Watch) {
        match watch {
            Watch::Account => self.account.set(true),
            Watch::Mailbox(_) => self.mailbox.set(true),
        }
        self.changed.notify_one();
    }

    /// The session shall end.
    pub fn stop(&self, farewell: Farewell) {
        self.stop.set(Some(farewell));
        self.changed.notify_one();
    }

    /// Whether the account's bell rang since it was asked last.
    pub fn take_account(&self) -> bool {
        self.account.take()
    }

    /// Whether the mailbox's bell rang since it was asked last.
    pub fn take_mailbox(&self) -> bool {
        self.mailbox.take()
    }

    /// Why the session shall end, if it shall.
    pub fn farewell(&self) -> Option<Farewell> {
        self.stop.get()
    }

    /// Waits until something rang or the session shall end; returns at once where that happened since the last wait.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}
