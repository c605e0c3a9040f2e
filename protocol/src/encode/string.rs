//! Strings, atoms, numbers (RFC 9051 §9: `string`, `nstring`, `astring`, `literal`, `literal8`, `text`).

/// A string of more bytes than this is sent as a literal, however plain it is: clients bound their lines.
const LONGEST_QUOTED: usize = 4096;

/// Writes a number in decimal.
pub(super) fn number(out: &mut Vec<u8>, value: u64) {
    let mut digits = [0; 20];
    let mut rest = value;
    let mut length = 0;
    for place in digits.iter_mut().rev() {
        // A digit is below 10.
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
        length += 1;
        if rest == 0 {
            break;
        }
    }
    out.extend(digits.iter().skip(digits.len() - length));
}

/// Writes items with a blank between each two.
pub(super) fn separated<T>(out: &mut Vec<u8>, items: &[T], mut write: impl FnMut(&mut Vec<u8>, &T)) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        write(out, item);
    }
}

/// Writes a quoted string where that is allowed (RFC 9051 §4.3), else a literal. `utf8` says whether the session takes UTF-8 in
/// quoted strings.
pub(super) fn string(out: &mut Vec<u8>, text: &[u8], utf8: bool) {
    let is_plain = |byte: &u8| matches!(byte, 1..=9 | 11 | 12 | 14..=127);
    let is_plain_utf8 = || text.iter().all(|byte| is_plain(byte) || *byte > 127) && std::str::from_utf8(text).is_ok();
    if text.len() > LONGEST_QUOTED || !(text.iter().all(is_plain) || (utf8 && is_plain_utf8())) {
        return literal(out, text);
    }
    out.push(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

/// Writes a string or NIL.
pub(super) fn nstring(out: &mut Vec<u8>, text: Option<&[u8]>, utf8: bool) {
    match text {
        Some(text) => string(out, text, utf8),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// Writes an atom where the text is one, else a string.
pub(super) fn astring(out: &mut Vec<u8>, text: &[u8], utf8: bool) {
    let is_astring_char = |byte: &u8| byte.is_ascii_graphic() && !b"(){%*\"\\".contains(byte);
    // NIL as an atom is a legal astring, but readers take it for none.
    if !text.is_empty() && text.iter().all(is_astring_char) && !text.eq_ignore_ascii_case(b"NIL") {
        out.extend_from_slice(text);
    } else {
        string(out, text, utf8);
    }
}

/// Writes a literal.
pub(super) fn literal(out: &mut Vec<u8>, bytes: &[u8]) {
    literal_head(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Writes `{length}` and CRLF.
pub(super) fn literal_head(out: &mut Vec<u8>, length: u64) {
    out.push(b'{');
    number(out, length);
    out.extend_from_slice(b"}\r\n");
}

/// Writes a literal8 where the bytes hold NUL, else a literal (RFC 3516 §4.2).
pub(super) fn binary_literal(out: &mut Vec<u8>, bytes: &[u8]) {
    if memchr::memchr(0, bytes).is_some() {
        out.push(b'~');
    }
    literal(out, bytes);
}

/// Writes a text for people: no CR, LF or NUL, and no UTF-8 where the session has not asked for it.
pub(super) fn sanitised(out: &mut Vec<u8>, text: &str, utf8: bool) {
    for character in text.chars() {
        match character {
            '\r' | '\n' | '\0' => out.push(b' '),
            character if character.is_ascii() => out.push(character as u8),
            character if utf8 => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            _ => out.push(b'?'),
        }
    }
}

/// Writes a URL in a response code: what would end the code or the URL is percent-encoded (RFC 3986 §2.1).
pub(super) fn url(out: &mut Vec<u8>, url: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in url.bytes() {
        if byte.is_ascii_graphic() && byte != b']' {
            out.push(byte);
        } else {
            let digit = |value: u8| HEX.get(usize::from(value & 15)).copied().unwrap_or(b'0');
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte)]);
        }
    }
}
