//! Many peers, and slow ones.

use std::io::Write as _;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use super::{connect, logged_in, resident_bytes, under_attack};
use crate::support::wire::Wire;

#[test]
fn a_flood_of_connections() {
    under_attack(|server| {
        let mut established = logged_in(&server.target, "established");
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

#[test]
fn slow_logins_do_not_block_others() {
    under_attack(|server| {
        let target = server.target.clone();
        let attackers: Vec<_> = (0..20)
            .map(|number| {
                let target = target.clone();
                thread::spawn(move || {
                    let mut wire = connect(&target);
                    let _ = wire.command("a", &format!("LOGIN user{number} wrong"));
                })
            })
            .collect();
        // One that never sends its password.
        let mut stalled = connect(&target);
        stalled.send(b"a LOGIN x {6}\r\n").unwrap();
        let start = Instant::now();
        logged_in(&target, "honest").command("z", "LOGOUT").unwrap();
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        for attacker in attackers {
            attacker.join().unwrap();
        }
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
        let mut wire = connect(&server.target);
        for byte in b"a LOGIN slow secret\r\n" {
            wire.send(&[*byte]).unwrap();
            thread::sleep(Duration::from_millis(5));
        }
        assert!(wire.until("a").unwrap().last().unwrap().starts_with("a OK"));
    });
}
