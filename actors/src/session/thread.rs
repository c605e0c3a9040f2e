//! THREAD (RFC 5256 §3): the messages that SEARCH found, as trees. Nothing here recurses by the depth of a thread or is quadratic in its length.

use carillon_protocol::command::ThreadAlgorithm;
use carillon_protocol::response::Thread;
use carillon_protocol::set::Numbering;

use super::search::{Gathering, Search};
use super::sort::{collation_key, sent};
use crate::refusal::Fault;
use crate::turn::{Turn, Work};

mod links;
mod references;

/// A message as the algorithms see it. They take rows in the order of message numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Row {
    /// What stands in the response.
    number: u32,
    /// Seconds since 1970, UTC.
    sent: i64,
    /// The base subject as the collation compares it.
    subject: String,
    is_reply: bool,
    message_id: Option<String>,
    /// From the oldest ancestor to the parent.
    references: Vec<String>,
}

/// A THREAD that is done, or partly done.
pub struct Threading {
    messages: Gathering,
    algorithm: ThreadAlgorithm,
    numbering: Numbering,
    rows: Vec<Row>,
}

/// What a THREAD found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Threaded {
    /// Message numbers or UIDs as trees.
    pub threads: Vec<Thread>,
    /// As [`super::search::Found::damage`].
    pub damage: Option<Fault>,
}

impl Threading {
    /// The threads of what the search finds.
    pub fn new(search: Search, algorithm: ThreadAlgorithm, numbering: Numbering) -> Self {
        Self { messages: Gathering::new(search), algorithm, numbering, rows: Vec::new() }
    }
}

impl Work for Threading {
    type Outcome = Threaded;

    /// # Errors
    /// The journal cannot be read at all.
    fn advance(&mut self, turn: &mut Turn) -> Result<Option<Threaded>, Fault> {
        let Self { rows, numbering, .. } = self;
        let is_gathered = self.messages.advance(turn, true, |seen, digest| {
            rows.push(Row {
                number: numbering.of(seen.seq.get(), seen.uid.get()),
                sent: sent(seen, digest),
                subject: collation_key(digest.base_subject).into_owned(),
                is_reply: digest.is_reply,
                message_id: digest.message_id.map(str::to_owned),
                references: digest.references.iter().map(|id| (*id).to_owned()).collect(),
            });
        })?;
        // Threading cannot be cut in two.
        if !is_gathered || turn.is_too_short_for((self.rows.len() * size_of::<Row>()) as u64) {
            return Ok(None);
        }
        let threads = match self.algorithm {
            ThreadAlgorithm::OrderedSubject => ordered_subject(&self.rows),
            ThreadAlgorithm::References => references::references(&self.rows),
        };
        Ok(Some(Threaded { threads, damage: self.messages.damage() }))
    }
}

/// ORDEREDSUBJECT: the messages of one base subject are a thread; the first sent is its root and all others are replies to it.
fn ordered_subject(rows: &[Row]) -> Vec<Thread> {
    let mut order: Vec<&Row> = rows.iter().collect();
    order.sort_by(|one, other| (&one.subject, one.sent).cmp(&(&other.subject, other.sent)));
    let mut threads: Vec<&[&Row]> = order.chunk_by(|one, other| one.subject == other.subject).collect();
    threads.sort_by_key(|thread| thread.first().map(|first| (first.sent, first.number)));
    let leaf = |row: &&Row| Thread { message: Some(row.number), replies: Vec::new() };
    let trees = threads.into_iter().filter_map(|thread| {
        let (first, rest) = thread.split_first()?;
        Some(Thread { message: Some(first.number), replies: rest.iter().map(leaf).collect() })
    });
    trees.collect()
}

#[cfg(test)]
mod tests;
