//! What lies between two states of one mailbox: from the changes that the newer one remembers, or where it does not reach back, by comparing them.

use std::collections::BTreeSet;

use carillon_protocol::number::Uid;
use carillon_protocol::set::UidSet;
use carillon_storage::Position;

use super::resolve::from_ranges;
use crate::mailbox::state::{ChangeKind, State};

/// A message that the older state has and the newer one has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Gone {
    pub(super) uid: Uid,
    /// The position of its Expunged, or where states were compared the smallest that it can have.
    pub(super) position: Position,
}

/// What happened to the messages of the older state. What came since is simply all from its UIDNEXT on.
#[derive(Debug, Default)]
pub(super) struct Difference {
    /// Ascending by UID.
    pub(super) gone: Vec<Gone>,
    /// Messages whose flags were changed, silenced positions left out. May name what is gone or not there.
    pub(super) flags: UidSet,
}

impl Difference {
    /// More changes than this are for the pool.
    const COSTLY_CHANGES: u64 = 800;

    /// Whether [`Difference::between`] may take longer than a millisecond.
    pub(super) fn is_costly(old: &State, new: &State) -> bool {
        if new.position() <= old.position() {
            return false;
        }
        new.changes_since(old.position()).is_none_or(|changes| {
            let mut count = 0;
            changes.into_iter().any(|change| {
                count += match &change.kind {
                    ChangeKind::Expunged(uids) => uids.len(),
                    ChangeKind::Flags(uids) => uids.ranges().len() as u64,
                    ChangeKind::Arrived(_) => 1,
                };
                count > Self::COSTLY_CHANGES
            })
        })
    }

    /// From `old` to `new`, of the same mailbox.
    pub(super) fn between(old: &State, new: &State, silent: &BTreeSet<Position>) -> Self {
        if new.position() <= old.position() {
            return Self::default();
        }
        match new.changes_since(old.position()) {
            Some(changes) => {
                let mut gone = Vec::new();
                let mut flags = Vec::new();
                for change in changes {
                    match &change.kind {
                        ChangeKind::Arrived(_) => {}
                        ChangeKind::Flags(_) if silent.contains(&change.position) => {}
                        ChangeKind::Flags(uids) => flags.extend(uids.ranges().filter_map(|range| before(range, old.uid_next()))),
                        ChangeKind::Expunged(uids) => {
                            let told = uids.iter().take_while(|uid| *uid < old.uid_next());
                            gone.extend(told.map(|uid| Gone { uid, position: change.position }));
                        }
                    }
                }
                gone.sort_unstable();
                Self { gone, flags: from_ranges(flags) }
            }
            None => Self::compared(old, new),
        }
    }

    /// Nothing tells when each message went, and whose change of flags it was: so no position is silent, and a change there and back is told too.
    fn compared(old: &State, new: &State) -> Self {
        let (mut gone, mut flags) = (Vec::new(), UidSet::new());
        let mut newer = new.messages().iter().peekable();
        for message in old.messages().iter() {
            match newer.next_if(|other| other.uid == message.uid) {
                Some(other) if other.modseq != message.modseq => flags.insert(message.uid),
                Some(_) => {}
                None => gone.push(Gone { uid: message.uid, position: old.position() + 1 }),
            }
        }
        Self { gone, flags }
    }

    /// The UIDs that are gone.
    pub(super) fn gone_uids(&self) -> UidSet {
        self.gone.iter().map(|gone| gone.uid).collect()
    }
}

/// The part of a range below `next`.
fn before((first, last): (Uid, Uid), next: Uid) -> Option<(Uid, Uid)> {
    let last = last.min(Uid::new(next.get() - 1)?);
    (first <= last).then_some((first, last))
}
