//! Clients that never read while others change what they watch: a doorbell rings once, whatever happens, so a session that cannot be told costs the same for
//! one change and for a thousand.

use std::time::{Duration, Instant};

use super::{resident_bytes, under_attack};
use crate::support::client::{greeted, logged_in};
use crate::support::wire::Wire;

/// Messages, so that a change of all flags is a long answer.
const MESSAGES: usize = 500;
/// Changes of all flags: together some 16 MB of answers for each that watches, more than sockets hold.
const CHANGES: usize = 800;

#[test]
fn who_never_reads_costs_the_same_for_one_change_and_for_many() {
    under_attack(|server| {
        let mut writer = logged_in(server.target.imap, "flood");
        let mut command = b"a APPEND INBOX".to_vec();
        (0..MESSAGES).for_each(|_| command.extend(b" {8+}\r\nA: b\r\n\r\n"));
        command.extend(b"\r\n");
        writer.send(&command).unwrap();
        writer.until("a").unwrap();
        writer.command("b", "SELECT INBOX").unwrap();
        let deaf: Vec<Wire> = (0..3).map(|_| idler(server, "flood")).collect();
        let half = flood(&mut writer);
        let before = resident_bytes(server);
        let other_half = flood(&mut writer);
        let grown = resident_bytes(server).saturating_sub(before);
        assert!(grown < 8 << 20, "{grown} bytes by {} changes that nobody hears", CHANGES / 2);
        assert!(other_half < half * 3 + Duration::from_secs(2), "{half:?}, then {other_half:?}");
        // They were deaf indeed: what was told to one is less than all changes.
        let mut told = 0;
        let [mut first, ..] = <[Wire; 3]>::try_from(deaf).unwrap_or_else(|_| unreachable!());
        while let Ok(response) = first.response(Duration::from_millis(500)) {
            told += usize::from(response.ends_with(b")"));
            first.history.clear();
        }
        assert!(told > 0 && told < CHANGES * MESSAGES * 9 / 10, "{told} flags of {}", CHANGES * MESSAGES);
    });
}

/// Half of the changes; how long they took.
fn flood(writer: &mut Wire) -> Duration {
    let start = Instant::now();
    for number in 0..CHANGES / 4 {
        for sign in ["+", "-"] {
            writer.command("s", &format!("STORE 1:* {sign}FLAGS.SILENT (\\Flagged k{})", number % 8)).unwrap();
        }
    }
    start.elapsed()
}

fn idler(server: &crate::support::server::Server, user: &str) -> Wire {
    let mut wire = greeted(server.target.imap);
    wire.command("l", &format!("LOGIN {user} {}", crate::support::server::PASSWORD)).unwrap();
    wire.command("s", "SELECT INBOX").unwrap();
    wire.send(b"i IDLE\r\n").unwrap();
    wire.until("+").unwrap();
    wire
}

#[test]
fn names_that_change_all_the_time_cost_an_idler_nothing() {
    under_attack(|server| {
        let mut writer = logged_in(server.target.imap, "names");
        let deaf: Vec<Wire> = (0..10).map(|_| idler(server, "names")).collect();
        let before = resident_bytes(server);
        for _ in 0..300 {
            writer.command("a", "CREATE x").unwrap();
            writer.command("b", "RENAME x y").unwrap();
            writer.command("c", "DELETE y").unwrap();
        }
        let grown = resident_bytes(server).saturating_sub(before);
        assert!(grown < 8 << 20, "{grown} bytes");
        drop(deaf);
    });
}
