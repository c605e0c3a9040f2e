//! Nothing lasts longer than it may: timers, and the end that somebody else decides.

use super::*;
use crate::testing::simulate;

#[test]
fn before_login_a_minute_is_all_whatever_is_said() {
    simulate(async {
        let world = World::new();
        let begun = tokio::time::Instant::now();
        let mut client = world.connect().await;
        for _ in 0..3 {
            pass(19).await;
            client.ok("NOOP").await;
        }
        assert!(client.line().await.starts_with("* BYE Autologout"));
        assert_eq!(begun.elapsed().as_secs(), 60);
        assert!(client.is_closed().await);
    });
}

#[test]
fn an_exchange_of_sasl_ends_with_the_minute_too() {
    simulate(async {
        let world = World::new();
        let mut client = world.connect().await;
        client.send("a AUTHENTICATE PLAIN\r\n").await;
        assert!(client.line().await.starts_with('+'));
        assert!(client.line().await.starts_with("* BYE Autologout"));
        assert!(client.is_closed().await);
    });
}

#[test]
fn what_others_do_is_no_life_of_the_client() {
    simulate(async {
        let world = World::new();
        let mut client = world.select().await;
        let begun = tokio::time::Instant::now();
        let mut other = world.log_in().await;
        for _ in 0..3 {
            pass(600).await;
            other.append("INBOX", "Subject: x\r\n\r\n").await;
        }
        assert!(client.line().await.starts_with("* BYE Autologout"));
        assert_eq!(begun.elapsed().as_secs(), 31 * 60);
    });
}

#[test]
fn a_literal_that_never_ends_is_cut_off() {
    simulate(async {
        let world = World::new();
        let mut client = world.log_in().await;
        client.send("a APPEND INBOX {100000}\r\n").await;
        assert!(client.line().await.starts_with('+'));
        for _ in 0..3 {
            pass(1500).await;
            client.send("x").await;
        }
        let begun = tokio::time::Instant::now();
        pass(1500).await;
        assert!(client.line().await.starts_with("* BYE Autologout"));
        assert_eq!(begun.elapsed().as_secs(), 31 * 60);
        assert!(client.is_closed().await);
    });
}

#[test]
fn an_end_from_outside_comes_while_something_is_awaited() {
    simulate(async {
        let world = World::new();
        for waiting in ["a APPEND INBOX {10}\r\n", "a IDLE\r\n"] {
            let mut client = world.log_in().await;
            client.send(waiting).await;
            client.until("+").await;
            world.kick_all().await;
            client.until("* BYE An administrator").await;
            assert!(client.is_closed().await);
        }
        let mut client = world.connect().await;
        client.send("a AUTHENTICATE LOGIN\r\n").await;
        client.until("+").await;
        world.kick_all().await;
        assert!(client.line().await.starts_with("* BYE An administrator"));
    });
}

#[test]
fn an_end_from_outside_does_not_wait_for_a_client_that_does_not_read() {
    simulate(async {
        let world = World::new();
        let mut writer = world.log_in().await;
        writer.append("INBOX", &format!("Subject: x\r\n\r\n{}\r\n", "x".repeat(100_000))).await;
        for command in ["FETCH 1:* BODY.PEEK[]", "IDLE"] {
            let mut client = world.connect_through(1024).await;
            client.ok("LOGIN a b").await;
            client.ok("SELECT INBOX").await;
            client.send(&format!("a {command}\r\n")).await;
            if command == "IDLE" {
                client.until("+").await;
                for _ in 0..100 {
                    writer.append("INBOX", "Subject: x\r\n\r\n").await;
                }
            }
            pass(1).await;
            world.kick_all().await;
            pass(9).await;
            assert!(world.sessions().await.is_empty(), "{command}");
            writer = world.log_in().await;
        }
        let mut client = world.connect_through(1024).await;
        client.ok("LOGIN a b").await;
        client.ok("SELECT INBOX").await;
        client.send("a FETCH 1:* BODY.PEEK[]\r\n").await;
        pass(1).await;
        let begun = tokio::time::Instant::now();
        world.core.directory.end().await;
        assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    });
}

#[test]
fn a_long_fetch_is_broken_off_between_two_messages() {
    simulate(async {
        let world = World::new();
        let mut writer = world.log_in().await;
        for _ in 0..40 {
            writer.append("INBOX", &format!("Subject: x\r\n\r\n{}\r\n", "x".repeat(100_000))).await;
        }
        let mut client = world.connect_through(64 << 10).await;
        client.ok("LOGIN a b").await;
        client.ok("SELECT INBOX").await;
        client.send("a FETCH 1:* BODY.PEEK[]\r\n").await;
        client.line().await;
        world.kick_all().await;
        let lines = client.until("* BYE An administrator").await;
        assert!(lines.len() < 20, "{}", lines.len());
        assert!(lines.iter().all(|line| line.starts_with("* ")), "no tagged reply");
    });
}

/// A server where every job takes a second, a client that searches, for some forty turns, and when that began.
async fn searching(commands: &str) -> (World, Client, tokio::time::Instant) {
    let world = World::with(Limits::default(), Placement::one_thread_paced(|| Duration::from_secs(1)));
    world.fill("INBOX", 2_500).await;
    let mut client = world.select().await;
    client.send(commands).await;
    (world, client, tokio::time::Instant::now())
}

#[test]
fn a_long_search_is_broken_off_between_two_messages() {
    simulate(async {
        for command in ["SEARCH DELETED", "SORT (SUBJECT) UTF-8 ALL", "THREAD REFERENCES UTF-8 ALL", "SCAN \"\" * nothing"] {
            let (world, mut client, _) = searching(&format!("a {command}\r\n")).await;
            pass(15).await;
            world.kick_all().await;
            let begun = tokio::time::Instant::now();
            client.until("* BYE An administrator").await;
            assert!(begun.elapsed().as_secs() < 2, "{command}: {:?}", begun.elapsed());
        }
    });
}

#[test]
fn nothing_is_searched_for_a_client_that_is_gone() {
    simulate(async {
        let (world, client, _) = searching(&"a SEARCH DELETED\r\n".repeat(5)).await;
        pass(2).await;
        drop(client);
        pass(10).await;
        assert!(world.sessions().await.is_empty());
    });
}

#[test]
fn who_waits_for_a_search_is_not_forgotten() {
    simulate(async {
        let (_world, mut client, begun) = searching("a SEARCH DELETED\r\n").await;
        let lines = client.until("a OK").await;
        let signs = lines.iter().filter(|line| line.starts_with("* OK Still")).count() as u64;
        let turns = begun.elapsed().as_secs();
        assert!(turns >= 39 && (turns / 6..=turns / 5).contains(&signs), "{signs} signs in {turns} s");
        assert!(lines[lines.len() - 2].starts_with("* SEARCH 1 2 3 "));
        // What takes no long time is answered without.
        assert_eq!(client.ok("SEARCH 1:60").await.len(), 1);
    });
}

#[test]
fn a_failed_login_is_answered_after_the_same_time_whatever_the_hash_took() {
    for milliseconds in [0, 20, 200] {
        simulate(async move {
            let pace = move || Duration::from_millis(milliseconds);
            let world = World::with(Limits::default(), Placement::one_thread_paced(pace));
            let mut client = world.connect().await;
            for failures in 1..3 {
                let begun = tokio::time::Instant::now();
                assert!(client.refused("LOGIN a wrong").await.starts_with("NO [AUTHENTICATIONFAILED]"));
                assert_eq!(begun.elapsed(), Duration::from_millis(250 * failures), "{milliseconds}");
            }
        });
    }
}

#[test]
fn whoever_pipelines_many_commands_lets_others_between() {
    simulate(async {
        let world = World::new();
        let mut hasty = world.log_in().await;
        let mut other = world.log_in().await;
        hasty.send(&"x NOOP\r\n".repeat(1000)).await;
        other.ok("NOOP").await;
        // Its answers go out together when all are done, or would have gone.
        assert!(timeout(Duration::ZERO, hasty.line()).await.is_err(), "a thousand commands came before one of somebody else");
    });
}

#[test]
fn before_login_not_reading_gains_no_time() {
    simulate(async {
        let world = World::new();
        let mut client = world.connect_through(256).await;
        let flood = "a NOOP\r\n".repeat(20_000);
        let _ = timeout(Duration::from_secs(50), client.send(&flood)).await;
        for _ in 0..10 {
            let mut byte = [0];
            let _ = timeout(Duration::from_secs(2), client.pipe.read_exact(&mut byte)).await;
            pass(2).await;
        }
        assert!(world.sessions().await.is_empty());
    });
}

#[test]
fn the_heartbeat_comes_after_silence_only() {
    simulate(async {
        let world = World::new();
        let mut client = world.select().await;
        let mut other = world.log_in().await;
        client.send("a IDLE\r\n").await;
        client.until("+").await;
        let begun = tokio::time::Instant::now();
        pass(60).await;
        other.append("INBOX", "Subject: x\r\n\r\n").await;
        client.until("* 1 RECENT").await;
        assert!(client.line().await.starts_with("* OK "));
        assert_eq!(begun.elapsed().as_secs(), 180);
    });
}
