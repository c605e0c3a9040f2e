//! APPEND: all or nothing, and nothing is left of what was refused or cut off.

use std::path::PathBuf;

use carillon_storage::{AppendError, Journal};

use super::*;
use crate::testing::simulate;

impl World {
    /// The spool files that are there.
    fn spooled(&self) -> Vec<PathBuf> {
        let own = self.store.spool().unwrap();
        let all = std::fs::read_dir(own.path().parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
        all.filter(|path| path != own.path()).collect()
    }
}

/// A literal that waits for nobody.
fn literal(text: &str) -> String {
    format!("{{{}+}}\r\n{text}", text.len())
}

fn large() -> String {
    literal(&format!("Subject: large\r\n\r\n{}\r\n", "x".repeat(100_000)))
}

#[test]
fn a_large_message_is_spooled_and_stored() {
    simulate(async {
        let world = World::new();
        let mut client = world.log_in().await;
        let lines = client.command(&format!("APPEND INBOX {} (\\Flagged) {}", large(), large())).await;
        assert!(lines.last().unwrap().starts_with("OK [APPENDUID ") && lines.last().unwrap().contains(" 1:2]"), "{lines:?}");
        client.ok("SELECT INBOX").await;
        assert_eq!(client.ok("FETCH 1:* RFC822.SIZE").await.len(), 2);
        assert!(world.spooled().is_empty());
    });
}

#[test]
fn a_refused_append_leaves_no_message_and_no_file() {
    simulate(async {
        let limits = Limits { message_bytes: 200_000, ..Limits::default() };
        let world = World::with(limits, Placement::one_thread());
        let mut client = world.log_in().await;
        let (one, nul) = (large(), "x".repeat(80_000) + "\0");
        for (command, reply) in [
            (format!("APPEND Nowhere {one}"), "NO [TRYCREATE]"),
            (format!("APPEND INBOX {one} {{0+}}\r\n"), "NO "),
            (format!("APPEND INBOX {one} {}", literal(&"x".repeat(200_001))), "NO [TOOBIG]"),
            (format!("APPEND INBOX {one} nonsense {one}"), "BAD "),
            (format!("APPEND INBOX {one} {}", literal(&nul)), "BAD "),
            (format!("APPEND INBOX {one} ~{}", literal(&format!("a: \0\r\n{nul}"))), "NO "),
        ] {
            let answer = client.refused(&command).await;
            assert!(answer.starts_with(reply), "{reply}: {answer}");
            assert!(world.spooled().is_empty(), "{reply}");
        }
        world.store.refuse_next(AppendError::DiskFull);
        let answer = client.refused(&format!("APPEND INBOX {one} {one}")).await;
        assert!(answer.starts_with("NO [UNAVAILABLE]"), "{answer}");
        assert!(world.spooled().is_empty());
        assert!(client.ok("STATUS INBOX (MESSAGES)").await[0].contains("(MESSAGES 0)"));
    });
}

#[test]
fn a_message_that_was_cut_off_leaves_no_file() {
    simulate(async {
        let world = World::new();
        for is_kicked in [false, true] {
            let mut client = world.log_in().await;
            client.send(&format!("a APPEND INBOX {} {{100000}}\r\n", large())).await;
            assert!(client.line().await.starts_with('+'));
            client.send(&"x".repeat(70_000)).await;
            pass(1).await;
            assert_eq!(world.spooled().len(), 2);
            if is_kicked {
                world.kick_all().await;
            } else {
                drop(client);
            }
            pass(1).await;
            assert!(world.spooled().is_empty());
        }
    });
}

#[test]
fn an_append_to_the_selected_mailbox_is_told_before_its_ok() {
    simulate(async {
        let world = World::new();
        let mut client = world.select().await;
        let lines = client
            .command(&format!("APPEND INBOX (\\Seen new) \"01-Feb-2020 10:00:00 +0130\" {}", literal("a: b\r\n\r\n")))
            .await;
        assert_eq!(lines[..2], ["* 1 EXISTS", "* 1 RECENT"]);
        assert!(lines.last().unwrap().starts_with("OK [APPENDUID "));
        let lines = client.ok("FETCH 1 (FLAGS INTERNALDATE)").await;
        assert_eq!(lines, ["* 1 FETCH (FLAGS (\\Seen new \\Recent) INTERNALDATE \" 1-Feb-2020 10:00:00 +0130\")"]);
    });
}
