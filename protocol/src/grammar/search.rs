//! SEARCH and its keys (RFC 3501 §6.4.4), which SORT and THREAD share.

use std::borrow::Cow;
use std::cell::Cell;

use encoding_rs::Encoding;
use nom::Parser;

use super::Parsed;
use super::fetch::field_name;
use super::primitive::{astring, atom, bad_charset, close, date, expected, fail, number64, sequence_set, sp, word};
use crate::command::{Command, DateComparison, SearchKey};
use crate::date::Day;
use crate::flag::{Keyword, SystemFlag};
use crate::set::Numbering;

/// How deep keys may stand within each other: clients chain a hundred ORs, and each level costs stack.
pub(crate) const MAX_DEPTH: usize = 100;
/// The most keys in one search: each is compared with every message.
pub(crate) const MAX_KEYS: usize = 1000;

/// ```text
/// search = "SEARCH" [SP "CHARSET" SP astring] 1*(SP search-key)
/// ```
pub(crate) fn search(input: &[u8], numbering: Numbering) -> Parsed<'_, Command> {
    const CHARSET: &[u8] = b" CHARSET ";
    let named = input.split_at_checked(CHARSET.len()).filter(|(word, _)| word.eq_ignore_ascii_case(CHARSET));
    let (rest, charset, texts) = match named {
        Some((_, name)) => {
            let (rest, (name, texts)) = charset(name)?;
            (rest, Some(name), texts)
        }
        None => (input, None, Texts::new(Charset::Unnamed)),
    };
    let (rest, key) = keys(rest, &texts)?;
    Ok((rest, Command::Search { numbering, charset, key }))
}

/// The name of a charset, and what decodes texts in it.
pub(crate) fn charset(input: &[u8]) -> Parsed<'_, (String, Texts)> {
    let (rest, name) = expected("a charset", astring).parse(input)?;
    match (std::str::from_utf8(&name), Charset::named(&name)) {
        (Ok(name), Some(charset)) => Ok((rest, (name.to_owned(), Texts::new(charset)))),
        // Without a key behind it the word is no charset but the whole search: that is a syntax error, whatever it says.
        _ if !rest.starts_with(b" ") => fail(rest, "a search key"),
        _ => bad_charset(input),
    }
}

/// How the texts of a search are encoded, and how many more keys it may have.
pub(crate) struct Texts {
    charset: Charset,
    keys_left: Cell<usize>,
}

/// A charset of texts.
#[derive(Clone, Copy)]
pub(crate) enum Charset {
    /// None was named: US-ASCII (RFC 3501 §6.4.4), or UTF-8, which clients send without saying so and RFC 9051 makes the default.
    Unnamed,
    /// US-ASCII, strictly; the web's labels would make windows-1252 of it.
    Ascii,
    /// UTF-8, and all that have a label (<https://encoding.spec.whatwg.org/>) but UTF-16.
    Other(&'static Encoding),
}

impl Charset {
    pub(crate) fn named(name: &[u8]) -> Option<Self> {
        if name.eq_ignore_ascii_case(b"US-ASCII") || name.eq_ignore_ascii_case(b"ASCII") {
            return Some(Self::Ascii);
        }
        // UTF-16 holds NUL, which no command may: a search in it could only find nothing.
        let can_be_sent = |encoding: &&'static Encoding| encoding.output_encoding() == *encoding;
        Encoding::for_label_no_replacement(name).filter(can_be_sent).map(Self::Other)
    }

    fn decode(self, bytes: &[u8]) -> Option<String> {
        match self {
            Self::Unnamed => std::str::from_utf8(bytes).ok().map(str::to_owned),
            Self::Ascii => std::str::from_utf8(bytes).ok().filter(|text| text.is_ascii()).map(str::to_owned),
            Self::Other(encoding) => encoding.decode_without_bom_handling_and_without_replacement(bytes).map(Cow::into_owned),
        }
    }

    /// The inverse of decoding, for texts that the charset can hold.
    pub(crate) fn encode(self, text: &str) -> Cow<'_, [u8]> {
        match self {
            Self::Unnamed | Self::Ascii => Cow::Borrowed(text.as_bytes()),
            Self::Other(encoding) => encoding.encode(text).0,
        }
    }
}

impl Texts {
    fn new(charset: Charset) -> Self {
        Self { charset, keys_left: Cell::new(MAX_KEYS) }
    }

    fn text<'a>(&self, input: &'a [u8]) -> Parsed<'a, String> {
        let (rest, bytes) = expected("a text to search for", astring).parse(input)?;
        self.charset.decode(&bytes).map_or_else(|| fail(input, "a text in the charset of the command"), |text| Ok((rest, text)))
    }
}

/// `1*(SP search-key)`: one key as it is, several as [`SearchKey::And`].
pub(crate) fn keys<'a>(input: &'a [u8], texts: &Texts) -> Parsed<'a, SearchKey> {
    let (rest, key) = sp_key(input, texts, MAX_DEPTH)?;
    more_keys(rest, key, texts, MAX_DEPTH)
}

/// `*(SP search-key)` behind a first key, up to `)` or the end.
fn more_keys<'a>(input: &'a [u8], first: SearchKey, texts: &Texts, depth: usize) -> Parsed<'a, SearchKey> {
    let mut rest = input;
    let mut keys = vec![first];
    while !matches!(rest, [] | [b' '] | [b')', ..]) {
        let (behind, key) = sp_key(rest, texts, depth)?;
        keys.push(key);
        rest = behind;
    }
    match <[SearchKey; 1]>::try_from(keys) {
        Ok([only]) => Ok((rest, only)),
        Err(keys) => Ok((rest, SearchKey::And(keys))),
    }
}

fn sp_key<'a>(input: &'a [u8], texts: &Texts, depth: usize) -> Parsed<'a, SearchKey> {
    let (rest, ()) = sp(input)?;
    search_key(rest, texts, depth)
}

/// ```text
/// search-key = "ALL" / "ANSWERED" / "BCC" SP astring / "BEFORE" SP date / "BODY" SP astring / "CC" SP astring / "DELETED" /
///              "DRAFT" / "FLAGGED" / "FROM" SP astring / "HEADER" SP header-fld-name SP astring / "KEYWORD" SP flag-keyword /
///              "LARGER" SP number / "NEW" / "NOT" SP search-key / "OLD" / "ON" SP date / "OR" SP search-key SP search-key /
///              "RECENT" / "SEEN" / "SENTBEFORE" SP date / "SENTON" SP date / "SENTSINCE" SP date / "SINCE" SP date /
///              "SMALLER" SP number / "SUBJECT" SP astring / "TEXT" SP astring / "TO" SP astring / "UID" SP sequence-set /
///              "UNANSWERED" / "UNDELETED" / "UNDRAFT" / "UNFLAGGED" / "UNKEYWORD" SP flag-keyword / "UNSEEN" /
///              sequence-set / "(" search-key *(SP search-key) ")"
/// ```
fn search_key<'a>(input: &'a [u8], texts: &Texts, depth: usize) -> Parsed<'a, SearchKey> {
    let Some(depth) = depth.checked_sub(1) else { return fail(input, "search keys that stand less deep within each other") };
    let Some(left) = texts.keys_left.get().checked_sub(1) else { return fail(input, "fewer search keys") };
    texts.keys_left.set(left);
    match input.first() {
        Some(b'(') => {
            let (rest, first) = search_key(input.get(1..).unwrap_or_default(), texts, depth)?;
            let (rest, key) = more_keys(rest, first, texts, depth)?;
            let (rest, ()) = close(rest)?;
            Ok((rest, key))
        }
        Some(b'0'..=b'9' | b'*' | b'$') => {
            let (rest, set) = sequence_set(input)?;
            Ok((rest, SearchKey::Set(Numbering::Seq, set)))
        }
        _ => {
            let (rest, name) = expected("a search key", word).parse(input)?;
            named_key(input, &name.to_ascii_uppercase(), rest, texts, depth)
        }
    }
}

/// The key called `name`; `start` is where its name stands and `input` what follows.
fn named_key<'a>(start: &'a [u8], name: &str, input: &'a [u8], texts: &Texts, depth: usize) -> Parsed<'a, SearchKey> {
    if let Some(key) = plain_key(name) {
        return Ok((input, key));
    }
    let Ok((argument, ())) = sp(input) else {
        return if is_key(name) { fail(input, "a space and what to search for") } else { fail(start, "a search key") };
    };
    match name {
        "NOT" => {
            let (rest, key) = search_key(argument, texts, depth)?;
            Ok((rest, not(key)))
        }
        "OR" => {
            let (rest, left) = search_key(argument, texts, depth)?;
            let (rest, right) = sp_key(rest, texts, depth)?;
            Ok((rest, SearchKey::Or(Box::new(left), Box::new(right))))
        }
        "UID" => sequence_set(argument).map(|(rest, set)| (rest, SearchKey::Set(Numbering::Uid, set))),
        "LARGER" => number64(argument).map(|(rest, size)| (rest, SearchKey::Larger(size))),
        "SMALLER" => number64(argument).map(|(rest, size)| (rest, SearchKey::Smaller(size))),
        "BODY" => texts.text(argument).map(|(rest, text)| (rest, SearchKey::Body(text))),
        "TEXT" => texts.text(argument).map(|(rest, text)| (rest, SearchKey::Text(text))),
        "KEYWORD" => keyword(argument).map(|(rest, keyword)| (rest, SearchKey::Keyword(keyword))),
        "UNKEYWORD" => keyword(argument).map(|(rest, keyword)| (rest, not(SearchKey::Keyword(keyword)))),
        "HEADER" => {
            let (rest, field) = field_name(argument)?;
            let (rest, ()) = sp(rest)?;
            let (rest, text) = texts.text(rest)?;
            Ok((rest, SearchKey::Header(field, text)))
        }
        other => match (field_key(other), date_key(other)) {
            (Some(field), _) => texts.text(argument).map(|(rest, text)| (rest, SearchKey::Header(field.to_owned(), text))),
            (None, Some((key, comparison))) => date(argument).map(|(rest, day)| (rest, key(comparison, day))),
            (None, None) => fail(start, "a search key"),
        },
    }
}

fn not(key: SearchKey) -> SearchKey {
    SearchKey::Not(Box::new(key))
}

/// The keys without argument.
fn plain_key(name: &str) -> Option<SearchKey> {
    let flag = |name: &str| {
        let is_it = |flag: &SystemFlag| flag.name().strip_prefix('\\').is_some_and(|known| known.eq_ignore_ascii_case(name));
        SystemFlag::ALL.into_iter().find(is_it).map(SearchKey::Flag)
    };
    match name {
        "ALL" => Some(SearchKey::All),
        "RECENT" => Some(SearchKey::Recent),
        "OLD" => Some(not(SearchKey::Recent)),
        "NEW" => Some(SearchKey::And(vec![SearchKey::Recent, not(SearchKey::Flag(SystemFlag::Seen))])),
        _ => flag(name).or_else(|| name.strip_prefix("UN").and_then(flag).map(not)),
    }
}

/// The keys that are short for HEADER.
fn field_key(name: &str) -> Option<&'static str> {
    ["Bcc", "Cc", "From", "Subject", "To"].into_iter().find(|field| field.eq_ignore_ascii_case(name))
}

type DateKey = (fn(DateComparison, Day) -> SearchKey, DateComparison);

fn date_key(name: &str) -> Option<DateKey> {
    let (key, comparison): (fn(DateComparison, Day) -> SearchKey, _) = match name.strip_prefix("SENT") {
        Some(comparison) => (SearchKey::Sent, comparison),
        None => (SearchKey::Internal, name),
    };
    let comparison = match comparison {
        "BEFORE" => DateComparison::Before,
        "ON" => DateComparison::On,
        "SINCE" => DateComparison::Since,
        _ => return None,
    };
    Some((key, comparison))
}

/// Whether a key with arguments has this name.
fn is_key(name: &str) -> bool {
    let others = ["NOT", "OR", "UID", "LARGER", "SMALLER", "BODY", "TEXT", "KEYWORD", "UNKEYWORD", "HEADER"];
    others.contains(&name) || field_key(name).is_some() || date_key(name).is_some()
}

/// `flag-keyword = atom`
fn keyword(input: &[u8]) -> Parsed<'_, Keyword> {
    let (rest, name) = expected("a keyword", atom).parse(input)?;
    Keyword::new(name).map_or_else(|| fail(input, "a shorter keyword"), |keyword| Ok((rest, keyword)))
}
