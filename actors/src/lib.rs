//! The five actors: session, mailbox, account, directory, journal. The only crate that knows both the protocol and the storage.

pub mod clock;
pub mod id;
pub mod limits;
pub mod refusal;
pub mod session;
