//! TLS that other programs do not speak.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use super::{in_time, under_attack};
use crate::support::client::greeted;
use crate::support::server::Server;
use crate::support::wire::{PATIENCE, trusting};

/// The bytes with which a client begins.
fn hello() -> (ClientConnection, Vec<u8>) {
    let name = ServerName::try_from("localhost").unwrap();
    let mut connection = ClientConnection::new(Arc::new(trusting()), name).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    (connection, bytes)
}

fn open(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.target.imaps.expect("the address with TLS")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Clock ticks of CPU that the server has used.
fn ticks(server: &Server) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// RUSTSEC-2024-0399: a ClientHello in pieces.
#[test]
fn a_hello_in_records_of_one_byte() {
    under_attack(|server| {
        let (connection, bytes) = hello();
        let fragments: Vec<u8> = bytes[5..].iter().flat_map(|byte| [0x16, 3, 1, 0, 1, *byte]).collect();
        let mut stream = open(server);
        stream.write_all(&fragments).unwrap();
        let mut tls = StreamOwned::new(connection, stream);
        let mut greeting = [0; 4];
        tls.read_exact(&mut greeting).expect("a hello in pieces is a hello");
        assert_eq!(&greeting, b"* OK");
    });
}

/// RUSTSEC-2024-0336: the end of the session directly behind the ClientHello, at the port for TLS and behind STARTTLS.
#[test]
fn an_end_behind_the_hello_costs_no_cpu() {
    under_attack(|server| {
        let close_notify = b"\x15\x03\x03\x00\x02\x01\x00";
        let streams: Vec<TcpStream> = (0..20)
            .map(|number| {
                let (_, bytes) = hello();
                let mut stream = if number % 2 == 0 { open(server) } else { behind_starttls(server) };
                stream.write_all(&[&bytes[..], close_notify].concat()).unwrap();
                stream
            })
            .collect();
        std::thread::sleep(Duration::from_millis(500));
        let before = ticks(server);
        std::thread::sleep(Duration::from_secs(1));
        let used = ticks(server) - before;
        // A loop takes all of a second, which are 100 ticks; the bystander takes a few.
        assert!(used < 60, "{used} ticks in a second in which nothing happens");
        drop(streams);
    });
}

fn behind_starttls(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.target.imap).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"a STARTTLS\r\n").unwrap();
    let mut text = Vec::new();
    let mut byte = [0; 1];
    while !(text.windows(4).any(|part| part == b"a OK") && text.ends_with(b"\r\n")) {
        stream.read_exact(&mut byte).unwrap();
        text.extend(byte);
    }
    stream
}

/// A second handshake inside a session, in plain text and of the session's own client: neither is run, and the session ends.
#[test]
fn there_is_no_second_handshake() {
    under_attack(|server| {
        let (connection, bytes) = hello();
        let mut stream = open(server);
        stream.write_all(&bytes).unwrap();
        let mut tls = StreamOwned::new(connection, stream);
        let mut greeting = [0; 4];
        tls.read_exact(&mut greeting).unwrap();
        tls.sock.write_all(&hello().1).unwrap();
        let mut rest = Vec::new();
        let _ = tls.read_to_end(&mut rest);
        assert!(!String::from_utf8_lossy(&rest).contains("a OK"));
        let mut last = [0; 1];
        assert!(!matches!(tls.sock.read(&mut last), Ok(1..)), "the session goes on behind a second hello");
    });
}

/// Plain text in front of the handshake and between its records, in all ways of cutting it.
#[test]
fn plain_text_never_crosses_into_tls() {
    under_attack(|server| {
        for (number, injected) in [
            "b LOGIN victim secret\r\n",
            "b LOGIN victim {6+}\r\nsecret\r\n",
            "b LOGIN victim {6}\r\n",
            "b LOGIN {6+}\r\nvictim",
            "b LOGIN {600+}\r\n",
            "b APPEND INBOX {100000+}\r\n",
            "b AUTHENTICATE PLAIN\r\n",
            "b AUTHENTICATE PLAIN AHZpY3RpbQBzZWNyZXQ=\r\n",
            "b ID (\"name\" \"injected\")\r\n",
            "b LOGIN victim secre",
            "b STARTTLS\r\n",
            "\r\n\r\n\r\n",
            "\n",
        ]
        .into_iter()
        .enumerate()
        {
            let mut wire = greeted(server.target.imap);
            wire.send(format!("a STARTTLS\r\n{injected}").as_bytes()).unwrap();
            wire.until("a").unwrap();
            wire.start_tls().unwrap_or_else(|error| panic!("{injected:?}: {error}"));
            let answers = wire.command("d", "NOOP").unwrap();
            assert_eq!(answers, ["d OK Done"], "{injected:?}");
            // The injected text's rest is no part of a command either.
            let answers = wire.command("e", &format!("LOGIN honest{number} secret")).unwrap();
            assert!(answers.len() == 1 && answers[0].starts_with("e OK"), "{injected:?}: {answers:?}");
        }
    });
}

/// NO STARTTLS: what the server says before TLS is forgotten by it too; nothing of the state of before is left.
#[test]
fn nothing_of_before_is_left_behind_starttls() {
    under_attack(|server| {
        let mut wire = greeted(server.target.imap);
        in_time(&mut wire, "ID (\"name\" \"of the attacker\")");
        wire.command("a", "STARTTLS").unwrap();
        wire.start_tls().unwrap();
        assert!(in_time(&mut wire, "STARTTLS").starts_with("b BAD"));
        assert!(in_time(&mut wire, "SELECT INBOX").starts_with("b BAD"));
        let capabilities = wire.command("c", "CAPABILITY").unwrap().join(" ");
        assert!(!capabilities.contains("STARTTLS") && !capabilities.contains("LOGINDISABLED"), "{capabilities}");
    });
}

/// Names in SNI cost nothing that stays, and none is refused for being odd (Dovecot: CVE-2017-15130).
#[test]
fn many_server_names_cost_nothing() {
    under_attack(|server| {
        let shake = |number: usize| {
            let name = ServerName::try_from(format!("{}{number}.example.org", "x".repeat(50))).unwrap();
            let connection = ClientConnection::new(Arc::new(trusting()), name).unwrap();
            let mut tls = StreamOwned::new(connection, open(server));
            let mut greeting = [0; 4];
            tls.read_exact(&mut greeting).unwrap();
        };
        (0..20).for_each(shake);
        let before = server.resident_bytes();
        (20..300).for_each(shake);
        let grown = super::resident_bytes(server).saturating_sub(before);
        assert!(grown < 4 << 20, "{grown} bytes for 280 names");
    });
}
