//! Files that hold a large body while it arrives. They are worth nothing after a restart.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::AppendError;
use crate::room::Room;

/// A directory of spool files.
#[derive(Debug)]
pub(crate) struct Spool {
    directory: PathBuf,
    next: AtomicU64,
    /// Nothing where the directory is a temporary one, which goes with the value.
    room: Option<Arc<Room>>,
}

/// A file that a body is written to while it arrives. It is gone with the value.
#[derive(Debug)]
pub struct SpoolFile {
    path: PathBuf,
    file: File,
    room: Option<Arc<Room>>,
}

impl SpoolFile {
    /// Writes bytes behind those that it has. Blocks.
    ///
    /// # Errors
    /// `DiskFull` while less than twice the reserve would stay free: small changes of others still go on then. `Failed` where the disk fails.
    pub fn write(&self, bytes: &[u8]) -> Result<(), AppendError> {
        self.room.as_ref().map_or(Ok(()), |room| room.check_arriving(bytes.len() as u64))?;
        (&self.file).write_all(bytes).map_err(|error| AppendError::of(&error))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A file is itself alone.
impl PartialEq for SpoolFile {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}
impl Eq for SpoolFile {}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        // One that stays is swept at the next start.
        let _ = fs::remove_file(&self.path);
    }
}

impl Spool {
    /// A directory of its own under the system's temporary one; it goes with the value.
    pub(crate) fn temporary() -> io::Result<Self> {
        let directory = std::env::temp_dir().join(format!("carillon-{:016x}", rand::random::<u64>()));
        fs::DirBuilder::new().mode(0o700).create(&directory)?;
        Ok(Self { directory, next: AtomicU64::new(1), room: None })
    }

    /// `directory`, without what an earlier run left in it.
    pub(crate) fn at(directory: &Path, room: Arc<Room>) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            let name = path.file_name().and_then(std::ffi::OsStr::to_str).unwrap_or_default();
            if name.len() == 8 && name.bytes().all(|byte| byte.is_ascii_digit()) {
                fs::remove_file(path)?;
            }
        }
        Ok(Self { directory: directory.to_path_buf(), next: AtomicU64::new(1), room: Some(room) })
    }

    /// The path of a file that is not there yet.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.join(format!("{:08}", self.next.fetch_add(1, Ordering::Relaxed)))
    }

    /// A new, empty file, where there is room to write to it.
    pub(crate) fn file(&self) -> Result<SpoolFile, AppendError> {
        self.room.as_ref().map_or(Ok(()), |room| room.check_arriving(0))?;
        self.open()
    }

    pub(crate) fn open(&self) -> Result<SpoolFile, AppendError> {
        let path = self.path();
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        Ok(SpoolFile { path, file: opened.map_err(|error| AppendError::of(&error))?, room: self.room.clone() })
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if self.room.is_none() {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}
