//! What is more than a server holds, or does at once.

use super::*;
use crate::testing::simulate;

#[test]
fn what_is_too_much_for_one_command_is_refused_and_can_be_done_in_parts() {
    simulate(async {
        let limits = Limits { change_bytes: 10_000, ..Limits::default() };
        let world = World::with(limits, Placement::one_thread());
        let mut client = world.select().await;
        for _ in 0..100 {
            client.append("INBOX", "a: b\r\n\r\n").await;
        }
        for command in ["COPY 1:* Archive", "MOVE 1:* Archive", "MOVE 1:* INBOX", "RENAME INBOX Old"] {
            let refused = client.refused(command).await;
            assert!(refused.starts_with("NO [LIMIT] "), "{command}: {refused}");
        }
        assert!(client.ok("STATUS Archive (MESSAGES)").await[0].contains("(MESSAGES 0)"));
        client.ok("COPY 1:50 Archive").await;
        client.ok("MOVE 51:* Archive").await;
        client.ok("RENAME INBOX Old").await;
        assert!(client.ok("STATUS Archive (MESSAGES)").await[0].contains("(MESSAGES 100)"));
        assert!(client.ok("STATUS Old (MESSAGES)").await[0].contains("(MESSAGES 50)"));
    });
}
