//! The journal: order, atomicity and durability of bytes. It knows no mail, no actor and no protocol, and depends on no other crate of carillon.

pub mod codec;
#[cfg(test)]
mod contract;
pub mod error;
pub mod journal;
pub mod memory;
mod order;
pub mod record;
mod spool;

pub use error::{AppendError, OpenError, ReadError};
pub use journal::{CommitList, Journal};
pub use memory::MemoryJournal;
pub use record::{
    Author, Body, BodyHash, BodySource, Chain, Commit, CommitNumber, Committed, Head, LogId, Position, Record, RecordDraft,
};
