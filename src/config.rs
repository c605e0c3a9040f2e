//! The configuration: one TOML file, environment variables and flags over one table of options (`config/options.rs`). All errors are found in one
//! run, each with its place, the bad value and what is allowed.

mod options;
mod source;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use carillon_actors::limits::Limits;
use carillon_protocol::mailbox_name::{MailboxName, NameFormat};
use carillon_storage::StoreOptions;

pub use options::{OPTIONS, Opt};

/// When a password may be sent without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaintextLogin {
    /// Never.
    Never,
    /// Only from this machine.
    Loopback,
    /// From everywhere: where something in front of the server does TLS.
    Always,
}

/// How the trace is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceFormat {
    /// `key=value` words, for people and grep.
    Logfmt,
    /// One JSON object a line.
    Json,
}

/// A mailbox on another server (RFC 2193).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteMailbox {
    /// Its name here.
    pub name: String,
    /// Its IMAP URL there.
    pub url: String,
}

/// A user whose home is another server (RFC 2221).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteUser {
    /// The login name.
    pub user: String,
    /// The IMAP URL of the home server.
    pub url: String,
}

/// Everything that can be configured.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data directory.
    pub data: Option<PathBuf>,
    /// The server's name in greetings, Received fields and the certificate.
    pub hostname: String,
    /// Where IMAP is offered (STARTTLS).
    pub imap: Vec<SocketAddr>,
    /// Where IMAP over TLS is offered.
    pub imaps: Vec<SocketAddr>,
    /// Where LMTP is offered.
    pub lmtp: Vec<SocketAddr>,
    /// A unix socket for LMTP.
    pub lmtp_socket: Option<PathBuf>,
    /// The domains of mail that is taken; empty: all.
    pub lmtp_domains: Vec<String>,
    /// Whether a password may be sent without TLS.
    pub plaintext_login: PlaintextLogin,
    /// The hierarchy separator.
    pub separator: char,
    /// Capabilities that are not offered, in capitals.
    pub disabled_capabilities: Vec<String>,
    /// The certificate chain (PEM).
    pub tls_certificate: Option<PathBuf>,
    /// The certificate's private key (PEM).
    pub tls_key: Option<PathBuf>,
    /// How the trace is written.
    pub trace_format: TraceFormat,
    /// What the trace holds: a level, or directives like `info,carillon_actors=debug`.
    pub trace_filter: String,
    /// Connections at a time, all doors together.
    pub connections: usize,
    /// Connections at a time of one address.
    pub connections_per_address: usize,
    /// Threads that serve sessions; 0: one a core.
    pub threads: usize,
    /// How the store works.
    pub store: StoreOptions,
    /// The bounds of sessions and mailboxes.
    pub limits: Limits,
    /// Mailboxes elsewhere.
    pub remote_mailboxes: Vec<RemoteMailbox>,
    /// Users elsewhere.
    pub remote_users: Vec<RemoteUser>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: None,
            hostname: "localhost".to_owned(),
            imap: Vec::new(),
            imaps: Vec::new(),
            lmtp: Vec::new(),
            lmtp_socket: None,
            lmtp_domains: Vec::new(),
            plaintext_login: PlaintextLogin::Loopback,
            separator: '/',
            disabled_capabilities: Vec::new(),
            tls_certificate: None,
            tls_key: None,
            trace_format: TraceFormat::Logfmt,
            trace_filter: "info".to_owned(),
            connections: 10_000,
            connections_per_address: 200,
            threads: 0,
            store: StoreOptions::default(),
            limits: Limits::default(),
            remote_mailboxes: Vec::new(),
            remote_users: Vec::new(),
        }
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file, with line and column counted from 1.
    File {
        /// Its path.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The column, in characters.
        column: usize,
    },
    /// An environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag(String),
    /// The configuration as a whole.
    Whole,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => write!(formatter, "{}:{line}:{column}", path.display()),
            Self::Environment(name) => formatter.write_str(name),
            Self::Flag(name) => write!(formatter, "--{name}"),
            Self::Whole => formatter.write_str("configuration"),
        }
    }
}

/// Something that is wrong: where, what, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What.
    pub text: String,
    /// What is allowed instead; empty where `text` says all.
    pub allowed: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.text)?;
        if self.allowed.is_empty() { Ok(()) } else { write!(formatter, " (allowed: {})", self.allowed) }
    }
}

/// Where the configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `--config`.
    pub file: Option<PathBuf>,
    /// Names and values of environment variables; those that begin with `CARILLON_` count.
    pub environment: Vec<(String, String)>,
    /// Options given as flags: key and values.
    pub flags: Vec<(&'static str, Vec<String>)>,
}

impl Sources {
    /// The environment of this process, and nothing else yet.
    pub fn of_process() -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
            .filter(|(name, _)| name.starts_with(source::PREFIX))
            .collect();
        Self { environment, ..Self::default() }
    }
}

/// What was read: the configuration as far as it could be understood, and what was wrong.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration; options with a bad value have their default.
    pub config: Config,
    /// Errors, in the order of the sources.
    pub problems: Vec<Problem>,
    /// What is odd but no error.
    pub warnings: Vec<Problem>,
    /// Where each option was set, by its key; of a list where its last element stands.
    places: BTreeMap<&'static str, Place>,
}

impl Loaded {
    /// Where the first of these options that was set stands.
    pub fn place_of(&self, keys: &[&str]) -> Place {
        keys.iter().find_map(|key| self.places.get(key)).cloned().unwrap_or(Place::Whole)
    }
}

/// Reads all sources: defaults, then the file, then the environment, then flags; the later wins.
pub fn load(sources: &Sources) -> Loaded {
    let (problems, warnings, places) = (Vec::new(), Vec::new(), BTreeMap::new());
    let mut loaded = Loaded { config: Config::default(), problems, warnings, places };
    let from_environment = sources.environment.iter().find(|(name, _)| name == "CARILLON_CONFIG");
    let file = sources.file.clone().or_else(|| from_environment.map(|(_, value)| PathBuf::from(value)));
    if let Some(path) = &file {
        source::read_file(path, &mut loaded);
    }
    source::read_environment(&sources.environment, &mut loaded);
    source::read_flags(&sources.flags, &mut loaded);
    check_whole(&mut loaded);
    loaded
}

/// What no option alone can know.
fn check_whole(loaded: &mut Loaded) {
    let config = &loaded.config;
    let mut found = Vec::new();
    let mut wrong = |keys: &[&str], text: String, allowed: &str| {
        found.push(Problem { place: loaded.place_of(keys), text, allowed: allowed.to_owned() });
    };
    if config.tls_certificate.is_some() != config.tls_key.is_some() {
        let text = "tls.certificate and tls.key stand alone".to_owned();
        wrong(&["tls.certificate", "tls.key"], text, "both, or neither: then the server makes its own");
    }
    let doors = [("imap", &config.imap), ("imaps", &config.imaps), ("lmtp", &config.lmtp)];
    let doors: Vec<_> = doors.iter().flat_map(|(key, addresses)| addresses.iter().map(move |address| (*key, address))).collect();
    for (place, (key, address)) in doors.iter().enumerate() {
        for (_, other) in doors.iter().take(place).filter(|(_, other)| are_one_door(other, address)) {
            wrong(&[key], format!("{other} and {address} are one door"), "each address and port once");
        }
    }
    let format = NameFormat { separator: config.separator, utf8: true };
    for remote in &config.remote_mailboxes {
        if let Err(error) = MailboxName::parse(remote.name.as_bytes(), format) {
            wrong(&["referral.mailbox"], format!("{:?} is no mailbox name: {error}", remote.name), "");
        }
    }
    loaded.problems.append(&mut found);
}

/// Whether both cannot be listened on: `0.0.0.0` is every IPv4 address, `[::]` every IPv6 address.
fn are_one_door(one: &SocketAddr, other: &SocketAddr) -> bool {
    let is_every = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && one.is_ipv4() == other.is_ipv4() && (is_every || one.ip() == other.ip())
}

impl Config {
    /// Whether any door would be open.
    pub fn has_doors(&self) -> bool {
        !(self.imap.is_empty() && self.imaps.is_empty() && self.lmtp.is_empty() && self.lmtp_socket.is_none())
    }

    /// The data directory.
    ///
    /// # Errors
    /// None is configured.
    pub fn data(&self) -> Result<&Path, crate::exit::Failure> {
        let missing = "no data directory: give --data DIR, CARILLON_DATA or `data` in the configuration file";
        self.data.as_deref().ok_or_else(|| crate::exit::Failure::new(crate::exit::Exit::Config, missing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_text(text: &str) -> Loaded {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("c.toml");
        std::fs::write(&path, text).unwrap();
        load(&Sources { file: Some(path), ..Sources::default() })
    }

    fn places(loaded: &Loaded) -> Vec<(usize, usize)> {
        let place = |problem: &Problem| match problem.place {
            Place::File { line, column, .. } => (line, column),
            _ => (0, 0),
        };
        loaded.problems.iter().map(place).collect()
    }

    #[test]
    fn a_full_file_is_read() {
        let loaded = load_text(
            "data = \"/var/lib/carillon\"\nimap = [\"127.0.0.1:143\", \"[::1]:143\"]\nimaps = \"0.0.0.0:993\"\n\
             plaintext_login = \"never\"\nseparator = \".\"\ndisabled_capabilities = [\"scan\"]\n[limits]\nkeywords = 32\n\
             heartbeat_seconds = 60\n[[referral.mailbox]]\nname = \"Shared/News\"\nurl = \"imap://news.example.org/News\"\n\
             [[referral.user]]\nuser = \"bob\"\nurl = \"imap://bob@home.example.org/\"\n",
        );
        assert_eq!(loaded.problems, []);
        let config = loaded.config;
        assert_eq!((config.imap.len(), config.imaps.len(), config.separator), (2, 1, '.'));
        assert_eq!((config.plaintext_login, config.limits.keywords), (PlaintextLogin::Never, 32));
        assert_eq!(config.limits.heartbeat, std::time::Duration::from_secs(60));
        assert_eq!(config.disabled_capabilities, ["SCAN"]);
        assert_eq!((config.remote_mailboxes.len(), config.remote_users[0].user.as_str()), (1, "bob"));
    }

    #[test]
    fn every_error_is_found_with_its_place() {
        let loaded = load_text(
            "dta = \"x\"\nplaintext_login = \"sometimes\"\nimap = [\"127.0.0.1:143\", \"nowhere\"]\n\n[limits]\nkeywords = 65\n\
             message_bytes = \"much\"\nidle_timeout_seconds = 60\n[[referral.user]]\nuser = \"bob\"\n[nonsense]\na = 1\n",
        );
        let texts: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
        assert_eq!(places(&loaded), [(1, 1), (2, 19), (3, 26), (6, 12), (7, 17), (8, 24), (9, 1), (11, 2)], "{texts:#?}");
        assert!(texts[0].contains("did you mean `data`?"), "{}", texts[0]);
        assert!(texts[1].contains("\"sometimes\"") && texts[1].contains("never, loopback, always"), "{}", texts[1]);
        assert!(texts[6].contains("url"), "{}", texts[6]);
        assert_eq!(loaded.config.limits.keywords, 64);
    }

    #[test]
    fn syntax_errors_have_a_place_too() {
        let loaded = load_text("data = \"/x\"\nimap = [\n  oops\n]\nhostname = \n");
        assert!(places(&loaded).contains(&(3, 3)), "{:?}", loaded.problems);
        assert!(!loaded.problems.is_empty());
    }

    #[test]
    fn the_later_source_wins() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("c.toml");
        std::fs::write(&path, "data = \"/file\"\nhostname = \"file.example\"\nseparator = \".\"\n").unwrap();
        let loaded = load(&Sources {
            file: Some(path),
            environment: vec![
                ("CARILLON_DATA".into(), "/environment".into()),
                ("CARILLON_HOSTNAME".into(), "environment.example".into()),
                ("CARILLON_LIMITS_KEYWORDS".into(), "12".into()),
                ("CARILLON_IMAP".into(), "127.0.0.1:1, 127.0.0.1:2".into()),
                ("CARILLON_SERVICE_HOST".into(), "10.0.0.1".into()),
            ],
            flags: vec![("data", vec!["/flag".into()])],
        });
        assert_eq!(loaded.problems, []);
        assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
        let config = loaded.config;
        assert_eq!(config.data.as_deref(), Some(Path::new("/flag")));
        assert_eq!((config.hostname.as_str(), config.separator), ("environment.example", '.'));
        assert_eq!((config.limits.keywords, config.imap.len()), (12, 2));
    }

    #[test]
    fn lmtp_refuses_port_25_and_half_a_certificate_is_an_error() {
        let loaded = load_text("lmtp = \"127.0.0.1:25\"\n[tls]\nkey = \"/k\"\n");
        assert_eq!(places(&loaded), [(1, 8), (3, 7)], "{:?}", loaded.problems);
    }

    #[test]
    fn what_options_say_together_has_its_place_too() {
        let loaded = load_text(
            "imap = [\"0.0.0.0:143\", \"[::]:143\"]\nimaps = [\"127.0.0.1:993\", \"[::1]:143\"]\nlmtp = \"127.0.0.1:993\"\n\
             separator = \".\"\n[[referral.mailbox]]\nname = \"a..b\"\nurl = \"imap://news.example.org/News\"\n",
        );
        assert_eq!(places(&loaded), [(2, 27), (3, 8), (5, 1)], "{:?}", loaded.problems);
    }

    #[test]
    fn a_missing_file_is_a_problem() {
        let loaded = load(&Sources { file: Some("/does/not/exist.toml".into()), ..Sources::default() });
        assert_eq!(loaded.problems.len(), 1);
    }
}
