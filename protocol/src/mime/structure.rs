//! A message's parts and where their bytes lie (RFC 2045, RFC 2046), found without decoding anything.

use std::ops::Range;

use super::address::addresses;
use super::digest::Digest;
use super::glance::{Excerpt, Glance};
use super::header::{Field, fields, header_length, line_end};
use super::parameter::{content_type, disposition, first_token, languages, parameter};
use super::{BodyPart, Envelope, PartContent};

/// The deepest nesting of parts that is taken apart; what is deeper is one opaque part.
pub const MAX_DEPTH: usize = 64;
/// The most parts of one message; the last of them holds all that follows.
pub const MAX_PARTS: usize = 10_000;
/// The most addresses in the envelopes of one message; those that follow are left out.
pub const MAX_ADDRESSES: usize = 20_000;

/// All that is computed of a message once and kept: a cache that can be made again from the bytes at any time.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Summary {
    /// What is asked of every message. It stands first, so that the rest need not be read for it.
    pub glance: Glance,
    /// ENVELOPE.
    pub envelope: Envelope,
    /// BODYSTRUCTURE, with offsets from the message's first octet.
    pub structure: BodyPart,
}

/// Takes a message apart. Every input has a summary, however broken: what is not MIME is text/plain in us-ascii.
/// Time grows with the length of the message, times its nesting (bounded by [`MAX_DEPTH`]) where all of it is nested.
pub fn summarise(message: &[u8]) -> Summary {
    let mut scanner = Scanner { message, parts_left: MAX_PARTS, addresses_left: MAX_ADDRESSES };
    let structure = scanner.part(0..message.len(), Default::default(), 0);
    let header = message.get(..usize::try_from(structure.body_start).unwrap_or(usize::MAX)).unwrap_or_default();
    let envelope = scanner.envelope(header);
    let digest = Digest::of(header, &envelope);
    let glance = Glance { header_length: structure.body_start, excerpt: Excerpt::of(header), digest };
    Summary { glance, envelope, structure }
}

/// What a part without Content-Type is.
#[derive(Clone, Copy, Default)]
enum DefaultType {
    #[default]
    TextPlain,
    /// Inside multipart/digest (RFC 2046 §5.1.5).
    MessageRfc822,
}

struct Scanner<'a> {
    message: &'a [u8],
    parts_left: usize,
    addresses_left: usize,
}

impl<'a> Scanner<'a> {
    fn bytes(&self, range: Range<usize>) -> &'a [u8] {
        self.message.get(range).unwrap_or_default()
    }

    fn part(&mut self, range: Range<usize>, default_type: DefaultType, depth: usize) -> BodyPart {
        self.parts_left = self.parts_left.saturating_sub(1);
        let body_start = range.start + header_length(self.bytes(range.clone()));
        let body = body_start..range.end;
        let mut part = described(self.bytes(range.start..body_start), default_type);
        part.header_start = range.start as u64;
        part.body_start = body_start as u64;
        part.body_end = range.end as u64;
        part.size = body.len() as u64;
        let is_multipart = part.media_type.eq_ignore_ascii_case("multipart");
        if depth >= MAX_DEPTH && (is_multipart || part.is_message_type()) {
            retype(&mut part, "APPLICATION", "OCTET-STREAM");
        } else if is_multipart {
            let parts = self.parts(&part, body.clone(), depth);
            if parts.is_empty() {
                as_plain_text(&mut part);
            } else {
                part.content = PartContent::Multipart(parts);
            }
        } else if part.is_message_type() {
            let inner = self.part(body.clone(), DefaultType::TextPlain, depth + 1);
            let envelope = self.envelope(self.bytes(body.start..usize::try_from(inner.body_start).unwrap_or(body.end)));
            part.content = PartContent::Message(Box::new(envelope), Box::new(inner));
        }
        if part.is_text() || part.is_message_type() {
            part.lines = Some(memchr::memchr_iter(b'\n', self.bytes(body)).count() as u64);
        }
        part
    }

    /// The parts of a multipart: none where its boundary is missing or does not occur.
    fn parts(&mut self, part: &BodyPart, body: Range<usize>, depth: usize) -> Vec<BodyPart> {
        let Some(boundary) = parameter(&part.parameters, "boundary") else { return Vec::new() };
        let boundary = boundary.trim_ascii_end();
        if boundary.is_empty() {
            return Vec::new();
        }
        let is_digest = part.subtype.eq_ignore_ascii_case("digest");
        let default_type = if is_digest { DefaultType::MessageRfc822 } else { DefaultType::TextPlain };
        let mut delimiters = Delimiters::new(self.message, boundary, body.clone());
        let mut parts = Vec::new();
        let mut next = delimiters.next();
        while let Some(delimiter) = next {
            if delimiter.is_last || self.parts_left == 0 {
                break;
            }
            // The last part that the limit allows holds all that follows.
            next = if self.parts_left == 1 { None } else { delimiters.next() };
            let end = next.as_ref().map_or(body.end, |following| following.text_end.max(delimiter.end));
            parts.push(self.part(delimiter.end..end, default_type, depth + 1));
        }
        parts
    }

    fn envelope(&mut self, header: &[u8]) -> Envelope {
        let mut envelope = Envelope::default();
        for field in fields(header) {
            self.envelope_field(&mut envelope, &field);
        }
        for list in [&mut envelope.sender, &mut envelope.reply_to] {
            if list.is_empty() {
                list.clone_from(&envelope.from);
            }
        }
        envelope
    }

    fn envelope_field(&mut self, envelope: &mut Envelope, field: &Field<'_>) {
        // Of a text that occurs twice the first counts; of addresses all.
        let texts = [
            ("Date", &mut envelope.date),
            ("Subject", &mut envelope.subject),
            ("In-Reply-To", &mut envelope.in_reply_to),
            ("Message-ID", &mut envelope.message_id),
        ];
        for (name, text) in texts {
            if field.is(name) {
                text.get_or_insert_with(|| field.unfolded());
            }
        }
        let lists = [
            ("From", &mut envelope.from),
            ("Sender", &mut envelope.sender),
            ("Reply-To", &mut envelope.reply_to),
            ("To", &mut envelope.to),
            ("Cc", &mut envelope.cc),
            ("Bcc", &mut envelope.bcc),
        ];
        for (name, list) in lists {
            if field.is(name) {
                let before = list.len();
                addresses(&field.unfolded(), list, before + self.addresses_left);
                self.addresses_left = self.addresses_left.saturating_sub(list.len() - before);
            }
        }
    }
}

/// A line that separates or ends the parts of a multipart (RFC 2046 §5.1.1).
struct Delimiter {
    /// Where the text before it ends: the line end before the line belongs to the line.
    text_end: usize,
    /// Behind the line.
    end: usize,
    /// `--boundary--`
    is_last: bool,
}

struct Delimiters<'a> {
    message: &'a [u8],
    needle: Vec<u8>,
    position: usize,
    body: Range<usize>,
}

impl<'a> Delimiters<'a> {
    fn new(message: &'a [u8], boundary: &[u8], body: Range<usize>) -> Self {
        let needle = [b"--", boundary].concat();
        Self { message, needle, position: body.start, body }
    }

    fn next(&mut self) -> Option<Delimiter> {
        let finder = memchr::memmem::Finder::new(&self.needle);
        loop {
            let place = self.position + finder.find(self.message.get(self.position..self.body.end)?)?;
            let behind = place + self.needle.len();
            self.position = behind;
            let is_line_start = place == self.body.start || self.byte(place.checked_sub(1)?) == Some(b'\n');
            if !is_line_start {
                continue;
            }
            let end = line_end(self.message.get(..self.body.end)?, behind);
            let rest = self.message.get(behind..end)?;
            let padding = rest.strip_prefix(b"--").unwrap_or(rest);
            if !padding.trim_ascii().is_empty() {
                continue;
            }
            self.position = end;
            return Some(Delimiter { text_end: self.text_end(place), end, is_last: padding.len() < rest.len() });
        }
    }

    fn byte(&self, place: usize) -> Option<u8> {
        self.message.get(place).copied()
    }

    fn text_end(&self, line_start: usize) -> usize {
        let text = self.message.get(self.body.start..line_start).unwrap_or_default();
        let text = text.strip_suffix(b"\n").map_or(text, |text| text.strip_suffix(b"\r").unwrap_or(text));
        self.body.start + text.len()
    }
}

/// The part as its header describes it, without content and places.
fn described(header: &[u8], default_type: DefaultType) -> BodyPart {
    let mut part = BodyPart::default();
    let mut media = None;
    for field in fields(header).filter(|field| field.name.len() >= b"Content-ID".len()) {
        if !field.name.get(..8).is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"Content-")) {
            continue;
        }
        let value = || field.unfolded();
        if field.is("Content-Type") {
            media.get_or_insert_with(|| content_type(&value()));
        } else if field.is("Content-Transfer-Encoding") && part.encoding.is_empty() {
            part.encoding = first_token(&value()).unwrap_or_default();
        } else if field.is("Content-ID") {
            part.id.get_or_insert_with(value);
        } else if field.is("Content-Description") {
            part.description.get_or_insert_with(value);
        } else if field.is("Content-MD5") {
            part.md5.get_or_insert_with(value);
        } else if field.is("Content-Disposition") && part.disposition.is_none() {
            part.disposition = disposition(&value());
        } else if field.is("Content-Language") && part.language.is_empty() {
            part.language = languages(&value());
        } else if field.is("Content-Location") {
            part.location.get_or_insert_with(value);
        }
    }
    if part.encoding.is_empty() {
        part.encoding.push_str("7BIT");
    }
    match (media, default_type) {
        (Some(Some((media_type, subtype, parameters))), _) => {
            (part.media_type, part.subtype, part.parameters) = (media_type, subtype, parameters);
        }
        (None, DefaultType::MessageRfc822) => retype(&mut part, "MESSAGE", "RFC822"),
        (None | Some(None), _) => as_plain_text(&mut part),
    }
    part
}

fn retype(part: &mut BodyPart, media_type: &str, subtype: &str) {
    (part.media_type, part.subtype) = (media_type.to_owned(), subtype.to_owned());
    part.parameters.clear();
}

/// RFC 2045 §5.2.
fn as_plain_text(part: &mut BodyPart) {
    retype(part, "TEXT", "PLAIN");
    part.parameters.push(("CHARSET".to_owned(), b"US-ASCII".to_vec()));
}
