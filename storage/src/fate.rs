//! Whether a journal can go on, and who is told when it cannot.

use std::sync::Mutex;

use crate::journal::Tell;
use crate::store::lock;

#[derive(Default)]
struct State {
    reason: Option<String>,
    waiting: Vec<Tell>,
}

/// Set once: the first reason stays.
#[derive(Default)]
pub(crate) struct Fate(Mutex<State>);

impl std::fmt::Debug for Fate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Fate").field(&self.reason()).finish()
    }
}

impl Fate {
    /// Why the journal cannot go on, if it cannot.
    pub(crate) fn reason(&self) -> Option<String> {
        lock(&self.0).reason.clone()
    }

    /// The journal cannot go on.
    pub(crate) fn seal(&self, reason: &str) {
        let waiting = {
            let mut state = lock(&self.0);
            state.reason.get_or_insert_with(|| reason.to_owned());
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(|tell| tell(reason));
    }

    /// Has `tell` called when the journal cannot go on; at once where it cannot.
    pub(crate) fn tell(&self, tell: Tell) {
        let reason = {
            let mut state = lock(&self.0);
            match state.reason.clone() {
                None => return state.waiting.push(tell),
                Some(reason) => reason,
            }
        };
        tell(&reason);
    }
}
