//! The runner of transcripts (docs/testing.md): plain text scenarios, played against a server from outside.

pub mod pattern;
pub mod run;
pub mod script;
pub mod token;
