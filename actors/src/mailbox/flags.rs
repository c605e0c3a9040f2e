//! Flags as bits: what a message holds in memory, and the keywords of a mailbox that give the bits their names.

use std::sync::Arc;

use carillon_protocol::flag::{FlagChange, FlagSet, Keyword, SystemFlag};

/// The flags of one message as bits; [`State::flag_set`](super::state::State::flag_set) names them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags {
    /// As in [`FlagSet::system_bits`].
    pub(super) system: u8,
    /// Bit n is the mailbox's n-th keyword.
    pub(super) keywords: u64,
}

/// \Deleted as bits.
pub(super) const DELETED: u8 = 1 << SystemFlag::Deleted as u8;
/// \Seen as bits.
pub(super) const SEEN: u8 = 1 << SystemFlag::Seen as u8;

impl Flags {
    /// Whether the system flag is in it.
    pub const fn has(self, flag: SystemFlag) -> bool {
        self.system & (1 << flag as u8) != 0
    }

    /// The keywords in it: bit n is the n-th of the state's keywords.
    pub const fn keyword_bits(self) -> u64 {
        self.keywords
    }

    /// These flags after a change.
    pub(super) const fn after(self, edit: FlagEdit) -> Self {
        Self {
            system: self.system & edit.kept.system | edit.set.system,
            keywords: self.keywords & edit.kept.keywords | edit.set.keywords,
        }
    }
}

/// A change of flags as two masks: what is kept of the old ones, and what is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FlagEdit {
    pub(super) kept: Flags,
    pub(super) set: Flags,
}

impl FlagEdit {
    pub(super) const fn new(change: FlagChange, flags: Flags) -> Self {
        const NONE: Flags = Flags { system: 0, keywords: 0 };
        const ALL: Flags = Flags { system: u8::MAX, keywords: u64::MAX };
        match change {
            FlagChange::Add => Self { kept: ALL, set: flags },
            FlagChange::Remove => Self { kept: Flags { system: !flags.system, keywords: !flags.keywords }, set: NONE },
            FlagChange::Replace => Self { kept: NONE, set: flags },
        }
    }
}

/// The keywords of a mailbox in the order of their first use; compared without case, the first spelling stays. At most [`Keywords::MAX`]: when all places
/// are taken, a new keyword takes that of one that no message has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Keywords(Arc<Vec<Keyword>>);

impl Keywords {
    /// As many as there are bits.
    pub(super) const MAX: usize = u64::BITS as usize;

    /// The keywords in their order; `None` if there are too many.
    pub(super) fn from_list(keywords: Vec<Keyword>) -> Option<Self> {
        (keywords.len() <= Self::MAX).then(|| Self(Arc::new(keywords)))
    }

    pub(super) fn as_slice(&self) -> &[Keyword] {
        &self.0
    }

    fn bit(&self, keyword: &Keyword) -> Option<u64> {
        self.0.iter().position(|known| known == keyword).map(|place| 1 << place)
    }

    /// The bits of a set; keywords that the mailbox does not know have none.
    pub(super) fn flags(&self, set: &FlagSet) -> Flags {
        let keywords = set.keywords().iter().filter_map(|keyword| self.bit(keyword)).fold(0, |bits, bit| bits | bit);
        Flags { system: set.system_bits(), keywords }
    }

    /// Whether the mailbox knows all keywords of the set.
    pub(super) fn knows(&self, set: &FlagSet) -> bool {
        set.keywords().iter().all(|keyword| self.bit(keyword).is_some())
    }

    /// Takes in the keywords of a set that are new; `false` if some found no place. `held` are the bits that messages have; asked for where places run out.
    pub(super) fn learn(&mut self, set: &FlagSet, held: impl FnOnce() -> u64) -> bool {
        if self.knows(set) {
            return true;
        }
        let mut taken = if self.0.len() + set.keywords().len() > Self::MAX { held() | self.flags(set).keywords } else { 0 };
        let mut fits = true;
        for keyword in set.keywords() {
            if self.bit(keyword).is_some() {
                continue;
            }
            let keywords = Arc::make_mut(&mut self.0);
            if keywords.len() < Self::MAX {
                taken |= 1 << keywords.len();
                keywords.push(keyword.clone());
            } else if let Some(place) = keywords.get_mut(taken.trailing_ones() as usize) {
                taken |= taken + 1;
                *place = keyword.clone();
            } else {
                fits = false;
            }
        }
        fits
    }

    /// The set of bits. Spelled as the mailbox spells them.
    pub(super) fn flag_set(&self, flags: Flags) -> FlagSet {
        if flags.keywords == 0 {
            return FlagSet::from_parts(flags.system, []);
        }
        let keywords = self.0.iter().enumerate().filter(|(place, _)| flags.keywords & (1 << place) != 0);
        FlagSet::from_parts(flags.system, keywords.map(|(_, keyword)| keyword.clone()))
    }
}
