//! What most tests do first: log in, and say commands that must succeed.

use std::net::SocketAddr;

use super::server::PASSWORD;
use super::wire::Wire;

/// A connection that was greeted.
pub fn greeted(imap: SocketAddr) -> Wire {
    let mut wire = Wire::connect(imap).unwrap();
    assert!(wire.until("*").unwrap().pop().unwrap().starts_with("* OK"));
    wire
}

/// A connection as a user with the usual password.
pub fn logged_in(imap: SocketAddr, user: &str) -> Wire {
    let mut wire = greeted(imap);
    ok(&mut wire, &format!("LOGIN {user} {PASSWORD}"));
    wire
}

/// A command that must be OK; its responses.
pub fn ok(wire: &mut Wire, command: &str) -> Vec<String> {
    let responses = wire.command("k", command).unwrap();
    assert!(responses.last().unwrap().starts_with("k OK"), "{}: {:?}", &command[..command.len().min(99)], responses.last());
    wire.history.clear();
    responses
}
