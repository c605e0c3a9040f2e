//! Header fields as bytes (RFC 5322 §2.2): where they are, unfolded, and filtered for HEADER.FIELDS. Nothing is decoded here.

use std::ops::Range;

use super::glance::is_common;

/// A field of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name without the colon; empty where a line is no field, as mbox's `From ` line.
    pub name: &'a [u8],
    /// What follows the colon, folded as it is, line end included.
    pub value: &'a [u8],
    /// All of it, from the name's first octet to the last line's end.
    pub raw: &'a [u8],
}

impl Field<'_> {
    /// Whether the field has this name, compared without case.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The value unfolded, without white space round it, NUL replaced: as ENVELOPE gives it.
    pub fn unfolded(&self) -> Vec<u8> {
        unfold(self.value)
    }
}

/// Where the line that starts at `start` ends, its line feed included.
pub(super) fn line_end(bytes: &[u8], start: usize) -> usize {
    let rest = bytes.get(start..).unwrap_or_default();
    memchr::memchr(b'\n', rest).map_or(bytes.len(), |place| start + place + 1)
}

/// The length of the header at the beginning of `bytes`, its blank line included. A header without blank line is everything.
pub fn header_length(bytes: &[u8]) -> usize {
    let mut start = 0;
    while start < bytes.len() {
        let end = line_end(bytes, start);
        if is_blank_line(bytes.get(start..end).unwrap_or_default()) {
            return end;
        }
        start = end;
    }
    bytes.len()
}

fn is_blank_line(line: &[u8]) -> bool {
    matches!(line, b"\n" | b"\r\n")
}

/// The fields of a header, in order; the blank line is none.
pub fn fields(header: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let first_end = line_end(header, start);
        let first = header.get(start..first_end).unwrap_or_default();
        if first.is_empty() || is_blank_line(first) {
            return None;
        }
        let mut end = first_end;
        while matches!(header.get(end), Some(b' ' | b'\t')) {
            end = line_end(header, end);
        }
        let raw = header.get(start..end).unwrap_or_default();
        start = end;
        Some(field(raw, first.len()))
    })
}

/// Splits a field; its first line has `first_length` octets.
fn field(raw: &[u8], first_length: usize) -> Field<'_> {
    let first = raw.get(..first_length).unwrap_or(raw);
    let split = memchr::memchr(b':', first).and_then(|colon| Some((first.get(..colon)?.trim_ascii_end(), raw.get(colon + 1..)?)));
    match split {
        Some((name, value)) if !name.is_empty() && name.iter().all(|byte| *byte > b' ' && *byte != 127) => {
            Field { name, value, raw }
        }
        _ => Field { name: b"", value: b"", raw },
    }
}

/// Takes the line ends out (RFC 5322 §2.2.3) and the white space round the text away; NUL, which no IMAP string may hold,
/// becomes `?`.
pub fn unfold(value: &[u8]) -> Vec<u8> {
    let kept = value.trim_ascii().iter().filter(|byte| !matches!(byte, b'\r' | b'\n'));
    kept.map(|byte| if *byte == 0 { b'?' } else { *byte }).collect()
}

/// The range of the blank line at the end of a header; empty where there is none.
fn blank_line(header: &[u8]) -> Range<usize> {
    let length = header.len();
    let start = if header.ends_with(b"\n\r\n") || header == b"\r\n" {
        length.saturating_sub(2)
    } else if header.ends_with(b"\n\n") || header == b"\n" {
        length.saturating_sub(1)
    } else {
        length
    };
    start..length
}

/// HEADER.FIELDS, or HEADER.FIELDS.NOT (RFC 9051 §6.4.5.1), made ready for many headers. Names are compared without case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldFilter {
    /// In small letters, ascending, none twice.
    names: Vec<Vec<u8>>,
    pub(super) except: bool,
    /// Those of them that no excerpt holds.
    pub(super) uncommon: Vec<Vec<u8>>,
}

impl FieldFilter {
    /// Keeps the fields with these names, or all others where `except`.
    pub fn new(names: &[String], except: bool) -> Self {
        let mut names: Vec<Vec<u8>> = names.iter().map(|name| name.to_ascii_lowercase().into_bytes()).collect();
        names.sort_unstable();
        names.dedup();
        let uncommon = names.iter().filter(|name| !is_common(name)).cloned().collect();
        Self { names, except, uncommon }
    }

    /// Whether a field with this name is one of those named.
    pub fn names(&self, name: &[u8]) -> bool {
        let small = || name.iter().map(u8::to_ascii_lowercase);
        self.names.binary_search_by(|other| other.iter().copied().cmp(small())).is_ok()
    }

    /// The fields as they stand, then the blank line where the header has one.
    pub fn apply(&self, header: &[u8]) -> Vec<u8> {
        let mut found = Vec::new();
        for field in fields(header).filter(|field| self.names(field.name) != self.except) {
            found.extend_from_slice(field.raw);
        }
        found.extend_from_slice(header.get(blank_line(header)).unwrap_or_default());
        found
    }
}

/// A [`FieldFilter`] for one header.
pub fn filter_fields(header: &[u8], names: &[String], except: bool) -> Vec<u8> {
    FieldFilter::new(names, except).apply(header)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADER: &[u8] = b"From: a@b\r\nSubject: one\r\n two\r\nfrom : c\r\nbad line\r\nX-A:\r\n\r\n";

    #[test]
    fn fields_are_found() {
        let found: Vec<_> = fields(HEADER).map(|field| (field.name.to_vec(), field.unfolded())).collect();
        let expected: Vec<(&[u8], &[u8])> =
            vec![(b"From", b"a@b"), (b"Subject", b"one two"), (b"from", b"c"), (b"", b""), (b"X-A", b"")];
        assert_eq!(found, expected.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect::<Vec<_>>());
        assert_eq!(header_length(b"A: b\n\nbody"), 6);
        assert_eq!(header_length(b"A: b\r\n\r\nbody"), 8);
        assert_eq!(header_length(b"\r\nbody"), 2);
        assert_eq!(header_length(b"no header"), 9);
        assert_eq!(header_length(b""), 0);
    }

    #[test]
    fn fields_are_filtered() {
        let names = ["FROM".to_owned(), "subject".to_owned()];
        assert_eq!(filter_fields(HEADER, &names, false), b"From: a@b\r\nSubject: one\r\n two\r\nfrom : c\r\n\r\n");
        assert_eq!(filter_fields(HEADER, &names, true), b"bad line\r\nX-A:\r\n\r\n");
        assert_eq!(filter_fields(HEADER, &["none".to_owned()], false), b"\r\n");
        assert_eq!(filter_fields(b"A: b", &["none".to_owned()], false), b"");
        assert_eq!(filter_fields(b"A: b\n\n", &["none".to_owned()], false), b"\n");
    }

    proptest! {
        #[test]
        fn both_filters_together_are_the_header(header in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b':'), Just(b' '), b'a'..b'd'], 0..200)) {
            let header = header.get(..header_length(&header)).unwrap();
            let names = ["a".to_owned(), "b".to_owned()];
            let blank = blank_line(header).len();
            let (with, without) = (filter_fields(header, &names, false), filter_fields(header, &names, true));
            prop_assert_eq!(with.len() + without.len() - blank, header.len());
            let all: usize = fields(header).map(|field| field.raw.len()).sum();
            prop_assert_eq!(all + blank, header.len());
        }
    }
}
