//! What anybody with an account can send.

use super::{Numbers, in_time, reply, resident_bytes, under_attack, with_message};
use crate::support::client::logged_in;

#[test]
fn list_patterns_that_backtrack() {
    under_attack(|server| {
        let mut wire = logged_in(server.target.imap, "patterns");
        in_time(&mut wire, &format!("CREATE {}", "a".repeat(200)));
        in_time(&mut wire, &format!("CREATE {}", "a/".repeat(30) + "a"));
        for part in ["*a", "%a", "*%", "a*", "*", "%", "*a%a", "*/%/"] {
            in_time(&mut wire, &format!("LIST \"\" \"{}b\"", part.repeat(300)));
            in_time(&mut wire, &format!("LSUB \"{}\" \"{}b\"", part.repeat(50), part.repeat(250)));
        }
    });
}

#[test]
fn searches_without_end() {
    under_attack(|server| {
        let mut wire = with_message(&server.target, "search", b"Subject: x\r\n\r\nbody\r\n");
        for (open, close) in [("(", ")"), ("NOT ", ""), ("OR ALL ", ""), ("OR (", ") ALL"), ("UID 1 ", "")] {
            let answer = in_time(&mut wire, &format!("SEARCH {}ALL{}", open.repeat(5000), close.repeat(5000)));
            assert!(answer.starts_with("b "), "{answer}");
            in_time(&mut wire, "NOOP");
        }
        in_time(&mut wire, &format!("SEARCH {}", "1:*,".repeat(10_000) + "1"));
        in_time(&mut wire, &format!("UID FETCH {} FLAGS", "1:4294967295,".repeat(4_000) + "1"));
        in_time(&mut wire, &format!("SORT ({}) UTF-8 ALL", "REVERSE ".repeat(5000) + "DATE"));
        in_time(&mut wire, &format!("SORT ({}) UTF-8 ALL", "SUBJECT ".repeat(5000).trim_end()));
    });
}

#[test]
fn fetches_without_end() {
    under_attack(|server| {
        let mut wire = with_message(&server.target, "fetch", b"Subject: x\r\n\r\nbody\r\n");
        in_time(&mut wire, &format!("FETCH 1 ({})", "BODY.PEEK[] ".repeat(5000).trim_end()));
        in_time(&mut wire, &format!("FETCH 1 BODY.PEEK[{}]", "1.".repeat(5000) + "1"));
        in_time(&mut wire, &format!("FETCH 1 BODY.PEEK[HEADER.FIELDS ({})]", "Subject ".repeat(5000).trim_end()));
        in_time(&mut wire, "FETCH 1 BODY.PEEK[]<4294967295.4294967295>");
        in_time(&mut wire, "FETCH 1 BODY.PEEK[4294967295.4294967295]");
        in_time(&mut wire, "FETCH 1 BODY.PEEK[99999999999999999999]");
        in_time(&mut wire, "FETCH 4294967295:4294967295 FLAGS");
        in_time(&mut wire, "FETCH 99999999999 FLAGS");
    });
}

#[test]
fn many_literals_after_login() {
    under_attack(|server| {
        let before = server.resident_bytes();
        let mut wire = logged_in(server.target.imap, "literals");
        let mut command = b"a SEARCH".to_vec();
        for _ in 0..100_000 {
            command.extend(b" SUBJECT {10+}\r\n0123456789");
        }
        command.extend(b"\r\n");
        let _ = wire.send(&command);
        reply(&mut wire, "a");
        let grown = resident_bytes(server).saturating_sub(before);
        assert!(grown < 32 << 20, "{grown} bytes");
    });
}

#[test]
fn many_keywords_and_flags() {
    under_attack(|server| {
        let mut wire = with_message(&server.target, "flags", b"Subject: x\r\n\r\n");
        let flags: Vec<String> = (0..5000).map(|number| format!("k{number}")).collect();
        in_time(&mut wire, &format!("STORE 1 +FLAGS ({})", flags.join(" ")));
        in_time(&mut wire, &format!("STORE 1 +FLAGS ({})", "x".repeat(50_000)));
        in_time(&mut wire, "FETCH 1 FLAGS");
    });
}

#[test]
fn many_mailboxes_with_odd_names() {
    under_attack(|server| {
        let mut wire = logged_in(server.target.imap, "names");
        for name in [
            "..",
            "../../etc/passwd",
            "/etc/passwd",
            "a\\\\b",
            "&AAA-",
            "&2AA-",
            "&3AA-",
            "&-&-&-",
            "NIL",
            "{5}",
            "~",
            "con.",
            "a\u{7f}",
        ] {
            in_time(&mut wire, &format!("CREATE \"{name}\""));
            in_time(&mut wire, &format!("SUBSCRIBE \"{name}\""));
            in_time(&mut wire, &format!("RENAME \"{name}\" \"{name}x\""));
            in_time(&mut wire, "LIST \"\" *");
            in_time(&mut wire, "LSUB \"\" %");
        }
    });
}

#[test]
fn noise_after_login() {
    under_attack(|server| {
        let words = [
            "SELECT ",
            "INBOX",
            " ",
            "FETCH ",
            "1",
            ":",
            "*",
            ",",
            "(",
            ")",
            "BODY[",
            "]",
            "HEADER.FIELDS ",
            "<0.5>",
            "STORE ",
            "+FLAGS",
            "\\Seen",
            "SEARCH ",
            "OR ",
            "NOT ",
            "UID ",
            "{2+}\r\n",
            "\"",
            "MOVE ",
            "COPY ",
            "APPEND ",
            "SORT ",
            "THREAD ",
            "REFERENCES ",
            "UTF-8 ",
            "STATUS ",
            "LIST ",
            "\"\" ",
            "BINARY[",
            "RENAME ",
            "0",
            "4294967295",
        ];
        let mut numbers = Numbers(0xc0ffee);
        for round in 0..10 {
            let mut wire = with_message(&server.target, &format!("noise{round}"), b"Subject: x\r\n\r\nbody\r\n");
            for _ in 0..18 {
                let line: String = (0..1 + numbers.next(12)).map(|_| words[numbers.next(words.len())]).collect();
                let _ = wire.send(format!("a {line}\r\n").as_bytes());
            }
            let _ = wire.send(b"\r\n\r\nlast NOOP\r\n");
            reply(&mut wire, "last");
        }
    });
}

/// A limit of the configuration ends a command, not the session, and what was refused left nothing.
#[test]
fn literals_of_every_length_that_no_number_has() {
    under_attack(|server| {
        for length in [
            "4294967295",
            "4294967296",
            "9223372036854775807",
            "18446744073709551615",
            "18446744073709551616",
            "-1",
            "0x10",
            "1e9",
            " 1",
            "",
        ] {
            for plus in ["", "+"] {
                let mut wire = logged_in(server.target.imap, "lengths");
                let _ = wire.send(format!("a APPEND INBOX {{{length}{plus}}}\r\nx\r\n").as_bytes());
                let answer = reply(&mut wire, "a").unwrap_or_default();
                assert!(!answer.starts_with("a OK"), "{length}{plus}: {answer}");
            }
        }
        let mut wire = logged_in(server.target.imap, "lengths");
        assert_eq!(wire.command("s", "STATUS INBOX (MESSAGES)").unwrap()[0], "* STATUS INBOX (MESSAGES 0)");
    });
}

/// What a client may not have (a part in an unknown encoding) it may ask for as often as it likes: that is no fault of ours to be traced.
#[test]
fn what_is_refused_fills_no_trace() {
    under_attack(|server| {
        let message = b"Content-Transfer-Encoding: x-rot13\r\n\r\nuryyb\r\n";
        let mut wire = with_message(&server.target, "refused", message);
        let before = server.stderr().len();
        for _ in 0..300 {
            assert!(in_time(&mut wire, "FETCH 1 BINARY.PEEK[1]").starts_with("b NO [UNKNOWN-CTE]"));
        }
        let written = server.stderr().len() - before;
        assert!(written < 1_000, "{written} bytes of trace for 300 refusals");
    });
}
