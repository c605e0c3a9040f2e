//! LMTP (RFC 2033): mail comes in, one reply per recipient, 250 only after it is durable. `command`, `reply` and `data` are the protocol, pure;
//! `connection` is a peer; `delivery` asks the actors.

pub mod command;
pub mod connection;
pub mod data;
pub mod delivery;
pub mod incoming;
pub mod reply;
