//! A mailbox's word to its account that nothing changes there until the account has committed for several logs at once, or has given up.

use actix::{Message, Recipient};
use carillon_storage::Position;
use tokio::sync::oneshot;

use super::event::MailboxEvent;

/// What became of a hold.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The events are durable, in the record behind the hold's position.
    Committed(Vec<MailboxEvent>),
    /// Nothing was written.
    Unchanged,
    /// Nobody knows: the mailbox must ask the journal.
    Unknown,
}

/// The end of a hold, on its way to the mailbox.
#[derive(Debug)]
pub(super) struct Release {
    /// Which hold.
    pub number: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// Answered when the mailbox has taken note.
    pub noted: Option<oneshot::Sender<()>>,
}

impl Message for Release {
    type Result = ();
}

/// The account's hold on a mailbox. Dropped unreleased, it means that the outcome is unknown: the mailbox reloads from the journal.
#[derive(Debug)]
pub struct Hold {
    mailbox: Recipient<Release>,
    number: u64,
    position: Position,
    is_released: bool,
}

impl Hold {
    pub(super) fn new(mailbox: Recipient<Release>, number: u64, position: Position) -> Self {
        Self { mailbox, number, position, is_released: false }
    }

    /// The position of the mailbox's newest record, which the commit must expect.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The record with `events` is durable. Whoever asks the mailbox for a look after this returned sees it.
    pub async fn committed(mut self, events: Vec<MailboxEvent>) {
        let (noted, done) = oneshot::channel();
        self.release(Outcome::Committed(events), Some(noted));
        // A mailbox that died meanwhile reads the record when it is started again.
        let _ = done.await;
    }

    /// Nothing was written.
    pub fn unchanged(mut self) {
        self.release(Outcome::Unchanged, None);
    }

    /// Goes through the mailbox's unbounded queue at once: a release must not be lost where its sender is cancelled.
    fn release(&mut self, outcome: Outcome, noted: Option<oneshot::Sender<()>>) {
        self.is_released = true;
        self.mailbox.do_send(Release { number: self.number, outcome, noted });
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.is_released {
            self.release(Outcome::Unknown, None);
        }
    }
}
