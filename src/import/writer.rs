//! Puts messages into an account, batch by batch. What is there already, by EMAILID and as often, is passed over: an import that was cut off can simply be
//! started again.

use std::collections::HashMap;

use carillon_actors::account::requests::Change as AccountChange;
use carillon_actors::arrival::{Arrival, Content, prepare_each};
use carillon_actors::id::{AccountId, MailboxId};
use carillon_actors::mailbox::actor::MailboxHandle;
use carillon_actors::mailbox::event::Origin;
use carillon_actors::mailbox::requests::{Change, NewMessage};
use carillon_actors::refusal::{Fault, Refusal};
use carillon_actors::server::Core;
use carillon_protocol::mailbox_name::MailboxName;
use carillon_storage::{Author, CommitNumber};
use serde::{Deserialize, Serialize};

use super::{Item, keywords};
use crate::exit::{Exit, Failure};

/// How often a mailbox is asked that is gone each time, or that somebody else changes meanwhile.
const ATTEMPTS: usize = 5;

/// What became of messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Messages that are durable now.
    pub imported: u64,
    /// Messages that were there already.
    pub present: u64,
    /// Messages of the batch that cannot be kept: which, and why.
    pub refused: Vec<(usize, String)>,
    /// Messages that are kept without some of their keywords, for which there was no room: which, and without what.
    pub lost_keywords: Vec<(usize, Vec<String>)>,
}

/// A mailbox that is written to. No actor is held on to: one that nobody asks retires, and an import may come back to it after hours.
struct Target {
    mailbox: MailboxId,
    /// How often each EMAILID was there before, less those that were met again.
    present: HashMap<[u8; 16], usize>,
}

/// Messages of a batch with their places in it.
type Numbered<T> = Vec<(usize, T)>;

/// Writes to one account.
pub struct Writer {
    core: Core,
    account: AccountId,
    author: Author,
    targets: HashMap<MailboxName, Target>,
}

/// What ends an import, as an administrator reads it.
fn failure(fault: Fault) -> Failure {
    match fault {
        Fault::Unavailable(why) => Failure::new(Exit::TryAgain, why),
        Fault::Gone => Failure::new(Exit::TryAgain, "a mailbox went away again and again"),
        Fault::Damaged(_) => Failure::new(Exit::Data, fault.to_string()),
        Fault::Ending => Failure::new(Exit::TryAgain, fault.to_string()),
        Fault::Bug(_) => Failure::new(Exit::Failed, fault.to_string()),
    }
}

/// Why one message or mailbox cannot be kept, which is no reason to leave out others.
///
/// # Errors
/// What ends the import.
fn reason(refusal: Refusal) -> Result<String, Failure> {
    Ok(match refusal {
        Refusal::Fault(fault) => return Err(failure(fault)),
        Refusal::Limit(why) | Refusal::Cannot(why) | Refusal::SpecialUse(why) => why.to_owned(),
        Refusal::EmptyMessage => "empty".to_owned(),
        Refusal::TooBig => "too long".to_owned(),
        Refusal::MailboxExists => "there is a mailbox of that name already".to_owned(),
        Refusal::NoSuchMailbox | Refusal::NoTargetMailbox => "its mailbox was deleted again and again".to_owned(),
        other => format!("{other:?}"),
    })
}

impl Writer {
    /// For an account, which is made when it is written to if it is not there.
    pub fn begin(core: &Core, account: AccountId) -> Self {
        let session = core.ids.session();
        let author = Author { session: session.0, command: 0, tag: String::new(), verb: "import".to_owned() };
        Self { core: core.clone(), account, author, targets: HashMap::new() }
    }

    /// Makes sure that a mailbox is there; why it cannot be, where it cannot.
    ///
    /// # Errors
    /// As for [`Writer::batch`].
    pub async fn mailbox(&mut self, name: &MailboxName) -> Result<Option<String>, Failure> {
        match self.find_or_make(name).await {
            Ok(_) => Ok(None),
            Err(refusal) => reason(refusal).map(Some),
        }
    }

    async fn find_or_make(&mut self, name: &MailboxName) -> Result<MailboxId, Refusal> {
        let account = self.core.directory.account(self.account).await?;
        if let Some(entry) = account.peek().await?.find(name) {
            return Ok(entry.mailbox);
        }
        self.author.command += 1;
        let create = AccountChange::Create { mailbox: name.clone(), special_use: Vec::new() };
        let names = match account.change(self.author.clone(), create).await {
            // By somebody else, just now.
            Err(Refusal::MailboxExists) => account.peek().await?,
            made => made?,
        };
        account.change(self.author.clone(), AccountChange::Subscribe(name.clone())).await?;
        names.find(name).map(|entry| entry.mailbox).ok_or(Refusal::NoSuchMailbox)
    }

    async fn open(&self, mailbox: MailboxId) -> Result<MailboxHandle, Refusal> {
        self.core.directory.account(self.account).await?.open(mailbox).await
    }

    /// The mailbox of a name; what it holds is counted when it is first written to.
    async fn target(&mut self, name: &MailboxName) -> Result<&mut Target, Refusal> {
        if !self.targets.contains_key(name) {
            let mailbox = self.find_or_make(name).await?;
            let look = self.open(mailbox).await?.peek().await?;
            let mut present = HashMap::new();
            for message in look.snapshot.messages().iter() {
                *present.entry(message.details.email_id).or_insert(0) += 1;
            }
            self.targets.insert(name.clone(), Target { mailbox, present });
        }
        self.targets.get_mut(name).ok_or(Refusal::NoSuchMailbox)
    }

    /// Writes a batch: one commit for each of its mailboxes; durable when this returns.
    ///
    /// # Errors
    /// The disk is full or the server ends: start the import again then. Or something is damaged.
    pub async fn batch(&mut self, items: Vec<Item>) -> Result<Written, Failure> {
        let mut by_mailbox: Vec<(MailboxName, Numbered<Item>)> = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            match by_mailbox.iter_mut().find(|(name, _)| *name == item.mailbox) {
                Some((_, items)) => items.push((index, item)),
                None => by_mailbox.push((item.mailbox.clone(), vec![(index, item)])),
            }
        }
        let mut written = Written::default();
        for (name, items) in by_mailbox {
            let messages = self.prepare(items, &mut written).await?;
            let indexes: Vec<usize> = messages.iter().map(|(index, _)| *index).collect();
            if let Err(refusal) = self.append(&name, messages, &mut written).await {
                let why = reason(refusal)?;
                written.refused.extend(indexes.into_iter().map(|index| (index, why.clone())));
            }
        }
        Ok(written)
    }

    async fn prepare(&self, items: Numbered<Item>, written: &mut Written) -> Result<Numbered<NewMessage>, Failure> {
        let (save_date, source) = (self.core.clock.seconds(), self.core.source.clone());
        let octets = items.iter().map(|(_, item)| item.bytes.len() as u64).sum();
        let (indexes, arrivals): (Vec<usize>, Vec<Arrival>) =
            items.into_iter().map(|(index, item)| (index, arrival(item, save_date))).unzip();
        let prepared =
            self.core.placement.run_for(octets, move || prepare_each(&source, arrivals)).await.and_then(|prepared| prepared);
        let mut messages = Vec::new();
        for (index, outcome) in indexes.into_iter().zip(prepared.map_err(failure)?) {
            match outcome {
                Ok(message) => messages.push((index, message)),
                Err(refusal) => written.refused.push((index, reason(refusal)?)),
            }
        }
        Ok(messages)
    }

    /// Appends what is not there yet. A mailbox whose actor retired or died is opened again, one that was deleted made again.
    async fn append(&mut self, name: &MailboxName, messages: Numbered<NewMessage>, written: &mut Written) -> Result<(), Refusal> {
        let present = &mut self.target(name).await?.present;
        let count = messages.len();
        let mut is_new = |message: &NewMessage| match present.get_mut(&message.details.email_id) {
            Some(count) if *count > 0 => {
                *count -= 1;
                false
            }
            _ => true,
        };
        let messages: Numbered<NewMessage> = messages.into_iter().filter(|(_, message)| is_new(message)).collect();
        written.present += (count - messages.len()) as u64;
        if messages.is_empty() {
            return Ok(());
        }
        self.author.command += 1;
        let since = self.core.journal.store().newest_commit();
        let mut outcome = Ok(Vec::new());
        for _ in 0..ATTEMPTS {
            outcome = self.append_once(name, messages.clone(), since).await;
            match &outcome {
                // Somebody else used up the room for keywords meanwhile, or it is gone.
                Err(Refusal::Limit(_) | Refusal::Fault(Fault::Gone)) => {}
                Err(Refusal::NoSuchMailbox | Refusal::NoTargetMailbox) => drop(self.targets.remove(name)),
                _ => break,
            }
        }
        written.lost_keywords.extend(outcome?);
        written.imported += messages.len() as u64;
        Ok(())
    }

    /// The messages that lost keywords, and which. `since` is the newest commit from before the batch.
    async fn append_once(
        &mut self,
        name: &MailboxName,
        mut messages: Numbered<NewMessage>,
        since: CommitNumber,
    ) -> Result<Numbered<Vec<String>>, Refusal> {
        let mailbox = self.target(name).await?.mailbox;
        let handle = self.open(mailbox).await?;
        let snapshot = handle.peek().await?.snapshot;
        let lost = keywords::fit(&mut messages, &snapshot, self.core.limits.keywords);
        let messages = messages.into_iter().map(|(_, message)| message).collect();
        match handle.change(self.author.clone(), Change::Append(messages)).await {
            // It may have been made: then it must not be made again.
            Err(Refusal::Fault(Fault::Gone)) => {
                let record = self.core.journal.record_of(&self.author, since, mailbox.log()).await?;
                record.map(|_| lost).ok_or(Refusal::Fault(Fault::Gone))
            }
            outcome => outcome.map(|_| lost),
        }
    }
}

fn arrival(item: Item, save_date: u64) -> Arrival {
    Arrival {
        has_nul: item.bytes.contains(&0),
        content: Content::Memory(item.bytes),
        prefix: None,
        internal_date: item.internal_date,
        save_date,
        flags: item.flags,
        origin: Origin::Append,
    }
}

#[cfg(test)]
mod tests;
