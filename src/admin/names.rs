//! Which mailbox has which name, for people who read logs: folded from the accounts' logs, deleted mailboxes too.

use std::collections::BTreeMap;

use carillon_actors::account::event::{self, AccountEvent, Creation};
use carillon_actors::id::{AccountId, LOG_KIND_ACCOUNT, MailboxId};
use carillon_protocol::mailbox_name::{MailboxName, NameFormat};
use carillon_storage::{Journal, LogId, Position, Record};

use crate::exit::{Exit, Failure};

/// Records that are read at a time.
const PIECE: usize = 1000;

/// Whose a mailbox is, and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The account.
    pub account: AccountId,
    /// The newest name that it had.
    pub name: MailboxName,
    /// Whether it was deleted.
    pub is_deleted: bool,
}

/// All names.
#[derive(Debug, Default)]
pub struct Names {
    users: BTreeMap<AccountId, String>,
    mailboxes: BTreeMap<MailboxId, Named>,
    /// How far each account's log was folded.
    positions: BTreeMap<AccountId, Position>,
}

impl Names {
    /// The users' names; nothing folded yet.
    pub fn new(users: BTreeMap<AccountId, String>) -> Self {
        Self { users, ..Self::default() }
    }

    /// Folds what is new in the log of an account.
    ///
    /// # Errors
    /// It cannot be read or understood.
    pub fn learn(&mut self, journal: &dyn Journal, account: AccountId) -> Result<(), Failure> {
        loop {
            let position = self.positions.get(&account).copied().unwrap_or(0);
            let records = journal.read(LogId { kind: LOG_KIND_ACCOUNT, id: account.0 }, position + 1, PIECE)?;
            for record in &records {
                self.fold(record)?;
            }
            if records.len() < PIECE {
                return Ok(());
            }
        }
    }

    /// Folds the logs of all accounts.
    ///
    /// # Errors
    /// As for [`Names::learn`].
    pub fn learn_all(&mut self, journal: &dyn Journal) -> Result<(), Failure> {
        journal.logs(LOG_KIND_ACCOUNT)?.into_iter().try_for_each(|log| self.learn(journal, AccountId(log.id)))
    }

    /// Folds one record of an account's log; one that was folded already changes nothing.
    ///
    /// # Errors
    /// It cannot be understood.
    pub fn fold(&mut self, record: &Record) -> Result<(), Failure> {
        let account = AccountId(record.log.id);
        if record.log.kind != LOG_KIND_ACCOUNT || self.positions.get(&account).is_some_and(|known| *known >= record.position) {
            return Ok(());
        }
        let events = event::decode(record.version, &record.events)
            .map_err(|error| Failure::new(Exit::Data, format!("account {account} at position {}: {error}", record.position)))?;
        for event in events {
            match event {
                AccountEvent::MailboxCreated(creation) => self.created(account, creation),
                AccountEvent::MailboxRenamed { moves, created, .. } => {
                    created.into_iter().for_each(|creation| self.created(account, creation));
                    for step in moves {
                        self.mailboxes.insert(step.mailbox, Named { account, name: step.to, is_deleted: false });
                    }
                }
                AccountEvent::MailboxDeleted { mailbox, name } => {
                    self.mailboxes.insert(mailbox, Named { account, name, is_deleted: true });
                }
                AccountEvent::Subscribed(_) | AccountEvent::Unsubscribed(_) => {}
            }
        }
        self.positions.insert(account, record.position);
        Ok(())
    }

    fn created(&mut self, account: AccountId, creation: Creation) {
        self.mailboxes.insert(creation.mailbox, Named { account, name: creation.name, is_deleted: false });
    }

    /// The user of an account: its name, or the account's id.
    pub fn user(&self, account: AccountId) -> String {
        self.users.get(&account).cloned().unwrap_or_else(|| account.to_string())
    }

    /// The account of a user by name or by account id.
    pub fn account(&self, user: &str) -> Option<AccountId> {
        let by_name = self.users.iter().find(|(_, name)| name.as_str() == user.to_lowercase()).map(|(account, _)| *account);
        let by_id = || u64::from_str_radix(user, 16).ok().filter(|_| user.len() == 16).map(AccountId);
        by_name.or_else(by_id)
    }

    /// Whose a mailbox is, and its name.
    pub fn mailbox(&self, mailbox: MailboxId) -> Option<&Named> {
        self.mailboxes.get(&mailbox)
    }

    /// The mailboxes of an account, by name; deleted ones at the end.
    pub fn mailboxes(&self, account: AccountId) -> Vec<(MailboxId, &Named)> {
        let mut found: Vec<_> =
            self.mailboxes.iter().filter(|(_, named)| named.account == account).map(|(id, named)| (*id, named)).collect();
        found.sort_by(|left, right| (left.1.is_deleted, &left.1.name).cmp(&(right.1.is_deleted, &right.1.name)));
        found
    }

    /// A mailbox by its name as it is now, else the newest deleted one of that name, else by its id.
    pub fn find(&self, account: AccountId, text: &str) -> Option<MailboxId> {
        let name = MailboxName::parse(text.as_bytes(), FORMAT).ok();
        let named = self.mailboxes(account).into_iter().find(|(_, named)| Some(&named.name) == name.as_ref());
        let by_id = || {
            let id = u64::from_str_radix(text, 16).ok().filter(|_| text.len() == 16).map(MailboxId)?;
            self.mailboxes.get(&id).filter(|named| named.account == account).map(|_| id)
        };
        named.map(|(id, _)| id).or_else(by_id)
    }
}

/// How names stand in logs and commands: UTF-8, with `/`, whatever the server's separator is.
pub const FORMAT: NameFormat = NameFormat { separator: '/', utf8: true };

/// A name for people.
pub fn text(name: &MailboxName) -> String {
    name.to_wire(FORMAT)
}
