//! Changes whose owner died before it answered: the log says whether they were made (design.md §2, "Failing").

use carillon_protocol::mailbox_name::MailboxName;
use carillon_protocol::number::{Uid, UidValidity};
use carillon_protocol::set::UidSet;
use carillon_storage::{LogId, Position, Record};

use super::state::Session;
use crate::account;
use crate::account::requests::Transferred;
use crate::id::MailboxId;
use crate::journal::actor::damaged;
use crate::mailbox::actor::MailboxHandle;
use crate::mailbox::event::{self, Expunging, MailboxEvent};
use crate::mailbox::requests::{Change, Changed};
use crate::refusal::{Fault, Refusal};

/// How often an owner is asked that dies each time. What is not in the log behind a death will not come into it, so asking again repeats nothing.
const ATTEMPTS: usize = 3;

impl Session {
    /// Asks the selected mailbox for a change.
    pub async fn change_mailbox(&mut self, change: Change) -> Result<Changed, Refusal> {
        let mailbox = self.selected()?.mailbox.clone();
        self.change(mailbox, change).await
    }

    /// Asks a mailbox for a change. Where its actor died or retired meanwhile, the log says whether the change was made; if not, its
    /// successor is asked.
    pub async fn change(&mut self, mut mailbox: MailboxHandle, change: Change) -> Result<Changed, Refusal> {
        let id = mailbox.id();
        for _ in 0..ATTEMPTS {
            match mailbox.change(self.author.clone(), change.clone()).await {
                Err(Refusal::Fault(Fault::Gone)) => {}
                answer => return answer,
            }
            if let Some(record) = self.recorded(id.log(), 0).await? {
                return Ok(made_by(&record, self.uid_validity(id).await?)?);
            }
            mailbox = self.open(id).await?;
        }
        Err(Fault::Gone.into())
    }

    /// Asks the account for a change.
    pub async fn change_account(&mut self, change: account::requests::Change) -> Result<(), Refusal> {
        for _ in 0..ATTEMPTS {
            let author = self.author.clone();
            let login = self.login()?;
            let (log, told) = (login.account.id().log(), login.names.position());
            match login.account.change(author, change.clone()).await {
                Err(Refusal::Fault(Fault::Gone)) => {}
                answer => return answer.map(drop),
            }
            if self.recorded(log, told).await?.is_some() {
                return Ok(());
            }
            self.reattach_account().await?;
        }
        Err(Fault::Gone.into())
    }

    /// Asks the account for a MOVE out of the selected mailbox.
    pub async fn transfer(&mut self, uids: UidSet, target: &MailboxName) -> Result<Transferred, Refusal> {
        let view = &self.selected()?.view;
        let (source, told) = (view.mailbox(), view.snapshot().position());
        for _ in 0..ATTEMPTS {
            let author = self.author.clone();
            match self.login()?.account.transfer(author, source, uids.clone(), target.clone()).await {
                Err(Refusal::Fault(Fault::Gone)) => {}
                answer => return answer,
            }
            if let Some(record) = self.recorded(source.log(), told).await? {
                let (target, moved) = moved_by(&record)?;
                return Ok(Transferred { uid_validity: self.uid_validity(target).await?, moved });
            }
            self.reattach_account().await?;
        }
        Err(Fault::Gone.into())
    }

    /// The record that the running command has written.
    async fn recorded(&self, log: LogId, after: Position) -> Result<Option<Record>, Fault> {
        self.doors.core.journal.record_of(&self.author, log, after).await
    }

    /// A mailbox's UIDVALIDITY as its log has it: it may be deleted by now.
    async fn uid_validity(&self, mailbox: MailboxId) -> Result<UidValidity, Fault> {
        let store = self.doors.core.journal.store().clone();
        let records = self.doors.core.placement.run(move || store.read(mailbox.log(), 1, 1)).await??;
        for event in records.first().map(events).transpose()?.unwrap_or_default() {
            if let MailboxEvent::Opened { uid_validity } = event {
                return Ok(uid_validity);
            }
        }
        Err(Fault::Damaged("a mailbox's log does not begin with its opening".to_owned()))
    }
}

fn events(record: &Record) -> Result<Vec<MailboxEvent>, Fault> {
    event::decode(record.version, &record.events).map_err(|error| damaged(record, &error).into())
}

fn made_by(record: &Record, uid_validity: UidValidity) -> Result<Changed, Fault> {
    let mut changed = Changed { position: Some(record.position), uid_validity, appended: Vec::new(), affected: UidSet::new() };
    for event in events(record)? {
        match event {
            MailboxEvent::Appended { arrivals } => changed.appended.extend(arrivals.iter().map(|arrival| arrival.uid)),
            MailboxEvent::FlagsChanged { uids, .. } | MailboxEvent::Expunged { uids, .. } => {
                changed.affected = changed.affected.union(&uids);
            }
            MailboxEvent::Opened { .. } | MailboxEvent::Ended => {}
        }
    }
    Ok(changed)
}

/// Whereto, and the pairs of UIDs: both sets ascend together.
fn moved_by(record: &Record) -> Result<(MailboxId, Vec<(Uid, Uid)>), Fault> {
    let moved = events(record)?.into_iter().find_map(|event| match event {
        MailboxEvent::Expunged { uids: from, why: Expunging::MovedTo { mailbox, uids: to } } => {
            Some((mailbox, from.iter().zip(to.iter()).collect()))
        }
        _ => None,
    });
    moved.ok_or(Fault::Bug("a MOVE wrote a record that moves nothing"))
}
