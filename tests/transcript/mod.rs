//! The runner of transcripts (docs/testing.md): plain text scenarios, played against a server from outside.
#![allow(dead_code, reason = "the conformance test reads scripts and does not play them")]

pub mod grammar;
pub mod pattern;
pub mod run;
pub mod script;
pub mod simulated;
pub mod token;
