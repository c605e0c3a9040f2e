//! Whose the data directory is. An administrator works as root on the directory of a server that is not root: what is made there has to be the server's from
//! the first moment, or a command that is cut off would keep the server from starting.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::exit::{Exit, Failure, failed};

/// User and group of a directory, where this thread is root's and they are somebody else.
fn other_owner(directory: &Path) -> Option<(Uid, Gid)> {
    let metadata = fs::metadata(directory).ok().filter(|_| geteuid().is_root())?;
    Some((Uid::from_raw(metadata.uid()), Gid::from_raw(metadata.gid()))).filter(|(user, _)| !user.is_root())
}

/// Where this is root and a data directory is somebody else's, goes on with that user's rights alone, for good: the calling thread and all that it starts from now
/// on. Threads that run already keep root's, to read what only root may. Nothing is given away afterwards: a link that the owner has laid could lead root elsewhere.
/// Paths from now on are absolute: a working directory may be one that only root can enter.
///
/// # Errors
/// The system refuses it.
pub fn work_as_owner(directory: &Path) -> Result<(), Failure> {
    let Some((user, group)) = other_owner(directory) else { return Ok(()) };
    // The user last: nobody else may change groups.
    let changed = set_thread_groups(&[group])
        .and_then(|()| set_thread_res_gid(group, group, group))
        .and_then(|()| set_thread_res_uid(user, user, user));
    changed.map_err(|error| failed("cannot work as the owner of", directory, &error.into()))
}

/// A server must not run as root on the directory of another user, who could not start it again.
///
/// # Errors
/// It would.
pub fn refuse_root(directory: &Path) -> Result<(), Failure> {
    let Some((user, _)) = other_owner(directory) else { return Ok(()) };
    let (shown, user) = (directory.display(), user.as_raw());
    let text = format!(
        "{shown} belongs to user {user}: run the server as that user, or make the directory root's (chown -R root {shown})"
    );
    Err(Failure::new(Exit::Config, text))
}
