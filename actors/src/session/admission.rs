//! A connection's place among those that the server takes at a time.

use std::fmt;

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
