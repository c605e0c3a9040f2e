//! From disk to state and back. Everything here blocks: it runs in the pool.

use bytes::Bytes;
use carillon_storage::{Author, Commit, Journal, Position, ReadError, Record, RecordDraft};

use super::decide::{Context, new_account};
use super::event::{self, AccountEvent, Creation, VERSION};
use super::snapshot::{from_bytes, to_bytes};
use super::state::State;
use crate::id::{AccountId, MailboxId};
use crate::journal::actor::{damaged, for_each_record};
use crate::mailbox::draft::record as mailbox_record;
use crate::mailbox::event::MailboxEvent;
use crate::refusal::{Fault, Refusal};

/// An account's state as the disk has it.
pub struct Loaded {
    /// The fold of the whole log; at position 0 the account has none yet.
    pub state: State,
    /// The position of the snapshot that it was begun with.
    pub snapshot: Position,
}

/// Loads an account.
///
/// # Errors
/// What reading gives.
pub fn load(store: &dyn Journal, account: AccountId) -> Result<Loaded, Fault> {
    let mut state = snapshot(store, account).unwrap_or_default();
    let snapshot = state.position();
    for_each_record(store, account.log(), snapshot + 1, |record| {
        events(&record)?.iter().for_each(|event| state.apply(record.position, event));
        Ok(())
    })?;
    Ok(Loaded { state, snapshot })
}

/// The events of an account's record.
///
/// # Errors
/// `Damaged` where they cannot be read.
pub fn events(record: &Record) -> Result<Vec<AccountEvent>, ReadError> {
    event::decode(record.version, &record.events).map_err(|error| damaged(record, &error))
}

fn key(account: AccountId) -> Vec<u8> {
    [b"account/".as_slice(), &account.0.to_be_bytes()].concat()
}

/// The last snapshot, if it is one of this log's history. A cache that cannot be read is none.
fn snapshot(store: &dyn Journal, account: AccountId) -> Option<State> {
    let (state, chain) = from_bytes(&store.cache(&key(account)).ok().flatten()?)?;
    let record = store.read(account.log(), state.position(), 1).ok()?.pop()?;
    ((record.position, record.chain) == (state.position(), chain)).then_some(state)
}

/// Puts a snapshot.
///
/// # Errors
/// What the store gives; nothing depends on it.
pub fn put_snapshot(store: &dyn Journal, account: AccountId, state: &State) -> Result<(), ReadError> {
    let Some(record) = store.read(account.log(), state.position(), 1)?.pop() else { return Ok(()) };
    let bytes: Bytes = to_bytes(state, record.chain).map_err(|error| ReadError::Failed(error.to_string()))?;
    store.put_cache(vec![(key(account), bytes)])
}

/// A record for an account's log.
///
/// # Errors
/// A programming error: events that cannot be encoded.
pub(super) fn record(account: AccountId, expected: Position, events: &[AccountEvent]) -> Result<RecordDraft, Fault> {
    let events = event::encode(events).map_err(|error| {
        tracing::error!(%account, %error, "events that cannot be encoded");
        Fault::Bug("events that cannot be encoded")
    })?;
    Ok(RecordDraft { log: account.log(), expected, version: VERSION, events })
}

/// The records of a change of names: the account's, and the first of each mailbox that it makes.
///
/// # Errors
/// As [`record`].
pub(super) fn records(account: AccountId, expected: Position, events: &[AccountEvent]) -> Result<Vec<RecordDraft>, Fault> {
    let opened = |creation: &Creation| {
        let opened = MailboxEvent::Opened { uid_validity: creation.uid_validity };
        mailbox_record(creation.mailbox, 0, &[opened])
    };
    std::iter::once(record(account, expected, events)).chain(creations(events).map(opened)).collect()
}

/// The mailboxes that events make.
pub(super) fn creations(events: &[AccountEvent]) -> impl Iterator<Item = &Creation> {
    events.iter().flat_map(|event| match event {
        AccountEvent::MailboxCreated(creation) => std::slice::from_ref(creation),
        AccountEvent::MailboxRenamed { created, .. } => created.as_slice(),
        _ => &[],
    })
}

/// The mailboxes that events end.
pub(super) fn deletions(events: &[AccountEvent]) -> impl Iterator<Item = MailboxId> {
    events.iter().filter_map(|event| match event {
        AccountEvent::MailboxDeleted { mailbox, .. } => Some(*mailbox),
        _ => None,
    })
}

/// The commit that begins a new account's log, and those of its first mailboxes.
///
/// # Errors
/// As [`new_account`] and [`record`].
pub(crate) fn first_commit(account: AccountId, at: u64, context: &Context<'_>) -> Result<(Commit, Vec<AccountEvent>), Refusal> {
    let events = new_account(context)?;
    let author = Author { session: 0, command: 0, tag: String::new(), verb: "new account".to_owned() };
    let records = records(account, 0, &events)?;
    Ok((Commit { at, author, records, bodies: Vec::new() }, events))
}
