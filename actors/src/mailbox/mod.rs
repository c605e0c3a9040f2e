//! One actor per open mailbox: sole owner of UIDs, flags, mod-sequences and \Recent's claim. Knows neither its name nor sequence numbers.

pub mod actor;
mod chunk;
mod chunks;
pub mod decide;
pub mod details;
pub(crate) mod draft;
pub mod event;
mod flags;
#[cfg(test)]
mod history;
pub mod hold;
pub mod load;
pub mod requests;
pub mod snapshot;
pub mod state;
