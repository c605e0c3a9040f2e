//! The journal: order, atomicity and durability of bytes. It knows no mail, no actor and no protocol, and depends on no other crate of carillon.

mod append;
mod apply;
mod ballast;
mod body;
mod checkpoint;
pub mod codec;
#[cfg(test)]
mod contract;
pub mod error;
mod fate;
pub mod fault;
mod files;
mod format;
mod heal;
mod home;
pub mod journal;
mod large;
pub mod memory;
pub mod options;
mod order;
mod places;
mod prepare;
mod read;
pub mod record;
mod recovery;
mod remake;
mod room;
mod salvage;
mod scan;
mod segment;
mod sled;
mod snapshot;
mod spool;
pub mod store;
mod stream;
mod survey;
#[cfg(test)]
mod tests;
pub mod verify;

pub use error::{AppendError, OpenError, ReadError};
pub use home::refuse_foreign;
pub use journal::{CommitList, Journal, Tell};
pub use memory::MemoryJournal;
pub use options::{OpenReport, StoreOptions};
pub use record::{
    Author, Body, BodyHash, BodySource, CacheEntry, Chain, Commit, CommitNumber, Committed, Head, LogId, Position, Record,
    RecordDraft,
};
pub use spool::SpoolFile;
pub use store::Store;
pub use verify::{Finding, VerifyReport};
