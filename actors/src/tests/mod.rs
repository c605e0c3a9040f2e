//! The actors together, on one thread with a paused clock.

mod damaged;
mod directory;
mod large;
mod mailboxes;
mod threads;
mod transfers;

use std::sync::Arc;

use carillon_protocol::mailbox_name::MailboxName;

use crate::account::actor::AccountHandle;
use crate::given::{flags, name, new_message};
use crate::id::{AccountId, MailboxId};
use crate::mailbox::actor::MailboxHandle;
use crate::mailbox::requests::{Change, Changed};
use crate::refusal::Refusal;
use crate::server::Core;
use crate::testing::{Watched, author, server, simulate};

const ACCOUNT: AccountId = AccountId(5);

/// A server with one account.
struct World {
    store: Arc<Watched>,
    core: Core,
    account: AccountHandle,
}

impl World {
    async fn new() -> Self {
        Self::over(Watched::new()).await
    }

    /// A server that starts over what another left.
    async fn over(store: Arc<Watched>) -> Self {
        let core = server(store.clone());
        let account = core.directory.account(ACCOUNT).await.unwrap();
        Self { store, core, account }
    }

    async fn id(&self, mailbox: &str) -> MailboxId {
        self.account.peek().await.unwrap().find(&name(mailbox)).unwrap().mailbox
    }

    async fn open(&self, mailbox: &str) -> MailboxHandle {
        self.account.open(self.id(mailbox).await).await.unwrap()
    }

    async fn names(&self) -> Vec<MailboxName> {
        self.account.peek().await.unwrap().entries().map(|entry| entry.name.clone()).collect()
    }
}

async fn append(mailbox: &MailboxHandle, number: u64) -> Result<Changed, Refusal> {
    mailbox.change(author(number as u32), Change::Append(vec![new_message(number, flags(""))])).await
}

/// The UIDs of a mailbox, as a newcomer sees them.
async fn seen(mailbox: &MailboxHandle) -> Vec<u32> {
    mailbox.peek().await.unwrap().snapshot.messages().iter().map(|message| message.uid.get()).collect()
}

#[test]
fn a_new_account_has_its_mailboxes_and_keeps_what_it_gets() {
    simulate(async {
        let world = World::new().await;
        let names = world.names().await;
        assert_eq!(names, ["Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"].map(name));
        let inbox = world.open("INBOX").await;
        let changed = append(&inbox, 1).await.unwrap();
        assert_eq!((changed.position, changed.appended.len()), (Some(2), 1));
        assert_eq!(seen(&inbox).await, [1]);
        world.core.directory.end().await;
        let world = World::over(world.store).await;
        assert_eq!(world.names().await, names);
        assert_eq!(seen(&world.open("INBOX").await).await, [1]);
    });
}
