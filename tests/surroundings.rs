//! What surrounds the process fails, against the real binary: nobody reads its trace, file descriptors are few, peers say nothing when it is to end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

mod support;

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::client::{greeted, logged_in, ok};
use support::lmtp::deliver;
use support::server::{PASSWORD, free_addresses};
use support::wire::{PATIENCE, Wire};

/// A server in the foreground; killed at the end of the test, whatever happens.
struct Served {
    child: Child,
    imap: SocketAddr,
    imaps: SocketAddr,
    lmtp: SocketAddr,
}

impl Served {
    /// With alice, whose data are in `directory`; started by a shell that does `first`.
    fn start(directory: &Path, first: &str, stderr: Stdio) -> Self {
        let data = directory.join("data");
        let mut add = Command::new(env!("CARGO_BIN_EXE_carillon"));
        add.args(["user", "add", "alice", "--password-stdin", "--data"]).arg(&data).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut add = add.spawn().unwrap();
        std::io::Write::write_all(&mut add.stdin.take().unwrap(), PASSWORD.as_bytes()).unwrap();
        assert!(add.wait().unwrap().success());
        let [imap, imaps, lmtp] = free_addresses(3).unwrap().try_into().unwrap();
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{first}\nexec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_carillon"), "serve", "--data"])
            .arg(&data);
        for (flag, address) in [("--imap", imap), ("--imaps", imaps), ("--lmtp", lmtp)] {
            command.args([flag, &address.to_string()]);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        let mut served = Self { child, imap, imaps, lmtp };
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(imap).is_err() {
            assert!(served.child.try_wait().unwrap().is_none() && Instant::now() < end, "it does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
        served
    }

    fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    /// SIGTERM; the exit code, and how long it took.
    fn terminate(&mut self) -> (Option<i32>, Duration) {
        let begun = Instant::now();
        self.signal(rustix::process::Signal::TERM);
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status.code(), begun.elapsed());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("it does not end");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Every one of these commands is followed by a line of the trace.
fn works_without_its_trace(stderr: Stdio) {
    let directory = tempfile::tempdir().unwrap();
    let mut served = Served::start(directory.path(), "", stderr);
    let mut wire = greeted(served.imap);
    assert!(wire.command("k", "LOGIN alice wrong").unwrap().last().unwrap().starts_with("k NO"));
    deliver(served.lmtp, "alice@example.org", b"Subject: here\r\n\r\n").unwrap();
    served.signal(rustix::process::Signal::HUP);
    ok(&mut wire, &format!("LOGIN alice {PASSWORD}"));
    let responses = wire.command("k", "STATUS INBOX (MESSAGES)").unwrap();
    assert!(responses[0].ends_with("(MESSAGES 1)"), "{responses:?}");
    assert_eq!(served.terminate().0, Some(0));
    assert!(wire.until("*").unwrap()[0].starts_with("* BYE"));
}

#[test]
fn a_trace_that_nobody_reads_keeps_nobody_from_serving() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    works_without_its_trace(writer.into());
}

#[test]
fn a_trace_on_a_full_disk_keeps_nobody_from_serving() {
    works_without_its_trace(File::options().write(true).open("/dev/full").unwrap().into());
}

#[test]
fn strangers_leave_the_store_its_file_descriptors() {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::start(directory.path(), "ulimit -n 150", Stdio::null());
    let mut wire = logged_in(served.imap, "alice");
    let strangers: Vec<_> = (0..300).filter_map(|_| TcpStream::connect(served.imap).ok()).collect();
    // Longer than a checkpoint of the store lets wait for itself.
    let end = Instant::now() + Duration::from_secs(7);
    let body = "x".repeat(100_000);
    while Instant::now() < end {
        ok(&mut wire, &format!("APPEND INBOX {{{}+}}\r\n{body}", body.len()));
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(strangers);
    let patience = Instant::now() + PATIENCE;
    loop {
        let mut wire = Wire::connect(served.imap).unwrap();
        if wire.until("*").is_ok_and(|lines| lines.iter().any(|line| line.starts_with("* OK"))) {
            break;
        }
        assert!(Instant::now() < patience, "places do not come back");
    }
}

#[test]
fn silent_peers_do_not_hold_up_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let mut served = Served::start(directory.path(), "", Stdio::null());
    let silent = [served.imap, served.imaps, served.lmtp].map(|address| TcpStream::connect(address).unwrap());
    logged_in(served.imap, "alice");
    let (code, time) = served.terminate();
    assert!(code == Some(0) && time < Duration::from_millis(1500), "{code:?} after {time:?}");
    drop(silent);
}
