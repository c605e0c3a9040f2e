//! ENVELOPE, BODY and BODYSTRUCTURE (RFC 9051 §7.5.2 and §9: `envelope`, `body`).

use super::string::{nstring, number, separated, string};
use crate::mime::{Address, BodyPart, Envelope, PartContent};

/// The deepest nesting of parts that is written and read; what is deeper is written as an opaque part without octets.
/// [`crate::mime::summarise`] stays far below it.
pub const MAX_STRUCTURE_DEPTH: usize = 100;

/// Writes an envelope.
pub(super) fn envelope(out: &mut Vec<u8>, envelope: &Envelope, utf8: bool) {
    out.push(b'(');
    nstring(out, envelope.date.as_deref(), utf8);
    out.push(b' ');
    nstring(out, envelope.subject.as_deref(), utf8);
    for list in [&envelope.from, &envelope.sender, &envelope.reply_to, &envelope.to, &envelope.cc, &envelope.bcc] {
        out.push(b' ');
        addresses(out, list, utf8);
    }
    out.push(b' ');
    nstring(out, envelope.in_reply_to.as_deref(), utf8);
    out.push(b' ');
    nstring(out, envelope.message_id.as_deref(), utf8);
    out.push(b')');
}

fn addresses(out: &mut Vec<u8>, list: &[Address], utf8: bool) {
    if list.is_empty() {
        return out.extend_from_slice(b"NIL");
    }
    out.push(b'(');
    for address in list {
        out.push(b'(');
        let fields = [&address.name, &address.route, &address.mailbox, &address.host];
        separated(out, &fields, |out, field| nstring(out, field.as_deref(), utf8));
        out.push(b')');
    }
    out.push(b')');
}

/// Writes BODYSTRUCTURE (`extended`) or BODY.
pub(super) fn body_structure(out: &mut Vec<u8>, part: &BodyPart, extended: bool, utf8: bool) {
    Writer { out, extended, utf8 }.part(part, 0);
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    extended: bool,
    utf8: bool,
}

impl Writer<'_> {
    fn part(&mut self, part: &BodyPart, depth: usize) {
        if depth >= MAX_STRUCTURE_DEPTH {
            return self.opaque(0);
        }
        match &part.content {
            PartContent::Multipart(parts) => self.multipart(part, parts, depth),
            PartContent::Message(envelope, inner) => self.message(part, envelope, inner, depth),
            // The grammar has no message/rfc822 without envelope.
            PartContent::Single if part.is_message_type() => self.opaque(part.size),
            PartContent::Single => self.single(part),
        }
    }

    fn single(&mut self, part: &BodyPart) {
        self.out.push(b'(');
        self.fields(part);
        if part.is_text() {
            self.out.push(b' ');
            number(self.out, part.lines.unwrap_or(0));
        }
        if self.extended {
            self.out.push(b' ');
            nstring(self.out, part.md5.as_deref(), self.utf8);
            self.common_extension(part);
        }
        self.out.push(b')');
    }

    fn message(&mut self, part: &BodyPart, inner_envelope: &Envelope, inner: &BodyPart, depth: usize) {
        self.out.push(b'(');
        self.fields(part);
        self.out.push(b' ');
        envelope(self.out, inner_envelope, self.utf8);
        self.out.push(b' ');
        self.part(inner, depth + 1);
        self.out.push(b' ');
        number(self.out, part.lines.unwrap_or(0));
        if self.extended {
            self.out.push(b' ');
            nstring(self.out, part.md5.as_deref(), self.utf8);
            self.common_extension(part);
        }
        self.out.push(b')');
    }

    fn multipart(&mut self, part: &BodyPart, parts: &[BodyPart], depth: usize) {
        self.out.push(b'(');
        if parts.is_empty() {
            self.opaque(0);
        }
        parts.iter().for_each(|inner| self.part(inner, depth + 1));
        self.out.push(b' ');
        string(self.out, part.subtype.as_bytes(), self.utf8);
        if self.extended {
            self.out.push(b' ');
            self.parameters(&part.parameters);
            self.common_extension(part);
        }
        self.out.push(b')');
    }

    fn opaque(&mut self, size: u64) {
        self.out.extend_from_slice(b"(\"APPLICATION\" \"OCTET-STREAM\" NIL NIL NIL \"8BIT\" ");
        number(self.out, size);
        self.out.extend_from_slice(if self.extended { b" NIL NIL NIL NIL)" } else { b")" });
    }

    fn fields(&mut self, part: &BodyPart) {
        string(self.out, part.media_type.as_bytes(), self.utf8);
        self.out.push(b' ');
        string(self.out, part.subtype.as_bytes(), self.utf8);
        self.out.push(b' ');
        self.parameters(&part.parameters);
        self.out.push(b' ');
        nstring(self.out, part.id.as_deref(), self.utf8);
        self.out.push(b' ');
        nstring(self.out, part.description.as_deref(), self.utf8);
        self.out.push(b' ');
        string(self.out, part.encoding.as_bytes(), self.utf8);
        self.out.push(b' ');
        number(self.out, part.size);
    }

    fn parameters(&mut self, parameters: &[(String, Vec<u8>)]) {
        if parameters.is_empty() {
            return self.out.extend_from_slice(b"NIL");
        }
        self.out.push(b'(');
        separated(self.out, parameters, |out, (attribute, value)| {
            string(out, attribute.as_bytes(), self.utf8);
            out.push(b' ');
            string(out, value, self.utf8);
        });
        self.out.push(b')');
    }

    /// Disposition, language and location, each with a blank before it.
    fn common_extension(&mut self, part: &BodyPart) {
        self.out.push(b' ');
        match &part.disposition {
            Some((disposition, parameters)) => {
                self.out.push(b'(');
                string(self.out, disposition.as_bytes(), self.utf8);
                self.out.push(b' ');
                self.parameters(parameters);
                self.out.push(b')');
            }
            None => self.out.extend_from_slice(b"NIL"),
        }
        self.out.push(b' ');
        match part.language.as_slice() {
            [] => self.out.extend_from_slice(b"NIL"),
            [only] => string(self.out, only, self.utf8),
            several => {
                self.out.push(b'(');
                separated(self.out, several, |out, language| string(out, language, self.utf8));
                self.out.push(b')');
            }
        }
        self.out.push(b' ');
        nstring(self.out, part.location.as_deref(), self.utf8);
    }
}
