//! SEARCH (RFC 9051 §6.4.4) over what the client was told: a function of a reader and a source of bytes, done in turns in the pool.

use carillon_protocol::mime::Window;
use carillon_protocol::number::Uid;
use carillon_protocol::set::UidSet;

use super::message::Source;
use super::reader::Reader;
use crate::refusal::Fault;
use crate::turn::{Turn, Work};

mod candidate;
mod gather;
mod key;

use candidate::{Candidate, Progress};
pub use gather::Gathering;
pub use key::Query;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The messages that match; exact, without ghosts.
    pub uids: UidSet,
    /// Why it is not known of some messages whether they match, the first reason: they are damaged. They are not in `uids`.
    pub damage: Option<Fault>,
}

/// A search that is done, or partly done.
pub struct Search {
    reader: Reader,
    query: Query,
    source: Source,
    /// From which UID on messages are left.
    next: Uid,
    /// A message that was left in the middle.
    progress: Option<Progress>,
    found: Found,
    is_one_enough: bool,
}

impl Search {
    /// A search for the messages that match, ghosts left out.
    pub fn new(reader: Reader, query: Query, source: Source) -> Self {
        Self { reader, query, source, next: Uid::MIN, progress: None, found: Found::default(), is_one_enough: false }
    }

    /// One that ends at the first message that matches.
    pub fn for_one(reader: Reader, query: Query, source: Source) -> Self {
        Self { is_one_enough: true, ..Self::new(reader, query, source) }
    }
}

impl Work for Search {
    type Outcome = Found;

    /// # Errors
    /// The journal cannot be read at all. A damaged message is no error: see [`Found::damage`].
    fn advance(&mut self, turn: &mut Turn) -> Result<Option<Found>, Fault> {
        let everything = UidSet::from_range(Uid::MIN, Uid::MAX);
        let candidates = self.query.candidates().unwrap_or(&everything);
        let mut window = Window::default();
        for seen in self.reader.messages_from(candidates, self.next).filter(|seen| !seen.ghost) {
            self.next = seen.uid;
            let progress = self.progress.take().filter(|progress| progress.uid == seen.uid);
            let progress = progress.unwrap_or_else(|| Progress::none(&seen, &self.query, std::mem::take(&mut window)));
            let mut candidate = Candidate { seen, query: &self.query, source: &self.source, progress, octets_read: 0 };
            match candidate.verdict(turn) {
                Ok(Some(true)) => self.found.uids.insert(seen.uid),
                Ok(Some(false)) => {}
                Ok(None) => {
                    self.progress = Some(candidate.progress);
                    return Ok(None);
                }
                Err(fault @ Fault::Damaged(_)) => {
                    tracing::warn!(uid = seen.uid.get(), body = %seen.details.body, %fault, "a message cannot be searched");
                    self.found.damage.get_or_insert(fault);
                }
                Err(fault) => return Err(fault),
            }
            if self.is_one_enough && !self.found.uids.is_empty() {
                break;
            }
            // The message is done: the turn that follows begins behind it.
            window = candidate.progress.window;
            window.rewind();
            let Some(next) = seen.uid.next() else { break };
            self.next = next;
            if turn.is_over(candidate.octets_read) {
                return Ok(None);
            }
        }
        Ok(Some(std::mem::take(&mut self.found)))
    }
}

#[cfg(test)]
mod tests;
