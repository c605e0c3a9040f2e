//! `--any-user`: every login name gets an account of its own, for other people's test suites.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use carillon_actors::id::AccountId;
use carillon_actors::session::auth::{Authenticator, Verdict};
use carillon_storage::BodyHash;

use super::{Names, Owner, UserName};

/// More names are still served, but not remembered for `who` and `log`.
const REMEMBERED: usize = 100_000;

/// Anybody who knows the password. A name and its address at this server are one user: mail for `alice@localhost` is in the account of `alice`.
#[derive(Debug)]
pub struct AnyUser {
    password: Vec<u8>,
    domains: [String; 2],
    seen: Mutex<BTreeMap<AccountId, String>>,
}

impl AnyUser {
    /// With this one password for all, at a server of this name.
    pub fn new(password: &str, hostname: &str) -> Self {
        let domains = [hostname.to_lowercase(), "localhost".to_owned()];
        Self { password: password.as_bytes().to_vec(), domains, seen: Mutex::default() }
    }
}

impl Authenticator for AnyUser {
    fn verify(&self, user: &str, password: &[u8]) -> Verdict {
        let is_right = super::password::is_same(&self.password, password);
        self.account_of(user).filter(|_| is_right).map_or(Verdict::Refused, Verdict::Accepted)
    }

    /// A name with `+` is no user but one of a user's mailboxes, or else no delivery would ever reach one.
    fn find(&self, user: &str) -> Option<AccountId> {
        if user.contains('+') { None } else { self.account_of(user) }
    }
}

impl AnyUser {
    fn account_of(&self, user: &str) -> Option<AccountId> {
        let name = UserName::new(user).ok()?;
        let local = name
            .as_str()
            .rsplit_once('@')
            .filter(|(local, domain)| !local.is_empty() && self.domains.iter().any(|own| own == domain));
        let name = local.map_or(Some(name.clone()), |(local, _)| UserName::new(local).ok())?;
        let mut id = [0; 8];
        BodyHash::of(name.as_str().as_bytes()).0.iter().zip(&mut id).for_each(|(from, to)| *to = *from);
        let account = AccountId(u64::from_le_bytes(id));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < REMEMBERED {
            seen.entry(account).or_insert_with(|| name.0);
        }
        Some(account)
    }
}

impl Names for AnyUser {
    fn names(&self) -> BTreeMap<AccountId, Owner> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().map(|(account, name)| (*account, Owner { name: name.clone(), is_removed: false })).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_a_folder_is_no_user() {
        assert_eq!(AnyUser::new("test", "localhost").find("user+Archive"), None);
    }

    #[test]
    fn a_name_has_one_account() {
        let any = AnyUser::new("test", "mail.example.org");
        let Verdict::Accepted(account) = any.verify("Greta@example.org", b"test") else { panic!("refused") };
        assert_eq!(any.find("greta@example.org"), Some(account));
        assert_ne!(any.find("other"), Some(account));
        assert_ne!(any.find("greta"), Some(account));
        assert_eq!(any.find("Greta@LOCALHOST"), any.find("greta"));
        assert_eq!(any.find("greta@mail.example.org"), any.find("greta"));
        assert_eq!(any.verify("greta", b"tes"), Verdict::Refused);
        assert_eq!(any.verify("", b"test"), Verdict::Refused);
        assert_eq!(any.names()[&account].to_string(), "greta@example.org");
    }
}
