//! Messages whose bytes cannot be read any more. The store says which bodies are damaged as long as their bytes are there; after it has mended a segment only the
//! mailboxes' own logs tell what is missing, and whose it is.

use std::collections::{BTreeMap, HashMap, HashSet};

use carillon_actors::id::{LOG_KIND_MAILBOX, MailboxId};
use carillon_actors::mailbox::event::{self, MailboxEvent};
use carillon_protocol::number::Uid;
use carillon_storage::{BodyHash, Journal, LogId, Position};

use super::names::{Names, text};
use crate::exit::{Exit, Failure};

/// Records that are read at a time.
const PIECE: usize = 1000;

/// A message that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Whose it is, in which mailbox, and its UID.
    pub place: String,
    /// The record with which it came.
    pub record: (LogId, Position),
    /// Its body.
    pub body: BodyHash,
}

/// All messages that cannot be read, of the mailboxes that are not deleted; `damaged` are known not to be whole.
///
/// # Errors
/// A log cannot be read or understood.
pub fn find(journal: &dyn Journal, names: &Names, damaged: &HashSet<BodyHash>) -> Result<Vec<Lost>, Failure> {
    let mut lost = Vec::new();
    let mut known: HashMap<BodyHash, bool> = HashMap::new();
    for log in journal.logs(LOG_KIND_MAILBOX)? {
        for (uid, (position, body)) in messages(journal, log)? {
            let is_readable =
                *known.entry(body).or_insert_with(|| !damaged.contains(&body) && journal.body_range(body, 0, 1).is_ok());
            if !is_readable {
                lost.push(Lost { place: format!("{}, UID {uid}", name(names, log)), record: (log, position), body });
            }
        }
    }
    Ok(lost)
}

fn name(names: &Names, log: LogId) -> String {
    match names.mailbox(MailboxId(log.id)) {
        Some(named) => format!("{}/{}", names.user(named.account), text(&named.name)),
        None => format!("mailbox {:016x}", log.id),
    }
}

/// The messages that a mailbox holds: where they came in, and their bodies.
fn messages(journal: &dyn Journal, log: LogId) -> Result<BTreeMap<Uid, (Position, BodyHash)>, Failure> {
    let mut messages = BTreeMap::new();
    let mut position = 0;
    loop {
        let records = journal.read(log, position + 1, PIECE)?;
        for record in &records {
            position = record.position;
            let events = event::decode(record.version, &record.events)
                .map_err(|error| Failure::new(Exit::Data, format!("mailbox {:016x} at position {position}: {error}", log.id)))?;
            for event in events {
                match event {
                    MailboxEvent::Appended { arrivals } => {
                        messages.extend(arrivals.into_iter().map(|arrival| (arrival.uid, (position, arrival.details.body))));
                    }
                    MailboxEvent::Expunged { uids, .. } => {
                        for uid in uids.iter() {
                            messages.remove(&uid);
                        }
                    }
                    MailboxEvent::Ended => messages.clear(),
                    MailboxEvent::Opened { .. } | MailboxEvent::FlagsChanged { .. } => {}
                }
            }
        }
        if records.len() < PIECE {
            return Ok(messages);
        }
    }
}
