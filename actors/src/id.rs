//! Stable ids, and the one generator that makes them: injected, so that the simulation repeats.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use carillon_storage::LogId;
use serde::{Deserialize, Serialize};

macro_rules! stable_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{:016x}", self.0)
            }
        }
    };
}

stable_id!(
    /// A mailbox, whatever its name is now; MAILBOXID of RFC 8474. Never used twice.
    MailboxId
);
stable_id!(
    /// A user's account. A new user of an old name gets a new one.
    AccountId
);
stable_id!(
    /// A session: an IMAP or LMTP connection, or one run of an import. Unique over all runs of the server, ascending.
    SessionId
);

/// The server's own log: sessions.
pub const SERVER_LOG: LogId = LogId { kind: LOG_KIND_SERVER, id: 0 };
/// The kind of the server's log.
pub const LOG_KIND_SERVER: u8 = 0;
/// The kind of accounts' logs.
pub const LOG_KIND_ACCOUNT: u8 = 1;
/// The kind of mailboxes' logs.
pub const LOG_KIND_MAILBOX: u8 = 2;

impl AccountId {
    /// Its log.
    pub const fn log(self) -> LogId {
        LogId { kind: LOG_KIND_ACCOUNT, id: self.0 }
    }
}

impl MailboxId {
    /// Its log.
    pub const fn log(self) -> LogId {
        LogId { kind: LOG_KIND_MAILBOX, id: self.0 }
    }
}

/// The generator of ids. Clones share it.
#[derive(Clone, Debug)]
pub struct Ids {
    next_session: Arc<AtomicU64>,
    seed: u64,
    next_stable: Arc<AtomicU64>,
}

impl Ids {
    /// A generator whose session ids follow `started` (a time of the start, in units in which no two starts are the same; below 2^40) and whose stable ids are drawn from `seed`.
    pub fn new(started: u64, seed: u64) -> Self {
        Self { next_session: Arc::new(AtomicU64::new(started << 24)), seed, next_stable: Arc::default() }
    }

    /// The next session's id.
    pub fn session(&self) -> SessionId {
        SessionId(self.next_session.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The next mailbox's id.
    pub fn mailbox(&self) -> MailboxId {
        MailboxId(self.stable())
    }

    /// The next account's id.
    pub fn account(&self) -> AccountId {
        AccountId(self.stable())
    }

    /// SplitMix64: a bijection of the counter, so that one generator never gives a number twice.
    fn stable(&self) -> u64 {
        let count = self.next_stable.fetch_add(1, Ordering::Relaxed);
        let mut bits = self.seed.wrapping_add(count.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }
}
