//! One actor per connection: sole owner of the socket, the protocol state and the client's numbering. Decides nothing about mail.

pub mod auth;
