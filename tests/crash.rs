//! kill -9 and the pulled plug against the real binary, under concurrent work; then `log verify` and the audit of all that was acknowledged.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by a panic")]

#[path = "simulation/client.rs"]
mod client;
#[path = "simulation/ledger.rs"]
mod ledger;
#[path = "simulation/people.rs"]
mod people;

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use client::Client;
use ledger::Ledger;
use people::{Books, Life, administrator, audit, reader};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const BINARY: &str = env!("CARGO_BIN_EXE_carillon");

/// A server over a data directory; killed when dropped.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start(data: &Path) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = Command::new(BINARY);
        command.args(["serve", "--imap", &address.to_string(), "--data"]).arg(data);
        let process = command.stdin(Stdio::null()).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut server = Self { process, address };
        server.watch_for_panics();
        let begun = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            assert!(server.process.try_wait().unwrap().is_none(), "the server ended at its start");
            assert!(begun.elapsed() < Duration::from_secs(30), "the server does not answer");
            std::thread::sleep(Duration::from_millis(5));
        }
        server
    }

    /// A panic anywhere in the server ends this test.
    fn watch_for_panics(&mut self) {
        let trace = BufReader::new(self.process.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in trace.lines().map_while(Result::ok) {
                if line.contains("panicked") {
                    eprintln!("{line}");
                    std::process::abort();
                }
            }
        });
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn add_user(data: &Path) {
    let mut command = Command::new(BINARY);
    command.args(["user", "add", "somebody", "--password-stdin", "--data"]).arg(data);
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    process.stdin.take().unwrap().write_all(b"secret\n").unwrap();
    assert!(process.wait().unwrap().success(), "user add failed");
}

fn verify(data: &Path) {
    let output = Command::new(BINARY).args(["log", "verify", "--data"]).arg(data).output().unwrap();
    let (text, trace) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "log verify: {text}{trace}");
}

fn life(address: SocketAddr, books: &Books) -> Rc<Life> {
    let connect = move |name| -> people::Connecting {
        Box::pin(async move {
            let stream = tokio::net::TcpStream::connect(address).await.ok()?;
            Client::log_in(Box::new(stream), name).await
        })
    };
    Rc::new(Life { connect: Box::new(connect), books: books.clone(), pause_microseconds: 3_000 })
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, future)
}

/// Everybody works until the server is gone.
async fn work(life: Rc<Life>, round: u64) {
    let dice = |who: u64| StdRng::seed_from_u64(round * 100 + who);
    let mut people = vec![tokio::task::spawn_local(administrator(life.clone(), dice(0)))];
    people.extend((1..6).map(|who| tokio::task::spawn_local(reader(life.clone(), who, dice(who)))));
    for person in people {
        person.await.unwrap();
    }
}

fn complaints(books: &Books) -> Vec<String> {
    std::mem::take(&mut books.borrow_mut().complaints)
}

/// One round: work, an end by force at a moment of the dice, a start, the audit.
fn round(number: u64, data: &Path, books: &Books, end: impl FnOnce(Server) + Send) {
    let server = Server::start(data);
    let address = server.address;
    let mut dice = StdRng::seed_from_u64(number);
    let delay = Duration::from_millis(dice.random_range(50..900));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(delay);
            end(server);
        });
        block_on(work(life(address, books), number));
    });
    verify(data);
    let server = Server::start(data);
    block_on(audit(&life(server.address, books)));
    server.kill();
    let complaints = complaints(books);
    assert!(complaints.is_empty(), "round {number}:\n{}", complaints.join("\n"));
}

#[test]
fn twenty_rounds_of_kill_9_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    add_user(&data);
    let books: Books = Rc::new(RefCell::new(Ledger::new()));
    for number in 1..=20 {
        round(number, &data, &books, Server::kill);
    }
    let acknowledged = books.borrow().appended.len();
    assert!(acknowledged > 50, "only {acknowledged} messages were acknowledged: the rounds prove nothing");
    eprintln!("20 rounds of kill -9: {acknowledged} acknowledged messages, none lost");
}

/// A small ext4 file system in a file. At the moment of the kill the file is copied as it stands: what was not synced is not in it.
struct Disk {
    image: PathBuf,
    mount: PathBuf,
}

impl Disk {
    fn run(program: &str, arguments: &[&str]) -> bool {
        Command::new(program)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    /// `None` where this machine allows no loop mounts.
    fn make(directory: &Path) -> Option<Self> {
        let disk = Self { image: directory.join("disk"), mount: directory.join("mount") };
        std::fs::create_dir(&disk.mount).unwrap();
        let image = disk.image.to_str().unwrap();
        let is_made = Self::run("truncate", &["-s", "512M", image]) && Self::run("mkfs.ext4", &["-q", "-F", image]);
        (is_made && disk.mount()).then_some(disk)
    }

    fn mount(&self) -> bool {
        // commit=300: the file system itself writes nothing out during a round unless it is asked to.
        let (image, mount) = (self.image.to_str().unwrap(), self.mount.to_str().unwrap());
        Self::run("mount", &["-o", "loop,commit=300", image, mount])
    }

    fn unmount(&self) {
        for _ in 0..100 {
            if Self::run("umount", &[self.mount.to_str().unwrap()]) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the disk cannot be unmounted");
    }

    /// The plug is pulled: the server dies, and the disk holds what was synced to it.
    fn pull(&self, server: Server) {
        // First the kill: what is acknowledged after the copy began would be asked of it.
        server.kill();
        let copy = self.image.with_extension("copy");
        std::fs::copy(&self.image, &copy).unwrap();
        self.unmount();
        std::fs::rename(&copy, &self.image).unwrap();
        assert!(self.mount(), "the disk cannot be mounted again");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        Self::run("umount", &[self.mount.to_str().unwrap_or_default()]);
    }
}

#[test]
fn ten_rounds_of_the_pulled_plug_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::make(directory.path()) else {
        eprintln!("LEFT OUT: the pulled plug needs root and loop mounts");
        return;
    };
    let data = disk.mount.join("data");
    add_user(&data);
    assert!(Disk::run("sync", &[]));
    let books: Books = Rc::new(RefCell::new(Ledger::new()));
    for number in 101..=110 {
        round(number, &data, &books, |server| disk.pull(server));
    }
    let acknowledged = books.borrow().appended.len();
    assert!(acknowledged > 20, "only {acknowledged} messages were acknowledged: the rounds prove nothing");
    eprintln!("10 rounds of the pulled plug: {acknowledged} acknowledged messages, none lost");
}
