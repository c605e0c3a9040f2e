//! What had to be computed again for the caches, until there is enough of it for one step: each step costs as much as a commit.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use carillon_storage::CacheEntry;

/// So many entries are put together.
const ENTRIES: usize = 64;
/// Or so many bytes.
const BYTES: usize = 256 << 10;

/// Entries that wait. Those that wait at the server's end are computed once more.
#[derive(Debug, Default)]
pub(super) struct Recomputed(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    entries: HashMap<Vec<u8>, Bytes>,
    bytes: usize,
}

impl Recomputed {
    /// Takes one in; once there are enough it gives all, to be put.
    pub(super) fn add(&self, (key, value): CacheEntry) -> Vec<CacheEntry> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.bytes += value.len();
        waiting.entries.insert(key, value);
        if waiting.entries.len() < ENTRIES && waiting.bytes < BYTES {
            return Vec::new();
        }
        std::mem::take(&mut *waiting).entries.into_iter().collect()
    }

    /// One that waits.
    pub(super) fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entries.get(key).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: usize, length: usize) -> CacheEntry {
        (number.to_le_bytes().to_vec(), vec![1; length].into())
    }

    #[test]
    fn entries_wait_until_they_are_many_or_long() {
        let recomputed = Recomputed::default();
        for number in 1..ENTRIES {
            assert_eq!(recomputed.add(entry(number, 10)), []);
            assert_eq!(recomputed.get(&number.to_le_bytes()).map(|value| value.len()), Some(10));
        }
        assert_eq!(recomputed.add(entry(0, 10)).len(), ENTRIES);
        assert_eq!(recomputed.get(&1_usize.to_le_bytes()), None);
        assert_eq!(recomputed.add(entry(1, BYTES - 1)), []);
        assert_eq!(recomputed.add(entry(2, 1)).len(), 2);
        assert_eq!(recomputed.add(entry(3, 1)), []);
    }
}
