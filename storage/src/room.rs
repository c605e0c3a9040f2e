//! How much of the disk may be filled: the reserve is kept free, so that neither the segments nor sled meet its real end.

use std::path::{Path, PathBuf};

use crate::error::AppendError;
use crate::files::free_bytes;

/// The room on the file system of a data directory.
#[derive(Debug)]
pub(crate) struct Room {
    directory: PathBuf,
    reserve: u64,
}

impl Room {
    /// The reserve is a number of bytes.
    pub(crate) fn new(directory: &Path, reserve: u64) -> Self {
        Self { directory: directory.to_path_buf(), reserve }
    }

    fn check_above(&self, kept: u64, bytes: u64) -> Result<(), AppendError> {
        let free = free_bytes(&self.directory).map_err(|error| AppendError::Failed(error.to_string()))?;
        if free < kept.saturating_add(bytes) { Err(AppendError::DiskFull) } else { Ok(()) }
    }

    /// Refuses a commit of so many bytes that would leave less than the reserve.
    pub(crate) fn check(&self, bytes: u64) -> Result<(), AppendError> {
        self.check_above(self.reserve, bytes)
    }

    /// Refuses what arrives ahead of its commit and would leave less than twice the reserve: whoever sends much is refused before small changes are.
    pub(crate) fn check_arriving(&self, bytes: u64) -> Result<(), AppendError> {
        self.check_above(self.reserve.saturating_mul(2), bytes)
    }

    /// Whether less than an eighth of the reserve is free; no where the system does not tell.
    pub(crate) fn is_nearly_gone(&self) -> bool {
        free_bytes(&self.directory).is_ok_and(|free| free < self.reserve / 8)
    }
}
