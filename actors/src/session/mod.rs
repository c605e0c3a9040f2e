//! One actor per connection: sole owner of the socket, the protocol state and the client's numbering. Decides nothing about mail.

pub mod admission;
pub mod auth;
pub mod changes;
mod difference;
pub mod fetch;
pub mod message;
pub mod reader;
pub mod refetch;
mod resolve;
pub mod search;
pub mod sort;
#[cfg(test)]
mod testing;
pub mod thread;
pub mod view;

pub use resolve::BadSequence;
