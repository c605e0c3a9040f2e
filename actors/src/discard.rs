//! Letting go of what is large: whoever holds a state last pays for its drop, some 50 ms for 1,000,000 messages (docs/adr/0010-chunk-tree.md), and a thread that serves
//! sessions must not.

use crate::placement::Placement;

/// Above this many messages, or names, a drop may take over 1 ms.
const LARGE: usize = 10_000;

/// Drops something of so many messages or names: in the pool where that may take long.
pub(crate) fn discard<T: Send + 'static>(placement: &Placement, size: usize, value: T) {
    if size < LARGE {
        return drop(value);
    }
    let pool = placement.clone();
    // Where there is no pool any more it is dropped all the same.
    placement.here().spawn(async move { drop(pool.run(move || drop(value)).await) });
}
