//! Puts messages into an account, batch by batch. What is there already, by EMAILID and as often, is passed over: an import that was cut off can simply be
//! started again.

use std::collections::HashMap;

use carillon_actors::account::actor::AccountHandle;
use carillon_actors::account::requests::Change as AccountChange;
use carillon_actors::arrival::{Arrival, Content, prepare_each};
use carillon_actors::id::AccountId;
use carillon_actors::mailbox::actor::MailboxHandle;
use carillon_actors::mailbox::event::Origin;
use carillon_actors::mailbox::requests::{Change, NewMessage};
use carillon_actors::refusal::{Fault, Refusal};
use carillon_actors::server::Core;
use carillon_protocol::flag::FlagSet;
use carillon_protocol::mailbox_name::MailboxName;
use carillon_storage::Author;
use serde::{Deserialize, Serialize};

use super::Item;
use crate::exit::{Exit, Failure};

/// What became of messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Messages that are durable now.
    pub imported: u64,
    /// Messages that were there already.
    pub present: u64,
    /// Messages of the batch that no mailbox can keep: which, and why.
    pub refused: Vec<(usize, String)>,
}

/// A mailbox that is written to.
struct Target {
    handle: MailboxHandle,
    /// How often each EMAILID was there before, less those that were met again.
    present: HashMap<[u8; 16], usize>,
}

/// Writes to one account.
pub struct Writer {
    core: Core,
    account: AccountHandle,
    author: Author,
    targets: HashMap<MailboxName, Target>,
}

fn failure(refusal: Refusal) -> Failure {
    match refusal {
        Refusal::Fault(Fault::Unavailable(_) | Fault::Gone | Fault::Ending) => {
            Failure::new(Exit::TryAgain, format!("{refusal:?}"))
        }
        other => Failure::new(Exit::Failed, format!("{other:?}")),
    }
}

impl Writer {
    /// For an account, which is made if it is not there.
    ///
    /// # Errors
    /// Its log cannot be read or written.
    pub async fn begin(core: &Core, account: AccountId) -> Result<Self, Failure> {
        let session = core.ids.session();
        let author = Author { session: session.0, command: 0, tag: String::new(), verb: "import".to_owned() };
        let account = core.directory.account(account).await.map_err(failure)?;
        Ok(Self { core: core.clone(), account, author, targets: HashMap::new() })
    }

    /// Makes sure that a mailbox is there.
    ///
    /// # Errors
    /// It cannot be made.
    pub async fn mailbox(&mut self, name: &MailboxName) -> Result<(), Failure> {
        self.target(name).await.map(drop)
    }

    async fn target(&mut self, name: &MailboxName) -> Result<&mut Target, Failure> {
        if !self.targets.contains_key(name) {
            let target = self.open(name).await?;
            self.targets.insert(name.clone(), target);
        }
        self.targets.get_mut(name).ok_or_else(|| Failure::new(Exit::Failed, "a mailbox is gone"))
    }

    async fn open(&mut self, name: &MailboxName) -> Result<Target, Failure> {
        let mut names = self.account.peek().await.map_err(failure)?;
        if names.find(name).is_none() {
            self.author.command += 1;
            let create = AccountChange::Create { mailbox: name.clone(), special_use: Vec::new() };
            names = self.account.change(self.author.clone(), create).await.map_err(failure)?;
            let subscribe = AccountChange::Subscribe(name.clone());
            self.account.change(self.author.clone(), subscribe).await.map_err(failure)?;
        }
        let id = names.find(name).map(|entry| entry.mailbox);
        let id = id.ok_or_else(|| Failure::new(Exit::Failed, "a mailbox that was made is not there"))?;
        let handle = self.account.open(id).await.map_err(failure)?;
        let look = handle.peek().await.map_err(failure)?;
        let mut present = HashMap::new();
        for message in look.snapshot.messages().iter() {
            *present.entry(message.details.email_id).or_insert(0) += 1;
        }
        Ok(Target { handle, present })
    }

    /// Writes a batch: one commit for each of its mailboxes; durable when this returns.
    ///
    /// # Errors
    /// The disk is full or the server ends: start the import again then. Or a mailbox cannot take the messages.
    pub async fn batch(&mut self, items: Vec<Item>) -> Result<Written, Failure> {
        let mut by_mailbox: Vec<(MailboxName, Vec<(usize, Item)>)> = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            match by_mailbox.iter_mut().find(|(name, _)| *name == item.mailbox) {
                Some((_, items)) => items.push((index, item)),
                None => by_mailbox.push((item.mailbox.clone(), vec![(index, item)])),
            }
        }
        let mut written = Written::default();
        for (name, items) in by_mailbox {
            self.append(&name, items, &mut written).await?;
        }
        Ok(written)
    }

    async fn append(&mut self, name: &MailboxName, items: Vec<(usize, Item)>, written: &mut Written) -> Result<(), Failure> {
        let (save_date, source) = (self.core.clock.seconds(), self.core.source.clone());
        let (indexes, arrivals): (Vec<usize>, Vec<Arrival>) =
            items.into_iter().map(|(index, item)| (index, arrival(item, save_date))).unzip();
        let prepared = self.core.placement.run(move || prepare_each(&source, arrivals)).await;
        let prepared = prepared.map_err(Refusal::from).and_then(|prepared| prepared).map_err(failure)?;
        self.author.command += 1;
        let author = self.author.clone();
        let target = self.target(name).await?;
        let mut messages = Vec::new();
        for (index, outcome) in indexes.into_iter().zip(prepared) {
            match outcome {
                Ok(message) => match target.present.get_mut(&message.details.email_id) {
                    Some(count) if *count > 0 => {
                        *count -= 1;
                        written.present += 1;
                    }
                    _ => messages.push(message),
                },
                Err(Refusal::Cannot(why)) => written.refused.push((index, why.to_owned())),
                Err(Refusal::EmptyMessage) => written.refused.push((index, "empty".to_owned())),
                Err(other) => return Err(failure(other)),
            }
        }
        if messages.is_empty() {
            return Ok(());
        }
        let (handle, count) = (target.handle.clone(), messages.len() as u64);
        match handle.change(author.clone(), Change::Append(messages.clone())).await {
            // More keywords than a mailbox can hold: the messages matter more.
            Err(Refusal::Limit(_)) => {
                let plain = messages.into_iter().map(without_keywords).collect();
                handle.change(author, Change::Append(plain)).await.map_err(failure)?;
            }
            other => drop(other.map_err(failure)?),
        }
        written.imported += count;
        Ok(())
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

fn without_keywords(message: NewMessage) -> NewMessage {
    NewMessage { flags: FlagSet::from_parts(message.flags.system_bits(), []), ..message }
}
