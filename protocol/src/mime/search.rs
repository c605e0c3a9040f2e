//! A message as text for SEARCH: header and bodies decoded, and the text that is looked for (RFC 9051 §6.4.4).

use std::borrow::Cow;

use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::parsers::MessageStream;
use unicode_normalization::{UnicodeNormalization, is_nfc};

use super::header::{fields, header_length};
use super::parameter::parameter;
use super::transfer::decode_part;
use super::{BodyPart, PartContent};

/// The text of all fields of this name (without case), decoded (RFC 2047) and unfolded.
pub fn header_text<'a>(message: &'a [u8], name: &'a str) -> impl Iterator<Item = String> + 'a {
    let header = message.get(..header_length(message)).unwrap_or(message);
    fields(header).filter(move |field| field.is(name)).map(|field| decoded(field.value))
}

/// The texts of BODY: every text part decoded from its transfer encoding and charset, HTML as it stands, and the headers of
/// messages inside.
pub fn body_text<'a>(message: &'a [u8], structure: &'a BodyPart) -> impl Iterator<Item = Cow<'a, str>> + 'a {
    // Nesting is bounded, but the iterator is easier to keep flat.
    let mut pending = vec![Piece::Part(structure)];
    std::iter::from_fn(move || {
        loop {
            match pending.pop()? {
                Piece::Header(part) => return Some(Cow::Owned(whole_header(range(message, part.header_start, part.body_start)))),
                Piece::Part(part) => match &part.content {
                    PartContent::Multipart(parts) => pending.extend(parts.iter().rev().map(Piece::Part)),
                    PartContent::Message(_, inner) => pending.extend([Piece::Part(inner), Piece::Header(inner)]),
                    PartContent::Single if part.is_text() => {
                        return Some(part_text(range(message, part.body_start, part.body_end), part));
                    }
                    PartContent::Single => {}
                },
            }
        }
    })
}

/// The texts of TEXT: the header, decoded, field by field on lines of its own, then those of [`body_text`].
pub fn message_text<'a>(message: &'a [u8], structure: &'a BodyPart) -> impl Iterator<Item = Cow<'a, str>> + 'a {
    let header = range(message, structure.header_start, structure.body_start);
    std::iter::once_with(move || Cow::Owned(whole_header(header))).chain(body_text(message, structure))
}

enum Piece<'a> {
    Header(&'a BodyPart),
    Part(&'a BodyPart),
}

fn range(message: &[u8], start: u64, end: u64) -> &[u8] {
    let place = |offset| usize::try_from(offset).unwrap_or(usize::MAX);
    message.get(place(start)..place(end)).unwrap_or_default()
}

fn whole_header(header: &[u8]) -> String {
    let mut text = String::with_capacity(header.len());
    for field in fields(header) {
        if field.name.is_empty() {
            text.push_str(&String::from_utf8_lossy(field.raw.trim_ascii()));
        } else {
            text.push_str(&String::from_utf8_lossy(field.name));
            text.push_str(": ");
            text.push_str(&decoded(field.value));
        }
        text.push('\n');
    }
    text
}

/// A header text with its encoded words decoded (RFC 2047), unfolded. What can't be decoded stays as it is.
pub(super) fn decoded(value: &[u8]) -> String {
    let value = value.trim_ascii();
    if memchr::memmem::find(value, b"=?").is_none() {
        let text = value.iter().filter(|byte| !matches!(byte, b'\r' | b'\n')).copied().collect();
        return String::from_utf8(text).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    }
    // The parser ends at a line end that no blank follows.
    let mut text = Vec::with_capacity(value.len() + 1);
    text.extend(value.iter().filter(|byte| !matches!(byte, b'\r' | b'\n')));
    text.push(b'\n');
    match MessageStream::new(&text).parse_unstructured() {
        mail_parser::HeaderValue::Text(decoded) => decoded.trim().to_owned(),
        _ => String::from_utf8_lossy(&text).trim().to_owned(),
    }
}

/// A text part's text. An unknown transfer encoding or charset is searched as it stands.
fn part_text<'a>(bytes: &'a [u8], part: &BodyPart) -> Cow<'a, str> {
    let bytes = decode_part(bytes, &part.encoding).unwrap_or(Cow::Borrowed(bytes));
    let charset = parameter(&part.parameters, "charset").unwrap_or_default();
    let is_utf8 =
        charset.is_empty() || [b"us-ascii".as_slice(), b"utf-8", b"utf8"].iter().any(|name| charset.eq_ignore_ascii_case(name));
    if is_utf8 && std::str::from_utf8(&bytes).is_ok() {
        return match bytes {
            Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        };
    }
    match charset_decoder(&charset) {
        Some(decode) => Cow::Owned(decode(&bytes)),
        None => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// The text without differences of case and of composed characters: what two texts that are "the same" have in common.
/// To capitals, then to small letters, so that ß and SS, ς and σ meet; then NFC.
pub fn folded(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(text.to_ascii_lowercase())
        } else {
            Cow::Borrowed(text)
        };
    }
    let small: String = text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect();
    Cow::Owned(if is_nfc(&small) { small } else { small.nfc().collect() })
}

/// A text to look for, folded once.
#[derive(Clone, Debug)]
pub struct Needle {
    finder: memchr::memmem::Finder<'static>,
    is_ascii: bool,
}

impl Needle {
    /// The needle for a text.
    pub fn new(text: &str) -> Self {
        let text = folded(text);
        Self { finder: memchr::memmem::Finder::new(text.as_bytes()).into_owned(), is_ascii: text.is_ascii() }
    }

    /// Whether the text occurs in `text`, whatever the case. The empty needle is in every text.
    pub fn is_in(&self, text: &str) -> bool {
        let length = self.finder.needle().len();
        if length > text.len().saturating_mul(3) {
            // Folding makes a text at most three times as long.
            return false;
        }
        if !text.is_ascii() {
            return self.finder.find(folded(text).as_bytes()).is_some();
        }
        self.is_ascii && self.is_in_ascii(text.as_bytes())
    }

    /// Window by window, so that a large body costs no copy of itself.
    fn is_in_ascii(&self, text: &[u8]) -> bool {
        const WINDOW: usize = 32 * 1024;
        let overlap = self.finder.needle().len().saturating_sub(1);
        let mut small = Vec::with_capacity(text.len().min(WINDOW + overlap));
        let mut start = 0;
        loop {
            let end = text.len().min(start + WINDOW + overlap);
            small.clear();
            small.extend_from_slice(text.get(start..end).unwrap_or_default());
            small.make_ascii_lowercase();
            if self.finder.find(&small).is_some() {
                return true;
            }
            if end == text.len() {
                return false;
            }
            start += WINDOW;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mime::summarise;

    const MESSAGE: &str = "Subject: =?iso-8859-1?Q?Gr=FC=DFe?= an\r\n\t=?utf-8?b?w6Rs?= =?utf-8?q?le?=\r\nX-A: plain\r\n  folded\r\n\
        x-a: second\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n--b\r\n\
        Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
        sch=F6n=\r\ner Tag\r\n--b\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\nPGI+aGk8L2I+\r\n\
        --b\r\nContent-Type: application/octet-stream\r\n\r\nsecret\r\n\
        --b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ndeep\r\n--b--\r\n";

    #[test]
    fn headers_are_decoded() {
        let text = |name| header_text(MESSAGE.as_bytes(), name).collect::<Vec<_>>();
        assert_eq!(text("subject"), ["Grüße an älle"]);
        assert_eq!(text("X-A"), ["plain  folded", "second"]);
        assert_eq!(text("To"), Vec::<String>::new());
        assert_eq!(decoded(b"=?utf-8?q?broken"), "=?utf-8?q?broken");
        assert_eq!(decoded(b"caf\xc3\xa9 \xff"), "café \u{fffd}");
    }

    #[test]
    fn bodies_are_decoded() {
        let summary = summarise(MESSAGE.as_bytes());
        let texts: Vec<_> = body_text(MESSAGE.as_bytes(), &summary.structure).collect();
        assert_eq!(texts, ["schöner Tag", "<b>hi</b>", "Subject: inner\n", "deep"]);
        let all: Vec<_> = message_text(MESSAGE.as_bytes(), &summary.structure).collect();
        assert!(all[0].starts_with("Subject: Grüße an älle\nX-A: plain  folded\n") && all.len() == 5);
    }

    #[test]
    fn needles() {
        for (needle, text) in [
            ("", ""),
            ("HELLO", "say hello"),
            ("GRÜSSE", "viele Grüße"),
            ("k", "\u{212a}elvin"),
            ("σας", "ΣΑΣ"),
            ("e\u{301}", "É"),
        ] {
            assert!(Needle::new(needle).is_in(text), "{needle} in {text}");
        }
        for (needle, text) in [("a", ""), ("hello", "hell o"), ("ü", "u"), ("long needle", "short")] {
            assert!(!Needle::new(needle).is_in(text), "{needle} in {text}");
        }
        let long = format!("{}NeedLe", "x".repeat(32 * 1024 - 3));
        assert!(Needle::new("needle").is_in(&long));
    }

    proptest! {
        #[test]
        fn a_needle_is_found_wherever_it_stands(before in "[a-zA-Z]{0,40}", needle in "[a-zA-Zäöü]{0,8}", after in "\\PC{0,20}") {
            let text = format!("{before}{}{after}", needle.to_uppercase());
            prop_assert!(Needle::new(&needle).is_in(&text));
        }

        #[test]
        fn no_charset_panics(charset in "utf-?(7|8|16|16le|16be)|iso-8859-[1-9]|shift_jis|big5|gb18030|iso-2022-(jp|kr)|euc-kr|hz-gb-2312|koi8-r|x", bytes: Vec<u8>) {
            let mut message = format!("Content-Type: text/plain; charset={charset}\r\n\r\n").into_bytes();
            message.extend(&bytes);
            let summary = summarise(&message);
            prop_assert_eq!(body_text(&message, &summary.structure).count(), 1);
        }

        #[test]
        fn no_encoded_word_panics(text in "(=\\?(utf-8|utf-7|utf-16|iso-2022-jp|x)\\?[bBqQx]\\?[ -~]{0,9}(\\?=)?|[ -~]| |\r\n ){0,8}") {
            decoded(text.as_bytes());
        }

        #[test]
        fn nothing_panics(bytes: Vec<u8>) {
            let summary = summarise(&bytes);
            message_text(&bytes, &summary.structure).for_each(drop);
            decoded(&bytes);
        }
    }
}
