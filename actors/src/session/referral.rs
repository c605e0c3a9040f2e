//! Referrals to other servers: mailboxes that are only named here (RFC 2193), users whose home is elsewhere (RFC 2221).

use std::collections::BTreeMap;
use std::sync::Arc;

use carillon_protocol::extension::rfc5092_url::below;
use carillon_protocol::mailbox_name::MailboxName;
use carillon_protocol::response::{ResponseCode, Status};

use super::reply::{self, Ending};
use super::state::Session;
use crate::account::remote::RemoteMailboxes;
use crate::account::requests::Snapshot;
use crate::id::MailboxId;
use crate::refusal::Refusal;

/// Mailboxes and users that live on other servers.
#[derive(Clone, Debug, Default)]
pub struct Referrals {
    /// Remote mailboxes.
    pub mailboxes: Arc<RemoteMailboxes>,
    users: BTreeMap<String, String>,
}

impl Referrals {
    /// Remote mailboxes, and users with their IMAP URLs. Users' names are compared without case.
    pub fn new(mailboxes: RemoteMailboxes, users: impl IntoIterator<Item = (String, String)>) -> Self {
        let users = users.into_iter().map(|(user, url)| (user.to_lowercase(), url)).collect();
        Self { mailboxes: Arc::new(mailboxes), users }
    }

    /// The reply to a login of somebody whose home is another server (RFC 2221 §4.1).
    pub(super) fn user(&self, user: &str) -> Option<Status> {
        let url = self.users.get(&user.to_lowercase())?;
        Some(reply::no(ResponseCode::Referral(vec![url.clone()]), "Your home is another server"))
    }
}

fn referral(urls: Vec<String>) -> Ending {
    Ending::Status(reply::no(ResponseCode::Referral(urls), "This mailbox is on another server"))
}

impl Session {
    /// The id of the mailbox of a name; a remote one answers with its referral (RFC 2193 §4).
    pub async fn find(&mut self, name: &MailboxName) -> Result<MailboxId, Ending> {
        let names = self.names().await?;
        match names.find(name) {
            Some(entry) => Ok(entry.mailbox),
            None => Err(self.refer(name, &names).err().unwrap_or(Ending::Refused(Refusal::NoSuchMailbox))),
        }
    }

    /// Nothing, where the name is the account's own affair.
    ///
    /// # Errors
    /// The referral to a remote mailbox, or to what would be below one (RFC 2193 §4.1, §4.2).
    pub fn refer(&self, name: &MailboxName, names: &Snapshot) -> Result<(), Ending> {
        self.doors.settings.referrals.mailboxes.url(name, names).map_or(Ok(()), |url| Err(referral(vec![url])))
    }

    /// The same for RENAME, of which either name may be remote.
    ///
    /// # Errors
    /// A pair of URLs: the mailbox as it is, and as it would be (RFC 2193 §4.3).
    pub fn refer_both(&self, from: &MailboxName, to: &MailboxName, names: &Snapshot) -> Result<(), Ending> {
        let settings = &self.doors.settings;
        let remote = [from, to].map(|name| settings.referrals.mailboxes.url(name, names));
        if remote.iter().all(Option::is_none) {
            return Ok(());
        }
        let here = format!("imap://{}", settings.hostname);
        let urls = remote.into_iter().zip([from, to]).map(|(url, name)| url.unwrap_or_else(|| below(&here, name.segments())));
        Err(referral(urls.collect()))
    }
}
