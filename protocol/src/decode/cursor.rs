//! Reading strings, numbers and lists (RFC 9051 §9).

use super::DecodeError;
use crate::mailbox_name::NameFormat;

/// What a reader gives.
pub(super) type Parsed<T> = Result<T, DecodeError>;

/// A place in one response.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    format: NameFormat,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(bytes: &'a [u8], format: NameFormat) -> Self {
        Self { bytes, at: 0, format }
    }

    pub(super) const fn at(&self) -> usize {
        self.at
    }

    pub(super) const fn format(&self) -> NameFormat {
        self.format
    }

    pub(super) const fn rewind(&mut self, at: usize) {
        self.at = at;
    }

    pub(super) const fn error(&self, expected: &'static str) -> DecodeError {
        DecodeError { at: self.at, expected }
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest().is_empty()
    }

    pub(super) fn is_at(&self, byte: u8) -> bool {
        self.rest().first() == Some(&byte)
    }

    pub(super) fn is_behind(&self, byte: u8) -> bool {
        self.at.checked_sub(1).and_then(|before| self.bytes.get(before)) == Some(&byte)
    }

    /// Takes the byte if it is next.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let is_next = self.is_at(byte);
        self.at += usize::from(is_next);
        is_next
    }

    pub(super) fn expect(&mut self, byte: u8, expected: &'static str) -> Parsed<()> {
        if self.take(byte) { Ok(()) } else { Err(self.error(expected)) }
    }

    /// One blank, or, as some servers write, several.
    pub(super) fn blank(&mut self) -> Parsed<()> {
        self.expect(b' ', "a blank")?;
        while self.take(b' ') {}
        Ok(())
    }

    /// Nothing more, but blanks.
    pub(super) fn end(&mut self) -> Parsed<()> {
        while self.take(b' ') {}
        if self.is_at_end() { Ok(()) } else { Err(self.error("the end of the response")) }
    }

    /// Takes what comes before the first byte that `ends`.
    pub(super) fn until(&mut self, ends: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let length = rest.iter().position(|byte| ends(*byte)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    /// Letters, digits and signs up to what structures a response; may be empty.
    pub(super) fn word(&mut self) -> &'a [u8] {
        self.until(|byte| byte <= b' ' || byte == 127 || b"()[]{\"".contains(&byte))
    }

    /// A flag or attribute: an atom with or without backslash before it.
    pub(super) fn flag(&mut self) -> Parsed<&'a [u8]> {
        let flag = self.until(|byte| byte <= b' ' || byte == 127 || b"(){\"]".contains(&byte));
        if flag.is_empty() { Err(self.error("a flag")) } else { Ok(flag) }
    }

    /// All that is left, as text.
    pub(super) fn text(&mut self) -> String {
        let text = String::from_utf8_lossy(self.rest()).into_owned();
        self.at = self.bytes.len();
        text
    }

    /// A number in decimal.
    pub(super) fn number<T: std::str::FromStr>(&mut self) -> Parsed<T> {
        let digits = self.until(|byte| !byte.is_ascii_digit());
        std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).ok_or(self.error("a number"))
    }

    /// Takes NIL if it is next.
    pub(super) fn nil(&mut self) -> bool {
        let is_nil = self.rest().get(..3).is_some_and(|word| word.eq_ignore_ascii_case(b"NIL"))
            && self.rest().get(3).is_none_or(|next| matches!(next, b' ' | b')'));
        self.at += if is_nil { 3 } else { 0 };
        is_nil
    }

    /// A quoted string, a literal or a literal8.
    pub(super) fn string(&mut self) -> Parsed<Vec<u8>> {
        if self.take(b'"') {
            return self.quoted();
        }
        self.take(b'~');
        self.expect(b'{', "a string")?;
        let length: usize = self.number()?;
        self.take(b'+');
        self.expect(b'}', "the end of a literal's length")?;
        self.take(b'\r');
        self.expect(b'\n', "a line end before a literal")?;
        let literal = self.rest().get(..length).ok_or(self.error("a whole literal"))?;
        self.at += length;
        Ok(literal.to_vec())
    }

    fn quoted(&mut self) -> Parsed<Vec<u8>> {
        let mut text = Vec::new();
        loop {
            text.extend_from_slice(self.until(|byte| matches!(byte, b'"' | b'\\')));
            if self.take(b'"') {
                return Ok(text);
            }
            self.at += 1;
            let Some(escaped) = self.rest().first() else { return Err(self.error("the end of a quoted string")) };
            text.push(*escaped);
            self.at += 1;
        }
    }

    /// A string or NIL.
    pub(super) fn nstring(&mut self) -> Parsed<Option<Vec<u8>>> {
        if self.nil() { Ok(None) } else { self.string().map(Some) }
    }

    /// An atom or a string.
    pub(super) fn astring(&mut self) -> Parsed<Vec<u8>> {
        if self.is_at(b'"') || self.is_at(b'{') || self.is_at(b'~') && self.rest().get(1) == Some(&b'{') {
            return self.string();
        }
        // Other servers leave % and * unquoted in the names of LIST.
        let atom = self.until(|byte| byte <= b' ' || byte == 127 || b"(){\"\\".contains(&byte));
        if atom.is_empty() { Err(self.error("a string")) } else { Ok(atom.to_vec()) }
    }

    /// `( item item ... )`, perhaps without blanks between, perhaps empty.
    pub(super) fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        self.expect(b'(', "a list")?;
        let mut found = Vec::new();
        loop {
            while self.take(b' ') {}
            if self.take(b')') {
                return Ok(found);
            }
            found.push(item(self)?);
        }
    }

    /// Skips what later standards add at a list's end, to its `)`. Nesting costs a counter, not a stack.
    pub(super) fn skip_rest_of_list(&mut self) -> Parsed<()> {
        let mut depth = 1usize;
        while depth > 0 {
            if self.take(b'(') {
                depth += 1;
            } else if self.take(b')') {
                depth -= 1;
            } else if self.is_at(b'"') || self.is_at(b'{') {
                self.string()?;
            } else if self.is_at_end() {
                return Err(self.error("the end of a list"));
            } else {
                self.at += 1;
            }
        }
        Ok(())
    }
}
