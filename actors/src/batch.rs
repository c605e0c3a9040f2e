//! Wishes that become one list of commits, within the bytes of events that a list may have.

/// What becomes of a wish's events in a list that others are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// They are in it.
    Now,
    /// In a list of their own, or with others behind this one.
    Later,
    /// In no list.
    Never,
}

/// The bytes of events that a list still has room for.
#[derive(Debug)]
pub(crate) struct Room {
    limit: usize,
    used: usize,
}

impl Room {
    /// All of a list.
    pub(crate) const fn new(limit: usize) -> Self {
        Self { limit, used: 0 }
    }

    /// Takes room for the events of one wish.
    pub(crate) const fn take(&mut self, bytes: usize) -> Fit {
        let used = self.used.saturating_add(bytes);
        if bytes > self.limit {
            Fit::Never
        } else if used > self.limit {
            Fit::Later
        } else {
            self.used = used;
            Fit::Now
        }
    }
}

/// Decides wishes in order: what came of each, and those that wait for the next list, which are all from the first on that `decide` has no outcome for.
pub(crate) fn in_order<W, O>(wishes: Vec<W>, mut decide: impl FnMut(&W) -> Option<O>) -> (Vec<(W, O)>, Vec<W>) {
    let mut decided = Vec::with_capacity(wishes.len());
    let mut wishes = wishes.into_iter();
    while let Some(wish) = wishes.next() {
        match decide(&wish) {
            Some(outcome) => decided.push((wish, outcome)),
            None => return (decided, std::iter::once(wish).chain(wishes).collect()),
        }
    }
    (decided, Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_room_for_so_many_bytes() {
        let mut room = Room::new(10);
        assert_eq!([11, 4, 7, 6, 1].map(|bytes| room.take(bytes)), [Fit::Never, Fit::Now, Fit::Later, Fit::Now, Fit::Later]);
        assert_eq!(Room::new(10).take(10), Fit::Now);
    }

    #[test]
    fn who_waits_is_not_overtaken() {
        let decided = in_order(vec![1, 2, 30, 4], |number| (*number < 10).then_some(number * 2));
        assert_eq!(decided, (vec![(1, 2), (2, 4)], vec![30, 4]));
        assert_eq!(in_order(vec![1], |number| Some(*number)), (vec![(1, 1)], vec![]));
    }
}
