//! What peers say is shown to people: in the trace, by `who` and by `log`. None of it may write lines or move a terminal's cursor, and no secret may be in it.

use std::process::Command;

use super::lmtp::Conversation;
use super::{throw, under_attack_on_disk};
use crate::support::client::greeted;
use crate::support::server::Server;

/// A line of its own, sequences of a terminal (with ESC, and with the one character that Unicode has for it), a changed reading direction.
const EVIL: &str = "x\r\nts=1 level=error FORGED \u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}2J\u{7f}\u{202e}\u{8}y";
const SECRET: &str = "hunter2-is-my-password";

fn literal(text: &str) -> String {
    format!("{{{}+}}\r\n{text}", text.len())
}

fn attack(server: &Server) {
    let evil = literal(EVIL);
    for command in [
        format!("{EVIL} NOOP\r\n"),
        "\u{1b}[2J NOOP\r\n".to_owned(),
        format!("a {EVIL}\r\n"),
        format!("a LOGIN {evil} {SECRET}\r\n"),
        format!("a LOGIN bystander {}\r\n", literal(SECRET)),
        format!("a LOGIN {SECRET} x\r\n"),
        format!("a AUTHENTICATE {EVIL}\r\n"),
        format!("a AUTHENTICATE PLAIN\r\n{SECRET}\r\n"),
        format!("a ID (\"name\" {evil} {evil} \"x\")\r\n"),
        format!("a SELECT {evil}\r\n"),
        "a ID (\"name\" \"\u{1b}[31m\u{9b}1m\")\r\n".to_owned(),
    ] {
        throw(&server.target, command.as_bytes());
    }
    let mut conversation = Conversation::open(server);
    for line in [
        "LHLO x\u{1b}[2J",
        "LHLO x",
        "MAIL FROM:<\"\u{1b}[2J\"@x>",
        "MAIL FROM:<a@x>",
        "RCPT TO:<\u{9b}2J>",
        "RCPT TO:<\u{202e}x>",
    ] {
        conversation.say_bytes(format!("{line}\r\n").as_bytes());
    }
}

/// A session that stays, with odd names for everything.
fn odd_session(server: &Server) -> crate::support::wire::Wire {
    let mut wire = greeted(server.target.imap);
    let _ = wire.send(format!("i ID (\"name\" {} \"os\" \"\u{9b}2J\")\r\n", literal(EVIL)).as_bytes());
    wire.until("i").unwrap();
    let replies = wire.command("a", "LOGIN odd secret").unwrap();
    assert!(replies.last().unwrap().starts_with("a OK"), "{replies:?}");
    for (number, name) in ["&ABs-[2J", "&AJs-2J", "&IC4-x", "a b\\\\\\\"c", "%n{1}", "&AAo-x"].iter().enumerate() {
        wire.command(&format!("~!@#$[]_{number}"), &format!("CREATE \"{name}\"")).unwrap();
        wire.command("s", &format!("SUBSCRIBE \"{name}\"")).unwrap();
    }
    wire.send(format!("i ID (\"version\" {})\r\n", literal(EVIL)).as_bytes()).unwrap();
    wire.until("i").unwrap();
    let message = format!("Subject: {EVIL}\r\n\r\n{SECRET}\r\n");
    wire.send(format!("a APPEND INBOX (k{{}}\\Seen) {}\r\n", literal(&message)).as_bytes()).unwrap();
    wire.until("a").unwrap();
    wire.send(format!("a APPEND INBOX (\\Seen $x^y) {}\r\n", literal(&message)).as_bytes()).unwrap();
    wire.until("a").unwrap();
    wire
}

fn check(what: &str, text: &str) {
    let shown = |character: char| character != '\n' && (character.is_control() || ('\u{202a}'..='\u{202e}').contains(&character));
    if let Some(place) = text.find(shown) {
        let around: String = text[..place].chars().rev().take(100).collect::<Vec<_>>().into_iter().rev().collect();
        panic!("{what} holds {:?} behind {around:?}", text[place..].chars().next());
    }
    assert!(!text.contains(SECRET), "{what} holds a password");
    assert!(!text.lines().any(|line| line.starts_with("ts=1 ")), "{what} holds a forged line");
}

fn ask(server: &Server, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_carillon")).args(arguments).arg("--data").arg(server.data()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn nothing_that_is_shown_is_a_command_to_a_terminal() {
    for format in ["logfmt", "json"] {
        let settings = [format!("trace_format={format}"), "trace_filter=trace,sled=info,mio=info,polling=info".to_owned()];
        under_attack_on_disk(&["odd"], &[&settings[0], &settings[1]], |server| {
            attack(server);
            let wire = odd_session(server);
            let who = ask(server, &["who"]);
            assert!(who.contains("odd") && who.contains("version="), "{who}");
            check("who", &who);
            check("who --json", &ask(server, &["who", "--json"]));
            for output in ["short", "json"] {
                let log = ask(server, &["log", "show", "*", "-o", output]);
                assert!(log.contains("session_identified") && log.contains("mailbox_created"), "{log}");
                check(&format!("log show -o {output}"), &log);
                check("log list", &ask(server, &["log", "list", "-o", output]));
            }
            let trace = server.stderr();
            assert!(trace.contains("FORGED"), "{format}: the trace names clients");
            check(&format!("the trace as {format}"), &trace);
            let start = if format == "json" { "{" } else { "ts=" };
            let forged: Vec<&str> = trace.lines().filter(|line| !line.starts_with(start)).collect();
            assert!(forged.is_empty(), "{forged:?}");
            drop(wire);
        });
    }
}

/// What a peer says of itself again and again does not fill the disk with traces.
#[test]
fn the_trace_of_a_stranger_is_bounded() {
    under_attack_on_disk(&[], &[], |server| {
        let mut wire = greeted(server.target.imap);
        let before = server.stderr().len();
        for number in 0..300 {
            let value = format!("{number}{}", "x".repeat(1000));
            let answers =
                wire.command("a", &format!("ID (\"name\" \"{value}\" \"os\" \"{value}\" \"vendor\" \"{value}\")")).unwrap();
            assert!(answers.last().unwrap().starts_with("a OK"));
        }
        let written = server.stderr().len() - before;
        assert!(written < 10_000, "{written} bytes of trace for 300 times ID");
    });
}
