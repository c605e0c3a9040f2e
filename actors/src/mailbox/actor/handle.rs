//! How others reach a mailbox's actor: each method is one request.

use std::sync::Arc;

use actix::{Addr, Handler, Message};
use carillon_storage::Author;
use tokio::sync::oneshot;

use super::MailboxActor;
use crate::doorbell::Doorbell;
use crate::id::MailboxId;
use crate::mailbox::requests::{
    Change, Changed, Claim, End, Look, LookAgain, Peek, Prepare, Prepared, Retire, Submit, Subscribe, SubscriberId, Unsubscribe,
};
use crate::refusal::{Fault, Refusal};

/// The way to a mailbox's actor. `Gone` means: ask the account for the mailbox anew.
#[derive(Clone, Debug)]
pub struct MailboxHandle {
    id: MailboxId,
    address: Addr<MailboxActor>,
}

impl MailboxHandle {
    pub(super) fn new(id: MailboxId, address: Addr<MailboxActor>) -> Self {
        Self { id, address }
    }

    /// Which mailbox.
    pub fn id(&self) -> MailboxId {
        self.id
    }

    /// Subscribes and looks, in one request.
    ///
    /// # Errors
    /// `Gone`.
    pub async fn subscribe(&self, bell: Doorbell, claim: Claim) -> Result<(SubscriberId, Look), Refusal> {
        self.ask(Subscribe { bell, claim }).await
    }

    /// Looks, and re-arms the subscriber's bell. After DELETE the snapshot says that the mailbox has ended.
    ///
    /// # Errors
    /// `Gone`.
    pub async fn look(&self, subscriber: SubscriberId, claim: Claim) -> Result<Look, Refusal> {
        self.ask(LookAgain { subscriber, claim }).await
    }

    /// Looks, without a subscription.
    ///
    /// # Errors
    /// `Gone`.
    pub async fn peek(&self) -> Result<Look, Refusal> {
        self.ask(Peek).await
    }

    /// Ends a subscription; its bell does not ring for that.
    pub fn unsubscribe(&self, subscriber: SubscriberId) {
        self.address.do_send(Unsubscribe(subscriber));
    }

    /// Changes the mailbox; durable when it returns.
    ///
    /// # Errors
    /// As the mailbox decides. After `Gone` the change may have been made: [`JournalHandle::record_of`](crate::journal::actor::JournalHandle::record_of) tells.
    pub async fn change(&self, author: Author, change: impl Into<Arc<Change>>) -> Result<Changed, Refusal> {
        self.ask(Submit { author, change: change.into() }).await
    }

    /// The account alone asks this.
    ///
    /// # Errors
    /// As the mailbox decides; `Gone`.
    pub(crate) async fn prepare(&self, what: Prepare) -> Result<Prepared, Refusal> {
        self.ask(what).await
    }

    /// Passivation, by the account alone: the last look where it is granted.
    pub(crate) async fn retire(&self, retire: Retire) -> Option<Look> {
        self.address.send(retire).await.unwrap_or_default()
    }

    /// Ends the actor, whatever it does; returns when it is gone. By the directory alone.
    pub(crate) async fn end(&self) {
        let (ended, gone) = oneshot::channel();
        self.address.do_send(End(ended));
        // Dropped with the actor, or with the request where the actor was gone.
        let _ = gone.await;
    }

    /// Whether the actor lives. Retired ones do.
    pub(crate) fn is_alive(&self) -> bool {
        self.address.connected()
    }

    async fn ask<M, T>(&self, request: M) -> Result<T, Refusal>
    where
        MailboxActor: Handler<M>,
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
impl Handler<Panic> for MailboxActor {
    type Result = ();

    #[allow(clippy::panic, reason = "that is what the request is for")]
    fn handle(&mut self, Panic: Panic, _: &mut Self::Context) {
        panic!("on purpose");
    }
}

#[cfg(any(test, feature = "testing"))]
impl MailboxHandle {
    /// Makes the actor panic when it comes to this request.
    pub fn panic(&self) {
        self.address.do_send(Panic);
    }
}
