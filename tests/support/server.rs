//! Starting the real binary, killing it, starting it again.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The password of everybody.
pub const PASSWORD: &str = "secret";

/// Where a server answers and who may log in.
#[derive(Clone, Debug)]
pub struct Target {
    /// IMAP with STARTTLS.
    pub imap: SocketAddr,
    /// IMAP over TLS.
    pub imaps: Option<SocketAddr>,
    /// LMTP.
    pub lmtp: Option<SocketAddr>,
    /// The one account of a foreign server; `None` where any name may log in.
    pub user: Option<String>,
    /// The password.
    pub password: String,
}

impl Target {
    /// `CARILLON_TEST_SERVER=host:port[,user[,password]]`; an empty user means that any name may log in.
    pub fn from_environment() -> Option<Self> {
        let text = std::env::var("CARILLON_TEST_SERVER").ok()?;
        let mut parts = text.split(',');
        let imap = std::net::ToSocketAddrs::to_socket_addrs(parts.next()?).ok()?.next()?;
        let user = parts.next().filter(|user| !user.is_empty()).map(str::to_owned);
        let password = parts.next().unwrap_or(PASSWORD).to_owned();
        Some(Self { imap, imaps: None, lmtp: None, user, password })
    }
}

/// A running carillon.
pub struct Server {
    /// Where it answers.
    pub target: Target,
    child: Child,
    directory: TempDir,
    data: PathBuf,
    kind: Kind,
}

enum Kind {
    Memory,
    Disk { arguments: Vec<String> },
}

impl Server {
    /// `carillon try --memory`: nothing on disk, any user name gets a fresh account. Settings are `name=value` of the configuration.
    pub fn memory(settings: &[String]) -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_carillon"));
        command.args(["try", "--memory", "--any-user", PASSWORD]);
        command.args(["--imap-port", "0", "--imaps-port", "0", "--lmtp-port", "0"]);
        set_environment(&mut command, settings);
        command.current_dir(directory.path()).env("TMPDIR", directory.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(directory.path().join("stderr"))?);
        let mut child = command.spawn()?;
        let target = read_addresses(&mut child)?;
        let data = directory.path().join("data");
        Ok(Self { target, child, directory, data, kind: Kind::Memory })
    }

    /// `carillon serve` over a data directory in a temporary folder, with these accounts.
    pub fn on_disk(users: &[&str], settings: &[String]) -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        let data = directory.path().join("data");
        Self::start(directory, data, users, settings)
    }

    /// The same over a data directory that outlives the server; accounts that it has already are not named.
    pub fn over(data: &Path, users: &[&str], settings: &[String]) -> io::Result<Self> {
        Self::start(tempfile::tempdir()?, data.to_owned(), users, settings)
    }

    fn start(directory: TempDir, data: PathBuf, users: &[&str], settings: &[String]) -> io::Result<Self> {
        for user in users {
            add_user(&data, user)?;
        }
        let free: Vec<SocketAddr> = free_addresses(3)?;
        let mut arguments = vec!["serve".to_owned(), "--data".to_owned(), data.display().to_string()];
        for (flag, address) in ["--imap", "--imaps", "--lmtp"].into_iter().zip(&free) {
            arguments.extend([flag.to_owned(), address.to_string()]);
        }
        arguments.extend(settings.iter().map(|setting| format!("setting:{setting}")));
        let target =
            Target { imap: free[0], imaps: Some(free[1]), lmtp: Some(free[2]), user: None, password: PASSWORD.to_owned() };
        let child = start_on_disk(&arguments, &directory)?;
        let mut server = Self { target, child, directory, data, kind: Kind::Disk { arguments } };
        server.wait_until_it_answers()?;
        Ok(server)
    }

    /// `kill -9`, and started again over the same directory.
    pub fn crash(&mut self) -> io::Result<()> {
        self.kill()?;
        self.start_again()
    }

    /// `kill -9`; [`Server::start_again`] starts it over the same directory.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// SIGTERM, waits for the end, and starts again.
    pub fn restart(&mut self) -> io::Result<()> {
        self.terminate()?;
        self.start_again()
    }

    /// SIGTERM; the exit code.
    pub fn terminate(&mut self) -> io::Result<Option<i32>> {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.code());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Err(io::Error::other("the server did not end within 20 s of SIGTERM"))
    }

    /// Starts it over the same directory; an error where it ends by itself.
    pub fn start_again(&mut self) -> io::Result<()> {
        let Kind::Disk { arguments } = &self.kind else { return Err(io::Error::other("a server in memory cannot start again")) };
        self.child = start_on_disk(arguments, &self.directory)?;
        self.wait_until_it_answers()
    }

    fn wait_until_it_answers(&mut self) -> io::Result<()> {
        let end = Instant::now() + Duration::from_secs(20);
        // LMTP's door is the last that is opened.
        let last = self.target.lmtp.unwrap_or(self.target.imap);
        loop {
            match TcpStream::connect(last) {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > end || self.child.try_wait()?.is_some() => {
                    return Err(io::Error::other(format!("no answer in 20 s: {error}\n{}", self.stderr())));
                }
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// Everything that it wrote to stderr.
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.directory.path().join("stderr")).unwrap_or_default()
    }

    /// The lines of stderr that speak of a panic.
    pub fn panics(&self) -> Vec<String> {
        self.stderr().lines().filter(|line| line.contains("panicked")).map(str::to_owned).collect()
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.data.clone()
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process may be gone already, which is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn set_environment(command: &mut Command, settings: &[String]) {
    for setting in settings {
        if let Some((name, value)) = setting.split_once('=') {
            let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts/config").join(value);
            let value = if name == "config" { file.display().to_string() } else { value.to_owned() };
            command.env(format!("CARILLON_{}", name.to_ascii_uppercase()), value);
        }
    }
}

fn start_on_disk(arguments: &[String], directory: &TempDir) -> io::Result<Child> {
    let (settings, arguments): (Vec<&String>, Vec<&String>) =
        arguments.iter().partition(|argument| argument.starts_with("setting:"));
    let settings: Vec<String> = settings.into_iter().map(|setting| setting["setting:".len()..].to_owned()).collect();
    let stderr = File::options().create(true).append(true).open(directory.path().join("stderr"))?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_carillon"));
    set_environment(&mut command, &settings);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn()
}

/// `carillon user add` on a server that does not run.
fn add_user(data: &Path, user: &str) -> io::Result<()> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_carillon"))
        .args(["user", "add", "--data"])
        .arg(data)
        .args([user, "--password-stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        writeln!(stdin, "{PASSWORD}")?;
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("user add {user}: {}", String::from_utf8_lossy(&output.stderr))))
}

/// Ports that nobody has just now.
pub fn free_addresses(count: usize) -> io::Result<Vec<SocketAddr>> {
    let listeners: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<io::Result<_>>()?;
    listeners.iter().map(TcpListener::local_addr).collect()
}

/// Reads the addresses that `try` prints on stdout, one a line, until all three are known.
fn read_addresses(child: &mut Child) -> io::Result<Target> {
    let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no stdout"))?;
    let (sender, receiver) = mpsc::channel();
    // Reads on to the end, so that the server never waits for a full pipe.
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let (mut imap, mut imaps, mut lmtp) = (None, None, None);
    let end = Instant::now() + Duration::from_secs(20);
    let mut seen = String::new();
    while imap.is_none() || imaps.is_none() || lmtp.is_none() {
        let left = end.saturating_duration_since(Instant::now());
        let line =
            receiver.recv_timeout(left).map_err(|_| io::Error::other(format!("the server did not say its ports:\n{seen}")))?;
        seen.push_str(&line);
        seen.push('\n');
        let mut words = line.split_whitespace();
        let slot = match words.next() {
            Some("IMAP") => &mut imap,
            Some("IMAPS") => &mut imaps,
            Some("LMTP") => &mut lmtp,
            _ => continue,
        };
        let port = words.next().and_then(|address| address.rsplit_once(':')).and_then(|(_, port)| port.parse::<u16>().ok());
        let Some(port) = port else { return Err(io::Error::other(format!("no port in `{line}`"))) };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        slot.get_or_insert(address);
    }
    let imap = imap.ok_or_else(|| io::Error::other("no IMAP address"))?;
    Ok(Target { imap, imaps, lmtp, user: None, password: PASSWORD.to_owned() })
}
