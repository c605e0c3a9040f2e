use std::sync::{Arc, Mutex};
use std::time::Duration;

use carillon_storage::{AppendError, Journal};
use futures_util::future::join;

use super::{ACCOUNT, World, append, seen};
use crate::account::requests::Change;
use crate::directory::event::{ServerEvent, decode};
use crate::directory::requests::{SessionInfo, SessionStop, Stop};
use crate::doorbell::{Rang, Watch};
use crate::given::{NOW, name};
use crate::id::{AccountId, SERVER_LOG, SessionId};
use crate::mailbox::requests::{Claim, Prepare};
use crate::refusal::{Fault, Refusal};
use crate::testing::{Listener, Watched, author, server, settle, simulate};

#[test]
fn an_account_is_started_once_however_many_ask() {
    simulate(async {
        let store = Watched::new();
        let core = server(store.clone());
        let (one, other) = join(core.directory.account(ACCOUNT), core.directory.account(ACCOUNT)).await;
        let ears = Listener::begin();
        let (subscriber, _) = one.unwrap().subscribe(ears.bell(Watch::Account)).await.unwrap();
        other.clone().unwrap().change(author(1), Change::Subscribe(name("News"))).await.unwrap();
        assert_eq!(ears.listen().await, [Rang { watch: Watch::Account, dropped: false }]);
        assert!(other.unwrap().look(subscriber).await.unwrap().is_subscribed(&name("News")));
        assert_eq!(store.head(ACCOUNT.log()).unwrap().position, 2);
    });
}

#[test]
fn an_account_that_cannot_be_made_is_made_later() {
    simulate(async {
        let store = Watched::new();
        let core = server(store.clone());
        store.refuse_next(AppendError::DiskFull);
        let refused = core.directory.account(ACCOUNT).await.map(drop);
        assert!(matches!(refused, Err(Refusal::Fault(Fault::Unavailable(_)))));
        assert!(core.directory.account(ACCOUNT).await.is_ok());
    });
}

#[test]
fn a_dead_account_is_replaced_when_its_mailboxes_are_gone() {
    simulate(async {
        let world = World::new().await;
        let inbox = world.open("INBOX").await;
        append(&inbox, 1).await.unwrap();
        let ears = Listener::begin();
        let watch = Watch::Mailbox(inbox.id());
        world.account.subscribe(ears.bell(Watch::Account)).await.unwrap();
        inbox.subscribe(ears.bell(watch), Claim::Nothing).await.unwrap();
        // It dies with a hold in its hands; the mailbox has a change waiting for the release.
        let prepared = inbox.prepare(Prepare::Expunge(None)).await.unwrap();
        let waiting = inbox.clone();
        let waiting = actix_rt::spawn(async move { append(&waiting, 2).await });
        settle().await;
        world.account.panic();
        assert_eq!(ears.listen().await, [Rang { watch: Watch::Account, dropped: true }]);
        assert_eq!(world.account.peek().await.unwrap_err(), Fault::Gone.into());
        let account = world.core.directory.account(ACCOUNT).await.unwrap();
        assert_eq!(ears.listen().await, [Rang { watch, dropped: true }]);
        assert_eq!(waiting.await.unwrap(), Err(Fault::Gone.into()));
        assert_eq!(inbox.peek().await.unwrap_err(), Fault::Gone.into());
        drop(prepared);
        let again = account.open(inbox.id()).await.unwrap();
        assert_eq!(seen(&again).await, [1]);
        assert!(append(&again, 3).await.is_ok());
    });
}

#[test]
fn an_account_that_dies_again_and_again_rests() {
    simulate(async {
        let world = World::new().await;
        for _ in 0..3 {
            world.core.directory.account(ACCOUNT).await.unwrap().panic();
            settle().await;
        }
        let refused = world.core.directory.account(ACCOUNT).await.map(drop);
        assert!(matches!(refused, Err(Refusal::Fault(Fault::Unavailable(_)))));
        assert!(world.core.directory.account(AccountId(6)).await.is_ok());
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(world.core.directory.account(ACCOUNT).await.is_ok());
    });
}

fn info(session: u64, account: Option<AccountId>) -> SessionInfo {
    SessionInfo {
        session: SessionId(session),
        account,
        user: String::new(),
        peer: "192.0.2.1:1234".into(),
        tls: "TLSv1_3".into(),
        client: String::new(),
        selected: String::new(),
        state: "authenticated".into(),
        since_seconds: NOW,
        in_bytes: 0,
        out_bytes: 0,
    }
}

type Stops = Arc<Mutex<Vec<(u64, Stop)>>>;

fn stop(stops: &Stops, session: u64) -> SessionStop {
    let stops = stops.clone();
    SessionStop::new(move |why| stops.lock().unwrap().push((session, why)))
}

fn events(store: &Watched) -> Vec<ServerEvent> {
    let records = store.read(SERVER_LOG, 1, 100).unwrap();
    records.iter().flat_map(|record| decode(record.version, &record.events).unwrap()).collect()
}

#[test]
fn who_is_connected_is_known_and_only_logins_are_written() {
    simulate(async {
        let World { core, store, .. } = World::new().await;
        let stops = Stops::default();
        let directory = &core.directory;
        directory.session_opened(info(1, None), stop(&stops, 1));
        directory.session_opened(info(2, Some(ACCOUNT)), stop(&stops, 2));
        directory.session_identified(SessionId(1), "too early".into());
        directory.session_identified(SessionId(2), "name=mutt".into());
        let who = directory.sessions().await;
        assert_eq!(who.iter().map(|info| info.client.as_str()).collect::<Vec<_>>(), ["too early", "name=mutt"]);
        directory.session_changed(SessionInfo { client: "name=pine".into(), ..info(1, Some(ACCOUNT)) });
        directory.session_changed(SessionInfo { selected: "INBOX".into(), ..info(1, Some(ACCOUNT)) });
        directory.kick(SessionId(2));
        directory.session_closed(SessionId(2));
        directory.session_closed(SessionId(3));
        assert_eq!(directory.sessions().await.len(), 1);
        assert_eq!(*stops.lock().unwrap(), [(2, Stop::Kick)]);
        settle().await;
        let opened = |session, client: &str| ServerEvent::SessionOpened {
            session: SessionId(session),
            account: ACCOUNT,
            peer: "192.0.2.1:1234".into(),
            tls: "TLSv1_3".into(),
            client: client.into(),
        };
        let expected = [
            opened(2, ""),
            ServerEvent::SessionIdentified { session: SessionId(2), client: "name=mutt".into() },
            opened(1, "name=pine"),
            ServerEvent::SessionClosed { session: SessionId(2) },
        ];
        assert_eq!(events(&store), expected);
        // Another life goes on in the same log.
        let later = server(store.clone());
        later.directory.session_opened(info(9, Some(ACCOUNT)), stop(&stops, 9));
        settle().await;
        assert_eq!(events(&store).len(), 5);
    });
}

#[test]
fn the_end_says_bye_to_all_waits_for_them_and_refuses_what_comes() {
    simulate(async {
        let World { core, store, .. } = World::new().await;
        let stops = Stops::default();
        core.directory.session_opened(info(1, Some(ACCOUNT)), stop(&stops, 1));
        let began = tokio::time::Instant::now();
        let directory = core.directory.clone();
        let end = actix_rt::spawn(async move { directory.end().await });
        settle().await;
        assert_eq!(*stops.lock().unwrap(), [(1, Stop::Shutdown)]);
        assert_eq!(core.directory.account(AccountId(6)).await.map(drop), Err(Fault::Ending.into()));
        core.directory.session_opened(info(2, None), stop(&stops, 2));
        settle().await;
        assert_eq!(stops.lock().unwrap().last(), Some(&(2, Stop::Shutdown)));
        assert!(!end.is_finished());
        core.directory.session_closed(SessionId(1));
        core.directory.session_closed(SessionId(2));
        join(async { end.await.unwrap() }, core.directory.end()).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert!(events(&store).contains(&ServerEvent::SessionClosed { session: SessionId(1) }));
        // A session that does not end holds nobody up for ever.
        let World { core, .. } = World::over(store).await;
        core.directory.session_opened(info(1, None), stop(&stops, 1));
        core.directory.end().await;
    });
}

#[test]
fn the_end_of_the_journal_is_the_servers_end() {
    simulate(async {
        let world = World::new().await;
        world.store.break_down("tried");
        let inbox = world.open("INBOX").await;
        assert!(append(&inbox, 1).await.is_ok());
        assert_eq!(world.core.ended().await, "tried");
        assert_eq!(append(&inbox, 2).await, Err(Fault::Ending.into()));
        world.core.directory.end().await;
    });
}
