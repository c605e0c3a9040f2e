//! Maildirs: `cur` and `new`, flags behind `:2,`, folders as Maildir++ (`.A.B`) or as plain directories. `tmp` holds what was never delivered.

use std::fs::{self, DirEntry};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use carillon_protocol::date::InternalDate;
use carillon_protocol::flag::{Flag, FlagSet, Keyword, SystemFlag};
use carillon_protocol::mailbox_name::{MailboxName, NameFormat};

use super::{Item, Outcome, Unread, below, is_directory, read_directory, segment_of, with_crlf};

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

/// Lists a maildir whose own messages belong to `root`, its folders beside it or, where `root` is not INBOX, below it. Whatever may be a folder and is none of
/// the mailboxes is among `unread`.
pub fn list(path: &Path, root: &MailboxName) -> Listing {
    let mut listing = Listing::default();
    walk(path, root, 0, &mut listing);
    listing
}

fn walk(path: &Path, mailbox: &MailboxName, depth: usize, listing: &mut Listing) {
    if depth > MAX_DEPTH {
        listing.unread.push(Unread::of(path, "too deep"));
        return;
    }
    let entries = read_directory(path, &mut listing.unread);
    let (mail, others): (Vec<_>, Vec<_>) = entries.into_iter().partition(is_mail);
    if !mail.is_empty() {
        listing.mailboxes.push(mailbox.clone());
        let keywords = keywords(path, &mut listing.unread);
        for directory in mail {
            messages(&directory.path(), mailbox, &keywords, listing);
        }
    }
    for entry in others.into_iter().filter(|entry| entry.file_name() != "tmp") {
        match may_hold_mail(&entry) {
            Ok(true) => match child(&entry, mailbox, depth) {
                Ok(child) => walk(&entry.path(), &child, depth + 1, listing),
                Err(why) => listing.unread.push(Unread::of(&entry.path(), &why)),
            },
            Ok(false) => {}
            Err(why) => listing.unread.push(Unread::of(&entry.path(), &why)),
        }
    }
}

/// Whether it is where a maildir's messages are.
fn is_mail(entry: &DirEntry) -> bool {
    let kind = entry.file_type();
    (entry.file_name() == "cur" || entry.file_name() == "new")
        && kind.is_ok_and(|kind| kind.is_dir() || kind.is_symlink() && entry.path().is_dir())
}

/// Whether a directory may be or hold a folder.
fn may_hold_mail(entry: &DirEntry) -> Result<bool, String> {
    if !is_directory(entry)? {
        return Ok(false);
    }
    for inside in fs::read_dir(entry.path()).map_err(|error| error.to_string())? {
        let kind = inside.and_then(|inside| inside.file_type()).map_err(|error| error.to_string())?;
        if kind.is_dir() || kind.is_symlink() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The mailbox of a directory below that of `mailbox`.
fn child(entry: &DirEntry, mailbox: &MailboxName, depth: usize) -> Result<MailboxName, String> {
    let name = entry.file_name().to_string_lossy().into_owned();
    let levels = match name.strip_prefix('.') {
        // Maildir++ keeps all folders in the top directory, their levels separated by dots.
        Some(folder) if depth == 0 => segments(folder)?,
        Some(_) => return Err("a folder whose name begins with a dot, below the top directory".to_owned()),
        None => vec![segment_of(&name)],
    };
    below(mailbox, levels)
}

/// Maildir++ names are modified UTF-7 by custom; one that is not is taken as it is.
fn segments(name: &str) -> Result<Vec<String>, String> {
    let format = NameFormat { separator: '.', utf8: false };
    let plain = NameFormat { separator: '.', utf8: true };
    let parsed = MailboxName::parse(name.as_bytes(), format).or_else(|_| MailboxName::parse(name.as_bytes(), plain));
    parsed.map(|name| name.segments().to_vec()).map_err(|error| error.to_string())
}

/// Dovecot's custom: lines `0 $Forwarded`, where 0 is flag `a`. What cannot be a keyword of a message is among `unread`.
fn keywords(path: &Path, unread: &mut Vec<Unread>) -> Vec<(char, Keyword)> {
    let path = path.join("dovecot-keywords");
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            unread.push(Unread::of(&path, &error.to_string()));
            return Vec::new();
        }
    };
    let mut keywords = Vec::new();
    for line in String::from_utf8_lossy(&bytes).lines().filter(|line| !line.trim().is_empty()) {
        let (number, name) = line.split_once(' ').unwrap_or((line, ""));
        match (number.parse::<u32>().ok(), Keyword::new(name)) {
            (Some(number @ 0..26), Some(keyword)) => {
                keywords.extend(('a'..='z').nth(number as usize).map(|letter| (letter, keyword)))
            }
            // File names have letters for 26 of them.
            (Some(_), Some(keyword)) => {
                unread.push(Unread::of(&path, &format!("which messages have {keyword} stands in the server's index alone")));
            }
            _ => unread.push(Unread::of(&path, &format!("no keyword: {line:?}"))),
        }
    }
    keywords
}

fn messages(directory: &Path, mailbox: &MailboxName, keywords: &[(char, Keyword)], listing: &mut Listing) {
    for entry in read_directory(directory, &mut listing.unread) {
        let name = entry.file_name().to_string_lossy().into_owned();
        // By the custom of maildirs, files whose names begin with a dot are no messages.
        if !name.starts_with('.') {
            let flags = flags(&name, keywords);
            listing.entries.push(Entry { path: entry.path(), mailbox: mailbox.clone(), flags });
        }
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
    let (mailbox, flags) = (entry.mailbox.clone(), entry.flags.clone());
    Ok(Item { place, mailbox, bytes, flags, odd_keywords: Vec::new(), internal_date })
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
        put(root, "dovecot-keywords", "0 Work\n");
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

    /// What could not be listed, each by its path below `root`.
    fn unread(root: &Path) -> Vec<String> {
        let root_shown = root.display().to_string();
        let line = |unread: Unread| format!("{}: {}", unread.place.replace(&root_shown, ""), unread.why);
        list(root, &MailboxName::inbox()).unread.into_iter().map(line).collect()
    }

    #[test]
    fn what_may_be_a_folder_and_is_not_read_is_reported() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("maildir");
        put(&root, "cur/1:2,", "a");
        put(directory.path(), "elsewhere/cur/2:2,", "b");
        let link = |to: &str, from: &str| std::os::unix::fs::symlink(directory.path().join(to), root.join(from)).unwrap();
        link("elsewhere", ".Linked");
        link("nowhere", ".Dangling");
        link("elsewhere/cur/2:2,", "maildirfolder");
        put(&root, "Plain/.hidden/cur/3:2,", "c");
        put(&root, ".bad\u{1}name/cur/4:2,", "d");
        put(&root, "sieve/script", "keep;");
        put(&root, &format!("{}cur/5", "deep/".repeat(20)), "e");
        let reports = unread(&root);
        let report = |start: &str, text: &str| reports.iter().any(|line| line.starts_with(start) && line.contains(text));
        assert!(report("/.Linked: ", "a symbolic link") && report("/.Dangling: ", "a symbolic link"), "{reports:?}");
        assert!(report("/Plain/.hidden: ", "a dot") && report("/.bad\u{1}name: ", "control characters"), "{reports:?}");
        assert!(report("/deep/deep", "too deep") && reports.len() == 5, "{reports:?}");
    }

    #[test]
    fn what_this_user_may_not_read_is_reported() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for folder in [".", ".None", ".List", ".Cur"] {
            put(root, &format!("{folder}/cur/1:2,a"), "a");
        }
        put(root, "dovecot-keywords", "0 Work\n");
        let modes = [(".", 0o755), (".None", 0o000), (".List", 0o444), (".Cur/cur", 0o000), ("dovecot-keywords", 0o000)];
        let set = |path: &str, mode| fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).unwrap();
        modes.iter().for_each(|(path, mode)| set(path, *mode));
        // Root may read everything; this thread is nobody from now on.
        if rustix::process::geteuid().is_root() {
            let nobody = rustix::process::Uid::from_raw(65_534);
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        }
        let reports = unread(root);
        for path in ["/.None: ", "/.List", "/.Cur/cur: ", "/dovecot-keywords: "] {
            assert!(reports.iter().any(|line| line.starts_with(path) && line.contains("denied")), "{path} {reports:?}");
        }
        let listing = list(root, &MailboxName::inbox());
        assert!(listing.entries.len() == 1 && reports.len() == 5, "{reports:?}");
        let missing = list(&root.join(".None"), &MailboxName::inbox());
        assert!(missing.mailboxes.is_empty() && missing.unread.len() == 1, "{missing:?}");
    }

    #[test]
    fn keywords_that_cannot_be_kept_are_reported() {
        let directory = tempfile::tempdir().unwrap();
        put(directory.path(), "cur/1:2,abz", "a");
        fs::write(directory.path().join("dovecot-keywords"), b"0 Work\n1 bad{\n\n25 Last\n26 Beyond\n2 \xff\n").unwrap();
        let listing = list(directory.path(), &MailboxName::inbox());
        assert_eq!(names(&listing), ["INBOX Last,Work"]);
        assert_eq!(unread(directory.path()).len(), 3, "{:?}", listing.unread);
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
