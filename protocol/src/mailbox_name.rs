//! Mailbox names: lists of segments, NFC, INBOX in capitals. Only this file knows modified UTF-7 (RFC 3501 §5.1.3).

use std::fmt;

use base64::Engine as _;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::NO_PAD;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;

/// A mailbox's name: one segment per level of hierarchy, without separator. Always at least one segment, none empty, all NFC,
/// no control characters; a first segment that is `inbox` in any case is stored as `INBOX` (RFC 9051 §5.1).
///
/// No segment holds `/`. Where a session's separator is another character, that character and `/` change places on the wire: with
/// `.` as separator, `Work.v1/2` is the segment `v1.2` below `Work`, which with `/` as separator reads `Work/v1.2`. So every name can
/// be said in every session, and the separator can be changed by configuration without touching a stored name.
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
    /// `/` within a segment (from [`MailboxName::from_segments`] and [`MailboxName::child`] only).
    Separator,
}

impl fmt::Display for NameError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::EmptySegment => "a mailbox name has no empty levels",
            Self::Encoding => "the mailbox name is not in the right encoding (modified UTF-7, or UTF-8 once that is enabled)",
            Self::ControlCharacter => "a mailbox name has no control characters",
            Self::TooLong => "the mailbox name is too long",
            Self::Separator => "a level of a mailbox name has no separator in it",
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

    /// Reads a name from the wire: modified UTF-7 in its one canonical form (RFC 3501 §5.1.3), or UTF-8 (RFC 9051 §5.1), where `&` is
    /// ordinary. One separator at the end is dropped (RFC 3501 §6.3.3). The result is NFC.
    ///
    /// # Errors
    /// [`NameError`], which becomes `NO [CANNOT]`.
    pub fn parse(text: &[u8], format: NameFormat) -> Result<Self, NameError> {
        let text = decode_text(text, format)?;
        let text = text.strip_suffix(format.separator).unwrap_or(&text);
        Self::from_segments(text.split(format.separator).map(|segment| format.swap(segment)))
    }

    /// The name as this session writes it; [`MailboxName::parse`] with the same format gives the name back.
    pub fn to_wire(&self, format: NameFormat) -> String {
        let mut text = String::new();
        for (level, segment) in self.0.iter().enumerate() {
            if level > 0 {
                text.push(format.separator);
            }
            text.push_str(&format.swap(segment));
        }
        encode_text(&text, format)
    }

    /// A name from its levels, from the top. They are brought into NFC; `inbox` on top becomes `INBOX`.
    ///
    /// # Errors
    /// [`NameError`]; never `Encoding`.
    pub fn from_segments<S: AsRef<str>>(segments: impl IntoIterator<Item = S>) -> Result<Self, NameError> {
        let mut levels: Vec<String> = Vec::new();
        let mut bytes = 0;
        for segment in segments {
            // The bound comes before the normalisation: that one is never asked to work on more than this.
            if levels.len() == Self::MAX_LEVELS || segment.as_ref().len() > 4 * Self::MAX_BYTES {
                return Err(NameError::TooLong);
            }
            let mut segment: String = segment.as_ref().nfc().collect();
            check_segment(&segment)?;
            bytes += segment.len();
            if bytes > Self::MAX_BYTES {
                return Err(NameError::TooLong);
            }
            if levels.is_empty() && segment.eq_ignore_ascii_case("INBOX") {
                segment.make_ascii_uppercase();
            }
            levels.push(segment);
        }
        if levels.is_empty() { Err(NameError::EmptySegment) } else { Ok(Self(levels)) }
    }

    /// Whether it is INBOX itself.
    pub fn is_inbox(&self) -> bool {
        matches!(self.0.as_slice(), [only] if only == "INBOX")
    }

    /// The last level.
    pub fn last_segment(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }

    /// The name one level up; `None` at the top.
    pub fn parent(&self) -> Option<Self> {
        self.0.split_last().filter(|(_, above)| !above.is_empty()).map(|(_, above)| Self(above.to_vec()))
    }

    /// All names above this one, the top first.
    pub fn superiors(&self) -> impl Iterator<Item = Self> + '_ {
        (1..self.0.len()).filter_map(|levels| self.0.get(..levels)).map(|above| Self(above.to_vec()))
    }

    /// The name one level down.
    ///
    /// # Errors
    /// [`NameError`] if the segment is none, or the name gets too long.
    pub fn child(&self, segment: &str) -> Result<Self, NameError> {
        Self::from_segments(self.0.iter().map(String::as_str).chain([segment]))
    }

    /// Whether it is somewhere below `other`; no name is below itself.
    pub fn is_below(&self, other: &Self) -> bool {
        self.0.len() > other.0.len() && self.0.starts_with(&other.0)
    }

    /// What this name becomes when `from` is renamed to `to`; `None` if it is neither `from` nor below it.
    ///
    /// # Errors
    /// [`NameError::TooLong`] if the new name breaks a bound.
    pub fn replace_prefix(&self, from: &Self, to: &Self) -> Result<Option<Self>, NameError> {
        self.0.strip_prefix(from.0.as_slice()).map(|below| Self::from_segments(to.0.iter().chain(below))).transpose()
    }
}

/// UTF-8 with `/` between the levels: for people and for traces.
impl fmt::Display for MailboxName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join("/"))
    }
}

impl NameFormat {
    /// Exchanges the session's separator and `/`; its own inverse.
    pub(crate) fn swap_char(self, character: char) -> char {
        match character {
            '/' => self.separator,
            other if other == self.separator => '/',
            other => other,
        }
    }

    fn swap(self, segment: &str) -> String {
        segment.chars().map(|character| self.swap_char(character)).collect()
    }
}

/// A level is not empty and has neither `/` nor control characters nor line ends of Unicode (RFC 9051 §5.1, RFC 5198 §2).
fn check_segment(segment: &str) -> Result<(), NameError> {
    let is_control = |character: char| character.is_control() || matches!(character, '\u{2028}' | '\u{2029}');
    if segment.is_empty() {
        Err(NameError::EmptySegment)
    } else if segment.contains('/') {
        Err(NameError::Separator)
    } else if segment.chars().any(is_control) {
        Err(NameError::ControlCharacter)
    } else {
        Ok(())
    }
}

/// Decodes a text of the session into UTF-8, without looking for levels: a name, or a reference or pattern of LIST.
///
/// # Errors
/// [`NameError::Encoding`], or `TooLong` for what cannot be a name's length even with wildcards in it.
pub fn decode_text(text: &[u8], format: NameFormat) -> Result<String, NameError> {
    // UTF-7 is at most 8 times as long as the same text in UTF-8 (`&ANw-` for every other letter).
    if text.len() > 8 * (MailboxName::MAX_BYTES + MailboxName::MAX_LEVELS) {
        return Err(NameError::TooLong);
    }
    if format.utf8 {
        return std::str::from_utf8(text).map(str::to_owned).map_err(|_| NameError::Encoding);
    }
    let decoded = decode_utf7(text).ok_or(NameError::Encoding)?;
    // Only the form that encoding gives is a name's form: a name has one spelling on the wire (RFC 3501 §5.1.3).
    if encode_utf7(&decoded).as_bytes() == text { Ok(decoded) } else { Err(NameError::Encoding) }
}

/// The inverse of [`decode_text`].
pub fn encode_text(text: &str, format: NameFormat) -> String {
    if format.utf8 { text.to_owned() } else { encode_utf7(text) }
}

/// Base64 without padding, with `,` for `/`. Bits that are left over must be 0.
const MODIFIED_BASE64: GeneralPurpose = GeneralPurpose::new(&IMAP_MUTF7, NO_PAD);

/// Reads every form that stands for some text; whether it is the canonical one is [`decode_text`]'s question. Control characters
/// may stand for themselves here: they are refused as what they are, not as an encoding.
fn decode_utf7(text: &[u8]) -> Option<String> {
    let mut rest = std::str::from_utf8(text).ok().filter(|text| text.is_ascii())?;
    let mut decoded = String::with_capacity(rest.len());
    while let Some((plain, shifted)) = rest.split_once('&') {
        decoded.push_str(plain);
        let (encoded, after) = shifted.split_once('-')?;
        rest = after;
        if encoded.is_empty() {
            decoded.push('&');
            continue;
        }
        let bytes = MODIFIED_BASE64.decode(encoded).ok()?;
        let units = bytes.chunks(2).map(|pair| <[u8; 2]>::try_from(pair).map(u16::from_be_bytes).ok());
        let units: Vec<u16> = units.collect::<Option<_>>()?;
        decoded.push_str(&String::from_utf16(&units).ok()?);
    }
    decoded.push_str(rest);
    Some(decoded)
}

fn encode_utf7(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let plain = rest.find(|character: char| !character.is_ascii() || character == '&').unwrap_or(rest.len());
        let (before, after) = rest.split_at(plain);
        encoded.push_str(before);
        if let Some(after) = after.strip_prefix('&') {
            encoded.push_str("&-");
            rest = after;
            continue;
        }
        let foreign = after.find(|character: char| character.is_ascii()).unwrap_or(after.len());
        let (foreign, after) = after.split_at(foreign);
        if !foreign.is_empty() {
            let bytes: Vec<u8> = foreign.encode_utf16().flat_map(u16::to_be_bytes).collect();
            encoded.push('&');
            encoded.push_str(&MODIFIED_BASE64.encode(bytes));
            encoded.push('-');
        }
        rest = after;
    }
    encoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UTF7: NameFormat = NameFormat { separator: '/', utf8: false };
    const UTF8: NameFormat = NameFormat { separator: '/', utf8: true };
    const DOTTED: NameFormat = NameFormat { separator: '.', utf8: false };

    fn name(text: &str) -> MailboxName {
        MailboxName::parse(text.as_bytes(), UTF8).unwrap()
    }

    #[test]
    fn the_examples_of_the_standard() {
        // RFC 3501 §5.1.3
        let parsed = MailboxName::parse(b"~peter/mail/&U,BTFw-/&ZeVnLIqe-", UTF7).unwrap();
        assert_eq!(parsed.to_string(), "~peter/mail/\u{53f0}\u{5317}/\u{65e5}\u{672c}\u{8a9e}");
        assert_eq!(parsed.to_wire(UTF7), "~peter/mail/&U,BTFw-/&ZeVnLIqe-");
        for broken in ["&Jjo!", "&U,BTFw-&ZeVnLIqe-"] {
            assert_eq!(MailboxName::parse(broken.as_bytes(), UTF7), Err(NameError::Encoding), "{broken}");
        }
        assert_eq!(MailboxName::parse(b"&Jjo-!", UTF7).unwrap().to_string(), "\u{263a}!");
    }

    #[test]
    fn broken_modified_utf7_is_refused() {
        let broken: [&[u8]; 10] = [
            b"&",                // no end
            b"a&b",              // no end
            b"&AGE-",            // a letter that stands for itself
            b"&ACY-",            // & in base64 instead of &-
            b"&2AA-",            // half a surrogate pair
            b"&AAAA-",           // three bytes: no whole UTF-16 unit at the end
            b"&AOR-",            // bits left over that are not 0
            b"&AOQ=-",           // padding
            b"&U/BTFw-",         // the standard's alphabet
            "\u{e4}".as_bytes(), // raw UTF-8
        ];
        for text in broken {
            assert_eq!(MailboxName::parse(text, UTF7), Err(NameError::Encoding), "{}", String::from_utf8_lossy(text));
        }
        assert_eq!(MailboxName::parse(b"\xff", UTF8), Err(NameError::Encoding));
    }

    #[test]
    fn ampersand() {
        assert_eq!(MailboxName::parse(b"R&-D", UTF7).unwrap().to_string(), "R&D");
        assert_eq!(name("R&D").to_wire(UTF7), "R&-D");
        assert_eq!(MailboxName::parse(b"R&-D", UTF8).unwrap().to_string(), "R&-D");
        assert_eq!(name("\u{e4}&\u{e4}").to_wire(UTF7), "&AOQ-&-&AOQ-");
    }

    #[test]
    fn inbox_on_top_in_any_case() {
        assert_eq!(name("inBox/Inbox/").segments(), ["INBOX", "Inbox"]);
        assert!(name("inbox").is_inbox());
        assert_eq!(name("a/inbox").segments(), ["a", "inbox"]);
    }

    #[test]
    fn empty_levels_controls_and_bounds() {
        for empty in ["", "/", "//", "/a", "a//b", "a//"] {
            assert_eq!(MailboxName::parse(empty.as_bytes(), UTF7), Err(NameError::EmptySegment), "{empty}");
        }
        for control in ["a\tb", "a\u{7f}", "&AIU-", "&ICg-", "a\0"] {
            assert_eq!(MailboxName::parse(control.as_bytes(), UTF7), Err(NameError::ControlCharacter), "{control:?}");
        }
        assert!(MailboxName::parse(&[b'a'; MailboxName::MAX_BYTES], UTF7).is_ok());
        assert_eq!(MailboxName::parse(&[b'a'; MailboxName::MAX_BYTES + 1], UTF7), Err(NameError::TooLong));
        assert_eq!(MailboxName::parse(&vec![b'a'; 1_000_000], UTF7), Err(NameError::TooLong));
        assert!(MailboxName::parse("a/".repeat(MailboxName::MAX_LEVELS).as_bytes(), UTF7).is_ok());
        assert_eq!(MailboxName::parse("a/".repeat(MailboxName::MAX_LEVELS + 1).as_bytes(), UTF7), Err(NameError::TooLong));
    }

    #[test]
    fn names_are_nfc() {
        assert_eq!(name("u\u{308}"), name("\u{fc}"));
        assert_eq!(MailboxName::parse(b"u&Awg-", UTF7).unwrap().to_wire(UTF7), "&APw-");
    }

    #[test]
    fn another_separator_changes_places_with_the_slash() {
        let dotted = MailboxName::parse(b"Work.v1/2", DOTTED).unwrap();
        assert_eq!(dotted.segments(), ["Work", "v1.2"]);
        assert_eq!(dotted.to_wire(DOTTED), "Work.v1/2");
        assert_eq!(dotted.to_wire(UTF7), "Work/v1.2");
        assert_eq!(MailboxName::from_segments(["a/b"]), Err(NameError::Separator));
    }

    #[test]
    fn above_and_below() {
        let (top, deep) = (name("a"), name("a/b/c"));
        assert_eq!(deep.parent(), Some(name("a/b")));
        assert_eq!(top.parent(), None);
        assert_eq!(deep.superiors().collect::<Vec<_>>(), [name("a"), name("a/b")]);
        assert!(deep.is_below(&top) && !top.is_below(&deep) && !top.is_below(&top) && !name("ab").is_below(&top));
        assert_eq!(top.child("b").unwrap(), name("a/b"));
        assert!(top.child("").is_err() && top.child("x/y").is_err());
        assert_eq!(deep.last_segment(), "c");
        assert_eq!(deep.replace_prefix(&name("a/b"), &name("x")), Ok(Some(name("x/c"))));
        assert_eq!(deep.replace_prefix(&deep, &name("x")), Ok(Some(name("x"))));
        assert_eq!(name("a/bc").replace_prefix(&name("a/b"), &name("x")), Ok(None));
        let long = name(&"x/".repeat(MailboxName::MAX_LEVELS));
        assert_eq!(deep.replace_prefix(&top, &long), Err(NameError::TooLong));
    }

    proptest! {
        #[test]
        fn wire_and_name_are_each_others_inverse(
            segments in prop::collection::vec("[a-zA-Z&.,+ \u{e4}-\u{f6}\u{65e5}\u{1f600}-\u{1f610}\u{308}-]{1,8}", 1..6),
            separator in prop::sample::select(vec!['/', '.']),
            utf8: bool,
        ) {
            let format = NameFormat { separator, utf8 };
            let name = MailboxName::from_segments(&segments).unwrap();
            prop_assert_eq!(MailboxName::parse(name.to_wire(format).as_bytes(), format), Ok(name));
        }

        #[test]
        fn what_is_read_is_written_the_same(text in prop::collection::vec(any::<u8>(), 0..40)) {
            // Up to NFC, INBOX and the separator at the end.
            if let Ok(name) = MailboxName::parse(&text, UTF7) {
                let again = name.to_wire(UTF7);
                prop_assert!(again.is_ascii());
                prop_assert_eq!(MailboxName::parse(again.as_bytes(), UTF7), Ok(name));
            }
        }
    }
}
