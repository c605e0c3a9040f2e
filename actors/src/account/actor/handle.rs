//! How others reach an account's actor: each method is one request, but those that wake nobody.

use std::sync::Arc;

use actix::{Addr, Handler, Message};
use carillon_protocol::mailbox_name::MailboxName;
use carillon_protocol::set::UidSet;
use carillon_storage::Author;

use super::AccountActor;
use crate::account::requests::{
    Change, Finish, Locate, LookAgain, Open, Peek, Snapshot, Status, Submit, Subscribe, Transfer, Transferred, Unsubscribe,
};
use crate::account::transfer::ATTEMPTS;
use crate::doorbell::Doorbell;
use crate::id::{AccountId, MailboxId};
use crate::journal::actor::JournalHandle;
use crate::limits::Limits;
use crate::mailbox::actor::MailboxHandle;
use crate::mailbox::load as mailbox_load;
use crate::mailbox::requests::{Look, SubscriberId};
use crate::refusal::{Fault, Refusal};

/// The way to an account's actor. `Gone` means: ask the directory for the account anew.
#[derive(Clone)]
pub struct AccountHandle {
    id: AccountId,
    address: Addr<AccountActor>,
    journal: JournalHandle,
    limits: Arc<Limits>,
}

impl AccountHandle {
    pub(super) fn new(id: AccountId, address: Addr<AccountActor>, journal: JournalHandle, limits: Arc<Limits>) -> Self {
        Self { id, address, journal, limits }
    }

    /// Which account.
    pub fn id(&self) -> AccountId {
        self.id
    }

    /// Subscribes and looks, in one request.
    ///
    /// # Errors
    /// `Gone`.
    pub async fn subscribe(&self, bell: Doorbell) -> Result<(SubscriberId, Snapshot), Refusal> {
        self.ask(Subscribe(bell)).await
    }

    /// Looks, and re-arms the subscriber's bell.
    ///
    /// # Errors
    /// `Gone`.
    pub async fn look(&self, subscriber: SubscriberId) -> Result<Snapshot, Refusal> {
        self.ask(LookAgain(subscriber)).await
    }

    /// Looks, without a subscription.
    ///
    /// # Errors
    /// `Gone`.
    pub async fn peek(&self) -> Result<Snapshot, Refusal> {
        self.ask(Peek).await
    }

    /// Ends a subscription; its bell does not ring for that.
    pub fn unsubscribe(&self, subscriber: SubscriberId) {
        self.address.do_send(Unsubscribe(subscriber));
    }

    /// Changes names or subscriptions; durable when it returns, with the state that has it.
    ///
    /// # Errors
    /// As the account decides. After `Gone` the change may have been made: [`JournalHandle::record_of`] tells.
    pub async fn change(&self, author: Author, change: Change) -> Result<Snapshot, Refusal> {
        self.ask(Submit { author, change }).await
    }

    /// The mailbox's actor; it is started from the disk if there is none. May be asked again at any time.
    ///
    /// # Errors
    /// `NoSuchMailbox`; `Unavailable` after too many deaths; what loading gives; `Gone`.
    pub async fn open(&self, mailbox: MailboxId) -> Result<MailboxHandle, Refusal> {
        self.ask(Open(mailbox)).await
    }

    /// What STATUS tells of a mailbox. Wakes nobody.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn status(&self, mailbox: MailboxId) -> Result<Status, Refusal> {
        for _ in 0..ATTEMPTS {
            let Some(handle) = self.ask(Locate(mailbox)).await? else {
                let (store, limits) = (Arc::clone(self.journal.store()), Arc::clone(&self.limits));
                let read = move || mailbox_load::passive_status(&*store, mailbox, &limits);
                return Ok(self.journal.placement().run(read).await??);
            };
            match handle.peek().await {
                Err(Refusal::Fault(Fault::Gone)) => {}
                look => return look.map(|look| mailbox_load::status_of(&look)),
            }
        }
        Err(Fault::Gone.into())
    }

    /// The state of any mailbox, open or not. Wakes nobody.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn glance(&self, mailbox: MailboxId) -> Result<Look, Refusal> {
        for _ in 0..ATTEMPTS {
            let Some(handle) = self.ask(Locate(mailbox)).await? else {
                let (store, limits) = (Arc::clone(self.journal.store()), Arc::clone(&self.limits));
                let look = move || mailbox_load::passive_look(&*store, mailbox, &limits);
                return Ok(self.journal.placement().run(look).await??);
            };
            match handle.peek().await {
                Err(Refusal::Fault(Fault::Gone)) => {}
                look => return look,
            }
        }
        Err(Fault::Gone.into())
    }

    /// MOVE: durable in both mailboxes when it returns, and visible to every later look.
    ///
    /// # Errors
    /// `NoSuchMailbox`, `NoTargetMailbox`; what the mailboxes decide; `Gone`, where it may have been made.
    pub async fn transfer(
        &self,
        author: Author,
        source: MailboxId,
        uids: UidSet,
        target: MailboxName,
    ) -> Result<Transferred, Refusal> {
        self.ask(Transfer { author, source, uids, target }).await
    }

    /// Leaves summaries and a snapshot, at a clean stop. By the directory alone.
    pub(crate) async fn finish(&self) {
        // An account that is gone is read from its log.
        let _ = self.address.send(Finish).await;
    }

    /// Whether the actor lives: it answers. An address alone may still seem alive while its actor dies on another thread.
    pub(crate) async fn is_alive(&self) -> bool {
        self.peek().await.is_ok()
    }

    async fn ask<M, T>(&self, request: M) -> Result<T, Refusal>
    where
        AccountActor: Handler<M>,
        M: Message<Result = Result<T, Refusal>> + Send + 'static,
        T: Send + 'static,
    {
        self.address.send(request).await.unwrap_or_else(|_| Err(Fault::Gone.into()))
    }
}

/// A programming error on purpose.
#[cfg(any(test, feature = "testing"))]
struct Panic;

#[cfg(any(test, feature = "testing"))]
impl Message for Panic {
    type Result = ();
}

#[cfg(any(test, feature = "testing"))]
impl Handler<Panic> for AccountActor {
    type Result = ();

    #[allow(clippy::panic, reason = "that is what the request is for")]
    fn handle(&mut self, Panic: Panic, _: &mut Self::Context) {
        panic!("on purpose");
    }
}

#[cfg(any(test, feature = "testing"))]
impl AccountHandle {
    /// Makes the actor panic when it comes to this request.
    pub fn panic(&self) {
        self.address.do_send(Panic);
    }
}

#[cfg(test)]
impl AccountHandle {
    /// Whether the mailbox has an actor.
    pub(crate) async fn is_open(&self, mailbox: MailboxId) -> bool {
        self.ask(Locate(mailbox)).await.unwrap().is_some()
    }
}
