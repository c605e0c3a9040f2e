//! Listening: bounded accepting, and the hand-over of each connection to the thread that serves it.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use carillon_actors::session::admission::Admission;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};
use tokio::time::Instant;

use crate::exit::{Exit, Failure, failed};

/// How long accepting rests after an error of the system (out of file descriptors).
const REST: Duration = Duration::from_millis(50);

/// Counts connections, all together and by address.
#[derive(Debug)]
pub struct Gate {
    all: usize,
    each: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// What counts as one address: of IPv6 a /64, which one customer has. Loopback is not bounded by itself: proxies and webmail come from there.
fn counted(address: IpAddr) -> Option<IpAddr> {
    let address = address.to_canonical();
    match address {
        _ if address.is_loopback() => None,
        IpAddr::V4(_) => Some(address),
        IpAddr::V6(address) => Some(IpAddr::V6((u128::from(address) >> 64 << 64).into())),
    }
}

impl Gate {
    /// Lets in so many at a time, and so many of one address.
    pub fn new(all: usize, each: usize) -> Arc<Self> {
        Arc::new(Self { all, each, open: Mutex::default() })
    }

    fn open(&self) -> std::sync::MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a connection from `address`, if there is one.
    pub fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Admission> {
        let key = counted(address);
        {
            let mut open = self.open();
            let of_address = key.and_then(|key| open.by_address.get(&key).copied()).unwrap_or(0);
            if open.all >= self.all || of_address >= self.each {
                return None;
            }
            open.all += 1;
            if let Some(key) = key {
                open.by_address.insert(key, of_address + 1);
            }
        }
        let gate = Arc::clone(self);
        Some(Admission::new(move || gate.release(key)))
    }

    fn release(&self, key: Option<IpAddr>) {
        let mut open = self.open();
        open.all = open.all.saturating_sub(1);
        if let Some(key) = key
            && let Some(count) = open.by_address.get_mut(&key)
        {
            *count -= 1;
            if *count == 0 {
                open.by_address.remove(&key);
            }
        }
    }
}

/// Connections that the system may keep until they are accepted.
const BACKLOG: u32 = 1024;

/// An IPv6 address takes IPv6 alone, so that `0.0.0.0` may stand beside `[::]` on one port.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    if address.is_ipv6() {
        rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Binds a TCP address.
///
/// # Errors
/// It is taken or not ours.
pub fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    listen(address).map_err(|error| {
        let exit = if error.kind() == io::ErrorKind::AddrInUse { Exit::TryAgain } else { Exit::Failed };
        Failure::new(exit, format!("cannot listen on {address}: {error}"))
    })
}

/// Binds an address, or where its port is taken one of the next.
///
/// # Errors
/// As for [`bind`], of the last port tried.
pub fn bind_near(mut address: SocketAddr) -> Result<TcpListener, Failure> {
    for _ in 0..50 {
        match listen(address) {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && address.port() != 0 => {
                address.set_port(address.port().checked_add(1).unwrap_or(1024));
            }
            Err(_) => break,
        }
    }
    bind(address)
}

/// A unix socket; its file goes with the value.
#[derive(Debug)]
pub struct UnixDoor {
    /// Where connections come in.
    pub listener: UnixListener,
    path: PathBuf,
}

impl Drop for UnixDoor {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Binds a unix socket with mode 0660. A socket that nobody listens on any more is replaced; any other file is not.
///
/// # Errors
/// Somebody listens there, or the disk.
pub fn bind_unix(path: &Path) -> Result<UnixDoor, Failure> {
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
    if std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()) {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(Failure::new(Exit::TryAgain, format!("another process listens on {}", path.display())));
        }
        std::fs::remove_file(path).map_err(|error| failed("cannot replace", path, &error))?;
    }
    let listener = UnixListener::bind(path).map_err(|error| failed("cannot listen on", path, &error))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))
        .map_err(|error| failed("cannot protect", path, &error))?;
    Ok(UnixDoor { listener, path: path.to_owned() })
}

/// What happens often in a flood: one line of the trace a second, not a flood of lines.
#[derive(Default)]
struct Often {
    told: Option<Instant>,
    count: u64,
}

impl Often {
    /// Notes it once more; how often it was since the last time that it was said, where it is time to say so again.
    fn note(&mut self, now: Instant) -> Option<u64> {
        self.count += 1;
        let is_due = self.told.is_none_or(|told| now.duration_since(told) >= Duration::from_secs(1));
        is_due.then(|| {
            self.told = Some(now);
            std::mem::take(&mut self.count)
        })
    }
}

/// Says why a connection is not let in, where that can be said at once, and closes it.
fn turn_away(stream: TcpStream, farewell: &[u8]) {
    use std::io::Write as _;
    // Its buffer is empty: what does not fit at once never will, and nobody waits for a stranger.
    let _ = stream.into_std().and_then(|mut stream| stream.write_all(farewell));
}

/// Accepts for ever; `take` gets each connection that is let in, any other is told `farewell`.
pub async fn accept(listener: TcpListener, gate: Arc<Gate>, farewell: Vec<u8>, take: impl Fn(TcpStream, SocketAddr, Admission)) {
    let (mut turned_away, mut failed) = (Often::default(), Often::default());
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => match gate.admit(peer.ip()) {
                Some(admission) => take(stream, peer, admission),
                None => {
                    if let Some(count) = turned_away.note(Instant::now()) {
                        tracing::warn!(%peer, count, "too many connections: not let in");
                    }
                    turn_away(stream, &farewell);
                }
            },
            Err(error) => {
                if let Some(count) = failed.note(Instant::now()) {
                    tracing::warn!(%error, count, "accepting failed");
                }
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// The same for a unix socket, whose peers are counted in the total alone.
pub async fn accept_unix(door: UnixDoor, gate: Arc<Gate>, take: impl Fn(UnixStream, Admission)) {
    let (mut turned_away, mut failed) = (Often::default(), Often::default());
    loop {
        match door.listener.accept().await {
            Ok((stream, _)) => match gate.admit(IpAddr::from([127, 0, 0, 1])) {
                Some(admission) => take(stream, admission),
                None => {
                    if let Some(count) = turned_away.note(Instant::now()) {
                        tracing::warn!(count, "too many connections at the local socket: not let in");
                    }
                }
            },
            Err(error) => {
                if let Some(count) = failed.note(Instant::now()) {
                    tracing::warn!(%error, count, "accepting failed");
                }
                tokio::time::sleep(REST).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_come_back() {
        let gate = Gate::new(5, 2);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let (one, two) = (gate.admit(address("192.0.2.1")).unwrap(), gate.admit(address("::ffff:192.0.2.1")).unwrap());
        assert!(gate.admit(address("192.0.2.1")).is_none());
        let other = gate.admit(address("2001:db8::1")).unwrap();
        let _same_network = gate.admit(address("2001:db8::ffff:2")).unwrap();
        assert!(gate.admit(address("2001:db8::3")).is_none());
        drop(one);
        let locals: Vec<_> = std::iter::from_fn(|| gate.admit(address("::1"))).collect();
        assert_eq!(locals.len(), 2);
        drop((two, other, locals));
        assert_eq!(gate.open().all, 1);
        assert_eq!(gate.open().by_address.len(), 1);
    }

    #[test]
    fn a_flood_is_one_line_a_second() {
        let mut turned_away = Often::default();
        let begun = Instant::now();
        let lines: Vec<u64> =
            (0..2500).filter_map(|millisecond| turned_away.note(begun + Duration::from_millis(millisecond))).collect();
        assert_eq!(lines, [1, 1000, 1000]);
    }

    #[tokio::test]
    async fn the_next_free_port_is_taken() {
        let first = bind_near("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = first.local_addr().unwrap();
        assert_eq!(bind(address).unwrap_err().exit, Exit::TryAgain);
        assert!(bind_near(address).unwrap().local_addr().unwrap().port() > address.port());
    }

    #[tokio::test]
    async fn both_kinds_of_address_have_a_port_of_their_own() {
        let four = bind("0.0.0.0:0".parse().unwrap()).unwrap();
        let port = four.local_addr().unwrap().port();
        bind(format!("[::]:{port}").parse().unwrap()).unwrap();
    }

    #[tokio::test]
    async fn a_left_over_socket_is_replaced_and_a_file_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lmtp");
        let door = bind_unix(&path).unwrap();
        assert_eq!(bind_unix(&path).unwrap_err().exit, Exit::TryAgain);
        let left_over = std::os::unix::net::UnixListener::bind(directory.path().join("old")).unwrap();
        drop(left_over);
        assert!(bind_unix(&directory.path().join("old")).is_ok());
        std::fs::write(directory.path().join("file"), "mine").unwrap();
        assert!(bind_unix(&directory.path().join("file")).is_err());
        drop(door);
        assert!(!path.exists());
    }
}
