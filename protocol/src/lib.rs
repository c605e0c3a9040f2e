//! IMAP on the wire: types, grammar, encoder. No I/O, no clock, and no other crate of carillon.

pub mod flag;
pub mod number;
pub mod set;
