//! Which mailbox has which name, for people who read logs: folded from the accounts' logs, deleted mailboxes too.

use std::collections::{BTreeMap, BTreeSet};

use carillon_actors::account::event::{self, AccountEvent, Creation};
use carillon_actors::id::{AccountId, LOG_KIND_ACCOUNT, MailboxId};
use carillon_protocol::mailbox_name::{MailboxName, NameFormat};
use carillon_storage::{Journal, LogId, Position, Record};

use crate::exit::{Exit, Failure};
use crate::users::{self, Owner};

/// The name of the server's own log.
pub const SERVER: &str = "server";

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
    users: BTreeMap<AccountId, Owner>,
    mailboxes: BTreeMap<MailboxId, Named>,
    of_account: BTreeMap<AccountId, BTreeSet<MailboxId>>,
    /// How far each account's log was folded.
    positions: BTreeMap<AccountId, Position>,
}

impl Names {
    /// The users' names; nothing folded yet.
    pub fn new(users: BTreeMap<AccountId, Owner>) -> Self {
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
                    moves.into_iter().for_each(|step| self.put(step.mailbox, account, step.to, false));
                }
                AccountEvent::MailboxDeleted { mailbox, name } => {
                    self.put(mailbox, account, name, true);
                }
                AccountEvent::Subscribed(_) | AccountEvent::Unsubscribed(_) => {}
            }
        }
        self.positions.insert(account, record.position);
        Ok(())
    }

    fn created(&mut self, account: AccountId, creation: Creation) {
        self.put(creation.mailbox, account, creation.name, false);
    }

    fn put(&mut self, mailbox: MailboxId, account: AccountId, name: MailboxName, is_deleted: bool) {
        self.mailboxes.insert(mailbox, Named { account, name, is_deleted });
        self.of_account.entry(account).or_default().insert(mailbox);
    }

    /// The user of an account: its name, or the account's id.
    pub fn user(&self, account: AccountId) -> String {
        self.users.get(&account).map_or_else(|| account.to_string(), ToString::to_string)
    }

    /// How an account's own log is called: as its user, and of one who is called as the server's log is, with a `/`.
    pub fn log(&self, account: AccountId) -> String {
        let user = self.user(account);
        if user == SERVER { format!("{user}/") } else { user }
    }

    /// The account of a user by name or by account id.
    ///
    /// # Errors
    /// There is none, or several users of that name were removed.
    pub fn account(&self, user: &str) -> Result<AccountId, Failure> {
        let found = users::accounts(&self.users, user);
        let is_there = |account: &AccountId| self.users.get(account).is_some_and(|owner| !owner.is_removed);
        match found.as_slice() {
            [] => {
                let by_id = u64::from_str_radix(user, 16).ok().filter(|_| user.len() == 16).map(AccountId);
                by_id.ok_or_else(|| Failure::new(Exit::NoUser, format!("there is no user {user:?}")))
            }
            [first, rest @ ..] if rest.is_empty() || is_there(first) => Ok(*first),
            several => {
                let ids: Vec<String> = several.iter().map(ToString::to_string).collect();
                let text = format!("several users {user:?} were removed: name one by its account, {}", ids.join(" or "));
                Err(Failure::new(Exit::NoUser, text))
            }
        }
    }

    /// Whose a mailbox is, and its name.
    pub fn mailbox(&self, mailbox: MailboxId) -> Option<&Named> {
        self.mailboxes.get(&mailbox)
    }

    /// The mailboxes of an account, by name; deleted ones at the end.
    pub fn mailboxes(&self, account: AccountId) -> Vec<(MailboxId, &Named)> {
        let ids = self.of_account.get(&account).into_iter().flatten();
        let mut found: Vec<_> = ids.filter_map(|id| Some((*id, self.mailboxes.get(id)?))).collect();
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
