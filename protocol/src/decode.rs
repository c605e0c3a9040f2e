//! Responses read back: for test clients, of our server and of others. [`crate::encode`] is the inverse.
//!
//! What is not understood is no error: an unknown code is [`ResponseCode::Other`], unknown or odd data is [`Untagged::Other`].

mod cursor;
mod fetch;
mod framer;
mod structure;
#[cfg(test)]
mod tests;

pub use framer::{ResponseFramer, TooLong};

use std::fmt;

use crate::capability::Capability;
use crate::command::{SpecialUse, StatusItem, Tag};
use crate::encode::{special_use_name, status_item_name};
use crate::flag::{Flag, Keyword, SystemFlag};
use crate::mailbox_name::{MailboxName, NameFormat};
use crate::number::{SeqNum, Uid, UidValidity};
use crate::response::{
    Condition, ListAttribute, ListEntry, ListName, ListResponse, NewKeywords, Response, ResponseCode, Status, Thread, Untagged,
};
use crate::set::UidSet;
use cursor::{Cursor, Parsed};

/// Why octets are no response at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// Where, in octets from the start.
    pub at: usize,
    /// What was expected there.
    pub expected: &'static str,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "expected {} at octet {}", self.expected, self.at)
    }
}
impl std::error::Error for DecodeError {}

/// Reads one response as [`ResponseFramer`] gives it, with or without its last CRLF.
///
/// # Errors
/// If it is neither a continuation nor untagged nor begins with a tag and a condition.
pub fn decode(bytes: &[u8], format: NameFormat) -> Result<Response, DecodeError> {
    let bytes = bytes.strip_suffix(b"\n").map_or(bytes, |line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut cursor = Cursor::new(bytes, format);
    if cursor.take(b'+') {
        cursor.take(b' ');
        return Ok(Response::Continuation(cursor.text()));
    }
    if cursor.take(b'*') {
        cursor.blank()?;
        let start = cursor.at();
        return Ok(Response::Untagged(untagged(&mut cursor).unwrap_or_else(|_| {
            cursor.rewind(start);
            Untagged::Other(cursor.text())
        })));
    }
    // To the blank: a tag may hold `]` (RFC 3501 §9, ASTRING-CHAR).
    let word = cursor.until(|byte| byte == b' ');
    let Some(tag) = std::str::from_utf8(word).ok().and_then(Tag::new) else { return Err(cursor.error("a tag, + or *")) };
    cursor.blank()?;
    match condition(cursor.word()) {
        Some(condition) => Ok(Response::Tagged(tag, status(&mut cursor, condition))),
        None => Err(cursor.error("OK, NO or BAD")),
    }
}

fn condition(word: &[u8]) -> Option<Condition> {
    let conditions = [
        ("OK", Condition::Ok),
        ("NO", Condition::No),
        ("BAD", Condition::Bad),
        ("PREAUTH", Condition::PreAuth),
        ("BYE", Condition::Bye),
    ];
    conditions.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes())).map(|(_, condition)| condition)
}

fn status(cursor: &mut Cursor<'_>, condition: Condition) -> Status {
    cursor.take(b' ');
    let start = cursor.at();
    let code = cursor.take(b'[').then(|| {
        let inside = cursor.at();
        code(cursor).unwrap_or_else(|_| {
            cursor.rewind(inside);
            let text = String::from_utf8_lossy(cursor.until(|byte| byte == b']')).into_owned();
            cursor.take(b']');
            ResponseCode::Other(text)
        })
    });
    // A bracket without its end is text.
    let code = if cursor.is_behind(b']') { code } else { None };
    if code.is_none() {
        cursor.rewind(start);
    } else {
        cursor.take(b' ');
    }
    Status { condition, code, text: cursor.text() }
}

/// A response code behind its `[`, the `]` included.
fn code(cursor: &mut Cursor<'_>) -> Parsed<ResponseCode> {
    let name = String::from_utf8_lossy(cursor.until(|byte| matches!(byte, b' ' | b']'))).to_ascii_uppercase();
    let code = match name.as_str() {
        "APPENDUID" => {
            let validity = uid_validity(cursor)?;
            ResponseCode::AppendUid(validity, uid_set(cursor)?)
        }
        "COPYUID" => {
            let validity = uid_validity(cursor)?;
            let from = uid_set(cursor)?;
            ResponseCode::CopyUid(validity, from, uid_set(cursor)?)
        }
        "BADCHARSET" => ResponseCode::BadCharset(bad_charset(cursor)?),
        "CAPABILITY" => ResponseCode::Capability(capabilities(cursor)?),
        "PERMANENTFLAGS" => {
            cursor.blank()?;
            let (flags, new_keywords) = flags(cursor)?;
            ResponseCode::PermanentFlags(flags, new_keywords)
        }
        "REFERRAL" => ResponseCode::Referral(referral(cursor)),
        "UIDNEXT" => ResponseCode::UidNext(Uid::new(blank_number(cursor)?).ok_or(cursor.error("a UID"))?),
        "UIDVALIDITY" => ResponseCode::UidValidity(uid_validity(cursor)?),
        "UNSEEN" => ResponseCode::Unseen(SeqNum::new(blank_number(cursor)?).ok_or(cursor.error("a message number"))?),
        name => {
            let plain = ResponseCode::PLAIN.into_iter().find(|code| code.name() == name);
            plain.ok_or(cursor.error("a known code"))?
        }
    };
    cursor.expect(b']', "the end of the response code")?;
    Ok(code)
}

fn blank_number(cursor: &mut Cursor<'_>) -> Parsed<u32> {
    cursor.blank()?;
    cursor.number()
}

fn uid_validity(cursor: &mut Cursor<'_>) -> Parsed<UidValidity> {
    UidValidity::new(blank_number(cursor)?).ok_or(cursor.error("a UIDVALIDITY"))
}

fn uid_set(cursor: &mut Cursor<'_>) -> Parsed<UidSet> {
    cursor.blank()?;
    let mut set = UidSet::new();
    loop {
        let first: u32 = cursor.number()?;
        let last = if cursor.take(b':') { cursor.number()? } else { first };
        let (Some(first), Some(last)) = (Uid::new(first.min(last)), Uid::new(first.max(last))) else {
            return Err(cursor.error("a UID"));
        };
        set.insert_range(first, last);
        if !cursor.take(b',') {
            return Ok(set);
        }
    }
}

fn bad_charset(cursor: &mut Cursor<'_>) -> Parsed<Vec<String>> {
    if !cursor.take(b' ') {
        return Ok(Vec::new());
    }
    cursor.list(|cursor| cursor.astring().map(|charset| String::from_utf8_lossy(&charset).into_owned()))
}

fn referral(cursor: &mut Cursor<'_>) -> Vec<String> {
    let mut urls = Vec::new();
    while cursor.take(b' ') {
        urls.push(String::from_utf8_lossy(cursor.until(|byte| matches!(byte, b' ' | b']'))).into_owned());
    }
    urls
}

fn capabilities(cursor: &mut Cursor<'_>) -> Parsed<Vec<Capability>> {
    let mut found = Vec::new();
    while cursor.take(b' ') {
        let name = cursor.until(|byte| matches!(byte, b' ' | b']'));
        if !name.is_empty() {
            found.push(Capability::new(std::str::from_utf8(name).map_err(|_| cursor.error("a capability"))?));
        }
    }
    Ok(found)
}

fn untagged(cursor: &mut Cursor<'_>) -> Parsed<Untagged> {
    let word = cursor.word();
    if word.first().is_some_and(u8::is_ascii_digit) {
        return numbered(cursor, word);
    }
    if let Some(condition) = condition(word) {
        return Ok(Untagged::Status(status(cursor, condition)));
    }
    let data = match String::from_utf8_lossy(word).to_ascii_uppercase().as_str() {
        "CAPABILITY" => Untagged::Capability(capabilities(cursor)?),
        "ENABLED" => Untagged::Enabled(capabilities(cursor)?),
        "ID" => Untagged::Id(id(cursor)?),
        "NAMESPACE" => Untagged::Namespace([namespace(cursor)?, namespace(cursor)?, namespace(cursor)?]),
        "LIST" => Untagged::List(list(cursor, ListResponse::List)?),
        "LSUB" => Untagged::List(list(cursor, ListResponse::Lsub)?),
        "STATUS" => status_data(cursor)?,
        "FLAGS" => {
            cursor.blank()?;
            Untagged::Flags(flags(cursor)?.0)
        }
        "SEARCH" => Untagged::Search(numbers(cursor)?),
        "SORT" => Untagged::Sort(numbers(cursor)?),
        "THREAD" => Untagged::Thread(threads(cursor)?),
        _ => return Err(cursor.error("a known response")),
    };
    cursor.end()?;
    Ok(data)
}

/// Data that begin with a number, which was read.
fn numbered(cursor: &mut Cursor<'_>, digits: &[u8]) -> Parsed<Untagged> {
    let number: u32 = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).ok_or(cursor.error("a number"))?;
    cursor.blank()?;
    let message = SeqNum::new(number).ok_or(cursor.error("a message number"));
    let data = match cursor.word().to_ascii_uppercase().as_slice() {
        b"EXISTS" => Untagged::Exists(number),
        b"RECENT" => Untagged::Recent(number),
        b"EXPUNGE" => Untagged::Expunge(message?),
        b"FETCH" => {
            cursor.blank()?;
            Untagged::Fetch(message?, cursor.list(fetch::datum)?)
        }
        _ => return Err(cursor.error("EXISTS, RECENT, EXPUNGE or FETCH")),
    };
    cursor.end()?;
    Ok(data)
}

fn id(cursor: &mut Cursor<'_>) -> Parsed<Vec<(String, Option<String>)>> {
    cursor.blank()?;
    if cursor.nil() {
        return Ok(Vec::new());
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    cursor.list(|cursor| {
        let field = text(cursor.string()?);
        cursor.blank()?;
        Ok((field, cursor.nstring()?.map(text)))
    })
}

fn namespace(cursor: &mut Cursor<'_>) -> Parsed<Vec<(String, char)>> {
    cursor.blank()?;
    if cursor.nil() {
        return Ok(Vec::new());
    }
    cursor.list(|cursor| {
        cursor.expect(b'(', "a namespace")?;
        let prefix = String::from_utf8_lossy(&cursor.string()?).into_owned();
        cursor.blank()?;
        let mark = separator(cursor)?.ok_or(cursor.error("a separator"))?;
        cursor.skip_rest_of_list()?;
        Ok((prefix, mark))
    })
}

fn separator(cursor: &mut Cursor<'_>) -> Parsed<Option<char>> {
    match cursor.nstring()? {
        Some(text) => {
            let text = String::from_utf8_lossy(&text).into_owned();
            let mut characters = text.chars();
            match (characters.next(), characters.next()) {
                (Some(mark), None) => Ok(Some(mark)),
                _ => Err(cursor.error("one character")),
            }
        }
        None => Ok(None),
    }
}

fn list(cursor: &mut Cursor<'_>, kind: ListResponse) -> Parsed<ListEntry> {
    cursor.blank()?;
    let attributes = cursor.list(|cursor| Ok(attribute(&String::from_utf8_lossy(cursor.flag()?))))?;
    cursor.blank()?;
    let separator = separator(cursor)?;
    cursor.blank()?;
    let text = cursor.astring()?;
    let format = NameFormat { separator: separator.unwrap_or(cursor.format().separator), ..cursor.format() };
    let name = match MailboxName::parse(&text, format) {
        // What is not written as that mailbox is written, as a URL with its two slashes, is a text.
        Ok(name) if name.to_wire(format).as_bytes().eq_ignore_ascii_case(&text) => ListName::Mailbox(name),
        _ => ListName::Text(String::from_utf8_lossy(&text).into_owned()),
    };
    Ok(ListEntry { kind, attributes, separator, name })
}

fn attribute(text: &str) -> ListAttribute {
    const SPECIAL_USES: [SpecialUse; 8] = [
        SpecialUse::All,
        SpecialUse::Archive,
        SpecialUse::Drafts,
        SpecialUse::Flagged,
        SpecialUse::Important,
        SpecialUse::Junk,
        SpecialUse::Sent,
        SpecialUse::Trash,
    ];
    let known = [
        ListAttribute::HasChildren,
        ListAttribute::HasNoChildren,
        ListAttribute::Marked,
        ListAttribute::Unmarked,
        ListAttribute::NonExistent,
        ListAttribute::NoInferiors,
        ListAttribute::NoSelect,
        ListAttribute::Subscribed,
        ListAttribute::Remote,
    ];
    let is_named = |name: &str| name.eq_ignore_ascii_case(text);
    known
        .into_iter()
        .find(|attribute| is_named(attribute.name()))
        .or_else(|| {
            SPECIAL_USES.into_iter().find(|special_use| is_named(special_use_name(*special_use))).map(ListAttribute::SpecialUse)
        })
        .unwrap_or_else(|| ListAttribute::Other(text.to_owned()))
}

fn status_data(cursor: &mut Cursor<'_>) -> Parsed<Untagged> {
    const ITEMS: [StatusItem; 7] = [
        StatusItem::Messages,
        StatusItem::Recent,
        StatusItem::UidNext,
        StatusItem::UidValidity,
        StatusItem::Unseen,
        StatusItem::Deleted,
        StatusItem::Size,
    ];
    cursor.blank()?;
    let text = cursor.astring()?;
    let name = MailboxName::parse(&text, cursor.format()).map_err(|_| cursor.error("a mailbox name"))?;
    cursor.blank()?;
    let items = cursor.list(|cursor| {
        let word = cursor.word();
        let item = ITEMS.into_iter().find(|item| word.eq_ignore_ascii_case(status_item_name(*item).as_bytes()));
        let item = item.ok_or(cursor.error("a known item of STATUS"))?;
        cursor.blank()?;
        Ok((item, cursor.number()?))
    })?;
    Ok(Untagged::StatusData(name, items))
}

/// A list of flags and whether `\*` is in it; backslash flags that nobody knows are left out.
fn flags(cursor: &mut Cursor<'_>) -> Parsed<(Vec<Flag>, NewKeywords)> {
    let mut new_keywords = NewKeywords::Refused;
    let found = cursor.list(|cursor| {
        let text = cursor.flag()?;
        if text == b"\\*" {
            new_keywords = NewKeywords::Allowed;
        }
        flag(cursor, text)
    })?;
    Ok((found.into_iter().flatten().collect(), new_keywords))
}

/// A flag; none for a backslash flag that nobody knows.
fn flag(cursor: &Cursor<'_>, text: &[u8]) -> Parsed<Option<Flag>> {
    if text.starts_with(b"\\") {
        let known = SystemFlag::ALL.into_iter().find(|flag| text.eq_ignore_ascii_case(flag.name().as_bytes()));
        return Ok(known.map(Flag::System));
    }
    let keyword = std::str::from_utf8(text).ok().and_then(Keyword::new).ok_or(cursor.error("a flag"))?;
    Ok(Some(Flag::Keyword(keyword)))
}

fn numbers(cursor: &mut Cursor<'_>) -> Parsed<Vec<u32>> {
    let mut found = Vec::new();
    while cursor.take(b' ') {
        if !cursor.is_at_end() {
            found.push(cursor.number()?);
        }
    }
    Ok(found)
}

fn threads(cursor: &mut Cursor<'_>) -> Parsed<Vec<Thread>> {
    cursor.take(b' ');
    let mut found = Vec::new();
    while cursor.take(b'(') {
        found.push(thread(cursor, 1)?);
    }
    Ok(found)
}

/// A thread behind its `(`, to its `)`, whose first message stands at `depth`.
fn thread(cursor: &mut Cursor<'_>, depth: usize) -> Parsed<Thread> {
    let mut messages = Vec::new();
    let mut replies = Vec::new();
    while !cursor.take(b')') {
        let is_thread = cursor.take(b'(');
        let below = depth + if is_thread { messages.len().max(1) } else { messages.len() };
        if below > Thread::MAX_DEPTH {
            return Err(cursor.error("a thread that is less deep"));
        }
        if is_thread {
            replies.push(thread(cursor, below)?);
        } else if replies.is_empty() {
            messages.push(cursor.number()?);
            cursor.take(b' ');
        } else {
            return Err(cursor.error("the end of a thread"));
        }
    }
    let last = Thread { message: messages.pop(), replies };
    Ok(messages.into_iter().rev().fold(last, |reply, message| Thread { message: Some(message), replies: vec![reply] }))
}
