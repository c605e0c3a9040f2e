//! A mailbox's state as cached values (docs/adr/0012-snapshots.md): a load is the last snapshot and the log's tail. Chunks cover ranges of UIDs that never
//! change, so that a snapshot writes only those that differ from the one before it; the header names the hash of each. What does not fit
//! together (a chunk of another snapshot, a flipped byte, an older version) is no snapshot: the log is read from its beginning.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use carillon_protocol::flag::Keyword;
use carillon_protocol::number::{ModSeq, Uid, UidValidity};
use carillon_storage::codec::{self, CodecError};
use carillon_storage::{Chain, Position};
use serde::{Deserialize, Serialize};

use super::event::Details;
use super::flags::{Flags, Keywords};
use super::state::{Counts, Message, State};
use crate::limits::Limits;
use crate::seal::{Seal, seal, seal_of, unseal};

/// The version of header, chunks and summary together.
const VERSION: u16 = 1;
/// UIDs that one chunk covers: some 12 KB, or 50 KB of deliveries with long trace headers.
const UIDS_PER_CHUNK: u32 = 128;

/// Which value of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The chunk of this number.
    Chunk(u32),
    /// The header, put last.
    Header,
}

impl Part {
    /// What follows the mailbox's own key in the cache's key.
    pub fn key(self) -> Vec<u8> {
        match self {
            Self::Chunk(number) => [&b"c"[..], &number.to_be_bytes()].concat(),
            Self::Header => b"h".to_vec(),
        }
    }
}

/// The head of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The newest record in it.
    pub position: Position,
    /// That record's chain: the log must have the same there, or the snapshot is of another history.
    pub chain: Chain,
    uid_validity: UidValidity,
    uid_next: Uid,
    is_ended: bool,
    keywords: Vec<Keyword>,
    chunks: BTreeMap<u32, Seal>,
}

/// A snapshot to be put.
#[derive(Clone, Debug)]
pub struct Written {
    /// For the next [`to_chunks`].
    pub header: Header,
    /// Changed chunks, empty values for chunks that are gone, and last the header.
    pub entries: Vec<(Part, Bytes)>,
}

#[derive(Serialize, Deserialize)]
struct StoredMessage {
    uid: Uid,
    system: u8,
    keywords: u64,
    modseq: ModSeq,
    details: Arc<Details>,
}

const fn number_of(uid: Uid) -> u32 {
    uid.get() / UIDS_PER_CHUNK
}

/// The snapshot of a state whose newest record has `chain`. Chunks that `known`, the header of the snapshot that is stored now, holds alike are left
/// out. O(messages): for the pool.
///
/// # Errors
/// A value that cannot be encoded.
pub fn to_chunks(state: &State, chain: Chain, known: Option<&Header>) -> Result<Written, CodecError> {
    let mut header = Header {
        position: state.position,
        chain,
        uid_validity: state.uid_validity,
        uid_next: state.uid_next,
        is_ended: state.is_ended,
        keywords: state.keywords().to_vec(),
        chunks: BTreeMap::new(),
    };
    let mut entries = Vec::new();
    let mut messages = state.messages().iter().peekable();
    let mut chunk: Vec<StoredMessage> = Vec::new();
    while let Some(Message { uid, flags: Flags { system, keywords }, modseq, details }) = messages.next() {
        chunk.push(StoredMessage { uid, system, keywords, modseq, details: Arc::clone(details) });
        let number = number_of(uid);
        if messages.peek().is_some_and(|next| number_of(next.uid) == number) {
            continue;
        }
        let bytes = codec::encode(&chunk)?;
        let hash = seal_of(VERSION, &bytes);
        if known.and_then(|known| known.chunks.get(&number)) != Some(&hash) {
            entries.push((Part::Chunk(number), Bytes::from(bytes)));
        }
        header.chunks.insert(number, hash);
        chunk.clear();
    }
    let old = known.into_iter().flat_map(|known| known.chunks.keys());
    entries.extend(old.filter(|number| !header.chunks.contains_key(number)).map(|number| (Part::Chunk(*number), Bytes::new())));
    entries.push((Part::Header, seal(VERSION, &header)?));
    Ok(Written { header, entries })
}

/// The state of a snapshot and its header; `chunk` gives the stored chunks. `None` if anything does not fit. The caller compares the header's chain with the
/// log's. The state knows no recent changes from before it.
pub fn from_chunks(header: &[u8], mut chunk: impl FnMut(u32) -> Option<Bytes>, limits: &Limits) -> Option<(State, Header)> {
    let header: Header = unseal(VERSION, header)?;
    let mut state = State::at(header.position, limits);
    state.keywords = Keywords::from_list(header.keywords.clone())?;
    state.uid_validity = header.uid_validity;
    state.is_ended = header.is_ended;
    for (number, hash) in &header.chunks {
        let bytes = chunk(*number).filter(|bytes| seal_of(VERSION, bytes) == *hash)?;
        for stored in codec::decode::<Vec<StoredMessage>>(&bytes).ok()? {
            let is_in_order = stored.uid >= state.uid_next && stored.uid < header.uid_next && number_of(stored.uid) == *number;
            if !is_in_order || stored.modseq.0 > header.position {
                return None;
            }
            let flags = Flags { system: stored.system, keywords: stored.keywords };
            state.messages.push(Message { uid: stored.uid, flags, modseq: stored.modseq, details: &stored.details });
            state.uid_next = stored.uid.next()?;
        }
    }
    state.uid_next = header.uid_next;
    Some((state, header))
}

/// What STATUS needs of a mailbox that is not in memory, under a key of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The newest record in it; good for STATUS only where that is the log's head.
    pub position: Position,
    /// That record's chain.
    pub chain: Chain,
    /// How many messages of which kind.
    pub counts: Counts,
    /// UIDNEXT
    pub uid_next: Uid,
    /// UIDVALIDITY
    pub uid_validity: UidValidity,
    /// The first UID that no session has claimed as recent; still good when the rest is old.
    pub recent_from: Uid,
    /// How many messages no session has claimed as recent.
    pub recent: u64,
}

impl Summary {
    /// The summary of a state.
    pub fn of(state: &State, chain: Chain, recent_from: Uid) -> Self {
        Self {
            position: state.position(),
            chain,
            counts: state.counts(),
            uid_next: state.uid_next(),
            uid_validity: state.uid_validity(),
            recent_from,
            recent: state.recent(recent_from),
        }
    }

    /// Its bytes.
    ///
    /// # Errors
    /// A value that cannot be encoded.
    pub fn to_bytes(&self) -> Result<Bytes, CodecError> {
        seal(VERSION, self)
    }

    /// A summary from its bytes; `None` for another version or damaged bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        unseal(VERSION, bytes)
    }
}

#[cfg(test)]
mod tests;
