use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler};
use carillon_storage::{AppendError, Journal, Position};
use futures_util::future::{join, join_all};
use proptest::prelude::*;

use super::{ACCOUNT, World, append, seen};
use crate::doorbell::{Doorbell, Rang, Watch};
use crate::given::{flags, new_message, uid, uids};
use crate::mailbox::actor::MailboxHandle;
use crate::mailbox::requests::{Change, Claim, SubscriberId};
use crate::placement::Placement;
use crate::refusal::{Fault, Refusal};
use crate::testing::{Listener, Watched, author, server_at, settle, simulate};

#[test]
fn what_waits_is_decided_together_and_flushed_once() {
    simulate(async {
        let world = World::new().await;
        let inbox = world.open("INBOX").await;
        let before = world.store.flushes();
        let answers = join_all((1..=40).map(|number| append(&inbox, number))).await;
        assert!(answers.iter().all(Result::is_ok));
        assert_eq!(world.store.flushes() - before, 2);
        assert_eq!(seen(&inbox).await, (1..=40).collect::<Vec<_>>());
        // One commit a command.
        let records = world.core.journal.replay(inbox.id().log(), 1).await.unwrap();
        assert_eq!(records.len(), 41);
        assert_eq!(records.iter().map(|record| record.commit).collect::<std::collections::BTreeSet<_>>().len(), 41);
    });
}

#[test]
fn a_list_is_refused_whole_and_the_next_one_is_not() {
    simulate(async {
        let world = World::new().await;
        let inbox = world.open("INBOX").await;
        // The first is flushed alone; the four behind it are one list, of which the last changes nothing and yet depends on the others.
        let store = world.store.clone();
        store.judge(|list| (list.len() == 3).then_some(AppendError::DiskFull));
        let seen_flag =
            Change::Store { uids: uids([2]), change: carillon_protocol::flag::FlagChange::Add, flags: flags("\\Seen") };
        let set = |command| inbox.change(author(command), seen_flag.clone());
        let first = append(&inbox, 1);
        let list = join(join(append(&inbox, 2), append(&inbox, 3)), join(set(4), set(5)));
        let (first, ((two, three), (four, five))) = join(first, list).await;
        assert!(first.is_ok());
        let full = Refusal::Fault(Fault::Unavailable("the disk is full".into()));
        assert_eq!((two, three), (Err(full.clone()), Err(full.clone())));
        assert_eq!((four, five), (Err(full.clone()), Err(full)));
        assert_eq!(seen(&inbox).await, [1]);
        assert_eq!(append(&inbox, 6).await.unwrap().appended, uids([2]));
    });
}

#[test]
fn a_change_is_durable_before_a_bell_rings_or_a_look_shows_it() {
    simulate(async {
        let world = World::new().await;
        let inbox = world.open("INBOX").await;
        let ears = Listener::begin();
        let watch = Watch::Mailbox(inbox.id());
        let (subscriber, _) = inbox.subscribe(ears.bell(watch), Claim::Nothing).await.unwrap();
        let (heard, quiet) = (ears.heard.clone(), Arc::new(Mutex::new(Vec::new())));
        let noted = quiet.clone();
        world.store.judge(move |_| {
            noted.lock().unwrap().push(heard.lock().unwrap().is_empty());
            None
        });
        append(&inbox, 1).await.unwrap();
        assert_eq!(*quiet.lock().unwrap(), [true]);
        let rang = Rang { watch, dropped: false };
        assert_eq!(ears.listen().await, [rang]);
        // No second ring before the next look, whatever happens.
        append(&inbox, 2).await.unwrap();
        assert_eq!(ears.listen().await, []);
        assert_eq!(inbox.look(subscriber, Claim::Nothing).await.unwrap().snapshot.position(), 3);
        append(&inbox, 3).await.unwrap();
        assert_eq!(ears.listen().await, [rang]);
        inbox.unsubscribe(subscriber);
        append(&inbox, 4).await.unwrap();
        assert_eq!(ears.listen().await, []);
        assert_eq!(inbox.look(subscriber, Claim::Nothing).await.unwrap_err(), Fault::Gone.into());
    });
}

/// What a session does with its bells.
struct Watcher {
    mailbox: MailboxHandle,
    subscriber: SubscriberId,
    seen: Arc<Mutex<Position>>,
    is_looking: bool,
    must_look_again: bool,
}

impl Actor for Watcher {
    type Context = Context<Self>;
}

impl Watcher {
    fn look(&mut self, context: &mut Context<Self>) {
        if self.is_looking {
            self.must_look_again = true;
            return;
        }
        self.is_looking = true;
        let (mailbox, subscriber) = (self.mailbox.clone(), self.subscriber);
        let look = wrap_future(async move { mailbox.look(subscriber, Claim::Nothing).await });
        context.spawn(look.map(|look, watcher: &mut Self, context: &mut Context<Self>| {
            watcher.is_looking = false;
            *watcher.seen.lock().unwrap() = look.unwrap().snapshot.position();
            if std::mem::take(&mut watcher.must_look_again) {
                watcher.look(context);
            }
        }));
    }
}

impl Handler<Rang> for Watcher {
    type Result = ();
    fn handle(&mut self, _: Rang, context: &mut Self::Context) {
        self.look(context);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn a_bell_is_never_lost(steps in prop::collection::vec((0..8_u8, 0..6_usize), 1..40)) {
        simulate(async move {
            let world = World::new().await;
            let inbox = world.open("INBOX").await;
            let position = Arc::new(Mutex::new(0));
            let (mailbox, seen) = (inbox.clone(), position.clone());
            let (sender, subscribed) = tokio::sync::oneshot::channel();
            Watcher::create(move |context| {
                let bell = Doorbell::new(context.address().recipient(), Watch::Mailbox(mailbox.id()));
                let handle = mailbox.clone();
                let subscribe = wrap_future(async move { handle.subscribe(bell, Claim::Nothing).await });
                context.spawn(subscribe.map(|answer, watcher: &mut Watcher, _: &mut Context<Watcher>| {
                    let (subscriber, look) = answer.unwrap();
                    watcher.subscriber = subscriber;
                    *watcher.seen.lock().unwrap() = look.snapshot.position();
                    sender.send(()).unwrap();
                }));
                Watcher { mailbox, subscriber: SubscriberId(0), seen, is_looking: false, must_look_again: false }
            });
            subscribed.await.unwrap();
            let mut writers = Vec::new();
            for (number, (kind, pause)) in steps.into_iter().enumerate() {
                let (mailbox, number) = (inbox.clone(), number as u64 + 1);
                if kind > 0 {
                    writers.push(actix_rt::spawn(async move { append(&mailbox, number).await.unwrap() }));
                } else {
                    world.store.refuse_next(AppendError::Failed("tried".into()));
                    let _ = append(&mailbox, number).await;
                }
                for _ in 0..pause {
                    tokio::task::yield_now().await;
                }
            }
            for writer in writers {
                // Refused ones have nothing to show.
                let _ = writer.await;
            }
            settle().await;
            let durable = world.store.head(inbox.id().log()).unwrap().position;
            assert_eq!(*position.lock().unwrap(), durable);
        });
    }
}

#[test]
fn a_panic_ends_one_mailbox_and_the_account_starts_it_again() {
    simulate(async {
        let world = World::new().await;
        let (inbox, sent) = (world.open("INBOX").await, world.open("Sent").await);
        append(&inbox, 1).await.unwrap();
        let ears = Listener::begin();
        let watch = Watch::Mailbox(inbox.id());
        let (subscriber, _) = inbox.subscribe(ears.bell(watch), Claim::Nothing).await.unwrap();
        inbox.panic();
        assert_eq!(inbox.look(subscriber, Claim::Nothing).await.unwrap_err(), Fault::Gone.into());
        assert_eq!(ears.listen().await, [Rang { watch, dropped: true }]);
        assert_eq!(append(&inbox, 2).await, Err(Fault::Gone.into()));
        assert!(append(&sent, 1).await.is_ok());
        let again = world.open("INBOX").await;
        let (_, look) = again.subscribe(ears.bell(watch), Claim::Nothing).await.unwrap();
        assert_eq!(look.snapshot.counts().messages, 1);
        append(&again, 3).await.unwrap();
        assert_eq!(ears.listen().await, [Rang { watch, dropped: false }]);
    });
}

#[test]
fn a_command_whose_mailbox_died_finds_out_what_became_of_it() {
    simulate(async {
        let world = World::new().await;
        let inbox = world.open("INBOX").await;
        // The commit is accepted before the actor comes to its panic.
        let (dying, other) = (inbox.clone(), inbox.clone());
        let outcome = actix_rt::spawn(async move { append(&dying, 1).await });
        tokio::task::yield_now().await;
        other.panic();
        assert_eq!(outcome.await.unwrap(), Err(Fault::Gone.into()));
        let record = world.core.journal.record_of(&author(1), 0, inbox.id().log()).await.unwrap();
        assert_eq!(record.map(|record| record.position), Some(2));
        assert_eq!(world.core.journal.record_of(&author(2), 0, inbox.id().log()).await, Ok(None));
        // And the actor that follows has waited for it.
        assert_eq!(seen(&world.open("INBOX").await).await, [1]);
    });
}

#[test]
fn a_mailbox_that_follows_a_dead_one_waits_for_what_the_journal_accepted() {
    simulate(async {
        let store = Watched::new();
        let core = server_at(store.clone(), Placement::one_thread_paced(|| Duration::from_millis(10)));
        let account = core.directory.account(ACCOUNT).await.unwrap();
        let world = World { store, core, account };
        let (inbox, sent) = (world.open("INBOX").await, world.open("Sent").await);
        // While the first flush runs, the dying mailbox's commit waits for the next.
        let (first, dying) = (sent.clone(), inbox.clone());
        let first = actix_rt::spawn(async move { append(&first, 1).await });
        let outcome = actix_rt::spawn(async move { append(&dying, 2).await });
        settle().await;
        inbox.panic();
        let again = world.account.open(inbox.id()).await.unwrap();
        assert_eq!(outcome.await.unwrap(), Err(Fault::Gone.into()));
        assert_eq!(seen(&again).await, [1]);
        assert!(append(&again, 3).await.is_ok());
        assert!(first.await.unwrap().is_ok());
    });
}

#[test]
fn after_three_deaths_in_a_minute_a_mailbox_rests_for_a_minute() {
    simulate(async {
        let world = World::new().await;
        let id = world.id("INBOX").await;
        for _ in 0..3 {
            let inbox = world.account.open(id).await.unwrap();
            inbox.panic();
            settle().await;
            tokio::time::advance(Duration::from_secs(5)).await;
        }
        let refused = world.account.open(id).await.unwrap_err();
        assert!(matches!(refused, Refusal::Fault(Fault::Unavailable(_))));
        assert!(world.account.open(world.id("Sent").await).await.is_ok());
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(world.account.open(id).await.is_ok());
    });
}

#[test]
fn a_mailbox_that_nobody_uses_retires_and_is_found_as_it_was() {
    simulate(async {
        let world = World::new().await;
        let (inbox, sent) = (world.open("INBOX").await, world.open("Sent").await);
        let ears = Listener::begin();
        let (subscriber, _) = sent.subscribe(ears.bell(Watch::Mailbox(sent.id())), Claim::Nothing).await.unwrap();
        append(&inbox, 1).await.unwrap();
        // It claims the first message; the second stays recent.
        let watch = Watch::Mailbox(inbox.id());
        let (own, look) = inbox.subscribe(ears.bell(watch), Claim::Recent).await.unwrap();
        assert_eq!(look.recent_from, uid(1));
        inbox.unsubscribe(own);
        append(&inbox, 2).await.unwrap();
        tokio::time::sleep(world.core.limits.retire_after * 2).await;
        assert_eq!(inbox.peek().await.unwrap_err(), Fault::Gone.into());
        assert_eq!(append(&inbox, 3).await, Err(Fault::Gone.into()));
        // The watched one stayed.
        assert_eq!(sent.look(subscriber, Claim::Nothing).await.unwrap().snapshot.position(), 1);
        assert!(sent.peek().await.is_ok());
        let status = world.account.status(inbox.id()).await.unwrap();
        assert_eq!((status.counts.messages, status.recent, status.uid_next, status.position), (2, 1, uid(3), 3));
        // Nobody was woken for that.
        assert_eq!(inbox.peek().await.unwrap_err(), Fault::Gone.into());
        let again = world.open("INBOX").await;
        let (_, look) = again.subscribe(ears.bell(watch), Claim::Recent).await.unwrap();
        assert_eq!(look.recent_from, uid(2));
        let (_, look) = again.subscribe(ears.bell(watch), Claim::Recent).await.unwrap();
        assert_eq!(look.recent_from, uid(3));
        assert_eq!(world.account.status(inbox.id()).await.unwrap().recent, 0);
    });
}

#[test]
fn status_of_a_passive_mailbox_is_exact_without_a_summary_too() {
    simulate(async {
        let world = World::new().await;
        let inbox = world.open("INBOX").await;
        append(&inbox, 1).await.unwrap();
        let running = world.account.status(inbox.id()).await.unwrap();
        // A server that was killed left no summary; one that stopped in order did.
        let killed = World::over(world.store.clone()).await;
        let kept = |store: &Watched| store.cache(&[b"mailbox/".as_slice(), &inbox.id().0.to_be_bytes(), b"s"].concat()).unwrap();
        assert_eq!(kept(&world.store), None);
        assert_eq!(killed.account.status(inbox.id()).await.unwrap(), running);
        // Who asks next need not read the log.
        let first = kept(&world.store);
        assert!(first.is_some());
        append(&inbox, 2).await.unwrap();
        let running = world.account.status(inbox.id()).await.unwrap();
        let killed = World::over(world.store.clone()).await;
        assert_eq!(killed.account.glance(inbox.id()).await.unwrap().snapshot.counts(), running.counts);
        let second = kept(&world.store);
        assert_ne!(second, first);
        assert_eq!(killed.account.status(inbox.id()).await.unwrap(), running);
        world.core.directory.end().await;
        assert_eq!(kept(&world.store), second);
        let stopped = World::over(world.store.clone()).await;
        assert_eq!(stopped.account.status(inbox.id()).await.unwrap(), running);
        let missing = stopped.account.status(crate::id::MailboxId(3)).await;
        assert_eq!(missing.unwrap_err(), Refusal::NoSuchMailbox);
    });
}

#[test]
fn a_long_tail_makes_a_snapshot_and_the_next_start_uses_it() {
    simulate(async {
        let world = World::new().await;
        let inbox = world.open("INBOX").await;
        for round in 0..6 {
            let answers = join_all((0..200).map(|number| append(&inbox, round * 200 + number + 1))).await;
            assert!(answers.iter().all(Result::is_ok));
        }
        settle().await;
        let header = world.store.cache(&[b"mailbox/".as_slice(), &inbox.id().0.to_be_bytes(), b"h"].concat()).unwrap();
        assert!(header.is_some());
        let store = world.store.clone();
        let loaded = crate::mailbox::load::load(&*store, inbox.id(), &world.core.limits).unwrap();
        assert!(loaded.snapshot.unwrap().position > 1000);
        assert_eq!(loaded.state.counts(), inbox.peek().await.unwrap().snapshot.counts());
        assert_eq!(loaded.state.position(), 1201);
    });
}

#[test]
fn a_large_mailbox_is_worked_on_in_the_pool_with_the_same_result() {
    simulate(async {
        let world = World::new().await;
        let inbox = world.open("INBOX").await;
        let many = (1..=6_000).map(|number| new_message(number, flags(""))).collect();
        assert_eq!(inbox.change(author(1), Change::Append(many)).await.unwrap().appended.len(), 6_000);
        let deleted =
            Change::Store { uids: uids(1..=5_990), change: carillon_protocol::flag::FlagChange::Add, flags: flags("\\Deleted") };
        let (stored, appended) = join(inbox.change(author(2), deleted), append(&inbox, 6_001)).await;
        assert_eq!((stored.unwrap().position, appended.unwrap().position), (Some(3), Some(4)));
        let gone = inbox.change(author(3), Change::Expunge { among: None, by_close: false }).await.unwrap();
        assert_eq!(gone.affected, uids(1..=5_990));
        assert_eq!(seen(&inbox).await, (5_991..=6_001).collect::<Vec<_>>());
    });
}

#[test]
fn a_second_writer_is_noticed_and_the_mailbox_reads_again() {
    simulate(async {
        let world = World::new().await;
        let inbox = world.open("INBOX").await;
        let ears = Listener::begin();
        let (subscriber, _) = inbox.subscribe(ears.bell(Watch::Mailbox(inbox.id())), Claim::Nothing).await.unwrap();
        // Another server over the same store, as only a bug could have it.
        let other = World::over(world.store.clone()).await;
        append(&other.open("INBOX").await, 1).await.unwrap();
        assert_eq!(append(&inbox, 2).await, Err(Fault::Gone.into()));
        assert_eq!(ears.listen().await.len(), 1);
        assert_eq!(inbox.look(subscriber, Claim::Nothing).await.unwrap().snapshot.counts().messages, 1);
        assert_eq!(append(&inbox, 3).await.unwrap().appended, uids([2]));
        assert_eq!(other.account.id(), ACCOUNT);
    });
}
