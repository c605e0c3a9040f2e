//! One actor per connection: sole owner of the socket, the protocol state and the client's numbering. Decides nothing about mail.

pub mod actor;
pub mod admission;
mod arriving;
pub mod auth;
mod bells;
pub mod changes;
mod command;
mod connection;
mod difference;
mod dispatch;
pub mod fetch;
mod glances;
pub mod message;
pub mod reader;
mod recomputed;
mod recorded;
pub mod referral;
pub mod refetch;
mod reply;
mod resolve;
pub mod search;
mod serve;
pub mod settings;
pub mod sort;
mod state;
mod telling;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod thread;
pub mod view;

pub use resolve::BadSequence;
