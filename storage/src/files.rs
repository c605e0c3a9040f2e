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

    pub(crate) fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.check(Operation::SyncDirectory)?;
        File::open(path)?.sync_all()
    }

    /// Writes a small file as a whole: another name, sync, rename, sync of the directory.
    pub(crate) fn replace(&self, directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
        let new = directory.join(format!("{name}.new"));
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.create(&new)?;
        self.write_at(&file, bytes, 0)?;
        self.sync(&file)?;
        self.rename(&new, &directory.join(name))?;
        self.sync_directory(directory)
    }
}

/// The free bytes of the file system that holds `path`, as far as this process may use them.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    let status = rustix::fs::statvfs(path)?;
    Ok(status.f_bavail.saturating_mul(status.f_frsize))
}

/// The bytes from `offset` on, fewer than asked for at the end of the file.
pub(crate) fn read_up_to(file: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
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
    Ok(bytes)
}
