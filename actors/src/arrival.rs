//! A message that comes in, by whatever way: hashed, read once for its structure, and made ready for the mailbox.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use carillon_protocol::date::InternalDate;
use carillon_protocol::flag::FlagSet;
use carillon_protocol::mime;
use carillon_storage::{Body, BodyHash, BodySource};

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
    /// In a file that the journal's `spool` named.
    File(Spooled),
}

/// A file of the journal's spool. It goes with the value, unless the journal takes it over.
#[derive(Debug)]
pub struct Spooled(Option<PathBuf>);

impl Spooled {
    /// The file is there, and nobody else's.
    pub const fn new(path: PathBuf) -> Self {
        Self(Some(path))
    }

    fn path(&self) -> &Path {
        self.0.as_deref().unwrap_or(Path::new(""))
    }

    fn take_over(mut self) -> PathBuf {
        self.0.take().unwrap_or_default()
    }
}

impl Drop for Spooled {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // One that stays is swept at the next start.
            let _ = std::fs::remove_file(path);
        }
    }
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
    arrivals.into_iter().map(|arrival| prepare(source, arrival)).collect()
}

/// Makes one message ready. Its summary is kept beside the body, so that no FETCH of envelopes parses mail again.
///
/// # Errors
/// As [`prepare_all`].
pub fn prepare(source: &Source, arrival: Arrival) -> Result<NewMessage, Refusal> {
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
    let summary = source.summarise_arrival(&hash, &bytes);
    let length = bytes.len() as u64;
    let prefix_length = arrival.prefix.as_ref().map_or(0, |prefix| prefix.len() as u64);
    let size = length + prefix_length;
    let ids = MessageIds { references: None, in_reply_to: None, message_id: summary.glance.digest.message_id.as_deref() };
    let ids = MessageIds { references: summary.glance.digest.references.first().map(String::as_str), ..ids };
    let details = Arc::new(details::new(arrival.prefix, hash, size, arrival.internal_date, arrival.save_date, ids));
    let content = file.map_or_else(|| BodySource::Memory(Bytes::from(bytes)), |file| BodySource::File(file.take_over()));
    let body = source.journal().prepare(Body { hash, length, source: content }).map_err(Fault::from)?;
    Ok(NewMessage { flags: arrival.flags, details, origin: arrival.origin, body: Some(body) })
}
