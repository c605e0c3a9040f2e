//! Import of maildirs and mboxes into an account. The readers know the disk, the writer (`writer`) the actors; what lies between is [`Item`].

pub mod maildir;
pub mod mbox;
pub mod transfer;
pub mod writer;

use carillon_protocol::date::InternalDate;
use carillon_protocol::flag::FlagSet;
use carillon_protocol::mailbox_name::MailboxName;
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
