//! The journal: order, atomicity and durability of bytes. It knows no mail, no actor and no protocol, and depends on no other crate of carillon.

pub mod codec;
pub mod error;
pub mod journal;
pub mod record;

pub use error::{AppendError, OpenError, ReadError};
pub use journal::Journal;
pub use record::{
    Author, Body, BodyHash, BodySource, Chain, Commit, CommitNumber, Committed, Head, LogId, Position, Record, RecordDraft,
};
