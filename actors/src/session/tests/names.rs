//! What a session is told of names, what is told of it, and how it leaves.

use super::*;
use crate::testing::simulate;

#[test]
fn a_new_name_is_told_once_and_only_to_who_does_not_know_it() {
    simulate(async {
        let world = World::new();
        let mut client = world.log_in().await;
        let mut other = world.log_in().await;
        client.ok("CREATE x").await;
        client.ok("SELECT x").await;
        other.ok("RENAME x y").await;
        assert_eq!(client.ok("NOOP").await.len(), 1);
        assert_eq!(client.ok("NOOP").await.len(), 0);
        other.ok("RENAME y z").await;
        let lines = client.ok("SELECT z").await;
        assert!(!lines.iter().any(|line| line.starts_with("* LIST")), "{lines:?}");
        other.ok("SUBSCRIBE z").await;
        other.ok("RENAME Trash Bin").await;
        assert_eq!(client.ok("NOOP").await.len(), 0);
    });
}

#[test]
fn the_last_of_many_names_is_told_however_fast_they_come() {
    simulate(async {
        let world = World::new();
        let (mut renaming, mut idlers) = (Vec::new(), Vec::new());
        for number in 0..8 {
            let mut client = world.log_in().await;
            client.ok(&format!("CREATE x{number}-0")).await;
            renaming.push(client);
            let mut idler = world.connect_through(7 + number).await;
            idler.ok("LOGIN a b").await;
            idler.ok(&format!("SELECT x{number}-0")).await;
            idler.send("a IDLE\r\n").await;
            idler.until("+").await;
            idlers.push(idler);
        }
        for round in 0..20 {
            for (number, client) in renaming.iter_mut().enumerate() {
                for last in round * 20..round * 20 + 20 {
                    client.send(&format!("r RENAME x{number}-{last} x{number}-{}\r\n", last + 1)).await;
                }
            }
            for (number, idler) in idlers.iter_mut().enumerate() {
                idler.until(&format!("* LIST (\\HasNoChildren) \"/\" x{number}-{}", round * 20 + 20)).await;
            }
        }
    });
}

#[test]
fn who_shows_what_a_session_does() {
    simulate(async {
        let world = World::new();
        let mut client = world.log_in().await;
        client.ok("CREATE x").await;
        client.ok("SELECT x").await;
        client.ok("RENAME x y").await;
        let seen = |sessions: Vec<SessionInfo>| {
            sessions.into_iter().map(|info| (info.user, info.selected, info.state)).collect::<Vec<_>>()
        };
        let is = |selected: &str, state: &str| vec![("a".to_owned(), selected.to_owned(), state.to_owned())];
        assert_eq!(seen(world.sessions().await), is("y", "selected"));
        client.send("a IDLE\r\n").await;
        client.until("+").await;
        assert_eq!(seen(world.sessions().await), is("y", "IDLE"));
        client.send("DONE\r\n").await;
        client.until("a OK").await;
        assert_eq!(seen(world.sessions().await), is("y", "selected"));
        client.ok("UNSELECT").await;
        assert_eq!(seen(world.sessions().await), is("", "authenticated"));
        let sessions = world.sessions().await;
        assert!(sessions[0].in_bytes > 50 && sessions[0].out_bytes > 500, "{sessions:?}");
    });
}

#[test]
fn nothing_stands_between_bye_and_ok() {
    simulate(async {
        let world = World::new();
        let mut client = world.select().await;
        world.log_in().await.append("INBOX", "a: b\r\n\r\n").await;
        let lines = client.command("LOGOUT").await;
        assert!(lines.len() == 2 && lines[0].starts_with("* BYE"), "{lines:?}");
        assert!(client.is_closed().await);
        pass(1).await;
        assert_eq!(world.sessions().await.len(), 0);
    });
}
