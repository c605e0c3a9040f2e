//! What takes long for one client makes nobody else wait: SEARCH TEXT, SORT and THREAD over 10,000 messages, and another session's NOOP meanwhile
//! (docs/architecture.md).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::disk::say;
use support::server::{PASSWORD, Server};
use support::wire::{PATIENCE, Wire};

const MESSAGES: usize = 10_000;

/// What another session may wait, in a build without optimisation.
const BOUND: Duration = Duration::from_millis(100);

/// A machine that does something else may make one round slow.
const ROUNDS: usize = 3;

fn write_mbox(path: &Path) {
    let mut text = String::new();
    for number in 0..MESSAGES {
        let line = format!("This is line {number} of a letter that says little, but says it often enough.\n");
        text.push_str(&format!(
            "From a@example.org Mon Jan 12 10:00:00 2026\nFrom: Person {} <p{}@example.org>\nTo: alice@example.org\nSubject: Letter {}\n\
             Message-ID: <{number}@example.org>\nReferences: <{}@example.org>\nDate: Mon, 12 Jan 2026 10:{:02}:{:02} +0000\n\n{}\n",
            number % 97,
            number % 97,
            number % 1000,
            number / 3,
            number / 60 % 60,
            number % 60,
            line.repeat(20)
        ));
    }
    std::fs::write(path, text).unwrap();
}

fn selected(server: &Server) -> Wire {
    let mut wire = Wire::connect(server.target.imap).unwrap();
    wire.until("*").unwrap();
    for command in [format!("LOGIN alice {PASSWORD}"), "SELECT INBOX".to_owned()] {
        let replies = wire.command("k", &command).unwrap();
        assert!(replies.last().unwrap().starts_with("k OK"), "{command}: {replies:?}");
    }
    wire
}

/// The waits of a bystander while a command runs, sorted, and how long the command took.
fn waits(searcher: &mut Wire, bystander: &mut Wire, command: &str) -> (Vec<Duration>, Duration) {
    let begun = Instant::now();
    searcher.send(format!("s {command}\r\n").as_bytes()).unwrap();
    let mut waits = Vec::new();
    loop {
        let sent = Instant::now();
        bystander.command("n", "NOOP").unwrap();
        waits.push(sent.elapsed());
        bystander.history.clear();
        let Ok(response) = searcher.response(Duration::from_millis(1)) else {
            assert!(begun.elapsed() < 8 * PATIENCE, "{command} takes too long");
            continue;
        };
        if response.starts_with(b"s ") {
            assert!(response.starts_with(b"s OK"), "{}", String::from_utf8_lossy(&response));
            break;
        }
    }
    searcher.history.clear();
    waits.sort();
    (waits, begun.elapsed())
}

#[test]
fn a_search_through_ten_thousand_messages_makes_nobody_wait() {
    let server = Server::on_disk(&["alice"], &[]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mbox = directory.path().join("mbox");
    write_mbox(&mbox);
    let mut import = Command::new(env!("CARGO_BIN_EXE_carillon"));
    import.args(["import", "mbox"]).arg(&mbox).args(["alice", "--data"]).arg(server.data());
    assert!(import.stdout(Stdio::null()).status().unwrap().success());
    let (mut searcher, mut bystander) = (selected(&server), selected(&server));
    for command in [
        "SEARCH TEXT \"nobody wrote this\"",
        "SEARCH OR BODY \"nobody\" TEXT \"wrote this\"",
        "SORT (SUBJECT REVERSE DATE FROM) UTF-8 ALL",
        "THREAD REFERENCES UTF-8 ALL",
        "FETCH 1:* (ENVELOPE BODYSTRUCTURE)",
    ] {
        let mut report = String::new();
        let is_quick = (0..ROUNDS).any(|_| {
            let (waits, took) = waits(&mut searcher, &mut bystander, command);
            let (median, worst) = (waits[waits.len() / 2], waits[waits.len() - 1]);
            report = format!("{command} took {took:?}; {} NOOPs meanwhile, median {median:?}, worst {worst:?}", waits.len());
            worst < BOUND
        });
        assert!(is_quick, "{report}");
        say(&report);
    }
}
