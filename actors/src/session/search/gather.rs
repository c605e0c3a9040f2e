//! What SORT and THREAD begin with: the messages that a search finds, each with its digest.

use carillon_protocol::mime::Digest;
use carillon_protocol::number::Uid;

use super::super::message::Glimpse;
use super::super::reader::{Reader, Seen};
use super::{Found, Search};
use crate::refusal::Fault;
use crate::turn::{Turn, Work};

/// A search, then a walk through what it found.
pub struct Gathering {
    search: Search,
    found: Option<Found>,
    /// From which UID on found messages were not walked through; `None` at the end.
    next: Option<Uid>,
}

impl Gathering {
    /// Of what this search finds.
    pub fn new(search: Search) -> Self {
        Self { search, found: None, next: Some(Uid::MIN) }
    }

    /// Goes on until the turn is over; `true` once `take` was given every message, in the order of their numbers, each with its digest if `reads_digests`.
    /// A damaged message that the search found counts as one without header.
    ///
    /// # Errors
    /// The journal cannot be read at all.
    pub fn advance(
        &mut self,
        turn: &mut Turn,
        reads_digests: bool,
        mut take: impl FnMut(&Seen<'_>, &Digest<&str>),
    ) -> Result<bool, Fault> {
        if self.found.is_none() {
            self.found = self.search.advance(turn)?;
        }
        let Some(found) = &self.found else { return Ok(false) };
        let Some(next) = self.next else { return Ok(true) };
        for seen in self.search.reader.messages_from(&found.uids, next) {
            self.next = Some(seen.uid);
            if reads_digests && turn.is_too_short_for(seen.details.size) {
                return Ok(false);
            }
            let glimpse = if reads_digests { self.search.source.glance_for_order(seen.details)? } else { Glimpse::default() };
            let digest = if reads_digests { glimpse.read().digest } else { Digest::default() };
            take(&seen, &digest);
            self.next = seen.uid.next();
            if turn.is_over(if reads_digests { seen.details.size } else { 0 }) {
                return Ok(false);
            }
        }
        self.next = None;
        Ok(true)
    }

    /// The messages as the client counts them.
    pub fn reader(&self) -> &Reader {
        &self.search.reader
    }

    /// As [`Found::damage`].
    pub fn damage(&self) -> Option<Fault> {
        self.found.as_ref().and_then(|found| found.damage.clone())
    }
}
