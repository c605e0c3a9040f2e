//! Changes whose owner died before it answered: the log says whether they were made (design.md §2, "Failing").

use std::sync::Arc;

use carillon_protocol::mailbox_name::MailboxName;
use carillon_protocol::number::UidValidity;
use carillon_protocol::set::UidSet;
use carillon_storage::{LogId, Record};

use super::state::{ATTEMPTS, Session};
use crate::account;
use crate::account::requests::Transferred;
use crate::discard::discard;
use crate::id::MailboxId;
use crate::journal::actor::damaged;
use crate::mailbox::actor::MailboxHandle;
use crate::mailbox::event::{self, Expunging, MailboxEvent};
use crate::mailbox::requests::{Change, Changed};
use crate::refusal::{Fault, Refusal};

impl Session {
    /// Asks the selected mailbox for a change.
    pub async fn change_mailbox(&mut self, change: Change) -> Result<Changed, Refusal> {
        let mailbox = self.selected()?.mailbox.clone();
        self.change(mailbox, change).await
    }

    /// Asks a mailbox for a change. Where its actor died or retired meanwhile, the log says whether the change was made; if not, its
    /// successor is asked: what is not in the log behind a death will not come into it, so asking again repeats nothing.
    pub async fn change(&mut self, mailbox: MailboxHandle, change: Change) -> Result<Changed, Refusal> {
        let change = Arc::new(change);
        let outcome = self.try_to_change(mailbox, &change).await;
        let messages = if let Change::Append(messages) = &*change { messages.len() } else { 0 };
        discard(&self.doors.core.placement, messages, change);
        outcome
    }

    async fn try_to_change(&mut self, mut mailbox: MailboxHandle, change: &Arc<Change>) -> Result<Changed, Refusal> {
        let id = mailbox.id();
        for _ in 0..ATTEMPTS {
            match mailbox.change(self.author.clone(), Arc::clone(change)).await {
                Err(Refusal::Fault(Fault::Gone)) => {}
                answer => return answer,
            }
            if let Some(record) = self.recorded(id.log()).await? {
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
            let log = login.account.id().log();
            match login.account.change(author, change.clone()).await {
                Err(Refusal::Fault(Fault::Gone)) => {}
                answer => return answer.map(drop),
            }
            if self.recorded(log).await?.is_some() {
                return Ok(());
            }
            self.reattach_account().await?;
        }
        Err(Fault::Gone.into())
    }

    /// Asks the account for a MOVE out of the selected mailbox.
    pub async fn transfer(&mut self, uids: UidSet, target: &MailboxName) -> Result<Transferred, Refusal> {
        let source = self.selected()?.view.mailbox();
        for _ in 0..ATTEMPTS {
            let author = self.author.clone();
            match self.login()?.account.transfer(author, source, uids.clone(), target.clone()).await {
                Err(Refusal::Fault(Fault::Gone)) => {}
                answer => return answer,
            }
            if let Some(record) = self.recorded(source.log()).await? {
                let (target, from, to) = moved_by(&record)?;
                return Ok(Transferred { uid_validity: self.uid_validity(target).await?, from, to });
            }
            self.reattach_account().await?;
        }
        Err(Fault::Gone.into())
    }

    /// The record that the running command has written to a log.
    async fn recorded(&self, log: LogId) -> Result<Option<Record>, Fault> {
        self.doors.core.journal.record_of(&self.author, self.begun_behind, log).await
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
    let mut changed = Changed { position: Some(record.position), uid_validity, appended: UidSet::new(), affected: UidSet::new() };
    for event in events(record)? {
        match event {
            MailboxEvent::Appended { arrivals } => changed.appended = arrivals.iter().map(|arrival| arrival.uid).collect(),
            MailboxEvent::FlagsChanged { uids, .. } | MailboxEvent::Expunged { uids, .. } => {
                changed.affected = changed.affected.union(&uids);
            }
            MailboxEvent::Opened { .. } | MailboxEvent::Ended => {}
        }
    }
    Ok(changed)
}

/// Whereto, and the UIDs here and there, pairwise.
fn moved_by(record: &Record) -> Result<(MailboxId, UidSet, UidSet), Fault> {
    let moved = events(record)?.into_iter().find_map(|event| match event {
        MailboxEvent::Expunged { uids: from, why: Expunging::MovedTo { mailbox, uids: to } } => Some((mailbox, from, to)),
        _ => None,
    });
    moved.ok_or(Fault::Bug("a MOVE wrote a record that moves nothing"))
}
