//! User names and mailbox names that reach for more than they name.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;

use super::lmtp::Conversation;
use super::{in_time, throw, under_attack, under_attack_on_disk};
use crate::support::client::{greeted, logged_in};
use crate::support::server::Server;

/// Paths, format strings, queries, shell, 8-bit, invisible and very long names.
fn names() -> Vec<Vec<u8>> {
    let texts = [
        "../../../../tmp/x",
        "..",
        "/etc/passwd",
        "bystander/../afterwards",
        "..\\..\\x",
        "%u%n%s%d",
        "%{user}%{env:HOME}",
        "${HOME}",
        "`id`",
        "$(id)",
        "' OR '1'='1",
        "*)(uid=*))(|(uid=*",
        "by*",
        "bystander@",
        "@bystander",
        "bystander,afterwards",
        "-rf",
        "--help",
        "J\u{fc}rgen",
        "\u{202e}dnatsyb",
        "by\u{200b}stander",
        "NUL",
        "con",
        "users",
        "users.lock",
        "tls",
        "bystander:x",
        "bystander;x",
        "<>",
        "\"\"",
        "*",
        "%",
    ];
    let bytes: [&[u8]; 6] = [b"\xff\xfe", b"\x80", b"a\xc3\x28", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"bystander\xc0\x80"];
    let long = [vec![b'x'; 256], vec![b'/'; 4000], "\u{fc}".repeat(2000).into_bytes()];
    texts.iter().map(|text| text.as_bytes().to_vec()).chain(bytes.map(<[u8]>::to_vec)).chain(long).collect()
}

/// All files of the test's directory but those whose names the server chose itself.
fn files(directory: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path.clone());
            }
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte)) || name.len() > 100 {
                found.insert(path.display().to_string());
            }
        }
    }
    found
}

#[test]
fn user_names_are_names_alone() {
    under_attack_on_disk(&[], &[], |server| {
        let names = names();
        // A failed login takes a quarter of a second.
        std::thread::scope(|scope| {
            for names in names.chunks(4) {
                scope.spawn(move || names.iter().for_each(|name| refuse_login(server, name)));
            }
        });
        assert_eq!(files(server.data().parent().unwrap()), BTreeSet::new());
    });
}

fn refuse_login(server: &Server, name: &[u8]) {
    let literal = [format!("a LOGIN {{{}+}}\r\n", name.len()).as_bytes(), name, b" secret\r\n"].concat();
    refused(server, &literal);
    let message = [b"\0".as_slice(), name, b"\0secret"].concat();
    let message = base64::engine::general_purpose::STANDARD.encode(message);
    refused(server, format!("a AUTHENTICATE PLAIN {message}\r\n").as_bytes());
    let somebody_else = [name, b"\0bystander\0secret"].concat();
    let somebody_else = base64::engine::general_purpose::STANDARD.encode(somebody_else);
    refused(server, format!("a AUTHENTICATE PLAIN {somebody_else}\r\n").as_bytes());
}

fn refused(server: &Server, command: &[u8]) {
    let mut wire = greeted(server.target.imap);
    wire.send(command).unwrap();
    let answer = super::reply(&mut wire, "a").unwrap_or_default();
    assert!(!answer.starts_with("a OK"), "{} was let in: {answer}", String::from_utf8_lossy(command));
}

#[test]
fn recipients_are_names_alone() {
    under_attack_on_disk(&[], &[], |server| {
        let mut conversation = Conversation::open(server);
        conversation.say_bytes(b"LHLO x\r\n");
        conversation.say_bytes(b"MAIL FROM:<> SMTPUTF8\r\n");
        let mut told = 0;
        for name in names() {
            for start in ["", "bystander+", "\""] {
                let quote = if start == "\"" { "\"" } else { "" };
                let line = [b"RCPT TO:<", start.as_bytes(), &name, quote.as_bytes(), b"@example.org>\r\n"].concat();
                let reply = conversation.say_bytes(&line);
                if reply.is_empty() || reply.starts_with("421") {
                    // Too many errors in a row.
                    told += 1;
                    conversation = Conversation::open(server);
                    conversation.say_bytes(b"LHLO x\r\n");
                    conversation.say_bytes(b"MAIL FROM:<> SMTPUTF8\r\n");
                    continue;
                }
                let is_taken = reply.starts_with("250");
                assert!(!is_taken || start == "bystander+", "{} was taken: {reply}", String::from_utf8_lossy(&line));
            }
        }
        assert!(told < 20, "{told} conversations were ended");
        assert_eq!(files(server.data().parent().unwrap()), BTreeSet::new());
    });
}

#[test]
fn the_command_line_makes_no_such_user() {
    under_attack_on_disk(&[], &[], |server| {
        for name in names() {
            let mut child = Command::new(env!("CARGO_BIN_EXE_carillon"))
                .args(["user", "add", "--password-stdin", "--data"])
                .arg(server.data())
                .arg("--")
                .arg(std::ffi::OsStr::from_bytes(&name))
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"secret\n");
            child.wait().unwrap();
        }
        // Some are names that a user may have; none is a path, none is ambiguous in a terminal, and all are one line of the file.
        let users = fs::read_to_string(server.data().join("users")).unwrap();
        for line in users.lines().skip(1) {
            let name = line.split('\t').nth(1).unwrap();
            assert_eq!(line.split('\t').count(), 4, "{line:?}");
            assert!(
                !name.chars().any(|character| character.is_control() || "/\\:*<>\"\u{202e}\u{200b}".contains(character)),
                "{name:?}"
            );
        }
        assert_eq!(files(server.data().parent().unwrap()), BTreeSet::new());
    });
}

/// Mail of another user, of whom nobody but him knows that he has it.
#[test]
fn no_name_reaches_another_account() {
    under_attack(|server| {
        let mut owner = logged_in(server.target.imap, "owner");
        in_time(&mut owner, "CREATE Hidden");
        in_time(&mut owner, "SUBSCRIBE Hidden");
        let mut thief = logged_in(server.target.imap, "thief");
        for name in [
            "~owner/Hidden",
            "~owner",
            "user/owner/Hidden",
            "user.owner.Hidden",
            "Other Users/owner/Hidden",
            "#user/owner/Hidden",
            "../owner/Hidden",
            "/owner/Hidden",
            "owner/Hidden",
            "#shared/owner",
            "owner@example.org/Hidden",
            "INBOX/../../owner/Hidden",
            "Hidden",
        ] {
            for command in ["SELECT", "EXAMINE", "STATUS", "DELETE"] {
                let items = if command == "STATUS" { " (MESSAGES)" } else { "" };
                let answer = in_time(&mut thief, &format!("{command} \"{name}\"{items}"));
                assert!(answer.starts_with("b NO"), "{command} {name}: {answer}");
            }
            for reference in ["", name] {
                for verb in ["LIST", "LSUB"] {
                    let answers = thief.command("c", &format!("{verb} \"{reference}\" \"*\"")).unwrap();
                    assert!(!answers.iter().any(|answer| answer.contains("Hidden")), "{verb} {reference}: {answers:?}");
                }
            }
        }
        // What is not offered is not known: no command of other servers' holes.
        for command in [
            "XAPPLEPUSHSERVICE mailboxes INBOX",
            "GETACL INBOX",
            "SETACL INBOX anyone lrs",
            "LISTRIGHTS INBOX owner",
            "MYRIGHTS INBOX",
            "GETMETADATA INBOX /private/comment",
            "LOCALDELETE INBOX",
            "GENURLAUTH x INTERNAL",
            "URLFETCH imap://owner@localhost/Hidden",
            "COMPRESS DEFLATE",
            "XKILLALL",
            "DUMP INBOX",
            "UNDUMP INBOX",
            "GETQUOTAROOT INBOX",
            "UNAUTHENTICATE",
            "PROXYAUTH owner",
        ] {
            let mut wire = logged_in(server.target.imap, "thief");
            let answer = in_time(&mut wire, command);
            assert!(answer.starts_with("b BAD"), "{command}: {answer}");
        }
    });
}

/// A connection's login is its own: what one session said is nothing to the next (Cyrus: CVE-2019-18928).
#[test]
fn nobody_inherits_a_login() {
    under_attack(|server| {
        for round in 0..20 {
            let mut wire = logged_in(server.target.imap, "heir");
            if round % 2 == 0 {
                let _ = wire.command("x", "LOGOUT");
            }
            drop(wire);
            let answers = throw(&server.target, b"a SELECT INBOX\r\n");
            let text: Vec<String> = answers.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect();
            assert!(text.iter().any(|line| line.starts_with("a BAD")), "{text:?}");
            if round >= 3 {
                break;
            }
        }
    });
}
