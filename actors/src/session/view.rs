//! What one client has been told about its selected mailbox: the only owner of its numbering (design: docs/architecture.md, "The view").

use std::collections::BTreeSet;
use std::sync::Arc;

use carillon_protocol::command::Expunges;
use carillon_protocol::flag::{Flag, Keyword, SystemFlag};
use carillon_protocol::number::{SeqNum, Uid, UidValidity};
use carillon_protocol::response::NewKeywords;
use carillon_protocol::set::{Numbering, SequenceSet, UidSet};
use carillon_storage::Position;

use super::changes::{Changes, FlagLists};
use super::difference::{Difference, Gone};
use super::reader::{Ghost, Reader};
use super::resolve::{self, BadSequence, Beyond};
use crate::id::MailboxId;
use crate::mailbox::requests::{Look, Snapshot};
use crate::mailbox::state::{Messages, State};

/// How a mailbox was selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// SELECT.
    ReadWrite,
    /// EXAMINE: nothing is changed, no message is claimed as recent.
    ReadOnly,
}

/// A selected mailbox as its client knows it. Requests to the mailbox carry UIDs only; sequence numbers end here.
#[derive(Clone, Debug)]
pub struct View {
    mailbox: MailboxId,
    mode: Mode,
    reader: Reader,
    recent_count: usize,
    told_modseq: Position,
    owed: UidSet,
    silent: BTreeSet<Position>,
    saved: UidSet,
}

impl View {
    /// The view of a client that selects the mailbox now and is told all of it by SELECT's responses.
    pub fn new(mailbox: MailboxId, mode: Mode, look: Look) -> Self {
        let told_modseq = look.snapshot.position();
        let mut recent = UidSet::new();
        claim(&mut recent, look.recent_from, look.snapshot.uid_next());
        let recent_count = arrivals(&look.snapshot, look.recent_from);
        let messages = look.snapshot.messages().clone();
        let reader = Reader { told: look.snapshot, messages, ghosts: Arc::default(), recent: Arc::new(recent) };
        let (owed, silent, saved) = (UidSet::new(), BTreeSet::new(), UidSet::new());
        Self { mailbox, mode, reader, recent_count, told_modseq, owed, silent, saved }
    }

    /// The mailbox.
    pub fn mailbox(&self) -> MailboxId {
        self.mailbox
    }

    /// How it was selected.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The number of messages, as told.
    pub fn exists(&self) -> usize {
        self.reader.exists()
    }

    /// The number of messages that this session holds as recent, as told.
    pub fn recent_count(&self) -> usize {
        self.recent_count
    }

    /// The number of the first message without \Seen, ghosts left out.
    pub fn first_unseen(&self) -> Option<SeqNum> {
        let message = self.reader.messages.get(self.reader.told.first_unseen()?)?;
        self.reader.seq_of(message.uid)
    }

    /// UIDNEXT of what was told.
    pub fn uid_next(&self) -> Uid {
        self.reader.told.uid_next()
    }

    /// The mailbox's UIDVALIDITY.
    pub fn uid_validity(&self) -> UidValidity {
        self.reader.told.uid_validity()
    }

    /// The keywords that were told.
    pub fn keywords(&self) -> &[Keyword] {
        self.reader.told.keywords()
    }

    /// FLAGS and PERMANENTFLAGS of what was told.
    pub fn flag_lists(&self) -> FlagLists {
        flag_lists(&self.reader.told, self.mode)
    }

    /// The state that was told last.
    pub fn snapshot(&self) -> &Snapshot {
        &self.reader.told
    }

    /// The greatest position up to and including which everything was told: every HIGHESTMODSEQ of a selected mailbox (RFC 7162).
    pub fn told_modseq(&self) -> Position {
        self.told_modseq
    }

    /// The number of a message, a ghost too.
    pub fn seq_of(&self, uid: Uid) -> Option<SeqNum> {
        self.reader.seq_of(uid)
    }

    /// The UID of the message with this number.
    pub fn uid_at(&self, seq: SeqNum) -> Option<Uid> {
        self.reader.uid_at(seq)
    }

    /// What the client was told, for any thread to read.
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// The UIDs that a set names among the messages of the view, ghosts too. What is not there is dropped at the ends of each range; a range may name absent
    /// UIDs between two messages, so use [`Reader::messages`] or [`Reader::living`] where each one counts. Empty only if nothing matches.
    ///
    /// # Errors
    /// A lone 0; by number also a number beyond the last message, and any set in an empty mailbox. `$` is never wrong.
    pub fn resolve(&self, set: &SequenceSet, numbering: Numbering) -> Result<UidSet, BadSequence> {
        self.resolve_with(set, numbering, Beyond::Refuse)
    }

    /// The same for a search key, where a number beyond the last message matches nothing.
    ///
    /// # Errors
    /// A lone 0.
    pub fn resolve_key(&self, set: &SequenceSet, numbering: Numbering) -> Result<UidSet, BadSequence> {
        self.resolve_with(set, numbering, Beyond::Ignore)
    }

    fn resolve_with(&self, set: &SequenceSet, numbering: Numbering, beyond: Beyond) -> Result<UidSet, BadSequence> {
        match set {
            SequenceSet::Saved => Ok(self.saved.clone()),
            SequenceSet::Items(items) => resolve::resolve(&self.reader, items, numbering, beyond),
        }
    }

    /// The UIDs that a set of UIDs names expressly and that are gone: lone UIDs, and ranges in which nothing is left. Those still to come are not among them.
    pub fn missed(&self, set: &SequenceSet) -> UidSet {
        resolve::missed(&self.reader, set)
    }

    /// The messages among `uids` that are expunged and whose EXPUNGE was not told yet.
    pub fn ghosts_among(&self, uids: &UidSet) -> UidSet {
        let (Some(first), Some(last)) = (uids.first(), uids.last()) else { return UidSet::new() };
        let ghosts = self.reader.ghosts_between(first, last).iter().map(|ghost| ghost.uid);
        ghosts.filter(|uid| uids.contains(*uid)).collect()
    }

    /// The FLAGS of these messages are told at the next [`View::catch_up`], changed or not: what a STORE without .SILENT owes.
    pub fn owe(&mut self, uids: &UidSet) {
        self.owed = self.owed.union(uids);
    }

    /// The FLAGS that this position changed need not be told: the client knows them (own STORE .SILENT, FETCH's own \Seen).
    pub fn silence(&mut self, position: Position) {
        if position > self.reader.told.position() {
            self.silent.insert(position);
        }
    }

    /// What `$` means from now on (RFC 5182).
    pub fn save_result(&mut self, uids: UidSet) {
        self.saved = uids;
    }

    /// Whether a look that gives this snapshot would have something to tell or to pay.
    pub fn has_untold(&self, snapshot: &Snapshot) -> bool {
        let is_end_untold = self.reader.told.is_ended() && self.exists() > 0;
        snapshot.position() > self.reader.told.position()
            || is_end_untold
            || !self.reader.ghosts.is_empty()
            || !self.owed.is_empty()
    }

    /// Whether catching up with this snapshot may take longer than a session's thread should: then do it in the pool.
    pub fn is_far_behind(&self, snapshot: &Snapshot) -> bool {
        Difference::is_costly(&self.reader.told, snapshot)
    }

    /// Moves the view to what `look` saw and says what the client has to be told of it. With [`Expunges::Withhold`] every message keeps its number, those
    /// that are gone as ghosts. A mailbox that was deleted keeps its messages until a look that may tell that they are gone. Costs O(changes · log n),
    /// unless the state has forgotten changes since the last look: see [`View::is_far_behind`].
    pub fn catch_up(&mut self, look: Look, expunges: Expunges) -> Changes {
        let Look { snapshot, recent_from } = look;
        let (new, recent_from) = if snapshot.position() > self.reader.told.position() {
            (snapshot, recent_from.max(self.uid_next()))
        } else {
            (self.reader.told.clone(), self.uid_next())
        };
        let flags = (new.keywords() != self.keywords()).then(|| flag_lists(&new, self.mode));
        let recent_before = self.recent_count;
        // Once its end was told it stays so: a look that withholds must not bring its messages back.
        let is_end_told = self.reader.told.is_ended() && self.exists() == 0;
        if new.is_ended() && (expunges == Expunges::Tell || is_end_told) {
            let expunged = self.end(new);
            let recent = (recent_before > 0).then_some(0);
            return Changes { flags, expunged, exists: None, recent, fetched: UidSet::new(), reader: self.reader() };
        }
        let difference = Difference::between(&self.reader.told, &new, &self.silent);
        self.silent = self.silent.split_off(&(new.position() + 1));
        let arrived = arrivals(&new, self.uid_next());
        self.saved = self.saved.difference(&difference.gone_uids());
        let new_ghosts = self.make_ghosts(&difference.gone);
        let expunged = match expunges {
            Expunges::Withhold => self.keep_ghosts(new_ghosts, &new),
            Expunges::Tell => self.end_ghosts(&new_ghosts),
        };
        if recent_from < new.uid_next() {
            claim(Arc::make_mut(&mut self.reader.recent), recent_from, new.uid_next());
            self.recent_count += arrivals(&new, recent_from);
        }
        self.reader.messages = new.messages().clone();
        self.reader.told = new;
        self.told_modseq = self.position_told();
        let owed = std::mem::take(&mut self.owed);
        let fetched = self.without_ghosts(&difference.flags.union(&owed));
        let exists = (arrived > 0).then(|| self.exists());
        let recent = (arrived > 0 || self.recent_count != recent_before).then_some(self.recent_count);
        Changes { flags, expunged, exists, recent, fetched, reader: self.reader() }
    }

    /// The mailbox was deleted: nothing is left in it.
    fn end(&mut self, new: Snapshot) -> Vec<(usize, usize)> {
        let count = self.exists();
        self.told_modseq = new.position();
        self.reader = Reader { told: new, messages: Messages::default(), ghosts: Arc::default(), recent: Arc::default() };
        self.recent_count = 0;
        (self.owed, self.silent, self.saved) = (UidSet::new(), BTreeSet::new(), UidSet::new());
        if count > 0 { vec![(0, count)] } else { Vec::new() }
    }

    /// Ghosts of messages that `told` has and that are gone, as they were last told; their place is in the numbering of now.
    fn make_ghosts(&self, gone: &[Gone]) -> Vec<Ghost> {
        let messages = &self.reader.messages;
        let ghosts = gone.iter().filter_map(|gone| {
            let message = messages.by_uid(gone.uid)?;
            let (place, details) = (self.reader.below(gone.uid), Arc::clone(message.details));
            let (flags, modseq) = (message.flags, message.modseq);
            Some(Ghost { place, uid: gone.uid, flags, modseq, details, position: gone.position })
        });
        ghosts.collect()
    }

    /// Nobody is told of them now.
    fn keep_ghosts(&mut self, new_ghosts: Vec<Ghost>, new: &State) -> Vec<(usize, usize)> {
        if !new_ghosts.is_empty() {
            let ghosts = Arc::make_mut(&mut self.reader.ghosts);
            ghosts.extend(new_ghosts);
            // A merge of two sorted runs.
            ghosts.sort_by_key(|ghost| ghost.place);
        }
        if !new.keywords().starts_with(self.keywords()) && !self.reader.ghosts.is_empty() {
            // A keyword that only ghosts had may have given its bit to another.
            let told = self.reader.told.clone();
            for ghost in Arc::make_mut(&mut self.reader.ghosts) {
                ghost.flags = new.flags(&told.flag_set(ghost.flags));
            }
        }
        Vec::new()
    }

    /// All ghosts, old and new, as runs of places; there are none any more.
    fn end_ghosts(&mut self, new_ghosts: &[Ghost]) -> Vec<(usize, usize)> {
        let old_ghosts = std::mem::take(&mut self.reader.ghosts);
        let recent = &self.reader.recent;
        let lost = old_ghosts.iter().chain(new_ghosts).filter(|ghost| recent.contains(ghost.uid)).count();
        self.recent_count = self.recent_count.saturating_sub(lost);
        let mut places: Vec<usize> = old_ghosts.iter().chain(new_ghosts).map(|ghost| ghost.place).collect();
        places.sort_unstable();
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for place in places {
            match runs.last_mut() {
                Some((first, count)) if *first + *count == place => *count += 1,
                _ => runs.push((place, 1)),
            }
        }
        runs
    }

    fn position_told(&self) -> Position {
        let told = &self.reader.told;
        let end = told.is_ended().then(|| told.position());
        let untold = self.reader.ghosts.iter().map(|ghost| ghost.position).chain(end).min();
        untold.map_or(told.position(), |position| position.saturating_sub(1).max(self.told_modseq))
    }

    /// Those of `uids` that are no ghosts, and none that is not there at the ends.
    fn without_ghosts(&self, uids: &UidSet) -> UidSet {
        let (Some(first), Some(last)) = (uids.first(), uids.last()) else { return UidSet::new() };
        let ghosts = self.reader.ghosts_between(first, last).iter().map(|ghost| ghost.uid);
        let living = uids.difference(&ghosts.collect());
        if self.reader.messages(&living).next().is_some() { living } else { UidSet::new() }
    }
}

/// The number of messages from `from` on.
fn arrivals(state: &State, from: Uid) -> usize {
    let messages = state.messages();
    messages.len().saturating_sub(messages.index_of(from).unwrap_or_else(|place| place))
}

/// Adds [from, next) to the claimed UIDs.
fn claim(recent: &mut UidSet, from: Uid, next: Uid) {
    if let Some(last) = next.get().checked_sub(1).and_then(Uid::new) {
        recent.insert_range(from, last);
    }
}

fn flag_lists(state: &State, mode: Mode) -> FlagLists {
    let system = SystemFlag::ALL.into_iter().map(Flag::System);
    let defined: Vec<Flag> = system.chain(state.keywords().iter().cloned().map(Flag::Keyword)).collect();
    let (permanent, new_keywords) = match mode {
        Mode::ReadOnly => (Vec::new(), NewKeywords::Refused),
        Mode::ReadWrite if state.may_add_keywords() => (defined.clone(), NewKeywords::Allowed),
        Mode::ReadWrite => (defined.clone(), NewKeywords::Refused),
    };
    FlagLists { defined, permanent, new_keywords }
}

#[cfg(test)]
mod tests;
