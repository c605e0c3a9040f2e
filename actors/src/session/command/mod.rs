//! The commands, one file per family. Each asks the owner of the fact and says what the standard says to say.

pub mod append;
pub mod auth;
pub mod basic;
pub mod copy;
pub mod expunge;
pub mod fetch;
pub mod idle;
pub mod list;
pub mod mailboxes;
pub mod search;
pub mod select;
pub mod status;
pub mod store;
