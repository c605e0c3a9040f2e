//! A mailbox without actor and journal, for the tests of what reads its states.

use std::sync::Arc;

use bytes::Bytes;
use carillon_protocol::date::InternalDate;
use carillon_protocol::flag::{Flag, FlagChange, FlagSet, Keyword, SystemFlag};
use carillon_protocol::number::{Uid, UidValidity};
use carillon_protocol::set::UidSet;
use carillon_storage::{Author, Body, BodyHash, BodySource, Commit, Journal, MemoryJournal, Position};

use super::view::{Mode, View};
use crate::id::MailboxId;
use crate::limits::Limits;
use crate::mailbox::event::{Arrival, Details, Expunging, MailboxEvent, Origin};
use crate::mailbox::requests::Look;
use crate::mailbox::state::State;

pub fn uid(number: u32) -> Uid {
    Uid::new(number).unwrap()
}

pub fn uids(numbers: impl IntoIterator<Item = u32>) -> UidSet {
    numbers.into_iter().map(uid).collect()
}

/// System flags with their backslash, keywords without.
pub fn flags(names: &str) -> FlagSet {
    let flag = |name: &str| match SystemFlag::ALL.into_iter().find(|flag| flag.name() == name) {
        Some(flag) => Flag::System(flag),
        None => Flag::Keyword(Keyword::new(name).unwrap()),
    };
    names.split_whitespace().map(flag).collect()
}

pub fn details(body: BodyHash, size: u64, unix_seconds: i64) -> Arc<Details> {
    let internal_date = InternalDate { unix_seconds, offset_minutes: 0 };
    let (email_id, thread_id) = ([0; 16], [0; 16]);
    Arc::new(Details { prefix: None, body, size, internal_date, save_date: 0, email_id, thread_id })
}

/// The details of a message whose bytes are stored.
pub fn stored(journal: &MemoryJournal, bytes: &[u8]) -> Arc<Details> {
    let (hash, length) = (BodyHash::of(bytes), bytes.len() as u64);
    let body = Body { hash, length, source: BodySource::Memory(Bytes::copy_from_slice(bytes)), beside: None };
    let commit = Commit { at: 0, author: Author::default(), records: Vec::new(), bodies: vec![body] };
    journal.append(vec![vec![commit]]).remove(0).unwrap();
    details(hash, length, 0)
}

/// The mailbox.
pub struct Server {
    pub state: State,
    recent_from: Uid,
}

impl Server {
    /// An empty mailbox that remembers so many changes.
    pub fn new(recent_changes: usize) -> Self {
        let mut state = State::new(&Limits { recent_changes, ..Limits::default() });
        state.apply(1, &MailboxEvent::Opened { uid_validity: UidValidity::MIN });
        Self { state, recent_from: Uid::MIN }
    }

    fn apply(&mut self, event: &MailboxEvent) -> Position {
        let position = self.state.position() + 1;
        self.state.apply(position, event);
        position
    }

    pub fn arrive(&mut self, count: u32, flags: &FlagSet) {
        let body = BodyHash::of(b"body");
        (0..count).for_each(|_| self.append(flags, details(body, 4, 0)));
    }

    pub fn append(&mut self, flags: &FlagSet, details: Arc<Details>) {
        let uid = self.state.uid_next();
        let arrival = Arrival { uid, flags: flags.clone(), details, origin: Origin::Append };
        self.apply(&MailboxEvent::Appended { arrivals: vec![arrival] });
    }

    /// Whether all keywords of these flags find a place; decide refuses the change otherwise.
    pub fn has_room_for(&self, flags: &FlagSet) -> bool {
        let mut next = self.state.clone();
        let event = MailboxEvent::FlagsChanged { uids: UidSet::new(), change: FlagChange::Add, flags: flags.clone() };
        next.apply(self.state.position() + 1, &event);
        next.flag_set(next.flags(flags)) == *flags
    }

    /// As decide does it: the event names only what really changes.
    pub fn store(&mut self, uids: &UidSet, change: FlagChange, flags: &FlagSet) -> Option<Position> {
        let mut changed = UidSet::new();
        for message in self.state.messages().iter().filter(|message| uids.contains(message.uid)) {
            let before = self.state.flag_set(message.flags);
            if changed_flags(&before, change, flags) != before {
                changed.insert(message.uid);
            }
        }
        let event = MailboxEvent::FlagsChanged { uids: changed.clone(), change, flags: flags.clone() };
        (!changed.is_empty()).then(|| self.apply(&event))
    }

    pub fn expunge(&mut self, uids: &UidSet) {
        let gone = uids.intersection(&self.state.messages().uids());
        if !gone.is_empty() {
            self.apply(&MailboxEvent::Expunged { uids: gone, why: Expunging::Expunge });
        }
    }

    pub fn end(&mut self) {
        self.apply(&MailboxEvent::Ended);
    }

    pub fn look(&mut self, mode: Mode) -> Look {
        let look = Look { snapshot: self.state.clone(), recent_from: self.recent_from };
        if mode == Mode::ReadWrite {
            self.recent_from = self.state.uid_next();
        }
        look
    }

    pub fn select(&mut self, mode: Mode) -> View {
        let look = self.look(mode);
        View::new(MailboxId(1), mode, look)
    }
}

pub fn changed_flags(before: &FlagSet, change: FlagChange, flags: &FlagSet) -> FlagSet {
    match change {
        FlagChange::Add => before.iter().chain(flags.iter()).collect(),
        FlagChange::Remove => before.iter().filter(|flag| !flags.iter().any(|other| other == *flag)).collect(),
        FlagChange::Replace => flags.clone(),
    }
}
