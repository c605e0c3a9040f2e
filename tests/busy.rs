//! What takes long for one client, or for many at once, makes nobody else wait: SEARCH, SORT, THREAD, SCAN and FETCH over 10,000 messages, and what
//! another session does meanwhile (docs/actors.md, Threads).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use support::client::{logged_in, ok};
use support::disk::say;
use support::server::Server;
use support::wire::{PATIENCE, Wire};

const MESSAGES: usize = 10_000;

/// What another session may wait, in a build without optimisation.
const BOUND: Duration = Duration::from_millis(100);

/// These tests measure: one at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

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

/// alice with ten thousand messages, bob with one, which is all that he looks at.
fn server() -> Server {
    let server = Server::on_disk(&["alice", "bob"], &[]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mbox = directory.path().join("mbox");
    write_mbox(&mbox);
    let mut import = Command::new(env!("CARGO_BIN_EXE_carillon"));
    import.args(["import", "mbox"]).arg(&mbox).args(["alice", "--data"]).arg(server.data());
    assert!(import.stdout(Stdio::null()).status().unwrap().success());
    let mut bob = logged_in(server.target.imap, "bob");
    append(&mut bob, b"Subject: x\r\n\r\nhello\r\n");
    server
}

fn selected(server: &Server, user: &str) -> Wire {
    let mut wire = logged_in(server.target.imap, user);
    done(&mut wire, "SELECT INBOX");
    wire
}

/// A command that succeeds; how long it took.
fn done(wire: &mut Wire, command: &str) -> Duration {
    let begun = Instant::now();
    ok(wire, command);
    begun.elapsed()
}

fn append(wire: &mut Wire, message: &[u8]) {
    let announcement = format!("k APPEND INBOX {{{}+}}\r\n", message.len());
    wire.send(&[announcement.as_bytes(), message, b"\r\n"].concat()).unwrap();
    assert!(wire.until("k").unwrap().last().unwrap().starts_with("k OK"));
}

/// What somebody does who is in no way to blame.
const LITTLE: [&str; 6] = [
    "NOOP",
    "FETCH 1 (FLAGS)",
    "FETCH 1 (ENVELOPE BODY.PEEK[])",
    "STATUS Sent (MESSAGES)",
    "STORE 1 +FLAGS (\\Flagged)",
    "SEARCH FLAGGED SUBJECT x",
];

/// The waits of a bystander as long as `goes_on`, the longest last.
fn waits(bystander: &mut Wire, mut goes_on: impl FnMut() -> bool) -> Vec<Wait> {
    let mut waits = Vec::new();
    for command in LITTLE.into_iter().cycle() {
        waits.push((done(bystander, command), command));
        if waits.len() >= LITTLE.len() && !goes_on() {
            break;
        }
    }
    waits.sort();
    waits
}

type Wait = (Duration, &'static str);

fn nearly_longest(waits: &[Wait]) -> Wait {
    waits[waits.len() * 99 / 100]
}

fn are_bounded(waits: &[Wait]) -> bool {
    nearly_longest(waits).0 < BOUND && waits[waits.len() - 1].0 < 10 * BOUND
}

fn described(waits: &[Wait]) -> String {
    let (median, longest) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    format!(
        "{} short commands meanwhile: median {median:?}, 99 of 100 {:?}, longest {longest:?}",
        waits.len(),
        nearly_longest(waits)
    )
}

/// So many do this at once, and a bystander waits no longer than he may in one of the rounds; but for one time in a hundred where they are more than
/// there are processors, for then the kernel lets threads wait too.
fn nobody_waits_for(server: &Server, bystander: &mut Wire, count: usize, command: &str) {
    let mut report = String::new();
    let is_quick = (0..ROUNDS).any(|_| {
        let searchers: Vec<Wire> = (0..count).map(|_| selected(server, "alice")).collect();
        let begun = Instant::now();
        let search = |mut searcher: Wire| {
            let command = command.to_owned();
            thread::spawn(move || done(&mut searcher, &command))
        };
        let searches: Vec<_> = searchers.into_iter().map(search).collect();
        let waits = waits(bystander, || searches.iter().any(|search| !search.is_finished()));
        for search in searches {
            search.join().unwrap();
        }
        report = format!("{count} times {command} took {:?}; {}", begun.elapsed(), described(&waits));
        if count == 1 { waits[waits.len() - 1].0 < BOUND } else { are_bounded(&waits) }
    });
    assert!(is_quick, "{report}");
    say(&report);
}

#[test]
fn what_takes_long_makes_nobody_wait() {
    let _alone = alone();
    let server = server();
    let mut bystander = selected(&server, "bob");
    for command in [
        "SEARCH TEXT \"nobody wrote this\"",
        "SEARCH OR BODY \"nobody\" TEXT \"wrote this\"",
        "SORT (SUBJECT REVERSE DATE FROM) UTF-8 ALL",
        "THREAD REFERENCES UTF-8 ALL",
        "FETCH 1:* (ENVELOPE BODYSTRUCTURE)",
        "FETCH 1:* (BINARY.SIZE[1])",
        "SCAN \"\" * \"nobody wrote this\"",
    ] {
        nobody_waits_for(&server, &mut bystander, 1, command);
    }
    for command in ["SEARCH TEXT \"nobody wrote this\"", "FETCH 1:* (BINARY.SIZE[1])"] {
        nobody_waits_for(&server, &mut bystander, 8, command);
    }
}

/// A key of a thousand texts, none of which is there.
fn a_thousand_keys() -> String {
    let keys = (0..1_000).map(|number| format!(" NOT TEXT \"nobody wrote {number}\"")).collect::<String>();
    // NOT counts as a key too.
    format!("SEARCH{}", &keys[..keys.match_indices(" NOT").nth(500).unwrap().0])
}

#[test]
fn nobody_waits_for_who_has_asked_much_and_gone() {
    let _alone = alone();
    let server = server();
    let mut bystander = selected(&server, "bob");
    let sessions = || {
        let mut who = Command::new(env!("CARGO_BIN_EXE_carillon"));
        let output = who.args(["who", "--data"]).arg(server.data()).output().unwrap();
        String::from_utf8(output.stdout).unwrap().matches("alice").count()
    };
    for _ in 0..3 {
        let mut searcher = selected(&server, "alice");
        searcher.send(format!("s {}\r\n", a_thousand_keys()).repeat(40).as_bytes()).unwrap();
    }
    assert_eq!(sessions(), 3);
    let begun = Instant::now();
    let waits = waits(&mut bystander, || begun.elapsed() < 2 * PATIENCE && sessions() > 0);
    say(&format!("gone after {:?}; {}", begun.elapsed(), described(&waits)));
    assert_eq!(sessions(), 0, "they are still searched for");
    assert!(are_bounded(&waits), "{}", described(&waits));
}

#[test]
fn a_message_is_decoded_once_for_all_keys() {
    let _alone = alone();
    let server = Server::memory(&[]).unwrap();
    let mut wire = logged_in(server.target.imap, "alice");
    let lines = "VGhpcyBpcyBhIGxpbmUgb2YgYmFzZTY0IHRoYXQgc2F5cyBsaXR0bGUgb2Z0ZW4u\r\n".repeat(60_000);
    let header = "Content-Type: text/plain; charset=windows-1252\r\nContent-Transfer-Encoding: base64\r\n\r\n";
    append(&mut wire, format!("{header}{lines}").as_bytes());
    done(&mut wire, "SELECT INBOX");
    let one = done(&mut wire, "SEARCH TEXT \"nobody wrote this\"");
    let many = done(&mut wire, &a_thousand_keys());
    say(&format!("one key takes {one:?}, five hundred take {many:?}"));
    assert!(many < 100 * one + Duration::from_secs(2), "one key takes {one:?}, five hundred take {many:?}");
}
