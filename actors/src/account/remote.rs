//! Mailboxes of other servers, under the names at which they are shown here (RFC 2193). Where an account has a mailbox of that name, its own is meant.

use std::collections::BTreeMap;

use carillon_protocol::extension::rfc5092_url::below;
use carillon_protocol::mailbox_name::MailboxName;

use super::state::State;

/// The remote mailboxes of the configuration, each with its IMAP URL; the same for all accounts.
#[derive(Clone, Debug, Default)]
pub struct RemoteMailboxes(BTreeMap<MailboxName, String>);

impl FromIterator<(MailboxName, String)> for RemoteMailboxes {
    fn from_iter<T: IntoIterator<Item = (MailboxName, String)>>(mailboxes: T) -> Self {
        Self(mailboxes.into_iter().collect())
    }
}

impl RemoteMailboxes {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none: the usual case.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names that do not stand for a mailbox of the account, in order.
    pub fn names<'a>(&'a self, account: &'a State) -> impl Iterator<Item = &'a MailboxName> {
        self.0.keys().filter(|name| account.find(name).is_none())
    }

    /// The URL of a remote mailbox, or of what would be below one; `None` where the name is the account's own affair.
    pub fn url(&self, name: &MailboxName, account: &State) -> Option<String> {
        if self.is_empty() || account.find(name).is_some() {
            return None;
        }
        let mut levels: Vec<MailboxName> = name.superiors().collect();
        levels.push(name.clone());
        let remote = levels.iter().rev().find(|level| self.0.contains_key(level) && account.find(level).is_none())?;
        Some(below(self.0.get(remote)?, name.segments().get(remote.segments().len()..)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::requests::Change;
    use crate::given::{given_account, name};

    #[test]
    fn a_name_is_remote_where_it_or_one_above_is_and_the_account_has_no_such_mailbox() {
        let create = |text: &str| Change::Create { mailbox: name(text), special_use: Vec::new() };
        let account = given_account([create("Shared/Own"), create("Shared/Own too")]).state;
        let remote: RemoteMailboxes = ["Shared/News", "Shared/News/old", "Shared/Own"]
            .into_iter()
            .map(|text| (name(text), format!("imap://host/{}", text.len())))
            .collect();
        let url = |text: &str| remote.url(&name(text), &account);
        assert_eq!(url("Shared/News").as_deref(), Some("imap://host/11"));
        assert_eq!(url("Shared/News/today/noon").as_deref(), Some("imap://host/11/today/noon"));
        assert_eq!(url("Shared/News/old/er").as_deref(), Some("imap://host/15/er"));
        assert_eq!([url("Shared"), url("Shared/Newsletter"), url("Shared/Own"), url("Shared/Own/below")], [const { None }; 4]);
        assert_eq!(remote.names(&account).count(), 2);
    }
}
