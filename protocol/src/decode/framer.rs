//! From a stream of octets to whole responses: a line, and the literals that it announces with the lines behind them.

/// A response that is longer than the framer accepts. The stream can't be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl std::fmt::Display for TooLong {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the response is longer than this client accepts")
    }
}
impl std::error::Error for TooLong {}

/// Collects what comes in and gives it back response by response. Octets are looked at once, however they are split.
#[derive(Debug)]
pub struct ResponseFramer {
    buffer: Vec<u8>,
    /// Where the response under way begins; what is before it was given back.
    start: usize,
    /// Where the line begins that is under way; what is before it, from `start`, belongs to the same response.
    line_start: usize,
    /// Up to where no line end was found.
    scanned: usize,
    limit: usize,
}

impl ResponseFramer {
    /// A framer of responses of at most `limit` octets.
    pub const fn new(limit: usize) -> Self {
        Self { buffer: Vec::new(), start: 0, line_start: 0, scanned: 0, limit }
    }

    /// Takes what came in.
    pub fn push(&mut self, bytes: &[u8]) {
        // Half of the buffer at least goes at a time, so that an octet is moved twice at most on average.
        if self.start > self.buffer.len() / 2 {
            self.buffer.drain(..self.start);
            self.line_start -= self.start;
            self.scanned -= self.start;
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole response, its CRLF included; `None` until more comes in.
    ///
    /// # Errors
    /// If the response under way is longer than the limit.
    pub fn next_response(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        loop {
            let rest = self.buffer.get(self.scanned..).unwrap_or_default();
            let Some(place) = memchr::memchr(b'\n', rest) else {
                self.scanned = self.scanned.max(self.buffer.len());
                return if self.is_too_long(self.scanned) { Err(TooLong) } else { Ok(None) };
            };
            let end = self.scanned + place + 1;
            let line = self.buffer.get(self.line_start..end).unwrap_or_default();
            let literal = if self.has_literals() { literal_length(line) } else { None };
            match literal {
                Some(length) => {
                    self.line_start = end.saturating_add(length);
                    self.scanned = self.line_start;
                    if self.is_too_long(self.line_start) {
                        return Err(TooLong);
                    }
                }
                None if self.is_too_long(end) => return Err(TooLong),
                None => return Ok(Some(self.split(end))),
            }
        }
    }

    /// What is left when the stream has ended: no whole response.
    pub fn rest(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    fn is_too_long(&self, end: usize) -> bool {
        end.saturating_sub(self.start) > self.limit
    }

    fn split(&mut self, end: usize) -> Vec<u8> {
        let response = self.buffer.get(self.start..end).unwrap_or_default().to_vec();
        (self.start, self.line_start, self.scanned) = (end, end, end);
        response
    }

    /// Texts for people may end with what looks like a literal: status lines and continuations have none.
    fn has_literals(&self) -> bool {
        let start = self.rest();
        let start = start.get(..300).unwrap_or(start);
        let mut words = start.split(|byte| matches!(byte, b' ' | b'\r' | b'\n'));
        let first = words.next().unwrap_or_default();
        let second = words.next().unwrap_or_default().to_ascii_uppercase();
        first != b"+" && !matches!(second.as_slice(), b"OK" | b"NO" | b"BAD" | b"BYE" | b"PREAUTH")
    }
}

/// The length of the literal that the line announces at its end.
fn literal_length(line: &[u8]) -> Option<usize> {
    let line = line.strip_suffix(b"\n")?;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = line.strip_suffix(b"}")?;
    let line = line.strip_suffix(b"+").unwrap_or(line);
    let digits = line.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (before, digits) = line.split_at_checked(line.len() - digits)?;
    if before.last() != Some(&b'{') {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn responses(stream: &[u8], piece: usize) -> Vec<Vec<u8>> {
        let mut framer = ResponseFramer::new(1000);
        let mut found = Vec::new();
        for bytes in stream.chunks(piece) {
            framer.push(bytes);
            while let Some(response) = framer.next_response().unwrap() {
                found.push(response);
            }
        }
        assert!(framer.rest().is_empty());
        found
    }

    #[test]
    fn literals_belong_to_their_response() {
        let expected: [&[u8]; 6] = [
            b"* OK {3}\r\n",
            b"* 1 FETCH (BODY[] {5}\r\na\r\nb\n BINARY[1] ~{2}\r\n\n\n UID {0}\r\n)\r\n",
            b"+ {9}\r\n",
            b"a1 NO x {10}\r\n",
            b"* LIST () NIL {3+}\nabc\n",
            b"* X {y}\r\n",
        ];
        for piece in [1, 2, 3, 7, 1000] {
            assert_eq!(responses(&expected.concat(), piece), expected);
        }
    }

    #[test]
    fn many_responses_at_once_cost_little() {
        let started = std::time::Instant::now();
        assert_eq!(responses(&b"* 1 EXISTS\r\n".repeat(200_000), 10_000_000).len(), 200_000);
        assert!(started.elapsed().as_secs() < 10);
    }

    #[test]
    fn what_is_too_long_is_refused() {
        for stream in [
            "x".repeat(1001),
            format!("* {}\r\n", "x".repeat(1000)),
            "* X {1000}\r\n".into(),
            "* X {18446744073709551615}\r\n".into(),
        ] {
            let mut framer = ResponseFramer::new(1000);
            framer.push(stream.as_bytes());
            assert_eq!(framer.next_response(), Err(TooLong), "{stream}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost(stream: Vec<u8>, piece in 1usize..20) {
            let mut framer = ResponseFramer::new(1_000_000);
            let mut found = Vec::new();
            for bytes in stream.chunks(piece) {
                framer.push(bytes);
                while let Ok(Some(response)) = framer.next_response() {
                    found.extend(response);
                }
            }
            found.extend_from_slice(framer.rest());
            prop_assert_eq!(found, stream);
        }
    }
}
