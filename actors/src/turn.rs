//! Work that may take long is done in turns, so that others come between: what is left to do is a value, not a thread that waits.

use std::time::{Duration, Instant};

use crate::refusal::Fault;

/// How long a command's first turn lasts: short beside the 100 ms that others may wait, for there may be many who begin at once.
const FIRST: Duration = Duration::from_millis(5);
/// How long a later turn lasts: long beside what it costs to begin one (some 50 us).
const LATER: Duration = Duration::from_millis(20);
/// A message of more octets is not read in a command's first turn: it may take longer than a turn.
pub(crate) const LARGE_OCTETS: u64 = 1 << 20;
/// How often work in one thread may ask before its turn is over: in the simulation nothing depends on how fast the machine is.
const QUESTIONS: u32 = 64;
/// So many octets are gone through in about 100 us. Between two looks at the clock, which costs a quarter of one.
const UNTIMED_OCTETS: u64 = 64 << 10;
/// What a step costs beside its octets, as octets.
const STEP_OCTETS: u64 = 2 << 10;

/// Something that is done in turns.
pub trait Work: Send + 'static {
    /// What it leads to.
    type Outcome: Send + 'static;

    /// Goes on until the turn is over, but not without having done something; `None` where it is not done yet.
    ///
    /// # Errors
    /// It cannot be done at all.
    fn advance(&mut self, turn: &mut Turn) -> Result<Option<Self::Outcome>, Fault>;
}

/// All of it in one turn: where nobody waits.
///
/// # Errors
/// As the work's.
pub fn at_once<W: Work>(mut work: W) -> Result<W::Outcome, Fault> {
    work.advance(&mut Turn::endless())?.ok_or(Fault::Bug("work stopped before its turn was over"))
}

/// A command's first turn, or a later one: in the first nobody's long work is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The first.
    First,
    /// A later one.
    Later,
}

/// The time that work has in a place of the pool.
#[derive(Debug)]
pub struct Turn {
    end: End,
    is_first: bool,
}

#[derive(Debug)]
enum End {
    At { begun: Instant, end: Instant, is_extended: bool, untimed_octets: u64 },
    AfterQuestions(u32),
    Never,
}

impl Turn {
    /// One that begins now, by the processor's time or by the number of questions.
    pub(crate) fn begin(order: Order, is_timed: bool) -> Self {
        let begun = Instant::now();
        let length = if order == Order::First { FIRST } else { LATER };
        let end = if is_timed {
            End::At { begun, end: begun + length, is_extended: false, untimed_octets: 0 }
        } else {
            End::AfterQuestions(QUESTIONS)
        };
        Self { end, is_first: order == Order::First }
    }

    /// One that is never over.
    pub const fn endless() -> Self {
        Self { end: End::Never, is_first: false }
    }

    /// One that ends at the `questions`-th question.
    #[cfg(test)]
    pub fn of(questions: u32) -> Self {
        Self { end: End::AfterQuestions(questions), is_first: false }
    }

    /// Whether it is time to stop. To be asked after every step, with the octets that it went through.
    pub fn is_over(&mut self, octets: u64) -> bool {
        match &mut self.end {
            End::At { end, untimed_octets, .. } => {
                *untimed_octets = untimed_octets.saturating_add(octets).saturating_add(STEP_OCTETS);
                if *untimed_octets < UNTIMED_OCTETS {
                    return false;
                }
                *untimed_octets = 0;
                Instant::now() >= *end
            }
            End::AfterQuestions(left) => {
                *left = left.saturating_sub(1);
                *left == 0
            }
            End::Never => false,
        }
    }

    /// Whether work over so many octets has to be left to a later turn.
    pub const fn is_too_short_for(&self, octets: u64) -> bool {
        self.is_first && octets > LARGE_OCTETS
    }

    /// What the next turn would have to do again is done (a message read and decoded): where that took longer than a turn there is as long again for what
    /// it was done for. Counts once a turn.
    pub fn has_prepared(&mut self) {
        if let End::At { begun, end, is_extended: is_extended @ false, .. } = &mut self.end {
            let now = Instant::now();
            *end = (*end).max(now + now.duration_since(*begun));
            *is_extended = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_turn_leaves_large_messages_to_the_next() {
        for (order, is_timed) in [(Order::First, true), (Order::First, false), (Order::Later, true), (Order::Later, false)] {
            let turn = Turn::begin(order, is_timed);
            assert!(!turn.is_too_short_for(LARGE_OCTETS));
            assert_eq!(turn.is_too_short_for(LARGE_OCTETS + 1), order == Order::First);
        }
    }

    #[test]
    fn preparing_is_paid_for_once() {
        let mut turn = Turn::begin(Order::Later, true);
        let shift = |turn: &mut Turn, lengths: u32| {
            let End::At { begun, end, .. } = &mut turn.end else { panic!("it is timed") };
            (*begun, *end) = (*begun - lengths * LATER, *end - lengths * LATER);
        };
        assert!(!turn.is_over(UNTIMED_OCTETS));
        shift(&mut turn, 10);
        assert!(turn.is_over(UNTIMED_OCTETS));
        turn.has_prepared();
        assert!(!turn.is_over(UNTIMED_OCTETS));
        shift(&mut turn, 11);
        turn.has_prepared();
        assert!(turn.is_over(UNTIMED_OCTETS));
    }
}
