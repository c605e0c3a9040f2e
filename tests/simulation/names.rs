//! What LIST and LSUB must show: a model of names, of the mailboxes behind them, and of subscriptions (docs/adr/0001, 0011).

use std::collections::{BTreeMap, BTreeSet};

/// Names and subscriptions of an account.
#[derive(Clone, Debug)]
pub struct Names {
    /// Mailboxes, each with the number under which it was made: a mailbox keeps it for life.
    pub mailboxes: BTreeMap<String, u32>,
    /// Subscriptions.
    pub subscribed: BTreeSet<String>,
    next: u32,
}

/// What a change of names wants.
#[derive(Clone, Debug)]
pub enum NameChange {
    /// CREATE
    Create(String),
    /// DELETE
    Delete(String),
    /// RENAME
    Rename(String, String),
    /// SUBSCRIBE
    Subscribe(String),
    /// UNSUBSCRIBE
    Unsubscribe(String),
}

impl NameChange {
    /// The command's name.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Create(_) => "CREATE",
            Self::Delete(_) => "DELETE",
            Self::Rename(..) => "RENAME",
            Self::Subscribe(_) => "SUBSCRIBE",
            Self::Unsubscribe(_) => "UNSUBSCRIBE",
        }
    }

    /// The command.
    pub fn command(&self) -> String {
        match self {
            Self::Create(name) | Self::Delete(name) | Self::Subscribe(name) | Self::Unsubscribe(name) => {
                format!("{} {name}", self.verb())
            }
            Self::Rename(from, to) => format!("{} {from} {to}", self.verb()),
        }
    }
}

impl Names {
    /// A new account's.
    pub fn of_new_account() -> Self {
        let names = ["INBOX", "Drafts", "Sent", "Junk", "Trash", "Archive"];
        let mailboxes = names.iter().zip(0..).map(|(name, number)| ((*name).to_owned(), number)).collect();
        Self { mailboxes, subscribed: names.iter().map(|name| (*name).to_owned()).collect(), next: 6 }
    }

    /// Makes the change; `false`, and nothing done, where the rules refuse it.
    pub fn change(&mut self, change: &NameChange) -> bool {
        match change {
            NameChange::Create(name) => self.create(name),
            NameChange::Delete(name) => name != "INBOX" && self.mailboxes.remove(name).is_some(),
            NameChange::Rename(from, to) if from == "INBOX" => self.rename_inbox(to),
            NameChange::Rename(from, to) => self.rename(from, to),
            NameChange::Subscribe(name) => {
                self.subscribed.insert(name.clone());
                true
            }
            NameChange::Unsubscribe(name) => {
                self.subscribed.remove(name);
                true
            }
        }
    }

    /// Whether a name is a mailbox, or there for those below it.
    fn exists(&self, name: &str) -> bool {
        self.mailboxes.keys().any(|other| other == name || is_below(other, name))
    }

    fn add(&mut self, name: &str) {
        self.mailboxes.insert(name.to_owned(), self.next);
        self.next += 1;
    }

    /// The superiors of a name that are nothing yet, from the top.
    fn missing_superiors(&self, name: &str) -> Vec<String> {
        name.match_indices('/').map(|(end, _)| name[..end].to_owned()).filter(|superior| !self.exists(superior)).collect()
    }

    fn create(&mut self, name: &str) -> bool {
        if self.mailboxes.contains_key(name) {
            return false;
        }
        self.missing_superiors(name).iter().for_each(|superior| self.add(superior));
        self.add(name);
        true
    }

    fn rename_inbox(&mut self, to: &str) -> bool {
        !is_below(to, "INBOX") && self.create(to)
    }

    fn rename(&mut self, from: &str, to: &str) -> bool {
        let is_part = |name: &str| name == from || is_below(name, from);
        let moved = |name: &str| if is_part(name) { format!("{to}{}", &name[from.len()..]) } else { name.to_owned() };
        let is_taken = |name: &str| self.mailboxes.contains_key(name) && !is_part(name);
        let is_in_the_way = is_taken(to) || self.mailboxes.keys().any(|name| is_part(name) && is_taken(&moved(name)));
        if !self.exists(from) || from == to || to == "INBOX" || is_below(to, from) || is_in_the_way {
            return false;
        }
        let superiors = self.missing_superiors(to);
        self.mailboxes = self.mailboxes.iter().map(|(name, mailbox)| (moved(name), *mailbox)).collect();
        self.subscribed = self.subscribed.iter().map(|name| moved(name)).collect();
        superiors.iter().for_each(|superior| self.add(superior));
        true
    }

    /// Whether LIST and LSUB show this.
    pub fn look_like(&self, mailboxes: &BTreeSet<String>, subscribed: &BTreeSet<String>) -> bool {
        self.mailboxes.keys().eq(mailboxes) && self.subscribed == *subscribed
    }
}

fn is_below(name: &str, above: &str) -> bool {
    name.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
}
