//! One actor per user: sole owner of names, hierarchy, subscriptions and special use. Touches no messages.

pub mod decide;
pub mod event;
pub mod list;
pub mod requests;
pub mod snapshot;
mod sorted;
pub mod state;
