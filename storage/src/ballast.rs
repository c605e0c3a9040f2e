//! Room that is kept for sled: a file that is given up when others have filled the disk, because sled cannot even be opened without room.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};

use crate::files::free_bytes;

/// More than sled ever needs to be opened and to be told of what was committed since the checkpoint.
const MOST_BYTES: u64 = 32 * 1024 * 1024;
/// Less is not worth a file.
const LEAST_BYTES: u64 = 64 * 1024;

/// The file.
#[derive(Debug)]
pub(crate) struct Ballast {
    directory: PathBuf,
    bytes: u64,
}

impl Ballast {
    /// The ballast of a data directory, of so many bytes, 32 MiB at most; nothing is taken yet.
    pub(crate) fn new(directory: &Path, bytes: u64) -> Self {
        Self { directory: directory.to_path_buf(), bytes: bytes.min(MOST_BYTES) }
    }

    fn open(&self) -> io::Result<File> {
        let path = self.directory.join("carillon.ballast");
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
    }

    /// Gives the room free.
    pub(crate) fn release(&self) {
        if let Err(error) = self.open().and_then(|file| file.set_len(0)) {
            tracing::warn!(%error, "the room that is kept for a full disk could not be freed");
        }
    }

    /// Takes what is missing, as far as there is room. A file system that cannot reserve room has none to give up.
    pub(crate) fn take(&self) {
        let Ok(file) = self.open() else { return };
        let held = file.metadata().map_or(0, |metadata| metadata.len());
        let mut wanted = self.bytes.saturating_sub(held).min(free_bytes(&self.directory).unwrap_or(0));
        while wanted >= LEAST_BYTES {
            match fallocate(&file, FallocateFlags::empty(), held, wanted) {
                Ok(()) => return,
                Err(rustix::io::Errno::NOSPC) => wanted /= 2,
                Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_taken_and_given_back() {
        let directory = tempfile::tempdir().unwrap();
        let ballast = Ballast::new(directory.path(), 1 << 20);
        let length = || std::fs::metadata(directory.path().join("carillon.ballast")).unwrap().len();
        ballast.take();
        assert_eq!(length(), 1 << 20);
        ballast.take();
        assert_eq!(length(), 1 << 20);
        ballast.release();
        assert_eq!(length(), 0);
    }
}
