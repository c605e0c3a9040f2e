//! Where the admin socket is: in the data directory; a path longer than a unix socket's may be is replaced by a short one that is noted there.

use std::fs;
use std::io::{self, BufRead, Read as _, Write};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::MAX_LINE_BYTES;
use crate::exit::{Failure, failed};
use crate::users::write_synced;

/// `sun_path` has 108 bytes, the last of which is NUL.
const MAX_PATH_BYTES: usize = 107;

fn usual(data: &Path) -> PathBuf {
    data.join("admin.sock")
}

fn note(data: &Path) -> PathBuf {
    data.join("admin.path")
}

fn fits(path: &Path) -> bool {
    path.as_os_str().len() <= MAX_PATH_BYTES
}

/// A socket that only this user can reach; its file goes with the value.
#[derive(Debug)]
pub struct Door {
    /// Where connections come in.
    pub listener: UnixListener,
    path: PathBuf,
    directory: Option<PathBuf>,
    note: PathBuf,
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
        if let Some(directory) = &self.directory {
            let _ = fs::remove_dir(directory);
            let _ = fs::remove_file(&self.note);
        }
    }
}

/// Opens the socket of a data directory, whose lock the caller holds: what lies there is a leftover.
///
/// # Errors
/// The disk.
pub fn open(data: &Path) -> Result<Door, Failure> {
    let (mut path, mut directory) = (usual(data), None);
    let _ = fs::remove_file(note(data));
    if !fits(&path) {
        let short = std::env::temp_dir().join(format!("carillon-{:016x}", rand::random::<u64>()));
        fs::DirBuilder::new().mode(0o700).create(&short).map_err(|error| failed("cannot make", &short, &error))?;
        path = short.join("admin.sock");
        write_synced(&note(data), path.as_os_str().as_encoded_bytes(), 0o600)?;
        directory = Some(short);
    }
    let _ = fs::remove_file(&path);
    let open = || -> io::Result<UnixListener> {
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    };
    let listener = open().map_err(|error| failed("cannot open", &path, &error))?;
    Ok(Door { listener, path, directory, note: note(data) })
}

/// Connects to the server of a data directory; `None` where none is running.
pub fn connect(data: &Path) -> Option<UnixStream> {
    let noted = fs::read_to_string(note(data)).ok().map(PathBuf::from);
    let path = noted.unwrap_or_else(|| usual(data));
    if fits(&path) { UnixStream::connect(path).ok() } else { None }
}

/// Writes a value as a line.
///
/// # Errors
/// The other side is gone, or the value cannot be written as JSON.
pub fn send<T: serde::Serialize>(stream: &mut dyn Write, value: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// Reads a value from a line; `None` at the end.
///
/// # Errors
/// The connection broke, or the line is too long or no such value.
pub fn receive<T: serde::de::DeserializeOwned>(stream: &mut dyn BufRead) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    let limit = u64::try_from(MAX_LINE_BYTES).unwrap_or(u64::MAX);
    stream.take(limit).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.last() != Some(&b'\n') {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a line of the admin socket is cut or too long"));
    }
    Ok(Some(serde_json::from_slice(&line)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_gets_a_short_socket() {
        let directory = tempfile::tempdir().unwrap();
        for data in [directory.path().join("short"), directory.path().join("x".repeat(120))] {
            fs::create_dir_all(&data).unwrap();
            assert!(connect(&data).is_none());
            let door = open(&data).unwrap();
            assert_eq!(fs::metadata(&door.path).unwrap().permissions().mode() & 0o777, 0o600);
            let mut near = connect(&data).unwrap();
            send(&mut near, &super::super::Request::Ready).unwrap();
            let (far, _) = door.listener.accept().unwrap();
            let request: Option<super::super::Request> = receive(&mut io::BufReader::new(far)).unwrap();
            assert_eq!(request, Some(super::super::Request::Ready));
            let path = door.path.clone();
            drop(door);
            assert!(!path.exists() && connect(&data).is_none());
        }
    }

    #[test]
    fn broken_lines_are_errors() {
        for bad in [b"{".as_slice(), b"nonsense\n", b"\"ready\""] {
            assert!(receive::<super::super::Request>(&mut io::BufReader::new(bad)).is_err());
        }
        assert_eq!(receive::<super::super::Request>(&mut b"".as_slice()).unwrap(), None);
    }
}
