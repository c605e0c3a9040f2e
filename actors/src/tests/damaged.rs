//! Mailboxes whose log cannot be read: nobody is shown half of one, and nobody has to keep it.

use bytes::Bytes;
use carillon_storage::{Commit, Journal, RecordDraft};

use super::{World, append, seen};
use crate::account::requests::Change;
use crate::given::{name, uids};
use crate::mailbox::event::{MailboxEvent, decode};
use crate::refusal::{Fault, Refusal};
use crate::testing::{author, settle, simulate};

/// A server over a store in which INBOX and Junk have a message, and a record that nobody can read.
async fn world() -> World {
    let world = World::new().await;
    for mailbox in ["INBOX", "Junk"] {
        let mailbox = world.open(mailbox).await;
        append(&mailbox, 1).await.unwrap();
        let unreadable = RecordDraft { log: mailbox.id().log(), expected: 2, version: 1, events: Bytes::from_static(b"\xff") };
        let commit = Commit { at: 1, author: author(2), records: vec![unreadable], bodies: vec![] };
        assert!(world.store.append(vec![vec![commit]])[0].is_ok());
    }
    World::over(world.store).await
}

fn is_damaged<T: std::fmt::Debug>(outcome: Result<T, Refusal>) -> bool {
    matches!(outcome, Err(Refusal::Fault(Fault::Damaged(_))))
}

#[test]
fn a_damaged_mailbox_can_be_deleted() {
    simulate(async {
        let world = world().await;
        let junk = world.id("Junk").await;
        assert!(is_damaged(world.account.open(junk).await) && is_damaged(world.account.status(junk).await));
        let names = world.account.change(author(3), Change::Delete(name("Junk"))).await.unwrap();
        assert!(names.find(&name("Junk")).is_none());
        assert_eq!(world.account.open(junk).await.unwrap_err(), Refusal::NoSuchMailbox);
        // Its log is closed behind what there is.
        let last = world.store.read(junk.log(), 4, 10).unwrap();
        assert_eq!(decode(last[0].version, &last[0].events).unwrap(), [MailboxEvent::Ended]);
        assert_eq!(last.len(), 1);
    });
}

#[test]
fn a_damaged_inbox_gives_its_name_to_a_new_one() {
    simulate(async {
        let world = world().await;
        let damaged = world.id("INBOX").await;
        let before = world.account.peek().await.unwrap();
        let rename = |from: &str, to: &str| world.account.change(author(6), Change::Rename { from: name(from), to: name(to) });
        assert_eq!(rename("INBOX", "Junk").await.unwrap_err(), Refusal::MailboxExists);
        let names = rename("INBOX", "Old/Mail").await.unwrap();
        assert_eq!(names.find(&name("Old/Mail")).unwrap().mailbox, damaged);
        assert!(names.find(&name("Old")).is_some() && names.is_subscribed(&name("INBOX")));
        let new = names.find(&name("INBOX")).unwrap();
        assert!(new.mailbox != damaged && new.uid_validity > before.largest_uid_validity().unwrap());
        let inbox = world.open("INBOX").await;
        assert_eq!(append(&inbox, 7).await.unwrap().appended, uids([1]));
        assert!(is_damaged(world.account.open(damaged).await));
        world.account.change(author(8), Change::Delete(name("Old/Mail"))).await.unwrap();
        settle().await;
        // And so it is found by the next server.
        let next = World::over(world.store).await;
        assert_eq!(seen(&next.open("INBOX").await).await, [1]);
        assert!(next.account.peek().await.unwrap().find(&name("Old/Mail")).is_none());
    });
}
