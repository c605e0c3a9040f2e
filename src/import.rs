//! Import of maildirs and mboxes into an account. The readers know the disk, the writer (`writer`) the actors; what lies between is [`Item`].

mod keywords;
pub mod maildir;
pub mod mbox;
pub mod transfer;
pub mod writer;

use std::fs::{self, DirEntry};
use std::io;
use std::path::Path;

use carillon_protocol::date::InternalDate;
use carillon_protocol::flag::FlagSet;
use carillon_protocol::mailbox_name::{self, MailboxName, NameFormat};
use carillon_protocol::mime;

use crate::calendar;

/// A message that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Where it was read, for reports.
    pub place: String,
    /// The mailbox it belongs to.
    pub mailbox: MailboxName,
    /// Its bytes, every line end a CRLF.
    pub bytes: Vec<u8>,
    /// Its flags.
    pub flags: FlagSet,
    /// What stands there as a keyword and can be none.
    pub odd_keywords: Vec<String>,
    /// INTERNALDATE.
    pub internal_date: InternalDate,
}

/// What could not be read: where, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// A path, or a path and an offset.
    pub place: String,
    /// Why.
    pub why: String,
}

impl Unread {
    /// A file or directory that could not be read.
    pub fn of(path: &Path, why: &str) -> Self {
        Self { place: path.display().to_string(), why: why.to_owned() }
    }
}

/// What stands in a directory, by name; what cannot be listed is put to `unread`.
fn read_directory(path: &Path, unread: &mut Vec<Unread>) -> Vec<DirEntry> {
    match fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
        Ok(mut entries) => {
            entries.sort_by_key(DirEntry::file_name);
            entries
        }
        Err(error) => {
            unread.push(Unread::of(path, &error.to_string()));
            Vec::new()
        }
    }
}

/// Whether a directory may be looked into; an error says why something that may be one is not. Links to directories are not followed: they can lead in circles,
/// and into other people's mail.
fn is_directory(entry: &DirEntry) -> Result<bool, String> {
    let kind = entry.file_type().map_err(|error| error.to_string())?;
    if kind.is_symlink() && !entry.path().is_file() {
        return Err("a symbolic link, which is not followed: import what it leads to by itself, with --mailbox".to_owned());
    }
    Ok(kind.is_dir())
}

/// A directory's or file's name as a level of a mailbox name: modified UTF-7 by custom; one that is not is taken as it is.
fn segment_of(name: &str) -> String {
    let format = NameFormat { separator: '/', utf8: false };
    mailbox_name::decode_text(name.as_bytes(), format).unwrap_or_else(|_| name.to_owned())
}

/// The mailbox of some levels below another one. INBOX has none below it: its folders stand beside it.
fn below(mailbox: &MailboxName, levels: Vec<String>) -> Result<MailboxName, String> {
    let parent: &[String] = if mailbox.is_inbox() { &[] } else { mailbox.segments() };
    MailboxName::from_segments(parent.iter().chain(&levels)).map_err(|error| error.to_string())
}

/// What a reader gives, one after the other.
pub type Outcome = Result<Item, Unread>;

/// The bytes with every lone LF made CRLF. A lone CR stays.
pub fn with_crlf(bytes: &[u8]) -> Vec<u8> {
    let mut output = Vec::with_capacity(bytes.len() + bytes.len() / 32);
    let mut previous = 0;
    for byte in bytes {
        if *byte == b'\n' && previous != b'\r' {
            output.push(b'\r');
        }
        output.push(*byte);
        previous = *byte;
    }
    output
}

/// INTERNALDATE of a message whose reader knows none: the newest Received field, else Date, else 1970.
pub fn date_of_header(bytes: &[u8]) -> InternalDate {
    let header = bytes.get(..mime::header_length(bytes)).unwrap_or_default();
    let value = |name: &str| mime::fields(header).find(|field| field.is(name)).map(|field| field.unfolded());
    let received = value("Received").and_then(|value| {
        let text = String::from_utf8_lossy(&value).into_owned();
        text.rsplit(';').next().and_then(calendar::parse_loose)
    });
    let dated = || value("Date").and_then(|value| mime::sent_date(&value)).map(|date| (date.unix_seconds, date.offset_minutes));
    let (unix_seconds, offset_minutes) = received.or_else(dated).unwrap_or((0, 0));
    InternalDate { unix_seconds, offset_minutes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends() {
        assert_eq!(with_crlf(b"a\nb\r\n\n\rc\r\r\n"), b"a\r\nb\r\n\r\n\rc\r\r\n");
    }

    #[test]
    fn dates_of_headers() {
        let date = |text: &str| date_of_header(text.as_bytes()).unix_seconds;
        assert_eq!(date("Received: from a by b; Mon, 12 Jan 2026 11:00:00 +0100\r\nDate: x\r\n\r\n"), 1_768_212_000);
        assert_eq!(date("Date: Mon, 12 Jan 2026 10:00:00 +0000\r\n\r\nReceived: ; 1 Jan 2000 00:00:00 +0000\r\n"), 1_768_212_000);
        assert_eq!(date("Subject: none\r\n\r\n"), 0);
    }
}
