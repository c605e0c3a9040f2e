//! The values of MIME fields: tokens, comments, parameters (RFC 2045 §5.1, RFC 2183 §2). Attributes stay as they are sent, RFC
//! 2231's
//! asterisks too: BODYSTRUCTURE gives them to the client, who decodes.

use mail_parser::decoders::charsets::map::charset_decoder;

use super::Parameters;

/// The most parameters that are kept of one field.
const MOST_PARAMETERS: usize = 1000;

/// A reader of one unfolded field value.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(value: &'a [u8]) -> Self {
        Self { rest: value }
    }

    /// Skips white space and comments (RFC 5322 §3.2.2). Nesting costs a counter, not a stack.
    pub(super) fn skip_comments(&mut self) {
        let mut depth = 0usize;
        while let [first, rest @ ..] = self.rest {
            match first {
                b'(' => depth += 1,
                b')' if depth > 0 => depth -= 1,
                b'\\' if depth > 0 => {
                    self.rest = rest.get(1..).unwrap_or_default();
                    continue;
                }
                b' ' | b'\t' | b'\r' | b'\n' => {}
                _ if depth > 0 => {}
                _ => return,
            }
            self.rest = rest;
        }
    }

    /// Takes the byte if it is next.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        match self.rest {
            [first, rest @ ..] if *first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Takes what comes before the first byte that `ends`.
    pub(super) fn until(&mut self, ends: impl Fn(u8) -> bool) -> &'a [u8] {
        let length = self.rest.iter().position(|byte| ends(*byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(length).unwrap_or_default();
        self.rest = rest;
        taken
    }

    /// A token (RFC 2045 §5.1); empty where there is none.
    pub(super) fn token(&mut self) -> &'a [u8] {
        self.until(|byte| byte <= b' ' || byte == 127 || b"()<>@,;:\\\"/[]?=".contains(&byte))
    }

    /// The inside of a quoted string whose first quote was taken.
    fn quoted(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        while let [first, rest @ ..] = self.rest {
            self.rest = rest;
            match first {
                b'"' => break,
                b'\\' => {
                    if let [escaped, rest @ ..] = rest {
                        text.push(*escaped);
                        self.rest = rest;
                    }
                }
                byte => text.push(*byte),
            }
        }
        text
    }

    /// A parameter's value. One that is not quoted ends at `;` or at a comment; blanks in it, though forbidden, are common in
    /// file names.
    fn value(&mut self) -> Vec<u8> {
        if self.take(b'"') {
            let text = self.quoted();
            self.until(|byte| byte == b';');
            return text;
        }
        let text = self.until(|byte| byte == b';');
        let comment = text.windows(2).position(|pair| matches!(pair, [b' ' | b'\t', b'(']));
        text.get(..comment.unwrap_or(text.len())).unwrap_or_default().trim_ascii().to_vec()
    }

    /// `*(";" attribute "=" value)`. What is no parameter is skipped.
    pub(super) fn parameters(&mut self) -> Parameters {
        let mut found = Parameters::new();
        while !self.rest.is_empty() && found.len() < MOST_PARAMETERS {
            self.until(|byte| byte == b';');
            self.take(b';');
            self.skip_comments();
            let attribute = self.until(|byte| matches!(byte, b'=' | b';')).trim_ascii();
            if self.take(b'=') {
                self.skip_comments();
                let value = self.value();
                if !attribute.is_empty() {
                    found.push((String::from_utf8_lossy(attribute).into_owned(), value));
                }
            }
        }
        found
    }
}

/// Content-Type's type, subtype and parameters; `None` where it is none (RFC 2045 §5.2: then it is text/plain).
pub(super) fn content_type(value: &[u8]) -> Option<(String, String, Parameters)> {
    let mut reader = Reader::new(value);
    reader.skip_comments();
    let media_type = reader.token();
    reader.skip_comments();
    if !reader.take(b'/') {
        return None;
    }
    reader.skip_comments();
    let subtype = reader.token();
    if media_type.is_empty() || subtype.is_empty() {
        return None;
    }
    let text = |token: &[u8]| String::from_utf8_lossy(token).into_owned();
    Some((text(media_type), text(subtype), reader.parameters()))
}

/// Content-Disposition's type and parameters (RFC 2183 §2).
pub(super) fn disposition(value: &[u8]) -> Option<(String, Parameters)> {
    let mut reader = Reader::new(value);
    reader.skip_comments();
    let disposition = String::from_utf8_lossy(reader.token()).into_owned();
    (!disposition.is_empty()).then(|| (disposition, reader.parameters()))
}

/// The first token of a value, as Content-Transfer-Encoding's.
pub(super) fn first_token(value: &[u8]) -> Option<String> {
    let mut reader = Reader::new(value);
    reader.skip_comments();
    // Some write the encoding in quotes.
    reader.take(b'"');
    let token = reader.token();
    (!token.is_empty()).then(|| String::from_utf8_lossy(token).into_owned())
}

/// Content-Language's tags (RFC 3282 §2).
pub(super) fn languages(value: &[u8]) -> Vec<Vec<u8>> {
    const MOST_LANGUAGES: usize = 100;
    let mut reader = Reader::new(value);
    let mut found = Vec::new();
    while !reader.rest.is_empty() && found.len() < MOST_LANGUAGES {
        reader.skip_comments();
        let tag = reader.until(|byte| matches!(byte, b',' | b'(' | b' ' | b'\t'));
        if !tag.is_empty() {
            found.push(tag.to_vec());
        }
        reader.until(|byte| matches!(byte, b',' | b'('));
        reader.take(b',');
    }
    found
}

/// A parameter's value by its name without case: as it is, or put together from RFC 2231's pieces (§3 and §4; at most 100,
/// percent-decoded,
/// without the charset in front).
pub(super) fn parameter(parameters: &Parameters, name: &str) -> Option<Vec<u8>> {
    const MOST_PIECES: usize = 100;
    if let Some((_, value)) = parameters.iter().find(|(attribute, _)| attribute.eq_ignore_ascii_case(name)) {
        return Some(value.clone());
    }
    let mut pieces: Vec<(usize, Vec<u8>)> = Vec::new();
    for (attribute, value) in parameters {
        let Some((stem, rest)) = attribute.split_once('*') else { continue };
        if !stem.eq_ignore_ascii_case(name) || pieces.len() >= MOST_PIECES {
            continue;
        }
        let (index, is_encoded) = match (rest, rest.strip_suffix('*')) {
            ("", _) => ("0", true),
            (_, Some(index)) => (index, true),
            (index, None) => (index, false),
        };
        if let Ok(index) = index.parse() {
            pieces.push((index, if is_encoded { percent_decoded(value, index == 0) } else { value.clone() }));
        }
    }
    pieces.sort_by_key(|(index, _)| *index);
    (!pieces.is_empty()).then(|| pieces.into_iter().flat_map(|(_, value)| value).collect())
}

/// A parameter that RFC 2231 encoded (`name*` or `name*0*`), decoded from its charset; `None` where it stands as it is.
pub(super) fn encoded_text(parameters: &Parameters, name: &str) -> Option<String> {
    let is_first = |attribute: &str| {
        attribute.split_once('*').is_some_and(|(stem, rest)| stem.eq_ignore_ascii_case(name) && matches!(rest, "" | "0" | "0*"))
    };
    let (_, first) = parameters.iter().find(|(attribute, _)| is_first(attribute))?;
    let charset = first.split(|byte| *byte == b'\'').next().unwrap_or_default();
    let bytes = parameter(parameters, name)?;
    Some(match charset_decoder(charset) {
        Some(decode) => decode(&bytes),
        None => String::from_utf8_lossy(&bytes).into_owned(),
    })
}

fn percent_decoded(value: &[u8], has_charset: bool) -> Vec<u8> {
    let text = if has_charset { value.splitn(3, |byte| *byte == b'\'').nth(2).unwrap_or(value) } else { value };
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        let escaped = match (first, tail) {
            (b'%', [high, low, after @ ..]) => digit(high).zip(digit(low)).map(|(high, low)| (high << 4 | low, after)),
            _ => None,
        };
        let (byte, after) = escaped.unwrap_or((*first, tail));
        decoded.push(byte);
        rest = if escaped.is_some() { after } else { rest };
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    type Texts = (String, String, Vec<(String, String)>);

    fn of(value: &str) -> Option<Texts> {
        let (media_type, subtype, parameters) = content_type(value.as_bytes())?;
        let text = |(attribute, value): (String, Vec<u8>)| (attribute, String::from_utf8(value).unwrap());
        Some((media_type, subtype, parameters.into_iter().map(text).collect()))
    }

    fn expect(value: &str, media_type: &str, subtype: &str, parameters: &[(&str, &str)]) {
        let owned = parameters.iter().map(|(attribute, value)| ((*attribute).to_owned(), (*value).to_owned())).collect();
        assert_eq!(of(value), Some((media_type.to_owned(), subtype.to_owned(), owned)), "{value}");
    }

    #[test]
    fn content_types() {
        expect("text/plain", "text", "plain", &[]);
        expect("text/plain; charset=us-ascii (Plain text)", "text", "plain", &[("charset", "us-ascii")]);
        expect("Text/HTML;Charset=\"ISO-8859-1\"", "Text", "HTML", &[("Charset", "ISO-8859-1")]);
        expect(
            "(a (b\\) c)) multipart / mixed ; boundary = \"a\\\"b;c\" x; y=1",
            "multipart",
            "mixed",
            &[("boundary", "a\"b;c"), ("y", "1")],
        );
        expect("image/png; name=my file.png; x", "image", "png", &[("name", "my file.png")]);
        expect("a/b; name*0*=utf-8''a; name*1=b", "a", "b", &[("name*0*", "utf-8''a"), ("name*1", "b")]);
        expect("a/b;;; c=\"d", "a", "b", &[("c", "d")]);
        for bad in ["", "text", "/plain", "text/", ";", "text plain", "(", "\"text\"/plain"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn other_fields() {
        assert_eq!(disposition(b"attachment; filename=x"), Some(("attachment".into(), vec![("filename".into(), b"x".to_vec())])));
        assert_eq!(disposition(b";"), None);
        assert_eq!(first_token(b" base64 (x)"), Some("base64".into()));
        assert_eq!(first_token(b"\"7bit\""), Some("7bit".into()));
        assert_eq!(first_token(b"()"), None);
        assert_eq!(languages(b"de, en-US (English) ,,fr"), [b"de".to_vec(), b"en-US".to_vec(), b"fr".to_vec()]);
    }

    #[test]
    fn parameters_in_pieces() {
        let parameters = |value: &str| Reader::new(value.as_bytes()).parameters();
        assert_eq!(parameter(&parameters(";a=1;A=2"), "a"), Some(b"1".to_vec()));
        assert_eq!(parameter(&parameters(";b*1=y%41;b*0*=utf-8'en'x%41;b*2*=%4"), "B"), Some(b"xAy%41%4".to_vec()));
        assert_eq!(parameter(&parameters(";b*=x%c3"), "b"), Some(b"x\xc3".to_vec()));
        assert_eq!(parameter(&parameters(";b*x=1"), "b"), None);
    }
}
