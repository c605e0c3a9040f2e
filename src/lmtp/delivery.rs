//! From a received message to mailboxes: who the recipient is, which mailbox, and what the actors say.

use std::sync::Arc;

use carillon_actors::arrival::{Arrival, Content, prepare};
use carillon_actors::id::AccountId;
use carillon_actors::mailbox::actor::MailboxHandle;
use carillon_actors::mailbox::details;
use carillon_actors::mailbox::event::Origin;
use carillon_actors::mailbox::requests::{Change, NewMessage};
use carillon_actors::refusal::{Fault, Refusal};
use carillon_actors::server::Core;
use carillon_actors::session::auth::Authenticator;
use carillon_actors::session::message::Source;
use carillon_protocol::date::InternalDate;
use carillon_protocol::flag::FlagSet;
use carillon_protocol::mailbox_name::{MailboxName, NameFormat};
use carillon_storage::Author;

use super::command::Address;
use super::connection::{Delivery, Envelope};
use super::incoming::Bytes;
use super::reply::Reply;
use crate::calendar;

/// How often a mailbox is asked whose actor dies each time.
const ATTEMPTS: usize = 3;

/// What deliveries need; one for all connections.
#[derive(Clone)]
pub struct PostOffice {
    /// The actors.
    pub core: Core,
    /// Knows the users.
    pub authenticator: Arc<dyn Authenticator>,
    /// The server's name.
    pub hostname: String,
    /// The domains that are taken, in small letters; empty: all.
    pub domains: Vec<String>,
    /// The hierarchy separator in `user+Folder`.
    pub separator: char,
}

/// One connection's deliveries.
pub struct Postman {
    /// What they need.
    pub office: PostOffice,
    /// The peer, for Received: its address, or that it came by the unix socket.
    pub peer: String,
    /// The connection's session id and deliveries so far.
    pub author: std::cell::RefCell<Author>,
}

/// Where a recipient's mail goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    account: AccountId,
    /// What stands behind the `+`.
    folder: Option<String>,
}

impl Postman {
    /// For a connection from `peer`.
    pub fn new(office: PostOffice, peer: String) -> Self {
        let author = Author { session: office.core.ids.session().0, command: 0, tag: String::new(), verb: "LMTP".to_owned() };
        Self { office, peer, author: author.into() }
    }

    fn next_author(&self) -> Author {
        let mut author = self.author.borrow_mut();
        author.command += 1;
        author.clone()
    }

    /// The fields of this recipient alone. Nothing in them can end a line: addresses and names were parsed.
    fn prefix(&self, envelope: &Envelope, address: &Address, author: &Author, now_seconds: u64) -> Arc<[u8]> {
        let sender = envelope.mail.sender.as_ref().map(Address::quoted).unwrap_or_default();
        let recipient = address.quoted();
        let protocol = if envelope.mail.is_utf8 { "UTF8LMTP" } else { "LMTP" };
        let date = calendar::rfc5322(i64::try_from(now_seconds).unwrap_or(0));
        let id = format!("{:016x}.{}", author.session, author.command);
        let Self { peer, office, .. } = self;
        let text = format!(
            "Return-Path: <{sender}>\r\nDelivered-To: {recipient}\r\nReceived: from {} ({peer})\r\n\tby {} with {protocol} id {id}\r\n\tfor <{recipient}>; {date}\r\n",
            envelope.hello, office.hostname
        );
        text.into_bytes().into()
    }

    /// Where the mailbox's actor died or retired meanwhile, the log says whether the delivery was made; if not, it is tried again: what is not in the log
    /// behind a death will not come into it. A folder that is deleted meanwhile leaves the message to INBOX.
    async fn deliver_one(&self, message: NewMessage, target: &Target, author: &Author) -> Result<(), Refusal> {
        let since = self.office.core.journal.store().newest_commit();
        for _ in 0..ATTEMPTS {
            let mailbox = self.mailbox(target).await?;
            match mailbox.change(author.clone(), Change::Append(vec![message.clone()])).await {
                Err(Refusal::NoSuchMailbox | Refusal::NoTargetMailbox) => {}
                Err(Refusal::Fault(Fault::Gone)) => {
                    if self.office.core.journal.record_of(author, since, mailbox.id().log()).await?.is_some() {
                        return Ok(());
                    }
                }
                other => return other.map(drop),
            }
        }
        Err(Fault::Gone.into())
    }

    async fn mailbox(&self, target: &Target) -> Result<MailboxHandle, Refusal> {
        let account = self.office.core.directory.account(target.account).await?;
        let names = account.peek().await?;
        let format = NameFormat { separator: self.office.separator, utf8: true };
        let wanted = target.folder.as_deref().and_then(|folder| MailboxName::parse(folder.as_bytes(), format).ok());
        let find = |name: &MailboxName| {
            // Mail systems on the way may have changed the case.
            let is_alike = |other: &MailboxName| {
                other.segments().len() == name.segments().len()
                    && other
                        .segments()
                        .iter()
                        .zip(name.segments())
                        .all(|(left, right)| left.to_lowercase() == right.to_lowercase())
            };
            names.find(name).or_else(|| names.entries().find(|entry| is_alike(&entry.name))).map(|entry| entry.mailbox)
        };
        let mailbox = wanted.as_ref().and_then(find).or_else(|| find(&MailboxName::inbox()));
        account.open(mailbox.ok_or(Refusal::NoSuchMailbox)?).await
    }
}

/// The message without prefix, its body where every recipient's commit can take it from. Blocks.
fn make_ready(source: &Source, bytes: Bytes, save_date: u64) -> Result<NewMessage, Refusal> {
    let content = match bytes {
        Bytes::Memory(bytes) => Content::Memory(bytes),
        Bytes::File(file) => Content::File(file),
    };
    let internal_date = InternalDate { unix_seconds: i64::try_from(save_date).unwrap_or(0), offset_minutes: 0 };
    let (flags, origin) = (FlagSet::new(), Origin::Delivery);
    let arrival = Arrival { content, prefix: None, has_nul: false, internal_date, save_date, flags, origin };
    prepare(source, arrival)
}

impl Delivery for Postman {
    type Target = Target;

    async fn recipient(&self, address: &Address) -> Result<Target, Reply> {
        let domains = &self.office.domains;
        if let Some(domain) = &address.domain
            && !domains.is_empty()
            && !domains.contains(&domain.to_lowercase())
        {
            return Err(Reply::new(550, "5.1.2", "this domain's mail is not taken here"));
        }
        let (authenticator, candidates) = (Arc::clone(&self.office.authenticator), candidates(address));
        let find = move || {
            candidates.into_iter().find_map(|(user, folder)| Some(Target { account: authenticator.find(&user)?, folder }))
        };
        match self.office.core.placement.run(find).await {
            Ok(Some(target)) => Ok(target),
            Ok(None) => Err(Reply::unknown_user()),
            Err(_) => Err(Reply::new(451, "4.3.0", "users cannot be looked up now")),
        }
    }

    async fn deliver(&self, envelope: &Envelope, bytes: Bytes, targets: &[(Address, Target)]) -> Vec<Reply> {
        let core = &self.office.core;
        let now_seconds = core.clock.seconds();
        let source = core.source.clone();
        let ready = core.placement.run_for(bytes.octets(), move || make_ready(&source, bytes, now_seconds)).await;
        let ready = match ready.map_err(Refusal::from).and_then(|ready| ready) {
            Ok(ready) => ready,
            Err(refusal) => return vec![reply(&refusal); targets.len()],
        };
        let deliveries = targets.iter().map(|(address, target)| {
            let author = self.next_author();
            let prefix = self.prefix(envelope, address, &author, now_seconds);
            let details = Arc::new(details::with_prefix(&ready.details, prefix));
            let message = NewMessage { details, ..ready.clone() };
            async move {
                let outcome = self.deliver_one(message, target, &author).await;
                let outcome_text = outcome_text(&outcome);
                tracing::info!(recipient = address.quoted(), account = %target.account, command = author.command, outcome = outcome_text, "delivery");
                outcome.map_or_else(|refusal| reply(&refusal), |()| Reply::new(250, "2.1.5", "delivered"))
            }
        });
        // Together, so that one flush makes them durable.
        futures_util::future::join_all(deliveries).await
    }
}

fn outcome_text(outcome: &Result<(), Refusal>) -> String {
    outcome.as_ref().map_or_else(|refusal| format!("{refusal:?}"), |()| "delivered".to_owned())
}

/// The users that an address may mean, the likeliest first, with the folder behind the `+`.
fn candidates(address: &Address) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    let mut put = |local: &str, folder: Option<&str>| {
        if let Some(domain) = &address.domain {
            found.push((format!("{local}@{domain}"), folder.map(str::to_owned)));
        }
        found.push((local.to_owned(), folder.map(str::to_owned)));
    };
    put(&address.local, None);
    if let Some((user, folder)) = address.local.split_once('+')
        && !user.is_empty()
    {
        put(user, Some(folder).filter(|folder| !folder.is_empty()));
    }
    found
}

fn reply(refusal: &Refusal) -> Reply {
    match refusal {
        Refusal::Fault(Fault::Unavailable(_)) => Reply::new(452, "4.3.1", "the message cannot be stored now"),
        Refusal::Fault(Fault::Ending) => Reply::new(451, "4.3.2", "the server is ending"),
        Refusal::TooBig => Reply::new(552, "5.3.4", "the message is too long"),
        Refusal::EmptyMessage => Reply::new(554, "5.6.0", "the message is empty"),
        Refusal::Limit(_) => Reply::new(452, "4.2.2", "the mailbox is full"),
        Refusal::Cannot(_) => Reply::new(554, "5.6.0", "the message cannot be kept"),
        _ => Reply::new(451, "4.3.0", "the delivery failed; try again"),
    }
}

#[cfg(test)]
mod tests;
