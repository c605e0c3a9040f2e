//! One actor per open mailbox: sole owner of UIDs, flags, mod-sequences and \Recent's claim. Knows neither its name nor sequence numbers.

mod chunk;
mod chunks;
pub mod decide;
pub mod details;
pub mod event;
mod flags;
pub mod requests;
pub mod snapshot;
pub mod state;
