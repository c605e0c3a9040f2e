//! mbox files: messages between From_ lines, `>From ` unquoted as mboxrd does (one `>` less). Read line by line: an mbox may be larger than memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use carillon_protocol::date::InternalDate;
use carillon_protocol::flag::{Flag, FlagSet, Keyword, SystemFlag};
use carillon_protocol::mailbox_name::MailboxName;
use carillon_protocol::mime;

use super::{Item, Outcome, Unread, date_of_header};
use crate::calendar;

/// Reads an mbox message by message.
pub struct Reader<R> {
    input: R,
    path: PathBuf,
    mailbox: MailboxName,
    message_bytes: u64,
    offset: u64,
    /// The From_ line of the next message, and where it stands.
    next: Option<(Vec<u8>, u64)>,
    is_over: bool,
}

impl Reader<BufReader<File>> {
    /// Opens a file whose messages belong to `mailbox`.
    ///
    /// # Errors
    /// It cannot be opened, or does not begin with a From_ line.
    pub fn open(path: &Path, mailbox: MailboxName, message_bytes: u64) -> Result<Self, Unread> {
        let fail = |error: io::Error| Unread { place: path.display().to_string(), why: error.to_string() };
        let file = File::open(path).map_err(fail)?;
        Reader::new(BufReader::with_capacity(256 << 10, file), path, mailbox, message_bytes)
    }
}

impl<R: BufRead> Reader<R> {
    fn new(input: R, path: &Path, mailbox: MailboxName, message_bytes: u64) -> Result<Self, Unread> {
        let mut reader = Self { input, path: path.to_owned(), mailbox, message_bytes, offset: 0, next: None, is_over: false };
        let first = reader.line().map_err(|error| reader.unread(0, &error.to_string()))?;
        match first {
            Some(line) if line.starts_with(b"From ") => reader.next = Some((line, 0)),
            None => reader.is_over = true,
            Some(_) => return Err(reader.unread(0, "this is no mbox: its first line does not begin with \"From \"")),
        }
        Ok(reader)
    }

    /// How far it has read, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    fn unread(&self, offset: u64, why: &str) -> Unread {
        Unread { place: format!("{} at byte {offset}", self.path.display()), why: why.to_owned() }
    }

    /// The next line with its end. A line longer than a message may be is cut: it makes its message too long in any case.
    fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let read = (&mut self.input).take(self.message_bytes.saturating_add(2)).read_until(b'\n', &mut line)?;
        self.offset += read as u64;
        Ok((read > 0).then_some(line))
    }

    /// The lines up to the next From_ line, and whether they were too many.
    fn body(&mut self) -> io::Result<(Vec<u8>, bool)> {
        let (mut body, mut is_too_long, mut was_blank) = (Vec::new(), false, false);
        loop {
            let at = self.offset;
            let Some(mut line) = self.line()? else {
                self.is_over = true;
                break;
            };
            if was_blank && is_from_line(&line) {
                self.next = Some((line, at));
                break;
            }
            was_blank = matches!(line.as_slice(), b"\n" | b"\r\n");
            let quotes = line.iter().take_while(|byte| **byte == b'>').count();
            if quotes > 0 && line.get(quotes..).is_some_and(|rest| rest.starts_with(b"From ")) {
                line.remove(0);
            }
            if line.last() == Some(&b'\n') && line.get(line.len().wrapping_sub(2)) != Some(&b'\r') {
                line.insert(line.len() - 1, b'\r');
            }
            is_too_long |= (body.len() + line.len()) as u64 > self.message_bytes;
            if is_too_long {
                body.clear();
            } else {
                body.extend_from_slice(&line);
            }
        }
        // The blank line before a From_ line, or at the end, belongs to the format.
        if was_blank && body.ends_with(b"\r\n") {
            body.truncate(body.len() - 2);
        }
        Ok((body, is_too_long))
    }
}

/// A From_ line ends in a date; others that begin so are text.
fn is_from_line(line: &[u8]) -> bool {
    line.starts_with(b"From ") && date(line).is_some()
}

fn date(line: &[u8]) -> Option<InternalDate> {
    let line = std::str::from_utf8(line.get(..line.len().min(400))?).ok()?;
    let (_, date) = line.strip_prefix("From ")?.trim_start().split_once(' ')?;
    let (unix_seconds, offset_minutes) = calendar::parse_loose(date)?;
    Some(InternalDate { unix_seconds, offset_minutes })
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Outcome;

    fn next(&mut self) -> Option<Outcome> {
        let (from, at) = self.next.take()?;
        let (bytes, is_too_long) = match self.body() {
            Ok(body) => body,
            Err(error) => {
                self.is_over = true;
                return Some(Err(self.unread(at, &error.to_string())));
            }
        };
        if is_too_long || bytes.is_empty() {
            let why = if is_too_long { format!("longer than {} bytes", self.message_bytes) } else { "empty".to_owned() };
            return Some(Err(self.unread(at, &why)));
        }
        let internal_date = date(&from).unwrap_or_else(|| date_of_header(&bytes));
        let place = self.unread(at, "").place;
        Some(Ok(Item { place, mailbox: self.mailbox.clone(), flags: flags(&bytes), bytes, internal_date }))
    }
}

/// Status, X-Status and X-Keywords, as mbox programs keep flags. The fields stay in the message.
fn flags(bytes: &[u8]) -> FlagSet {
    let header = bytes.get(..mime::header_length(bytes)).unwrap_or_default();
    let mut set = FlagSet::new();
    for field in mime::fields(header).take(1000) {
        if field.is("Status") || field.is("X-Status") {
            let flags = field.value.iter().filter_map(|letter| match letter {
                b'R' => Some(SystemFlag::Seen),
                b'A' => Some(SystemFlag::Answered),
                b'F' => Some(SystemFlag::Flagged),
                b'D' => Some(SystemFlag::Deleted),
                b'T' => Some(SystemFlag::Draft),
                _ => None,
            });
            flags.for_each(|flag| set.insert(Flag::System(flag)));
        } else if field.is("X-Keywords") {
            let text = String::from_utf8_lossy(field.value).into_owned();
            let keywords = text.split([' ', ',', '\t', '\r', '\n']).filter_map(Keyword::new);
            keywords.take(64).for_each(|keyword| set.insert(Flag::Keyword(keyword)));
        }
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &[u8]) -> Result<Vec<Outcome>, Unread> {
        Reader::new(text, Path::new("box"), MailboxName::inbox(), 1000).map(Iterator::collect)
    }

    fn bodies(text: &str) -> Vec<String> {
        let outcomes = read(text.as_bytes()).unwrap();
        outcomes
            .into_iter()
            .map(|outcome| outcome.map_or_else(|unread| unread.why, |item| String::from_utf8(item.bytes).unwrap()))
            .collect()
    }

    const FROM: &str = "From alice@x Mon Jan 12 10:00:00 2026";

    #[test]
    fn messages_are_told_apart() {
        let text = format!(
            "{FROM}\nSubject: a\n\n>From here\n>>From there\nFrom now on\n\nFrom time to time\n\n{FROM}\r\nb: c\r\n\r\nd\r\n\r\n{FROM}\n\n{FROM}\nlast"
        );
        assert_eq!(
            bodies(&text),
            [
                "Subject: a\r\n\r\nFrom here\r\n>From there\r\nFrom now on\r\n\r\nFrom time to time\r\n",
                "b: c\r\n\r\nd\r\n",
                "empty",
                "last"
            ]
        );
        assert_eq!(bodies(""), Vec::<String>::new());
        assert!(read(b"Subject: no mbox\n").is_err());
    }

    #[test]
    fn dates_and_flags() {
        let text = format!("{FROM}\nStatus: RO\nX-Status: AF\nX-Keywords: Work, (bad)\nDate: x\n\nhi\n");
        let item = read(text.as_bytes()).unwrap().remove(0).unwrap();
        assert_eq!(item.internal_date, InternalDate { unix_seconds: 1_768_212_000, offset_minutes: 0 });
        let flags: Vec<String> = item.flags.iter().map(|flag| flag.to_string()).collect();
        assert_eq!(flags, ["\\Answered", "\\Flagged", "\\Seen", "Work"]);
    }

    #[test]
    fn what_is_too_long_is_reported_and_the_next_one_read() {
        let text = format!("{FROM}\n{}\n\n{FROM}\nshort\n", "x".repeat(5000));
        assert_eq!(bodies(&text), ["longer than 1000 bytes", "short\r\n"]);
    }

    proptest! {
        #[test]
        fn what_an_mboxrd_writer_wrote_comes_back(
            messages in proptest::collection::vec(proptest::collection::vec("(>{0,2}From )?[a-z ]{0,8}", 1..6), 1..4),
        ) {
            let mut text = String::new();
            let mut expected = Vec::new();
            for lines in &messages {
                text.push_str(FROM);
                text.push('\n');
                for line in lines {
                    if line.trim_start_matches('>').starts_with("From ") {
                        text.push('>');
                    }
                    text.push_str(line);
                    text.push('\n');
                }
                text.push('\n');
                expected.push(lines.iter().map(|line| format!("{line}\r\n")).collect::<String>());
            }
            prop_assert_eq!(bodies(&text), expected);
        }

        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'>'), any::<u8>()], 0..300)) {
            let _ = read(&[b"From x Mon Jan 12 10:00:00 2026\n".as_slice(), &bytes].concat());
        }
    }
}
