//! Why a request is refused. What the client reads of it stands in `session/reply.rs` alone.

use std::fmt;

use carillon_storage::AppendError;

/// A request was understood and not done; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such mailbox.
    NoSuchMailbox,
    /// There is no such mailbox to append to; creating it would help.
    NoTargetMailbox,
    /// A mailbox of that name exists already.
    MailboxExists,
    /// The name has children and no mailbox of its own (`\NonExistent`): it cannot be deleted or selected.
    HasChildren,
    /// The request cannot be done with this mailbox (DELETE INBOX, RENAME into its own subtree); why.
    Cannot(&'static str),
    /// A mailbox cannot be made with that special use; why.
    SpecialUse(&'static str),
    /// The selected mailbox is read-only.
    ReadOnly,
    /// The mailbox holds no further keyword, account no further mailbox, mailbox no further UID, or the command changes too much at once; what the limit is.
    Limit(&'static str),
    /// A message is longer than the configured limit.
    TooBig,
    /// A message has no bytes.
    EmptyMessage,
    /// Some of the named messages are gone (RFC 5530 EXPUNGEISSUED).
    ExpungeIssued,
    /// A part's Content-Transfer-Encoding is unknown, so BINARY cannot give it (RFC 3516 §4.3).
    UnknownEncoding,
    /// Something is wrong on the server's side.
    Fault(Fault),
}

/// Something is wrong on the server's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The disk is full, or writing failed: nothing was changed, it may work later.
    Unavailable(String),
    /// The message or log is damaged on disk.
    Damaged(String),
    /// The actor that owns the fact is gone; asking its owner anew may help.
    Gone,
    /// A programming error that was caught.
    Bug(&'static str),
    /// The server is ending.
    Ending,
}

impl Refusal {
    /// The command's events would never fit into one commit: [`change_bytes`](crate::limits::Limits::change_bytes).
    pub const TOO_MUCH_AT_ONCE: Self =
        Self::Limit("this is more than one command can change (some 400,000 messages); do it in parts");
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(reason) => write!(formatter, "unavailable: {reason}"),
            Self::Damaged(what) => write!(formatter, "damaged: {what}"),
            Self::Gone => formatter.write_str("the owner is gone"),
            Self::Bug(what) => write!(formatter, "bug: {what}"),
            Self::Ending => formatter.write_str("the server is ending"),
        }
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<AppendError> for Fault {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::DiskFull => Self::Unavailable("the disk is full".to_owned()),
            AppendError::Failed(reason) => Self::Unavailable(reason),
            // Whoever decides asks for less: `Limits::change_bytes`.
            AppendError::TooLarge => Self::Bug("a list of commits is too large for the journal"),
            AppendError::Conflict { .. } => Self::Gone,
            AppendError::Unknown(_) => Self::Ending,
        }
    }
}

impl From<carillon_storage::ReadError> for Fault {
    fn from(error: carillon_storage::ReadError) -> Self {
        match error {
            carillon_storage::ReadError::Failed(reason) => Self::Unavailable(reason),
            damaged => Self::Damaged(damaged.to_string()),
        }
    }
}
