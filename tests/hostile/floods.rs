//! Many peers, and slow ones.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use super::{resident_bytes, under_attack, under_attack_on_disk};
use crate::support::client::{greeted, logged_in};
use crate::support::wire::{PATIENCE, Wire};

#[test]
fn a_flood_of_connections() {
    under_attack(|server| {
        let mut established = logged_in(server.target.imap, "established");
        let before = server.resident_bytes();
        let open: Vec<TcpStream> = (0..600).filter_map(|_| TcpStream::connect(server.target.imap).ok()).collect();
        established.command("a", "NOOP").expect("who was there before is served");
        let grown = resident_bytes(server).saturating_sub(before);
        assert!(grown < 600 << 20 >> 2, "{grown} bytes for {} connections", open.len());
        drop(open);
        let end = Instant::now() + Duration::from_secs(10);
        while Wire::connect(server.target.imap).ok().is_none_or(|mut wire| wire.until("*").is_err()) {
            assert!(Instant::now() < end, "no connection is taken 10 s after the flood");
        }
    });
}

/// The last places are taken: who comes is told so, who is there is served, and a place that is free again is given.
#[test]
fn connections_beyond_the_limit_are_told_so() {
    under_attack_on_disk(&[], &["connections=40", "connections_per_address=40"], |server| {
        let mut open: Vec<Wire> = (0..39).map(|_| greeted(server.target.imap)).collect();
        for _ in 0..50 {
            let mut refused = Wire::connect(server.target.imap).unwrap();
            let answer = refused.response(PATIENCE).unwrap();
            assert!(answer.starts_with(b"* BYE [UNAVAILABLE] "), "{}", String::from_utf8_lossy(&answer));
            assert!(refused.is_closed(PATIENCE));
            let mut reply = String::new();
            TcpStream::connect(server.target.lmtp.unwrap()).unwrap().read_to_string(&mut reply).unwrap();
            assert!(reply.starts_with("421 4.3.2 "), "{reply}");
            let mut nothing = Vec::new();
            TcpStream::connect(server.target.imaps.unwrap()).unwrap().read_to_end(&mut nothing).unwrap();
            assert!(nothing.is_empty());
        }
        open.truncate(20);
        let end = Instant::now() + Duration::from_secs(5);
        while Wire::connect(server.target.imap).unwrap().until("*").unwrap()[0].starts_with("* BYE") {
            assert!(Instant::now() < end, "places that are free are not given");
        }
        open.clear();
    });
}

#[test]
fn silent_tls_handshakes() {
    under_attack(|server| {
        let imaps = server.target.imaps.expect("the address with TLS");
        let silent: Vec<TcpStream> = (0..60).filter_map(|_| TcpStream::connect(imaps).ok()).collect();
        let half: Vec<TcpStream> = (0..60)
            .filter_map(|_| {
                let mut stream = TcpStream::connect(imaps).ok()?;
                stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00").ok()?;
                Some(stream)
            })
            .collect();
        let start = Instant::now();
        let mut wire = Wire::connect(imaps).unwrap();
        wire.start_tls().expect("a client that shakes hands is served");
        wire.until("*").unwrap();
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
        drop((silent, half));
    });
}

#[test]
fn tls_that_breaks_off() {
    under_attack(|server| {
        let imaps = server.target.imaps.expect("the address with TLS");
        for round in 0..100_usize {
            let Ok(mut stream) = TcpStream::connect(imaps) else { continue };
            let hello = b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03\x15\x03\x01\x00\x02\x01\x00";
            let _ = stream.write_all(&hello[..round % hello.len()]);
            let _ = stream.write_all(b"\x15\x03\x03\x00\x02\x01\x00");
        }
    });
}

/// Real hashes, each of which takes a core for a while; names and passwords that never come; handshakes that stall.
#[test]
fn slow_logins_do_not_block_others() {
    under_attack_on_disk(&["honest"], &[], |server| {
        let target = server.target.clone();
        let stalled: Vec<Wire> = (0..40)
            .map(|number| {
                let mut wire = greeted(target.imap);
                let starts = ["a LOGIN x {6}\r\n", "a AUTHENTICATE PLAIN\r\n", "a LOGIN \"", "a STARTTLS\r\n"];
                wire.send(starts[number % 4].as_bytes()).unwrap();
                wire
            })
            .collect();
        let imaps = target.imaps.unwrap();
        let handshakes: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(imaps).unwrap()).collect();
        let attackers: Vec<_> = (0..60)
            .map(|number| {
                let target = target.clone();
                thread::spawn(move || {
                    let mut wire = greeted(target.imap);
                    let user = ["honest", "nobody"][number % 2];
                    let _ = wire.command("a", &format!("LOGIN {user} wrong"));
                })
            })
            .collect();
        let start = Instant::now();
        logged_in(target.imap, "honest").command("z", "LOGOUT").unwrap();
        assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
        for attacker in attackers {
            attacker.join().unwrap();
        }
        drop((stalled, handshakes));
    });
}

#[test]
fn a_client_that_never_reads() {
    under_attack(|server| {
        let before = server.resident_bytes();
        let mut wire = super::with_message(&server.target, "deaf", &b"0123456789abcde\n".repeat(65_536));
        // 200 MiB of answers that nobody reads.
        for number in 0..200 {
            if wire.send(format!("f{number} FETCH 1 BODY.PEEK[]\r\n").as_bytes()).is_err() {
                break;
            }
        }
        thread::sleep(Duration::from_millis(500));
        let grown = resident_bytes(server).saturating_sub(before);
        assert!(grown < 48 << 20, "{grown} bytes for a client that doesn't read");
    });
}

#[test]
fn a_client_that_sends_byte_by_byte() {
    under_attack(|server| {
        let mut wire = greeted(server.target.imap);
        for byte in b"a LOGIN slow secret\r\n" {
            wire.send(&[*byte]).unwrap();
            thread::sleep(Duration::from_millis(5));
        }
        assert!(wire.until("a").unwrap().last().unwrap().starts_with("a OK"));
    });
}
