//! The announcement of a literal at the end of a line (RFC 3501 §9 `literal`, RFC 7888 §8 `literal+`, RFC 3516 §4.4 `literal8`).

/// `{length}`, `{length+}`, with `~` in front for a literal8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Where it begins in its line.
    pub(super) start: usize,
    /// In bytes; `None` for a number that is beyond all bounds.
    pub(super) length: Option<u64>,
    /// The client waits for `+`.
    pub(super) synchronising: bool,
    /// A literal8.
    pub(super) binary: bool,
}

/// So much of the end of a line shows every announcement that has a length.
pub(super) const TAIL_BYTES: usize = 64;
/// 2^64 has so many digits.
const MOST_DIGITS: usize = 20;

/// Reads the announcement at the end of a line, or of the last [`TAIL_BYTES`] of one.
pub(super) fn literal_header(line: &[u8]) -> Option<Header> {
    let inside = line.strip_suffix(b"}")?;
    let (inside, synchronising) = inside.strip_suffix(b"+").map_or((inside, true), |inside| (inside, false));
    let digits_start = inside.iter().rposition(|byte| !byte.is_ascii_digit()).map_or(0, |place| place + 1);
    let digits = inside.get(digits_start..)?;
    if digits.is_empty() {
        return None;
    }
    if digits.len() > MOST_DIGITS {
        // Whatever stands in front: nobody counts that far, so nobody can say where the literal would end.
        return Some(Header { start: digits_start.saturating_sub(1), length: None, synchronising, binary: false });
    }
    let brace = digits_start.checked_sub(1).filter(|place| inside.get(*place) == Some(&b'{'))?;
    let binary = brace.checked_sub(1).is_some_and(|place| inside.get(place) == Some(&b'~'));
    let length = std::str::from_utf8(digits).ok()?.parse().ok();
    Some(Header { start: if binary { brace - 1 } else { brace }, length, synchronising, binary })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(start: usize, length: Option<u64>, synchronising: bool, binary: bool) -> Option<Header> {
        Some(Header { start, length, synchronising, binary })
    }

    #[test]
    fn headers() {
        assert_eq!(literal_header(b"a {10}"), header(2, Some(10), true, false));
        assert_eq!(literal_header(b"a ~{0+}"), header(2, Some(0), false, true));
        assert_eq!(literal_header(b"{007}"), header(0, Some(7), true, false));
        assert_eq!(literal_header(b"{18446744073709551615+}"), header(0, Some(u64::MAX), false, false));
        assert_eq!(literal_header(b"{18446744073709551616+}"), header(0, None, false, false));
        assert_eq!(literal_header(format!("a {{{}+}}", "0".repeat(100)).as_bytes()), header(2, None, false, false));
        for none in [&b""[..], b"{}", b"{+}", b"10}", b"{1-}", b"{ 1}", b"{1} ", b"{-1}", b"{1++}", b"{0x1}", b"x1}"] {
            assert_eq!(literal_header(none), None, "{}", String::from_utf8_lossy(none));
        }
    }
}
