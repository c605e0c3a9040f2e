//! The five actors: session, mailbox, account, directory, journal. The only crate that knows both the protocol and the storage.

pub mod account;
pub mod arrival;
mod batch;
pub mod clock;
pub mod directory;
mod discard;
pub mod doorbell;
pub mod fault;
#[cfg(test)]
mod given;
#[cfg(test)]
mod golden;
pub mod id;
pub mod journal;
pub mod limits;
pub mod mailbox;
pub mod placement;
mod recent;
pub mod refusal;
mod seal;
pub mod server;
pub mod session;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod turn;
