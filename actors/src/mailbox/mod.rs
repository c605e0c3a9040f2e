//! One actor per open mailbox: sole owner of UIDs, flags, mod-sequences and \Recent's claim. Knows neither its name nor sequence numbers.

pub mod event;
pub mod requests;
