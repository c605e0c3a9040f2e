//! What was asked and what was acknowledged since everything was last looked at: the books that the server is held to. `verdict.rs` judges by them.
//!
//! A message is known by its number, which stands in its subject; a *place* is where one of its copies stands: UIDVALIDITY and UID, which never mean another
//! message. Every request is an *act* with the moment at which it was sent and the one at which it was answered: requests of others that overlap it may come
//! before or after it, all others may not.

use std::collections::{BTreeMap, BTreeSet};

use crate::client::Answer;
use crate::names::{NameChange, Names};

/// UIDVALIDITY and UID.
pub type Place = (u32, u32);

/// A set of flags.
pub type Flags = BTreeSet<String>;

/// A moment: requests and answers, counted.
pub type Moment = u64;

/// The name of the mark that EXPUNGE acts on.
pub const DELETED: &str = "\\Deleted";

/// What a request wants.
#[derive(Clone, Debug)]
pub enum Wish {
    /// APPEND of messages with these numbers, all with these flags.
    Append(Vec<u32>, Flags),
    /// COPY of these.
    Copy(BTreeSet<Place>),
    /// MOVE of these.
    Move(BTreeSet<Place>),
    /// STORE on these.
    Store(BTreeSet<Place>, Edit, Flags),
    /// EXPUNGE and CLOSE of a mailbox; UID EXPUNGE among these UIDs.
    Expunge(u32, Option<BTreeSet<u32>>),
    /// DELETE of the mailbox with this UIDVALIDITY.
    Delete(u32),
    /// RENAME INBOX: of the mailbox with this UIDVALIDITY, to this name.
    RenameInbox(u32, String),
}

impl Wish {
    fn name(&self) -> &'static str {
        match self {
            Self::Append(numbers, _) if numbers.len() > 1 => "MULTIAPPEND",
            Self::Append(..) => "APPEND",
            Self::Copy(_) => "COPY",
            Self::Move(_) => "MOVE",
            Self::Store(..) => "STORE",
            Self::Expunge(..) => "EXPUNGE",
            Self::Delete(_) => "a mailbox deleted",
            Self::RenameInbox(..) => "RENAME INBOX",
        }
    }
}

/// How STORE changes flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// +FLAGS
    Add,
    /// -FLAGS
    Remove,
    /// FLAGS
    Replace,
}

/// A request that may have changed something.
#[derive(Clone, Debug)]
pub struct Act {
    /// When it was sent.
    pub sent: Moment,
    /// When it was acknowledged; never, where the connection ended before.
    pub done: Option<Moment>,
    /// What.
    pub wish: Wish,
    /// Of an acknowledged COPY or MOVE: whereto.
    pub pairs: BTreeMap<Place, Place>,
    /// Of RENAME INBOX: the new mailbox's UIDVALIDITY, once known.
    pub target: Option<u32>,
}

impl Act {
    /// The last moment at which it can have come to pass.
    pub fn end(&self) -> Moment {
        self.done.unwrap_or(Moment::MAX)
    }

    /// What STORE makes of a flag of a message that it names.
    pub fn value_of(&self, flag: &str) -> Option<bool> {
        let Wish::Store(_, edit, flags) = &self.wish else { return None };
        match edit {
            Edit::Add => flags.contains(flag).then_some(true),
            Edit::Remove => flags.contains(flag).then_some(false),
            Edit::Replace => Some(flags.contains(flag)),
        }
    }
}

/// How a copy of a message came to its place.
#[derive(Clone, Debug)]
pub enum Birth {
    /// It was there, with these flags, when everything was last looked at; or an acknowledged APPEND.
    Known(Flags),
    /// An acknowledged COPY or MOVE from there, between these two moments.
    Copied(Place, Moment, Moment),
    /// RENAME INBOX from there, between these two moments.
    Renamed(Place, Moment, Moment),
    /// It was seen; nobody has acknowledged it.
    Seen,
}

/// One copy of a message.
#[derive(Clone, Debug)]
pub struct Copy {
    /// The message's number.
    pub number: u32,
    /// How it came.
    pub birth: Birth,
    /// From here on it was there, unless something took it away.
    pub since: Moment,
}

/// What was replied to a command, for the journal to confirm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Something was changed.
    Changed,
    /// Nothing was changed.
    Nothing,
}

/// The books of one world.
#[derive(Default)]
pub struct Ledger {
    /// Messages whose APPEND was acknowledged, by their number.
    pub appended: BTreeSet<u32>,
    /// The message that was ever seen at a place.
    pub seen: BTreeMap<Place, u32>,
    /// The UIDNEXT that each mailbox had when everything was last looked at, by UIDVALIDITY.
    pub uid_nexts: BTreeMap<u32, u32>,
    /// The copies that are known since everything was last looked at.
    pub copies: BTreeMap<Place, Copy>,
    /// The requests since then.
    pub acts: Vec<Act>,
    /// What went wrong.
    pub complaints: Vec<String>,
    /// The next message's number.
    next: u32,
    /// Every fifth message has so many bytes more, others a fiftieth of it, and some none.
    pub longest_message_bytes: usize,
    now: Moment,
    /// The names and subscriptions that the administrator expects, one set for each outcome that is possible after a crash.
    pub possible: Vec<Names>,
    /// The UIDVALIDITY of each mailbox, by the number of its making.
    pub uid_validities: BTreeMap<u32, u32>,
    /// Replies by tag, for the journal to confirm.
    pub replies: BTreeMap<String, Reply>,
    /// How often what happened: a run in which something never happens proves nothing of it.
    pub tally: BTreeMap<&'static str, u64>,
}

impl Ledger {
    /// Books with a new account in them.
    pub fn new() -> Self {
        Self { possible: vec![Names::of_new_account()], ..Self::default() }
    }

    /// Numbers for new messages.
    pub fn numbers(&mut self, count: u32) -> Vec<u32> {
        self.next += count;
        (self.next - count + 1..=self.next).collect()
    }

    /// Something happened.
    pub fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    /// The next moment.
    pub fn tick(&mut self) -> Moment {
        self.now += 1;
        self.now
    }

    /// Notes something that must not be.
    pub fn complain(&mut self, what: String) {
        self.complaints.push(what);
    }

    /// Notes which message stands at a place: it must always be the same.
    pub fn saw(&mut self, place: Place, number: u32) {
        let (uid_validity, uid) = place;
        if let Some(other) = self.seen.insert(place, number)
            && other != number
        {
            self.complain(format!("UID {uid} of UIDVALIDITY {uid_validity} was message {other} and is message {number}"));
        }
        let since = self.tick();
        self.copies.entry(place).or_insert(Copy { number, birth: Birth::Seen, since });
    }

    /// The least UIDNEXT that a mailbox can have.
    pub fn least_uid_next(&self, uid_validity: u32) -> u32 {
        let newest = self.seen.range((uid_validity, 0)..=(uid_validity, u32::MAX)).next_back();
        let last = self.uid_nexts.get(&uid_validity).copied().unwrap_or(1);
        newest.map_or(last, |((_, uid), _)| last.max(uid + 1))
    }

    /// A request is sent; the place of its act.
    pub fn begin(&mut self, wish: Wish) -> usize {
        let sent = self.tick();
        self.acts.push(Act { sent, done: None, wish, pairs: BTreeMap::new(), target: None });
        self.acts.len() - 1
    }

    /// A request is answered. A refused one has changed nothing.
    pub fn end(&mut self, act: usize, answer: &Answer) {
        let now = self.tick();
        if answer.is_lost() {
            return self.count("untold");
        }
        // RFC 2180 section 4.2: of the messages of such a STORE those that are there were changed.
        let is_stored = matches!(self.acts[act].wish, Wish::Store(..)) && answer.status.starts_with("NO [EXPUNGEISSUED]");
        if answer.is_ok() || is_stored {
            self.acts[act].done = Some(now);
            self.count(self.acts[act].wish.name());
            match self.acts[act].wish.clone() {
                Wish::Append(numbers, flags) => self.appended(&numbers, &flags, answer),
                Wish::Copy(from) | Wish::Move(from) => self.transferred(act, &from, answer),
                _ => {}
            }
        } else {
            self.forget(act);
            self.count("refused");
            self.replies.insert(answer.tag.clone(), Reply::Nothing);
        }
    }

    /// The act did not come to pass.
    pub fn forget(&mut self, act: usize) {
        self.acts[act].wish = Wish::Copy(BTreeSet::new());
        self.acts[act].done = Some(self.acts[act].sent);
    }

    fn appended(&mut self, numbers: &[u32], flags: &Flags, answer: &Answer) {
        self.replies.insert(answer.tag.clone(), Reply::Changed);
        self.appended.extend(numbers);
        let Some((uid_validity, uids)) = answer.code("APPENDUID").and_then(|text| text.split_once(' ')) else {
            return self.complain(format!("APPEND without APPENDUID: {}", answer.status));
        };
        let (uid_validity, uids) = (uid_validity.parse().unwrap_or_default(), numbers_of(uids));
        if uids.len() != numbers.len() {
            self.complain(format!("APPENDUID {uids:?} for {} messages", numbers.len()));
        }
        for (uid, number) in uids.into_iter().zip(numbers) {
            self.is_born((uid_validity, uid), *number, Birth::Known(flags.clone()));
        }
    }

    /// COPYUID says what came to pass.
    fn transferred(&mut self, act: usize, from: &BTreeSet<Place>, answer: &Answer) {
        let Some(text) = answer.code("COPYUID") else { return };
        self.replies.insert(answer.tag.clone(), Reply::Changed);
        let parts: Vec<&str> = text.split(' ').collect();
        let [uid_validity, olds, news] = parts.as_slice() else { return self.complain(format!("COPYUID {text}")) };
        let (olds, news, uid_validity) = (numbers_of(olds), numbers_of(news), uid_validity.parse().unwrap_or_default());
        if olds.len() != news.len() {
            self.complain(format!("COPYUID {text} has sets of different sizes"));
        }
        let source = from.first().map_or(0, |(source, _)| *source);
        let Act { sent, done, .. } = self.acts[act];
        for (old, new) in olds.into_iter().zip(news) {
            let (old, new) = ((source, old), (uid_validity, new));
            self.acts[act].pairs.insert(old, new);
            match self.seen.get(&old).copied() {
                Some(number) if from.contains(&old) => {
                    self.is_born(new, number, Birth::Copied(old, sent, done.unwrap_or(sent)));
                }
                _ => self.complain(format!("COPYUID {text} speaks of what was not asked for")),
            }
        }
    }

    fn is_born(&mut self, place: Place, number: u32, birth: Birth) {
        self.saw(place, number);
        if let Some(copy) = self.copies.get_mut(&place) {
            if !matches!(copy.birth, Birth::Seen) {
                self.complaints.push(format!("{place:?} was given to two requests"));
            } else {
                copy.birth = birth;
            }
        }
    }

    /// The administrator asks for a change of names: from here on both outcomes are possible, until one is acknowledged.
    pub fn attempt(&mut self, change: &NameChange) {
        for mut names in self.possible.clone() {
            if names.change(change) {
                self.possible.push(names);
            }
        }
    }

    /// The change was acknowledged or refused: `before` was possible then.
    pub fn settle(&mut self, before: Vec<Names>, change: &NameChange, answer: &Answer) {
        let command = change.command();
        let is_possible = before.iter().any(|names| names.clone().change(change));
        let is_certain = before.iter().all(|names| names.clone().change(change));
        self.possible = before;
        if answer.is_ok() {
            self.count(change.verb());
            if is_possible {
                self.possible.retain_mut(|names| names.change(change));
            } else {
                self.complain(format!("{command}: OK although it is not possible"));
            }
            let is_change = !matches!(change, NameChange::Subscribe(_) | NameChange::Unsubscribe(_));
            if is_change {
                self.replies.insert(answer.tag.clone(), Reply::Changed);
            }
        } else {
            // A refusal of the disk leaves everything as it was; any other must agree with the rules.
            if is_certain && !answer.status.contains("UNAVAILABLE") {
                self.complain(format!("{command}: {} although it is possible", answer.status));
            }
            self.replies.insert(answer.tag.clone(), Reply::Nothing);
        }
    }

    /// A mailbox has this UIDVALIDITY: for ever, and a greater one than every mailbox that was made before it.
    pub fn has_uid_validity(&mut self, mailbox: u32, uid_validity: u32) {
        let older = self.uid_validities.range(..mailbox).map(|(_, other)| *other).max().unwrap_or_default();
        let younger = self.uid_validities.range(mailbox + 1..).map(|(_, other)| *other).min().unwrap_or(u32::MAX);
        match self.uid_validities.insert(mailbox, uid_validity) {
            Some(other) if other != uid_validity => {
                self.complain(format!("mailbox {mailbox} had UIDVALIDITY {other} and has {uid_validity}"));
            }
            Some(_) => {}
            None if uid_validity <= older || uid_validity >= younger => {
                self.complain(format!("mailbox {mailbox} has UIDVALIDITY {uid_validity}, between {older} and {younger}"));
            }
            None => {}
        }
    }
}

/// The numbers of a set as COPYUID and APPENDUID write it.
pub fn numbers_of(set: &str) -> Vec<u32> {
    let range = |part: &str| {
        let (first, last) = part.split_once(':').unwrap_or((part, part));
        first.parse().unwrap_or(1)..=last.parse().unwrap_or(0)
    };
    set.split(',').flat_map(range).collect()
}
