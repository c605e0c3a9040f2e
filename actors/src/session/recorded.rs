//! Changes whose owner died before it answered: the log says whether they were made (design.md §2, "Failing").

use carillon_protocol::set::UidSet;
use carillon_storage::Record;

use super::state::Session;
use crate::mailbox::actor::MailboxHandle;
use crate::mailbox::event::{self, MailboxEvent};
use crate::mailbox::requests::{Change, Changed};
use crate::refusal::{Fault, Refusal};

impl Session {
    /// Asks the selected mailbox for a change.
    pub async fn change_mailbox(&mut self, change: Change) -> Result<Changed, Refusal> {
        let mailbox = self.selected()?.mailbox.clone();
        self.change(mailbox, change).await
    }

    /// Asks a mailbox for a change. Where its actor died or retired meanwhile, the log says whether the change was made; if not, its
    /// successor is asked once.
    pub async fn change(&mut self, mailbox: MailboxHandle, change: Change) -> Result<Changed, Refusal> {
        let author = self.author.clone();
        match mailbox.change(author.clone(), change.clone()).await {
            Err(Refusal::Fault(Fault::Gone)) => {}
            answer => return answer,
        }
        let successor = self.open(mailbox.id()).await?;
        match self.doors.core.journal.record_of(&author, mailbox.id().log(), 0).await? {
            Some(record) => {
                let uid_validity = successor.peek().await?.snapshot.uid_validity();
                Ok(made_by(&record, uid_validity))
            }
            None => successor.change(author, change).await,
        }
    }
}

fn made_by(record: &Record, uid_validity: carillon_protocol::number::UidValidity) -> Changed {
    let mut changed = Changed { position: Some(record.position), uid_validity, appended: Vec::new(), affected: UidSet::new() };
    for event in event::decode(record.version, &record.events).unwrap_or_default() {
        match event {
            MailboxEvent::Appended { arrivals } => changed.appended.extend(arrivals.iter().map(|arrival| arrival.uid)),
            MailboxEvent::FlagsChanged { uids, .. } | MailboxEvent::Expunged { uids, .. } => {
                changed.affected = changed.affected.union(&uids);
            }
            MailboxEvent::Opened { .. } | MailboxEvent::Ended => {}
        }
    }
    changed
}
