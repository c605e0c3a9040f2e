//! The files of the message log: their names, and the open ones that bodies are read from.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::body::{BodyHead, HEAD};
use crate::files::read_up_to;
use crate::format::{BodyPlace, Identity};
use crate::record::BodyHash;

/// How many files are kept open for reading.
const OPEN_LIMIT: usize = 128;
/// What stands before the content in a body's own file: magic, format, store id, zero.
pub(crate) const LARGE_HEADER: u64 = 32;

/// One segment on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentFile {
    pub(crate) number: u64,
    /// Counts how often the file was written anew by healing.
    pub(crate) generation: u32,
    pub(crate) path: PathBuf,
}

pub(crate) fn name(number: u64, generation: u32) -> String {
    format!("{number:012}-{generation:03}.segment")
}

fn parse(name: &str) -> Option<(u64, u32)> {
    let (number, generation) = name.strip_suffix(".segment")?.split_once('-')?;
    Some((number.parse().ok()?, generation.parse().ok()?))
}

/// The newest generation of each segment, ascending.
pub(crate) fn list(directory: &Path) -> io::Result<Vec<SegmentFile>> {
    let mut found = list_all(directory)?;
    found.reverse();
    found.dedup_by_key(|file| file.number);
    found.reverse();
    Ok(found)
}

/// Every generation of each segment, ascending.
pub(crate) fn list_all(directory: &Path) -> io::Result<Vec<SegmentFile>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if let Some((number, generation)) = entry.file_name().to_str().and_then(parse) {
            found.push(SegmentFile { number, generation, path: entry.path() });
        }
    }
    found.sort_by_key(|file| (file.number, file.generation));
    Ok(found)
}

/// The files that bodies lie in.
#[derive(Debug)]
pub(crate) struct Shelf {
    directory: PathBuf,
    open: Mutex<HashMap<u64, Arc<File>>>,
}

impl Shelf {
    pub(crate) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_path_buf(), open: Mutex::new(HashMap::new()) }
    }

    /// Where a large body's own file stands.
    pub(crate) fn large_path(&self, hash: BodyHash) -> PathBuf {
        self.directory.join("bodies").join(format!("{hash}.body"))
    }

    /// A large body's own file, and where in it the body lies: the file says that itself, for the same body may be stored anew with another length.
    /// `InvalidData` where its head is not whole.
    pub(crate) fn large(&self, hash: BodyHash, identity: &Identity) -> io::Result<(Arc<File>, BodyPlace)> {
        let file = File::open(self.large_path(hash))?;
        let stored = file.metadata()?.len().saturating_sub(LARGE_HEADER);
        let head = BodyHead::decode(&read_up_to(&file, LARGE_HEADER, HEAD)?, stored, identity);
        let head = head.filter(|head| head.hash == hash).ok_or(io::ErrorKind::InvalidData)?;
        Ok((Arc::new(file), BodyPlace { segment: 0, offset: LARGE_HEADER, stored, length: head.length }))
    }

    /// The file in which a body lies, and where it lies in it.
    pub(crate) fn file(&self, hash: BodyHash, place: &BodyPlace, identity: &Identity) -> io::Result<(Arc<File>, BodyPlace)> {
        if place.segment == 0 {
            return self.large(hash, identity);
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.get(&place.segment) {
            return Ok((Arc::clone(file), *place));
        }
        let file = Arc::new(self.open_segment(place.segment)?);
        if open.len() >= OPEN_LIMIT {
            open.clear();
        }
        open.insert(place.segment, Arc::clone(&file));
        Ok((file, *place))
    }

    fn open_segment(&self, number: u64) -> io::Result<File> {
        let directory = self.directory.join("segments");
        match File::open(directory.join(name(number, 0))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return opened,
        }
        let newest = list(&directory)?.into_iter().find(|file| file.number == number);
        File::open(newest.ok_or(io::ErrorKind::NotFound)?.path)
    }

    /// Forgets the open files: a segment has a new generation.
    pub(crate) fn forget(&self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_generation_of_each_segment_is_listed() {
        let directory = tempfile::tempdir().unwrap();
        for (number, generation) in [(2, 0), (1, 0), (1, 10), (1, 9), (3, 1)] {
            fs::write(directory.path().join(name(number, generation)), "").unwrap();
        }
        fs::write(directory.path().join("note.txt"), "").unwrap();
        let listed = list(directory.path()).unwrap();
        assert_eq!(listed.iter().map(|file| (file.number, file.generation)).collect::<Vec<_>>(), [(1, 10), (2, 0), (3, 1)]);
        assert_eq!(list(&directory.path().join("none")).unwrap(), []);
    }
}
