//! The binary: opens doors and wires actors; knows no IMAP semantics. A library only so that tests can call its parts.

pub mod admin;
pub mod calendar;
pub mod cli;
pub mod config;
pub mod exit;
pub mod import;
pub mod listener;
pub mod lmtp;
pub mod owner;
pub mod serve;
pub mod terminal;
pub mod tls;
pub mod trace;
pub mod users;
