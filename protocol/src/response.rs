//! Responses as values (RFC 9051 §7). The encoder renders them when they are sent, nothing else writes wire text.

use bytes::Bytes;

use crate::capability::Capability;
use crate::command::{Section, SpecialUse, StatusItem, Tag};
use crate::date::InternalDate;
use crate::flag::{Flag, FlagSet};
use crate::mailbox_name::MailboxName;
use crate::mime::{BodyPart, Envelope};
use crate::number::{SeqNum, Uid, UidValidity};
use crate::set::UidSet;

/// One response.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// `+ text`
    Continuation(String),
    /// `* ...`
    Untagged(Untagged),
    /// `tag OK|NO|BAD ...`
    Tagged(Tag, Status),
}

/// OK, NO, BAD, PREAUTH or BYE with code and text (RFC 9051 §7.1).
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// Which.
    pub condition: Condition,
    /// The response code, in brackets.
    pub code: Option<ResponseCode>,
    /// For people; never empty, CR and LF are replaced by the encoder.
    pub text: String,
}

/// The condition of a status response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// OK
    Ok,
    /// NO
    No,
    /// BAD
    Bad,
    /// PREAUTH
    PreAuth,
    /// BYE
    Bye,
}

/// A response code (RFC 3501 §7.1, 4315, 5530, 2221, 2193, 3516 and those that later stages add).
#[derive(Clone, Debug, PartialEq)]
pub enum ResponseCode {
    /// ALERT
    Alert,
    /// ALREADYEXISTS
    AlreadyExists,
    /// APPENDUID
    AppendUid(UidValidity, UidSet),
    /// AUTHENTICATIONFAILED
    AuthenticationFailed,
    /// AUTHORIZATIONFAILED
    AuthorizationFailed,
    /// BADCHARSET with the charsets that are understood
    BadCharset(Vec<String>),
    /// CANNOT
    Cannot,
    /// CAPABILITY
    Capability(Vec<Capability>),
    /// CLIENTBUG
    ClientBug,
    /// CLOSED
    Closed,
    /// CONTACTADMIN
    ContactAdmin,
    /// COPYUID
    CopyUid(UidValidity, UidSet, UidSet),
    /// CORRUPTION
    Corruption,
    /// EXPIRED
    Expired,
    /// EXPUNGEISSUED
    ExpungeIssued,
    /// HASCHILDREN
    HasChildren,
    /// INUSE
    InUse,
    /// LIMIT
    Limit,
    /// NONEXISTENT
    NonExistent,
    /// NOPERM
    NoPerm,
    /// OVERQUOTA
    OverQuota,
    /// PARSE
    Parse,
    /// PERMANENTFLAGS, with `\*` where new keywords may be made
    PermanentFlags(Vec<Flag>, NewKeywords),
    /// PRIVACYREQUIRED
    PrivacyRequired,
    /// READ-ONLY
    ReadOnly,
    /// READ-WRITE
    ReadWrite,
    /// REFERRAL with IMAP URLs
    Referral(Vec<String>),
    /// SERVERBUG
    ServerBug,
    /// TOOBIG (RFC 7889, 4469)
    TooBig,
    /// TRYCREATE
    TryCreate,
    /// UIDNEXT
    UidNext(Uid),
    /// UIDNOTSTICKY is never sent; UIDVALIDITY
    UidValidity(UidValidity),
    /// UNAVAILABLE
    Unavailable,
    /// UNKNOWN-CTE (RFC 3516)
    UnknownCte,
    /// The special use cannot be given to this mailbox (RFC 6154 §3).
    UseAttr,
    /// UNSEEN
    Unseen(SeqNum),
    /// Any other, as text: the test client meets codes of other servers.
    Other(String),
}

/// Whether PERMANENTFLAGS ends with `\*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NewKeywords {
    /// It does: a client may make new keywords.
    Allowed,
    /// It does not: the limit is reached, or the mailbox is read-only.
    Refused,
}

/// An untagged response.
#[derive(Clone, Debug, PartialEq)]
pub enum Untagged {
    /// `* OK|NO|BAD|PREAUTH|BYE`
    Status(Status),
    /// CAPABILITY
    Capability(Vec<Capability>),
    /// ENABLED (RFC 5161)
    Enabled(Vec<Capability>),
    /// ID (RFC 2971)
    Id(Vec<(String, Option<String>)>),
    /// NAMESPACE (RFC 2342): personal, other users', shared; prefix and separator each
    Namespace([Vec<(String, char)>; 3]),
    /// LIST, LSUB
    List(ListEntry),
    /// STATUS
    StatusData(MailboxName, Vec<(StatusItem, u64)>),
    /// FLAGS
    Flags(Vec<Flag>),
    /// EXISTS
    Exists(u32),
    /// RECENT
    Recent(u32),
    /// EXPUNGE
    Expunge(SeqNum),
    /// SEARCH: message numbers or UIDs
    Search(Vec<u32>),
    /// SORT: message numbers or UIDs, in order
    Sort(Vec<u32>),
    /// THREAD
    Thread(Vec<Thread>),
    /// FETCH
    Fetch(SeqNum, Vec<FetchData>),
    /// Any other, as text behind `* `: the test client meets other servers.
    Other(String),
}

/// One line of LIST or LSUB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListEntry {
    /// Which response.
    pub kind: ListResponse,
    /// Attributes.
    pub attributes: Vec<ListAttribute>,
    /// The separator; `None` is NIL.
    pub separator: Option<char>,
    /// The name. [`ListName::Text`] for the answer to `LIST "" ""` and for remote mailboxes.
    pub name: ListName,
}

/// LIST or LSUB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ListResponse {
    /// LIST
    List,
    /// LSUB
    Lsub,
}

/// The name in a LIST line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListName {
    /// A mailbox.
    Mailbox(MailboxName),
    /// A text as it stands: the empty root, or a remote mailbox's URL.
    Text(String),
}

/// A mailbox attribute (RFC 9051 §7.3.1, 3348, 6154, 2193).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListAttribute {
    /// \HasChildren
    HasChildren,
    /// \HasNoChildren
    HasNoChildren,
    /// \Marked
    Marked,
    /// \Unmarked
    Unmarked,
    /// \NonExistent
    NonExistent,
    /// \Noinferiors
    NoInferiors,
    /// \Noselect
    NoSelect,
    /// \Subscribed
    Subscribed,
    /// \Remote
    Remote,
    /// A special use
    SpecialUse(SpecialUse),
    /// Any other, with its backslash: the test client meets other servers.
    Other(String),
}

/// A node of THREAD (RFC 5256 §4): a message, or none where the parent is not in the result, and its replies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thread {
    /// Message number or UID.
    pub message: Option<u32>,
    /// The replies, in order. Nesting is bounded by [`Thread::MAX_DEPTH`]; whoever builds threads flattens what is deeper.
    pub replies: Vec<Thread>,
}

impl Thread {
    /// The deepest nesting that is built, encoded and decoded.
    pub const MAX_DEPTH: usize = 100;
}

/// A datum of FETCH.
#[derive(Clone, Debug, PartialEq)]
pub enum FetchData {
    /// UID
    Uid(Uid),
    /// FLAGS; `recent` adds `\Recent`
    Flags {
        /// The stored flags.
        flags: FlagSet,
        /// Whether this session holds the message as recent.
        recent: bool,
    },
    /// INTERNALDATE
    InternalDate(InternalDate),
    /// RFC822.SIZE
    Rfc822Size(u64),
    /// ENVELOPE
    Envelope(Box<Envelope>),
    /// BODY (without extension data)
    Body(Box<BodyPart>),
    /// BODYSTRUCTURE
    BodyStructure(Box<BodyPart>),
    /// RFC822, RFC822.HEADER, RFC822.TEXT: the item's name and its bytes
    Rfc822(Rfc822Item, Bytes),
    /// `BODY[section]<origin>`; `None` is NIL
    Section {
        /// Which.
        section: Section,
        /// The first octet, where the request was partial.
        origin: Option<u32>,
        /// The bytes.
        data: Option<Bytes>,
    },
    /// `BINARY[part]<origin>`; `None` is NIL; sent as literal8 where it holds NUL
    Binary {
        /// Which.
        part: Vec<u32>,
        /// The first octet, where the request was partial.
        origin: Option<u32>,
        /// The decoded bytes.
        data: Option<Bytes>,
    },
    /// `BINARY.SIZE[part]`
    BinarySize {
        /// Which.
        part: Vec<u32>,
        /// Decoded bytes.
        size: u64,
    },
}

/// The three items of RFC 3501 that are BODY[...] under an old name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rfc822Item {
    /// RFC822
    Message,
    /// RFC822.HEADER
    Header,
    /// RFC822.TEXT
    Text,
}
