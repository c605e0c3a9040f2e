//! Whose the data directory is. An administrator works as root on the directory of a server that is not root: what root makes there has to be the
//! server's, or the server could not read it.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, fchown, lchown};
use std::path::Path;

use crate::exit::{Failure, failed};

/// User and group of a directory, where this process is root and they are somebody else.
fn other_owner(directory: &Path) -> Option<(u32, u32)> {
    let is_root = rustix::process::geteuid().is_root();
    let metadata = fs::metadata(directory).ok().filter(|_| is_root)?;
    Some((metadata.uid(), metadata.gid())).filter(|(user, _)| *user != 0)
}

/// Gives a file that was made just now to the owner of its directory.
///
/// # Errors
/// The system refuses it.
pub fn give(file: &File, directory: &Path) -> std::io::Result<()> {
    other_owner(directory).map_or(Ok(()), |(user, group)| fchown(file, Some(user), Some(group)))
}

/// Gives all that is root's in a data directory to the directory's owner: after work on its store without its server.
///
/// # Errors
/// The system refuses it.
pub fn give_all(data: &Path) -> Result<(), Failure> {
    let Some((user, group)) = other_owner(data) else { return Ok(()) };
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).map_err(|error| failed("cannot read", &folder, &error))?;
        for entry in entries.flatten() {
            // Not followed: a link may lead anywhere.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.uid() == 0 {
                let given = lchown(entry.path(), Some(user), Some(group));
                given.map_err(|error| failed("cannot give to the directory's owner", &entry.path(), &error))?;
            }
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(())
}
