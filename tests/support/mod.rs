//! What all tests that look at the server from outside share: starting it, and talking to it.
#![allow(dead_code, reason = "every test binary takes its own part of this")]

pub mod client;
pub mod command;
pub mod disk;
pub mod lmtp;
pub mod server;
pub mod wire;
