//! Commands over many messages and many mailboxes.

use carillon_storage::AppendError;

use super::*;
use crate::given::{flags, new_message};
use crate::mailbox::requests::Change;
use crate::testing::{author, simulate};

impl World {
    /// So many messages, which nobody can read, in one commit.
    pub(super) async fn fill(&self, mailbox: &str, count: u64) {
        let messages = (0..count).map(|number| new_message(number, flags("\\Deleted"))).collect();
        self.mailbox(mailbox).await.change(author(1), Change::Append(messages)).await.unwrap();
    }
}

#[test]
fn a_large_mailbox_is_computed_elsewhere_with_the_same_result() {
    simulate(async {
        let world = World::with(Limits::default(), Placement::one_thread_paced(|| Duration::from_millis(1)));
        world.fill("INBOX", 3_000).await;
        world.fill("Sent", 3).await;
        let mut client = world.select().await;
        assert_eq!(client.ok("STORE 1:* +FLAGS (\\Flagged)").await.len(), 3_000);
        let copied = client.command("COPY 2999,1:2,3000 Sent").await;
        assert!(copied[0].contains(" 1:2,2999:3000 4:7]"), "{copied:?}");
        let moved = client.command("UID MOVE 5:2999,7000 Sent").await;
        assert!(moved[0].contains(" 5:2999 8:3002]"), "{:?}", moved[0]);
        assert_eq!(moved[1..2996], vec!["* 5 EXPUNGE".to_owned(); 2995]);
        assert_eq!(client.ok("UID EXPUNGE 1:2,5,3000").await.iter().filter(|line| line.ends_with("EXPUNGE")).count(), 3);
        assert_eq!(client.ok("UID SEARCH ALL").await, ["* SEARCH 3 4"]);
    });
}

#[test]
fn scan_wakes_no_mailbox_and_says_what_it_could_not_read() {
    simulate(async {
        let world = World::with(Limits { retire_after: Duration::from_secs(10), ..Limits::default() }, Placement::one_thread());
        let mut client = world.log_in().await;
        client.append("Sent", "Subject: here it is\r\n\r\n").await;
        client.append("Archive", "Subject: nothing\r\n\r\n").await;
        pass(60).await;
        let lines = client.ok("SCAN \"\" * \"here it\"").await;
        assert!(lines.len() == 1 && lines[0].ends_with(" Sent"), "{lines:?}");
        let account = world.account().await;
        for entry in account.peek().await.unwrap().entries() {
            assert!(!account.is_open(entry.mailbox).await, "{}", entry.name);
        }
        world.fill("Trash", 1).await;
        let lines = client.command("SCAN \"\" * \"here it\"").await;
        assert!(lines.len() == 2 && lines[0].ends_with(" Sent") && lines[1].starts_with("NO "), "{lines:?}");
    });
}

#[test]
fn a_full_disk_keeps_nobody_from_reading() {
    simulate(async {
        let world = World::new();
        let mut client = world.select().await;
        client.append("INBOX", "a: b\r\n\r\n").await;
        world.store.refuse_next(AppendError::DiskFull);
        assert_eq!(client.ok("FETCH 1 BODY[HEADER]").await, ["* 1 FETCH (BODY[HEADER] {8}\r\na: b\r\n\r\n)"]);
        assert_eq!(client.ok("FETCH 1 FLAGS").await, ["* 1 FETCH (FLAGS (\\Recent))"]);
        let lines = client.ok("FETCH 1 BODY[HEADER]").await;
        assert!(lines[0].contains("\\Seen"), "{lines:?}");
    });
}

#[test]
fn damage_is_said_also_where_other_messages_are_gone() {
    simulate(async {
        let world = World::new();
        world.fill("INBOX", 2).await;
        let mut client = world.select().await;
        client.ok("UID EXPUNGE 1").await;
        let answer = client.refused("UID FETCH 1,2 (BODY.PEEK[])").await;
        assert!(answer.starts_with("NO [SERVERBUG]"), "{answer}");
    });
}

#[test]
fn many_names_are_listed() {
    simulate(async {
        let world = World::with(Limits::default(), Placement::one_thread_paced(|| Duration::from_millis(1)));
        let mut client = world.log_in().await;
        for number in 0..2_100 {
            client.ok(&format!("SUBSCRIBE a/{number}")).await;
        }
        assert_eq!(client.ok("LSUB \"\" a/*").await.len(), 2_100);
        assert_eq!(client.ok("LSUB \"\" %").await.len(), 7);
        assert_eq!(client.ok("LIST \"\" *").await.len(), 6);
    });
}

#[test]
fn what_examine_may_not_do() {
    simulate(async {
        let world = World::new();
        let mut client = world.log_in().await;
        client.append("INBOX (\\Deleted)", "a: b\r\n\r\n").await;
        client.ok("EXAMINE INBOX").await;
        for command in ["STORE 1 +FLAGS (\\Seen)", "EXPUNGE", "UID EXPUNGE 1", "MOVE 1 Sent", "UID MOVE 1 Sent"] {
            assert!(client.refused(command).await.starts_with("NO "), "{command}");
        }
        client.ok("FETCH 1 BODY[]").await;
        client.ok("COPY 1 Sent").await;
        client.ok("CLOSE").await;
        assert_eq!(client.ok("STATUS INBOX (MESSAGES UNSEEN)").await, ["* STATUS INBOX (MESSAGES 1 UNSEEN 1)"]);
        assert_eq!(client.ok("STATUS Sent (MESSAGES)").await, ["* STATUS Sent (MESSAGES 1)"]);
    });
}
