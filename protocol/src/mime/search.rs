//! A message as texts for SEARCH: headers and bodies, decoded (RFC 9051 §6.4.4).

use std::borrow::Cow;

use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::parsers::MessageStream;

use super::header::{Field, fields};
use super::parameter::{content_type, disposition, encoded_text, parameter};
use super::transfer::decode_part;
use super::{BodyPart, PartContent};

/// What a text of a message is: TEXT looks at both kinds, BODY at bodies alone (RFC 9051 §6.4.4: "Unlike TEXT, this doesn't match any header fields").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextKind {
    /// A header: of the message, of a part, or of a message inside.
    Header,
    /// The body of a part that holds text.
    Body,
}

/// A text of a message: where it is, not yet what it says.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// What it is.
    pub kind: TextKind,
    part: &'a BodyPart,
}

/// All texts of a message: the header of each part, the message's own first, and the body of each that is text/* or message/* and has no parts itself.
pub fn texts(structure: &BodyPart) -> impl Iterator<Item = Text<'_>> {
    // Nesting is bounded, but the iterator is easier to keep flat.
    let mut pending = vec![Text { kind: TextKind::Header, part: structure }];
    std::iter::from_fn(move || {
        let text = pending.pop()?;
        if text.kind == TextKind::Header {
            let header = |part| Text { kind: TextKind::Header, part };
            match &text.part.content {
                PartContent::Multipart(parts) => pending.extend(parts.iter().rev().map(header)),
                PartContent::Message(_, inner) => pending.push(header(inner)),
                // RFC 3501 §6.4.4 lets a server pass over what is neither. A message/* that is no message inside (a delivery report) is lines of text.
                PartContent::Single if text.part.is_text() || text.part.media_type.eq_ignore_ascii_case("message") => {
                    pending.push(Text { kind: TextKind::Body, ..text });
                }
                PartContent::Single => {}
            }
        }
        Some(text)
    })
}

impl Text<'_> {
    /// What it says. A header is its fields on lines of their own, as [`field_text`] gives them; HTML is as it stands.
    pub fn read<'m>(&self, message: &'m [u8]) -> Cow<'m, str> {
        let octets = |start, end| {
            let place = |offset| usize::try_from(offset).unwrap_or(usize::MAX);
            message.get(place(start)..place(end)).unwrap_or_default()
        };
        match self.kind {
            TextKind::Header => Cow::Owned(whole_header(octets(self.part.header_start, self.part.body_start))),
            TextKind::Body => part_text(octets(self.part.body_start, self.part.body_end), self.part),
        }
    }
}

fn whole_header(header: &[u8]) -> String {
    let mut text = String::with_capacity(header.len());
    for field in fields(header) {
        if field.name.is_empty() {
            text.push_str(&collapsed(&String::from_utf8_lossy(field.raw.trim_ascii())));
        } else {
            text.push_str(&String::from_utf8_lossy(field.name));
            text.push_str(": ");
            text.push_str(&field_text(&field));
            for name in encoded_names(&field) {
                text.push('\n');
                text.push_str(&name);
            }
        }
        text.push('\n');
    }
    text
}

/// A field's value, decoded (RFC 2047), unfolded, each run of blanks as one: where a line was folded there may be a tab or several blanks, and who looks
/// for a phrase types one.
pub fn field_text<'a>(field: &Field<'a>) -> Cow<'a, str> {
    match decoded(field.value) {
        Cow::Borrowed(text) => collapsed(text),
        Cow::Owned(text) => Cow::Owned(collapsed(&text).into_owned()),
    }
}

/// The names of an attachment that RFC 2231 made unreadable.
fn encoded_names(field: &Field<'_>) -> impl Iterator<Item = String> {
    let parameters = if memchr::memchr(b'*', field.value).is_none() {
        None
    } else if field.is("Content-Disposition") {
        disposition(&field.unfolded()).map(|(_, parameters)| parameters)
    } else if field.is("Content-Type") {
        content_type(&field.unfolded()).map(|(.., parameters)| parameters)
    } else {
        None
    };
    let parameters = parameters.unwrap_or_default();
    ["name", "filename"].into_iter().filter_map(move |name| encoded_text(&parameters, name))
}

/// Each run of blanks as one.
pub(super) fn collapsed(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if memchr::memchr2_iter(b' ', b'\t', bytes).all(|place| bytes.get(place) == Some(&b' ') && !is_blank(bytes.get(place + 1))) {
        return Cow::Borrowed(text);
    }
    let mut collapsed = String::with_capacity(text.len());
    let mut is_run = false;
    for piece in text.split([' ', '\t']) {
        if std::mem::replace(&mut is_run, true) && !collapsed.ends_with(' ') {
            collapsed.push(' ');
        }
        collapsed.push_str(piece);
    }
    Cow::Owned(collapsed)
}

/// A header text with its encoded words decoded (RFC 2047), unfolded. What can't be decoded stays as it is.
pub(super) fn decoded(value: &[u8]) -> Cow<'_, str> {
    let value = value.trim_ascii();
    let text = if memchr::memchr2(b'\r', b'\n', value).is_none() {
        Cow::Borrowed(value)
    } else {
        Cow::Owned(value.split(|byte| matches!(byte, b'\r' | b'\n')).collect::<Vec<_>>().concat())
    };
    if memchr::memmem::find(&text, b"=?").is_none() {
        return match text {
            Cow::Borrowed(text) => String::from_utf8_lossy(text),
            Cow::Owned(text) => {
                Cow::Owned(String::from_utf8(text).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
            }
        };
    }
    let mut text = padded(text.into_owned());
    // The parser ends at a line end that no blank follows.
    text.push(b'\n');
    Cow::Owned(match MessageStream::new(&text).parse_unstructured() {
        mail_parser::HeaderValue::Text(decoded) => decoded.trim().to_owned(),
        _ => String::from_utf8_lossy(&text).trim().to_owned(),
    })
}

/// The text with the `=` that some writers leave out at the end of base64 in encoded words: without them the parser loses the last octets.
fn padded(text: Vec<u8>) -> Vec<u8> {
    if ![b"?b?", b"?B?"].iter().any(|mark| memchr::memmem::find(&text, *mark).is_some()) {
        return text;
    }
    let mut padded = Vec::with_capacity(text.len() + 4);
    // An encoded word is `=?charset?b?data?=`: between question marks, what ends in `=`, the charset, the letter, the data, and what begins with `=`.
    let mut before: [&[u8]; 3] = [b""; 3];
    let mut pieces = text.split(|byte| *byte == b'?').peekable();
    while let Some(piece) = pieces.next() {
        padded.extend_from_slice(piece);
        let [start, _, encoding] = before;
        let is_ended = pieces.peek().is_some_and(|next| next.starts_with(b"="));
        if is_ended && start.ends_with(b"=") && encoding.eq_ignore_ascii_case(b"b") {
            padded.extend(std::iter::repeat_n(b'=', piece.len().next_multiple_of(4) - piece.len()));
        }
        if pieces.peek().is_some() {
            padded.push(b'?');
        }
        before.rotate_left(1);
        before[2] = piece;
    }
    padded
}

/// A text part's text. An unknown transfer encoding or charset is searched as it stands.
fn part_text<'a>(bytes: &'a [u8], part: &BodyPart) -> Cow<'a, str> {
    let bytes = decode_part(bytes, &part.encoding).unwrap_or(Cow::Borrowed(bytes));
    let charset = parameter(&part.parameters, "charset").unwrap_or_default();
    let is_utf8 =
        charset.is_empty() || [b"us-ascii".as_slice(), b"utf-8", b"utf8"].iter().any(|name| charset.eq_ignore_ascii_case(name));
    let bytes = match bytes {
        Cow::Borrowed(bytes) if is_utf8 => match std::str::from_utf8(bytes) {
            Ok(text) => return Cow::Borrowed(text),
            Err(_) => Cow::Borrowed(bytes),
        },
        Cow::Owned(bytes) if is_utf8 => match String::from_utf8(bytes) {
            Ok(text) => return Cow::Owned(text),
            Err(error) => Cow::Owned(error.into_bytes()),
        },
        bytes => bytes,
    };
    match charset_decoder(&charset) {
        Some(decode) => Cow::Owned(decode(&bytes)),
        None => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mime::summarise;

    const MESSAGE: &str = "Subject: =?iso-8859-1?Q?Gr=FC=DFe?= an\r\n\t=?utf-8?b?w6Rs?= =?utf-8?q?le?=\r\nX-A: plain\r\n \t folded\r\n\
        x-a: second\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n--b\r\n\
        Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
        sch=F6n=\r\ner  Tag\r\n--b\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\nPGI+aGk8L2I+\r\n\
        --b\r\nContent-Type: application/octet-stream;\r\n name*0*=utf-8''Gr%C3%BC; name*1=\"n.pdf\"\r\n\r\nsecret\r\n\
        --b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ndeep\r\n\
        --b\r\nContent-Type: message/delivery-status\r\n\r\nFinal-Recipient: rfc822; gone@nowhere\r\n--b--\r\n";

    fn texts_of(message: &[u8], kind: TextKind) -> Vec<String> {
        let summary = summarise(message);
        let texts = texts(&summary.structure).filter(|text| text.kind == kind);
        texts.map(|text| text.read(message).into_owned()).collect()
    }

    #[test]
    fn fields_are_decoded() {
        let text =
            |name| fields(MESSAGE.as_bytes()).filter(|field| field.is(name)).map(|field| field_text(&field)).collect::<Vec<_>>();
        assert_eq!(text("subject"), ["Grüße an älle"]);
        assert_eq!(text("X-A"), ["plain folded", "second"]);
        assert_eq!(text("To"), Vec::<String>::new());
        assert_eq!(decoded(b"=?utf-8?q?broken"), "=?utf-8?q?broken");
        assert_eq!(decoded(b"caf\xc3\xa9 \xff"), "café \u{fffd}");
    }

    #[test]
    fn base64_without_its_end_is_read() {
        for (value, expected) in [
            ("=?utf-8?b?R3LDvMOfZSBhdXMgS8O2bG4?=", "Grüße aus Köln"),
            ("=?utf-8?b?R3LDvMOfZSBhdXMgS8O2bG4=?=", "Grüße aus Köln"),
            ("x =?utf-8?B?w7w?= =?utf-8?b?w7w?= y", "x üü y"),
            ("a?b?c?=", "a?b?c?="),
            ("=?x?b?c?d", "=?x?b?c?d"),
            ("=?a?b?", "=?a?b?"),
        ] {
            assert_eq!(decoded(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn bodies_are_decoded_and_hold_no_header() {
        let expected = ["schöner  Tag", "<b>hi</b>", "deep", "Final-Recipient: rfc822; gone@nowhere"];
        assert_eq!(texts_of(MESSAGE.as_bytes(), TextKind::Body), expected);
    }

    #[test]
    fn the_headers_of_all_parts_are_texts() {
        let headers = texts_of(MESSAGE.as_bytes(), TextKind::Header);
        assert!(headers[0].starts_with("Subject: Grüße an älle\nX-A: plain folded\nx-a: second\n"), "{headers:?}");
        assert_eq!(headers.len(), 7);
        let attachment = "Content-Type: application/octet-stream; name*0*=utf-8''Gr%C3%BC; name*1=\"n.pdf\"\nGrün.pdf\n";
        assert_eq!(headers[3..6], [attachment, "Content-Type: message/rfc822\n", "Subject: inner\n"]);
    }

    proptest! {
        #[test]
        fn no_charset_panics(charset in "utf-?(7|8|16|16le|16be)|iso-8859-[1-9]|shift_jis|big5|gb18030|iso-2022-(jp|kr)|euc-kr|hz-gb-2312|koi8-r|x", bytes: Vec<u8>) {
            let mut message = format!("Content-Type: text/plain; charset={charset}; name*={charset}'a'x%ff%1b\r\n\r\n").into_bytes();
            message.extend(&bytes);
            prop_assert_eq!(texts_of(&message, TextKind::Body).len(), 1);
        }

        #[test]
        fn no_encoded_word_panics(text in "(=\\?(utf-8|utf-7|utf-16|iso-2022-jp|x)\\?[bBqQx]\\?[ -~]{0,9}(\\?=)?|[ -~]| |\r\n ){0,8}") {
            decoded(text.as_bytes());
        }

        #[test]
        fn nothing_panics(bytes: Vec<u8>) {
            let summary = summarise(&bytes);
            texts(&summary.structure).for_each(|text| drop(text.read(&bytes)));
            decoded(&bytes);
        }
    }
}
