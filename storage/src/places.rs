//! Where bodies lie, in memory: the places asked for last, so that reading a body need not ask sled.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use crate::format::BodyPlace;
use crate::record::BodyHash;
use crate::store::lock;

/// Places in each of the two halves: at 72 bytes and the map's overhead, some 14 MiB together.
const HALF: usize = 64 * 1024;

/// What is known of a body.
#[derive(Clone, Copy, Debug)]
struct Known {
    place: BodyPlace,
    /// Whether this process wrote it there or read it whole.
    is_whole: bool,
}

#[derive(Debug, Default)]
struct Halves {
    young: HashMap<BodyHash, Known>,
    old: HashMap<BodyHash, Known>,
}

/// A cache in two halves: when the young one is full it becomes the old one, and what was not asked for meanwhile is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Places {
    halves: Mutex<Halves>,
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, Halves> {
        lock(&self.halves)
    }

    fn known(&self, hash: BodyHash) -> Option<Known> {
        let mut halves = self.lock();
        if let Some(known) = halves.young.get(&hash) {
            return Some(*known);
        }
        let known = halves.old.get(&hash).copied()?;
        halves.put(hash, known);
        Some(known)
    }

    pub(crate) fn get(&self, hash: BodyHash) -> Option<BodyPlace> {
        self.known(hash).map(|known| known.place)
    }

    /// The place of a body that this process wrote there or read whole.
    pub(crate) fn whole(&self, hash: BodyHash) -> Option<BodyPlace> {
        self.known(hash).filter(|known| known.is_whole).map(|known| known.place)
    }

    pub(crate) fn put(&self, hash: BodyHash, place: BodyPlace) {
        let mut halves = self.lock();
        let is_whole = halves.young.get(&hash).is_some_and(|known| known.is_whole && known.place == place);
        halves.put(hash, Known { place, is_whole });
    }

    pub(crate) fn put_whole(&self, hash: BodyHash, place: BodyPlace) {
        self.lock().put(hash, Known { place, is_whole: true });
    }

    pub(crate) fn forget(&self, hash: BodyHash) {
        let mut halves = self.lock();
        halves.young.remove(&hash);
        halves.old.remove(&hash);
    }

    pub(crate) fn forget_all(&self) {
        *self.lock() = Halves::default();
    }
}

impl Halves {
    fn put(&mut self, hash: BodyHash, known: Known) {
        if self.young.len() >= HALF {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(hash, known);
    }
}
