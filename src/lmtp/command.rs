//! Commands (RFC 2033 §4, RFC 5321 §4.1, RFC 1870, RFC 3030, RFC 6152, RFC 6531), parsed from one line without its CRLF.

use super::reply::Reply;

/// The longest command line that is parsed, in bytes, CRLF aside. RFC 5321 asks for 512; SIZE, BODY and SMTPUTF8 add some.
pub const MAX_LINE_BYTES: usize = 2048;
/// The longest local part and the longest domain, in bytes. RFC 5321 asks for 64 and 255.
const MAX_PART_BYTES: usize = 255;

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// LHLO with the peer's name.
    Lhlo(String),
    /// MAIL FROM.
    Mail(Mail),
    /// RCPT TO, not yet checked against MAIL's SMTPUTF8.
    Rcpt(Address),
    /// DATA
    Data,
    /// BDAT (RFC 3030): so many octets follow at once.
    Bdat {
        /// How many.
        size: u64,
        /// Whether they are the last.
        is_last: bool,
    },
    /// RSET
    Rset,
    /// NOOP
    Noop,
    /// VRFY
    Vrfy,
    /// QUIT
    Quit,
}

/// The sender of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mail {
    /// `None` is the null sender, `<>`.
    pub sender: Option<Address>,
    /// SIZE=: how long the peer thinks that the message is.
    pub size: Option<u64>,
    /// SMTPUTF8: addresses may hold UTF-8.
    pub is_utf8: bool,
}

/// An address, unquoted, without source route. No control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// What stands before the last `@`; never empty.
    pub local: String,
    /// What stands behind it; `None` for an address without `@`.
    pub domain: Option<String>,
}

impl Address {
    /// Whether it needs SMTPUTF8.
    pub fn has_utf8(&self) -> bool {
        !(self.local.is_ascii() && self.domain.as_deref().is_none_or(str::is_ascii))
    }

    /// The address as header fields write it: the local part is quoted where it must be.
    pub fn quoted(&self) -> String {
        let is_atom = |character: char| {
            character.is_ascii_alphanumeric() || !character.is_ascii() || "!#$%&'*+-/=?^_`{|}~.".contains(character)
        };
        let is_dot_atom = self.local.chars().all(is_atom) && self.local.split('.').all(|part| !part.is_empty());
        let mut text = String::new();
        if is_dot_atom {
            text.push_str(&self.local);
        } else {
            text.push('"');
            for character in self.local.chars() {
                if matches!(character, '"' | '\\') {
                    text.push('\\');
                }
                text.push(character);
            }
            text.push('"');
        }
        if let Some(domain) = &self.domain {
            text.push('@');
            text.push_str(domain);
        }
        text
    }
}

/// Parses a line.
///
/// # Errors
/// The reply that says what is wrong.
pub fn parse(line: &[u8]) -> Result<Command, Reply> {
    if line.iter().any(u8::is_ascii_control) {
        return Err(Reply::new(500, "5.5.2", "control characters are not allowed in commands"));
    }
    let line = std::str::from_utf8(line).map_err(|_| Reply::new(500, "5.5.2", "commands are UTF-8"))?;
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let rest = rest.trim_matches(' ');
    match verb.to_ascii_uppercase().as_str() {
        "LHLO" => lhlo(rest),
        // RFC 2033 §4.1: an LMTP server must not return success to them.
        "HELO" | "EHLO" => Err(Reply::new(500, "5.5.1", "this is LMTP: say LHLO")),
        "MAIL" => mail(rest),
        "RCPT" => rcpt(rest),
        "DATA" => without_argument(rest, Command::Data),
        "BDAT" => bdat(rest),
        "RSET" => without_argument(rest, Command::Rset),
        "NOOP" => Ok(Command::Noop),
        "VRFY" => Ok(Command::Vrfy),
        "QUIT" => without_argument(rest, Command::Quit),
        _ => Err(Reply::new(500, "5.5.1", "unknown command")),
    }
}

fn without_argument(rest: &str, command: Command) -> Result<Command, Reply> {
    if rest.is_empty() { Ok(command) } else { Err(Reply::syntax("this command has no argument")) }
}

fn lhlo(name: &str) -> Result<Command, Reply> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_[]:".contains(&byte);
    let is_sound = !name.is_empty() && name.len() <= MAX_PART_BYTES && name.bytes().all(is_name);
    if is_sound { Ok(Command::Lhlo(name.to_owned())) } else { Err(Reply::syntax("LHLO needs a host name")) }
}

fn bdat(rest: &str) -> Result<Command, Reply> {
    let (size, last) = rest.split_once(' ').unwrap_or((rest, ""));
    let is_last = last.eq_ignore_ascii_case("LAST");
    let is_number = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_digit());
    let size = size.parse().ok().filter(|_| is_number && (is_last || last.is_empty()));
    size.map(|size| Command::Bdat { size, is_last }).ok_or_else(|| Reply::syntax("BDAT needs a size, and perhaps LAST"))
}

fn mail(rest: &str) -> Result<Command, Reply> {
    let (path, parameters) = path(rest, "FROM:").ok_or_else(|| Reply::syntax("MAIL FROM:<address> is expected"))?;
    let mut mail = Mail { sender: None, ..Mail::default() };
    if !path.is_empty() {
        mail.sender = Some(address(path).ok_or_else(|| Reply::new(501, "5.1.7", "this is no sender's address"))?);
    }
    for parameter in parameters.split(' ').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match (name.to_ascii_uppercase().as_str(), value.to_ascii_uppercase().as_str()) {
            ("SIZE", size) if size.bytes().all(|byte| byte.is_ascii_digit()) => {
                mail.size = Some(size.parse().map_err(|_| Reply::syntax("SIZE needs a number"))?);
            }
            ("BODY", "7BIT" | "8BITMIME") => {}
            ("SMTPUTF8", "") => mail.is_utf8 = true,
            _ => return Err(Reply::new(555, "5.5.4", "this parameter of MAIL is not offered")),
        }
    }
    if !mail.is_utf8 && mail.sender.as_ref().is_some_and(Address::has_utf8) {
        return Err(Reply::new(553, "5.6.7", "an address in UTF-8 needs SMTPUTF8"));
    }
    Ok(Command::Mail(mail))
}

fn rcpt(rest: &str) -> Result<Command, Reply> {
    let (path, parameters) = path(rest, "TO:").ok_or_else(|| Reply::syntax("RCPT TO:<address> is expected"))?;
    if !parameters.is_empty() {
        return Err(Reply::new(555, "5.5.4", "RCPT has no parameters here"));
    }
    address(path).map(Command::Rcpt).ok_or_else(|| Reply::new(501, "5.1.3", "this is no recipient's address"))
}

/// `FROM:<path> parameters`: what is between the angle brackets, quoted strings respected, and what follows.
fn path<'a>(rest: &'a str, keyword: &str) -> Option<(&'a str, &'a str)> {
    let start = rest.get(..keyword.len()).filter(|start| start.eq_ignore_ascii_case(keyword))?;
    let inside = rest.strip_prefix(start)?.trim_start_matches(' ').strip_prefix('<')?;
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (index, byte) in inside.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b'>' if !is_quoted => {
                let (path, behind) = (inside.get(..index)?, inside.get(index + 1..)?);
                let is_separate = behind.is_empty() || behind.starts_with(' ');
                return is_separate.then(|| (path, behind.trim_matches(' ')));
            }
            _ => {}
        }
    }
    None
}

/// A mailbox of RFC 5321 §4.1.2, a source route dropped as its appendix C asks.
fn address(path: &str) -> Option<Address> {
    let path = match path.strip_prefix('@') {
        Some(route) => route.split_once(':')?.1,
        None => path,
    };
    let (local, domain) = match path.strip_prefix('"') {
        Some(quoted) => {
            let (local, behind) = unquote(quoted)?;
            (local, if behind.is_empty() { None } else { Some(behind.strip_prefix('@')?) })
        }
        None => match path.rsplit_once('@') {
            Some((local, domain)) => (local.to_owned(), Some(domain)),
            None => (path.to_owned(), None),
        },
    };
    let is_special = |character: char| !path.starts_with('"') && " \"\\<>@,;()".contains(character);
    let is_local_sound = (1..=MAX_PART_BYTES).contains(&local.len())
        && !local.contains(|character| char::is_control(character) || is_special(character));
    let is_domain_sound = domain.is_none_or(|domain| {
        let is_allowed = |character: char| character.is_alphanumeric() || ".-_[]:".contains(character);
        !domain.is_empty() && domain.len() <= MAX_PART_BYTES && domain.chars().all(is_allowed)
    });
    (is_local_sound && is_domain_sound).then(|| Address { local, domain: domain.map(str::to_owned) })
}

/// A quoted string behind its opening quote: its contents, and what follows the closing one.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut contents = String::new();
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Some((contents, text.get(index + 1..)?)),
            '\\' => contents.push(characters.next()?.1),
            _ => contents.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn to(text: &str) -> Result<(String, Option<String>), u16> {
        match parse(text.as_bytes()) {
            Ok(Command::Rcpt(address)) => Ok((address.local, address.domain)),
            Ok(other) => panic!("{other:?}"),
            Err(reply) => Err(reply.code),
        }
    }

    #[test]
    fn recipients() {
        let example = Some("example.org".to_owned());
        assert_eq!(to("RCPT TO:<alice@example.org>"), Ok(("alice".into(), example.clone())));
        assert_eq!(to("rcpt to: <alice+Lists@example.org>"), Ok(("alice+Lists".into(), example.clone())));
        assert_eq!(to("RCPT TO:<alice>"), Ok(("alice".into(), None)));
        assert_eq!(to("RCPT TO:<@a,@b:alice@example.org>"), Ok(("alice".into(), example.clone())));
        assert_eq!(to("RCPT TO:<\"a > \\\"b\"@example.org>"), Ok(("a > \"b".into(), example)));
        assert_eq!(to("RCPT TO:<alice@[IPv6:::1]>"), Ok(("alice".into(), Some("[IPv6:::1]".into()))));
        for bad in [
            "RCPT TO:<>",
            "RCPT TO:<\"\"@x>",
            "RCPT TO:<@>",
            "RCPT TO:<a@>",
            "RCPT TO:<a",
            "RCPT TO:a@b",
            "RCPT",
            "RCPT TO:<a b@x>",
            "RCPT TO:<\"a@x>",
            "RCPT TO:<a@b@c d>",
            "RCPT TO:<a>b",
            "RCPT TO:<a@x,y>",
        ] {
            assert_eq!(to(bad), Err(501), "{bad}");
        }
        assert_eq!(to("RCPT TO:<a@x> NOTIFY=NEVER"), Err(555));
        assert_eq!(to(&format!("RCPT TO:<{}@x>", "a".repeat(256))), Err(501));
        assert_eq!(to("RCPT TO:<a\u{0}b@x>"), Err(500));
        assert_eq!(parse(b"RCPT TO:<\xff@x>").unwrap_err().code, 500);
    }

    #[test]
    fn senders() {
        let mail = |text: &str| parse(text.as_bytes());
        assert_eq!(mail("MAIL FROM:<>"), Ok(Command::Mail(Mail::default())));
        let Ok(Command::Mail(found)) = mail("MAIL FROM:<bob@x> SIZE=1000 BODY=8BITMIME SMTPUTF8") else { panic!() };
        assert_eq!((found.size, found.is_utf8, found.sender.unwrap().quoted()), (Some(1000), true, "bob@x".to_owned()));
        assert_eq!(mail("MAIL FROM:<jürgen@x>").unwrap_err().enhanced, "5.6.7");
        assert!(mail("MAIL FROM:<jürgen@x> SMTPUTF8").is_ok());
        assert_eq!(mail("MAIL FROM:<a@x> BODY=BINARYMIME").unwrap_err().code, 555);
        assert_eq!(mail("MAIL FROM:<a@x> SIZE=99999999999999999999").unwrap_err().code, 501);
        assert_eq!(mail("MAIL FROM:<\"\"@x>").unwrap_err().code, 501);
    }

    #[test]
    fn other_commands() {
        assert_eq!(parse(b"bdat 86 LAST"), Ok(Command::Bdat { size: 86, is_last: true }));
        assert_eq!(parse(b"BDAT 0"), Ok(Command::Bdat { size: 0, is_last: false }));
        for bad in
            ["BDAT", "BDAT x", "BDAT -1", "BDAT 1 FIRST", "BDAT 99999999999999999999", "LHLO", "LHLO a b", "DATA x", "QUIT x"]
        {
            assert_eq!(parse(bad.as_bytes()).unwrap_err().code, 501, "{bad}");
        }
        for bad in ["HELO x", "EHLO x", "EXPN x", "", "STARTTLS"] {
            assert_eq!(parse(bad.as_bytes()).unwrap_err().code, 500, "{bad}");
        }
        assert_eq!(parse(b"NOOP whatever"), Ok(Command::Noop));
    }

    proptest! {
        #[test]
        fn no_line_panics(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&line);
        }

        #[test]
        fn what_is_quoted_is_parsed_again(local in "[ -~ä]{1,20}", has_domain in any::<bool>()) {
            let address = Address { local, domain: has_domain.then(|| "x.example".to_owned()) };
            let line = format!("RCPT TO:<{}>", address.quoted());
            prop_assert_eq!(parse(line.as_bytes()), Ok(Command::Rcpt(address)));
        }
    }
}
