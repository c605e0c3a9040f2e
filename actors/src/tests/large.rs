//! What is about many messages or names: in the pool, with the same result, and never more at once than the journal takes.

use std::time::Duration;

use carillon_storage::AppendError;
use futures_util::future::{join, join_all};
use tokio::time::Instant;

use super::{ACCOUNT, append, seen};
use crate::account::actor::AccountHandle;
use crate::account::requests::Change as NameChange;
use crate::clock::Clock;
use crate::given::{NOW, flags, name, new_message, uids};
use crate::id::Ids;
use crate::limits::Limits;
use crate::mailbox::actor::MailboxHandle;
use crate::mailbox::requests::Change;
use crate::placement::Placement;
use crate::refusal::Refusal;
use crate::server::Core;
use crate::testing::{Watched, author, settle, simulate};

/// Every job, flushes too, takes so long.
const PACE: Duration = Duration::from_millis(10);

/// An account on a server whose jobs take their time, over a journal that takes little more at once than a command may have.
async fn paced(change_bytes: usize) -> AccountHandle {
    let store = Watched::new();
    store.judge(move |list| {
        let records = list.iter().flat_map(|commit| &commit.records);
        (records.map(|record| record.events.len()).sum::<usize>() > change_bytes + 100).then_some(AppendError::TooLarge)
    });
    let limits = Limits { change_bytes, ..Limits::default() };
    let core =
        Core::start(store, Placement::one_thread_paced(|| PACE), Clock::new(|| NOW * 1_000_000), Ids::new(NOW, 42), limits);
    core.directory.account(ACCOUNT).await.unwrap()
}

async fn open(account: &AccountHandle, mailbox: &str) -> MailboxHandle {
    let id = account.peek().await.unwrap().find(&name(mailbox)).unwrap().mailbox;
    account.open(id).await.unwrap()
}

/// How many jobs something takes, one after another.
async fn jobs<T>(work: impl Future<Output = T>) -> (T, u128) {
    settle().await;
    let begun = Instant::now();
    let outcome = work.await;
    (outcome, begun.elapsed().as_millis() / PACE.as_millis())
}

fn many(count: u64) -> Change {
    Change::Append((0..count).map(|number| new_message(number, flags(""))).collect())
}

#[test]
fn the_pool_works_where_the_change_is_large_not_the_mailbox() {
    simulate(async {
        let account = paced(46 << 20).await;
        let inbox = open(&account, "INBOX").await;
        // Into an empty mailbox: the decision, and the flush.
        let (changed, taken) = jobs(inbox.change(author(1), many(6_000))).await;
        assert_eq!((changed.unwrap().appended.len(), taken), (6_000, 2));
        let (changed, taken) = jobs(append(&inbox, 6_001)).await;
        assert_eq!((changed.unwrap().appended, taken), (uids([6_001]), 1));
        let add = |numbers: std::ops::RangeInclusive<u32>, set: &str| Change::Store {
            uids: uids(numbers),
            change: carillon_protocol::flag::FlagChange::Add,
            flags: flags(set),
        };
        assert_eq!(jobs(inbox.change(author(2), add(7..=7, "\\Seen"))).await.1, 1);
        // Many wishes about all messages, none of them large by itself.
        let wishes = join_all((0..20).map(|number| inbox.change(author(3), add(1..=500, &format!("k{number}")))));
        assert!(jobs(wishes).await.1 > 2);
        // The target is loaded, both sides prepare, the commit, both fold at once; the source is asked first.
        let moving = account.transfer(author(4), inbox.id(), uids(1..=6_000), name("Archive"));
        let (moved, taken) = jobs(moving).await;
        assert_eq!((moved.unwrap().to, taken), (uids(1..=6_000), 5));
        assert_eq!(seen(&inbox).await, [6_001]);
    });
}

#[test]
fn a_tree_of_many_names_is_renamed_in_the_pool() {
    simulate(async {
        let account = paced(46 << 20).await;
        let create =
            |mailbox: String| account.change(author(1), NameChange::Create { mailbox: name(&mailbox), special_use: vec![] });
        for number in 0..200 {
            create(format!("a/{number}")).await.unwrap();
        }
        let rename = |from: &str, to: &str| account.change(author(2), NameChange::Rename { from: name(from), to: name(to) });
        let (renamed, taken) = jobs(join(rename("a", "b"), account.change(author(3), NameChange::Subscribe(name("b/7"))))).await;
        let names = renamed.0.unwrap();
        assert_eq!((names.below(&name("b")).count(), names.below(&name("a")).count(), taken), (200, 0, 3));
        assert!(renamed.1.unwrap().is_subscribed(&name("b/7")));
        assert_eq!(jobs(rename("b/7", "b/seven")).await.1, 1);
    });
}

#[test]
fn a_list_is_never_larger_than_the_journal_takes() {
    simulate(async {
        let account = paced(10_000).await;
        let inbox = open(&account, "INBOX").await;
        let first = append(&inbox, 1);
        // Behind the first: five are a list, three the next, and the large one with what follows it the last.
        let small = join_all((2..=9).map(|command| inbox.change(author(command), many(20))));
        let large = join(inbox.change(author(10), many(90)), append(&inbox, 11));
        let (((first, small), (large, last)), taken) = jobs(join(join(first, small), large)).await;
        assert!(first.is_ok() && small.iter().all(Result::is_ok));
        assert_eq!((large.unwrap().appended, last.unwrap().appended, taken), (uids(162..=251), uids([252]), 4));
        assert_eq!(inbox.change(author(12), many(140)).await, Err(Refusal::TOO_MUCH_AT_ONCE));
        assert_eq!(append(&inbox, 13).await.unwrap().appended, uids([253]));
        // Names too.
        let long = |number: u32| name(&format!("{}/{number}", "x".repeat(200)));
        for number in 0..25 {
            account.change(author(14), NameChange::Create { mailbox: long(number), special_use: vec![] }).await.unwrap();
        }
        let (from, to) = (name(&"x".repeat(200)), name(&"y".repeat(200)));
        let refused = account.change(author(15), NameChange::Rename { from: from.clone(), to }).await;
        assert_eq!(refused.unwrap_err(), Refusal::TOO_MUCH_AT_ONCE);
        account.change(author(16), NameChange::Rename { from, to: name("y") }).await.unwrap();
        let there =
            |number: u32| account.change(author(17), NameChange::Rename { from: name("y"), to: name(&format!("y{number}")) });
        let back =
            |number: u32| account.change(author(18), NameChange::Rename { from: name(&format!("y{number}")), to: name("y") });
        let all = join_all((0..10).map(|number| join(there(number), back(number)))).await;
        assert!(all.iter().all(|(there, back)| there.is_ok() && back.is_ok()));
    });
}
