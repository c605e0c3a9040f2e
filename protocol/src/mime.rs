//! What a message's bytes hold: ENVELOPE, BODYSTRUCTURE, where each part lies, and its text for SEARCH, SORT and THREAD.
//! Charsets, encoded words and dates are a well-kept parser's; the places of octets are ours (docs/adr/0004-mime.md).

mod address;
mod digest;
mod glance;
mod header;
mod needle;
mod nul;
mod parameter;
mod search;
mod section;
mod structure;
mod subject;
#[cfg(test)]
mod tests;
mod transfer;

use serde::{Deserialize, Serialize};

pub use digest::{Digest, message_ids, sent_date};
pub use glance::{Excerpt, Glance};
pub use header::{Field, FieldFilter, fields, filter_fields, header_length, unfold};
pub use needle::{Needle, Window, folded};
pub use nul::without_nul;
pub use search::{Text, TextKind, field_text, texts};
pub use section::{SectionSource, body_range, cut, find, section_bytes, section_source, slice};
pub use structure::{MAX_ADDRESSES, MAX_DEPTH, MAX_PARTS, Summary, summarise};
pub use subject::{BaseSubject, base_subject};
pub use transfer::{UnknownEncoding, decode_part};

/// ENVELOPE (RFC 9051 §7.5.2). Texts are as in the header, unfolded, encoded words not decoded. May hold bytes that are no UTF-8.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Date field.
    pub date: Option<Vec<u8>>,
    /// Subject field.
    pub subject: Option<Vec<u8>>,
    /// From addresses.
    pub from: Vec<Address>,
    /// Sender, or From where it is missing or empty.
    pub sender: Vec<Address>,
    /// Reply-To, or From where it is missing or empty.
    pub reply_to: Vec<Address>,
    /// To addresses.
    pub to: Vec<Address>,
    /// Cc addresses.
    pub cc: Vec<Address>,
    /// Bcc addresses.
    pub bcc: Vec<Address>,
    /// In-Reply-To field.
    pub in_reply_to: Option<Vec<u8>>,
    /// Message-ID field.
    pub message_id: Option<Vec<u8>>,
}

/// An address of an envelope; start and end of a group as RFC 9051 §7.5.2 says (host `None`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// Display name.
    pub name: Option<Vec<u8>>,
    /// Source route.
    pub route: Option<Vec<u8>>,
    /// Local part, or a group's name; `None` ends a group.
    pub mailbox: Option<Vec<u8>>,
    /// Domain; `None` in a group's start and end.
    pub host: Option<Vec<u8>>,
}

/// Parameters of a MIME field in their order: attribute and value.
pub type Parameters = Vec<(String, Vec<u8>)>;

/// A body part with the place of its bytes in the message (RFC 9051 §7.5.2, BODYSTRUCTURE).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyPart {
    /// Media type, as sent (`TEXT`).
    pub media_type: String,
    /// Subtype, as sent (`PLAIN`).
    pub subtype: String,
    /// Parameters of Content-Type: attribute and value.
    pub parameters: Parameters,
    /// Content-ID.
    pub id: Option<Vec<u8>>,
    /// Content-Description.
    pub description: Option<Vec<u8>>,
    /// Content-Transfer-Encoding, `7BIT` where there is none.
    pub encoding: String,
    /// Body's size in octets as transferred.
    pub size: u64,
    /// Body's lines; of text and message/rfc822 parts only.
    pub lines: Option<u64>,
    /// Content-MD5.
    pub md5: Option<Vec<u8>>,
    /// Content-Disposition: type and parameters.
    pub disposition: Option<(String, Parameters)>,
    /// Content-Language.
    pub language: Vec<Vec<u8>>,
    /// Content-Location.
    pub location: Option<Vec<u8>>,
    /// What is inside.
    pub content: PartContent,
    /// Offset of the part's header (the MIME header; of the message itself its header) from the start of the body's bytes.
    pub header_start: u64,
    /// Offset of the part's body; the header ends here, its blank line included.
    pub body_start: u64,
    /// Offset behind the part's last octet.
    pub body_end: u64,
}

/// What a part holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PartContent {
    /// A leaf.
    #[default]
    Single,
    /// multipart/*: its parts, at least one.
    Multipart(Vec<BodyPart>),
    /// message/rfc822: the envelope and the structure of the message inside (whose `header_start` is where that message begins).
    Message(Box<Envelope>, Box<BodyPart>),
}

impl BodyPart {
    /// Whether it is text/*, whose lines are counted.
    pub fn is_text(&self) -> bool {
        self.media_type.eq_ignore_ascii_case("TEXT")
    }

    /// Whether it is message/rfc822, which has an envelope and a structure inside.
    pub fn is_message_type(&self) -> bool {
        self.media_type.eq_ignore_ascii_case("MESSAGE") && self.subtype.eq_ignore_ascii_case("RFC822")
    }
}
