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
