//! What one peer costs in each state of the parser. Each attack sends far more than the bound, so a state that keeps what comes is found.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use super::{PER_CONNECTION, resident_bytes, under_attack};
use crate::support::client::logged_in;
use crate::support::server::Server;

/// So many peers at a time.
const PEERS: usize = 16;
/// What each of them sends if it is let.
const SENT: usize = 4 << 20;

/// Peers that send `start` and then `more` without end, and stay. `more` is sent in pieces, until the server takes no more.
fn bounded(start: &str, more: &str) {
    under_attack(|server| {
        let before = server.resident_bytes();
        let piece = more.repeat((64 << 10) / more.len());
        let peers: Vec<TcpStream> = (0..PEERS).map(|_| feed(server, start, &piece)).collect();
        let grown = resident_bytes(server).saturating_sub(before) / PEERS as u64;
        assert!(grown < PER_CONNECTION, "{grown} bytes a connection");
        drop(peers);
    });
}

fn feed(server: &Server, start: &str, piece: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.target.imap).unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    stream.write_all(start.as_bytes()).unwrap();
    // The server may close at any time, or not read.
    let _ = (0..SENT / piece.len()).take_while(|_| stream.write_all(piece.as_bytes()).is_ok()).count();
    stream
}

#[test]
fn in_a_tag() {
    bounded("", "x");
}

#[test]
fn in_a_line() {
    bounded("a LOGIN ", "x");
}

#[test]
fn in_a_quoted_string() {
    bounded("a LOGIN \"", "\\\"");
}

#[test]
fn in_a_literal() {
    bounded("a LOGIN {8000+}\r\n", "x");
}

#[test]
fn in_a_literal_that_is_refused() {
    bounded("a LOGIN {60000+}\r\n", "x");
}

#[test]
fn in_many_literals() {
    bounded("a LOGIN", " {1+}\r\nx");
}

#[test]
fn in_many_empty_literals() {
    bounded("a LOGIN", " {0+}\r\n");
}

#[test]
fn in_nested_parentheses() {
    bounded("a ID ", "(");
}

#[test]
fn in_braces() {
    bounded("a LOGIN ", "{");
}

#[test]
fn in_the_fields_of_id() {
    bounded("a ID (", "\"k\" \"v\" ");
}

#[test]
fn in_many_ids() {
    bounded("", "a ID (\"name\" \"0123456789012345678901234567890123456789\")\r\n");
}

#[test]
fn in_an_exchange_of_sasl() {
    bounded("a AUTHENTICATE PLAIN\r\n", "A");
}

#[test]
fn in_many_exchanges_of_sasl() {
    bounded("", "a AUTHENTICATE PLAIN\r\n*\r\n");
}

#[test]
fn in_a_message_before_login() {
    bounded("a APPEND INBOX (", "\\Seen ");
}

#[test]
fn in_answers_that_nobody_reads() {
    bounded("", "a CAPABILITY\r\n");
}

#[test]
fn two_hundred_silent_connections() {
    under_attack(|server| {
        let before = server.resident_bytes();
        let peers: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(server.target.imap).unwrap()).collect();
        let grown = resident_bytes(server).saturating_sub(before) / 200;
        assert!(grown < 64 << 10, "{grown} bytes a connection that says nothing");
        drop(peers);
    });
}

#[test]
fn half_a_handshake() {
    under_attack(|server| {
        let before = server.resident_bytes();
        let peers: Vec<TcpStream> = (0..PEERS).map(|number| handshake_without_end(server, number % 2 == 0)).collect();
        let grown = resident_bytes(server).saturating_sub(before) / PEERS as u64;
        assert!(grown < PER_CONNECTION, "{grown} bytes a connection");
        drop(peers);
    });
}

/// A ClientHello that claims 16 MiB and comes in records of the greatest length, at the port for TLS or behind STARTTLS.
fn handshake_without_end(server: &Server, is_tls_first: bool) -> TcpStream {
    let address = if is_tls_first { server.target.imaps.unwrap() } else { server.target.imap };
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    if !is_tls_first {
        stream.write_all(b"a STARTTLS\r\n").unwrap();
        let mut answer = [0; 1];
        while answer != *b"a" {
            std::io::Read::read_exact(&mut stream, &mut answer).unwrap();
        }
        // The rest of the answer is of no interest: nothing more is read.
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut record = b"\x16\x03\x01\x40\x00\x01\xff\xff\xff\x03\x03".to_vec();
    record.resize(5 + (16 << 10), 7);
    let _ = (0..SENT / record.len()).take_while(|_| stream.write_all(&record).is_ok()).count();
    stream
}

#[test]
fn after_login_as_configured() {
    under_attack(|server| {
        let before = server.resident_bytes();
        let starts =
            ["a SEARCH (", "a SEARCH SUBJECT {262000+}\r\n", "a SELECT \"", "a FETCH 1 (", "a APPEND INBOX {50000000+}\r\n"];
        let peers: Vec<_> = starts
            .iter()
            .flat_map(|start| [*start; 3])
            .enumerate()
            .map(|(number, start)| {
                let mut wire = logged_in(server.target.imap, &format!("memory{number}"));
                wire.send(start.as_bytes()).unwrap();
                let piece = vec![b'('; 64 << 10];
                let _ = (0..SENT / piece.len()).take_while(|_| wire.send(&piece).is_ok()).count();
                wire
            })
            .collect();
        let grown = resident_bytes(server).saturating_sub(before) / peers.len() as u64;
        // limits.line_bytes, limits.literals_bytes and limits.spool_bytes, with room for growing vectors.
        assert!(grown < 2 << 20, "{grown} bytes a session");
    });
}
