//! The administrator's commands on a running server and on a stopped one, as whoever may or may not use them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

mod support;

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use support::client::{logged_in, ok};
use support::command::{carillon, command, run};
use support::disk::{Disk, say};
use support::server::{PASSWORD, Server, free_addresses};
use support::wire::PATIENCE;

/// Nobody's user and group on every Linux.
const NOBODY: u32 = 65_534;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A temporary directory that other users reach, as a server's does.
fn open_directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    directory
}

/// Children that go with the test, whatever happens.
struct Children(Vec<Child>);

impl Drop for Children {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// One COPY of very many messages is one row.
#[test]
fn a_row_of_any_length_is_shown() {
    let server = Server::on_disk(&["alice"], &[]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let keywords: Vec<String> = (0..64).map(|number| format!("{number:02}{}", "k".repeat(190))).collect();
    let letter = format!("From a@x Mon Jan 12 10:00:00 2026\nX-Keywords: {}\nSubject: x\n\nhi\n\n", keywords.join(" "));
    fs::write(directory.path().join("box"), letter.repeat(400)).unwrap();
    let imported = carillon(&server.data(), &["import", "mbox", directory.path().join("box").to_str().unwrap(), "alice"]);
    assert_eq!(imported.code, 0, "{imported:?}");
    let mut wire = logged_in(server.target.imap, "alice");
    ok(&mut wire, "SELECT INBOX");
    ok(&mut wire, "COPY 1:* Archive");
    let shown = carillon(&server.data(), &["log", "show", "alice/Archive"]);
    assert!(
        shown.code == 0 && shown.output.contains("appended 400 messages"),
        "{} {} {:.400}",
        shown.code,
        shown.errors,
        shown.output
    );
    let json = carillon(&server.data(), &["log", "tail", "*", "-o", "json"]);
    assert!(json.code == 0 && json.output.lines().any(|row| row.len() > 4 << 20), "{} {}", json.code, json.errors);
}

/// Names are compared without case at login, so they are at `kick`; and the sessions of a user who was removed are still somebody's.
#[test]
fn a_user_is_known_however_the_name_was_typed() {
    let server = Server::on_disk(&["carol", "dora"], &[]).unwrap();
    let data = server.data();
    let mut wire = logged_in(server.target.imap, "CAROL");
    let other = logged_in(server.target.imap, "dora");
    let who = carillon(&data, &["who"]);
    assert!(who.output.contains("  carol  ") && !who.output.contains("CAROL"), "{who:?}");
    let json = carillon(&data, &["who", "--json"]);
    let text = json.output.lines().find(|line| line.contains("\"carol\"")).unwrap();
    let session = text.split("\"session\":\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(session.len() == 16 && who.output.contains(session), "{text}");
    let account = text.split("\"account_id\":\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(carillon(&data, &["user", "list"]).output.contains(account), "{text}");
    let kicked = carillon(&data, &["kick", "--user", "Carol"]);
    assert!(kicked.code == 0 && kicked.output.contains("1 sessions ended"), "{kicked:?}");
    assert!(wire.response(PATIENCE).unwrap().starts_with(b"* BYE"));
    let mut wire = logged_in(server.target.imap, "Carol");
    assert_eq!(carillon(&data, &["user", "remove", "carol"]).code, 0);
    assert_eq!(run(command(&data, &["user", "add", "carol", "--password-stdin"]), "secret\n").code, 0);
    let mut new = logged_in(server.target.imap, "carol");
    let who = carillon(&data, &["who"]).output;
    assert!(who.contains("  carol~removed  ") && who.contains("  carol  "), "{who}");
    let kicked = carillon(&data, &["kick", "--user", "carol"]);
    assert!(kicked.code == 0 && kicked.output.contains("2 sessions ended"), "{kicked:?}");
    for wire in [&mut wire, &mut new] {
        assert!(wire.response(PATIENCE).unwrap().starts_with(b"* BYE"));
    }
    let kicked = carillon(&data, &["kick", "--session-that-is-none"]);
    assert_eq!(kicked.code, 64, "{kicked:?}");
    let kicked = carillon(&data, &["kick", "--user", "nobody"]);
    assert!(kicked.code == 67 && kicked.errors.contains("there is no user \"nobody\""), "{kicked:?}");
    let kicked = carillon(&data, &["kick", "--user", "carol"]);
    assert!(kicked.code == 1 && kicked.errors.contains("there is no such session"), "{kicked:?}");
    drop(other);
}

/// Health checks and short questions get in whatever else is asked; who follows beyond the bound is told so.
#[test]
fn followers_keep_nobody_out() {
    let server = Server::on_disk(&["alice"], &[]).unwrap();
    let data = server.data();
    // Something to show: whoever shows it is in.
    let _session = logged_in(server.target.imap, "alice");
    let (mut followers, mut outputs) = (Children(Vec::new()), Vec::new());
    for _ in 0..16 {
        let mut child = command(&data, &["log", "tail", "-f"]).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        followers.0.push(child);
        assert_ne!(output.read_line(&mut String::new()).unwrap(), 0);
        outputs.push(output);
    }
    let told = carillon(&data, &["log", "tail", "-f"]);
    assert!(told.code == 75 && told.errors.contains("16 administrators are at work"), "{told:?}");
    for _ in 0..5 {
        let ready = carillon(&data, &["ready"]);
        assert_eq!(ready.code, 0, "{ready:?}");
    }
    let added = run(command(&data, &["user", "add", "bob", "--password-stdin"]), &format!("{PASSWORD}\n"));
    assert!(added.code == 0 && added.output.contains("user bob added"), "{added:?}");
    logged_in(server.target.imap, "bob");
}

/// Whoever may not reach the server is not told that there is none.
#[test]
fn who_has_no_right_is_told_so() {
    let directory = open_directory();
    let data = directory.path().join("data");
    let server = Server::over(&data, &["alice"], &[]).unwrap();
    if is_root() {
        fs::set_permissions(&data, Permissions::from_mode(0o755)).unwrap();
    } else {
        fs::set_permissions(data.join("admin.sock"), Permissions::from_mode(0o000)).unwrap();
    }
    let ask = |arguments: &[&str]| {
        let mut command = command(&data, arguments);
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        run(command, "")
    };
    for arguments in [vec!["who"], vec!["ready"], vec!["kick", "--user", "alice"], vec!["log", "show"], vec!["log", "verify"]] {
        let ran = ask(&arguments);
        assert!(ran.code == 1 && ran.errors.contains("Permission denied"), "{arguments:?} {ran:?}");
        assert!(!ran.errors.contains("no server") && !ran.errors.contains("no carillon"), "{arguments:?} {ran:?}");
    }
    if is_root() {
        fs::set_permissions(&data, Permissions::from_mode(0o700)).unwrap();
        let ran = ask(&["user", "list"]);
        assert!(ran.code == 1 && ran.errors.contains("Permission denied"), "{ran:?}");
    }
    drop(server);
}

/// A slip of the pen is no empty list.
#[test]
fn a_directory_that_is_not_there_or_foreign_has_no_users_and_no_logs() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("foreign")).unwrap();
    fs::write(directory.path().join("foreign/letter.txt"), "mine").unwrap();
    for (name, code) in [("typo", 1), ("foreign", 78)] {
        for arguments in [["user", "list"], ["log", "list"], ["log", "verify"]] {
            let ran = carillon(&directory.path().join(name), &arguments);
            assert!(ran.code == code && ran.errors.contains(name), "{name} {arguments:?} {ran:?}");
        }
    }
    assert!(!directory.path().join("typo").exists());
    assert_eq!(fs::read_dir(directory.path().join("foreign")).unwrap().count(), 1);
}

/// A unix socket's path may have 107 bytes, whoever names it how.
#[test]
fn a_long_path_is_reached_by_each_of_its_names() {
    let directory = tempfile::tempdir().unwrap();
    let deep = directory.path().join("x".repeat(60)).join("y".repeat(60));
    fs::create_dir_all(&deep).unwrap();
    let temporary = directory.path().join("tmp");
    fs::create_dir(&temporary).unwrap();
    for name in [PathBuf::from("d"), deep.join("d")] {
        let address = free_addresses(1).unwrap()[0].to_string();
        let mut serve = command(&name, &["serve", "--imap", &address]);
        serve.current_dir(&deep).env("TMPDIR", &temporary).stdout(Stdio::null()).stderr(Stdio::null());
        let mut server = Children(vec![serve.spawn().unwrap()]);
        for other in [PathBuf::from("d"), deep.join("d")] {
            let mut ready = command(&other, &["ready", "--wait", "10"]);
            ready.current_dir(&deep);
            let ran = run(ready, "");
            assert_eq!(ran.code, 0, "{} by {}: {ran:?}", name.display(), other.display());
        }
        server.0[0].kill().unwrap();
        server.0[0].wait().unwrap();
        let mut ready = command(Path::new("d"), &["ready"]);
        ready.current_dir(&deep);
        assert_eq!(run(ready, "").code, 69);
    }
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "something was left behind");
}

/// Every file below a directory that is not `user`'s.
fn not_of(user: u32, directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            // What is gone already is nobody's.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.uid() != user {
                found.push(entry.path());
            }
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    found
}

/// The usual mistake: the server has a user of its own, and the administrator works as root; and the command is cut off at any moment.
#[test]
fn what_root_makes_is_the_directorys_owners_from_the_first_moment() {
    if !is_root() {
        return say("LEFT OUT: not root, who alone can make this mistake");
    }
    let directory = open_directory();
    let (data, source) = (directory.path().join("data"), directory.path().join("source"));
    fs::create_dir(&data).unwrap();
    chown(&data, Some(NOBODY), Some(NOBODY)).unwrap();
    // What root alone can read.
    fs::create_dir(&source).unwrap();
    fs::set_permissions(&source, Permissions::from_mode(0o700)).unwrap();
    let letters = |number: usize| format!("From a@x Mon Jan 12 10:00:00 2026\nSubject: {number}\n\nhi\n\n");
    fs::write(source.join("box"), (0..3000).map(letters).collect::<String>()).unwrap();
    fs::write(source.join("passwd"), "bob:{PLAIN}secret\n").unwrap();
    assert_eq!(run(command(&data, &["user", "add", "alice", "--password-stdin"]), "secret\n").code, 0);
    assert_eq!(carillon(&data, &["user", "import", source.join("passwd").to_str().unwrap()]).code, 0);
    let mbox = source.join("box");
    let import = ["import", "mbox", mbox.to_str().unwrap(), "alice"];
    for milliseconds in [0, 3, 10, 30, 60, 100, 200, 400] {
        let mut child = Children(vec![command(&data, &import).stdout(Stdio::null()).spawn().unwrap()]);
        std::thread::sleep(Duration::from_millis(milliseconds));
        child.0[0].kill().unwrap();
        child.0[0].wait().unwrap();
        assert_eq!(not_of(NOBODY, &data), Vec::<PathBuf>::new(), "killed after {milliseconds} ms");
    }
    let ran = carillon(&data, &import);
    assert!(ran.code == 0 && ran.output.contains("0 could not be read"), "{ran:?}");
    assert_eq!(carillon(&data, &["log", "verify"]).code, 0);
    assert_eq!(not_of(NOBODY, &data), Vec::<PathBuf>::new());
    // The server itself, as whom it must never run: it would leave behind what its own user cannot read.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ran = carillon(&data, &["serve", "--imap", &taken.local_addr().unwrap().to_string()]);
    assert!(ran.code == 78 && ran.errors.contains("belongs to user 65534"), "{ran:?}");
    assert_eq!(not_of(NOBODY, &data), Vec::<PathBuf>::new());
}

/// Root follows no link that the directory's owner has laid.
#[test]
fn root_gives_nothing_away_that_lies_elsewhere() {
    if !is_root() {
        return;
    }
    let directory = open_directory();
    let (data, secret) = (directory.path().join("data"), directory.path().join("secret"));
    fs::create_dir(&data).unwrap();
    chown(&data, Some(NOBODY), Some(NOBODY)).unwrap();
    fs::write(&secret, "root's").unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::symlink(&secret, data.join("users.lock")).unwrap();
    let ran = run(command(&data, &["user", "add", "alice", "--password-stdin"]), "secret\n");
    assert_eq!(fs::metadata(&secret).unwrap().uid(), 0, "{ran:?}");
    assert_eq!(ran.code, 1, "{ran:?}");
}

/// A snapshot of a file system is mounted read-only; what it holds is proved all the same, and nothing is mended that cannot be.
#[test]
fn a_copy_that_cannot_be_written_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::make(directory.path()) else {
        return say("LEFT OUT: a read-only copy: no loop mounts here");
    };
    let (data, temporary) = (disk.mount.join("data"), directory.path().join("tmp"));
    fs::create_dir(&temporary).unwrap();
    let carillon = |data: &Path, arguments: &[&str]| {
        let mut command = command(data, arguments);
        command.env("TMPDIR", &temporary);
        run(command, "")
    };
    {
        let mut server = Server::over(&data, &["alice"], &[]).unwrap();
        let mut wire = logged_in(server.target.imap, "alice");
        for body in ["x".repeat(100), "y".repeat(2_000_000)] {
            ok(&mut wire, &format!("APPEND INBOX {{{}+}}\r\n{body}", body.len()));
        }
        server.kill().unwrap();
    }
    assert!(disk.unmount() && disk.mount("ro"));
    let verified = carillon(&data, &["log", "verify"]);
    assert!(verified.code == 0 && verified.output.contains("whole: "), "{verified:?}");
    let shown = carillon(&data, &["log", "show", "alice/INBOX", "--type", "appended"]);
    assert!(shown.code == 0 && shown.output.lines().count() == 2, "{shown:?}");
    let list = carillon(&data, &["user", "list"]);
    assert!(list.code == 0 && list.output.contains("alice"), "{list:?}");
    let added = run(command(&data, &["user", "add", "bob", "--password-stdin"]), "secret\n");
    assert!(added.code == 1 && added.errors.contains("Read-only file system"), "{added:?}");
    assert!(disk.unmount() && disk.mount("rw"));
    let verified = carillon(&data, &["log", "verify"]);
    assert!(verified.code == 0 && verified.output.starts_with("whole: "), "{verified:?}");
    let segment = data.join("segments/000000000001-000.segment");
    let mut bytes = fs::read(&segment).unwrap();
    bytes[400] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    assert!(disk.unmount() && disk.mount("ro"));
    let verified = carillon(&data, &["log", "verify"]);
    assert!(verified.code == 65 && verified.output.contains("NOT MENDED: "), "{verified:?}");
    assert_eq!(fs::read(&segment).unwrap(), bytes);
    assert!(disk.unmount() && disk.mount("rw"));
    let verified = carillon(&data, &["log", "verify"]);
    assert!(verified.code == 0 && verified.errors.contains("mended from sled"), "{verified:?}");
    let left: Vec<_> = fs::read_dir(&temporary).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}
