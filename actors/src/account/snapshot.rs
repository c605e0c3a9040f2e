//! An account's state as one cached value (docs/adr/0012-snapshots.md): a load is the last snapshot and the log's tail.

use bytes::Bytes;
use carillon_protocol::mailbox_name::MailboxName;
use carillon_protocol::number::UidValidity;
use carillon_storage::codec::CodecError;
use carillon_storage::{Chain, Position};
use serde::{Deserialize, Serialize};

use super::state::{Entry, State};
use crate::seal::{seal, unseal};

const VERSION: u16 = 1;

#[derive(Serialize, Deserialize)]
struct Stored {
    position: Position,
    chain: Chain,
    entries: Vec<Entry>,
    subscriptions: Vec<MailboxName>,
    /// It may be a deleted mailbox's.
    largest_uid_validity: Option<UidValidity>,
}

/// The snapshot of a state whose newest record has `chain`. O(names): for the pool.
///
/// # Errors
/// A value that cannot be encoded.
pub fn to_bytes(state: &State, chain: Chain) -> Result<Bytes, CodecError> {
    let stored = Stored {
        position: state.position(),
        chain,
        entries: state.entries().cloned().collect(),
        subscriptions: state.subscriptions().cloned().collect(),
        largest_uid_validity: state.largest_uid_validity(),
    };
    seal(VERSION, &stored)
}

/// The state of a snapshot, and the chain that the log must have at its position; `None` for another version or damaged bytes. The state
/// knows no recent events from before it.
pub fn from_bytes(bytes: &[u8]) -> Option<(State, Chain)> {
    let stored: Stored = unseal(VERSION, bytes)?;
    let mut state = State::at(stored.position);
    stored.entries.into_iter().for_each(|entry| state.put(entry));
    stored.subscriptions.into_iter().for_each(|name| state.put_subscription(name));
    state.raise_uid_validity(stored.largest_uid_validity);
    Some((state, stored.chain))
}
