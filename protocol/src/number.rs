//! The numbers of IMAP, each a type of its own: a sequence number cannot be passed where a UID is wanted.

use std::fmt;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

/// A unique identifier of a message within a mailbox: 1 to 2^32-1, strictly ascending (RFC 9051 §2.3.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Uid(NonZeroU32);

/// A message sequence number: its place, counted from 1, in one client's view of a mailbox (RFC 9051 §2.3.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SeqNum(NonZeroU32);

/// The unique identifier validity value of a mailbox: 1 to 2^32-1, never falls for a name (RFC 9051 §2.3.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UidValidity(NonZeroU32);

/// A modification sequence: the position in the mailbox's log, 1 to 2^63-1 (RFC 7162 §3.1); 0 only as a client's "nothing yet".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ModSeq(pub u64);

macro_rules! non_zero_number {
    ($name:ident) => {
        impl $name {
            /// The smallest value.
            pub const MIN: Self = Self(NonZeroU32::MIN);
            /// The greatest value.
            pub const MAX: Self = Self(NonZeroU32::MAX);

            /// The number as a value of this type, or `None` for 0.
            pub const fn new(number: u32) -> Option<Self> {
                match NonZeroU32::new(number) {
                    Some(number) => Some(Self(number)),
                    None => None,
                }
            }

            /// The plain number, never 0.
            pub const fn get(self) -> u32 {
                self.0.get()
            }

            /// The next greater value, or `None` at the end of the range.
            pub const fn next(self) -> Option<Self> {
                match self.0.checked_add(1) {
                    Some(number) => Some(Self(number)),
                    None => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }
    };
}

non_zero_number!(Uid);
non_zero_number!(SeqNum);
non_zero_number!(UidValidity);

impl SeqNum {
    /// The sequence number of the message at `index`, counted from 0; `None` beyond 2^32-2.
    pub fn from_index(index: usize) -> Option<Self> {
        u32::try_from(index).ok()?.checked_add(1).and_then(Self::new)
    }

    /// The place counted from 0.
    pub const fn index(self) -> usize {
        (self.0.get() - 1) as usize
    }
}

impl fmt::Display for ModSeq {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}
