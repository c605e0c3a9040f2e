//! Maildirs: `cur` and `new`, flags behind `:2,`, folders as Maildir++ (`.A.B`) or as plain directories. `tmp` holds what was never delivered.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use carillon_protocol::date::InternalDate;
use carillon_protocol::flag::{Flag, FlagSet, Keyword, SystemFlag};
use carillon_protocol::mailbox_name::{MailboxName, NameFormat};

use super::{Item, Outcome, Unread, with_crlf};

/// Deeper directories are reported and left out.
const MAX_DEPTH: usize = 16;

/// A message file to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    path: PathBuf,
    mailbox: MailboxName,
    flags: FlagSet,
}

/// What a maildir holds, in the order of mailboxes and file names; nothing of it is read yet.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The messages.
    pub entries: Vec<Entry>,
    /// All mailboxes, the empty ones too.
    pub mailboxes: Vec<MailboxName>,
    /// What could not be listed.
    pub unread: Vec<Unread>,
}

/// Lists a maildir whose own messages belong to `root`, its folders beside it or, where `root` is not INBOX, below it.
pub fn list(path: &Path, root: &MailboxName) -> Listing {
    let mut listing = Listing::default();
    walk(path, root, 0, &mut listing);
    listing
}

fn walk(path: &Path, mailbox: &MailboxName, depth: usize, listing: &mut Listing) {
    if depth > MAX_DEPTH {
        listing.unread.push(unread(path, "too deep"));
        return;
    }
    if is_maildir(path) {
        listing.mailboxes.push(mailbox.clone());
        let keywords = keywords(path);
        for folder in ["cur", "new"] {
            messages(&path.join(folder), mailbox, &keywords, listing);
        }
    }
    for (name, directory) in directories(path, listing) {
        let parent: &[String] = if mailbox.is_inbox() { &[] } else { mailbox.segments() };
        let child = match name.strip_prefix('.') {
            // Maildir++ keeps all folders in the top directory, their levels separated by dots.
            Some(folder) if depth == 0 => segments(folder),
            Some(_) => continue,
            None => segments_of_plain(&name),
        };
        let child =
            child.and_then(|levels| MailboxName::from_segments(parent.iter().chain(&levels)).map_err(|error| error.to_string()));
        match child {
            Ok(child) => walk(&directory, &child, depth + 1, listing),
            Err(why) => listing.unread.push(unread(&directory, &why)),
        }
    }
}

fn is_maildir(path: &Path) -> bool {
    path.join("cur").is_dir() || path.join("new").is_dir()
}

fn unread(path: &Path, why: &str) -> Unread {
    Unread { place: path.display().to_string(), why: why.to_owned() }
}

/// Directories that may be folders, by name. Symbolic links are not followed: they can lead in circles.
fn directories(path: &Path, listing: &mut Listing) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for entry in read_directory(path, listing) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !["cur", "new", "tmp"].contains(&name.as_str()) && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let has_mail = |path: &Path| {
                is_maildir(path)
                    || fs::read_dir(path)
                        .is_ok_and(|mut inside| inside.any(|entry| entry.is_ok_and(|entry| entry.path().is_dir())))
            };
            if has_mail(&entry.path()) {
                found.push((name, entry.path()));
            }
        }
    }
    found
}

fn read_directory(path: &Path, listing: &mut Listing) -> Vec<fs::DirEntry> {
    let entries = fs::read_dir(path).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    match entries {
        Ok(mut entries) => {
            entries.sort_by_key(fs::DirEntry::file_name);
            entries
        }
        Err(error) => {
            listing.unread.push(unread(path, &error.to_string()));
            Vec::new()
        }
    }
}

/// Maildir++ names are modified UTF-7 by custom; one that is not is taken as it is.
fn segments(name: &str) -> Result<Vec<String>, String> {
    let format = NameFormat { separator: '.', utf8: false };
    let plain = NameFormat { separator: '.', utf8: true };
    let parsed = MailboxName::parse(name.as_bytes(), format).or_else(|_| MailboxName::parse(name.as_bytes(), plain));
    parsed.map(|name| name.segments().to_vec()).map_err(|error| error.to_string())
}

fn segments_of_plain(name: &str) -> Result<Vec<String>, String> {
    let format = NameFormat { separator: '/', utf8: false };
    let decoded = carillon_protocol::mailbox_name::decode_text(name.as_bytes(), format);
    Ok(vec![decoded.unwrap_or_else(|_| name.to_owned())])
}

/// Dovecot's custom: lines `0 $Forwarded`, where 0 is flag `a`.
fn keywords(path: &Path) -> Vec<(char, Keyword)> {
    let text = fs::read_to_string(path.join("dovecot-keywords")).unwrap_or_default();
    let line = |line: &str| {
        let (number, name) = line.split_once(' ')?;
        let letter = char::from(b'a'.checked_add(number.parse().ok().filter(|number: &u8| *number < 26)?)?);
        Some((letter, Keyword::new(name)?))
    };
    text.lines().filter_map(line).collect()
}

fn messages(directory: &Path, mailbox: &MailboxName, keywords: &[(char, Keyword)], listing: &mut Listing) {
    if !directory.is_dir() {
        return;
    }
    for entry in read_directory(directory, listing) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let flags = flags(&name, keywords);
        listing.entries.push(Entry { path: entry.path(), mailbox: mailbox.clone(), flags });
    }
}

fn flags(name: &str, keywords: &[(char, Keyword)]) -> FlagSet {
    let mut set = FlagSet::new();
    for letter in name.rsplit_once(":2,").map_or("", |(_, flags)| flags).chars() {
        let flag = match letter {
            'D' => Some(Flag::System(SystemFlag::Draft)),
            'F' => Some(Flag::System(SystemFlag::Flagged)),
            'R' => Some(Flag::System(SystemFlag::Answered)),
            'S' => Some(Flag::System(SystemFlag::Seen)),
            'T' => Some(Flag::System(SystemFlag::Deleted)),
            'P' => Keyword::new("$Forwarded").map(Flag::Keyword),
            _ => keywords.iter().find(|(known, _)| *known == letter).map(|(_, keyword)| Flag::Keyword(keyword.clone())),
        };
        flag.into_iter().for_each(|flag| set.insert(flag));
    }
    set
}

/// Reads a message. INTERNALDATE is the file's modification time, as the custom of maildir servers is.
pub fn read(entry: &Entry, message_bytes: u64) -> Outcome {
    let fail = |why: String| Unread { place: entry.path.display().to_string(), why };
    let metadata = fs::metadata(&entry.path).map_err(|error| fail(error.to_string()))?;
    if !metadata.is_file() || metadata.len() > message_bytes {
        return Err(fail(if metadata.is_file() { format!("longer than {message_bytes} bytes") } else { "no file".to_owned() }));
    }
    let bytes = fs::read(&entry.path).map_err(|error| fail(error.to_string()))?;
    let bytes = with_crlf(&bytes);
    if bytes.is_empty() || bytes.len() as u64 > message_bytes {
        return Err(fail(if bytes.is_empty() { "empty".to_owned() } else { format!("longer than {message_bytes} bytes") }));
    }
    let internal_date = InternalDate { unix_seconds: metadata.mtime(), offset_minutes: 0 };
    let place = entry.path.display().to_string();
    Ok(Item { place, mailbox: entry.mailbox.clone(), bytes, flags: entry.flags.clone(), internal_date })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn names(listing: &Listing) -> Vec<String> {
        let format = NameFormat { separator: '/', utf8: true };
        listing
            .entries
            .iter()
            .map(|entry| {
                format!(
                    "{} {}",
                    entry.mailbox.to_wire(format),
                    entry.flags.iter().map(|flag| flag.to_string()).collect::<Vec<_>>().join(",")
                )
            })
            .collect()
    }

    #[test]
    fn folders_and_flags() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        put(root, "cur/1:2,FS", "a");
        put(root, "cur/2:2,aPRTz", "b");
        put(root, "dovecot-keywords", "0 Work\n1 bad{\n");
        put(root, "new/3", "c");
        put(root, "tmp/4", "never");
        put(root, ".Sent.2024/cur/5:2,D", "d");
        put(root, ".Entw&APw-rfe/new/6", "e");
        put(root, "Plain/Deep/cur/7:2,", "f");
        put(root, "courierimapkeywords/x", "not mail");
        let listing = list(root, &MailboxName::inbox());
        assert_eq!(
            names(&listing),
            [
                "INBOX \\Flagged,\\Seen",
                "INBOX \\Answered,\\Deleted,$Forwarded,Work",
                "INBOX ",
                "Entwürfe ",
                "Sent/2024 \\Draft",
                "Plain/Deep "
            ]
        );
        assert_eq!(listing.unread, []);
        let below = list(root, &MailboxName::from_segments(["Old"]).unwrap());
        assert!(names(&below).contains(&"Old/Sent/2024 \\Draft".to_owned()), "{:?}", names(&below));
    }

    #[test]
    fn messages_are_read_whole_or_reported() {
        let directory = tempfile::tempdir().unwrap();
        put(directory.path(), "cur/1", "Subject: a\n\nb\n");
        put(directory.path(), "cur/2", "");
        put(directory.path(), "cur/3", &"x".repeat(100));
        std::os::unix::fs::symlink("/does/not/exist", directory.path().join("cur/4")).unwrap();
        let listing = list(directory.path(), &MailboxName::inbox());
        let outcomes: Vec<Outcome> = listing.entries.iter().map(|entry| read(entry, 50)).collect();
        assert_eq!(outcomes[0].as_ref().unwrap().bytes, b"Subject: a\r\n\r\nb\r\n");
        assert!(outcomes[0].as_ref().unwrap().internal_date.unix_seconds > 1_700_000_000);
        assert!(outcomes[1..].iter().all(Result::is_err) && outcomes.len() == 4);
    }
}
