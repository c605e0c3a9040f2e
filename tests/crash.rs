//! kill -9 and the pulled plug against the real binary, under concurrent work; then `log verify`, a look into the logs, and the audit of all that was
//! acknowledged. Some messages are so large that they are files of their own, segments are short and checkpoints frequent, so that all of these fall into the rounds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by a panic")]

#[path = "simulation/audit.rs"]
mod audit;
#[path = "simulation/client.rs"]
mod client;
#[path = "simulation/ledger.rs"]
mod ledger;
#[path = "simulation/names.rs"]
mod names;
#[path = "simulation/people.rs"]
mod people;
#[path = "simulation/verdict.rs"]
mod verdict;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use client::Client;
use ledger::{Ledger, Reply};
use people::{Books, Life};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Who works with mail in each round, beside the administrator of names.
const READERS: u64 = 5;
/// Fewer acknowledged commands prove nothing.
const ENOUGH: usize = 60;
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
        command.env("CARILLON_STORE_SEGMENT_BYTES", "65536").env("CARILLON_STORE_CHECKPOINT_MILLISECONDS", "40");
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

/// `somebody` with the password `secret`, whose hash costs little: the rounds are short, and logging in is not what they are for.
fn add_user(data: &Path) {
    const HASH: &str =
        "$6$rounds=1000$carillon$O.dmodWGxiVquNwrxfjksi0Pi.ImAMXGopXxgQlt5TDOtlJ8P7Qvsp/I7cUdO8.mCr42cEPOc11wyshKkLms/0";
    let passwords = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(passwords.path(), format!("somebody:{{SHA512-CRYPT}}{HASH}:\n")).unwrap();
    std::fs::create_dir(data).unwrap();
    let mut command = Command::new(BINARY);
    let imported = command.args(["user", "import"]).arg(passwords.path()).arg("--data").arg(data).output().unwrap();
    assert!(imported.status.success(), "user import: {imported:?}");
}

fn verify(data: &Path) {
    let output = Command::new(BINARY).args(["log", "verify", "--data"]).arg(data).output().unwrap();
    let (text, trace) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "log verify: {text}{trace}");
}

fn life(address: SocketAddr, number: u64, books: &Books) -> Rc<Life> {
    let connect = move |name| -> people::Connecting {
        Box::pin(async move {
            let stream = tokio::net::TcpStream::connect(address).await.ok()?;
            Client::log_in(Box::new(stream), name).await
        })
    };
    Rc::new(Life {
        connect: Box::new(connect),
        books: books.clone(),
        number,
        spans: u32::MAX,
        is_crowded: false,
        pause_microseconds: 3_000,
        insight: None,
    })
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, future)
}

/// Books in which every fifth message is large.
fn books() -> Books {
    let mut books = Ledger::new();
    books.longest_message_bytes = 1_200_000;
    Rc::new(RefCell::new(books))
}

/// What fell into the rounds: large bodies, and segments that were sealed.
fn is_varied(data: &Path) {
    let count = |folder: &str| std::fs::read_dir(data.join(folder)).unwrap().count();
    assert!(count("bodies") > 2 && count("segments") > 2, "{} large bodies, {} segments", count("bodies"), count("segments"));
    let damaged: Vec<_> = std::fs::read_dir(data.join("damaged")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(damaged.iter().all(|name| name == "sled"), "{damaged:?}");
}

/// The logs of the account and its mailboxes as `log show` has them, from round to round.
#[derive(Default)]
struct Logs {
    /// Which log, position and commit, and the command that wrote there.
    records: Vec<(String, u64, u64, String)>,
    /// Acknowledged commands that were found.
    found: usize,
}

impl Logs {
    /// What was there stays as it is, so that no position, which is a MODSEQ, goes back. What was acknowledged since is there, once in each log, and what was refused is not.
    fn check(&mut self, data: &Path, books: &Books) {
        let output = Command::new(BINARY).args(["log", "show", "--output", "json", "--data"]).arg(data).output().unwrap();
        assert!(output.status.success(), "log show: {output:?}");
        let lines = String::from_utf8(output.stdout).unwrap();
        let mut records: Vec<_> = lines.lines().filter_map(|line| record(&serde_json::from_str(line).unwrap())).collect();
        // Events of one record.
        records.dedup();
        assert!(records.starts_with(&self.records), "what an earlier round found in the logs has changed");
        let mut written: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        // A mailbox that RENAME INBOX makes is opened and filled by one command.
        for (log, _, _, tag) in records.iter().skip(self.records.len()).filter(|(_, position, ..)| *position > 1) {
            written.entry(tag).or_default().push(log);
        }
        let mut books = books.borrow_mut();
        for (tag, reply) in std::mem::take(&mut books.replies) {
            let logs = written.get(&*tag).map_or(&[][..], Vec::as_slice);
            self.found += usize::from(!logs.is_empty());
            let is_twice = logs.iter().collect::<BTreeSet<_>>().len() != logs.len();
            if logs.is_empty() == (reply == Reply::Changed) || is_twice {
                books.complain(format!("{tag} was answered {reply:?}, and it is in the logs {logs:?}"));
            }
        }
        self.records = records;
    }
}

/// `None` for a record of the server's log: those are no answers to anybody.
fn record(line: &serde_json::Value) -> Option<(String, u64, u64, String)> {
    let log = line.get("mailbox_id").or_else(|| line.get("account_id"))?.as_str()?;
    let tag = line["cause"].as_str()?.split(' ').next()?;
    Some((log.to_owned(), line["seq"].as_u64()?, line["commit"].as_u64()?, tag.to_owned()))
}

fn complaints(books: &Books) -> Vec<String> {
    std::mem::take(&mut books.borrow_mut().complaints)
}

/// One round: work, an end by force at a moment of the dice, a start, the audit.
fn round(number: u64, data: &Path, books: &Books, logs: &mut Logs, longest: u64, end: impl FnOnce(Server) + Send) {
    let server = Server::start(data);
    let address = server.address;
    let mut dice = StdRng::seed_from_u64(number);
    let delay = Duration::from_millis(dice.random_range(50..longest));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(delay);
            end(server);
        });
        block_on(life(address, number, books).work(READERS, number));
    });
    verify(data);
    logs.check(data, books);
    let server = Server::start(data);
    assert!(block_on(life(server.address, number, books).look()).is_some(), "round {number}: the server cannot be read");
    server.kill();
    let complaints = complaints(books);
    assert!(complaints.is_empty(), "round {number}:\n{}", complaints.join("\n"));
}

/// At least so many rounds over one directory, and up to three times as many where the machine is so slow that they prove little; what they proved.
fn rounds(first: u64, least: u64, data: &Path, longest: u64, end: impl Fn(Server) + Send + Copy) -> String {
    let (books, mut logs) = (books(), Logs::default());
    let mut rounds = 0;
    while rounds < least || (rounds < 3 * least && logs.found < ENOUGH) {
        round(first + rounds, data, &books, &mut logs, longest, end);
        rounds += 1;
    }
    is_varied(data);
    let (messages, commands) = (books.borrow().appended.len(), logs.found);
    assert!(commands >= ENOUGH, "only {messages} messages and {commands} commands: the rounds prove nothing");
    format!("{rounds} rounds: {messages} acknowledged messages and {commands} acknowledged commands, none lost")
}

#[test]
fn twenty_rounds_of_kill_9_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    add_user(&data);
    eprintln!("kill -9, {}", rounds(1, 20, &data, 900, Server::kill));
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
    // In memory where that is possible: what counts is what the file system was told to write, and it is told more often then.
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let Some(disk) = Disk::make(directory.path()) else {
        eprintln!("LEFT OUT: the pulled plug needs root and loop mounts");
        return;
    };
    let data = disk.mount.join("data");
    add_user(&data);
    assert!(Disk::run("sync", &[]));
    eprintln!("the pulled plug, {}", rounds(101, 10, &data, 1600, |server| disk.pull(server)));
}
