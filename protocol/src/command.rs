//! Commands as values, and the one table of their rules.

use std::fmt;

use crate::date::{Day, InternalDate};
use crate::flag::{FlagChange, FlagSet, Keyword, SystemFlag};
use crate::mailbox_name::MailboxName;
use crate::set::{Numbering, SequenceSet};
use crate::text::Secret;

/// A command with the client's tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaggedCommand {
    /// The tag, an atom without `+` (RFC 9051 §9, `tag`).
    pub tag: Tag,
    /// The command.
    pub command: Command,
}

/// A command's tag: 1 to [`Tag::MAX_BYTES`] bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tag(String);

impl Tag {
    /// The longest tag that is accepted.
    pub const MAX_BYTES: usize = 200;

    /// A tag, or `None` if the text is none.
    pub fn new(text: &str) -> Option<Self> {
        let is_tag = |byte: u8| byte.is_ascii_graphic() && !b"(){%*\"\\+".contains(&byte);
        (!text.is_empty() && text.len() <= Self::MAX_BYTES && text.bytes().all(is_tag)).then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Every command that is understood.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "fields are called as in the RFC that stands above their variant")]
pub enum Command {
    /// RFC 9051 §6.1.1
    Capability,
    /// RFC 9051 §6.1.2
    Noop,
    /// RFC 9051 §6.1.3
    Logout,
    /// RFC 2971: the client's fields; `None` for NIL.
    Id(Option<Vec<(String, Option<String>)>>),
    /// RFC 9051 §6.2.1
    StartTls,
    /// RFC 9051 §6.2.2, RFC 4959: the mechanism in capitals and the initial response, decoded; an empty one was `=`.
    Authenticate { mechanism: String, initial: Option<Secret<Vec<u8>>> },
    /// RFC 9051 §6.2.3
    Login { user: String, password: Secret<Vec<u8>> },
    /// RFC 5161: the capabilities in capitals.
    Enable(Vec<String>),
    /// RFC 9051 §6.3.2
    Select(MailboxName),
    /// RFC 9051 §6.3.3
    Examine(MailboxName),
    /// RFC 9051 §6.3.4, RFC 6154 §3
    Create { mailbox: MailboxName, special_use: Vec<SpecialUse> },
    /// RFC 9051 §6.3.5
    Delete(MailboxName),
    /// RFC 9051 §6.3.6
    Rename { from: MailboxName, to: MailboxName },
    /// RFC 9051 §6.3.7
    Subscribe(MailboxName),
    /// RFC 9051 §6.3.8
    Unsubscribe(MailboxName),
    /// LIST, LSUB, RLIST, RLSUB (RFC 3501 §6.3.8 and §6.3.9, RFC 2193 §3). Reference and pattern are decoded from modified UTF-7 already,
    /// ready for [`Pattern::new`](crate::pattern::Pattern::new); the separator is the session's.
    List { kind: ListKind, reference: String, pattern: String },
    /// SCAN of UW-imapd: LIST of the mailboxes whose messages contain the text. Decoded as for LIST.
    Scan { reference: String, pattern: String, text: String },
    /// RFC 2342
    Namespace,
    /// RFC 9051 §6.3.11
    Status { mailbox: MailboxName, items: Vec<StatusItem> },
    /// RFC 9051 §6.3.12, RFC 3502: at least one message.
    Append { mailbox: MailboxName, messages: Vec<AppendMessage> },
    /// RFC 9051 §6.3.13
    Idle,
    /// RFC 3501 §6.4.1
    Check,
    /// RFC 9051 §6.4.1
    Close,
    /// RFC 9051 §6.4.2
    Unselect,
    /// RFC 9051 §6.4.3
    Expunge,
    /// RFC 4315 §2.1
    UidExpunge(SequenceSet),
    /// RFC 9051 §6.4.4
    Search { numbering: Numbering, charset: Option<String>, key: SearchKey },
    /// RFC 5256 §3: at least one criterion.
    Sort { numbering: Numbering, criteria: Vec<SortCriterion>, charset: String, key: SearchKey },
    /// RFC 5256 §3
    Thread { numbering: Numbering, algorithm: ThreadAlgorithm, charset: String, key: SearchKey },
    /// RFC 9051 §6.4.5: macros are expanded; UID FETCH holds [`FetchItem::Uid`].
    Fetch { numbering: Numbering, set: SequenceSet, items: Vec<FetchItem> },
    /// RFC 9051 §6.4.6
    Store { numbering: Numbering, set: SequenceSet, change: FlagChange, silent: bool, flags: FlagSet },
    /// RFC 9051 §6.4.7
    Copy { numbering: Numbering, set: SequenceSet, mailbox: MailboxName },
    /// RFC 6851
    Move { numbering: Numbering, set: SequenceSet, mailbox: MailboxName },
}

/// Which of the listing commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ListKind {
    /// LIST
    List,
    /// LSUB
    Lsub,
    /// RLIST: LIST with remote mailboxes.
    RList,
    /// RLSUB: LSUB with remote mailboxes.
    RLsub,
}

/// A special use of a mailbox (RFC 6154 §2, RFC 8457).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum SpecialUse {
    /// `\All`
    All,
    /// `\Archive`
    Archive,
    /// `\Drafts`
    Drafts,
    /// `\Flagged`
    Flagged,
    /// `\Important`
    Important,
    /// `\Junk`
    Junk,
    /// `\Sent`
    Sent,
    /// `\Trash`
    Trash,
}

/// A datum of STATUS (RFC 9051 §6.3.11, RFC 8438).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StatusItem {
    /// MESSAGES
    Messages,
    /// RECENT
    Recent,
    /// UIDNEXT
    UidNext,
    /// UIDVALIDITY
    UidValidity,
    /// UNSEEN
    Unseen,
    /// DELETED
    Deleted,
    /// SIZE
    Size,
}

/// One message of APPEND.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendMessage {
    /// Its flags.
    pub flags: FlagSet,
    /// Its date, where given.
    pub date: Option<InternalDate>,
    /// Its bytes.
    pub literal: MessageLiteral,
}

/// The bytes of a message in APPEND, which the frame reader keeps out of the command's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageLiteral {
    /// Its place among the message literals of the frame, from 0.
    pub index: usize,
    /// The announced length in bytes.
    pub length: u64,
    /// A literal8 (`~{n}`, RFC 3516 §4.4), which may hold NUL.
    pub binary: bool,
}

/// A key of SEARCH (RFC 3501 §6.4.4). Texts are decoded from the command's charset already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchKey {
    /// Several keys that must all match; the empty list matches all.
    And(Vec<SearchKey>),
    /// OR
    Or(Box<SearchKey>, Box<SearchKey>),
    /// NOT
    Not(Box<SearchKey>),
    /// ALL
    All,
    /// ANSWERED, DELETED, DRAFT, FLAGGED, SEEN; UNx is `Not`.
    Flag(SystemFlag),
    /// KEYWORD; UNKEYWORD is `Not`.
    Keyword(Keyword),
    /// RECENT; OLD is `Not`, NEW is RECENT and not SEEN.
    Recent,
    /// A set of message sequence numbers, or with UID of UIDs.
    Set(Numbering, SequenceSet),
    /// BEFORE, ON, SINCE on INTERNALDATE.
    Internal(DateComparison, Day),
    /// SENTBEFORE, SENTON, SENTSINCE on the Date field.
    Sent(DateComparison, Day),
    /// LARGER: more than so many bytes.
    Larger(u64),
    /// SMALLER: fewer than so many bytes.
    Smaller(u64),
    /// HEADER, and FROM, TO, CC, BCC, SUBJECT: field name, text; an empty text asks only whether the field is there.
    Header(String, String),
    /// BODY
    Body(String),
    /// TEXT
    Text(String),
}

/// How a date key compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DateComparison {
    /// Earlier than the day.
    Before,
    /// On the day.
    On,
    /// On the day or later.
    Since,
}

/// A sort criterion (RFC 5256 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SortCriterion {
    /// REVERSE
    pub reverse: bool,
    /// The key.
    pub key: SortKey,
}

/// What to sort by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SortKey {
    /// ARRIVAL
    Arrival,
    /// CC
    Cc,
    /// DATE
    Date,
    /// FROM
    From,
    /// SIZE
    Size,
    /// SUBJECT
    Subject,
    /// TO
    To,
}

/// A threading algorithm (RFC 5256 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ThreadAlgorithm {
    /// ORDEREDSUBJECT
    OrderedSubject,
    /// REFERENCES
    References,
}

/// A data item of FETCH (RFC 9051 §6.4.5, RFC 3516).
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "fields are called as in the RFC that stands above their variant")]
pub enum FetchItem {
    /// UID
    Uid,
    /// FLAGS
    Flags,
    /// INTERNALDATE
    InternalDate,
    /// RFC822.SIZE
    Rfc822Size,
    /// ENVELOPE
    Envelope,
    /// BODY, without section
    Body,
    /// BODYSTRUCTURE
    BodyStructure,
    /// RFC822: as BODY[], under its own name
    Rfc822,
    /// RFC822.HEADER: as `BODY.PEEK[HEADER]`, under its own name
    Rfc822Header,
    /// RFC822.TEXT: as `BODY[TEXT]`, under its own name
    Rfc822Text,
    /// BODY[...] or BODY.PEEK[...]
    Section { section: Section, partial: Option<Partial>, peek: bool },
    /// BINARY[...] or BINARY.PEEK[...] (RFC 3516 §4.2)
    Binary { part: Vec<u32>, partial: Option<Partial>, peek: bool },
    /// BINARY.SIZE[...] (RFC 3516 §4.2)
    BinarySize { part: Vec<u32> },
}

/// `<first.count>` of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Partial {
    /// The first octet, from 0.
    pub first: u32,
    /// The number of octets, at least 1.
    pub count: u32,
}

/// Which part of a message (RFC 9051 §6.4.5.1). At most [`Section::MAX_DEPTH`] part numbers, each at least 1.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Section {
    /// The part numbers; empty for the message itself.
    pub part: Vec<u32>,
    /// What of the part; `None` for all of it.
    pub text: Option<SectionText>,
}

impl Section {
    /// The most part numbers in one section.
    pub const MAX_DEPTH: usize = 100;
}

/// What of a part.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SectionText {
    /// HEADER
    Header,
    /// HEADER.FIELDS (names as sent, at least one)
    HeaderFields(Vec<String>),
    /// HEADER.FIELDS.NOT
    HeaderFieldsNot(Vec<String>),
    /// TEXT
    Text,
    /// MIME: only behind a part number
    Mime,
}

/// In which states a command is valid (RFC 9051 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum States {
    /// In every state.
    Any,
    /// Before login only.
    NotAuthenticated,
    /// After login, with or without a selected mailbox.
    Authenticated,
    /// With a selected mailbox only.
    Selected,
}

/// Whether a command's responses may report EXPUNGE (RFC 9051 §7.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Expunges {
    /// EXPUNGE may be told before the tagged reply.
    Tell,
    /// Message numbers must stay as they are until the tagged reply.
    Withhold,
}

/// A command's declared nature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Where it is valid.
    pub states: States,
    /// Whether it may report EXPUNGE.
    pub expunges: Expunges,
}

impl Command {
    /// The command as it is written, in capitals, with its `UID`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Capability => "CAPABILITY",
            Self::Noop => "NOOP",
            Self::Logout => "LOGOUT",
            Self::Id(_) => "ID",
            Self::StartTls => "STARTTLS",
            Self::Authenticate { .. } => "AUTHENTICATE",
            Self::Login { .. } => "LOGIN",
            Self::Enable(_) => "ENABLE",
            Self::Select(_) => "SELECT",
            Self::Examine(_) => "EXAMINE",
            Self::Create { .. } => "CREATE",
            Self::Delete(_) => "DELETE",
            Self::Rename { .. } => "RENAME",
            Self::Subscribe(_) => "SUBSCRIBE",
            Self::Unsubscribe(_) => "UNSUBSCRIBE",
            Self::List { kind: ListKind::List, .. } => "LIST",
            Self::List { kind: ListKind::Lsub, .. } => "LSUB",
            Self::List { kind: ListKind::RList, .. } => "RLIST",
            Self::List { kind: ListKind::RLsub, .. } => "RLSUB",
            Self::Scan { .. } => "SCAN",
            Self::Namespace => "NAMESPACE",
            Self::Status { .. } => "STATUS",
            Self::Append { .. } => "APPEND",
            Self::Idle => "IDLE",
            Self::Check => "CHECK",
            Self::Close => "CLOSE",
            Self::Unselect => "UNSELECT",
            Self::Expunge => "EXPUNGE",
            Self::UidExpunge(_) => "UID EXPUNGE",
            Self::Search { numbering, .. } => numbering.of("SEARCH", "UID SEARCH"),
            Self::Sort { numbering, .. } => numbering.of("SORT", "UID SORT"),
            Self::Thread { numbering, .. } => numbering.of("THREAD", "UID THREAD"),
            Self::Fetch { numbering, .. } => numbering.of("FETCH", "UID FETCH"),
            Self::Store { numbering, .. } => numbering.of("STORE", "UID STORE"),
            Self::Copy { numbering, .. } => numbering.of("COPY", "UID COPY"),
            Self::Move { numbering, .. } => numbering.of("MOVE", "UID MOVE"),
        }
    }

    /// In which states the command is valid (RFC 3501 §6) and whether it may report EXPUNGE (RFC 9051 §7.5.1).
    pub fn rule(&self) -> Rule {
        Rule { states: self.states(), expunges: self.expunges() }
    }

    const fn states(&self) -> States {
        match self {
            Self::Capability | Self::Noop | Self::Logout | Self::Id(_) => States::Any,
            Self::StartTls | Self::Authenticate { .. } | Self::Login { .. } => States::NotAuthenticated,
            Self::Enable(_)
            | Self::Select(_)
            | Self::Examine(_)
            | Self::Create { .. }
            | Self::Delete(_)
            | Self::Rename { .. }
            | Self::Subscribe(_)
            | Self::Unsubscribe(_)
            | Self::List { .. }
            | Self::Scan { .. }
            | Self::Namespace
            | Self::Status { .. }
            | Self::Append { .. }
            | Self::Idle => States::Authenticated,
            Self::Check
            | Self::Close
            | Self::Unselect
            | Self::Expunge
            | Self::UidExpunge(_)
            | Self::Search { .. }
            | Self::Sort { .. }
            | Self::Thread { .. }
            | Self::Fetch { .. }
            | Self::Store { .. }
            | Self::Copy { .. }
            | Self::Move { .. } => States::Selected,
        }
    }

    /// FETCH, STORE, SEARCH, SORT and THREAD withhold EXPUNGE; their UID forms may tell it, save where their keys hold message numbers
    /// (RFC 7162 §3.2.10.2).
    fn expunges(&self) -> Expunges {
        match self {
            Self::Fetch { numbering: Numbering::Seq, .. }
            | Self::Store { numbering: Numbering::Seq, .. }
            | Self::Search { numbering: Numbering::Seq, .. }
            | Self::Sort { numbering: Numbering::Seq, .. }
            | Self::Thread { numbering: Numbering::Seq, .. } => Expunges::Withhold,
            Self::Search { key, .. } | Self::Sort { key, .. } | Self::Thread { key, .. } if key.has_sequence_numbers() => {
                Expunges::Withhold
            }
            _ => Expunges::Tell,
        }
    }
}

impl SearchKey {
    /// Whether a message sequence number stands anywhere in it (RFC 7162 §3.2.10.2).
    pub fn has_sequence_numbers(&self) -> bool {
        match self {
            Self::Set(Numbering::Seq, _) => true,
            Self::Not(key) => key.has_sequence_numbers(),
            Self::Or(left, right) => left.has_sequence_numbers() || right.has_sequence_numbers(),
            Self::And(keys) => keys.iter().any(Self::has_sequence_numbers),
            _ => false,
        }
    }
}

/// A frame: one command as it came in, its message literals aside. Debug output shows lengths only: there may be a password in it.
#[derive(Clone, Default)]
pub struct Frame {
    /// The text without the last CRLF, all literals in it as `{length}`, CRLF and bytes. A message literal of APPEND is replaced by NUL,
    /// its index in decimal, NUL; `~` stands in front of either where it is a literal8. NUL stands nowhere else outside literal8.
    pub text: Vec<u8>,
    /// The lengths of its message literals in bytes, in order. Whoever reads frames has kept the bytes.
    pub messages: Vec<u64>,
}

impl fmt::Debug for Frame {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Frame").field("bytes", &self.text.len()).field("messages", &self.messages).finish()
    }
}
