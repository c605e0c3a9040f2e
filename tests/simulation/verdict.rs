//! The verdict: what a fresh session finds while nobody works must follow from what was there before and from what was asked and answered since. Nothing that was
//! acknowledged is lost or comes back, nothing happened that nobody asked for, and what nobody acknowledged happened whole or not at all.

use std::collections::{BTreeMap, BTreeSet};

use crate::ledger::{Act, Birth, Copy, DELETED, Flags, Ledger, Moment, Place, Wish};

/// A message as a fresh session finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its number.
    pub number: u32,
    /// Its flags without \Recent.
    pub flags: Flags,
}

/// A mailbox as a fresh session finds it.
#[derive(Clone, Debug)]
pub struct Mailbox {
    /// Its name.
    pub name: String,
    /// UIDNEXT
    pub uid_next: u32,
    /// The flags of FLAGS.
    pub flags: Flags,
    /// The messages by UID.
    pub messages: BTreeMap<u32, Found>,
}

/// Everything that a fresh session finds, by UIDVALIDITY.
pub type Census = BTreeMap<u32, Mailbox>;

/// What may have become of a copy that is no longer at its place.
#[derive(Default)]
struct Fate {
    /// Something that was acknowledged took it away.
    must_be_gone: bool,
    /// An acknowledged MOVE says whereto.
    moved_to: Option<Place>,
    /// EXPUNGE, CLOSE or DELETE may have taken it.
    may_be_destroyed: bool,
    /// A MOVE that nobody acknowledged, or RENAME INBOX, may have taken it somewhere: the moment at which the first of them was sent.
    may_be_moved: Option<Moment>,
}

impl Fate {
    fn may_be_gone(&self) -> bool {
        self.moved_to.is_some() || self.may_be_destroyed || self.may_be_moved.is_some()
    }
}

/// The judge over one span of the books.
struct Judge<'a> {
    ledger: &'a Ledger,
    census: &'a Census,
    /// The acts that store on a place.
    stores: BTreeMap<Place, Vec<&'a Act>>,
    /// Every flag that anybody speaks of.
    flags: BTreeSet<&'a String>,
    complaints: Vec<String>,
}

impl Ledger {
    /// Judges by what was found, and begins anew from it.
    pub fn judge(&mut self, census: &Census) {
        for (uid_validity, mailbox) in census {
            mailbox.messages.iter().for_each(|(uid, found)| self.saw((*uid_validity, *uid), found.number));
        }
        self.resolve(census);
        self.find_origins();
        let complaints = Judge::new(self, census).judge();
        self.complaints.extend(complaints);
        let since = self.tick();
        self.acts.clear();
        self.uid_nexts.extend(census.iter().map(|(uid_validity, mailbox)| (*uid_validity, mailbox.uid_next)));
        let places = census.iter().flat_map(|(uid_validity, mailbox)| {
            let copy = |found: &Found| Copy { number: found.number, birth: Birth::Known(found.flags.clone()), since };
            mailbox.messages.iter().map(move |(uid, found)| ((*uid_validity, *uid), copy(found)))
        });
        self.copies = places.collect();
    }

    /// Whether a DELETE or RENAME INBOX that nobody answered has come to pass is seen by the mailboxes.
    fn resolve(&mut self, census: &Census) {
        let now = self.tick();
        for index in 0..self.acts.len() {
            let Act { done, wish, target, .. } = &self.acts[index];
            let (has_happened, target) = match wish {
                Wish::Delete(mailbox) => (!census.contains_key(mailbox), None),
                Wish::RenameInbox(_, name) => {
                    let made = census.iter().find(|(_, mailbox)| mailbox.name == *name).map(|(uid_validity, _)| *uid_validity);
                    let target = target.or(made.filter(|_| done.is_none()));
                    (done.is_some() || target.is_some(), target)
                }
                _ => continue,
            };
            if !has_happened && done.is_some() {
                self.complain(format!(
                    "a mailbox is there although its DELETE was acknowledged: {wish:?}",
                    wish = self.acts[index].wish
                ));
            } else if has_happened {
                self.acts[index].target = target;
                self.acts[index].done.get_or_insert(now);
            } else {
                self.forget(index);
            }
        }
    }

    /// RENAME INBOX tells nobody which message became which: where only one copy can have become this one, it was that one.
    fn find_origins(&mut self) {
        let mut origins = Vec::new();
        for act in &self.acts {
            let (Wish::RenameInbox(inbox, _), Some(target)) = (&act.wish, act.target) else { continue };
            for (place, copy) in self.copies.range((target, 0)..=(target, u32::MAX)) {
                let mut sources =
                    self.copies.range((*inbox, 0)..=(*inbox, u32::MAX)).filter(|(_, other)| other.number == copy.number);
                if let (Birth::Seen, Some((source, _)), None) = (&copy.birth, sources.next(), sources.next()) {
                    origins.push((*place, Birth::Renamed(*source, act.sent, act.end())));
                }
            }
        }
        for (place, birth) in origins {
            if let Some(copy) = self.copies.get_mut(&place) {
                copy.birth = birth;
            }
        }
    }

    /// The values that a flag can have had at some moment between two: (false, true).
    fn flag_values(
        &self,
        stores: &BTreeMap<Place, Vec<&Act>>,
        place: Place,
        flag: &str,
        from: Moment,
        until: Moment,
    ) -> (bool, bool) {
        let none = Vec::new();
        let stores_here = stores.get(&place).unwrap_or(&none);
        let is_overwritten = |done: Moment| {
            stores_here
                .iter()
                .any(|act| act.value_of(flag).is_some() && act.done.is_some_and(|end| end < from) && act.sent > done)
        };
        let mut values = (false, false);
        if !is_overwritten(0) {
            values = match self.copies.get(&place).map(|copy| &copy.birth) {
                Some(Birth::Known(flags)) => (!flags.contains(flag), flags.contains(flag)),
                Some(Birth::Copied(source, begin, end) | Birth::Renamed(source, begin, end)) if *end < until => {
                    self.flag_values(stores, *source, flag, *begin, *end)
                }
                _ => (true, true),
            };
        }
        for act in stores_here.iter().filter(|act| act.sent < until && !is_overwritten(act.end())) {
            match act.value_of(flag) {
                Some(true) => values.1 = true,
                Some(false) => values.0 = true,
                None => {}
            }
        }
        values
    }
}

impl<'a> Judge<'a> {
    fn new(ledger: &'a Ledger, census: &'a Census) -> Self {
        let mut stores: BTreeMap<Place, Vec<&Act>> = BTreeMap::new();
        for act in &ledger.acts {
            if let Wish::Store(places, ..) = &act.wish {
                places.iter().for_each(|place| stores.entry(*place).or_default().push(act));
            }
        }
        let stored = ledger.acts.iter().filter_map(|act| match &act.wish {
            Wish::Store(_, _, flags) => Some(flags),
            _ => None,
        });
        let born = ledger.copies.values().filter_map(|copy| match &copy.birth {
            Birth::Known(flags) => Some(flags),
            _ => None,
        });
        let found = census.values().flat_map(|mailbox| mailbox.messages.values()).map(|found| &found.flags);
        let flags = stored.chain(born).chain(found).flatten().collect();
        Self { ledger, census, stores, flags, complaints: Vec::new() }
    }

    fn judge(mut self) -> Vec<String> {
        let mut by_number: BTreeMap<u32, Vec<Place>> = BTreeMap::new();
        for (place, copy) in &self.ledger.copies {
            by_number.entry(copy.number).or_default().push(*place);
            self.judge_copy(*place, copy);
        }
        for (number, places) in by_number {
            self.judge_message(number, &places);
        }
        for act in self.ledger.acts.iter().filter(|act| act.done.is_none()) {
            self.judge_whole(act);
        }
        for (uid_validity, mailbox) in self.census {
            self.judge_uid_next(*uid_validity, mailbox.uid_next);
        }
        self.complaints
    }

    fn found(&self, place: Place) -> Option<&'a Found> {
        self.census.get(&place.0)?.messages.get(&place.1)
    }

    fn values(&self, place: Place, flag: &str, from: Moment, until: Moment) -> (bool, bool) {
        self.ledger.flag_values(&self.stores, place, flag, from, until)
    }

    fn fate(&self, place: Place, copy: &Copy) -> Fate {
        let mut fate = Fate::default();
        for act in &self.ledger.acts {
            let was_there = copy.since < act.sent;
            match &act.wish {
                Wish::Move(from) | Wish::Copy(from) if from.contains(&place) => {
                    let is_move = matches!(act.wish, Wish::Move(_));
                    // Whoever is told of nothing to copy finds nothing there.
                    fate.must_be_gone |= act.done.is_some() && (is_move || !act.pairs.contains_key(&place));
                    if is_move && act.done.is_none() {
                        fate.may_be_moved = fate.may_be_moved.or(Some(act.sent));
                    }
                    if is_move && let Some(target) = act.pairs.get(&place) {
                        fate.moved_to = Some(*target);
                    }
                }
                Wish::Expunge(mailbox, among)
                    if *mailbox == place.0 && among.as_ref().is_none_or(|among| among.contains(&place.1)) =>
                {
                    let (may_stay, may_go) = self.values(place, DELETED, act.sent, act.end());
                    fate.may_be_destroyed |= may_go;
                    fate.must_be_gone |= act.done.is_some() && was_there && may_go && !may_stay;
                }
                Wish::Delete(mailbox) if *mailbox == place.0 => {
                    fate.may_be_destroyed = true;
                    fate.must_be_gone |= act.done.is_some();
                }
                Wish::RenameInbox(inbox, _) if *inbox == place.0 => {
                    fate.may_be_moved = fate.may_be_moved.or(Some(act.sent));
                    fate.must_be_gone |= act.done.is_some() && was_there;
                }
                _ => {}
            }
        }
        fate
    }

    fn judge_copy(&mut self, place: Place, copy: &Copy) {
        let fate = self.fate(place, copy);
        let number = copy.number;
        let Some(found) = self.found(place) else {
            if !fate.may_be_gone() {
                self.complaints.push(format!("message {number} at {place:?} is gone, and nobody asked for that: {copy:?}"));
            }
            return;
        };
        if fate.must_be_gone {
            self.complaints.push(format!("message {number} at {place:?} is there although it was acknowledged to be gone"));
        }
        if found.number != number {
            self.complaints.push(format!("{place:?} was message {number} and is message {}", found.number));
        }
        for flag in self.flags.clone() {
            let (may_be_unset, may_be_set) = self.values(place, flag, Moment::MAX, Moment::MAX);
            let is_set = found.flags.contains(flag);
            if !(if is_set { may_be_set } else { may_be_unset }) {
                let state = if is_set { "has" } else { "has not" };
                self.complaints
                    .push(format!("message {number} at {place:?} {state} {flag}, against what was acknowledged: {copy:?}"));
            }
        }
    }

    /// UIDNEXT is the UID behind the last one that was ever given.
    fn judge_uid_next(&mut self, uid_validity: u32, uid_next: u32) {
        let least = self.ledger.least_uid_next(uid_validity);
        let may_have_come_unseen = self.ledger.acts.iter().any(|act| match act.wish {
            Wish::Append(..) | Wish::Copy(_) | Wish::Move(_) => act.done.is_none(),
            Wish::RenameInbox(..) => act.target == Some(uid_validity),
            _ => false,
        });
        if uid_next < least || (uid_next > least && !may_have_come_unseen) {
            self.complaints.push(format!("UIDNEXT of UIDVALIDITY {uid_validity} is {uid_next}, not {least}"));
        }
    }

    /// How many copies there are must follow from the requests whose outcome nobody was told.
    fn judge_message(&mut self, number: u32, places: &[Place]) {
        // What RENAME INBOX brought is counted with what it took.
        let is_told = |place: &&Place| matches!(self.ledger.copies[*place].birth, Birth::Known(_) | Birth::Copied(..));
        let unexplained = places.iter().filter(|place| !is_told(place)).count();
        let untold = |act: &&Act| act.done.is_none();
        let made = self.ledger.acts.iter().filter(untold).map(|act| match &act.wish {
            Wish::Append(numbers, _) => usize::from(numbers.contains(&number)),
            Wish::Copy(from) => places.iter().filter(|place| from.contains(place)).count(),
            _ => 0,
        });
        let (mut least, mut most) = (0, made.sum::<usize>());
        for place in places {
            let fate = self.fate(*place, &self.ledger.copies[place]);
            let Some(moved) = fate.may_be_moved.filter(|_| fate.moved_to.is_none()) else { continue };
            most += 1;
            // What was moved may have been destroyed there, by whoever could.
            let (_, may_be_deleted) = self.values(*place, DELETED, 0, Moment::MAX);
            let mut deletions = self.ledger.acts.iter().filter(|act| matches!(act.wish, Wish::Delete(_)));
            let may_be_destroyed = fate.may_be_destroyed || may_be_deleted || deletions.any(|act| act.end() > moved);
            least += usize::from(self.found(*place).is_none() && !may_be_destroyed);
        }
        if !(least..=most).contains(&unexplained) {
            let found: Vec<&Place> = places.iter().filter(|place| self.found(**place).is_some()).collect();
            let acts: Vec<&Act> = self.ledger.acts.iter().filter(untold).collect();
            self.complaints.push(format!(
                "message {number} stands at {found:?} of {places:?}: {unexplained} came by what nobody acknowledged, not {least} to {most}: {acts:?}"
            ));
        }
    }

    /// What nobody acknowledged is there whole or not at all.
    fn judge_whole(&mut self, act: &Act) {
        let has_happened: Vec<bool> = match &act.wish {
            Wish::Append(numbers, _) if !self.ledger.acts.iter().any(|act| matches!(act.wish, Wish::Delete(_))) => {
                numbers.iter().map(|number| self.ledger.copies.values().any(|copy| copy.number == *number)).collect()
            }
            Wish::Move(from) => from.iter().filter_map(|place| self.has_taken(act, *place)).collect(),
            Wish::Expunge(mailbox, among) => {
                let (first, last) = ((*mailbox, 0), (*mailbox, u32::MAX));
                let places = self.ledger.copies.range(first..=last).map(|(place, _)| *place);
                let named = places.filter(|(_, uid)| among.as_ref().is_none_or(|among| among.contains(uid)));
                named
                    .filter(|place| self.values(*place, DELETED, act.sent, Moment::MAX) == (false, true))
                    .filter_map(|place| self.has_taken(act, place))
                    .collect()
            }
            Wish::Store(places, _, flags) => {
                let of_place =
                    |place: &Place| flags.iter().filter_map(|flag| self.has_stored(act, *place, flag)).collect::<Vec<_>>();
                places.iter().flat_map(of_place).collect()
            }
            _ => Vec::new(),
        };
        if has_happened.contains(&true) && has_happened.contains(&false) {
            self.complaints.push(format!("half of it came to pass: {act:?}"));
        }
    }

    /// Whether the act took the copy away, where only it can have.
    fn has_taken(&self, act: &Act, place: Place) -> Option<bool> {
        let copy = self.ledger.copies.get(&place)?;
        if copy.since >= act.sent {
            return None;
        }
        if self.found(place).is_some() {
            return Some(false);
        }
        let mut acts = self.ledger.acts.iter().filter(|other| !std::ptr::eq(*other, act));
        let may_take = |other: &Act| match &other.wish {
            Wish::Move(from) => from.contains(&place),
            Wish::Expunge(mailbox, _) | Wish::Delete(mailbox) | Wish::RenameInbox(mailbox, _) => *mailbox == place.0,
            _ => false,
        };
        (!acts.any(may_take)).then_some(true)
    }

    /// Whether the act stored the flag, where only it can have.
    fn has_stored(&self, act: &Act, place: Place, flag: &str) -> Option<bool> {
        let (wanted, found) = (act.value_of(flag)?, self.found(place)?);
        let Birth::Known(flags) = &self.ledger.copies.get(&place)?.birth else { return None };
        let others =
            self.stores.get(&place)?.iter().filter(|other| !std::ptr::eq(**other, act) && other.value_of(flag).is_some());
        (flags.contains(flag) != wanted && others.count() == 0).then(|| found.flags.contains(flag) == wanted)
    }
}
