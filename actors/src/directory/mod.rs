//! One actor per server: which account's actor is where, who is connected, and the server's own log.

pub mod actor;
pub mod event;
mod register;
pub mod requests;
