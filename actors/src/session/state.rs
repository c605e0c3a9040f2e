//! The state of one session: which protocol state it is in, and what it watches.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use carillon_protocol::command::{Command, States, Tag};
use carillon_protocol::mailbox_name::MailboxName;
use carillon_protocol::response::{Response, Untagged};
use carillon_storage::{Author, CommitNumber};
use tokio::time::Instant;

use super::bells::Bells;
use super::connection::Connection;
use super::refetch::Refetch;
use super::reply::{self, Ending};
use super::settings::Doors;
use super::view::{Mode, View};
use crate::account;
use crate::account::actor::AccountHandle;
use crate::directory::requests::SessionInfo;
use crate::discard::discard;
use crate::doorbell::Watch;
use crate::id::{AccountId, MailboxId, SessionId};
use crate::mailbox::actor::MailboxHandle;
use crate::mailbox::event::MailboxEvent;
use crate::mailbox::requests::{Claim, Look, SubscriberId};
use crate::refusal::{Fault, Refusal};
use crate::turn::{Order, Turn, Work};

/// How often an owner is asked that dies each time.
pub const ATTEMPTS: usize = 3;
/// Work over more than this may take longer than a millisecond.
const LARGE: usize = 2_000;
/// How long a client waits for long work without a word.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// One session.
pub struct Session {
    /// What all sessions share.
    pub doors: Arc<Doors>,
    /// Its id, in every line of the trace and in the author of every record.
    pub id: SessionId,
    /// The client's address.
    pub peer: SocketAddr,
    /// The TLS version and cipher; `None` in plain text.
    pub tls: Option<String>,
    /// The socket.
    pub connection: Connection,
    /// What rang.
    pub bells: Rc<Bells>,
    /// The user, after login.
    pub login: Option<Login>,
    /// The mailbox, while one is selected.
    pub selected: Option<Selected>,
    /// Who the records of the running command name.
    pub author: Author,
    /// Which turn of the running command is next: its long work is done in turns.
    pub order: Order,
    /// The newest commit when the running command began: its own come behind it.
    pub begun_behind: CommitNumber,
    /// Bad commands since the last good one.
    pub bad_commands: u32,
    /// Whether it is in IDLE.
    pub is_idling: bool,
    /// Failed logins.
    pub failed_logins: u32,
    /// What the client said of itself (RFC 2971), for traces.
    pub client: Option<String>,
    /// Counts for the line at the end.
    pub counts: Counts,
    /// When it was accepted: seconds since 1970.
    pub since_seconds: u64,
    /// When it was accepted, for timers.
    pub begun: Instant,
    /// When the client was last heard, or its last command ended.
    pub last_active: Instant,
    /// The span of every line that it traces.
    pub span: tracing::Span,
}

/// Who is logged in.
pub struct Login {
    /// The login name.
    pub user: String,
    /// The account.
    pub account: AccountHandle,
    subscriber: SubscriberId,
    /// The names as they were when their changes were looked at last.
    pub names: account::requests::Snapshot,
}

/// A selected mailbox.
pub struct Selected {
    /// The mailbox.
    pub mailbox: MailboxHandle,
    /// The name under which this client knows it.
    pub name: MailboxName,
    subscriber: SubscriberId,
    /// What this client has been told.
    pub view: View,
    /// Notices a client that asks for the same gone messages again and again.
    pub refetch: Refetch,
}

/// What a session did, for the line at its end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Commands.
    pub commands: u64,
    /// Bytes that came in up to the end of the last command.
    pub bytes_of_commands: u64,
    /// Messages whose data were fetched.
    pub fetched: u64,
    /// Messages appended.
    pub appended: u64,
    /// Messages expunged or moved away.
    pub expunged: u64,
}

impl Login {
    /// Takes the account's bell down.
    pub fn leave(self) {
        self.account.unsubscribe(self.subscriber);
    }
}

impl Session {
    /// Whether a command of these states may come now (RFC 9051 §3).
    pub const fn is_valid_in(&self, states: States) -> bool {
        match states {
            States::Any => true,
            States::NotAuthenticated => self.login.is_none(),
            States::Authenticated => self.login.is_some(),
            States::Selected => self.selected.is_some(),
        }
    }

    /// Notes who the next records name.
    pub fn begin_command(&mut self, tag: &Tag, command: &Command) {
        self.counts.commands += 1;
        self.order = Order::First;
        self.begun_behind = self.doors.core.journal.store().newest_commit();
        self.author = Author {
            session: self.id.0,
            command: self.author.command.saturating_add(1),
            tag: tag.as_str().to_owned(),
            verb: command.name().to_owned(),
        };
    }

    /// What `carillon who` shows of this session.
    pub fn info(&self) -> SessionInfo {
        let name = self.selected.as_ref().map(|selected| &selected.name);
        let state = match (&self.login, &self.selected) {
            (None, _) => "not authenticated",
            _ if self.is_idling => "IDLE",
            (Some(_), None) => "authenticated",
            (Some(_), Some(_)) => "selected",
        };
        SessionInfo {
            session: self.id,
            account: self.login.as_ref().map(|login| login.account.id()),
            user: self.login.as_ref().map(|login| login.user.clone()).unwrap_or_default(),
            peer: self.peer.to_string(),
            tls: self.tls.clone().unwrap_or_default(),
            client: self.client.clone().unwrap_or_default(),
            selected: name.map(ToString::to_string).unwrap_or_default(),
            state: state.to_owned(),
            since_seconds: self.since_seconds,
            in_bytes: self.connection.bytes_in,
            out_bytes: self.connection.bytes_out,
        }
    }

    /// The login, or a refusal that cannot happen: dispatch checks the state first.
    pub fn login(&mut self) -> Result<&mut Login, Refusal> {
        self.login.as_mut().ok_or(Refusal::Fault(Fault::Bug("a command of the authenticated state ran before login")))
    }

    /// The selected mailbox, or a refusal that cannot happen: dispatch checks the state first.
    pub fn selected(&mut self) -> Result<&mut Selected, Refusal> {
        self.selected.as_mut().ok_or(Refusal::Fault(Fault::Bug("a command of the selected state ran without a mailbox")))
    }

    /// The number of messages of the selected mailbox, as told.
    pub fn exists(&self) -> usize {
        self.selected.as_ref().map_or(0, |selected| selected.view.exists())
    }

    /// Enters the authenticated state: from here on the account's doorbell rings this session.
    pub async fn log_in(&mut self, user: String, account: AccountId) -> Result<(), Refusal> {
        let (account, subscriber, names) = self.watch_account(account).await?;
        self.span.record("account", user.as_str());
        self.login = Some(Login { user, account, subscriber, names });
        self.bells.logged_in();
        self.doors.core.directory.session_changed(self.info());
        Ok(())
    }

    /// The account's names as they are now. What changed since this client was told stays to be told.
    pub async fn names(&mut self) -> Result<account::requests::Snapshot, Refusal> {
        let login = self.login()?;
        match login.account.look(login.subscriber).await {
            Err(Refusal::Fault(Fault::Gone)) => self.reattach_account().await,
            names => names,
        }
    }

    /// The account's actor died and was replaced: watches the new one. What changed meanwhile stays to be told.
    pub async fn reattach_account(&mut self) -> Result<account::requests::Snapshot, Refusal> {
        let account = self.login()?.account.id();
        let (account, subscriber, names) = self.watch_account(account).await?;
        let login = self.login()?;
        let old = std::mem::replace(&mut login.account, account);
        old.unsubscribe(std::mem::replace(&mut login.subscriber, subscriber));
        self.bells.keep_account();
        Ok(names)
    }

    async fn watch_account(
        &self,
        account: AccountId,
    ) -> Result<(AccountHandle, SubscriberId, account::requests::Snapshot), Refusal> {
        for _ in 0..ATTEMPTS {
            let handle = self.doors.core.directory.account(account).await?;
            match handle.subscribe(self.bells.doorbell(Watch::Account)).await {
                Err(Refusal::Fault(Fault::Gone)) => {}
                answer => return answer.map(|(subscriber, names)| (handle, subscriber, names)),
            }
        }
        Err(Fault::Gone.into())
    }

    /// Leaves the selected mailbox without a word.
    pub fn deselect(&mut self) {
        if let Some(selected) = self.selected.take() {
            selected.mailbox.unsubscribe(selected.subscriber);
            discard(&self.doors.core.placement, selected.view.exists(), selected);
            self.doors.core.directory.session_changed(self.info());
        }
        self.bells.take_mailbox();
    }

    /// Watches a mailbox and selects it. Subscribing and the first look are one request, so no change falls between.
    pub async fn select(&mut self, name: MailboxName, mailbox: MailboxId, mode: Mode) -> Result<(), Refusal> {
        let (handle, subscriber, look) = self.watch(mailbox, claim(mode)).await?;
        let view = View::new(mailbox, mode, look);
        self.selected = Some(Selected { mailbox: handle, name, subscriber, view, refetch: Refetch::default() });
        self.doors.core.directory.session_changed(self.info());
        Ok(())
    }

    async fn watch(&mut self, mailbox: MailboxId, claim: Claim) -> Result<(MailboxHandle, SubscriberId, Look), Refusal> {
        for _ in 0..ATTEMPTS {
            let handle = self.open(mailbox).await?;
            match handle.subscribe(self.bells.doorbell(Watch::Mailbox(mailbox)), claim).await {
                // It retired or died between the two requests.
                Err(Refusal::Fault(Fault::Gone)) => {}
                answer => return answer.map(|(subscriber, look)| (handle, subscriber, look)),
            }
        }
        Err(Fault::Gone.into())
    }

    /// The actor of a mailbox, started where it is passive.
    pub async fn open(&mut self, mailbox: MailboxId) -> Result<MailboxHandle, Refusal> {
        for _ in 0..ATTEMPTS {
            match self.login()?.account.open(mailbox).await {
                Err(Refusal::Fault(Fault::Gone)) => drop(self.reattach_account().await?),
                handle => return handle,
            }
        }
        Err(Fault::Gone.into())
    }

    /// A look at the selected mailbox; `claim` says whether what it shows will be told as recent.
    pub async fn look(&mut self, claim: Claim) -> Result<Look, Refusal> {
        let selected = self.selected()?;
        match selected.mailbox.look(selected.subscriber, claim).await {
            Err(Refusal::Fault(Fault::Gone)) => match self.reattach_mailbox(claim).await {
                Err(Refusal::NoSuchMailbox) => self.look_at_ended(),
                look => look,
            },
            look => look,
        }
    }

    /// The mailbox was deleted and its actor is gone: what was told, ended.
    fn look_at_ended(&mut self) -> Result<Look, Refusal> {
        let mut snapshot = self.selected()?.view.snapshot().clone();
        if !snapshot.is_ended() {
            let position = snapshot.position() + 1;
            snapshot.apply(position, &MailboxEvent::Ended);
        }
        let recent_from = snapshot.uid_next();
        Ok(Look { snapshot, recent_from })
    }

    /// The mailbox's actor died, was replaced, or retired as deleted: watches whoever owns it now.
    async fn reattach_mailbox(&mut self, claim: Claim) -> Result<Look, Refusal> {
        let mailbox = self.selected()?.view.mailbox();
        let (handle, subscriber, look) = self.watch(mailbox, claim).await?;
        let selected = self.selected()?;
        selected.mailbox = handle;
        selected.subscriber = subscriber;
        Ok(look)
    }

    /// Computes over so many messages or names: in the pool, where that may take longer than a millisecond.
    pub async fn compute<T: Send + 'static>(&self, size: usize, job: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
        if size < LARGE { Ok(job()) } else { self.doors.core.placement.run(job).await }
    }

    /// One turn of the running command, in the pool.
    pub async fn turn<T: Send + 'static>(&mut self, job: impl FnOnce(&mut Turn) -> T + Send + 'static) -> Result<T, Fault> {
        let order = std::mem::replace(&mut self.order, Order::Later);
        self.doors.core.placement.turn(order, job).await
    }

    /// Work that may take long, turn by turn. It ends early where the session must end or nobody is there any more to take what it leads to.
    pub async fn in_turns<W: Work>(&mut self, mut work: W) -> Result<W::Outcome, Ending> {
        loop {
            let job = move |turn: &mut Turn| {
                let outcome = work.advance(turn);
                (work, outcome)
            };
            let (rest, outcome) = self.turn(job).await?;
            if let Some(outcome) = outcome? {
                return Ok(outcome);
            }
            work = rest;
            self.pause().await?;
        }
    }

    /// Between two turns: whether there is a reason to stop. A client that waits for long is told now and then that it is not forgotten, by which a
    /// connection that is lost is noticed.
    pub async fn pause(&mut self) -> Result<(), Ending> {
        if let Some(farewell) = self.bells.farewell() {
            return Err(Ending::Bye(farewell));
        }
        let heard = self.connection.last_output().max(self.last_active);
        if heard.elapsed() >= SIGN_OF_LIFE {
            self.tell(&Untagged::Status(reply::ok("Still at it")));
        }
        Ok(self.connection.flush().await?)
    }

    /// Sends an untagged response.
    pub fn tell(&mut self, untagged: &Untagged) {
        self.connection.tell(untagged);
    }

    /// Sends any response.
    pub fn send(&mut self, response: &Response) {
        self.connection.send(response);
    }

    /// When the session ends unless the client says something (RFC 9051 §5.4). Before login nothing that it says gains time.
    pub fn autologout(&self) -> Instant {
        if self.login.is_some() { self.last_active + self.doors.core.limits.idle_timeout } else { self.login_by() }
    }

    /// Until when somebody must have logged in.
    pub fn login_by(&self) -> Instant {
        self.begun + self.doors.core.limits.login_timeout
    }
}

/// What a look of a session in this mode claims.
pub const fn claim(mode: Mode) -> Claim {
    match mode {
        Mode::ReadWrite => Claim::Recent,
        Mode::ReadOnly => Claim::Nothing,
    }
}
