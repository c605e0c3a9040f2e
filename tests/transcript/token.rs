//! One response, split into tokens as tolerantly as possible: whatever a server sends must be comparable.

/// A piece of a response, or of the pattern for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// A run of bytes without blanks; `BODY[HEADER.FIELDS (X)]<0>` is one.
    Atom(Vec<u8>),
    /// A quoted string, unescaped.
    Quoted(Vec<u8>),
    /// A literal.
    Literal(Vec<u8>),
    /// A parenthesised list.
    List(Vec<Token>),
    /// A response code: what stands in brackets behind OK, NO, BAD, BYE and PREAUTH.
    Code(Vec<Token>),
    /// The text for people, to the end of the line.
    Text(Vec<u8>),
}

impl Token {
    /// The bytes of an atom, in upper case; empty for anything else.
    pub fn keyword(&self) -> String {
        match self {
            Self::Atom(bytes) => String::from_utf8_lossy(bytes).to_ascii_uppercase(),
            _ => String::new(),
        }
    }
}

/// Splits one response (without its last CRLF, literals inside) into tokens.
pub fn tokens(line: &[u8]) -> Result<Vec<Token>, String> {
    let mut reader = Reader { bytes: line, at: 0 };
    let first = reader.word();
    let mut found = vec![Token::Atom(first.to_vec())];
    if first == b"+" {
        found.push(Token::Text(reader.rest()));
        return Ok(found);
    }
    reader.skip_blank();
    let before = reader.at;
    let second = reader.word().to_ascii_uppercase();
    if [&b"OK"[..], b"NO", b"BAD", b"BYE", b"PREAUTH"].contains(&second.as_slice()) {
        found.push(Token::Atom(second));
        reader.skip_blank();
        if reader.peek() == Some(b'[') {
            reader.at += 1;
            found.push(Token::Code(reader.sequence(Some(b']'), 0)?));
            reader.skip_blank();
        }
        found.push(Token::Text(reader.rest()));
        return Ok(found);
    }
    reader.at = before;
    found.extend(reader.sequence(None, 0)?);
    Ok(found)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn rest(&mut self) -> Vec<u8> {
        let rest = self.bytes[self.at..].to_vec();
        self.at = self.bytes.len();
        rest.strip_prefix(b" ").map(<[u8]>::to_vec).unwrap_or(rest)
    }

    fn skip_blank(&mut self) {
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
    }

    fn word(&mut self) -> &[u8] {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte != b' ') {
            self.at += 1;
        }
        &self.bytes[start..self.at]
    }

    fn sequence(&mut self, end: Option<u8>, depth: usize) -> Result<Vec<Token>, String> {
        if depth > 200 {
            return Err("more than 200 nested lists".to_owned());
        }
        let mut found = Vec::new();
        loop {
            self.skip_blank();
            let Some(byte) = self.peek() else {
                return if end.is_none() { Ok(found) } else { Err("the line ends inside a list".to_owned()) };
            };
            if Some(byte) == end {
                self.at += 1;
                return Ok(found);
            }
            match byte {
                b'(' => {
                    self.at += 1;
                    found.push(Token::List(self.sequence(Some(b')'), depth + 1)?));
                }
                b')' => return Err(format!("a ) too many at byte {}", self.at)),
                b'"' => found.push(Token::Quoted(self.quoted()?)),
                b'{' | b'~' if self.literal_length().is_some() => found.push(Token::Literal(self.literal()?)),
                _ => found.push(Token::Atom(self.atom(end))),
            }
        }
    }

    fn quoted(&mut self) -> Result<Vec<u8>, String> {
        self.at += 1;
        let mut text = Vec::new();
        while let Some(byte) = self.peek() {
            self.at += 1;
            match byte {
                b'"' => return Ok(text),
                b'\\' => {
                    text.push(self.peek().ok_or("a quoted string ends with a backslash")?);
                    self.at += 1;
                }
                _ => text.push(byte),
            }
        }
        Err("a quoted string without end".to_owned())
    }

    /// Where a literal starts here: the length, and where its bytes begin.
    fn literal_length(&self) -> Option<(usize, usize)> {
        let rest = &self.bytes[self.at..];
        let rest = rest.strip_prefix(b"~").unwrap_or(rest).strip_prefix(b"{")?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let tail = rest[digits..].strip_prefix(b"}\r\n")?;
        let length = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
        Some((length, self.bytes.len() - tail.len()))
    }

    fn literal(&mut self) -> Result<Vec<u8>, String> {
        let (length, start) = self.literal_length().ok_or("no literal")?;
        let bytes = self.bytes.get(start..start + length).ok_or("a literal that is longer than the response")?.to_vec();
        self.at = start + length;
        Ok(bytes)
    }

    /// An atom; a section in brackets belongs to it, whatever stands inside, in upper case and without quotes.
    fn atom(&mut self, end: Option<u8>) -> Vec<u8> {
        let mut atom = Vec::new();
        let mut brackets = 0_usize;
        let code = end == Some(b']');
        while let Some(byte) = self.peek() {
            match byte {
                b'[' if !code => brackets += 1,
                b']' if brackets > 0 => brackets -= 1,
                b' ' | b'(' | b')' | b'"' if brackets == 0 => break,
                b']' if code => break,
                _ => {}
            }
            self.at += 1;
            if brackets > 0 && byte == b'"' {
                continue;
            }
            atom.push(if brackets > 0 && !atom.starts_with(b"[") { byte.to_ascii_uppercase() } else { byte });
        }
        atom
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn atom(text: &str) -> Token {
        Token::Atom(text.as_bytes().to_vec())
    }

    #[test]
    fn splits_what_servers_send() {
        let line = b"* 1 FETCH (FLAGS (\\Seen) BODY[HEADER.FIELDS (\"to\")]<0> {3}\r\na)b X \"q\\\"q\" Y NIL)";
        let fetch = Token::List(vec![
            atom("FLAGS"),
            Token::List(vec![atom("\\Seen")]),
            atom("BODY[HEADER.FIELDS (TO)]<0>"),
            Token::Literal(b"a)b".to_vec()),
            atom("X"),
            Token::Quoted(b"q\"q".to_vec()),
            atom("Y"),
            atom("NIL"),
        ]);
        assert_eq!(tokens(line), Ok(vec![atom("*"), atom("1"), atom("FETCH"), fetch]));
        let code = Token::Code(vec![atom("PERMANENTFLAGS"), Token::List(vec![atom("\\*")])]);
        assert_eq!(
            tokens(b"a ok [PERMANENTFLAGS (\\*)] fine )"),
            Ok(vec![atom("a"), atom("OK"), code, Token::Text(b"fine )".to_vec())])
        );
        assert_eq!(tokens(b"+ idling"), Ok(vec![atom("+"), Token::Text(b"idling".to_vec())]));
        assert!(tokens(b"* LIST (a").is_err());
        assert!(tokens(b"* LIST a)").is_err());
    }
}
