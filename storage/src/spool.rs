//! Files that hold a large body while it arrives. They are worth nothing after a restart.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A directory of spool files.
#[derive(Debug)]
pub(crate) struct Spool {
    directory: PathBuf,
    next: AtomicU64,
    is_temporary: bool,
}

impl Spool {
    /// A directory of its own under the system's temporary one; it goes with the value.
    pub(crate) fn temporary() -> io::Result<Self> {
        let directory = std::env::temp_dir().join(format!("carillon-{:016x}", rand::random::<u64>()));
        fs::DirBuilder::new().mode(0o700).create(&directory)?;
        Ok(Self { directory, next: AtomicU64::new(1), is_temporary: true })
    }

    /// `directory`, emptied of what an earlier run left.
    pub(crate) fn at(directory: &Path) -> io::Result<Self> {
        match fs::remove_dir_all(directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::DirBuilder::new().mode(0o700).create(directory)?,
        }
        Ok(Self { directory: directory.to_path_buf(), next: AtomicU64::new(1), is_temporary: false })
    }

    /// A new, empty file.
    pub(crate) fn file(&self) -> io::Result<PathBuf> {
        let path = self.directory.join(format!("{:08}", self.next.fetch_add(1, Ordering::Relaxed)));
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(path)
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if self.is_temporary {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}
