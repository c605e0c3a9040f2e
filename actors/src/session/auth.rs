//! Who may log in: what the session asks of the user database in `src/users.rs`.

use crate::id::AccountId;

/// The answer to a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The password is this user's.
    Accepted(AccountId),
    /// It is not, or there is no such user: which of the two is never told.
    Refused,
    /// It cannot be told now; the reason is for the trace.
    Unavailable(String),
}

/// The user database. Both methods may block (password hashes are slow on purpose): callers run them in the pool.
pub trait Authenticator: Send + Sync {
    /// Checks a password, in about the same time whether the user exists or not.
    fn verify(&self, user: &str, password: &[u8]) -> Verdict;

    /// The account of a user, for deliveries.
    fn find(&self, user: &str) -> Option<AccountId>;
}
