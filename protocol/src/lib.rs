//! IMAP on the wire: types, grammar, encoder. No I/O, no clock, and no other crate of carillon.

pub mod capability;
pub mod command;
pub mod command_encode;
pub mod date;
pub mod decode;
pub mod encode;
pub mod extension;
pub mod flag;
pub mod frame;
pub mod grammar;
pub mod mailbox_name;
pub mod mime;
pub mod number;
pub mod pattern;
pub mod response;
pub mod set;
pub mod text;
