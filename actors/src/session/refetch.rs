//! The command loop of the stories: a client that asks again and again for messages that are gone is told so, slowed and reported.

use std::time::Duration;

use carillon_protocol::set::UidSet;

/// What one session asked for in vain. Any other command resets it.
#[derive(Clone, Debug, Default)]
pub struct Refetch {
    missed: UidSet,
    count: u32,
}

/// How such a command is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The text of its OK.
    pub text: String,
    /// How long the answer waits.
    pub delay: Option<Duration>,
    /// Whether the trace is to be told, once in a row of repetitions.
    pub is_loop: bool,
}

impl Refetch {
    /// The identical misses from which on a client is slowed.
    const PATIENCE: u32 = 3;
    const FIRST_DELAY: Duration = Duration::from_millis(10);
    const LONGEST_DELAY: Duration = Duration::from_secs(1);

    /// The client asked by UID for these messages, which are gone: at least one.
    pub fn note(&mut self, missed: &UidSet) -> Answer {
        if self.missed == *missed {
            self.count = self.count.saturating_add(1);
        } else {
            self.missed.clone_from(missed);
            self.count = 1;
        }
        let repetitions = self.count.checked_sub(Self::PATIENCE);
        let delay = repetitions.map(|times| {
            let factor = 1u32.checked_shl(times).unwrap_or(u32::MAX);
            Self::FIRST_DELAY.saturating_mul(factor).min(Self::LONGEST_DELAY)
        });
        Answer { text: explanation(missed), delay, is_loop: repetitions == Some(0) }
    }

    /// The client did something else.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Names the first few: a client can ask for thousands.
fn explanation(missed: &UidSet) -> String {
    const NAMED_RANGES: usize = 10;
    let mut named = UidSet::new();
    missed.ranges().take(NAMED_RANGES).for_each(|(first, last)| named.insert_range(first, last));
    let more = if missed.ranges().len() > NAMED_RANGES { " and others" } else { "" };
    let verb = if missed.len() == 1 { "is" } else { "are" };
    format!("Fetched; UID {named}{more} {verb} gone from this mailbox and will not come back")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::testing::uids;

    #[test]
    fn repetition_is_explained_then_slowed_and_reported_once() {
        let mut refetch = Refetch::default();
        let answers: Vec<Answer> = (0..12).map(|_| refetch.note(&uids([100]))).collect();
        assert!(answers.iter().all(|answer| answer.text.contains("UID 100 is gone")));
        let delays: Vec<u128> = answers.iter().map(|answer| answer.delay.map_or(0, |delay| delay.as_millis())).collect();
        assert_eq!(delays, [0, 0, 10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000]);
        let loops: Vec<usize> = answers.iter().enumerate().filter(|(_, answer)| answer.is_loop).map(|(place, _)| place).collect();
        assert_eq!(loops, [2]);
    }

    #[test]
    fn anything_else_begins_anew() {
        let mut refetch = Refetch::default();
        (0..5).for_each(|_| drop(refetch.note(&uids([100]))));
        assert_eq!(refetch.note(&uids([100, 101])).delay, None);
        (0..5).for_each(|_| drop(refetch.note(&uids([100]))));
        refetch.reset();
        assert_eq!(refetch.note(&uids([100])).delay, None);
    }

    #[test]
    fn it_bears_with_a_client_that_never_ends() {
        let mut refetch = Refetch { missed: uids([1]), count: u32::MAX - 1 };
        (0..3).for_each(|_| assert_eq!(refetch.note(&uids([1])).delay, Some(Duration::from_secs(1))));
    }

    #[test]
    fn the_text_stays_short() {
        let text = Refetch::default().note(&(1..5000).step_by(2).map(crate::session::testing::uid).collect()).text;
        assert!(text.len() < 200 && text.contains("1,3,5,") && text.contains("and others are gone"));
    }
}
