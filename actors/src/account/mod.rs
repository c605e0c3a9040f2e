//! One actor per user: sole owner of names, hierarchy, subscriptions and special use. Touches no messages.

pub mod event;
pub mod requests;
