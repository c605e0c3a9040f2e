//! From disk to state and back: replay from the last snapshot, and the summary that answers STATUS for a mailbox that nobody has open. Everything here blocks: it
//! runs in the pool.

use std::sync::Arc;

use carillon_protocol::number::Uid;
use carillon_storage::{Journal, Position, ReadError, Record};

use super::event::{self, MailboxEvent};
use super::requests::Look;
use super::snapshot::{Header, Part, Summary, Written, from_chunks, to_chunks};
use super::state::State;
use crate::account::requests::Status;
use crate::id::MailboxId;
use crate::journal::actor::{damaged, for_each_record};
use crate::limits::Limits;
use crate::refusal::Fault;

/// Values of a snapshot that are put at a time: the store holds nobody else up for longer.
const PUT_ENTRIES: usize = 64;

/// A mailbox's state as the disk has it.
pub struct Loaded {
    /// The fold of the whole log.
    pub state: State,
    /// The smallest UID that is recent, as far as anybody noted it.
    pub recent_from: Uid,
    /// The head of the snapshot that it was begun with.
    pub snapshot: Option<Arc<Header>>,
}

/// Loads a mailbox.
///
/// # Errors
/// What reading gives; `Damaged` where the log has no `Opened`, or events that this version does not know.
pub fn load(store: &dyn Journal, mailbox: MailboxId, limits: &Limits) -> Result<Loaded, Fault> {
    let (mut state, snapshot) = match snapshot(store, mailbox, limits) {
        Some((state, header)) => (state, Some(Arc::new(header))),
        None => (State::new(limits), None),
    };
    for_each_record(store, mailbox.log(), state.position() + 1, |record| {
        events(&record)?.iter().for_each(|event| state.apply(record.position, event));
        Ok(())
    })?;
    if state.position() == 0 {
        return Err(Fault::Damaged(format!("mailbox {mailbox} has no records")));
    }
    let recent_from = summary(store, mailbox).map_or(Uid::MIN, |summary| summary.recent_from);
    Ok(Loaded { recent_from: recent_from.min(state.uid_next()), state, snapshot })
}

/// The events of a mailbox's record.
///
/// # Errors
/// `Damaged` where they cannot be read.
pub fn events(record: &Record) -> Result<Vec<MailboxEvent>, ReadError> {
    event::decode(record.version, &record.events).map_err(|error| damaged(record, &error))
}

fn key(mailbox: MailboxId, part: &[u8]) -> Vec<u8> {
    [b"mailbox/".as_slice(), &mailbox.0.to_be_bytes(), part].concat()
}

/// The last snapshot, if it is one of this log's history. Caches that cannot be read are none.
fn snapshot(store: &dyn Journal, mailbox: MailboxId, limits: &Limits) -> Option<(State, Header)> {
    let cached = |part: Part| store.cache(&key(mailbox, &part.key())).ok().flatten();
    let (state, header) = from_chunks(&cached(Part::Header)?, |number| cached(Part::Chunk(number)), limits)?;
    let record = store.read(mailbox.log(), header.position, 1).ok()?.pop()?;
    ((record.position, record.chain) == (header.position, header.chain)).then_some((state, header))
}

/// Puts a snapshot in the place of the one with the header `known`.
///
/// # Errors
/// What the store gives; nothing depends on it.
pub fn put_snapshot(
    store: &dyn Journal,
    mailbox: MailboxId,
    state: &State,
    known: Option<&Header>,
) -> Result<Arc<Header>, ReadError> {
    let record = record_at(store, mailbox, state.position())?;
    let written = to_chunks(state, record.chain, known).map_err(|error| ReadError::Failed(error.to_string()))?;
    let Written { header, entries } = written;
    let mut entries = entries.into_iter().map(|(part, bytes)| (key(mailbox, &part.key()), bytes)).peekable();
    while entries.peek().is_some() {
        store.put_cache(entries.by_ref().take(PUT_ENTRIES).collect())?;
    }
    Ok(Arc::new(header))
}

fn record_at(store: &dyn Journal, mailbox: MailboxId, position: Position) -> Result<Record, ReadError> {
    let record = store.read(mailbox.log(), position, 1)?.pop().filter(|record| record.position == position);
    record.ok_or_else(|| ReadError::Damaged(format!("mailbox {mailbox} has no record at position {position}")))
}

/// An old summary still says what is recent.
fn summary(store: &dyn Journal, mailbox: MailboxId) -> Option<Summary> {
    store.cache(&key(mailbox, b"s")).ok().flatten().and_then(|bytes| Summary::from_bytes(&bytes))
}

/// Puts a mailbox's summary.
///
/// # Errors
/// What the store gives; nothing depends on it.
pub fn put_summary(store: &dyn Journal, mailbox: MailboxId, look: &Look) -> Result<(), ReadError> {
    let record = record_at(store, mailbox, look.snapshot.position())?;
    let summary = Summary::of(&look.snapshot, record.chain, look.recent_from);
    let bytes = summary.to_bytes().map_err(|error| ReadError::Failed(error.to_string()))?;
    store.put_cache(vec![(key(mailbox, b"s"), bytes)])
}

/// STATUS of a mailbox that nobody has open: from the summary where it is at the log's head, else from the log.
///
/// # Errors
/// As [`load`].
pub fn passive_status(store: &dyn Journal, mailbox: MailboxId, limits: &Limits) -> Result<Status, Fault> {
    let head = store.head(mailbox.log())?;
    let current = summary(store, mailbox).filter(|summary| (summary.position, summary.chain) == (head.position, head.chain));
    if let Some(Summary { counts, recent, uid_next, uid_validity, position, .. }) = current {
        return Ok(Status { counts, recent, uid_next, uid_validity, position });
    }
    passive_look(store, mailbox, limits).map(|look| status_of(&look))
}

/// A look at a mailbox that nobody has open. It leaves a summary where there is no current one (the server was killed), so that the next STATUS need not read the log.
///
/// # Errors
/// As [`load`].
pub fn passive_look(store: &dyn Journal, mailbox: MailboxId, limits: &Limits) -> Result<Look, Fault> {
    let before = summary(store, mailbox);
    let Loaded { state, recent_from, .. } = load(store, mailbox, limits)?;
    let look = Look { snapshot: state, recent_from };
    let is_old = before.is_none_or(|summary| summary.position != look.snapshot.position());
    // An actor that came and went meanwhile has left its own.
    if is_old && summary(store, mailbox) == before && put_summary(store, mailbox, &look).is_err() {
        tracing::warn!(%mailbox, "no summary could be kept");
    }
    Ok(look)
}

/// What STATUS tells of a look.
pub fn status_of(look: &Look) -> Status {
    let Look { snapshot, recent_from } = look;
    Status {
        counts: snapshot.counts(),
        recent: snapshot.recent(*recent_from),
        uid_next: snapshot.uid_next(),
        uid_validity: snapshot.uid_validity(),
        position: snapshot.position(),
    }
}
