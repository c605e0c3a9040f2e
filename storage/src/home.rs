//! The data directory: whose it is, and that only one process uses it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::OpenError;
use crate::files::Files;
use crate::format::{FORMAT, HEADER_LENGTH, HeaderError, Identity, SegmentHeader, Taker};
use crate::segment;

const METADATA: &str = "carillon.store";
const MAGIC: &[u8; 8] = b"CARILSTO";
const METADATA_LENGTH: usize = 96;
/// Files of carillon that may stand in a directory before the store does.
const FILES: [&str; 13] = [
    "lock",
    "users",
    "users.lock",
    "users.new",
    "users.try",
    "admin.sock",
    "admin.path",
    "admin.new",
    "carillon.toml",
    "carillon.ballast",
    "carillon.rebuild",
    "carillon.rebuild.new",
    "carillon.store.new",
];
/// Directories that may.
const DIRECTORIES: [&str; 2] = ["tls", "lost+found"];
/// Directories that the store makes. Other programs have such names too: before the store is there they must be empty.
const OWN: [&str; 6] = ["segments", "bodies", "damaged", "sled", "sled.new", "spool"];

/// A data directory under this process's lock.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) directory: PathBuf,
    pub(crate) identity: Identity,
    /// Whether there is no store yet: its first segment makes it one, and then [`Home::found`].
    pub(crate) is_new: bool,
    /// Whether the metadata had to be made again from the segments.
    pub(crate) is_healed: bool,
    _lock: File,
}

fn failed(what: &str, path: &Path, error: &io::Error) -> OpenError {
    OpenError::of(format!("{what} {}: {error}", path.display()), error)
}

fn make_directory(path: &Path) -> Result<(), OpenError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| failed("cannot make", path, &error))
}

/// Makes a directory whose entry, and those of the directories above it that are made with it, survive a power loss.
fn make_durably(path: &Path, files: &Files) -> Result<(), OpenError> {
    let missing: Vec<&Path> =
        path.ancestors().take_while(|ancestor| !ancestor.as_os_str().is_empty() && !ancestor.exists()).collect();
    make_directory(path)?;
    for made in missing.into_iter().rev() {
        let parent = made.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        files.sync_directory(parent).map_err(|error| failed("cannot sync", parent, &error))?;
    }
    Ok(())
}

impl Home {
    pub(crate) fn open(directory: &Path, files: &Files) -> Result<Self, OpenError> {
        make_durably(directory, files)?;
        // Asked before the lock file is made: nothing is written into somebody else's directory.
        refuse_foreign(directory)?;
        let lock = lock(directory)?;
        let known = read_metadata(directory)?;
        let found = if known.is_some() { known } else { identity_of_segments(directory)? };
        let identity = found.unwrap_or_else(|| Identity { store: rand::random(), salt: rand::random() });
        let (is_new, is_healed) = (found.is_none(), found.is_some() && known.is_none());
        for name in ["segments", "bodies", "damaged"] {
            make_durably(&directory.join(name), files)?;
        }
        let home = Self { directory: directory.to_path_buf(), identity, is_new, is_healed, _lock: lock };
        if is_healed {
            home.found(files)?;
        }
        Ok(home)
    }

    /// Writes whose directory this is. Of a new store only behind its first segment, which says so too: metadata without any segment then always mean that
    /// the segments are lost.
    pub(crate) fn found(&self, files: &Files) -> Result<(), OpenError> {
        let written = files.replace(&self.directory, METADATA, &metadata(&self.identity));
        written.map_err(|error| failed("cannot write the store's metadata in", &self.directory, &error))
    }
}

/// Refuses a directory that is neither empty nor a data directory of carillon: nothing is to be written into somebody else's. It is ours if its metadata are
/// whole, or if they are lost and a segment says whose it is; before that it may hold what else the server puts there, and nothing more.
///
/// # Errors
/// `Foreign`; `Newer` where a newer version made it; `Damaged` where segments are there of which none says whose they are; `Failed` where it cannot be read.
pub fn refuse_foreign(directory: &Path) -> Result<(), OpenError> {
    if read_metadata(directory)?.is_some() || identity_of_segments(directory)?.is_some() {
        return Ok(());
    }
    let entries = fs::read_dir(directory).map_err(|error| failed("cannot read", directory, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| failed("cannot read", directory, &error))?;
        let (is_directory, name) = (entry.path().is_dir(), entry.file_name().to_string_lossy().into_owned());
        if name == METADATA {
            let text = format!("{} is damaged, and no segment says whose directory it is", entry.path().display());
            return Err(OpenError::Damaged(text));
        }
        let may_be_there = match (OWN.contains(&name.as_str()), is_directory) {
            (true, _) => {
                is_directory && is_unused(&entry.path()).map_err(|error| failed("cannot read", &entry.path(), &error))?
            }
            (false, true) => DIRECTORIES.contains(&name.as_str()),
            (false, false) => FILES.contains(&name.as_str()),
        };
        if !may_be_there {
            let text = format!("{} is no carillon data directory: it holds {name:?}", directory.display());
            return Err(OpenError::Foreign(format!("{text}; name an empty directory or a new one")));
        }
    }
    Ok(())
}

/// Whether a directory holds nothing but what a crash can leave of a store that was being made: a first segment without a whole header.
fn is_unused(directory: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_str() != Some(&segment::name(1, 0)) || entry.metadata()?.len() > HEADER_LENGTH {
            return Ok(false);
        }
    }
    Ok(true)
}

fn lock(directory: &Path) -> Result<File, OpenError> {
    let path = directory.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|error| failed("cannot open", &path, &error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = (&mut file).take(32).read_to_string(&mut holder);
            let text = format!("{} is in use by another carillon (process {})", directory.display(), holder.trim());
            return Err(OpenError::Locked(text));
        }
        Err(TryLockError::Error(error)) => return Err(failed("cannot lock", &path, &error)),
    }
    // Only for the message above: a disk that is full must not keep the store from opening.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

fn metadata(identity: &Identity) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(METADATA_LENGTH);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&0_u32.to_le_bytes());
    bytes.extend_from_slice(&identity.store);
    bytes.extend_from_slice(&identity.salt);
    let checksum = identity.hasher(b"metadata").update(&bytes).finalize();
    bytes.extend_from_slice(checksum.as_bytes());
    bytes
}

/// Nothing where there is no metadata or what is there is damaged.
fn read_metadata(directory: &Path) -> Result<Option<Identity>, OpenError> {
    let path = directory.join(METADATA);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("cannot read", &path, &error)),
    };
    Ok(parse_metadata(&bytes).transpose().map_err(newer)?.filter(|_| bytes.len() == METADATA_LENGTH))
}

fn newer(format: u32) -> OpenError {
    OpenError::Newer(format!("the store has format {format}; this version of carillon knows formats up to {FORMAT}"))
}

fn parse_metadata(bytes: &[u8]) -> Option<Result<Identity, u32>> {
    let mut taker = Taker(bytes);
    let magic: [u8; 8] = taker.array()?;
    let (format, _zero) = (taker.u32()?, taker.u32()?);
    let identity = Identity { store: taker.array()?, salt: taker.array()? };
    let checksum: [u8; 32] = taker.array()?;
    let is_right =
        &magic == MAGIC && identity.hasher(b"metadata").update(bytes.get(..METADATA_LENGTH - 32)?).finalize() == checksum;
    is_right.then_some(if format == FORMAT { Ok(identity) } else { Err(format) })
}

/// The identity that the segments agree on; nothing where there are none.
fn identity_of_segments(directory: &Path) -> Result<Option<Identity>, OpenError> {
    let listed = segment::list(&directory.join("segments")).map_err(|error| failed("cannot read", directory, &error))?;
    let mut identity = None;
    for file in &listed {
        let header = File::open(&file.path).and_then(|opened| crate::files::read_up_to(&opened, 0, HEADER_LENGTH as usize));
        match SegmentHeader::decode(&header.map_err(|error| failed("cannot read", &file.path, &error))?) {
            Ok((_, found)) if identity.is_some_and(|known| known != found) => {
                return Err(OpenError::Foreign(format!("{} holds segments of two stores", directory.display())));
            }
            Ok((_, found)) => identity = Some(found),
            Err(HeaderError::Newer(format)) => return Err(newer(format)),
            Err(HeaderError::Damaged) => {}
        }
    }
    if identity.is_none() && listed.iter().any(|file| fs::metadata(&file.path).is_ok_and(|found| found.len() > HEADER_LENGTH)) {
        let text =
            format!("{} holds segments, but neither its metadata nor any segment says whose they are", directory.display());
        return Err(OpenError::Damaged(text));
    }
    Ok(identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(directory: &Path) -> Result<Home, OpenError> {
        Home::open(directory, &Files::default())
    }

    /// What a store does with a home that is new.
    fn founded(directory: &Path) -> Home {
        let home = open(directory).unwrap();
        home.found(&Files::default()).unwrap();
        home
    }

    #[test]
    fn an_empty_directory_becomes_a_store_and_stays_that_store() {
        let directory = tempfile::tempdir().unwrap();
        let first = founded(directory.path());
        let identity = first.identity;
        assert!(first.is_new);
        let text = open(directory.path()).unwrap_err();
        assert!(matches!(&text, OpenError::Locked(text) if text.contains(&std::process::id().to_string())), "{text}");
        drop(first);
        let second = open(directory.path()).unwrap();
        assert_eq!((second.identity, second.is_new), (identity, false));
    }

    fn put(directory: &Path, files: &[&str]) {
        for file in files {
            let path = directory.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, *file).unwrap();
        }
    }

    /// All files with what is in them.
    fn contents(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(contents(&path));
                found.push((path, Vec::new()));
            } else {
                found.push((path.clone(), fs::read(path).unwrap()));
            }
        }
        found.sort();
        found
    }

    #[test]
    fn a_foreign_directory_is_refused_and_untouched() {
        let foreign: [&[&str]; 9] = [
            &["thesis.txt"],
            &["spool/alice", "spool/bob"],
            &["segments/a.ts", "spool/carol", "other/x", "thesis.txt"],
            &["segments/000000000002-000.segment", "letter"],
            &["bodies/head"],
            &["lockers/1"],
            &["users/alice/Maildir/new/1"],
            &["users-old", "tls-old"],
            &["sled/db", "sled/conf"],
        ];
        for files in foreign {
            let directory = tempfile::tempdir().unwrap();
            put(directory.path(), files);
            let before = contents(directory.path());
            assert!(
                matches!(crate::Store::open(directory.path(), crate::tests::options()), Err(OpenError::Foreign(_))),
                "{files:?}"
            );
            assert_eq!(contents(directory.path()), before);
        }
    }

    #[test]
    fn metadata_that_are_damaged_and_no_segment_are_damage() {
        let directory = tempfile::tempdir().unwrap();
        put(directory.path(), &["carillon.store"]);
        assert!(matches!(open(directory.path()), Err(OpenError::Damaged(_))));
    }

    #[test]
    fn what_the_server_itself_puts_there_is_not_foreign() {
        let directory = tempfile::tempdir().unwrap();
        put(directory.path(), &["users", "users.lock", "tls/ca.pem"]);
        // As far as a start came that was cut off.
        for name in ["segments", "bodies", "spool", "sled.new"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        fs::write(directory.path().join("segments").join(segment::name(1, 0)), "CARIL").unwrap();
        assert!(open(directory.path()).is_ok());
    }

    #[test]
    fn a_newer_format_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let identity = founded(directory.path()).identity;
        let mut bytes = metadata(&identity);
        bytes.truncate(METADATA_LENGTH - 32);
        bytes[8] = 2;
        let checksum = identity.hasher(b"metadata").update(&bytes).finalize();
        bytes.extend_from_slice(checksum.as_bytes());
        fs::write(directory.path().join(METADATA), bytes).unwrap();
        assert!(matches!(open(directory.path()), Err(OpenError::Newer(_))));
    }
}
