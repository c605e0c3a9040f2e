//! The simulation sees the server from the inside too: states must be the fold of their logs, as a fold of its own makes it; mod-sequences never go back; and every
//! reply is confirmed by the journal: what was acknowledged is written, once, and what was refused is not.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use carillon_actors::id::{AccountId, LOG_KIND_ACCOUNT, LOG_KIND_MAILBOX, MailboxId};
use carillon_actors::mailbox::event::{MailboxEvent, decode};
use carillon_actors::server::Core;
use carillon_protocol::flag::{Flag, FlagChange, FlagSet};
use carillon_storage::memory::MemoryJournal;
use carillon_storage::{Journal, Position, Record};

use crate::ledger::{Flags, Reply};
use crate::people::Books;
use crate::verdict::{Census, Mailbox};

/// What is remembered from one look to the next, over all lives.
pub struct Inside {
    account: AccountId,
    journal: Arc<MemoryJournal>,
    books: Books,
    /// The newest mod-sequence that each mailbox and each message had: never less again.
    modseqs: RefCell<BTreeMap<(MailboxId, u32), u64>>,
    /// The records that were confirmed.
    confirmed: RefCell<u64>,
}

/// A message as the log says: its flags and its mod-sequence.
type Message = (Flags, u64);

/// A mailbox as its log says.
#[derive(Debug, Default, PartialEq)]
struct Folded {
    position: Position,
    uid_validity: u32,
    uid_next: u32,
    messages: BTreeMap<u32, Message>,
    /// What can be in no log.
    nonsense: Vec<String>,
}

impl Folded {
    fn apply(&mut self, record: &Record) {
        self.position = record.position;
        for event in decode(record.version, &record.events).expect("events can be read") {
            match event {
                MailboxEvent::Opened { uid_validity } => {
                    self.uid_validity = uid_validity.get();
                    self.uid_next = 1;
                }
                MailboxEvent::Appended { arrivals } => {
                    for arrival in arrivals {
                        let uid = arrival.uid.get();
                        if uid < self.uid_next {
                            self.nonsense.push(format!("UID {uid} is used again at {}", record.position));
                        }
                        self.uid_next = uid + 1;
                        self.messages.insert(uid, (words(&arrival.flags), record.position));
                    }
                }
                MailboxEvent::FlagsChanged { uids, change, flags } => {
                    let flags = words(&flags);
                    for uid in uids.iter() {
                        let Some(message) = self.messages.get_mut(&uid.get()) else {
                            self.nonsense.push(format!("flags of UID {} at {}, which is not there", uid.get(), record.position));
                            continue;
                        };
                        message.0 = match change {
                            FlagChange::Add => &message.0 | &flags,
                            FlagChange::Remove => &message.0 - &flags,
                            FlagChange::Replace => flags.clone(),
                        };
                        message.1 = record.position;
                    }
                }
                MailboxEvent::Expunged { uids, .. } => {
                    for uid in uids.iter() {
                        if self.messages.remove(&uid.get()).is_none() {
                            self.nonsense.push(format!("UID {} is expunged at {}, and is not there", uid.get(), record.position));
                        }
                    }
                }
                MailboxEvent::Ended => self.messages.clear(),
            }
        }
    }
}

fn words(flags: &FlagSet) -> Flags {
    let word = |flag: Flag| match flag {
        Flag::System(flag) => flag.name().to_owned(),
        Flag::Keyword(keyword) => keyword.as_str().to_owned(),
    };
    flags.iter().map(word).collect()
}

impl Inside {
    /// Looks at this account's part of a journal.
    pub fn new(account: AccountId, journal: Arc<MemoryJournal>, books: Books) -> Self {
        Self { account, journal, books, modseqs: RefCell::default(), confirmed: RefCell::default() }
    }

    /// Nobody works: what a fresh session found, what the actors hold and what the logs say must be one.
    pub async fn look(&self, core: &Core, census: &Census) {
        let Ok(account) = core.directory.account(self.account).await else { return };
        let Ok(names) = account.peek().await else { return };
        for entry in names.entries() {
            let folded = self.fold(entry.mailbox);
            let Ok(look) = account.glance(entry.mailbox).await else { return };
            let state = look.snapshot;
            let messages = state
                .messages()
                .iter()
                .map(|message| (message.uid.get(), (words(&state.flag_set(message.flags)), message.modseq.0)));
            let held = Folded {
                position: state.position(),
                uid_validity: state.uid_validity().get(),
                uid_next: state.uid_next().get(),
                messages: messages.collect(),
                nonsense: Vec::new(),
            };
            if entry.uid_validity != state.uid_validity() {
                self.complain(format!("the account has UIDVALIDITY {} for {}", entry.uid_validity.get(), entry.name));
            }
            if held != folded {
                self.complain(format!("{} is {held:?}, and its log says {folded:?}", entry.name));
            }
            match census.get(&folded.uid_validity) {
                Some(mailbox) if is_same(mailbox, &folded) => {}
                found => self.complain(format!("{} is found as {found:?}, and its log says {folded:?}", entry.name)),
            }
            self.remember(entry.mailbox, &folded);
        }
        self.confirm();
    }

    fn complain(&self, what: String) {
        self.books.borrow_mut().complain(what);
    }

    fn fold(&self, mailbox: MailboxId) -> Folded {
        let mut folded = Folded::default();
        for record in self.journal.read(mailbox.log(), 1, usize::MAX).expect("a log can be read") {
            folded.apply(&record);
        }
        folded
    }

    /// UID 0 stands for the mailbox.
    fn remember(&self, mailbox: MailboxId, folded: &Folded) {
        let messages = folded.messages.iter().map(|(uid, (_, modseq))| (*uid, *modseq));
        for (uid, modseq) in messages.chain([(0, folded.position)]) {
            if let Some(before) = self.modseqs.borrow_mut().insert((mailbox, uid), modseq)
                && before > modseq
            {
                self.complain(format!("the mod-sequence of UID {uid} of {mailbox} went back from {before} to {modseq}"));
            }
        }
    }

    /// What was acknowledged is in the journal, once in each log; what was refused is not.
    fn confirm(&self) {
        let from = *self.confirmed.borrow() + 1;
        let mut written: BTreeMap<String, Vec<Record>> = BTreeMap::new();
        for record in self.journal.commits(from, usize::MAX).expect("commits can be read") {
            *self.confirmed.borrow_mut() = record.commit;
            if matches!(record.log.kind, LOG_KIND_ACCOUNT | LOG_KIND_MAILBOX) && record.position > 1 {
                written.entry(record.author.tag.clone()).or_default().push(record);
            }
        }
        let replies = std::mem::take(&mut self.books.borrow_mut().replies);
        for (tag, reply) in replies {
            let is_written = written.contains_key(&tag);
            if is_written != (reply == Reply::Changed) {
                self.complain(format!("{tag} was answered {reply:?}, and the journal has {:?}", written.get(&tag)));
            }
        }
        for (tag, records) in written {
            let logs: BTreeSet<_> = records.iter().map(|record| record.log).collect();
            if logs.len() != records.len() {
                self.complain(format!("{tag} was done twice: {records:?}"));
            }
        }
    }
}

fn is_same(mailbox: &Mailbox, folded: &Folded) -> bool {
    let found = mailbox.messages.iter().map(|(uid, found)| (uid, &found.flags));
    mailbox.uid_next == folded.uid_next && found.eq(folded.messages.iter().map(|(uid, (flags, _))| (uid, flags)))
}
