//! `carillon serve` and `carillon try`.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use rand::Rng as _;

use super::Place;
use crate::config::Config;
use crate::exit::{Exit, Failure, failed};
use crate::serve::{Ground, Opened, Plan, Process};
use crate::terminal::line;
use crate::trace;
use crate::users::password::Hash;
use crate::users::{self, UserName};

/// Flags of `serve`; each is an option of the configuration file too.
#[derive(Debug, Args)]
pub struct ServeOptions {
    /// Offer IMAP with STARTTLS here; may be repeated
    #[arg(long, value_name = "ADDR:PORT")]
    imap: Vec<String>,
    /// Offer IMAP over TLS here; may be repeated
    #[arg(long, value_name = "ADDR:PORT")]
    imaps: Vec<String>,
    /// Offer LMTP here; may be repeated
    #[arg(long, value_name = "ADDR:PORT")]
    lmtp: Vec<String>,
    /// Offer LMTP on this unix socket
    #[arg(long, value_name = "PATH")]
    lmtp_socket: Option<String>,
    /// Take mail of these domains alone; may be repeated
    #[arg(long, value_name = "DOMAIN")]
    lmtp_domains: Vec<String>,
    /// The server's name
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// The certificate chain, PEM
    #[arg(long, value_name = "FILE")]
    tls_certificate: Option<String>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
    /// From where a password may be sent without TLS: never, loopback, always
    #[arg(long, value_name = "WHERE")]
    plaintext_login: Option<String>,
    /// The hierarchy separator, / or .
    #[arg(long, value_name = "CHARACTER")]
    separator: Option<String>,
    /// How the trace on standard error is written: logfmt, json
    #[arg(long, value_name = "FORMAT")]
    trace_format: Option<String>,
    /// What the trace holds: a level, or directives
    #[arg(long, value_name = "FILTER")]
    trace_filter: Option<String>,
}

impl ServeOptions {
    fn flags(&self) -> Vec<(&'static str, Vec<String>)> {
        let lists = [("imap", &self.imap), ("imaps", &self.imaps), ("lmtp", &self.lmtp), ("lmtp_domains", &self.lmtp_domains)];
        let ones = [
            ("lmtp_socket", &self.lmtp_socket),
            ("hostname", &self.hostname),
            ("tls.certificate", &self.tls_certificate),
            ("tls.key", &self.tls_key),
            ("plaintext_login", &self.plaintext_login),
            ("separator", &self.separator),
            ("trace_format", &self.trace_format),
            ("trace_filter", &self.trace_filter),
        ];
        let lists = lists.into_iter().filter(|(_, values)| !values.is_empty()).map(|(key, values)| (key, values.clone()));
        lists.chain(ones.into_iter().filter_map(|(key, value)| Some((key, vec![value.clone()?])))).collect()
    }
}

pub(super) fn run(place: &Place, options: &ServeOptions) -> Result<(), Failure> {
    let config = place.config(options.flags())?;
    trace::start(config.trace_format, &config.trace_filter);
    for warning in place.load(options.flags()).warnings {
        tracing::warn!(%warning, "the configuration is odd");
    }
    let data = config.data()?.to_owned();
    if !config.has_doors() {
        let text = "nothing to listen on: give --imap, --imaps, --lmtp or --lmtp-socket, or the same in the configuration";
        return Err(Failure::new(Exit::Config, text));
    }
    let plan = Plan { config, data, in_memory: false, any_user: None, takes_near_ports: false };
    let process = Process::begin()?;
    let ground = Ground::open(&plan)?;
    process.run(plan, &ground, |_| Ok(()))
}

/// Flags of `try`.
#[derive(Debug, Args)]
pub struct TryOptions {
    /// Keep everything in memory: it is gone at the end
    #[arg(long)]
    memory: bool,
    /// Let every user name in with this password; each gets an account of its own. For test suites
    #[arg(long, value_name = "PASSWORD")]
    any_user: Option<String>,
    /// The user's name
    #[arg(long, default_value = "alice", conflicts_with = "any_user")]
    user: String,
    /// IMAP's port; if it is taken, one of the next
    #[arg(long, default_value_t = 1143, value_name = "PORT")]
    imap_port: u16,
    /// Port of IMAP over TLS; if it is taken, one of the next
    #[arg(long, default_value_t = 1993, value_name = "PORT")]
    imaps_port: u16,
    /// LMTP's port; if it is taken, one of the next
    #[arg(long, default_value_t = 1124, value_name = "PORT")]
    lmtp_port: u16,
}

/// A directory that goes with the value.
struct Temporary(PathBuf);

impl Temporary {
    fn make() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("carillon-try-{:016x}", rand::random::<u64>()));
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(|error| failed("cannot make", &path, &error))?;
        Ok(Self(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(super) fn run_try(place: &Place, options: &TryOptions) -> Result<(), Failure> {
    let loaded = place.load(Vec::new());
    // Doors are loopback whatever the environment says; all else may be configured.
    let local = |port| vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))];
    let (imap, imaps, lmtp) = (local(options.imap_port), local(options.imaps_port), local(options.lmtp_port));
    let mut config = Config { imap, imaps, lmtp, lmtp_socket: None, ..place.config(Vec::new())? };
    let is_quiet = config.trace_filter == Config::default().trace_filter;
    trace::start(config.trace_format, if is_quiet { "warn" } else { &config.trace_filter });
    let temporary = if options.memory { Some(Temporary::make()?) } else { None };
    let data = match (&temporary, loaded.config.data) {
        (Some(temporary), _) => temporary.0.clone(),
        (None, Some(data)) => data,
        (None, None) => PathBuf::from("carillon-try"),
    };
    config.data = Some(data.clone());
    let plan = Plan {
        config,
        data: data.clone(),
        in_memory: options.memory,
        any_user: options.any_user.clone(),
        takes_near_ports: true,
    };
    let process = Process::begin()?;
    // No user is touched in a directory that another server has.
    let ground = Ground::open(&plan)?;
    let login = match &options.any_user {
        Some(password) => Login { user: "any name".to_owned(), example: "alice".to_owned(), password: Some(password.clone()) },
        None => account(&data, &options.user)?,
    };
    let told = process.run(plan, &ground, |opened| greet(opened, &data, &login, options.memory));
    drop(ground);
    drop(temporary);
    told
}

/// What a person types to log in.
struct Login {
    user: String,
    example: String,
    /// None where somebody else set it.
    password: Option<String>,
}

/// The user with a password that is shown again at the next start: it guards nothing but this trial. A user that is there already keeps its password.
fn account(data: &Path, name: &str) -> Result<Login, Failure> {
    let name = UserName::new(name)?;
    let login = |password| Login { user: name.as_str().to_owned(), example: name.as_str().to_owned(), password };
    let note = data.join("users.try");
    let noted = fs::read_to_string(&note).unwrap_or_default();
    let known = noted.lines().find_map(|line| line.split_once('\t').filter(|(user, _)| *user == name.as_str()));
    if let Some(user) = users::read(data)?.users.get(&name) {
        let password = known.map(|(_, password)| password).filter(|password| user.hash.verify(password.as_bytes()));
        return Ok(login(password.map(str::to_owned)));
    }
    let mut random = rand::rng();
    let letters = b"abcdefghijkmnpqrstuvwxyz23456789";
    let password: String =
        (0..12).filter_map(|_| letters.get(random.random_range(0..letters.len()))).map(|byte| char::from(*byte)).collect();
    let hash = Hash::new(password.as_bytes())?;
    users::edit(data, |table| table.add(name.clone(), hash).map(drop))?;
    let others: String =
        noted.lines().filter(|line| !line.starts_with(&format!("{}\t", name.as_str()))).map(|line| format!("{line}\n")).collect();
    users::write_synced(&note, format!("{others}{}\t{password}\n", name.as_str()).as_bytes(), 0o600)?;
    Ok(login(Some(password)))
}

/// This program as it can be typed: by its name where a shell finds it, else by its path.
fn program() -> String {
    let Ok(own) = std::env::current_exe() else { return "carillon".to_owned() };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("carillon")).find(|candidate| candidate.is_file());
    let is_this = found.and_then(|found| fs::canonicalize(found).ok()).is_some_and(|found| found == own);
    if is_this { "carillon".to_owned() } else { own.display().to_string() }
}

/// A word of a command line for a shell.
fn word(text: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "-_./:=@%+,".contains(character);
    if !text.is_empty() && text.chars().all(is_plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

fn whole_path(path: &Path) -> String {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

fn greet(opened: &Opened, data: &Path, login: &Login, in_memory: bool) -> Result<(), Failure> {
    let port = |addresses: &[SocketAddr]| addresses.first().map_or(0, SocketAddr::port);
    let (imap, imaps, lmtp) = (port(&opened.imap), port(&opened.imaps), port(&opened.lmtp));
    let authority = opened.authority.as_deref().map(whole_path).unwrap_or_default();
    let (authority_word, data_word, program) = (word(&authority), word(&whole_path(data)), word(&program()));
    let kept = if in_memory { "nothing is kept".to_owned() } else { format!("kept in {}", data.display()) };
    let Login { user, example, password } = login;
    let known = password.as_deref().unwrap_or("the one that was set for this user: carillon user passwd changes it");
    let password = password.as_deref().unwrap_or("PASSWORD");
    let credentials = word(&format!("{example}:{password}"));
    let certificates = word(&format!("set ssl_ca_certificates_file=\"{authority}\" imap_idle=yes timeout=1"));
    let mailbox = word(&format!("set imap_pass=\"{password}\" folder=imaps://{example}@localhost:{imaps}/"));
    let text = format!(
        "carillon {version} serves, on this machine alone.

  IMAP       localhost:{imap}   (STARTTLS; without TLS too, from here)
  IMAPS      localhost:{imaps}
  LMTP       127.0.0.1:{lmtp}
  user       {user}
  password   {known}
  authority  {authority}
  mail       {kept}

Type next, in another terminal:
  openssl s_client -quiet -crlf -CAfile {authority_word} -connect localhost:{imaps}
      a login {example} {password}
      b select inbox
      c idle
  swaks --protocol LMTP --server 127.0.0.1:{lmtp} --from you@example.org --to {example}@localhost
  curl --cacert {authority_word} --user {credentials} \"imaps://localhost:{imaps}/INBOX;MAILINDEX=1\"
  neomutt -e {certificates} \\
          -e {mailbox} -f =INBOX
  {program} log tail -f --data {data_word}

Ctrl-C ends it.",
        version = env!("CARGO_PKG_VERSION"),
    );
    line(&text).map(drop)
}
