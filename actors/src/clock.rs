//! Wall time: the only place that asks the system for it.

use std::fmt;
use std::sync::Arc;

/// Gives the time of day; the simulation gives its own.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        #[allow(clippy::disallowed_methods, reason = "this is the one place")]
        Self::new(|| {
            let elapsed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
        })
    }

    /// A clock that asks `now` for microseconds since 1970-01-01T00:00:00Z.
    pub fn new(now: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub fn microseconds(&self) -> u64 {
        (self.0)()
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    pub fn seconds(&self) -> u64 {
        self.microseconds() / 1_000_000
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Clock")
    }
}
