//! What was asked and what was acknowledged, over all clients and crashes: the truth that the server is held to.

use std::collections::{BTreeMap, BTreeSet};

/// The books of one world.
#[derive(Default)]
pub struct Ledger {
    /// Messages whose APPEND was acknowledged, by their number.
    pub appended: BTreeSet<u32>,
    /// Messages that somebody tried to expunge, or whose mailbox somebody tried to delete.
    pub endangered: BTreeSet<u32>,
    /// Messages that somebody tried to copy, or whose APPEND was cut off: more than one of them may be there.
    pub copied: BTreeSet<u32>,
    /// (UIDVALIDITY, UID) and the message that was seen under it.
    pub seen: BTreeMap<(u32, u32), u32>,
    /// What went wrong.
    pub complaints: Vec<String>,
    /// The next message's number.
    pub next: u32,
    /// Every fifth message has so many bytes more, others a fiftieth of it, and some none.
    pub longest_message_bytes: usize,
    /// The names and subscriptions that the administrator expects, one set for each outcome that is possible after a crash.
    pub possible: Vec<Names>,
}

/// Names and subscriptions of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Mailboxes.
    pub mailboxes: BTreeSet<String>,
    /// Subscriptions.
    pub subscribed: BTreeSet<String>,
}

impl Names {
    /// A new account's.
    pub fn of_new_account() -> Self {
        let names: BTreeSet<String> = ["INBOX", "Drafts", "Sent", "Junk", "Trash", "Archive"].map(str::to_owned).into();
        Self { mailboxes: names.clone(), subscribed: names }
    }

    /// CREATE, with missing superiors.
    pub fn create(&mut self, name: &str) -> bool {
        if self.mailboxes.contains(name) {
            return false;
        }
        self.mailboxes.extend(superiors(name));
        self.mailboxes.insert(name.to_owned())
    }

    /// SUBSCRIBE: always possible.
    pub fn subscribe(&mut self, name: &str) -> bool {
        self.subscribed.insert(name.to_owned());
        true
    }

    /// UNSUBSCRIBE: always possible.
    pub fn unsubscribe(&mut self, name: &str) -> bool {
        self.subscribed.remove(name);
        true
    }

    /// RENAME of a tree with its subscriptions.
    pub fn rename(&mut self, from: &str, to: &str) -> bool {
        let is_there =
            |names: &BTreeSet<String>, name: &str| names.contains(name) || names.iter().any(|other| is_below(other, name));
        if !is_there(&self.mailboxes, from) || is_there(&self.mailboxes, to) || from == to || is_below(to, from) {
            return false;
        }
        let moved = |name: &String| match name.strip_prefix(from) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("{to}{rest}"),
            _ => name.clone(),
        };
        self.mailboxes = self.mailboxes.iter().map(moved).collect();
        self.subscribed = self.subscribed.iter().map(moved).collect();
        self.mailboxes.extend(superiors(to));
        true
    }
}

fn superiors(name: &str) -> impl Iterator<Item = String> + '_ {
    name.match_indices('/').map(|(end, _)| name[..end].to_owned())
}

fn is_below(name: &str, above: &str) -> bool {
    name.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
}

impl Ledger {
    /// Books with a new account in them.
    pub fn new() -> Self {
        Self { possible: vec![Names::of_new_account()], ..Self::default() }
    }

    /// Notes which message stands under a UID: it must always be the same.
    pub fn saw(&mut self, uid_validity: u32, uid: u32, message: u32) {
        if let Some(other) = self.seen.insert((uid_validity, uid), message)
            && other != message
        {
            self.complaints.push(format!("UID {uid} of UIDVALIDITY {uid_validity} was message {other} and is message {message}"));
        }
    }

    /// The administrator asks for a change of names: from here on both outcomes are possible, until one is acknowledged.
    pub fn attempt(&mut self, change: impl Fn(&mut Names) -> bool) {
        let before = self.possible.clone();
        for mut names in before {
            if change(&mut names) && !self.possible.contains(&names) {
                self.possible.push(names);
            }
        }
    }

    /// The change was acknowledged (`true`) or refused.
    pub fn settle(&mut self, before: &[Names], change: impl Fn(&mut Names) -> bool, is_done: bool) {
        self.possible = before.to_vec();
        if is_done {
            self.possible.retain_mut(|names| change(names));
            if self.possible.is_empty() {
                self.complaints.push("a change of names was acknowledged that was not possible".to_owned());
                self.possible = before.to_vec();
            }
        }
    }
}
