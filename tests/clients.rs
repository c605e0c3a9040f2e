//! Real mail clients against the real binary over TLS: each test runs a script of tests/clients/, which starts a server of its own and checks the result,
//! not the client's exit code. A client that isn't installed is skipped, and says so; ./check installs them.
#![allow(clippy::explicit_write, reason = "the test runner captures what eprintln writes")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What a script may take in all.
const PATIENCE: Duration = Duration::from_secs(180);

/// The exit code of a script whose client isn't installed.
const SKIPPED: i32 = 77;

fn run(script: &str) {
    let private = Path::new("target/clients/venv/bin/python");
    let python = if private.exists() { private } else { Path::new("python3") };
    let mut child = Command::new(python)
        .arg("-B")
        .arg(format!("tests/clients/{script}_client.py"))
        .env("CARILLON_BIN", env!("CARGO_BIN_EXE_carillon"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 can be started");
    let end = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            child.kill().unwrap();
        }
        thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    match output.status.code() {
        Some(0) => {}
        // Past the test runner's capture: who reads the end of a run must see what was not tested.
        Some(SKIPPED) => writeln!(std::io::stderr(), "SKIPPED {script}: {}", text.trim()).unwrap(),
        code => panic!(
            "{script} ended with {code:?} (none: killed after {PATIENCE:?})\n{text}\n{}",
            String::from_utf8_lossy(&output.stderr)
        ),
    }
}

#[test]
fn mbsync() {
    run("mbsync");
}

#[test]
fn offlineimap() {
    run("offlineimap");
}

#[test]
fn curl() {
    run("curl");
}

#[test]
fn neomutt() {
    run("neomutt");
}

#[test]
fn imaplib() {
    run("imaplib");
}

#[test]
fn imapclient() {
    run("imapclient");
}

#[test]
fn imapflow() {
    run("imapflow");
}

#[test]
fn swaks() {
    run("swaks");
}
