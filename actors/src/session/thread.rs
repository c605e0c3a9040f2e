//! THREAD (RFC 5256 §3): the messages that SEARCH found, as trees. Nothing here recurses by the depth of a thread or is quadratic in its length.

use carillon_protocol::command::ThreadAlgorithm;
use carillon_protocol::number::Uid;
use carillon_protocol::response::Thread;
use carillon_protocol::set::{Numbering, UidSet};

use super::message::Source;
use super::reader::Reader;
use super::sort::{collation_key, sent};
use crate::refusal::Fault;

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

/// The threads of `uids`, as message numbers or UIDs. A damaged message counts as one without header.
///
/// # Errors
/// The journal cannot be read at all.
pub fn thread(
    reader: &Reader,
    uids: &UidSet,
    algorithm: ThreadAlgorithm,
    numbering: Numbering,
    source: &Source,
) -> Result<Vec<Thread>, Fault> {
    let mut rows = Vec::new();
    for seen in reader.messages(uids).filter(|seen| !seen.ghost) {
        let glimpse = source.glance_for_order(seen.details)?;
        let digest = glimpse.read().digest;
        let number = match numbering {
            Numbering::Seq => seen.seq.get(),
            Numbering::Uid => Uid::get(seen.uid),
        };
        rows.push(Row {
            number,
            sent: sent(&seen, &digest),
            subject: collation_key(digest.base_subject).into_owned(),
            is_reply: digest.is_reply,
            message_id: digest.message_id.map(str::to_owned),
            references: digest.references.into_iter().map(str::to_owned).collect(),
        });
    }
    Ok(match algorithm {
        ThreadAlgorithm::OrderedSubject => ordered_subject(&rows),
        ThreadAlgorithm::References => references::references(&rows),
    })
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
