//! FETCH (RFC 9051 §7.5.2, RFC 3516 §4.2), whole or piece by piece.

use std::io::Write;

use bytes::Bytes;

use super::string::{astring, binary_literal, literal, literal_head, number, separated};
use super::structure::{body_structure, envelope};
use crate::command::{Section, SectionText};
use crate::flag::{FlagSet, SystemFlag};
use crate::mailbox_name::NameFormat;
use crate::mime::{BodyPart, Envelope};
use crate::number::SeqNum;
use crate::response::{FetchData, Rfc822Item};

/// A FETCH response that is written datum by datum, so that the caller may empty the buffer in between.
#[derive(Debug)]
#[must_use = "a FETCH response that is not ended leaves the stream broken"]
pub struct FetchLine {
    is_first: bool,
}

impl FetchLine {
    /// Writes `* message FETCH (`.
    pub fn begin(out: &mut Vec<u8>, message: SeqNum) -> Self {
        out.extend_from_slice(b"* ");
        number(out, message.get().into());
        out.extend_from_slice(b" FETCH (");
        Self { is_first: true }
    }

    /// Writes one datum.
    pub fn datum(&mut self, out: &mut Vec<u8>, format: NameFormat, datum: &FetchData) {
        self.blank(out);
        match datum {
            FetchData::Uid(uid) => {
                out.extend_from_slice(b"UID ");
                number(out, uid.get().into());
            }
            FetchData::Flags { flags, recent } => write_flags(out, flags, *recent),
            FetchData::InternalDate(date) => {
                // Writing to a vector does not fail.
                let _ = write!(out, "INTERNALDATE \"{date}\"");
            }
            FetchData::Rfc822Size(size) => {
                out.extend_from_slice(b"RFC822.SIZE ");
                number(out, *size);
            }
            FetchData::Envelope(value) => write_envelope(out, value, format),
            FetchData::Body(part) => write_body(out, part, format),
            FetchData::BodyStructure(part) => write_body_structure(out, part, format),
            FetchData::Rfc822(item, bytes) => {
                out.extend_from_slice(item.name().as_bytes());
                out.push(b' ');
                literal(out, bytes);
            }
            FetchData::Section { section, origin, data } => write_section(out, section, *origin, data.as_ref()),
            FetchData::Binary { part, origin, data } => {
                part_name(out, b"BINARY[", part, *origin);
                data_or_nil(out, data.as_ref(), binary_literal);
            }
            FetchData::BinarySize { part, size } => {
                part_name(out, b"BINARY.SIZE[", part, None);
                out.push(b' ');
                number(out, *size);
            }
        }
    }

    /// Writes ENVELOPE: as [`FetchLine::datum`] does, without taking what is written.
    pub fn envelope(&mut self, out: &mut Vec<u8>, format: NameFormat, value: &Envelope) {
        self.blank(out);
        write_envelope(out, value, format);
    }

    /// Writes BODY in the same way.
    pub fn body(&mut self, out: &mut Vec<u8>, format: NameFormat, part: &BodyPart) {
        self.blank(out);
        write_body(out, part, format);
    }

    /// Writes BODYSTRUCTURE in the same way.
    pub fn body_structure(&mut self, out: &mut Vec<u8>, format: NameFormat, part: &BodyPart) {
        self.blank(out);
        write_body_structure(out, part, format);
    }

    /// Writes `BODY[section]<origin>` in the same way.
    pub fn section(&mut self, out: &mut Vec<u8>, section: &Section, origin: Option<u32>, data: Option<&Bytes>) {
        self.blank(out);
        write_section(out, section, origin, data);
    }

    /// Writes `BODY[section]<origin>` and the head of its literal. The caller must send exactly `length` octets next.
    pub fn section_head(&mut self, out: &mut Vec<u8>, section: &Section, origin: Option<u32>, length: u64) {
        self.blank(out);
        section_name(out, section, origin);
        out.push(b' ');
        literal_head(out, length);
    }

    /// Writes RFC822, RFC822.HEADER or RFC822.TEXT and the head of its literal. The caller must send exactly `length` octets
    /// next.
    pub fn rfc822_head(&mut self, out: &mut Vec<u8>, item: Rfc822Item, length: u64) {
        self.blank(out);
        out.extend_from_slice(item.name().as_bytes());
        out.push(b' ');
        literal_head(out, length);
    }

    /// Writes `)` and CRLF.
    pub fn end(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b")\r\n");
    }

    fn blank(&mut self, out: &mut Vec<u8>) {
        if !std::mem::take(&mut self.is_first) {
            out.push(b' ');
        }
    }
}

impl Rfc822Item {
    /// The item's name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Message => "RFC822",
            Self::Header => "RFC822.HEADER",
            Self::Text => "RFC822.TEXT",
        }
    }
}

fn write_flags(out: &mut Vec<u8>, flags: &FlagSet, recent: bool) {
    out.extend_from_slice(b"FLAGS (");
    let start = out.len();
    for flag in SystemFlag::ALL {
        if flags.has(flag) {
            out.extend_from_slice(flag.name().as_bytes());
            out.push(b' ');
        }
    }
    for keyword in flags.keywords() {
        out.extend_from_slice(keyword.as_str().as_bytes());
        out.push(b' ');
    }
    if recent {
        out.extend_from_slice(b"\\Recent ");
    }
    if out.len() > start {
        out.pop();
    }
    out.push(b')');
}

fn write_envelope(out: &mut Vec<u8>, value: &Envelope, format: NameFormat) {
    out.extend_from_slice(b"ENVELOPE ");
    envelope(out, value, format.utf8);
}

fn write_body(out: &mut Vec<u8>, part: &BodyPart, format: NameFormat) {
    out.extend_from_slice(b"BODY ");
    body_structure(out, part, false, format.utf8);
}

fn write_body_structure(out: &mut Vec<u8>, part: &BodyPart, format: NameFormat) {
    out.extend_from_slice(b"BODYSTRUCTURE ");
    body_structure(out, part, true, format.utf8);
}

fn write_section(out: &mut Vec<u8>, section: &Section, origin: Option<u32>, data: Option<&Bytes>) {
    section_name(out, section, origin);
    data_or_nil(out, data, literal);
}

fn section_name(out: &mut Vec<u8>, section: &Section, origin: Option<u32>) {
    out.extend_from_slice(b"BODY[");
    part_numbers(out, &section.part);
    if let Some(text) = &section.text {
        if !section.part.is_empty() {
            out.push(b'.');
        }
        let (name, fields): (&[u8], &[String]) = match text {
            SectionText::Header => (b"HEADER", &[]),
            SectionText::HeaderFields(fields) => (b"HEADER.FIELDS (", fields),
            SectionText::HeaderFieldsNot(fields) => (b"HEADER.FIELDS.NOT (", fields),
            SectionText::Text => (b"TEXT", &[]),
            SectionText::Mime => (b"MIME", &[]),
        };
        out.extend_from_slice(name);
        separated(out, fields, |out, field| astring(out, field.as_bytes(), false));
        if name.ends_with(b"(") {
            out.push(b')');
        }
    }
    close_section(out, origin);
}

fn part_name(out: &mut Vec<u8>, name: &[u8], part: &[u32], origin: Option<u32>) {
    out.extend_from_slice(name);
    part_numbers(out, part);
    close_section(out, origin);
}

fn part_numbers(out: &mut Vec<u8>, part: &[u32]) {
    for (index, value) in part.iter().enumerate() {
        if index > 0 {
            out.push(b'.');
        }
        number(out, (*value).into());
    }
}

fn close_section(out: &mut Vec<u8>, origin: Option<u32>) {
    out.push(b']');
    if let Some(origin) = origin {
        out.push(b'<');
        number(out, origin.into());
        out.push(b'>');
    }
}

fn data_or_nil(out: &mut Vec<u8>, data: Option<&Bytes>, write: fn(&mut Vec<u8>, &[u8])) {
    out.push(b' ');
    match data {
        Some(data) => write(out, data),
        None => out.extend_from_slice(b"NIL"),
    }
}
