//! The encoder: the only place that writes responses as wire text (RFC 9051 §7 and §9). [`crate::decode`] is its inverse.

mod fetch;
mod string;
mod structure;
#[cfg(test)]
mod tests;
mod thread;

pub use fetch::FetchLine;
pub use structure::MAX_STRUCTURE_DEPTH;

use crate::capability::Capability;
use crate::command::{SpecialUse, StatusItem, Tag};
use crate::flag::{Flag, SystemFlag};
use crate::mailbox_name::{MailboxName, NameFormat};
use crate::number::UidValidity;
use crate::response::{
    Condition, ListAttribute, ListEntry, ListName, ListResponse, NewKeywords, Response, ResponseCode, Status, Untagged,
};
use crate::set::UidSet;
use string::{astring, nstring, number, sanitised, separated, string};

/// Appends one response, its CRLF included, to `out`.
///
/// Whatever the values hold, what is written is one response: CR, LF and NUL in texts for people are replaced.
pub fn encode(response: &Response, format: NameFormat, out: &mut Vec<u8>) {
    match response {
        Response::Continuation(text) => encode_continuation(text, format, out),
        Response::Untagged(untagged) => encode_untagged(untagged, format, out),
        Response::Tagged(tag, status) => encode_tagged(tag, status, format, out),
    }
}

/// Appends `+ text`. The text may be empty: that is how a SASL exchange begins (RFC 9051 §6.2.2).
pub fn encode_continuation(text: &str, format: NameFormat, out: &mut Vec<u8>) {
    out.extend_from_slice(b"+ ");
    sanitised(out, text, format.utf8);
    out.extend_from_slice(b"\r\n");
}

/// Appends `tag OK|NO|BAD ...`.
pub fn encode_tagged(tag: &Tag, status: &Status, format: NameFormat, out: &mut Vec<u8>) {
    out.extend_from_slice(tag.as_str().as_bytes());
    out.push(b' ');
    write_status(status, format, out);
    out.extend_from_slice(b"\r\n");
}

/// Appends `* ...`.
pub fn encode_untagged(untagged: &Untagged, format: NameFormat, out: &mut Vec<u8>) {
    if let Untagged::Fetch(message, data) = untagged {
        let mut line = FetchLine::begin(out, *message);
        data.iter().for_each(|datum| line.datum(out, format, datum));
        return line.end(out);
    }
    out.extend_from_slice(b"* ");
    match untagged {
        Untagged::Status(status) => write_status(status, format, out),
        Untagged::Capability(list) => capabilities(out, b"CAPABILITY", list),
        Untagged::Enabled(list) => capabilities(out, b"ENABLED", list),
        Untagged::Id(fields) => id(out, fields, format),
        Untagged::Namespace(groups) => namespace(out, groups, format),
        Untagged::List(entry) => list_entry(out, entry, format),
        Untagged::StatusData(mailbox, items) => status_data(out, mailbox, items, format),
        Untagged::Flags(flags) => {
            out.extend_from_slice(b"FLAGS ");
            flag_list(out, flags, NewKeywords::Refused);
        }
        Untagged::Exists(count) => counted(out, *count, b" EXISTS"),
        Untagged::Recent(count) => counted(out, *count, b" RECENT"),
        Untagged::Expunge(message) => counted(out, message.get(), b" EXPUNGE"),
        Untagged::Search(numbers) => number_list(out, b"SEARCH", numbers),
        Untagged::Sort(numbers) => number_list(out, b"SORT", numbers),
        Untagged::Thread(threads) => thread::threads(out, threads),
        Untagged::Other(text) => sanitised(out, text, format.utf8),
        // Written above, piece by piece.
        Untagged::Fetch(..) => {}
    }
    out.extend_from_slice(b"\r\n");
}

fn write_status(status: &Status, format: NameFormat, out: &mut Vec<u8>) {
    let (name, silent_text) = match status.condition {
        Condition::Ok => ("OK", "done"),
        Condition::No => ("NO", "refused"),
        Condition::Bad => ("BAD", "not understood"),
        Condition::PreAuth => ("PREAUTH", "welcome"),
        Condition::Bye => ("BYE", "good-bye"),
    };
    out.extend_from_slice(name.as_bytes());
    out.push(b' ');
    let start = out.len();
    if let Some(code) = &status.code {
        response_code(out, code, format);
    }
    if status.text.is_empty() {
        out.extend_from_slice(silent_text.as_bytes());
        return;
    }
    // A text that begins with a bracket would be read as a response code.
    if out.len() == start && status.text.starts_with('[') {
        out.push(b' ');
    }
    sanitised(out, &status.text, format.utf8);
}

/// Writes `[CODE ...] ` with the blank behind it; nothing if the code has no valid form, as COPYUID of no messages.
fn response_code(out: &mut Vec<u8>, code: &ResponseCode, format: NameFormat) {
    let start = out.len();
    out.push(b'[');
    let is_valid = match code {
        ResponseCode::AppendUid(validity, uids) => uid_code(out, b"APPENDUID", *validity, &[uids]),
        ResponseCode::CopyUid(validity, from, to) => uid_code(out, b"COPYUID", *validity, &[from, to]),
        ResponseCode::BadCharset(charsets) => {
            out.extend_from_slice(b"BADCHARSET");
            if !charsets.is_empty() {
                out.extend_from_slice(b" (");
                separated(out, charsets, |out, charset| astring(out, charset.as_bytes(), false));
                out.push(b')');
            }
            true
        }
        ResponseCode::Capability(list) => {
            capabilities(out, b"CAPABILITY", list);
            true
        }
        ResponseCode::PermanentFlags(flags, new_keywords) => {
            out.extend_from_slice(b"PERMANENTFLAGS ");
            flag_list(out, flags, *new_keywords);
            true
        }
        ResponseCode::Referral(urls) => {
            out.extend_from_slice(b"REFERRAL ");
            separated(out, urls, |out, url| string::url(out, url));
            !urls.is_empty()
        }
        ResponseCode::UidNext(uid) => numbered(out, b"UIDNEXT ", uid.get()),
        ResponseCode::UidValidity(validity) => numbered(out, b"UIDVALIDITY ", validity.get()),
        ResponseCode::Unseen(message) => numbered(out, b"UNSEEN ", message.get()),
        ResponseCode::Other(text) => {
            sanitised(out, &text.replace(']', "?"), format.utf8);
            !text.is_empty()
        }
        plain => {
            out.extend_from_slice(plain.name().as_bytes());
            true
        }
    };
    if is_valid {
        out.extend_from_slice(b"] ");
    } else {
        out.truncate(start);
    }
}

impl ResponseCode {
    /// The code's name as it stands on the wire, without its data; empty for [`ResponseCode::Other`].
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Alert => "ALERT",
            Self::AlreadyExists => "ALREADYEXISTS",
            Self::AppendUid(..) => "APPENDUID",
            Self::AuthenticationFailed => "AUTHENTICATIONFAILED",
            Self::AuthorizationFailed => "AUTHORIZATIONFAILED",
            Self::BadCharset(_) => "BADCHARSET",
            Self::Cannot => "CANNOT",
            Self::Capability(_) => "CAPABILITY",
            Self::ClientBug => "CLIENTBUG",
            Self::Closed => "CLOSED",
            Self::ContactAdmin => "CONTACTADMIN",
            Self::CopyUid(..) => "COPYUID",
            Self::Corruption => "CORRUPTION",
            Self::Expired => "EXPIRED",
            Self::ExpungeIssued => "EXPUNGEISSUED",
            Self::HasChildren => "HASCHILDREN",
            Self::InUse => "INUSE",
            Self::Limit => "LIMIT",
            Self::NonExistent => "NONEXISTENT",
            Self::NoPerm => "NOPERM",
            Self::OverQuota => "OVERQUOTA",
            Self::Parse => "PARSE",
            Self::PermanentFlags(..) => "PERMANENTFLAGS",
            Self::PrivacyRequired => "PRIVACYREQUIRED",
            Self::ReadOnly => "READ-ONLY",
            Self::ReadWrite => "READ-WRITE",
            Self::Referral(_) => "REFERRAL",
            Self::ServerBug => "SERVERBUG",
            Self::TooBig => "TOOBIG",
            Self::TryCreate => "TRYCREATE",
            Self::UidNext(_) => "UIDNEXT",
            Self::UidValidity(_) => "UIDVALIDITY",
            Self::Unavailable => "UNAVAILABLE",
            Self::UnknownCte => "UNKNOWN-CTE",
            Self::UseAttr => "USEATTR",
            Self::Unseen(_) => "UNSEEN",
            Self::Other(_) => "",
        }
    }

    /// All codes that carry no data.
    pub const PLAIN: [Self; 27] = [
        Self::Alert,
        Self::AlreadyExists,
        Self::AuthenticationFailed,
        Self::AuthorizationFailed,
        Self::Cannot,
        Self::ClientBug,
        Self::Closed,
        Self::ContactAdmin,
        Self::Corruption,
        Self::Expired,
        Self::ExpungeIssued,
        Self::HasChildren,
        Self::InUse,
        Self::Limit,
        Self::NonExistent,
        Self::NoPerm,
        Self::OverQuota,
        Self::Parse,
        Self::PrivacyRequired,
        Self::ReadOnly,
        Self::ReadWrite,
        Self::ServerBug,
        Self::TooBig,
        Self::TryCreate,
        Self::Unavailable,
        Self::UnknownCte,
        Self::UseAttr,
    ];
}

fn uid_code(out: &mut Vec<u8>, name: &[u8], validity: UidValidity, sets: &[&UidSet]) -> bool {
    out.extend_from_slice(name);
    out.push(b' ');
    number(out, validity.get().into());
    for set in sets {
        out.push(b' ');
        uid_set(out, set);
    }
    sets.iter().all(|set| !set.is_empty())
}

fn uid_set(out: &mut Vec<u8>, set: &UidSet) {
    for (index, (first, last)) in set.ranges().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        number(out, first.get().into());
        if first != last {
            out.push(b':');
            number(out, last.get().into());
        }
    }
}

fn numbered(out: &mut Vec<u8>, name: &[u8], value: u32) -> bool {
    out.extend_from_slice(name);
    number(out, value.into());
    true
}

fn counted(out: &mut Vec<u8>, value: u32, name: &[u8]) {
    number(out, value.into());
    out.extend_from_slice(name);
}

fn number_list(out: &mut Vec<u8>, name: &[u8], numbers: &[u32]) {
    out.extend_from_slice(name);
    out.reserve(numbers.len().saturating_mul(7));
    for value in numbers {
        out.push(b' ');
        number(out, (*value).into());
    }
}

fn capabilities(out: &mut Vec<u8>, name: &[u8], list: &[Capability]) {
    out.extend_from_slice(name);
    for capability in list {
        out.push(b' ');
        out.extend_from_slice(capability.wire_name().as_bytes());
    }
}

fn flag_list(out: &mut Vec<u8>, flags: &[Flag], new_keywords: NewKeywords) {
    out.push(b'(');
    separated(out, flags, |out, flag| out.extend_from_slice(flag_name(flag).as_bytes()));
    if new_keywords == NewKeywords::Allowed {
        out.extend_from_slice(if flags.is_empty() { b"\\*" } else { b" \\*" });
    }
    out.push(b')');
}

fn flag_name(flag: &Flag) -> &str {
    match flag {
        Flag::System(flag) => SystemFlag::name(*flag),
        Flag::Keyword(keyword) => keyword.as_str(),
    }
}

fn id(out: &mut Vec<u8>, fields: &[(String, Option<String>)], format: NameFormat) {
    out.extend_from_slice(b"ID ");
    if fields.is_empty() {
        return out.extend_from_slice(b"NIL");
    }
    out.push(b'(');
    separated(out, fields, |out, (field, value)| {
        string(out, field.as_bytes(), format.utf8);
        out.push(b' ');
        nstring(out, value.as_deref().map(str::as_bytes), format.utf8);
    });
    out.push(b')');
}

fn namespace(out: &mut Vec<u8>, groups: &[Vec<(String, char)>; 3], format: NameFormat) {
    out.extend_from_slice(b"NAMESPACE");
    for group in groups {
        if group.is_empty() {
            out.extend_from_slice(b" NIL");
            continue;
        }
        out.extend_from_slice(b" (");
        for (prefix, mark) in group {
            out.push(b'(');
            string(out, prefix.as_bytes(), format.utf8);
            out.push(b' ');
            separator(out, Some(*mark), format);
            out.push(b')');
        }
        out.push(b')');
    }
}

fn separator(out: &mut Vec<u8>, mark: Option<char>, format: NameFormat) {
    let mut buffer = [0; 4];
    nstring(out, mark.map(|mark| mark.encode_utf8(&mut buffer).as_bytes()), format.utf8);
}

fn list_entry(out: &mut Vec<u8>, entry: &ListEntry, format: NameFormat) {
    out.extend_from_slice(match entry.kind {
        ListResponse::List => b"LIST (",
        ListResponse::Lsub => b"LSUB (",
    });
    separated(out, &entry.attributes, |out, attribute| sanitised(out, attribute.name(), false));
    out.extend_from_slice(b") ");
    separator(out, entry.separator, format);
    out.push(b' ');
    match &entry.name {
        ListName::Mailbox(name) => mailbox(out, name, format),
        ListName::Text(text) => astring(out, text.as_bytes(), format.utf8),
    }
}

impl ListAttribute {
    /// The attribute with its backslash.
    pub fn name(&self) -> &str {
        match self {
            Self::HasChildren => "\\HasChildren",
            Self::HasNoChildren => "\\HasNoChildren",
            Self::Marked => "\\Marked",
            Self::Unmarked => "\\Unmarked",
            Self::NonExistent => "\\NonExistent",
            Self::NoInferiors => "\\Noinferiors",
            Self::NoSelect => "\\Noselect",
            Self::Subscribed => "\\Subscribed",
            Self::Remote => "\\Remote",
            Self::SpecialUse(special_use) => special_use_name(*special_use),
            Self::Other(name) => name,
        }
    }
}

pub(crate) const fn special_use_name(special_use: SpecialUse) -> &'static str {
    match special_use {
        SpecialUse::All => "\\All",
        SpecialUse::Archive => "\\Archive",
        SpecialUse::Drafts => "\\Drafts",
        SpecialUse::Flagged => "\\Flagged",
        SpecialUse::Important => "\\Important",
        SpecialUse::Junk => "\\Junk",
        SpecialUse::Sent => "\\Sent",
        SpecialUse::Trash => "\\Trash",
    }
}

fn status_data(out: &mut Vec<u8>, name: &MailboxName, items: &[(StatusItem, u64)], format: NameFormat) {
    out.extend_from_slice(b"STATUS ");
    mailbox(out, name, format);
    out.extend_from_slice(b" (");
    separated(out, items, |out, (item, value)| {
        out.extend_from_slice(status_item_name(*item).as_bytes());
        out.push(b' ');
        number(out, *value);
    });
    out.push(b')');
}

pub(crate) const fn status_item_name(item: StatusItem) -> &'static str {
    match item {
        StatusItem::Messages => "MESSAGES",
        StatusItem::Recent => "RECENT",
        StatusItem::UidNext => "UIDNEXT",
        StatusItem::UidValidity => "UIDVALIDITY",
        StatusItem::Unseen => "UNSEEN",
        StatusItem::Deleted => "DELETED",
        StatusItem::Size => "SIZE",
    }
}

fn mailbox(out: &mut Vec<u8>, name: &MailboxName, format: NameFormat) {
    astring(out, name.to_wire(format).as_bytes(), format.utf8);
}
