//! The session's side of its doorbells: what has rung and was not yet answered by a look (design.md §2).

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use super::reply::Farewell;
use crate::doorbell::{Doorbell, Watch};

/// How long a session may still take where it has to end: for a command that is nearly done, and for a client that reads slowly.
const GRACE: Duration = Duration::from_secs(3);

/// What the actor half of a session hears, kept for the half that serves the connection.
pub struct Bells {
    account: Cell<bool>,
    mailbox: Cell<bool>,
    stop: Cell<Option<Farewell>>,
    changed: Notify,
    halted: Notify,
    is_logged_in: Cell<bool>,
    make: Box<dyn Fn(Watch) -> Doorbell>,
}

impl Bells {
    /// `make` builds a doorbell that rings this session.
    pub fn new(make: Box<dyn Fn(Watch) -> Doorbell>) -> Rc<Self> {
        Rc::new(Self {
            account: Cell::default(),
            mailbox: Cell::default(),
            stop: Cell::default(),
            changed: Notify::new(),
            halted: Notify::new(),
            is_logged_in: Cell::default(),
            make,
        })
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

    /// The session shall end. The first reason stays.
    pub fn stop(&self, farewell: Farewell) {
        if self.stop.get().is_none() {
            self.stop.set(Some(farewell));
        }
        self.changed.notify_one();
        self.halted.notify_one();
    }

    /// The client has logged in: it is no longer in a hurry.
    pub fn logged_in(&self) {
        self.is_logged_in.set(true);
    }

    /// Returns when the session must not go on, whatever it waits for (a client that does not read, an answer of the pool): a moment after its stop, or after
    /// `login_by` where nobody has logged in.
    pub async fn overtime(&self, login_by: Instant) -> Farewell {
        let login = async {
            sleep_until(login_by + GRACE).await;
            if self.is_logged_in.get() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = self.halted.notified() => sleep(GRACE).await,
            () = login => {}
        }
        self.stop.get().unwrap_or(Farewell::Timeout)
    }

    /// Whether the account's bell rang since it was asked last.
    pub fn take_account(&self) -> bool {
        self.account.take()
    }

    /// The names were not looked at, or not by this client: the next look finds something.
    pub fn keep_account(&self) {
        self.account.set(true);
    }

    /// Whether the mailbox's bell rang since it was asked last.
    pub fn take_mailbox(&self) -> bool {
        self.mailbox.take()
    }

    /// Why the session shall end, if it shall.
    pub fn farewell(&self) -> Option<Farewell> {
        self.stop.get()
    }

    /// Waits until the session shall end. For somebody who is not logged in yet: what rings meanwhile is not waited for any more.
    pub async fn stopped(&self) {
        while self.farewell().is_none() {
            self.changed().await;
        }
    }

    /// Waits until something rang or the session shall end; returns at once where that happened since the last wait.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}
