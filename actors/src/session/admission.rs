//! A connection's place among those that the server takes at a time.

use std::fmt;

use carillon_protocol::encode;
use carillon_protocol::mailbox_name::NameFormat;
use carillon_protocol::response::Untagged;

use super::reply::{self, Farewell};

/// A place; given back when it is dropped, so the session holds it for as long as its connection is open.
pub struct Admission(Option<Box<dyn FnOnce() + Send>>);

impl Admission {
    /// A place that `release` gives back.
    pub fn new(release: impl FnOnce() + Send + 'static) -> Self {
        Self(Some(Box::new(release)))
    }

    /// A place that nobody counts: tests, connections that were opened from inside.
    pub const fn uncounted() -> Self {
        Self(None)
    }
}

/// What a connection is told for which there is no place: BYE in place of the greeting (RFC 9051 §7.1.5).
pub fn turned_away(format: NameFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode::encode_untagged(&Untagged::Status(reply::bye(Farewell::Crowded)), format, &mut bytes);
    bytes
}

impl Drop for Admission {
    fn drop(&mut self) {
        if let Some(release) = self.0.take() {
            release();
        }
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Admission")
    }
}
