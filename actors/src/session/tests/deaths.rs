//! Actors that panic in the middle: what was durable is answered with OK, what was not is done once, and nobody stops watching.

use super::*;
use crate::mailbox::requests::Change;
use crate::testing::{author, simulate};

/// Every job, flushes too, takes so long.
const PACE: Duration = Duration::from_millis(10);

fn paced() -> World {
    World::with(Limits::default(), Placement::one_thread_paced(|| PACE))
}

/// The number of records of a mailbox's log.
async fn records(mailbox: &MailboxHandle, world: &World) -> usize {
    world.core.journal.replay(mailbox.id().log(), 1).await.unwrap().len()
}

/// Runs a command and lets `death` happen a moment after it was sent.
async fn while_dying(client: &mut Client, text: &str, delay_ms: u64, death: impl FnOnce()) -> Vec<String> {
    let (lines, ()) = tokio::join!(client.command(text), async {
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        death();
    });
    lines
}

#[test]
fn a_change_whose_mailbox_dies_is_made_once() {
    simulate(async {
        let world = paced();
        let mut client = world.select().await;
        for delay in 0..25 {
            let inbox = world.mailbox("INBOX").await;
            let (before, exists) = (records(&inbox, &world).await, inbox.peek().await.unwrap().snapshot.messages().len());
            let lines = while_dying(&mut client, "APPEND INBOX {8+}\r\na: b\r\n\r\n", delay, || inbox.panic()).await;
            let expected = format!(" {}]", exists + 1);
            let last = lines.last().unwrap();
            assert!(last.starts_with("OK [APPENDUID ") && last.contains(&expected), "{delay} ms: {lines:?}");
            assert_eq!(records(&inbox, &world).await, before + 1, "{delay} ms");
            let inbox = world.mailbox("INBOX").await;
            let lines = while_dying(&mut client, "STORE 1:* FLAGS (\\Seen)", delay, || inbox.panic()).await;
            assert!(lines.last().unwrap().starts_with("OK "), "{delay} ms: {lines:?}");
            assert_eq!(records(&inbox, &world).await, before + 2, "{delay} ms");
            // Three deaths in a minute would be too many.
            pass(90).await;
        }
    });
}

#[test]
fn a_move_whose_account_dies_is_answered_from_the_log() {
    simulate(async {
        let world = paced();
        let mut client = world.select().await;
        let mut moved = 0;
        for delay in 0..40 {
            client.append("INBOX", "a: b\r\n\r\n").await;
            let account = world.account().await;
            let lines = while_dying(&mut client, "MOVE 1 Archive", delay, || account.panic()).await;
            moved += 1;
            assert!(lines[0].starts_with("* OK [COPYUID ") && lines[0].contains(&format!(" {moved}]")), "{delay} ms: {lines:?}");
            assert_eq!((lines[1].as_str(), lines.last().unwrap().as_str()), ("* 1 EXPUNGE", "OK Moved"), "{delay} ms");
            assert!(client.ok("STATUS INBOX (MESSAGES)").await[0].contains("(MESSAGES 0)"), "{delay} ms");
            assert!(client.ok("STATUS Archive (MESSAGES)").await[0].contains(&format!("(MESSAGES {moved})")), "{delay} ms");
            pass(90).await;
        }
    });
}

#[test]
fn a_rename_whose_account_dies_is_answered_from_the_log_and_told() {
    simulate(async {
        let world = paced();
        let mut client = world.log_in().await;
        client.ok("CREATE n0").await;
        client.ok("SELECT n0").await;
        for delay in 0..20 {
            let account = world.account().await;
            let lines = while_dying(&mut client, &format!("RENAME n{delay} n{}", delay + 1), delay, || account.panic()).await;
            assert_eq!(lines.last().unwrap(), "OK Renamed", "{delay} ms: {lines:?}");
            let all = [lines, client.ok("NOOP").await].concat();
            assert_eq!(all.iter().filter(|line| line.starts_with("* LIST")).count(), 1, "{delay} ms: {all:?}");
            pass(90).await;
        }
    });
}

#[test]
fn idle_goes_on_over_deaths() {
    simulate(async {
        let world = paced();
        let mut client = world.log_in().await;
        client.ok("CREATE x").await;
        client.ok("SELECT x").await;
        client.send("a IDLE\r\n").await;
        client.until("+").await;
        world.mailbox("x").await.panic();
        pass(1).await;
        let mut other = world.log_in().await;
        other.append("x", "a: b\r\n\r\n").await;
        assert_eq!([client.line().await, client.line().await], ["* 1 EXISTS", "* 1 RECENT"]);
        world.account().await.panic();
        pass(1).await;
        other.ok("RENAME x y").await;
        assert!(client.line().await.starts_with("* LIST "));
        other.append("y", "a: b\r\n\r\n").await;
        assert_eq!([client.line().await, client.line().await], ["* 2 EXISTS", "* 2 RECENT"]);
    });
}

#[test]
fn idle_outlives_a_mailbox_that_may_not_be_started() {
    simulate(async {
        let world = paced();
        let mut client = world.select().await;
        client.send("a IDLE\r\n").await;
        client.until("+").await;
        for _ in 0..3 {
            world.mailbox("INBOX").await.panic();
            pass(1).await;
        }
        pass(62).await;
        let inbox = world.mailbox("INBOX").await;
        inbox.change(author(1), Change::Append(vec![crate::given::new_message(1, crate::given::flags(""))])).await.unwrap();
        assert_eq!([client.line().await, client.line().await], ["* 1 EXISTS", "* 1 RECENT"]);
        client.send("DONE\r\n").await;
        assert!(client.line().await.starts_with("a OK"));
    });
}
