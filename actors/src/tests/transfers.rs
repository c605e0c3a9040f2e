use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use carillon_storage::fault::{AppendFault, FaultJournal};
use carillon_storage::{AppendError, Journal, MemoryJournal};
use futures_util::future::{LocalBoxFuture, join, join_all};
use tokio::time::timeout;

use super::{ACCOUNT, World, append, seen};
use crate::account::actor::AccountHandle;
use crate::account::requests::{Change, Transferred};
use crate::doorbell::{Rang, Watch};
use crate::given::{flags, name, new_message, uid, uids};
use crate::mailbox::requests::{Change as MailboxChange, Claim, Prepare};
use crate::refusal::{Fault, Refusal};
use crate::testing::{Listener, author, server, settle, simulate};

impl World {
    async fn transfer(&self, from: &str, numbers: &[u32], to: &str) -> Result<Transferred, Refusal> {
        let source = self.id(from).await;
        self.account.transfer(author(90), source, uids(numbers.iter().copied()), name(to)).await
    }

    async fn change(&self, change: Change) -> Result<(), Refusal> {
        self.account.change(author(91), change).await.map(drop)
    }
}

fn rename(from: &str, to: &str) -> Change {
    Change::Rename { from: name(from), to: name(to) }
}

fn create(mailbox: &str) -> Change {
    Change::Create { mailbox: name(mailbox), special_use: vec![] }
}

#[test]
fn a_move_is_one_commit_that_both_mailboxes_show_when_it_is_answered() {
    simulate(async {
        let world = World::new().await;
        let (inbox, archive) = (world.open("INBOX").await, world.open("Archive").await);
        for number in 1..=4 {
            append(&inbox, number).await.unwrap();
        }
        append(&archive, 9).await.unwrap();
        let before = world.store.newest_commit();
        let moved = world.transfer("INBOX", &[2, 3, 77], "Archive").await.unwrap();
        assert_eq!((moved.from, moved.to), (uids([2, 3]), uids([2, 3])));
        assert_eq!((seen(&inbox).await, seen(&archive).await), (vec![1, 4], vec![1, 2, 3]));
        let records = world.store.commits(before + 1, 10).unwrap();
        assert_eq!(records.len(), 2);
        assert_eq!(records[0].commit, records[1].commit);
        // Nothing that is there: nothing is written.
        assert!(world.transfer("INBOX", &[2], "Archive").await.unwrap().from.is_empty());
        assert_eq!(world.store.newest_commit(), before + 1);
        assert_eq!(world.transfer("INBOX", &[1], "Nowhere").await.unwrap_err(), Refusal::NoTargetMailbox);
        // Onto itself.
        let moved = world.transfer("INBOX", &[1], "INBOX").await.unwrap();
        assert_eq!((moved.from, moved.to), (uids([1]), uids([5])));
        assert_eq!(seen(&inbox).await, [4, 5]);
    });
}

#[test]
fn crossing_moves_do_not_hold_each_other_up() {
    simulate(async {
        let world = World::new().await;
        let (inbox, archive) = (world.open("INBOX").await, world.open("Archive").await);
        append(&inbox, 1).await.unwrap();
        append(&archive, 2).await.unwrap();
        let crossing = join(world.transfer("INBOX", &[1], "Archive"), world.transfer("Archive", &[1], "INBOX"));
        let (there, back) = timeout(Duration::from_secs(60), crossing).await.unwrap();
        assert_eq!((there.unwrap().to, back.unwrap().to), (uids([2]), uids([2])));
        assert_eq!((seen(&inbox).await, seen(&archive).await), (vec![2], vec![2]));
    });
}

#[test]
fn a_move_of_many_messages_is_visible_when_it_is_answered() {
    simulate(async {
        let world = World::new().await;
        let (inbox, archive) = (world.open("INBOX").await, world.open("Archive").await);
        let many = (1..=6_000).map(|number| new_message(number, flags(""))).collect();
        inbox.change(author(1), MailboxChange::Append(many)).await.unwrap();
        let all: Vec<u32> = (1..=6_000).collect();
        world.transfer("INBOX", &all, "Archive").await.unwrap();
        assert_eq!((seen(&inbox).await.len(), seen(&archive).await.len()), (0, 6_000));
        world.transfer("Archive", &all[..10], "INBOX").await.unwrap();
        assert_eq!((seen(&inbox).await.len(), seen(&archive).await.len()), (10, 5_990));
    });
}

#[test]
fn crossing_moves_and_changes_do_not_wait_for_each_other_for_ever() {
    simulate(async {
        let world = World::new().await;
        let (inbox, archive) = (world.open("INBOX").await, world.open("Archive").await);
        for number in 1..=10 {
            append(&inbox, number).await.unwrap();
            append(&archive, number).await.unwrap();
        }
        let there = join_all((1..=10).map(|number| world.transfer("INBOX", Box::leak(Box::new([number])), "Archive")));
        let back = join_all((1..=10).map(|number| world.transfer("Archive", Box::leak(Box::new([number])), "INBOX")));
        let more = join_all((11..=30).map(|number| append(if number % 2 == 0 { &inbox } else { &archive }, number)));
        let renaming = world.change(rename("INBOX", "Old"));
        let deleting = async {
            world.change(create("Gone")).await.unwrap();
            world.change(Change::Delete(name("Gone"))).await
        };
        let all = join(join(there, back), join(more, join(renaming, deleting)));
        let ((there, back), (more, (renaming, deleting))) = timeout(Duration::from_secs(60), all).await.unwrap();
        assert!(there.iter().chain(&back).all(Result::is_ok) && more.iter().all(Result::is_ok));
        assert_eq!((renaming, deleting), (Ok(()), Ok(())));
        let all = seen(&inbox).await.len() + seen(&archive).await.len() + seen(&world.open("Old").await).await.len();
        assert_eq!(all, 40);
    });
}

#[test]
fn a_refused_move_leaves_both_as_they_were_and_free() {
    simulate(async {
        let world = World::new().await;
        let (inbox, archive) = (world.open("INBOX").await, world.open("Archive").await);
        append(&inbox, 1).await.unwrap();
        world.store.refuse_next(AppendError::DiskFull);
        let refused = world.transfer("INBOX", &[1], "Archive").await.unwrap_err();
        assert!(matches!(refused, Refusal::Fault(Fault::Unavailable(_))));
        assert_eq!((seen(&inbox).await, seen(&archive).await), (vec![1], vec![]));
        assert!(append(&inbox, 2).await.is_ok() && append(&archive, 3).await.is_ok());
        // A target that panics while the source holds still.
        archive.panic();
        let moved = world.transfer("INBOX", &[1], "Archive").await.unwrap();
        assert_eq!((moved.from, moved.to), (uids([1]), uids([2])));
        assert_eq!(seen(&world.open("Archive").await).await, [1, 2]);
    });
}

#[test]
fn a_hold_serves_looks_lets_changes_wait_and_reloads_when_it_is_dropped() {
    simulate(async {
        let world = World::new().await;
        let inbox = world.open("INBOX").await;
        append(&inbox, 1).await.unwrap();
        let prepared = inbox.prepare(Prepare::Expunge(None)).await.unwrap();
        assert_eq!(prepared.leaving.messages.len(), 1);
        assert_eq!(seen(&inbox).await, [1]);
        let waiting = inbox.clone();
        let waiting = actix_rt::spawn(async move { append(&waiting, 2).await });
        settle().await;
        assert!(!waiting.is_finished());
        drop(prepared);
        assert_eq!(waiting.await.unwrap().unwrap().position, Some(3));
        let prepared = inbox.prepare(Prepare::Expunge(None)).await.unwrap();
        prepared.hold.unchanged();
        assert!(append(&inbox, 3).await.is_ok());
    });
}

#[test]
fn rename_of_inbox_moves_its_messages_and_nothing_else() {
    simulate(async {
        let world = World::new().await;
        let inbox = world.open("INBOX").await;
        for number in 1..=3 {
            append(&inbox, number).await.unwrap();
        }
        let before = inbox.peek().await.unwrap().snapshot;
        world.change(rename("INBOX", "Old/2024")).await.unwrap();
        let after = inbox.peek().await.unwrap().snapshot;
        assert_eq!((after.uid_validity(), after.uid_next(), after.counts().messages), (before.uid_validity(), uid(4), 0));
        let old = world.open("Old/2024").await;
        let target = old.peek().await.unwrap().snapshot;
        assert_eq!((seen(&old).await, target.position()), (vec![1, 2, 3], 2));
        assert!(target.uid_validity() > before.uid_validity());
        let names = world.account.peek().await.unwrap();
        assert!(names.is_subscribed(&name("INBOX")) && !names.is_subscribed(&name("Old/2024")));
        assert!(names.find(&name("Old")).is_some());
        // An empty one.
        world.change(rename("INBOX", "Empty")).await.unwrap();
        assert_eq!(seen(&world.open("Empty").await).await, Vec::<u32>::new());
        assert!(append(&inbox, 4).await.is_ok());
    });
}

#[test]
fn delete_is_seen_by_who_watches_and_refused_to_who_comes() {
    simulate(async {
        let world = World::new().await;
        let junk = world.open("Junk").await;
        append(&junk, 1).await.unwrap();
        let ears = Listener::begin();
        let watch = Watch::Mailbox(junk.id());
        let (subscriber, _) = junk.subscribe(ears.bell(watch), Claim::Nothing).await.unwrap();
        world.change(Change::Delete(name("Junk"))).await.unwrap();
        assert_eq!(ears.listen().await, [Rang { watch, dropped: false }]);
        let look = junk.look(subscriber, Claim::Nothing).await.unwrap();
        assert!(look.snapshot.is_ended());
        assert_eq!(append(&junk, 2).await, Err(Refusal::NoSuchMailbox));
        assert_eq!(junk.subscribe(ears.bell(watch), Claim::Nothing).await.unwrap_err(), Fault::Gone.into());
        assert_eq!(world.account.open(junk.id()).await.unwrap_err(), Refusal::NoSuchMailbox);
        assert_eq!(world.account.status(junk.id()).await.unwrap_err(), Refusal::NoSuchMailbox);
        junk.unsubscribe(subscriber);
        assert_eq!(junk.peek().await.unwrap_err(), Fault::Gone.into());
        assert_eq!(ears.listen().await, []);
        // A new one of that name is another one.
        world.change(create("Junk")).await.unwrap();
        assert_ne!(world.id("Junk").await, junk.id());
        assert_eq!(seen(&world.open("Junk").await).await, Vec::<u32>::new());
    });
}

/// Everything that a user would see: names, messages by their sizes, subscriptions.
type Picture = (BTreeMap<String, Vec<u64>>, Vec<String>);

async fn picture(account: &AccountHandle) -> Picture {
    let names = account.peek().await.unwrap();
    let text = |name: &carillon_protocol::mailbox_name::MailboxName| name.segments().join("/");
    let mut mailboxes = BTreeMap::new();
    for entry in names.entries() {
        let look = account.open(entry.mailbox).await.unwrap().peek().await.unwrap();
        let sizes = look.snapshot.messages().iter().map(|message| message.details.size).collect();
        mailboxes.insert(text(&entry.name), sizes);
    }
    (mailboxes, names.subscriptions().map(text).collect())
}

type Act = fn(&AccountHandle) -> LocalBoxFuture<'_, Result<(), Refusal>>;

async fn account_over(store: Arc<FaultJournal<Arc<MemoryJournal>>>) -> AccountHandle {
    server(store).directory.account(ACCOUNT).await.unwrap()
}

async fn set_up(account: &AccountHandle) {
    account.change(author(1), create("Work/2023/Tax")).await.unwrap();
    for subscribed in ["Work", "Work/2023/Tax", "Work/Later"] {
        account.change(author(2), Change::Subscribe(name(subscribed))).await.unwrap();
    }
    let names = account.peek().await.unwrap();
    for (number, mailbox) in ["INBOX", "INBOX", "Work", "Work/2023/Tax", "Archive"].into_iter().enumerate() {
        let mailbox = account.open(names.find(&name(mailbox)).unwrap().mailbox).await.unwrap();
        let message = new_message(number as u64, flags("\\Flagged Work"));
        mailbox.change(author(3), MailboxChange::Append(vec![message])).await.unwrap();
    }
}

/// Runs a command with each fault at each of its flushes; what a new server finds is the picture before or after, and what was answered is true.
fn whole_or_not_at_all(act: Act) {
    let (before, after, first, last) = simulate(async {
        let store = Arc::new(FaultJournal::new(Arc::new(MemoryJournal::new()), 0, AppendFault::Fail));
        let account = account_over(store.clone()).await;
        set_up(&account).await;
        let (before, first) = (picture(&account).await, store.appends() + 1);
        act(&account).await.unwrap();
        (before, picture(&account).await, first, store.appends())
    });
    assert_ne!(before, after);
    assert!(first <= last);
    for nth in first..=last {
        for fault in [AppendFault::Fail, AppendFault::Full, AppendFault::Tear, AppendFault::Vanish] {
            let memory = Arc::new(MemoryJournal::new());
            let outcome = simulate(async {
                let account = account_over(Arc::new(FaultJournal::new(memory.clone(), nth, fault))).await;
                set_up(&account).await;
                let outcome = act(&account).await;
                if matches!(fault, AppendFault::Fail | AppendFault::Full) {
                    // The server goes on, and shows what it answered.
                    assert_eq!(picture(&account).await, before, "{fault:?} at {nth}");
                    assert_eq!(act(&account).await, Ok(()));
                    assert_eq!(picture(&account).await, after, "again after {fault:?} at {nth}");
                }
                outcome
            });
            assert!(outcome.is_err());
            let found =
                simulate(async { picture(&account_over(Arc::new(FaultJournal::new(memory, 0, AppendFault::Fail))).await).await });
            let expected = if fault == AppendFault::Vanish { &before } else { &after };
            assert_eq!(found, *expected, "{fault:?} at {nth}");
        }
    }
}

#[test]
fn a_move_is_whole_or_not_at_all() {
    whole_or_not_at_all(|account| {
        Box::pin(async move {
            let names = account.peek().await?;
            let source = names.find(&name("INBOX")).unwrap().mailbox;
            account.transfer(author(9), source, uids([1, 2]), name("Archive")).await.map(drop)
        })
    });
}

#[test]
fn a_rename_of_a_tree_is_whole_or_not_at_all() {
    whole_or_not_at_all(|account| {
        Box::pin(async move { account.change(author(9), rename("Work", "Archive/Deep/Work")).await.map(drop) })
    });
}

#[test]
fn a_rename_of_inbox_is_whole_or_not_at_all() {
    whole_or_not_at_all(|account| {
        Box::pin(async move { account.change(author(9), rename("INBOX", "Old/2024")).await.map(drop) })
    });
}

#[test]
fn a_delete_is_whole_or_not_at_all() {
    whole_or_not_at_all(|account| {
        Box::pin(async move { account.change(author(9), Change::Delete(name("Work/2023/Tax"))).await.map(drop) })
    });
}
