//! Dates as IMAP writes them (RFC 9051 §9, `date-time` and `date`).

use serde::{Deserialize, Serialize};

/// INTERNALDATE: a moment with the zone in which it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InternalDate {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub unix_seconds: i64,
    /// The zone's offset from UTC in minutes, -5999 to 5999 (`+hhmm`).
    pub offset_minutes: i16,
}

/// A calendar day without zone, as in SEARCH SINCE: days since 1970-01-01, so that days compare as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Day(pub i32);
