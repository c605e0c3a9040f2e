//! A message that comes in, by whatever way: hashed, read once for its structure, and made ready for the mailbox.

use std::sync::Arc;

use bytes::Bytes;
use carillon_protocol::date::InternalDate;
use carillon_protocol::flag::FlagSet;
use carillon_protocol::mime;
use carillon_storage::journal::{AHEAD_BYTES, LARGE_BODY_BYTES};
use carillon_storage::{Body, BodyHash, BodySource, SpoolFile};

use crate::mailbox::details::{self, MessageIds};
use crate::mailbox::event::Origin;
use crate::mailbox::requests::NewMessage;
use crate::refusal::{Fault, Refusal};
use crate::session::message::Source;

/// Where the bytes of a message are that comes in.
#[derive(Debug)]
pub enum Content {
    /// In memory.
    Memory(Vec<u8>),
    /// In a file of the journal's spool.
    File(SpoolFile),
}

/// A message that comes in.
#[derive(Debug)]
pub struct Arrival {
    /// Its bytes, without the prefix.
    pub content: Content,
    /// Header lines of this recipient alone.
    pub prefix: Option<Arc<[u8]>>,
    /// Whether its bytes hold a NUL: then its binary parts are re-encoded, so that all items speak of the same bytes.
    pub has_nul: bool,
    /// INTERNALDATE.
    pub internal_date: InternalDate,
    /// Now, in seconds since 1970.
    pub save_date: u64,
    /// Its flags.
    pub flags: FlagSet,
    /// How it comes.
    pub origin: Origin,
}

/// Makes several messages ready. Blocks on the disk and on parsing: call it in the pool.
///
/// # Errors
/// A message of which nothing can be kept (no bytes), or a disk that fails.
pub fn prepare_all(source: &Source, arrivals: Vec<Arrival>) -> Result<Vec<NewMessage>, Refusal> {
    prepare_each(source, arrivals)?.into_iter().collect()
}

/// As [`prepare_all`], with a refusal for each message of which nothing can be kept.
///
/// # Errors
/// A disk that fails.
pub fn prepare_each(source: &Source, arrivals: Vec<Arrival>) -> Result<Vec<Result<NewMessage, Refusal>>, Fault> {
    let mut messages = Vec::with_capacity(arrivals.len());
    let (mut first, mut bytes) = (0, 0);
    for arrival in arrivals {
        let message = read(source, arrival);
        let length = message.as_ref().ok().and_then(|message| message.body.as_ref()).map_or(0, |body| body.length);
        messages.push(message);
        // What the journal stores ahead need not be held until all are read.
        if length > LARGE_BODY_BYTES {
            store(source, messages.last_mut().map(std::slice::from_mut).unwrap_or_default())?;
            continue;
        }
        bytes += length;
        if bytes > AHEAD_BYTES {
            store(source, messages.get_mut(first..).unwrap_or_default())?;
            (first, bytes) = (messages.len(), 0);
        }
    }
    store(source, messages.get_mut(first..).unwrap_or_default())?;
    Ok(messages)
}

/// Has the journal make bodies ready.
fn store(source: &Source, messages: &mut [Result<NewMessage, Refusal>]) -> Result<(), Fault> {
    let mut rooms: Vec<&mut Option<Body>> =
        messages.iter_mut().filter_map(|message| message.as_mut().ok()).map(|message| &mut message.body).collect();
    let bodies = rooms.iter_mut().filter_map(|room| room.take()).collect();
    let prepared = source.journal().prepare(bodies)?;
    rooms.into_iter().zip(prepared).for_each(|(room, body)| *room = Some(body));
    Ok(())
}

/// Makes one message ready. Its summary is kept beside the body, so that no FETCH of envelopes parses mail again.
///
/// # Errors
/// As [`prepare_all`].
pub fn prepare(source: &Source, arrival: Arrival) -> Result<NewMessage, Refusal> {
    prepare_all(source, vec![arrival])?.pop().ok_or(Refusal::EmptyMessage)
}

fn read(source: &Source, arrival: Arrival) -> Result<NewMessage, Refusal> {
    let (mut bytes, mut file) = match arrival.content {
        Content::Memory(bytes) => (bytes, None),
        Content::File(file) => {
            let bytes = std::fs::read(file.path()).map_err(|error| Fault::Unavailable(error.to_string()))?;
            (bytes, Some(file))
        }
    };
    if arrival.has_nul {
        bytes = mime::without_nul(&bytes).ok_or(Refusal::Cannot("A message holds NUL in the bodies of its parts only"))?;
        // What is stored is no longer what the file holds.
        file = None;
    }
    if bytes.is_empty() {
        return Err(Refusal::EmptyMessage);
    }
    let hash = BodyHash::of(&bytes);
    let (summary, beside) = source.summarise_arrival(&hash, &bytes);
    let length = bytes.len() as u64;
    let prefix_length = arrival.prefix.as_ref().map_or(0, |prefix| prefix.len() as u64);
    let size = length + prefix_length;
    let ids = MessageIds { references: None, in_reply_to: None, message_id: summary.glance.digest.message_id.as_deref() };
    let ids = MessageIds { references: summary.glance.digest.references.first().map(String::as_str), ..ids };
    let details = Arc::new(details::new(arrival.prefix, hash, size, arrival.internal_date, arrival.save_date, ids));
    let content = file.map_or_else(|| BodySource::Memory(Bytes::from(bytes)), |file| BodySource::File(Arc::new(file)));
    let body = Some(Body { hash, length, source: content, beside });
    Ok(NewMessage { flags: arrival.flags, details, origin: arrival.origin, body })
}
