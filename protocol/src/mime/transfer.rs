//! Content transfer encodings (RFC 2045 §6), read leniently: mail in the field is broken, and the user wants to see what is
//! there.

use std::borrow::Cow;
use std::fmt;

/// A content transfer encoding that nobody knows: NO [UNKNOWN-CTE] (RFC 3516 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownEncoding;

impl fmt::Display for UnknownEncoding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the part has an unknown Content-Transfer-Encoding")
    }
}
impl std::error::Error for UnknownEncoding {}

/// A part's octets without their transfer encoding, whose name is compared without case.
///
/// # Errors
/// If the encoding is none of RFC 2045's.
pub fn decode_part<'a>(bytes: &'a [u8], encoding: &str) -> Result<Cow<'a, [u8]>, UnknownEncoding> {
    let is = |name| encoding.trim().eq_ignore_ascii_case(name);
    if ["", "7bit", "8bit", "binary"].into_iter().any(is) {
        Ok(Cow::Borrowed(bytes))
    } else if is("base64") {
        Ok(Cow::Owned(base64(bytes)))
    } else if is("quoted-printable") {
        Ok(Cow::Owned(quoted_printable(bytes)))
    } else {
        Err(UnknownEncoding)
    }
}

/// Octets outside the alphabet are skipped (RFC 2045 §6.8); padding ends a run, what follows is decoded on.
fn base64(bytes: &[u8]) -> Vec<u8> {
    if let Some(decoded) = mail_parser::decoders::base64::base64_decode(bytes) {
        return decoded;
    }
    let is_known = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    let kept: Vec<u8> = bytes.iter().filter(is_known).copied().collect();
    mail_parser::decoders::base64::base64_decode(&kept).unwrap_or_default()
}

/// Blanks at the end of a line are taken off, soft line breaks joined; what is no escape stays as it is (RFC 2045 §6.7).
fn quoted_printable(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |place| place + 1);
        let (line, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
        rest = after;
        let text = line.strip_suffix(b"\n").map_or(line, |line| line.strip_suffix(b"\r").unwrap_or(line));
        let line_end = line.get(text.len()..).unwrap_or_default();
        let text = text.trim_ascii_end();
        match text.strip_suffix(b"=") {
            Some(text) => unescape(text, &mut decoded),
            None => {
                unescape(text, &mut decoded);
                decoded.extend_from_slice(line_end);
            }
        }
    }
    decoded
}

fn unescape(text: &[u8], decoded: &mut Vec<u8>) {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut rest = text;
    while let Some(place) = memchr::memchr(b'=', rest) {
        let (plain, escape) = rest.split_at_checked(place).unwrap_or_default();
        decoded.extend_from_slice(plain);
        let escaped = match escape {
            [_, high, low, after @ ..] => digit(*high).zip(digit(*low)).map(|(high, low)| (high << 4 | low, after)),
            _ => None,
        };
        match escaped {
            Some((byte, after)) => {
                decoded.push(byte);
                rest = after;
            }
            None => {
                decoded.push(b'=');
                rest = escape.get(1..).unwrap_or_default();
            }
        }
    }
    decoded.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use proptest::prelude::*;

    use super::*;

    fn of(bytes: &[u8], encoding: &str) -> Vec<u8> {
        decode_part(bytes, encoding).unwrap().into_owned()
    }

    #[test]
    fn encodings() {
        assert_eq!(of(b"a=41\0", "8BIT"), b"a=41\0");
        assert_eq!(of(b"aGVsbG8=", "Base64"), b"hello");
        assert_eq!(of(b"aGV\r\nsb!G8=\r\n", "base64"), b"hello");
        assert_eq!(of(b"aGk=aGk=", "base64"), b"hihi");
        assert_eq!(of(b"aGk", "base64"), b"hi");
        assert_eq!(of(b"a=41=c3=\r\nb  \r\nc=zz=\t", "quoted-printable"), b"aA\xc3b\r\nc=zz");
        assert_eq!(of(b"=\n=4", "quoted-printable"), b"=4");
        assert_eq!(decode_part(b"", "x-uuencode"), Err(UnknownEncoding));
    }

    proptest! {
        #[test]
        fn base64_is_undone(bytes: Vec<u8>) {
            let encoded = base64::engine::general_purpose::STANDARD.encode(&bytes);
            prop_assert_eq!(of(encoded.as_bytes(), "BASE64"), bytes);
        }

        #[test]
        fn nothing_panics_nor_grows(bytes: Vec<u8>) {
            prop_assert!(of(&bytes, "base64").len() <= bytes.len());
            prop_assert!(of(&bytes, "quoted-printable").len() <= bytes.len());
        }
    }
}
