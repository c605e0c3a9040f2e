//! mbox files: messages between From_ lines, `>From ` unquoted as mboxrd does (one `>` less). Read line by line: an mbox may be larger than memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use carillon_protocol::date::InternalDate;
use carillon_protocol::flag::{Flag, FlagSet, Keyword, SystemFlag};
use carillon_protocol::mailbox_name::MailboxName;
use carillon_protocol::mime;

use super::{Item, Outcome, Unread, below, date_of_header, is_directory, read_directory, segment_of};
use crate::calendar;

/// Deeper directories are reported and left out.
const MAX_DEPTH: usize = 16;
/// A mailbox can hold no more of them.
const MAX_KEYWORDS: usize = 64;

/// The mboxes of a directory; nothing of them is read yet.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The files, by name, and the mailboxes to which their messages belong.
    pub files: Vec<(PathBuf, MailboxName)>,
    /// What could not be listed.
    pub unread: Vec<Unread>,
}

/// Lists an mbox whose messages belong to `root`, or a directory of mboxes, whose mailboxes stand beside or, where `root` is not INBOX, below it: those of `Work`
/// or `Work.sbd` (Thunderbird's custom) below `Work`.
pub fn list(path: &Path, root: &MailboxName) -> Listing {
    let mut listing = Listing::default();
    if path.is_file() {
        listing.files.push((path.to_owned(), root.clone()));
    } else {
        walk(path, root, 0, &mut listing);
    }
    listing
}

fn walk(path: &Path, parent: &MailboxName, depth: usize, listing: &mut Listing) {
    if depth > MAX_DEPTH {
        listing.unread.push(Unread::of(path, "too deep"));
        return;
    }
    for entry in read_directory(path, &mut listing.unread) {
        let name = entry.file_name().to_string_lossy().into_owned();
        // Indexes and lists of Dovecot and Thunderbird.
        if [".imap", ".subscriptions"].contains(&name.as_str()) || name.ends_with(".msf") {
            continue;
        }
        let path = entry.path();
        let mailbox = is_directory(&entry).and_then(|is_directory| {
            if is_directory && name.starts_with('.') {
                return Err("a directory whose name begins with a dot".to_owned());
            }
            if !is_directory && !path.is_file() {
                return Err("no file".to_owned());
            }
            let ending = if is_directory { ".sbd" } else { ".mbox" };
            let level = segment_of(name.strip_suffix(ending).filter(|level| !level.is_empty()).unwrap_or(&name));
            below(parent, vec![level]).map(|mailbox| (is_directory, mailbox))
        });
        match mailbox {
            Ok((true, mailbox)) => walk(&path, &mailbox, depth + 1, listing),
            Ok((false, mailbox)) => listing.files.push((path, mailbox)),
            Err(why) => listing.unread.push(Unread::of(&path, &why)),
        }
    }
}

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
        let file = File::open(path).map_err(|error| Unread::of(path, &error.to_string()))?;
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
        let (flags, odd_keywords) = flags(&bytes);
        Some(Ok(Item { place, mailbox: self.mailbox.clone(), flags, odd_keywords, bytes, internal_date }))
    }
}

/// Status, X-Status and X-Keywords, as mbox programs keep flags, and what stands there as a keyword and cannot be kept. The fields stay in the message.
fn flags(bytes: &[u8]) -> (FlagSet, Vec<String>) {
    let header = bytes.get(..mime::header_length(bytes)).unwrap_or_default();
    let (mut set, mut odd) = (FlagSet::new(), Vec::new());
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
            for word in text.split([' ', ',', '\t', '\r', '\n']).filter(|word| !word.is_empty()) {
                match Keyword::new(word) {
                    Some(keyword) if set.has_keyword(&keyword) || set.keywords().len() < MAX_KEYWORDS => {
                        set.insert(Flag::Keyword(keyword))
                    }
                    _ => odd.push(word.to_owned()),
                }
            }
        }
    }
    (set, odd)
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
        assert_eq!(item.odd_keywords, ["(bad)"]);
    }

    #[test]
    fn directories_are_levels_and_nothing_in_them_is_left_out_silently() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("mail");
        for path in [
            "Inbox",
            "Lists.sbd/Rust",
            "Lists",
            "A/B/C.mbox",
            "Entw&APw-rfe",
            "x&y",
            ".hid/x",
            "bad\u{1}",
            "x.msf",
            ".imap/x/y",
            ".mbox",
        ] {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        std::os::unix::fs::symlink(&root, root.join("circle")).unwrap();
        std::os::unix::fs::symlink(root.join("Inbox"), root.join("Linked")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, root.join("fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let listing = list(&root, &MailboxName::inbox());
        let names: Vec<String> = listing.files.iter().map(|(_, mailbox)| mailbox.segments().join("/")).collect();
        assert_eq!(names, [".mbox", "A/B/C", "Entwürfe", "INBOX", "Linked", "Lists", "Lists/Rust", "x&y"]);
        let unread: Vec<String> =
            listing.unread.iter().map(|unread| unread.place.rsplit('/').next().unwrap().to_owned()).collect();
        assert_eq!(unread, [".hid", "bad\u{1}", "circle", "fifo"]);
        let old = MailboxName::from_segments(["Old"]).unwrap();
        assert!(list(&root, &old).files.iter().all(|(_, mailbox)| mailbox.segments()[0] == "Old"));
        assert_eq!(list(&root.join("x&y"), &old).files, [(root.join("x&y"), old)]);
        assert_eq!(list(&root.join("none"), &MailboxName::inbox()).unread.len(), 1);
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
