//! Whole sessions in process: one thread, tokio's paused clock, pipes for sockets.

mod arriving;
mod bounds;
mod deaths;
mod limits;
mod names;
mod reading;
mod states;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::time::timeout;

use super::actor::{Transport, start};
use super::admission::Admission;
use super::auth::{Authenticator, Verdict};
use super::settings::{Doors, Settings};
use crate::account::actor::AccountHandle;
use crate::clock::Clock;
use crate::directory::requests::SessionInfo;
use crate::given::{NOW, name};
use crate::id::{AccountId, Ids};
use crate::limits::Limits;
use crate::mailbox::actor::MailboxHandle;
use crate::placement::Placement;
use crate::server::Core;
use crate::testing::Watched;

const ACCOUNT: AccountId = AccountId(5);

/// `a` has an account, with the password `b`.
struct OneUser;

impl Authenticator for OneUser {
    fn verify(&self, user: &str, password: &[u8]) -> Verdict {
        if (user, password) == ("a", b"b") { Verdict::Accepted(ACCOUNT) } else { Verdict::Refused }
    }

    fn find(&self, user: &str) -> Option<AccountId> {
        (user == "a").then_some(ACCOUNT)
    }
}

/// A server.
struct World {
    store: Arc<Watched>,
    core: Core,
    doors: Arc<Doors>,
}

impl World {
    fn new() -> Self {
        Self::with(Limits::default(), Placement::one_thread())
    }

    fn with(limits: Limits, placement: Placement) -> Self {
        let store = Watched::new();
        let begun = tokio::time::Instant::now();
        let clock = Clock::new(move || NOW * 1_000_000 + u64::try_from(begun.elapsed().as_micros()).unwrap());
        let core = Core::start(store.clone(), placement, clock, Ids::new(NOW, 42), limits);
        let doors = Arc::new(Doors::new(core.clone(), Arc::new(OneUser), None, Settings::default()));
        Self { store, core, doors }
    }

    /// A connection over a pipe that holds so many bytes each way; greeted.
    async fn connect_through(&self, pipe_bytes: usize) -> Client {
        let (ours, theirs) = tokio::io::duplex(pipe_bytes);
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        start(self.doors.clone(), Transport::Pipe(theirs), peer, Admission::uncounted());
        let mut client = Client { pipe: BufReader::new(ours), commands: 0 };
        assert!(client.line().await.starts_with("* OK [CAPABILITY "));
        client
    }

    async fn connect(&self) -> Client {
        self.connect_through(1 << 20).await
    }

    async fn log_in(&self) -> Client {
        let mut client = self.connect().await;
        client.ok("LOGIN a b").await;
        client
    }

    /// A session with INBOX selected.
    async fn select(&self) -> Client {
        let mut client = self.log_in().await;
        client.ok("SELECT INBOX").await;
        client
    }

    async fn account(&self) -> AccountHandle {
        self.core.directory.account(ACCOUNT).await.unwrap()
    }

    async fn mailbox(&self, mailbox: &str) -> MailboxHandle {
        let account = self.account().await;
        let id = account.peek().await.unwrap().find(&name(mailbox)).unwrap().mailbox;
        account.open(id).await.unwrap()
    }

    async fn sessions(&self) -> Vec<SessionInfo> {
        self.core.directory.sessions().await
    }

    async fn kick_all(&self) {
        for info in self.sessions().await {
            self.core.directory.kick(info.session);
        }
    }
}

/// Lets simulated time pass.
async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// A client by hand.
struct Client {
    pipe: BufReader<DuplexStream>,
    commands: u32,
}

impl Client {
    async fn send(&mut self, text: &str) {
        self.pipe.get_mut().write_all(text.as_bytes()).await.unwrap();
    }

    /// The next line with its literals, without its end; empty where the server closed or says nothing for ten minutes.
    async fn line(&mut self) -> String {
        let mut text = Vec::new();
        loop {
            let line = timeout(Duration::from_secs(600), self.pipe.read_until(b'\n', &mut text)).await;
            if !line.is_ok_and(|read| read.is_ok_and(|bytes| bytes > 0)) {
                return String::from_utf8(text).unwrap();
            }
            let line = String::from_utf8_lossy(&text).trim_end().to_owned();
            let length = line.strip_suffix('}').and_then(|line| line.rsplit_once('{')?.1.parse::<usize>().ok());
            let Some(length) = length else { return line };
            let start = text.len();
            text.resize(start + length, 0);
            self.pipe.read_exact(&mut text[start..]).await.unwrap();
        }
    }

    /// All lines up to the first that begins so.
    async fn until(&mut self, start: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            lines.push(self.line().await);
            let line = lines.last().unwrap();
            if line.starts_with(start) {
                return lines;
            }
            assert!(!line.is_empty(), "nothing that begins with {start:?} behind {lines:?}");
        }
    }

    /// A command to its tagged reply, whose tag is left out.
    async fn command(&mut self, text: &str) -> Vec<String> {
        self.commands += 1;
        let tag = format!("t{} ", self.commands);
        self.send(&format!("{tag}{text}\r\n")).await;
        let mut lines = self.until(&tag).await;
        let last = lines.last_mut().unwrap();
        *last = last.split_off(tag.len());
        lines
    }

    /// The tagged reply of a command that must not succeed.
    async fn refused(&mut self, text: &str) -> String {
        let last = self.command(text).await.pop().unwrap();
        assert!(!last.starts_with("OK "), "{text}: {last}");
        last
    }

    /// A command that must succeed; its untagged lines.
    async fn ok(&mut self, text: &str) -> Vec<String> {
        let mut lines = self.command(text).await;
        let last = lines.pop().unwrap();
        assert!(last.starts_with("OK "), "{text}: {last}");
        lines
    }

    async fn append(&mut self, mailbox: &str, message: &str) {
        self.ok(&format!("APPEND {mailbox} {{{}+}}\r\n{message}", message.len())).await;
    }

    /// Whether the server has closed the connection; what it said last is passed over.
    async fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        timeout(Duration::from_secs(1), self.pipe.read_to_end(&mut rest)).await.is_ok()
    }
}
