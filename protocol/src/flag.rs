//! Flags and keywords (RFC 9051 §2.3.2). [`FlagSet`] is their only form on the wire, in events and towards readers of state.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The flags that begin with a backslash and are stored. `\Recent` is no flag of a message but of a session's view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SystemFlag {
    /// `\Answered`
    Answered,
    /// `\Flagged`
    Flagged,
    /// `\Deleted`
    Deleted,
    /// `\Seen`
    Seen,
    /// `\Draft`
    Draft,
}

impl SystemFlag {
    /// All of them, in the order in which they are listed to clients.
    pub const ALL: [Self; 5] = [Self::Answered, Self::Flagged, Self::Deleted, Self::Seen, Self::Draft];

    /// The flag with its backslash.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answered => "\\Answered",
            Self::Flagged => "\\Flagged",
            Self::Deleted => "\\Deleted",
            Self::Seen => "\\Seen",
            Self::Draft => "\\Draft",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A keyword: a flag without backslash, an atom. Compared without case; the spelling is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Keyword(Arc<str>);

impl Keyword {
    /// The longest keyword that is accepted, in bytes.
    pub const MAX_BYTES: usize = 200;

    /// A keyword, or `None` if the text is no atom (RFC 9051 §9, `flag-keyword`) or too long.
    pub fn new(text: &str) -> Option<Self> {
        let is_atom = |byte: u8| byte.is_ascii_graphic() && !b"(){%*\"\\]".contains(&byte);
        (!text.is_empty() && text.len() <= Self::MAX_BYTES && text.bytes().all(is_atom)).then(|| Self(text.into()))
    }

    /// The spelling.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn key(&self) -> impl Iterator<Item = u8> + '_ {
        self.0.bytes().map(|byte| byte.to_ascii_lowercase())
    }
}

impl PartialEq for Keyword {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}
impl Eq for Keyword {}
impl PartialOrd for Keyword {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Keyword {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(other.key())
    }
}
impl std::hash::Hash for Keyword {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.key().for_each(|byte| state.write_u8(byte));
    }
}
impl fmt::Display for Keyword {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// One flag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Flag {
    /// A flag with a meaning in the standard.
    System(SystemFlag),
    /// Any other.
    Keyword(Keyword),
}

impl fmt::Display for Flag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(flag) => formatter.write_str(flag.name()),
            Self::Keyword(keyword) => keyword.fmt(formatter),
        }
    }
}

/// A set of flags: system flags and keywords, each at most once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FlagSet {
    system: u8,
    /// Ascending, without case.
    keywords: Vec<Keyword>,
}

impl FlagSet {
    /// No flags.
    pub const fn new() -> Self {
        Self { system: 0, keywords: Vec::new() }
    }

    /// Whether there is no flag in it.
    pub fn is_empty(&self) -> bool {
        self.system == 0 && self.keywords.is_empty()
    }

    /// Whether the system flag is in it.
    pub const fn has(&self, flag: SystemFlag) -> bool {
        self.system & flag.bit() != 0
    }

    /// Whether the keyword is in it, compared without case.
    pub fn has_keyword(&self, keyword: &Keyword) -> bool {
        self.keywords.binary_search(keyword).is_ok()
    }

    /// Adds a flag; the spelling of a keyword that is there already stays.
    pub fn insert(&mut self, flag: Flag) {
        match flag {
            Flag::System(flag) => self.system |= flag.bit(),
            Flag::Keyword(keyword) => {
                if let Err(place) = self.keywords.binary_search(&keyword) {
                    self.keywords.insert(place, keyword);
                }
            }
        }
    }

    /// Takes a flag away.
    pub fn remove(&mut self, flag: &Flag) {
        match flag {
            Flag::System(flag) => self.system &= !flag.bit(),
            Flag::Keyword(keyword) => {
                if let Ok(place) = self.keywords.binary_search(keyword) {
                    self.keywords.remove(place);
                }
            }
        }
    }

    /// The system flags in it as bits: bit n is [`SystemFlag::ALL`]`[n]`.
    pub const fn system_bits(&self) -> u8 {
        self.system
    }

    /// A set of the system flags of `bits` (see [`FlagSet::system_bits`]) and of keywords.
    pub fn from_parts(bits: u8, keywords: impl IntoIterator<Item = Keyword>) -> Self {
        let mut keywords: Vec<Keyword> = keywords.into_iter().collect();
        keywords.sort();
        keywords.dedup();
        Self { system: bits & 0b1_1111, keywords }
    }

    /// The keywords in it, ascending without case.
    pub fn keywords(&self) -> &[Keyword] {
        &self.keywords
    }

    /// All flags: system flags in the order of [`SystemFlag::ALL`], then keywords.
    pub fn iter(&self) -> impl Iterator<Item = Flag> + '_ {
        let system = SystemFlag::ALL.into_iter().filter(|flag| self.has(*flag)).map(Flag::System);
        system.chain(self.keywords.iter().cloned().map(Flag::Keyword))
    }
}

impl FromIterator<Flag> for FlagSet {
    fn from_iter<I: IntoIterator<Item = Flag>>(flags: I) -> Self {
        let mut set = Self::new();
        flags.into_iter().for_each(|flag| set.insert(flag));
        set
    }
}

impl From<SystemFlag> for FlagSet {
    fn from(flag: SystemFlag) -> Self {
        Self { system: flag.bit(), keywords: Vec::new() }
    }
}

/// What STORE does with flags (RFC 9051 §6.4.6); also the change in an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FlagChange {
    /// `+FLAGS`
    Add,
    /// `-FLAGS`
    Remove,
    /// `FLAGS`
    Replace,
}
