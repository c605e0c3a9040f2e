//! The operations on files that durability rests on, each of which a test can make fail.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use crate::fault::{FaultPlan, Operation};

/// Access to the disk, with the faults of a plan if there is one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files {
    plan: Option<Arc<FaultPlan>>,
}

impl Files {
    pub(crate) fn new(plan: Option<Arc<FaultPlan>>) -> Self {
        Self { plan }
    }

    pub(crate) fn check(&self, operation: Operation) -> io::Result<()> {
        self.plan.as_ref().and_then(|plan| plan.strike(operation)).map_or(Ok(()), |(error, _)| Err(error))
    }

    /// A new file, readable for its owner only.
    pub(crate) fn create(&self, path: &Path) -> io::Result<File> {
        self.check(Operation::Create)?;
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
    }

    pub(crate) fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Some((error, is_torn)) = self.plan.as_ref().and_then(|plan| plan.strike(Operation::Write)) {
            if is_torn {
                file.write_all_at(bytes.get(..bytes.len() / 2).unwrap_or_default(), offset)?;
            }
            return Err(error);
        }
        file.write_all_at(bytes, offset)
    }

    pub(crate) fn sync(&self, file: &File) -> io::Result<()> {
        self.check(Operation::Sync)?;
        file.sync_data()
    }

    pub(crate) fn truncate(&self, file: &File, length: u64) -> io::Result<()> {
        self.check(Operation::Truncate)?;
        file.set_len(length)
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check(Operation::Rename)?;
        fs::rename(from, to)
    }

    /// Removes a file; one that is not there is removed.
    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        self.check(Operation::Remove)?;
        missing_is_done(fs::remove_file(path))
    }

    /// Removes a directory and all that is in it; one that is not there is removed.
    pub(crate) fn remove_tree(&self, path: &Path) -> io::Result<()> {
        self.check(Operation::Remove)?;
        missing_is_done(fs::remove_dir_all(path))
    }

    pub(crate) fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.check(Operation::SyncDirectory)?;
        File::open(path)?.sync_all()
    }

    /// fsync of every file below a directory, and of the directories. What goes away meanwhile need not be on disk.
    pub(crate) fn sync_tree(&self, path: &Path) -> io::Result<()> {
        self.check(Operation::SyncTree)?;
        sync_all(path)
    }

    /// Writes a small file as a whole: another name, sync, rename, sync of the directory.
    pub(crate) fn replace(&self, directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
        let new = directory.join(format!("{name}.new"));
        self.remove(&new)?;
        let file = self.create(&new)?;
        self.write_at(&file, bytes, 0)?;
        self.sync(&file)?;
        self.rename(&new, &directory.join(name))?;
        self.sync_directory(directory)
    }
}

fn missing_is_done(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync_all(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            missing_is_done(sync_all(&entry?.path()))?;
        }
    }
    File::open(path)?.sync_all()
}

/// The free bytes of the file system that holds `path`, as far as this process may use them.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    let status = rustix::fs::statvfs(path)?;
    Ok(status.f_bavail.saturating_mul(status.f_frsize))
}

/// The bytes from `offset` on, fewer than asked for at the end of the file.
pub(crate) fn read_up_to(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    read_into(file, offset, length, &mut bytes)?;
    Ok(bytes)
}

/// As [`read_up_to`], into a buffer that may have been used before.
pub(crate) fn read_into(file: &File, offset: u64, length: usize, bytes: &mut Vec<u8>) -> io::Result<()> {
    bytes.resize(length, 0);
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// sled keeps large leaves as files and removes them whenever a leaf is written anew.
    #[test]
    fn files_that_come_and_go_while_a_tree_is_synced_are_no_error() {
        let directory = tempfile::tempdir().unwrap();
        let blobs = directory.path().join("blobs");
        fs::create_dir(&blobs).unwrap();
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0_u64.. {
                    if is_done.load(Ordering::SeqCst) {
                        break;
                    }
                    fs::write(blobs.join((round % 50).to_string()), "leaf").unwrap();
                    let _ = fs::remove_file(blobs.join(((round + 25) % 50).to_string()));
                    fs::create_dir_all(directory.path().join("more/deep")).unwrap();
                    fs::remove_dir_all(directory.path().join("more")).unwrap();
                }
            });
            let synced: io::Result<Vec<()>> = (0..200).map(|_| Files::default().sync_tree(directory.path())).collect();
            is_done.store(true, Ordering::SeqCst);
            synced.unwrap();
        });
        assert!(Files::default().sync_tree(&directory.path().join("nowhere")).is_err());
    }
}
