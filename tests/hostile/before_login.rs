//! What anybody can send.

use super::{Numbers, PER_CONNECTION, in_time, reply, resident_bytes, throw, under_attack};
use crate::support::client::greeted;
use crate::support::wire::Wire;

#[test]
fn unfinished_lines_cost_little() {
    under_attack(|server| {
        let before = server.resident_bytes();
        let open: Vec<Wire> = (0..100)
            .map(|number| {
                let mut wire = greeted(server.target.imap);
                let start = ["a LOGIN \"", "a ID (\"x\" \"", "", "a AUTHENTICATE PLAIN "][number % 4];
                let _ = wire.send(format!("{start}{}", "x".repeat(60_000)).as_bytes());
                wire
            })
            .collect();
        let grown = resident_bytes(server).saturating_sub(before) / 100;
        assert!(grown < PER_CONNECTION, "{grown} bytes a connection");
        drop(open);
    });
}

#[test]
fn an_endless_line_is_cut() {
    under_attack(|server| {
        let before = server.resident_bytes();
        let mut wire = greeted(server.target.imap);
        let chunk = vec![b'x'; 64 << 10];
        // 32 MiB; the server may close at any time.
        let sent = (0..512).take_while(|_| wire.send(&chunk).is_ok()).count();
        let grown = resident_bytes(server).saturating_sub(before);
        assert!(grown < 8 * PER_CONNECTION, "{grown} bytes after {sent} chunks");
    });
}

#[test]
fn an_endless_line_with_many_line_ends_is_not_answered_for_ever() {
    under_attack(|server| {
        let answers = throw(&server.target, "\r\n".repeat(5000).as_bytes());
        assert!(answers.len() < 1000, "{} answers", answers.len());
    });
}

#[test]
fn parentheses_and_braces() {
    under_attack(|server| {
        for text in ["(", "{", "[", "\"", "\\", "~{", "(((\"", "{1", "NOT "] {
            throw(&server.target, format!("a {}\r\n", text.repeat(20_000)).as_bytes());
            throw(&server.target, format!("a LOGIN {}\r\n", text.repeat(10_000)).as_bytes());
        }
    });
}

#[test]
fn many_literals_in_one_command() {
    under_attack(|server| {
        let before = server.resident_bytes();
        let mut command = b"a LOGIN".to_vec();
        for _ in 0..20_000 {
            command.extend(b" {10+}\r\n0123456789");
        }
        command.extend(b"\r\n");
        throw(&server.target, &command);
        let grown = resident_bytes(server).saturating_sub(before);
        assert!(grown < 8 * PER_CONNECTION, "{grown} bytes");
    });
}

#[test]
fn a_literal_before_login_is_small() {
    under_attack(|server| {
        let mut wire = greeted(server.target.imap);
        wire.send(b"a LOGIN {1000000}\r\n").unwrap();
        let answer = reply(&mut wire, "a").expect("an answer");
        assert!(answer.starts_with("a NO") || answer.starts_with("a BAD") || answer.starts_with("* BYE"), "{answer}");
        throw(&server.target, b"a LOGIN {1000000+}\r\n");
        throw(&server.target, b"a LOGIN {4294967295+}\r\nx");
        throw(&server.target, b"a LOGIN {18446744073709551615}\r\n");
        throw(&server.target, b"a LOGIN {18446744073709551616}\r\n");
        throw(&server.target, b"a LOGIN {-1}\r\n");
    });
}

#[test]
fn append_before_login_takes_nothing() {
    under_attack(|server| {
        let before = server.resident_bytes();
        let mut wire = greeted(server.target.imap);
        wire.send(b"a APPEND INBOX {60000000}\r\n").unwrap();
        let answer = reply(&mut wire, "a").expect("an answer without the literal");
        assert!(answer.starts_with("a NO") || answer.starts_with("a BAD") || answer.starts_with("* BYE"), "{answer}");
        let mut wire = greeted(server.target.imap);
        let _ = wire.send(b"a APPEND INBOX {60000000+}\r\n");
        let chunk = vec![b'x'; 64 << 10];
        let _ = (0..900).take_while(|_| wire.send(&chunk).is_ok()).count();
        let grown = resident_bytes(server).saturating_sub(before);
        assert!(grown < 8 * PER_CONNECTION, "{grown} bytes");
    });
}

#[test]
fn id_with_very_many_fields() {
    under_attack(|server| {
        throw(&server.target, format!("a ID ({}\"x\" \"y\")\r\n", "\"k\" \"v\" ".repeat(10_000)).as_bytes());
        throw(&server.target, format!("a ID ({})\r\n", "(".repeat(10_000)).as_bytes());
    });
}

#[test]
fn nul_and_other_bytes_in_names() {
    under_attack(|server| {
        for text in ["\"a\0b\"", "\"\0\"", "\"\\\0\"", "\"\u{80}\u{ff}\"", "{3+}\r\na\0b", "\"a\rb\"", "\"a\nb\""] {
            throw(&server.target, format!("a LOGIN {text} secret\r\nb LOGIN x {text}\r\n").as_bytes());
        }
        throw(&server.target, b"a LOGIN \"\xff\xfe\xc3\x28\" \"\xf0\x28\x8c\x28\"\r\n");
        throw(&server.target, "a LOGIN \"%s%n%u${jndi:ldap://x}\" \"' OR 1=1 --\"\r\n".as_bytes());
    });
}

#[test]
fn sasl_that_is_broken_off() {
    under_attack(|server| {
        let before = server.resident_bytes();
        for round in 0..200 {
            let mut wire = greeted(server.target.imap);
            wire.send(b"a AUTHENTICATE PLAIN\r\n").unwrap();
            wire.until("+").unwrap();
            let end: &[u8] = [&b"*\r\n"[..], b"!!!!\r\n", b"AA\tAA=\r\n", b"", b"\r\n", b"AAAA"][round % 6];
            let _ = wire.send(end);
        }
        let grown = resident_bytes(server).saturating_sub(before);
        assert!(grown < 200 * PER_CONNECTION / 4, "{grown} bytes");
        let mut wire = greeted(server.target.imap);
        wire.send(format!("a AUTHENTICATE PLAIN {}\r\n", "A".repeat(1_000_000)).as_bytes()).ok();
        reply(&mut wire, "a");
    });
}

#[test]
fn other_protocols() {
    under_attack(|server| {
        let http = throw(
            &server.target,
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\na LOGIN bystander secret\r\nb NOOP\r\n",
        );
        let text: Vec<String> = http.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect();
        assert!(!text.iter().any(|line| line.starts_with("a OK")), "an HTTP request logged in: {text:?}");
        throw(&server.target, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
        throw(&server.target, b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n");
        throw(&server.target, b"\0\0\0\0\0\0\0\0");
    });
}

#[test]
fn starttls_runs_nothing_that_came_in_plain_text() {
    under_attack(|server| {
        let mut wire = greeted(server.target.imap);
        wire.send(b"a STARTTLS\r\nb LOGIN victim secret\r\nc NOOP\r\n").unwrap();
        wire.until("a").unwrap();
        wire.start_tls().expect("TLS after STARTTLS");
        let answers = wire.command("d", "NOOP").unwrap();
        assert!(answers.iter().all(|answer| !answer.starts_with("b ") && !answer.starts_with("c ")), "{answers:?}");
        let answer = in_time(&mut wire, "SELECT INBOX");
        assert!(answer.starts_with("b BAD"), "the injected LOGIN was run: {answer}");
    });
}

#[test]
fn noise() {
    under_attack(|server| {
        let words: [&[u8]; 24] = [
            b"a ",
            b"LOGIN ",
            b"AUTHENTICATE PLAIN",
            b"\r\n",
            b"\n",
            b"\r",
            b"\"",
            b"{5}",
            b"{3+}\r\n",
            b"~{2}\r\n",
            b"(",
            b")",
            b"*",
            b"\0",
            b"\xff",
            b"ID ",
            b"NIL",
            b"STARTTLS",
            b"CAPABILITY",
            b"=",
            b"AAAA",
            b" ",
            b"[",
            b"\\",
        ];
        let mut numbers = Numbers(0x5eed);
        for _ in 0..60 {
            let mut line = Vec::new();
            for _ in 0..numbers.next(40) {
                line.extend(words[numbers.next(words.len())]);
            }
            let bytes: Vec<u8> = line.into_iter().filter(|_| numbers.next(50) > 0).collect();
            let mut wire = greeted(server.target.imap);
            let _ = wire.send(&bytes);
        }
    });
}
