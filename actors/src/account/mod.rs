//! One actor per user: sole owner of names, hierarchy, subscriptions and special use. Touches no messages.

pub mod actor;
pub mod decide;
mod draft;
pub mod event;
pub mod list;
pub mod load;
mod mailboxes;
pub mod remote;
pub mod requests;
pub mod snapshot;
mod sorted;
pub mod state;
mod transfer;
