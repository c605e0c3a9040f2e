//! Where the admin socket is, in the data directory, and how both sides of it speak: a value a line, as JSON.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read as _, Write};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Reply;
use crate::exit::{Exit, Failure, failed};

/// The longest line of a request, in bytes.
pub const MAX_REQUEST_BYTES: u64 = 4 << 20;
/// A reply may have any length: it is one's own server's, and a COPY of a whole mailbox is one row.
const ANY_LENGTH: u64 = u64::MAX;

/// `sun_path` has 108 bytes, the last of which is NUL.
const MAX_PATH_BYTES: usize = 107;
const NAME: &str = "admin.sock";

/// A path for the socket that the system takes: a longer one leads through the opened directory, which has to stay open until it was used.
fn address(data: &Path) -> io::Result<(PathBuf, Option<File>)> {
    let path = data.join(NAME);
    if path.as_os_str().len() <= MAX_PATH_BYTES {
        return Ok((path, None));
    }
    let directory = File::open(data)?;
    Ok((PathBuf::from(format!("/proc/self/fd/{}/{NAME}", directory.as_raw_fd())), Some(directory)))
}

/// A socket that only this user can reach; its file goes with the value.
#[derive(Debug)]
pub struct Door {
    /// Where connections come in.
    pub listener: UnixListener,
    path: PathBuf,
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Opens the socket of a data directory, whose lock the caller holds: what lies there is a leftover.
///
/// # Errors
/// The disk.
pub fn open(data: &Path) -> Result<Door, Failure> {
    let path = data.join(NAME);
    let _ = fs::remove_file(&path);
    let open = || -> io::Result<UnixListener> {
        let (address, _directory) = address(data)?;
        let listener = UnixListener::bind(&address)?;
        fs::set_permissions(&address, fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    };
    let listener = open().map_err(|error| failed("cannot open", &path, &error))?;
    Ok(Door { listener, path })
}

/// Connects to the server of a data directory; `None` where none is running.
///
/// # Errors
/// Whether one is running cannot be seen: mostly, this user may not.
pub fn connect(data: &Path) -> Result<Option<UnixStream>, Failure> {
    match address(data).and_then(|(address, _directory)| UnixStream::connect(address)) {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) => Err(failed("cannot ask the server of", data, &error)),
    }
}

/// Whether the other side, which is not to send anything now, is still there.
pub fn is_there(stream: &UnixStream) -> bool {
    if stream.set_nonblocking(true).is_err() {
        return false;
    }
    let read = (&mut &*stream).read(&mut [0]);
    let is_there = matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
    stream.set_nonblocking(false).is_ok() && is_there
}

/// What a connection that broke becomes.
pub fn broken(error: io::Error) -> Failure {
    Failure::new(Exit::Unreachable, format!("the server does not answer: {error}"))
}

/// A command's connection to what answers it.
pub struct Caller {
    input: BufReader<UnixStream>,
    output: UnixStream,
}

impl Caller {
    /// Over a connection.
    ///
    /// # Errors
    /// The system gives no second descriptor for it.
    pub fn new(stream: UnixStream) -> Result<Self, Failure> {
        Ok(Self { input: BufReader::new(stream.try_clone().map_err(broken)?), output: stream })
    }

    /// Sends a value as a line.
    ///
    /// # Errors
    /// What the other side said before it closed the connection, or how that broke.
    pub fn send<T: Serialize>(&mut self, value: &T) -> Result<(), Failure> {
        let sent = send(&mut self.output, value);
        sent.map_err(|error| self.said(error))
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// As for [`Caller::send`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = self.output.write_all(bytes);
        written.map_err(|error| self.said(error))
    }

    /// The next row; `None` when all was told.
    ///
    /// # Errors
    /// What the other side says instead, or the connection broke.
    pub fn row(&mut self) -> Result<Option<Value>, Failure> {
        match receive::<Reply>(&mut self.input, ANY_LENGTH).map_err(broken)? {
            Some(Reply::Row(value)) => Ok(Some(value)),
            Some(Reply::Done) => Ok(None),
            Some(Reply::Failed { exit, text }) => Err(Failure::new(Exit::from_number(exit), text)),
            None => Err(Failure::new(Exit::Unreachable, "the server ended")),
        }
    }

    /// Whoever closes a connection says first why.
    fn said(&mut self, error: io::Error) -> Failure {
        let is_closed = matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset);
        match if is_closed { self.row() } else { Ok(None) } {
            Err(failure) if failure.exit != Exit::Unreachable => failure,
            _ => broken(error),
        }
    }
}

/// Writes a value as a line.
///
/// # Errors
/// The other side is gone, or the value cannot be written as JSON.
pub fn send<T: Serialize>(stream: &mut dyn Write, value: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// Reads a value from a line of at most `longest` bytes; `None` at the end.
///
/// # Errors
/// The connection broke, or the line is too long or no such value.
pub fn receive<T: DeserializeOwned>(stream: &mut dyn BufRead, longest: u64) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    stream.take(longest).read_until(b'\n', &mut line)?;
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
    use super::super::Request;
    use super::*;

    #[test]
    fn a_long_path_is_reached_too() {
        let directory = tempfile::tempdir().unwrap();
        for data in [directory.path().join("short"), directory.path().join("x".repeat(120))] {
            fs::create_dir_all(&data).unwrap();
            assert!(connect(&data).unwrap().is_none());
            let door = open(&data).unwrap();
            assert_eq!(fs::metadata(data.join(NAME)).unwrap().permissions().mode() & 0o777, 0o600);
            let mut near = connect(&data).unwrap().unwrap();
            send(&mut near, &Request::Ready).unwrap();
            let (far, _) = door.listener.accept().unwrap();
            let request: Option<Request> = receive(&mut BufReader::new(far), MAX_REQUEST_BYTES).unwrap();
            assert_eq!(request, Some(Request::Ready));
            drop(door);
            assert!(!data.join(NAME).exists() && connect(&data).unwrap().is_none());
        }
    }

    #[test]
    fn broken_lines_are_errors() {
        for bad in [b"{".as_slice(), b"nonsense\n", b"\"ready\""] {
            assert!(receive::<Request>(&mut BufReader::new(bad), MAX_REQUEST_BYTES).is_err());
        }
        assert!(receive::<Request>(&mut b"\"ready\"\n".as_slice(), 5).is_err());
        assert_eq!(receive::<Request>(&mut b"".as_slice(), MAX_REQUEST_BYTES).unwrap(), None);
    }

    #[test]
    fn what_was_said_before_the_end_is_heard() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let mut caller = Caller::new(near).unwrap();
        assert!(is_there(&far));
        send(&mut far, &Reply::from(Failure::new(Exit::Data, "too much"))).unwrap();
        drop(far);
        let failure = caller.write(&vec![0; 1 << 20]).unwrap_err();
        assert_eq!((failure.exit, failure.text.as_str()), (Exit::Data, "too much"));
        let (near, far) = UnixStream::pair().unwrap();
        drop(far);
        assert!(!is_there(&near));
        assert_eq!(Caller::new(near).unwrap().send(&Request::Ready).unwrap_err().exit, Exit::Unreachable);
    }
}
