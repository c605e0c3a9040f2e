//! Bad input against the real binary: the rows of docs/security.md that a peer can send over the wire. During each attack another client goes on working:
//! it must be answered, the median within 100 ms; the server must not panic, and must let new clients in afterwards.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

#[path = "hostile/mod.rs"]
mod hostile;
#[path = "support/mod.rs"]
mod support;
