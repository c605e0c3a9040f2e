//! Glances of the messages that were listed, sorted or searched last, in memory, for all sessions together: so that asking again reads nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use carillon_storage::BodyHash;

/// Jobs seldom meet at one of so many locks.
const SHARDS: usize = 16;
/// What an entry takes beside its bytes: key, pointer, counters, and the table's empty places.
const OVERHEAD_BYTES: usize = 128;

/// Encoded glances by the name of what they were taken of. Never holds more than the bytes that it was given.
#[derive(Debug)]
pub(super) struct Glances {
    shards: [Mutex<Shard>; SHARDS],
    /// The bound of each half of a shard.
    half_bytes: usize,
}

/// A cache in two halves: when the young one is full it becomes the old one, and what was not asked for meanwhile is forgotten.
#[derive(Debug, Default)]
struct Shard {
    young: HashMap<BodyHash, Arc<[u8]>>,
    old: HashMap<BodyHash, Arc<[u8]>>,
    young_bytes: usize,
}

impl Glances {
    /// A cache of at most so many bytes; 0 for none.
    pub(super) fn new(bytes: usize) -> Self {
        Self { shards: Default::default(), half_bytes: bytes / SHARDS / 2 }
    }

    fn shard(&self, name: &BodyHash) -> Option<MutexGuard<'_, Shard>> {
        let [first, ..] = name.0;
        let shard = self.shards.get(usize::from(first) % SHARDS)?;
        // A poisoned lock guards a map that is whole: it is changed by its own methods only.
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn get(&self, name: &BodyHash) -> Option<Arc<[u8]>> {
        let mut shard = self.shard(name)?;
        if let Some(glance) = shard.young.get(name) {
            return Some(Arc::clone(glance));
        }
        let glance = shard.old.remove(name)?;
        let forgotten = shard.put(*name, Arc::clone(&glance), self.half_bytes);
        drop(shard);
        drop(forgotten);
        Some(glance)
    }

    pub(super) fn put(&self, name: BodyHash, glance: Arc<[u8]>) {
        let Some(mut shard) = self.shard(&name) else { return };
        let forgotten = shard.put(name, glance, self.half_bytes);
        // Thousands of entries are not freed while others wait.
        drop(shard);
        drop(forgotten);
    }
}

impl Shard {
    fn put(&mut self, name: BodyHash, glance: Arc<[u8]>, half_bytes: usize) -> HashMap<BodyHash, Arc<[u8]>> {
        let bytes = glance.len() + OVERHEAD_BYTES;
        if bytes > half_bytes {
            return HashMap::new();
        }
        let mut forgotten = HashMap::new();
        if self.young_bytes + bytes > half_bytes {
            forgotten = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
            self.young_bytes = 0;
        }
        let before = self.young.insert(name, glance).map_or(0, |before| before.len() + OVERHEAD_BYTES);
        self.young_bytes = (self.young_bytes + bytes).saturating_sub(before);
        forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> BodyHash {
        BodyHash::of(&number.to_le_bytes())
    }

    fn held(glances: &Glances) -> usize {
        let shards = glances.shards.iter().map(|shard| shard.lock().unwrap());
        shards
            .flat_map(|shard| {
                shard.young.values().chain(shard.old.values()).map(|glance| glance.len() + OVERHEAD_BYTES).collect::<Vec<_>>()
            })
            .sum()
    }

    #[test]
    fn what_is_asked_for_stays_and_the_bound_holds() {
        const BYTES: usize = 1 << 20;
        let glances = Glances::new(BYTES);
        for number in 0..10_000 {
            glances.put(name(number), Arc::from(vec![1; number % 700]));
            assert_eq!(glances.get(&name(0)).as_deref(), Some([].as_slice()), "after {number}");
            assert!(glances.get(&name(number)).is_some());
        }
        assert!(held(&glances) <= BYTES && held(&glances) > BYTES / 3, "{}", held(&glances));
        assert_eq!(glances.get(&name(1)), None);
    }

    #[test]
    fn an_entry_put_again_counts_once() {
        let glances = Glances::new(1 << 20);
        for _ in 0..100_000 {
            glances.put(name(1), Arc::from([1; 100]));
        }
        glances.put(name(1), Arc::from([1; 900]));
        glances.put(name(1), Arc::from([1; 300]));
        let shard = glances.shard(&name(1)).unwrap();
        assert_eq!((shard.young.len(), shard.old.len(), shard.young_bytes), (1, 0, 300 + OVERHEAD_BYTES));
    }

    #[test]
    fn what_is_too_large_is_not_kept() {
        let glances = Glances::new(1 << 20);
        glances.put(name(1), Arc::from(vec![1; 1 << 15]));
        assert_eq!(glances.get(&name(1)), None);
        let none = Glances::new(0);
        none.put(name(1), Arc::from([]));
        assert_eq!(none.get(&name(1)), None);
    }
}
