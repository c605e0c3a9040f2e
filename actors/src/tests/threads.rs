//! The actors on threads of their own, as the server has them: what the simulation cannot show.

use std::time::Duration;

use futures_util::future::join_all;

use super::{append, seen};
use crate::account::requests::Change;
use crate::clock::Clock;
use crate::given::{name, uids};
use crate::id::{AccountId, Ids};
use crate::limits::Limits;
use crate::placement::Placement;
use crate::server::Core;
use crate::testing::{Watched, author};

/// What one session does: appends, moves there and back, renames, all against another thread's actors.
async fn visit(core: Core, account: AccountId, session: u64) {
    let account = core.directory.account(account).await.unwrap();
    let names = account.peek().await.unwrap();
    let inbox = account.open(names.find(&name("INBOX")).unwrap().mailbox).await.unwrap();
    for round in 0..20 {
        let uid = append(&inbox, session * 100 + round).await.unwrap().appended.first().unwrap();
        let moved = account.transfer(author(1), inbox.id(), uids([uid.get()]), name("Archive")).await.unwrap();
        assert_eq!(moved.to.len(), 1);
        assert!(!seen(&inbox).await.contains(&uid.get()));
    }
    account.change(author(2), Change::Subscribe(name(&format!("Seen/{session}")))).await.unwrap();
}

#[test]
fn sessions_on_many_threads_see_what_they_were_answered() {
    let system = actix_rt::System::new();
    system.block_on(async {
        let placement = Placement::threads(3);
        let core = Core::start(Watched::new(), placement.clone(), Clock::system(), Ids::new(1, 1), Limits::default());
        let visits = (0..12).map(|session| {
            let (sender, done) = tokio::sync::oneshot::channel();
            let core = core.clone();
            placement.session_arbiter().spawn(async move {
                actix_rt::spawn(async move {
                    visit(core, AccountId(session % 4), session).await;
                    sender.send(()).unwrap();
                });
            });
            done
        });
        let all = tokio::time::timeout(Duration::from_secs(60), join_all(visits)).await.unwrap();
        assert!(all.iter().all(Result::is_ok));
        for account in 0..4 {
            let account = core.directory.account(AccountId(account)).await.unwrap();
            let names = account.peek().await.unwrap();
            assert_eq!(names.subscription_count(), 6 + 3);
            let status = |mailbox| account.status(names.find(&name(mailbox)).unwrap().mailbox);
            assert_eq!(status("INBOX").await.unwrap().counts.messages, 0);
            assert_eq!(status("Archive").await.unwrap().counts.messages, 60);
            // A death on another thread is noticed all the same.
            account.panic();
            let again = core.directory.account(account.id()).await.unwrap();
            assert_eq!(again.peek().await.unwrap().position(), names.position());
        }
        core.directory.end().await;
    });
}
