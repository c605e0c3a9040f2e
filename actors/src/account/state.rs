//! An account's state: its mailboxes by name and by id, and its subscriptions. Immutable for those who look, cheap to clone, changed by
//! [`State::apply`] alone.

use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use carillon_protocol::command::SpecialUse;
use carillon_protocol::mailbox_name::MailboxName;
use carillon_protocol::number::UidValidity;
use carillon_storage::Position;
use serde::{Deserialize, Serialize};

use super::event::{AccountEvent, Creation, Move};
use super::sorted::{Keyed, Sorted};
use crate::id::MailboxId;
use crate::recent::Recent;

/// Events that sessions can catch up with.
const RECENT_EVENTS: usize = 1000;

/// A mailbox of the account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its id for ever.
    pub mailbox: MailboxId,
    /// Its name now.
    pub name: MailboxName,
    /// Its UIDVALIDITY for ever.
    pub uid_validity: UidValidity,
    /// Its special uses (RFC 6154).
    pub special_use: Vec<SpecialUse>,
}

impl From<&Creation> for Entry {
    fn from(creation: &Creation) -> Self {
        let Creation { mailbox, name, uid_validity, special_use } = creation.clone();
        Self { mailbox, name, uid_validity, special_use }
    }
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existence {
    /// A mailbox.
    Mailbox,
    /// No mailbox, but there are some below it (`\NonExistent`).
    NonExistentParent,
    /// Nothing.
    No,
}

#[derive(Clone, Debug)]
struct ByName(Arc<Entry>);

impl Keyed for ByName {
    type Key = MailboxName;
    fn key(&self) -> &MailboxName {
        &self.0.name
    }
}

#[derive(Clone, Debug)]
struct ById(Arc<Entry>);

impl Keyed for ById {
    type Key = MailboxId;
    fn key(&self) -> &MailboxId {
        &self.0.mailbox
    }
}

impl Keyed for Arc<MailboxName> {
    type Key = MailboxName;
    fn key(&self) -> &MailboxName {
        self
    }
}

/// An account's state. A clone is O(1).
#[derive(Clone)]
pub struct State {
    position: Position,
    names: Sorted<ByName>,
    ids: Sorted<ById>,
    subscriptions: Sorted<Arc<MailboxName>>,
    largest_uid_validity: Option<UidValidity>,
    recent: Recent<AccountEvent>,
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    /// The state of an account without a log.
    pub fn new() -> Self {
        Self::at(0)
    }

    /// An empty state that has seen the records up to `position`, but knows no event of them.
    pub(super) fn at(position: Position) -> Self {
        Self {
            position,
            names: Sorted::default(),
            ids: Sorted::default(),
            subscriptions: Sorted::default(),
            largest_uid_validity: None,
            recent: Recent::new(RECENT_EVENTS, position),
        }
    }

    /// Folds an event of the record at `position` into the state. Total: what does not fit (a record of the past, an id that is not there) is left out
    /// with a line in the trace; it cannot come from [`decide`](super::decide::decide).
    pub fn apply(&mut self, position: Position, event: &AccountEvent) {
        if position < self.position {
            tracing::warn!(position, at = self.position, "an event of the past is left out");
            return;
        }
        self.position = position;
        match event {
            AccountEvent::MailboxCreated(creation) => self.put(creation.into()),
            AccountEvent::MailboxRenamed { moves, created, subscriptions } => {
                created.iter().for_each(|creation| self.put(creation.into()));
                self.rename(moves);
                // All old names go before the new ones come: a name can be both.
                subscriptions.iter().for_each(|(from, _)| drop(self.subscriptions.remove(from)));
                subscriptions.iter().for_each(|(_, to)| drop(self.subscriptions.insert(Arc::new(to.clone()))));
            }
            AccountEvent::MailboxDeleted { mailbox, .. } => match self.ids.remove(mailbox) {
                Some(ById(entry)) => drop(self.names.remove(&entry.name)),
                None => tracing::warn!(position, %mailbox, "the deletion of an unknown mailbox is left out"),
            },
            AccountEvent::Subscribed(name) => drop(self.subscriptions.insert(Arc::new(name.clone()))),
            AccountEvent::Unsubscribed(name) => drop(self.subscriptions.remove(name)),
        }
        self.recent.push(position, weight(event), event.clone());
    }

    /// Keeps names and ids one to one, whatever comes.
    pub(super) fn put(&mut self, entry: Entry) {
        self.largest_uid_validity = self.largest_uid_validity.max(Some(entry.uid_validity));
        let entry = Arc::new(entry);
        if let Some(ById(old)) = self.ids.insert(ById(Arc::clone(&entry))) {
            self.names.remove(&old.name);
        }
        if let Some(ByName(old)) = self.names.insert(ByName(entry)) {
            tracing::warn!(position = self.position, mailbox = %old.mailbox, "a mailbox lost its name to another");
            self.ids.remove(&old.mailbox);
        }
    }

    fn rename(&mut self, moves: &[Move]) {
        // All leave their old places before one takes its new place: a tree may move up into its own (gone) parent.
        let entries: Vec<(Option<ById>, &Move)> = moves.iter().map(|one| (self.ids.remove(&one.mailbox), one)).collect();
        for (entry, one) in entries.iter().filter_map(|(entry, one)| Some((entry.as_ref()?, one))) {
            if entry.0.name != one.from {
                tracing::warn!(position = self.position, mailbox = %one.mailbox, "a renamed mailbox had another name");
            }
            self.names.remove(&entry.0.name);
        }
        for (entry, one) in entries {
            match entry {
                Some(ById(entry)) => self.put(Entry { name: one.to.clone(), ..Entry::clone(&entry) }),
                None => {
                    tracing::warn!(position = self.position, mailbox = %one.mailbox, "the renaming of an unknown mailbox is left out")
                }
            }
        }
    }

    pub(super) fn put_subscription(&mut self, name: MailboxName) {
        self.subscriptions.insert(Arc::new(name));
    }

    pub(super) fn raise_uid_validity(&mut self, uid_validity: Option<UidValidity>) {
        self.largest_uid_validity = self.largest_uid_validity.max(uid_validity);
    }

    /// The position of the newest applied record.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The greatest UIDVALIDITY that a mailbox of this account ever had; `None` before the first.
    pub fn largest_uid_validity(&self) -> Option<UidValidity> {
        self.largest_uid_validity
    }

    /// How many mailboxes there are.
    pub fn mailboxes(&self) -> usize {
        self.names.len()
    }

    /// The mailbox of a name. O(log n).
    pub fn find(&self, name: &MailboxName) -> Option<&Entry> {
        self.names.get(name).map(|found| found.0.as_ref())
    }

    /// The mailbox of an id. O(log n).
    pub fn by_id(&self, mailbox: MailboxId) -> Option<&Entry> {
        self.ids.get(&mailbox).map(|found| found.0.as_ref())
    }

    /// What a name stands for.
    pub fn exists(&self, name: &MailboxName) -> Existence {
        if self.find(name).is_some() {
            Existence::Mailbox
        } else if self.has_children(name) {
            Existence::NonExistentParent
        } else {
            Existence::No
        }
    }

    /// Whether there are mailboxes below a name. O(log n).
    pub fn has_children(&self, name: &MailboxName) -> bool {
        self.below(name).next().is_some()
    }

    /// The mailboxes below a name, in order.
    pub fn below<'a>(&'a self, name: &'a MailboxName) -> impl Iterator<Item = &'a Entry> {
        // Below a name means directly behind it: names are ordered by levels.
        self.names.from(Bound::Excluded(name)).map(|found| found.0.as_ref()).take_while(|entry| entry.name.is_below(name))
    }

    /// All mailboxes in the order of their names.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.names.iter().map(|found| found.0.as_ref())
    }

    /// Whether a name is subscribed; it need not be a mailbox's.
    pub fn is_subscribed(&self, name: &MailboxName) -> bool {
        self.subscriptions.contains(name)
    }

    /// How many names are subscribed.
    pub fn subscription_count(&self) -> usize {
        self.subscriptions.len()
    }

    /// The subscribed names, in order.
    pub fn subscriptions(&self) -> impl Iterator<Item = &MailboxName> {
        self.subscriptions.iter().map(AsRef::as_ref)
    }

    /// The subscribed names that are `name` or below it, in order.
    pub fn subscriptions_under<'a>(&'a self, name: &'a MailboxName) -> impl Iterator<Item = &'a MailboxName> {
        let names = self.subscriptions.from(Bound::Included(name)).map(AsRef::as_ref);
        names.take_while(move |other: &&MailboxName| *other == name || other.is_below(name))
    }

    /// The events behind `position`, ascending. `None` if the window does not reach back so far, or if the position is ahead of this state.
    pub fn changes_since(&self, position: Position) -> Option<impl Iterator<Item = (Position, &AccountEvent)>> {
        self.recent.since(position).filter(|_| position <= self.position)
    }
}

fn weight(event: &AccountEvent) -> usize {
    match event {
        AccountEvent::MailboxRenamed { moves, created, subscriptions } => moves.len() + created.len() + subscriptions.len(),
        _ => 1,
    }
}

impl fmt::Debug for State {
    /// Short, and without the names: they are their owner's.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("State")
            .field("position", &self.position)
            .field("mailboxes", &self.mailboxes())
            .field("subscriptions", &self.subscription_count())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
