//! The real binary: its exit codes, its files, and a server that comes up and goes down.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail by any of them")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

fn carillon(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_carillon"));
    command.current_dir(directory).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARILLON_")) {
        command.env_remove(name);
    }
    command
}

fn run(directory: &Path, arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut child = carillon(directory).args(arguments).stdin(Stdio::piped()).spawn().unwrap();
    // A command that does not read its input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// A server in the foreground; killed at the end of the test, whatever happens.
struct Served {
    child: Child,
    /// What it printed at its start.
    greeting: String,
}

impl Served {
    fn trying(directory: &Path, arguments: &[&str]) -> Self {
        let ports = ["--imap-port", "0", "--imaps-port", "0", "--lmtp-port", "0"];
        let mut child = carillon(directory).arg("try").args(arguments).args(ports).spawn().unwrap();
        let mut greeting = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        while !greeting.contains("Ctrl-C") {
            assert_ne!(output.read_line(&mut greeting).unwrap(), 0, "it ended: {greeting}");
        }
        Self { child, greeting }
    }

    fn field(&self, name: &str) -> String {
        let line = self.greeting.lines().find(|line| line.trim_start().starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    }

    fn connect(&self, name: &str) -> BufReader<TcpStream> {
        let stream = TcpStream::connect(self.field(name).replace("localhost", "127.0.0.1")).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        BufReader::new(stream)
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, signal).unwrap();
    }

    fn end(mut self) -> i32 {
        self.signal(rustix::process::Signal::TERM);
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a command and reads up to the line that begins with its tag, or any line where there is no tag.
fn ask(stream: &mut BufReader<TcpStream>, line: &str, until: &str) -> String {
    stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).unwrap();
    read_until(stream, until)
}

fn read_until(stream: &mut BufReader<TcpStream>, until: &str) -> String {
    let mut text = String::new();
    loop {
        let mut line = String::new();
        assert_ne!(stream.read_line(&mut line).unwrap(), 0, "the connection ended: {text}");
        text.push_str(&line);
        if line.starts_with(until) {
            return text;
        }
    }
}

#[test]
fn exit_codes() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    std::fs::write(directory.join("bad.toml"), "data = 3\n").unwrap();
    std::fs::write(directory.join("passwd"), "alice:{MD5}x\nbob:{PLAIN}y\n").unwrap();
    std::fs::create_dir(directory.join("foreign")).unwrap();
    std::fs::write(directory.join("foreign/letter.txt"), "mine").unwrap();
    let cases: [(i32, &[&str]); 26] = [
        (0, &["--version"]),
        (0, &["--help"]),
        (0, &["completion", "bash"]),
        (64, &[]),
        (64, &["nonsense"]),
        (64, &["user", "add"]),
        (64, &["user", "add", "a b", "--data", "d", "--password-stdin"]),
        (64, &["user", "add", "alice", "--data", "d"]),
        (78, &["check", "--config", "bad.toml"]),
        (78, &["check", "--config", "missing.toml"]),
        (78, &["serve", "--data", "d"]),
        (78, &["serve", "--imap", "127.0.0.1:0"]),
        (78, &["serve", "--imap", "nowhere", "--data", "d"]),
        (78, &["serve", "--imap", "127.0.0.1:0", "--data", "foreign"]),
        (78, &["who"]),
        (64, &["log", "show", "--since", "soon", "--data", "d"]),
        (64, &["log", "tail", "-f", "--until", "1h", "--data", "d"]),
        (64, &["log", "show", "--type", "nonsense", "--data", "d"]),
        (69, &["who", "--data", "d"]),
        (69, &["ready", "--data", "d"]),
        (69, &["log", "tail", "-f", "--data", "d"]),
        (1, &["log", "list", "--data", "nothing-here"]),
        (67, &["user", "remove", "nobody", "--data", "d"]),
        (67, &["user", "passwd", "nobody", "--data", "d", "--password-stdin"]),
        (65, &["user", "import", "passwd", "--data", "d"]),
        (65, &["import", "mbox", "missing", "alice", "--data", "d"]),
    ];
    for (expected, arguments) in cases {
        let (code, output, errors) = run(directory, arguments, "");
        assert_eq!(code, expected, "{arguments:?}: {output}{errors}");
        assert!(expected == 0 || !errors.is_empty() || !output.is_empty(), "{arguments:?} says nothing");
    }
    assert_eq!(std::fs::read_dir(directory.join("foreign")).unwrap().count(), 1, "a foreign directory was written to");
}

#[test]
fn check_says_all_that_is_wrong_and_where() {
    let directory = tempfile::tempdir().unwrap();
    let config = "imap = \"nowhere\"\nplaintext_login = \"sometimes\"\nhostnam = \"x\"\n";
    std::fs::write(directory.path().join("c.toml"), config).unwrap();
    let (code, output, _) = run(directory.path(), &["check", "--config", "c.toml"], "");
    assert_eq!(code, 78);
    assert_eq!(output.lines().count(), 3, "{output}");
    assert!(output.contains("c.toml:1:8: \"nowhere\" is no value of `imap` (allowed: IP:PORT"), "{output}");
    assert!(output.contains("c.toml:2:19: \"sometimes\"") && output.contains("never, loopback, always"), "{output}");
    assert!(output.contains("c.toml:3:1: there is no option `hostnam`; did you mean `hostname`?"), "{output}");
    let (code, output, _) = run(directory.path(), &["check"], "");
    assert!(
        code == 0 && output.contains("warning: configuration: no data directory") && output.contains("nothing to listen on"),
        "{output}"
    );
    let (_, output, _) = run(directory.path(), &["check", "--config", "c.toml", "--json"], "");
    assert!(output.lines().all(|line| line.starts_with('{') && line.ends_with('}')), "{output}");
}

#[test]
fn users_are_kept_and_passwords_are_not_shown() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let user = |arguments: &[&str], input: &str| run(directory, &[&["user"], arguments, &["--data", "d"]].concat(), input);
    assert_eq!(user(&["add", "Alice", "--password-stdin"], "hunter2\n").0, 0);
    assert_eq!(user(&["add", "alice", "--password-stdin"], "again\n").0, 1);
    let (_, before, _) = user(&["list", "--json"], "");
    assert!(before.contains("\"user\":\"alice\"") && before.contains("ARGON2ID") && !before.contains("argon2id$"), "{before}");
    assert!(!std::fs::read_to_string(directory.join("d/users")).unwrap().contains("hunter2"));
    assert_eq!(user(&["passwd", "alice", "--password-stdin"], "hunter3\n").0, 0);
    assert_eq!(user(&["remove", "alice"], "").0, 0);
    let (_, after, _) = user(&["list"], "");
    let account = after.split_whitespace().next().unwrap();
    assert!(after.contains("(removed)") && before.contains(account), "{after}");
    assert_eq!(user(&["add", "alice2", "--password-stdin", "--account", account], "hunter4\n").0, 0);
    assert_eq!(user(&["list"], "").1.lines().count(), 1);
}

#[test]
fn trying_in_memory_serves_any_user_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let served = Served::trying(directory.path(), &["--memory", "--any-user", "test"]);
    let mut imap = served.connect("IMAP ");
    read_until(&mut imap, "* OK");
    assert!(ask(&mut imap, "a LOGIN greta wrong", "a ").contains("a NO"));
    assert!(ask(&mut imap, "b LOGIN greta test", "b ").contains("b OK"));
    assert!(ask(&mut imap, "c SELECT INBOX", "c ").contains("* 0 EXISTS"));
    let data = Path::new(&served.field("authority")).parent().unwrap().parent().unwrap().to_owned();
    let (code, who, _) = run(directory.path(), &["who", "--data", data.to_str().unwrap()], "");
    assert!(code == 0 && who.contains("greta") && who.contains("1 sessions"), "{who}");
    assert_eq!(served.end(), 0);
    assert!(read_until(&mut imap, "* BYE").contains("* BYE"));
    assert!(!data.exists() && std::fs::read_dir(directory.path()).unwrap().next().is_none());
}

/// A trial in the directory of somebody's mail, by mistake, while the server runs and afterwards.
#[test]
fn trying_changes_no_user_that_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    assert_eq!(run(directory, &["user", "add", "alice", "--password-stdin", "--data", "d"], "mine\n").0, 0);
    let users = || std::fs::read_to_string(directory.join("d/users")).unwrap();
    let before = users();
    let served = Served::trying(directory, &["--data", "d"]);
    assert!(served.greeting.contains("password   the one that was set"), "{}", served.greeting);
    // It is not in the PATH here: what is said to type next has to work all the same.
    assert!(served.greeting.contains(&format!("{} log tail -f", env!("CARGO_BIN_EXE_carillon"))), "{}", served.greeting);
    let mut imap = served.connect("IMAP ");
    read_until(&mut imap, "* OK");
    assert!(ask(&mut imap, "a LOGIN alice mine", "a ").contains("a OK"));
    let (code, _, errors) = run(directory, &["try", "--user", "bob", "--data", "d"], "");
    assert!(code == 75 && users() == before && !directory.join("d/users.try").exists(), "{code} {errors}");
    assert_eq!(served.end(), 0);
    assert_eq!(users(), before);
}

/// The line at the end of a session, by which an administrator answers questions; and no password in it or anywhere on disk.
#[test]
fn a_session_ends_with_one_line_that_counts_right() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    assert_eq!(run(directory, &["user", "add", "alice", "--password-stdin", "--data", "d"], "hunter2secret\n").0, 0);
    let arguments = ["serve", "--data", "d", "--imap", "127.0.0.1:0", "--trace-format", "json"];
    let mut child = carillon(directory).args(arguments).env("CARILLON_TRACE_FILTER", "debug").spawn().unwrap();
    let mut trace = BufReader::new(child.stderr.take().unwrap()).lines().map(|line| line.unwrap());
    let listening = trace.find(|line| line.contains("\"listening\"")).unwrap();
    let imap = listening.split("\"imap\":\"").nth(1).unwrap().split('"').next().unwrap();
    let mut imap = BufReader::new(TcpStream::connect(imap).unwrap());
    read_until(&mut imap, "* OK");
    assert!(ask(&mut imap, "a LOGIN alice hunter2wrong", "a ").contains("a NO"));
    ask(&mut imap, "b LOGIN alice hunter2secret", "b OK");
    ask(&mut imap, "c SELECT INBOX", "c OK");
    for _ in 0..3 {
        ask(&mut imap, "d APPEND INBOX {4+}\r\nx\r\n\r", "d OK");
    }
    ask(&mut imap, "e FETCH 1:2 (BODY[])", "e OK");
    ask(&mut imap, "f STORE 1 +FLAGS (\\Deleted)", "f OK");
    ask(&mut imap, "g EXPUNGE", "g OK");
    ask(&mut imap, "h LOGOUT", "h OK");
    let mut lines: Vec<String> = Vec::new();
    while !lines.last().is_some_and(|line| line.contains("session ended")) {
        lines.push(trace.next().unwrap());
    }
    let last = lines.last().unwrap();
    for count in ["\"commands\":10,", "\"fetched\":2,", "\"appended\":3,", "\"expunged\":1,", "\"account\":\"alice\""] {
        assert!(last.contains(count), "{count} {last}");
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    lines.extend(trace);
    assert!(child.wait().unwrap().success());
    assert!(
        lines.iter().any(|line| line.contains("login failed")) && !lines.iter().any(|line| line.contains("hunter2")),
        "{lines:?}"
    );
    let found = Command::new("grep").args(["-rc", "hunter2", "d"]).current_dir(directory).output().unwrap();
    assert!(!found.status.success(), "{}", String::from_utf8_lossy(&found.stdout));
}

/// What stops a start is the last line, and the only error.
#[test]
fn a_port_that_is_taken_is_said_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, _, errors) = run(directory.path(), &["serve", "--imap", &address, "--data", "d"], "");
    assert!(
        code == 75 && errors.ends_with(&format!("cannot listen on {address}: Address already in use (os error 98)\n")),
        "{errors}"
    );
    assert!(!errors.contains("level=error"), "{errors}");
}

#[test]
fn mail_that_lmtp_took_is_there_after_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let mut served = Served::trying(directory, &[]);
    let password = served.field("password");
    let mut lmtp = served.connect("LMTP ");
    for (line, until) in [("LHLO x", "250 "), ("MAIL FROM:<b@x>", "250"), ("RCPT TO:<alice+archive@x>", "250"), ("DATA", "354")] {
        ask(&mut lmtp, line, until);
    }
    assert!(ask(&mut lmtp, "Subject: kept\r\n\r\n..hi\r\n.", "2").starts_with("250 2.1.5"));
    served.child.kill().unwrap();
    served.child.wait().unwrap();
    let served = Served::trying(directory, &[]);
    assert_eq!(served.field("password"), password);
    let mut imap = served.connect("IMAP ");
    read_until(&mut imap, "* OK");
    ask(&mut imap, &format!("a LOGIN alice {password}"), "a OK");
    assert!(ask(&mut imap, "b SELECT Archive", "b ").contains("* 1 EXISTS"));
    let text = ask(&mut imap, "c FETCH 1 BODY[]", "c ");
    assert!(text.contains("\r\nSubject: kept\r\n\r\n.hi\r\n") && text.contains("Return-Path: <b@x>\r\n"), "{text}");
    let filters = ["log", "tail", "alice/*", "--since", "1h", "--type", "appended,expunged", "--data", "carillon-try"];
    let (code, log, _) = run(directory, &filters, "");
    assert!(code == 0 && log.lines().count() == 1 && log.contains("appended uid 1"), "{log}");
    let (code, log, _) = run(directory, &["log", "show", "--until", "1h ago", "--data", "carillon-try"], "");
    assert!(code == 0 && log.is_empty(), "{log}");
    let (code, log, _) = run(directory, &["log", "show", "alice/Archive", "--data", "carillon-try"], "");
    assert!(code == 0 && log.contains("appended uid 1") && log.contains(" LMTP]"), "{log}");
    let (code, _, errors) = run(directory, &["serve", "--imap", "127.0.0.1:0", "--data", "carillon-try"], "");
    assert!(code == 75 && errors.contains("in use by another carillon"), "{errors}");
    let (code, _, _) = run(directory, &["kick", "--user", "alice", "--data", "carillon-try"], "");
    assert_eq!(code, 0);
    assert!(read_until(&mut imap, "* BYE").contains("* BYE"));
    served.signal(rustix::process::Signal::HUP);
    let (code, _, errors) = run(directory, &["user", "add", "bob", "--password-stdin", "--data", "carillon-try"], "secret\n");
    assert_eq!(code, 0, "{errors}");
    let mut imap = served.connect("IMAP ");
    read_until(&mut imap, "* OK");
    assert!(ask(&mut imap, "a LOGIN bob secret", "a ").contains("a OK"));
    assert_eq!(served.end(), 0);
    let (code, verdict, _) = run(directory, &["log", "verify", "--data", "carillon-try"], "");
    assert!(code == 0 && verdict.starts_with("whole: "), "{verdict}");
}

/// The order of docs/operations.md: what the log names is there before the log names it, so it has to be copied after the log.
#[test]
fn a_copy_made_while_mail_arrives_has_all_that_was_acknowledged_before() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let served = Served::trying(directory, &[]);
    let acknowledged = std::sync::atomic::AtomicUsize::new(0);
    let count = || acknowledged.load(std::sync::atomic::Ordering::SeqCst);
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let large = "x".repeat(70).repeat(4000);
    let copies: Vec<usize> = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut lmtp = served.connect("LMTP ");
            ask(&mut lmtp, "LHLO x", "250 ");
            for number in 0.. {
                for (line, until) in [("MAIL FROM:<b@x>", "250"), ("RCPT TO:<alice@x>", "250"), ("DATA", "354")] {
                    ask(&mut lmtp, line, until);
                }
                let body = if number % 3 == 0 { large.as_str() } else { "small" };
                let reply = ask(&mut lmtp, &format!("Subject: {number}\r\n\r\n{body}\r\n."), "2");
                assert!(reply.starts_with("250 2.1.5"), "{reply}");
                acknowledged.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                if is_over.load(std::sync::atomic::Ordering::SeqCst) {
                    return;
                }
            }
        });
        let copy = |round: usize| {
            while count() < 10 * (round + 1) {
                std::thread::yield_now();
            }
            let before = count();
            std::fs::create_dir(directory.join(format!("copy{round}"))).unwrap();
            for part in ["carillon.store", "segments", "bodies", "users", "tls"] {
                let arguments = ["-a", &format!("carillon-try/{part}"), &format!("copy{round}/")];
                assert!(Command::new("cp").args(arguments).current_dir(directory).status().unwrap().success());
            }
            before
        };
        let copies = (0..4).map(copy).collect();
        is_over.store(true, std::sync::atomic::Ordering::SeqCst);
        copies
    });
    for (round, before) in copies.into_iter().enumerate() {
        let data = format!("copy{round}");
        let (code, verdict, errors) = run(directory, &["log", "verify", "--data", &data], "");
        assert!(code == 0 && verdict.contains("whole: "), "{verdict}{errors}");
        let (_, log, _) = run(directory, &["log", "show", "alice/INBOX", "--type", "appended", "--data", &data], "");
        assert!(log.lines().count() >= before, "{} of {before}", log.lines().count());
    }
    assert_eq!(served.end(), 0);
}

#[test]
fn an_import_is_whole_and_a_second_one_finds_it() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let mut text = String::new();
    for number in 0..230 {
        text.push_str(&format!("From a@x Mon Jan 12 10:00:00 2026\nStatus: RO\nSubject: {number}\n\n>From me\n\n"));
    }
    std::fs::write(directory.join("box"), text).unwrap();
    assert_eq!(run(directory, &["user", "add", "alice", "--password-stdin", "--data", "d"], "x\n").0, 0);
    let import = |expected: &str| {
        let (code, output, errors) =
            run(directory, &["import", "mbox", "box", "alice", "--mailbox", "Old/Mail", "--data", "d"], "");
        assert!(code == 0 && output.contains(expected), "{code} {output}{errors}");
    };
    import("230 messages imported, 0 were there already, 0 could not be read");
    import("0 messages imported, 230 were there already, 0 could not be read");
    let (_, list, _) = run(directory, &["log", "list", "--data", "d"], "");
    assert!(list.contains("alice/Old/Mail"), "{list}");
    assert_eq!(run(directory, &["import", "mbox", "box", "nobody", "--data", "d"], "").0, 67);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = carillon(directory.path()).args(["completion", "zsh"]).spawn().unwrap();
    let mut first = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert!(child.wait().unwrap().success());
}
