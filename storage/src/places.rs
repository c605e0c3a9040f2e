//! Where bodies lie, in memory: the places asked for last, so that reading a body need not ask sled.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::format::BodyPlace;
use crate::record::BodyHash;

/// Places in each of the two halves: at 64 bytes and the map's overhead, some 13 MiB together.
const HALF: usize = 64 * 1024;

#[derive(Debug, Default)]
struct Halves {
    young: HashMap<BodyHash, BodyPlace>,
    old: HashMap<BodyHash, BodyPlace>,
}

/// A cache in two halves: when the young one is full it becomes the old one, and what was not asked for meanwhile is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Places {
    halves: Mutex<Halves>,
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, Halves> {
        self.halves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, hash: BodyHash) -> Option<BodyPlace> {
        let mut halves = self.lock();
        if let Some(place) = halves.young.get(&hash) {
            return Some(*place);
        }
        let place = halves.old.get(&hash).copied()?;
        halves.put(hash, place);
        Some(place)
    }

    pub(crate) fn put(&self, hash: BodyHash, place: BodyPlace) {
        self.lock().put(hash, place);
    }

    pub(crate) fn forget(&self) {
        *self.lock() = Halves::default();
    }
}

impl Halves {
    fn put(&mut self, hash: BodyHash, place: BodyPlace) {
        if self.young.len() >= HALF {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(hash, place);
    }
}
