//! `carillon import` beside a running server: what is left out is said, and everything else comes in.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use support::client::{logged_in, ok};
use support::command::{Ran, carillon, command};
use support::server::Server;

const FROM: &str = "From a@example.org Mon Jan 12 10:00:00 2026\n";

fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn import(server: &Server, kind: &str, path: &Path) -> Ran {
    carillon(&server.data(), &["import", kind, path.to_str().unwrap(), "alice"])
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// The limit is the server's; the command knows another one, or none.
#[test]
fn a_message_that_the_server_does_not_take_is_left_out_and_the_others_come() {
    let server = Server::on_disk(&["alice"], &["limits_message_bytes=1000000".to_owned()]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    for number in 0..30 {
        put(directory.path(), &format!("cur/{number}:2,S"), &format!("Subject: {number}\n\n{}\n", "x".repeat(70).repeat(2000)));
    }
    put(directory.path(), "cur/15-large:2,", &"large\n".repeat(500_000));
    let ran = import(&server, "maildir", directory.path());
    assert_eq!(ran.code, 65, "{ran:?}");
    assert!(ran.output.contains("15-large:2,: left out: longer than 1000000 bytes\n"), "{ran:?}");
    assert!(ran.output.contains("30 messages imported, 0 were there already, 1 could not be read"), "{ran:?}");
    let seen = ok(&mut logged_in(server.target.imap, "alice"), "STATUS INBOX (MESSAGES UNSEEN)");
    assert!(seen[0].contains("MESSAGES 30") && seen[0].contains("UNSEEN 0"), "{seen:?}");
}

/// A mailbox has room for 64 keywords: those that came first are kept, and the rest is told of each message that loses some.
#[test]
fn keywords_are_kept_as_long_as_there_is_room() {
    let server = Server::on_disk(&["alice"], &[]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let letter = |number: usize| {
        let keywords: Vec<String> = (3 * number..3 * number + 3).map(|keyword| format!("k{keyword}")).collect();
        format!("{FROM}Status: RO\nX-Keywords: {} (odd)\nSubject: {number}\n\nhi\n\n", keywords.join(" "))
    };
    let many: Vec<String> = (0..70).map(|number| format!("x{number}")).collect();
    put(directory.path(), "box", &(0..30).map(letter).collect::<String>());
    put(directory.path(), "full", &format!("{FROM}X-Keywords: {}\nSubject: full\n\nhi\n", many.join(" ")));
    let ran = import(&server, "mbox", directory.path());
    assert_eq!(ran.code, 65, "{ran:?}");
    assert!(ran.output.contains("31 messages imported, 0 were there already, 0 could not be read"), "{ran:?}");
    let told = |text: &str| ran.output.lines().filter(|line| line.contains(text)).count();
    assert_eq!(told("keywords left out: "), 31, "{ran:?}");
    assert_eq!((told("left out: (odd)\n"), told("k62"), told("k63"), told("k64 k65 (odd)")), (0, 0, 0, 1), "{ran:?}");
    assert_eq!((told("x63"), told("x64 x65 x66 x67 x68 x69")), (0, 1), "{ran:?}");
    let mut wire = logged_in(server.target.imap, "alice");
    ok(&mut wire, "SELECT box");
    let flags = ok(&mut wire, "FETCH 1:* FLAGS");
    let has = |keyword: usize| {
        flags.iter().any(|line| line.contains(&format!(" k{keyword} ")) || line.contains(&format!(" k{keyword})")))
    };
    assert!((0..64).all(has) && !(64..90).any(has), "{flags:?}");
    // And no message lost its other flags.
    assert!(ok(&mut wire, "SEARCH UNSEEN")[0] == "* SEARCH", "{flags:?}");
    ok(&mut wire, "SELECT full");
    assert_eq!(ok(&mut wire, "FETCH 1 FLAGS")[0].matches('x').count(), 64);
    // Run again it says the same, and changes nothing.
    let again = import(&server, "mbox", directory.path());
    assert!(again.output.contains("0 messages imported, 31 were there already, 0 could not be read"), "{again:?}");
}

/// Whatever cannot be read or made has its line, and nothing else is lost for it.
#[test]
fn every_folder_comes_or_has_its_line() {
    let server = Server::on_disk(&["alice"], &[]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (maildir, mboxes) = (directory.path().join("maildir"), directory.path().join("mboxes"));
    put(&maildir, "cur/1:2,", "Subject: 1\n\n1\n");
    put(&maildir, ".Work/cur/2:2,", "Subject: 2\n\n2\n");
    put(&maildir, ".Work/.hidden/cur/3:2,", "Subject: 3\n\n3\n");
    put(directory.path(), "elsewhere/cur/4:2,", "Subject: 4\n\n4\n");
    std::os::unix::fs::symlink(directory.path().join("elsewhere"), maildir.join(".Linked")).unwrap();
    let ran = import(&server, "maildir", &maildir);
    assert_eq!(ran.code, 65, "{ran:?}");
    assert!(ran.output.contains(".Linked: left out: a symbolic link"), "{ran:?}");
    assert!(ran.output.contains(".hidden: left out: "), "{ran:?}");
    assert!(ran.output.contains("2 messages imported, 0 were there already, 2 could not be read"), "{ran:?}");
    let letter = format!("{FROM}Subject: x\n\nhi\n");
    for path in ["Inbox", "Entw&APw-rfe", "Lists.sbd/Rust", "Lists", "Deep/er/Still.mbox", ".hid/secret", "bad\u{1}name"] {
        put(&mboxes, path, &letter);
    }
    put(&mboxes, "Lists.msf", "// not mail");
    put(&mboxes, ".imap/Lists/dovecot.index", "index");
    std::os::unix::fs::symlink(directory.path().join("elsewhere"), mboxes.join("Linked")).unwrap();
    let ran = import(&server, "mbox", &mboxes);
    assert_eq!(ran.code, 65, "{ran:?}");
    for left_out in [".hid: left out: ", "Linked: left out: a symbolic link", "name: left out: "] {
        assert!(ran.output.contains(left_out), "{left_out} {ran:?}");
    }
    assert!(ran.output.contains("5 messages imported, 0 were there already, 3 could not be read"), "{ran:?}");
    let mut wire = logged_in(server.target.imap, "alice");
    for name in ["INBOX", "\"Entw&APw-rfe\"", "Lists", "Lists/Rust", "Deep/er/Still"] {
        let expected = if name == "INBOX" { "MESSAGES 2" } else { "MESSAGES 1" };
        assert!(ok(&mut wire, &format!("STATUS {name} (MESSAGES)"))[0].contains(expected), "{name}");
    }
}

/// An account that is full takes what it has a mailbox for; to start again would not help, so nobody is told to.
#[test]
fn a_folder_that_cannot_be_made_costs_no_other() {
    let server = Server::on_disk(&["alice"], &["limits_mailboxes=7".to_owned()]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    for (number, folder) in [".", ".One", ".Two", ".Sent"].into_iter().enumerate() {
        put(directory.path(), &format!("{folder}/cur/{number}:2,"), &format!("Subject: {number}\n\nhi\n"));
    }
    let ran = import(&server, "maildir", directory.path());
    assert_eq!(ran.code, 65, "{ran:?}");
    let text = [ran.output.as_str(), ran.errors.as_str()].concat();
    assert!(text.contains("left out: the account holds no further mailbox"), "{text}");
    assert!(text.contains("3 messages imported, 0 were there already, 2 could not be read"), "{text}");
    assert!(!text.contains("again") && !text.contains("Limit("), "{text}");
}

/// Imports into one account come one after another, and whoever waits is told why.
#[test]
fn a_second_import_says_that_it_waits() {
    let server = Server::on_disk(&["alice"], &[]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    put(directory.path(), "first", &format!("{FROM}Subject: first\n\nhi\n\n").repeat(3000));
    put(directory.path(), "second", &format!("{FROM}Subject: second\n\nhi\n"));
    let spawn = |path: &str| {
        let path = directory.path().join(path);
        command(&server.data(), &["import", "mbox", path.to_str().unwrap(), "alice"]).spawn().unwrap()
    };
    let mut first = spawn("first");
    let mut wire = logged_in(server.target.imap, "alice");
    let end = Instant::now() + Duration::from_secs(20);
    while ok(&mut wire, "STATUS INBOX (MESSAGES)")[0].contains("MESSAGES 0") {
        assert!(Instant::now() < end, "the first import does not begin");
    }
    signal(&first, Signal::STOP);
    let (mut second, mut third) = (spawn("second"), spawn("second"));
    let errors = BufReader::new(second.stderr.take().unwrap());
    let (said, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || errors.lines().map_while(Result::ok).for_each(|line| drop(said.send(line))));
    let line = heard.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(line.contains("waiting for another import into this account"), "{line}");
    // One that is given up while it waits is forgotten.
    third.kill().unwrap();
    third.wait().unwrap();
    first.kill().unwrap();
    first.wait().unwrap();
    let output = second.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("1 messages imported"), "{text}");
}
