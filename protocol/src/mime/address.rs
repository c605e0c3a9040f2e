//! Address lists (RFC 5322 §3.4 and §4.4) as ENVELOPE wants them: the octets of the header, quoting and comments removed,
//! nothing decoded.

use super::Address;

/// Reads the value of one address field and appends what it finds, at most up to `limit` addresses in `found`.
pub(super) fn addresses(value: &[u8], found: &mut Vec<Address>, limit: usize) {
    let mut parser = Parser { rest: value, found, limit, entry: Entry::default(), in_group: false };
    parser.list();
}

/// One address under way.
#[derive(Default)]
struct Entry {
    /// The words with blanks between them, quotes taken off: a display name.
    phrase: Vec<u8>,
    /// The words without blanks: an address, should no `<` follow.
    bare: Vec<u8>,
    /// Where the last `@` outside quotes stands in `bare`.
    at: Option<usize>,
    /// Whether a blank came before what follows.
    has_blank: bool,
    /// Whether a word was there, an empty quoted string too.
    has_word: bool,
    /// The text of comments.
    comment: Vec<u8>,
    /// What stood in `<...>`.
    angle: Option<Angle>,
}

#[derive(Default)]
struct Angle {
    route: Option<Vec<u8>>,
    mailbox: Vec<u8>,
    host: Vec<u8>,
}

impl Entry {
    fn word(&mut self, text: &[u8]) {
        if std::mem::take(&mut self.has_blank) && !self.phrase.is_empty() {
            self.phrase.push(b' ');
        }
        self.phrase.extend_from_slice(text);
        self.bare.extend_from_slice(text);
        self.has_word = true;
    }

    fn address(self) -> Option<Address> {
        let name = |phrase: Vec<u8>, comment: Vec<u8>| [phrase, comment].into_iter().find(|text| !text.is_empty());
        if let Some(Angle { route, mailbox, host }) = self.angle {
            let name = name(self.phrase, self.comment);
            // `<>` alone is nobody: with it, a Reply-To counts as empty.
            let is_nobody = name.is_none() && mailbox.is_empty() && host.is_empty();
            return (!is_nobody).then_some(Address { name, route, mailbox: Some(mailbox), host: Some(host) });
        }
        if !self.has_word {
            return None;
        }
        // A missing domain is an empty one: NIL would say that a group begins (RFC 9051 §7.5.2). Without `@` it is a text for
        // people,
        // as `ann at example.org` in an archive: its blanks stay.
        let (mailbox, host) = match self.at.and_then(|at| self.bare.split_at_checked(at)) {
            Some((mailbox, host)) => (mailbox.to_vec(), host.get(1..).unwrap_or_default().to_vec()),
            None => (self.phrase, Vec::new()),
        };
        Some(Address { name: name(Vec::new(), self.comment), route: None, mailbox: Some(mailbox), host: Some(host) })
    }
}

struct Parser<'a, 'f> {
    rest: &'a [u8],
    found: &'f mut Vec<Address>,
    limit: usize,
    entry: Entry,
    in_group: bool,
}

impl<'a> Parser<'a, '_> {
    fn list(&mut self) {
        while let [first, rest @ ..] = self.rest {
            if self.found.len() >= self.limit {
                return;
            }
            match first {
                b',' => self.finish(rest),
                b';' => {
                    self.finish(rest);
                    self.end_group();
                }
                b':' if !self.in_group && self.entry.at.is_none() && self.entry.angle.is_none() => self.begin_group(rest),
                b'<' => self.angle(rest),
                // What it would close was never opened.
                b'>' => self.rest = rest,
                b'@' => {
                    self.rest = rest;
                    self.entry.at = Some(self.entry.bare.len());
                    self.word(b"@");
                }
                _ => self.piece(),
            }
        }
        self.finish(&[]);
        self.end_group();
    }

    fn finish(&mut self, rest: &'a [u8]) {
        self.rest = rest;
        self.found.extend(std::mem::take(&mut self.entry).address());
    }

    fn begin_group(&mut self, rest: &'a [u8]) {
        self.rest = rest;
        let name = std::mem::take(&mut self.entry).phrase;
        self.found.push(Address { mailbox: Some(name), ..Address::default() });
        self.in_group = true;
    }

    fn end_group(&mut self) {
        if std::mem::take(&mut self.in_group) {
            self.found.push(Address::default());
        }
    }

    /// A word, a comment or blanks: what neither separates nor structures.
    fn piece(&mut self) {
        match self.rest {
            [b' ' | b'\t' | b'\r' | b'\n', rest @ ..] => {
                self.rest = rest;
                self.entry.has_blank = true;
            }
            [b'(', ..] => {
                let text = comment(&mut self.rest);
                if !self.entry.comment.is_empty() && !text.is_empty() {
                    self.entry.comment.push(b' ');
                }
                self.entry.comment.extend_from_slice(&text);
                self.entry.has_blank = true;
            }
            [b'"', ..] => {
                let text = quoted(&mut self.rest);
                self.word(&text);
            }
            _ => {
                let text = word(&mut self.rest);
                self.word(text);
            }
        }
    }

    fn word(&mut self, text: &[u8]) {
        // What stands behind `<...>` belongs to nothing.
        if self.entry.angle.is_none() {
            self.entry.word(text);
        }
    }

    /// `<route:mailbox@host>`, the `<` taken.
    fn angle(&mut self, rest: &'a [u8]) {
        if self.entry.angle.is_some() {
            self.finish(rest);
        }
        self.rest = rest;
        let mut angle = Angle::default();
        let mut text = Vec::new();
        let mut at = None;
        while let [first, rest @ ..] = self.rest {
            match first {
                b'>' => {
                    self.rest = rest;
                    break;
                }
                b'(' => {
                    comment(&mut self.rest);
                }
                b'"' => text.extend(quoted(&mut self.rest)),
                // A source route (RFC 5322 §4.4, obs-route).
                b':' if text.first() == Some(&b'@') && angle.route.is_none() => {
                    self.rest = rest;
                    angle.route = Some(std::mem::take(&mut text));
                    at = None;
                }
                b'@' => {
                    self.rest = rest;
                    at = Some(text.len());
                    text.push(b'@');
                }
                b' ' | b'\t' | b'\r' | b'\n' => self.rest = rest,
                b',' | b';' | b':' | b'<' => {
                    self.rest = rest;
                    text.push(*first);
                }
                _ => text.extend_from_slice(word(&mut self.rest)),
            }
        }
        (angle.mailbox, angle.host) = match at.and_then(|at| text.split_at_checked(at)) {
            Some((mailbox, host)) => (mailbox.to_vec(), host.get(1..).unwrap_or_default().to_vec()),
            None => (text, Vec::new()),
        };
        self.entry.angle = Some(angle);
    }
}

/// Takes an encoded word, a domain literal, or an atom with its dots; at least one byte.
fn word<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let length = match *rest {
        [b'[', ..] => memchr::memchr(b']', rest).map_or(rest.len(), |end| end + 1),
        [b'=', b'?', ..] => encoded_word_length(rest).unwrap_or_else(|| atom_length(rest)),
        _ => atom_length(rest),
    };
    let (taken, after) = rest.split_at_checked(length.max(1)).unwrap_or((rest, &[]));
    *rest = after;
    taken
}

fn atom_length(text: &[u8]) -> usize {
    text.iter().position(|byte| b" \t\r\n()<>@,;:\"[".contains(byte)).unwrap_or(text.len())
}

/// The length of an encoded word (RFC 2047 §2), which may hold, though it must not, what would else structure the list.
fn encoded_word_length(text: &[u8]) -> Option<usize> {
    // An encoded word is at most 75 octets; some writers make longer ones.
    const LONGEST: usize = 1000;
    let window = text.get(..LONGEST).unwrap_or(text);
    let end = window.iter().position(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).unwrap_or(window.len());
    let mut marks = memchr::memchr_iter(b'?', window.get(..end)?);
    let (_, _, third) = (marks.next()?, marks.next()?, marks.next()?);
    marks.find(|mark| *mark > third && window.get(mark + 1) == Some(&b'=')).map(|mark| mark + 2)
}

/// Takes a quoted string and gives what is in it.
fn quoted(rest: &mut &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut bytes = rest.iter().enumerate().skip(1);
    let mut end = rest.len();
    while let Some((place, byte)) = bytes.next() {
        match byte {
            b'"' => {
                end = place + 1;
                break;
            }
            b'\\' => text.extend(bytes.next().map(|(_, escaped)| *escaped)),
            byte => text.push(*byte),
        }
    }
    *rest = rest.get(end..).unwrap_or_default();
    text
}

/// Takes a comment, however nested, and gives its text.
fn comment(rest: &mut &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut depth = 1usize;
    let mut bytes = rest.iter().enumerate().skip(1);
    let mut end = rest.len();
    while let Some((place, byte)) = bytes.next() {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b'\\' => {
                text.extend(bytes.next().map(|(_, escaped)| *escaped));
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            end = place + 1;
            break;
        }
        text.push(*byte);
    }
    *rest = rest.get(end..).unwrap_or_default();
    text.trim_ascii().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &str) -> Vec<String> {
        let mut found = Vec::new();
        addresses(value.as_bytes(), &mut found, 100);
        let text =
            |field: &Option<Vec<u8>>| field.as_ref().map_or("NIL".to_owned(), |text| String::from_utf8_lossy(text).into_owned());
        let line = |address: &Address| [&address.name, &address.route, &address.mailbox, &address.host].map(text).join("|");
        found.iter().map(line).collect()
    }

    #[test]
    fn plain_addresses() {
        assert_eq!(of("a@b"), ["NIL|NIL|a|b"]);
        assert_eq!(of("Terry Gray <gray@cac.washington.edu>"), ["Terry Gray|NIL|gray|cac.washington.edu"]);
        assert_eq!(
            of("minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>"),
            ["NIL|NIL|minutes|CNRI.Reston.VA.US", "John Klensin|NIL|KLENSIN|MIT.EDU"]
        );
        assert_eq!(of("\"Doe, John \\\"J\\\"\" <j@x>,,b@c,"), ["Doe, John \"J\"|NIL|j|x", "NIL|NIL|b|c"]);
        assert_eq!(of("J. Doe <\"john doe\"@x>"), ["J. Doe|NIL|john doe|x"]);
        assert_eq!(of("\"john doe\"@[127.0.0.1]"), ["NIL|NIL|john doe|[127.0.0.1]"]);
        assert_eq!(of("a . b @ c . d"), ["NIL|NIL|a.b|c.d"]);
        assert_eq!(of("<@one,@two:joe@node>"), ["NIL|@one,@two|joe|node"]);
    }

    #[test]
    fn comments() {
        assert_eq!(of("gray@x (Terry (T.) Gray)"), ["Terry (T.) Gray|NIL|gray|x"]);
        assert_eq!(of("Name (comment) <a@b>"), ["Name|NIL|a|b"]);
        assert_eq!(of("<a@b> (why\\) not)"), ["why) not|NIL|a|b"]);
        assert_eq!(of("a(x)@b(y)"), ["x y|NIL|a|b"]);
        assert_eq!(of("a@b (open\\"), ["open|NIL|a|b"]);
        assert_eq!(of("(only)"), Vec::<String>::new());
    }

    #[test]
    fn groups() {
        assert_eq!(of("undisclosed-recipients:;"), ["NIL|NIL|undisclosed-recipients|NIL", "NIL|NIL|NIL|NIL"]);
        assert_eq!(
            of("A Group: Ed <ed@x>, joe@y; z@w"),
            ["NIL|NIL|A Group|NIL", "Ed|NIL|ed|x", "NIL|NIL|joe|y", "NIL|NIL|NIL|NIL", "NIL|NIL|z|w"]
        );
        assert_eq!(of("g:a@b"), ["NIL|NIL|g|NIL", "NIL|NIL|a|b", "NIL|NIL|NIL|NIL"]);
    }

    #[test]
    fn what_should_not_be() {
        assert_eq!(of("foo"), ["NIL|NIL|foo|"]);
        assert_eq!(of("ann at b.org (Ann)"), ["Ann|NIL|ann at b.org|"]);
        assert_eq!(of("a@b>, c@d"), ["NIL|NIL|a|b", "NIL|NIL|c|d"]);
        assert_eq!(of("MAILER-DAEMON <>"), ["MAILER-DAEMON|NIL||"]);
        assert_eq!(of("<>, <> (x)"), ["x|NIL||"]);
        assert_eq!(of("a@b@c"), ["NIL|NIL|a@b|c"]);
        assert_eq!(of("A B <a@b> c@d (x), e@f"), ["A B|NIL|a|b", "NIL|NIL|e|f"]);
        assert_eq!(of("a@b; c@d"), ["NIL|NIL|a|b", "NIL|NIL|c|d"]);
        assert_eq!(of("x <a@b> <c@d>"), ["x|NIL|a|b", "NIL|NIL|c|d"]);
        assert_eq!(of("=?utf-8?Q?a,b@c:d?= <e@f>"), ["=?utf-8?Q?a,b@c:d?=|NIL|e|f"]);
        assert_eq!(of("foo@bar.com <e@f>"), ["foo@bar.com|NIL|e|f"]);
        assert_eq!(of("\"\" <a@b>"), ["NIL|NIL|a|b"]);
        assert_eq!(of("<a@b"), ["NIL|NIL|a|b"]);
        assert_eq!(of(""), Vec::<String>::new());
        assert_eq!(of("<<a@b>>"), ["NIL|NIL|<a|b"]);
    }
}
