//! A store that cannot be written, on a mounted snapshot mostly. To be read it needs a lock and an index, and what a start would mend; these are made in a
//! temporary directory, with copies of the few files that would be written. All else there leads to the store by links.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, statvfs};

use crate::exit::{Failure, failed};

/// A temporary data directory that reads another one; it goes with the value.
#[derive(Debug)]
pub struct Aside(PathBuf);

impl Drop for Aside {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Aside {
    /// For a data directory on a file system that is read-only; `None` for any other.
    ///
    /// # Errors
    /// It cannot be read, or nothing can be written to the directory for temporary files.
    pub fn of(data: &Path) -> Result<Option<Self>, Failure> {
        if !statvfs(data).is_ok_and(|status| status.f_flag.contains(StatVfsMountFlags::RDONLY)) {
            return Ok(None);
        }
        let path = std::env::temp_dir().join(format!("carillon-read-{:016x}", rand::random::<u64>()));
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(|error| failed("cannot make", &path, &error))?;
        let aside = Self(path);
        aside.fill(data).map_err(|error| failed("cannot copy from the read-only directory", data, &error))?;
        Ok(Some(aside))
    }

    /// Where the store can be opened.
    pub fn path(&self) -> &Path {
        &self.0
    }

    fn fill(&self, data: &Path) -> io::Result<()> {
        for name in ["carillon.store", "carillon.rebuild", "sled"] {
            copy(&data.join(name), &self.0.join(name))?;
        }
        symlink(data.join("bodies"), self.0.join("bodies"))?;
        fs::create_dir(self.0.join("segments"))?;
        let mut segments = fs::read_dir(data.join("segments"))?.collect::<io::Result<Vec<_>>>()?;
        segments.sort_by_key(fs::DirEntry::file_name);
        let newest = segments.pop();
        for segment in segments {
            symlink(segment.path(), self.0.join("segments").join(segment.file_name()))?;
        }
        // A start cuts off what was not finished.
        newest.map_or(Ok(()), |segment| copy(&segment.path(), &self.0.join("segments").join(segment.file_name())))
    }
}

/// Copies a file, or a directory and all below it, where it is there.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return fs::copy(from, to).map(drop),
        entries => entries?,
    };
    fs::create_dir(to)?;
    entries.into_iter().try_for_each(|entry| entry.and_then(|entry| copy(&entry.path(), &to.join(entry.file_name()))))
}
