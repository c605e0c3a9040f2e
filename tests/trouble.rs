//! What may befall a data directory and its server, against the real binary: a sled that is gone, flipped or old; a flipped byte in the message log; a disk that breaks
//! down or cannot be written; two servers on one directory; a directory that is somebody else's; a file that is no mailbox; a password that is wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

mod support;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use support::client::{logged_in, ok};
use support::disk::{Disk, say, verify};
use support::server::{Server, free_addresses};
use support::wire::{PATIENCE, Silence, Wire};
use tempfile::TempDir;

fn carillon(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_carillon")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// `carillon serve` that must end by itself: its exit code and what it said.
fn refused(data: &Path) -> (i32, String) {
    let address = free_addresses(1).unwrap()[0].to_string();
    let output = carillon(&["serve", "--imap", &address, "--data", data.to_str().unwrap()]);
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn append(wire: &mut Wire, message: &[u8]) -> Result<String, String> {
    let command = format!("k APPEND INBOX {{{}+}}\r\n", message.len());
    wire.send(&[command.as_bytes(), message, b"\r\n"].concat()).map_err(|error| error.to_string())?;
    Ok(wire.until("k")?.pop().unwrap())
}

fn message(number: usize, length: usize) -> Vec<u8> {
    let mut dice = StdRng::seed_from_u64(number as u64);
    let mut text = format!("Subject: message {number}\r\n\r\n").into_bytes();
    while text.len() < length {
        // Nothing that a compressor could make small: each byte of the disk counts.
        let line: String = (0..70).map(|_| char::from(dice.random_range(b'0'..=b'z'))).collect();
        text.extend(line.as_bytes());
        text.extend(b"\r\n");
    }
    text
}

/// What INBOX holds.
fn messages() -> Vec<Vec<u8>> {
    (0..40).map(|number| message(number, if number == 20 { 1_500_000 } else { 3_000 })).collect()
}

/// A data directory that was stopped cleanly, and its sled as it was in the middle.
struct Stopped {
    directory: TempDir,
    messages: Vec<Vec<u8>>,
}

impl Stopped {
    fn make() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (data, messages) = (directory.path().join("data"), messages());
        let mut server = Server::over(&data, &["alice"], &[]).unwrap();
        for (number, message) in messages.iter().enumerate() {
            if number == 30 {
                assert_eq!(server.terminate().unwrap(), Some(0));
                copy(&data.join("sled"), &directory.path().join("old"));
                server.start_again().unwrap();
            }
            assert!(append(&mut logged_in(server.target.imap, "alice"), message).unwrap().starts_with("k OK"));
        }
        let mut wire = logged_in(server.target.imap, "alice");
        ok(&mut wire, "CREATE Work/2026");
        ok(&mut wire, "RENAME Work Archive/Work");
        ok(&mut wire, "SELECT INBOX");
        ok(&mut wire, "STORE 1:10 +FLAGS.SILENT (\\Seen Work)");
        ok(&mut wire, "COPY 1:5 Archive/Work/2026");
        assert_eq!(server.terminate().unwrap(), Some(0));
        Self { directory, messages }
    }

    /// A copy of it, to be damaged.
    fn copy(&self) -> TempDir {
        let copied = tempfile::tempdir().unwrap();
        copy(&self.directory.path().join("data"), &copied.path().join("data"));
        copied
    }

    /// Starts a server over the damaged copy: everything is there.
    fn is_served(&self, copied: &TempDir, what: &str) {
        let data = copied.path().join("data");
        let begun = Instant::now();
        let mut server = Server::over(&data, &[], &[]).unwrap_or_else(|error| panic!("{what}: {error}"));
        let started = begun.elapsed();
        let mut wire = logged_in(server.target.imap, "alice");
        assert!(started < Duration::from_secs(10), "{what}: served after {started:?}");
        let lost = self.lost(&server, what);
        assert!(lost.is_empty(), "{what}: {lost:?}\n{}", server.stderr());
        let seen = ok(&mut wire, "STATUS INBOX (MESSAGES UNSEEN UIDNEXT)");
        assert!(["MESSAGES 40", "UNSEEN 30", "UIDNEXT 41"].iter().all(|part| seen[0].contains(part)), "{what}: {seen:?}");
        assert!(ok(&mut wire, "LIST \"\" *").iter().any(|name| name.ends_with("Archive/Work/2026")), "{what}");
        assert!(append(&mut wire, b"Subject: more\r\n\r\n").unwrap().starts_with("k OK"), "{what}");
        assert_eq!(server.terminate().unwrap(), Some(0), "{what}");
        let (verdict, code) = verify(&data);
        assert!(code == 0 && verdict.starts_with("whole: "), "{what}: {verdict}");
    }

    /// Reads every message; those that are refused. What is served is as it was.
    fn lost(&self, server: &Server, what: &str) -> Vec<usize> {
        let mut wire = logged_in(server.target.imap, "alice");
        let mut lost = Vec::new();
        for (mailbox, count) in [("INBOX", self.messages.len()), ("Archive/Work/2026", 5)] {
            ok(&mut wire, &format!("EXAMINE {mailbox}"));
            for (number, message) in self.messages.iter().take(count).enumerate() {
                wire.send(format!("k FETCH {} BODY.PEEK[]\r\n", number + 1).as_bytes()).unwrap();
                let first = wire.response(PATIENCE).unwrap();
                wire.history.clear();
                if first.starts_with(b"k ") {
                    assert!(first.starts_with(b"k NO [SERVERBUG]"), "{what}: {}", String::from_utf8_lossy(&first));
                    lost.push(number + 1);
                } else {
                    assert!(first[..first.len() - 1].ends_with(message), "{what}: message {} is served wrong", number + 1);
                    wire.until("k").unwrap();
                }
            }
        }
        lost
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target);
        } else if !entry.file_name().to_string_lossy().ends_with("ballast") {
            fs::copy(&path, &target).unwrap();
        }
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

fn flip(file: &Path, place: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[place] ^= 0x40;
    fs::write(file, bytes).unwrap();
}

#[test]
fn a_sled_that_is_gone_flipped_cut_or_old_is_made_again_at_the_start() {
    let stopped = Stopped::make();
    let path = |copied: &TempDir| copied.path().join("data/sled");
    let copied = stopped.copy();
    fs::remove_dir_all(path(&copied)).unwrap();
    stopped.is_served(&copied, "without sled");
    let copied = stopped.copy();
    fs::remove_dir_all(path(&copied)).unwrap();
    copy(&stopped.directory.path().join("old"), &path(&copied));
    stopped.is_served(&copied, "with an old sled");
    let copied = stopped.copy();
    let old = fs::read(stopped.directory.path().join("old/db")).unwrap();
    let mut mixed = fs::read(path(&copied).join("db")).unwrap();
    let page = 4096.min(old.len().min(mixed.len()));
    mixed[..page].copy_from_slice(&old[..page]);
    fs::write(path(&copied).join("db"), mixed).unwrap();
    stopped.is_served(&copied, "with an old page in sled");
    let copied = stopped.copy();
    let length = fs::metadata(path(&copied).join("db")).unwrap().len();
    fs::File::options().write(true).open(path(&copied).join("db")).unwrap().set_len(length / 2).unwrap();
    stopped.is_served(&copied, "with half of a sled");
    let mut dice = StdRng::seed_from_u64(1);
    for _ in 0..8 {
        let copied = stopped.copy();
        let place = dice.random_range(0..usize::try_from(length).unwrap());
        flip(&path(&copied).join("db"), place);
        stopped.is_served(&copied, &format!("with sled's byte {place} flipped"));
    }
}

#[test]
fn a_flipped_byte_in_the_message_log_is_said_and_never_served() {
    let stopped = Stopped::make();
    let mut dice = StdRng::seed_from_u64(2);
    let (mut whole, mut with_losses, mut refusals, mut mended) = (0, 0, 0, 0);
    for trial in 0..24 {
        let copied = stopped.copy();
        let data = copied.path().join("data");
        let folder = if trial % 4 == 3 { "bodies" } else { "segments" };
        let found = files(&data.join(folder));
        let file = &found[dice.random_range(0..found.len())];
        let length = usize::try_from(fs::metadata(file).unwrap().len()).unwrap();
        let place = if trial == 0 { 20 } else { dice.random_range(0..length) };
        flip(file, place);
        let what = format!("byte {place} of {length} of {}", file.strip_prefix(&data).unwrap().display());
        let server = match Server::over(&data, &[], &[]) {
            Ok(server) => server,
            Err(error) => {
                assert!(error.to_string().contains("damaged"), "{what}: {error}");
                refusals += 1;
                continue;
            }
        };
        let lost = stopped.lost(&server, &what);
        let output = carillon(&["log", "verify", "--data", data.to_str().unwrap()]);
        let text = String::from_utf8_lossy(&output.stdout);
        let is_whole = text.contains("whole: ");
        assert_eq!(output.status.code(), Some(if is_whole { 0 } else { 65 }), "{what}: {text}");
        assert!(lost.is_empty() || !is_whole, "{what}: messages {lost:?} are lost, but log verify says {text}");
        mended += usize::from(text.contains("mended: "));
        let lost_later = stopped.lost(&server, &what);
        assert!(lost_later.len() <= lost.len(), "{what}: log verify made it worse");
        if lost.is_empty() { whole += 1 } else { with_losses += 1 }
    }
    assert!(with_losses > 0, "no flipped byte hit a message: the test proves nothing");
    say(&format!(
        "a flipped byte in the message log: {whole} times nothing was lost, {with_losses} times messages were refused, {refusals} starts were refused; \
         {mended} times log verify mended it"
    ));
}

#[test]
fn a_disk_that_breaks_down_loses_nothing_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::make(directory.path()) else {
        say("LEFT OUT: the broken disk needs root and loop mounts");
        return;
    };
    let data = disk.mount.join("data");
    let mut server = Server::over(&data, &["alice"], &[]).unwrap();
    let mut wire = logged_in(server.target.imap, "alice");
    let mut kept = 0;
    for number in 0..20 {
        assert!(append(&mut wire, &message(number, 20_000)).unwrap().starts_with("k OK"));
        kept += 1;
    }
    if !disk.break_down() {
        say("LEFT OUT: the broken disk: this kernel cannot shut an ext4 down");
        return;
    }
    let answer = append(&mut wire, &message(20, 20_000));
    assert!(!answer.as_ref().is_ok_and(|answer| answer.starts_with("k OK")), "acknowledged on a disk that is gone: {answer:?}");
    server.kill().unwrap();
    assert!(disk.unmount() && disk.mount("rw"), "the disk cannot be mounted again");
    server.start_again().unwrap();
    let mut wire = logged_in(server.target.imap, "alice");
    let told = ok(&mut wire, "SELECT INBOX");
    assert!(told.contains(&format!("* {kept} EXISTS")), "{told:?}, not {kept}");
    for number in 0..kept {
        let found = ok(&mut wire, &format!("FETCH {} BODY.PEEK[]", number + 1));
        assert!(found[0].as_bytes().windows(200).any(|part| part == &message(number, 20_000)[..200]), "message {number}");
    }
    assert_eq!(server.terminate().unwrap(), Some(0));
    assert_eq!(verify(&data).1, 0, "{}", verify(&data).0);
    say(&format!("a disk that broke down: APPEND was answered {answer:?}; {kept} acknowledged messages are there"));
    // And one that cannot be written: said, with the directory's name.
    assert!(disk.unmount() && disk.mount("ro"));
    let (code, text) = refused(&data);
    assert!(code == 1 && text.contains("Read-only") && text.contains(data.to_str().unwrap()), "{code} {text}");
}

#[test]
fn a_second_server_says_who_has_the_directory() {
    let mut server = Server::on_disk(&["alice"], &[]).unwrap();
    let (code, text) = refused(&server.data());
    assert_eq!(code, 75, "{text}");
    assert!(text.contains(&format!("in use by another carillon (process {})", server.id())), "{text}");
    logged_in(server.target.imap, "alice");
    assert_eq!(server.terminate().unwrap(), Some(0));
}

#[test]
fn somebody_elses_directory_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("letter.txt"), "mine").unwrap();
    let data = directory.path().to_str().unwrap();
    let (code, text) = refused(directory.path());
    assert!(code == 78 && text.contains("is no carillon data directory") && text.contains("letter.txt"), "{code} {text}");
    let mut child = Command::new(env!("CARGO_BIN_EXE_carillon"))
        .args(["user", "add", "alice", "--password-stdin", "--data", data])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It may be gone before it has read anything.
    let _ = child.stdin.take().unwrap().write_all(b"secret\n");
    assert_eq!(child.wait().unwrap().code(), Some(78));
    for command in ["log verify", "log list", "import mbox letter.txt alice"] {
        let arguments: Vec<&str> = command.split(' ').chain(["--data", data]).collect();
        assert_ne!(carillon(&arguments).status.code(), Some(0), "{command}");
    }
    assert_eq!(files(directory.path()), [directory.path().join("letter.txt")]);
}

#[test]
fn a_file_that_is_no_mailbox_is_named_and_imports_nothing() {
    let server = Server::on_disk(&["alice"], &[]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (picture, folder) = (directory.path().join("picture.png"), directory.path().join("folder"));
    fs::write(&picture, b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR").unwrap();
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("notes.txt"), "From me, with love\n").unwrap();
    for (kind, path, wanted) in [
        ("mbox", &picture, "this is no mbox"),
        ("maildir", &folder, "holds no maildir"),
        ("maildir", &picture, "holds no maildir"),
        ("mbox", &directory.path().join("missing"), "is not there"),
    ] {
        let arguments =
            ["import", kind, path.to_str().unwrap(), "alice", "--mailbox", "New", "--data", server.data().to_str().unwrap()]
                .map(str::to_owned);
        let output = carillon(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(65), "{kind} {}: {text}", path.display());
        assert!(text.contains(wanted) && text.contains(path.to_str().unwrap()), "{text}");
    }
    assert!(!ok(&mut logged_in(server.target.imap, "alice"), "LIST \"\" *").iter().any(|name| name.contains("New")));
}

#[test]
fn a_wrong_password_is_slowed_and_then_shown_the_door() {
    let server = Server::on_disk(&["alice"], &[]).unwrap();
    let mut wire = Wire::connect(server.target.imap).unwrap();
    wire.until("*").unwrap();
    let mut times = Vec::new();
    for _ in 0..3 {
        let begun = Instant::now();
        let replies = wire.command("k", "LOGIN alice wrong").unwrap();
        assert!(replies.last().unwrap().starts_with("k NO [AUTHENTICATIONFAILED]"), "{replies:?}");
        times.push(begun.elapsed());
    }
    let is_slowed = (1..).zip(&times).all(|(failures, time)| *time >= Duration::from_millis(250) * failures);
    assert!(is_slowed, "{times:?}");
    let farewell = wire.response(PATIENCE).unwrap();
    assert!(farewell.starts_with(b"* BYE"), "{}", String::from_utf8_lossy(&farewell));
    assert_eq!(wire.response(PATIENCE), Err(Silence::Closed));
    // Nobody else is slowed.
    let begun = Instant::now();
    logged_in(server.target.imap, "alice");
    assert!(begun.elapsed() < Duration::from_secs(2), "a login took {:?}", begun.elapsed());
    assert!(!server.stderr().contains("wrong"), "a password stands in the trace");
}
