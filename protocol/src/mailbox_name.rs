//! Mailbox names: lists of segments, NFC, INBOX in capitals. Only this file knows modified UTF-7 (RFC 3501 §5.1.3).

use std::fmt;

use serde::{Deserialize, Serialize};

/// A mailbox's name: one segment per level of hierarchy, without separator. Always at least one segment, none empty, all NFC,
/// no control characters; a first segment that is `inbox` in any case is stored as `INBOX` (RFC 9051 §5.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MailboxName(Vec<String>);

/// How names stand on the wire in this session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameFormat {
    /// The hierarchy separator: `/` or `.`.
    pub separator: char,
    /// UTF-8 (after ENABLE UTF8=ACCEPT or IMAP4rev2) instead of modified UTF-7.
    pub utf8: bool,
}

impl Default for NameFormat {
    fn default() -> Self {
        Self { separator: '/', utf8: false }
    }
}

/// Why a text is no mailbox name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// No segment, or an empty one between two separators.
    EmptySegment,
    /// Broken modified UTF-7, or broken UTF-8 where that is expected.
    Encoding,
    /// A control character.
    ControlCharacter,
    /// More than [`MailboxName::MAX_BYTES`] or [`MailboxName::MAX_LEVELS`].
    TooLong,
}

impl fmt::Display for NameError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::EmptySegment => "a mailbox name has no empty levels",
            Self::Encoding => "the mailbox name is not valid modified UTF-7",
            Self::ControlCharacter => "a mailbox name has no control characters",
            Self::TooLong => "the mailbox name is too long",
        })
    }
}
impl std::error::Error for NameError {}

impl MailboxName {
    /// The longest name, in bytes of UTF-8 over all segments.
    pub const MAX_BYTES: usize = 1000;
    /// The deepest hierarchy.
    pub const MAX_LEVELS: usize = 64;

    /// INBOX.
    pub fn inbox() -> Self {
        Self(vec!["INBOX".to_owned()])
    }

    /// The levels, from the top.
    pub fn segments(&self) -> &[String] {
        &self.0
    }
}
