//! How a session gets from one state to the next, and how it is thrown out.

use carillon_storage::AppendError;

use super::*;
use crate::testing::simulate;

#[test]
fn an_exchange_of_sasl_that_fails_is_a_command_that_failed() {
    simulate(async {
        let world = World::new();
        let mut client = world.connect().await;
        let long = "A".repeat(20_000);
        for line in ["*", "&", &long, "YQ==", "AGEA/w==\u{0}"] {
            client.send("x AUTHENTICATE PLAIN\r\n").await;
            assert!(client.line().await.starts_with('+'));
            client.send(&format!("{line}\r\n")).await;
            let answer = client.line().await;
            assert!(answer.contains("BAD ") || answer.contains("NO "), "{line}: {answer}");
            assert!(client.refused("SELECT INBOX").await.starts_with("BAD "));
        }
        assert!(client.refused("AUTHENTICATE PLAIN =").await.starts_with("BAD "));
        // NUL a NUL b
        client.ok("AUTHENTICATE PLAIN AGEAYg==").await;
        assert!(client.refused("AUTHENTICATE PLAIN AGEAYg==").await.starts_with("BAD "));
        client.ok("SELECT INBOX").await;
    });
}

#[test]
fn failed_logins_hold_up_nobody_else() {
    simulate(async {
        let world = World::new();
        let mut guessing = world.connect().await;
        guessing.send("x LOGIN a c\r\ny LOGIN a d\r\nz LOGIN a e\r\n").await;
        let begun = tokio::time::Instant::now();
        world.log_in().await;
        assert!(begun.elapsed() < Duration::from_millis(100));
        for tag in ["x", "y", "z"] {
            assert!(guessing.line().await.starts_with(&format!("{tag} NO [AUTHENTICATIONFAILED]")));
        }
        assert!(begun.elapsed() > Duration::from_secs(1));
        assert!(guessing.line().await.starts_with("* BYE Too many failed logins"));
        assert!(guessing.is_closed().await);
    });
}

#[test]
fn where_the_outcome_is_unknown_bye_stands_for_the_tagged_reply() {
    simulate(async {
        for command in ["APPEND INBOX {8+}\r\na: b\r\n\r\n", "CREATE x", "STORE 1 +FLAGS (\\Flagged)", "MOVE 1 Sent", "CLOSE"] {
            let world = World::new();
            let mut client = world.log_in().await;
            client.append("INBOX (\\Deleted)", "a: b\r\n\r\n").await;
            client.ok("SELECT INBOX").await;
            world.store.refuse_next(AppendError::Unknown("the disk went away".to_owned()));
            client.send(&format!("x {command}\r\n")).await;
            let answer = client.until("* BYE [UNAVAILABLE]").await;
            assert_eq!(answer.len(), 1, "{command}: {answer:?}");
            assert!(client.is_closed().await);
        }
    });
}

#[test]
fn no_login_and_no_select_while_the_server_ends() {
    simulate(async {
        let world = World::new();
        let mut idle = world.select().await;
        idle.send("x IDLE\r\n").await;
        idle.until("+").await;
        let mut late = world.connect().await;
        let core = world.core.clone();
        let end = actix_rt::spawn(async move { core.directory.end().await });
        late.send("x LOGIN a b\r\n").await;
        assert!(late.until("* BYE [UNAVAILABLE]").await.len() <= 2);
        assert!(idle.until("* BYE [UNAVAILABLE]").await.len() == 2);
        end.await.unwrap();
        assert!(idle.is_closed().await && late.is_closed().await);
    });
}

#[test]
fn a_client_that_does_not_read_holds_up_nobody_and_is_let_go() {
    simulate(async {
        let world = World::new();
        let mut stalled = world.connect_through(512).await;
        stalled.ok("LOGIN a b").await;
        stalled.send("x SELECT INBOX\r\n").await;
        stalled.until("x OK").await;
        stalled.send("y IDLE\r\n").await;
        stalled.until("+").await;
        let mut writer = world.log_in().await;
        let begun = tokio::time::Instant::now();
        for _ in 0..100 {
            writer.append("INBOX", "a: b\r\n\r\n").await;
        }
        assert!(begun.elapsed() < Duration::from_secs(1));
        pass(130).await;
        assert_eq!(world.sessions().await.len(), 1);
    });
}

#[test]
fn nonsense_is_borne_a_while() {
    simulate(async {
        let world = World::new();
        let mut client = world.connect().await;
        for _ in 0..19 {
            assert!(client.refused("NONSENSE").await.starts_with("BAD "));
        }
        client.ok("NOOP").await;
        for _ in 0..20 {
            assert!(client.refused("SELECT INBOX").await.starts_with("BAD "));
        }
        assert!(client.line().await.starts_with("* BYE Too many bad commands"));
        assert!(client.is_closed().await);
    });
}

#[test]
fn a_failed_select_leaves_nothing_selected_and_a_reselect_begins_anew() {
    simulate(async {
        let world = World::new();
        let mut client = world.select().await;
        let mut other = world.log_in().await;
        client.refused("SELECT nowhere").await;
        assert!(client.refused("CHECK").await.starts_with("BAD "));
        client.ok("SELECT INBOX").await;
        other.append("INBOX", "a: b\r\n\r\n").await;
        assert!(client.ok("SELECT INBOX").await.contains(&"* 1 RECENT".to_owned()));
        assert!(client.ok("SELECT INBOX").await.contains(&"* 0 RECENT".to_owned()));
        assert_eq!(client.ok("NOOP").await.len(), 0);
    });
}

#[test]
fn a_client_that_is_sent_away_while_it_sends_can_read_why() {
    simulate(async {
        let world = World::new();
        let flood = "x".repeat(300_000);
        for (start, why) in [
            ("x LOGIN {200000+}\r\n", "* BYE Input is larger"),
            ("x LOGIN {200000}\r\nx", "* BYE A literal was sent"),
            ("POST / HTTP/1.1\r\n", "* BYE This is an IMAP server"),
        ] {
            let mut client = world.connect_through(4 << 10).await;
            client.send(&format!("{start}{flood}")).await;
            assert!(client.until("* BYE").await.last().unwrap().starts_with(why), "{start}");
            assert!(client.is_closed().await, "{start}");
            drop(client);
            pass(1).await;
            assert!(world.sessions().await.is_empty());
        }
    });
}
