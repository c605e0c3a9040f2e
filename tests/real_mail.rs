//! A thousand and more real messages through the real server: tests/corpus/round_trip.py imports them from maildirs and mboxes, kills imports in the middle,
//! reads everything back over IMAP, and compares what FETCH says with Python's email.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Where the messages are kept, so that a second run needs no network.
const CORPUS: &str = "target/corpus";

/// Fewer messages prove less than is promised.
const FEWEST: usize = 1000;

/// Past the test runner's capture: who reads the end of a run must see what was not tested.
fn say(text: &str) {
    std::io::stderr().write_all(format!("{text}\n").as_bytes()).unwrap();
}

fn count() -> usize {
    let Ok(entries) = fs::read_dir(CORPUS) else { return 0 };
    entries.filter(|entry| entry.as_ref().is_ok_and(|entry| entry.path().extension().is_some_and(|end| end == "eml"))).count()
}

/// Gathers the messages where there are too few; how many there are.
fn gather() -> usize {
    if count() < FEWEST {
        let begun = Instant::now();
        let gathered = Command::new("sh").args(["tests/corpus/fetch.sh", CORPUS]).stdin(Stdio::null()).output().unwrap();
        say(&format!("gathered {} real messages in {:?}", count(), begun.elapsed()));
        if !gathered.status.success() {
            let text = [gathered.stdout, gathered.stderr].concat();
            say(&format!("LEFT OUT: not all of the real mail could be gathered:\n{}", String::from_utf8_lossy(&text)));
        }
    }
    count()
}

#[test]
fn real_mail_comes_back_byte_for_byte() {
    let gathered = gather();
    if gathered == 0 {
        say("LEFT OUT: there is no real mail in target/corpus, and none could be gathered (is there a network?)");
        return;
    }
    if gathered < FEWEST {
        say(&format!("LEFT OUT: only {gathered} of {FEWEST} real messages are in {}", Path::new(CORPUS).display()));
    }
    let run = Command::new("python3")
        .args(["-B", "tests/corpus/round_trip.py", CORPUS])
        .env("CARILLON_BIN", env!("CARGO_BIN_EXE_carillon"))
        .stdin(Stdio::null())
        .output()
        .expect("python3 can be started");
    let text = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "round_trip.py ended with {}\n{text}\n{}", run.status, String::from_utf8_lossy(&run.stderr));
    say(&format!("real mail:\n{text}"));
}
