//! The server's life: locks and opens the store, starts the actors, opens the doors, and ends in order.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use carillon_actors::clock::Clock;
use carillon_actors::id::Ids;
use carillon_actors::limits::Limits;
use carillon_actors::placement::Placement;
use carillon_actors::server::Core;
use carillon_actors::session::actor::{Transport, start as start_session};
use carillon_actors::session::admission::turned_away;
use carillon_actors::session::auth::Authenticator;
use carillon_actors::session::referral::Referrals;
use carillon_actors::session::settings::{self, Doors, Settings};
use carillon_protocol::mailbox_name::{MailboxName, NameFormat};
use carillon_storage::{Journal, MemoryJournal, Store, StoreOptions};
use rustix::process::{Resource, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::admin::server::{Backend, Live};
use crate::admin::{self, socket};
use crate::config::{Config, PlaintextLogin};
use crate::exit::{Exit, Failure};
use crate::listener::{self, Gate, UnixDoor};
use crate::lmtp::connection::{self as lmtp_connection, Summary};
use crate::lmtp::delivery::{PostOffice, Postman};
use crate::lmtp::incoming::Spool;
use crate::lmtp::reply::Reply;
use crate::tls::{self, Tls};
use crate::users::{AnyUser, Names, Users};

/// How often it is looked whether our own certificate grows old.
const DAY: Duration = Duration::from_secs(86_400);

/// What a server is made of.
pub struct Plan {
    /// Its configuration; addresses with port 0 get any free port.
    pub config: Config,
    /// Where its files are: the data directory, or with `in_memory` a directory for its certificate and admin socket.
    pub data: PathBuf,
    /// Everything is gone at its end.
    pub in_memory: bool,
    /// A password with which every user name is let in.
    pub any_user: Option<String>,
    /// A port that is taken is passed over for one of the next.
    pub takes_near_ports: bool,
}

/// Where an opened server is reached.
#[derive(Clone, Debug, Default)]
pub struct Opened {
    /// IMAP.
    pub imap: Vec<SocketAddr>,
    /// IMAP over TLS.
    pub imaps: Vec<SocketAddr>,
    /// LMTP.
    pub lmtp: Vec<SocketAddr>,
    /// LMTP on a unix socket.
    pub lmtp_socket: Option<PathBuf>,
    /// The authority that clients must trust, where it is the server's own.
    pub authority: Option<PathBuf>,
}

impl Opened {
    fn trace(&self) {
        let words = |addresses: &[SocketAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let lmtp_socket = self.lmtp_socket.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
        tracing::info!(imap = words(&self.imap), imaps = words(&self.imaps), lmtp = words(&self.lmtp), lmtp_socket, "listening");
    }
}

/// Opens the store of a data directory, which is made if it is missing.
///
/// # Errors
/// Another process has it (75), it is not ours (78), or it is damaged (65).
pub fn open_store(data: &Path, options: StoreOptions) -> Result<Arc<Store>, Failure> {
    let (store, report) = Store::open(data, options)?;
    tracing::info!(
        data = %data.display(),
        reapplied_commits = report.reapplied_commits,
        is_rebuilt = report.is_rebuilt,
        newest_commit = store.newest_commit(),
        "the store is open"
    );
    Ok(Arc::new(store))
}

/// A process that serves: it hears signals from its beginning, so that none ends it while it opens its store.
pub struct Process {
    system: actix::SystemRunner,
    signals: Signals,
}

impl Process {
    /// Hears SIGTERM, SIGINT and SIGHUP from now on; they are obeyed when it runs.
    ///
    /// # Errors
    /// The system refuses.
    pub fn begin() -> Result<Self, Failure> {
        let system = actix::System::new();
        let signals = system.block_on(async { Signals::hear() });
        let signals = signals.map_err(|error| Failure::new(Exit::Failed, format!("signals cannot be heard: {error}")))?;
        Ok(Self { system, signals })
    }

    /// Runs a server to its end; `opened` is told when it serves.
    ///
    /// # Errors
    /// It could not start, or it had to end by itself (75).
    pub fn run(self, plan: Plan, ground: &Ground, opened: impl FnOnce(&Opened) -> Result<(), Failure>) -> Result<(), Failure> {
        self.system.block_on(Server::serve(plan, ground, self.signals, opened))
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn hear() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// Runs a future in an actix system on this thread, to its end.
pub fn block_on<F: Future>(future: F) -> F::Output {
    actix::System::new().block_on(future)
}

/// Starts the actors in front of a journal. To be called inside an actix system.
pub fn start_core(journal: Arc<dyn Journal>, threads: usize, limits: Limits) -> Core {
    let threads = if threads == 0 { available_parallelism().map_or(1, usize::from) } else { threads };
    let clock = Clock::system();
    // In 256ths of a second: a server that was killed and is back within one second must not give its session ids again. Good until 2106.
    let ids = Ids::new(clock.microseconds() / (1_000_000 / 256), rand::random());
    Core::start(journal, Placement::threads(threads), clock, ids, limits)
}

/// What a server keeps its mail in; while it lives, no other server has the directory.
pub struct Ground {
    journal: Arc<dyn Journal>,
    store: Option<Arc<Store>>,
}

impl Ground {
    /// Opens the store of a plan.
    ///
    /// # Errors
    /// As for [`open_store`].
    pub fn open(plan: &Plan) -> Result<Self, Failure> {
        raise_file_limit();
        if plan.in_memory {
            return Ok(Self { journal: Arc::new(MemoryJournal::new()), store: None });
        }
        crate::owner::refuse_root(&plan.data)?;
        let store = open_store(&plan.data, plan.config.store.clone())?;
        Ok(Self { journal: Arc::clone(&store) as Arc<dyn Journal>, store: Some(store) })
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        self.journal.close();
    }
}

/// File descriptors that connections must leave: for the store, for messages that arrive, for the administrator.
const FILES_RESERVED: u64 = 256;

/// Sessions, files and sockets need more than the usual 1024.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    let before = limit.current;
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, ?before, "the limit of file descriptors could not be raised");
    }
}

/// So many connections as are configured, or as there are file descriptors for: strangers must not take those that the store needs.
fn places(configured: usize) -> usize {
    let Some(files) = getrlimit(Resource::Nofile).current else { return configured };
    let room = usize::try_from(files.saturating_sub(FILES_RESERVED.min(files / 2))).unwrap_or(usize::MAX);
    if room < configured {
        tracing::warn!(
            files,
            configured,
            connections = room,
            "fewer connections than configured: the limit of file descriptors is low"
        );
    }
    configured.min(room)
}

/// Who may log in, in its three roles.
struct People {
    authenticator: Arc<dyn Authenticator>,
    names: Arc<dyn Names>,
    reload: Arc<dyn Fn() -> Result<usize, Failure> + Send + Sync>,
}

impl People {
    fn open(plan: &Plan) -> Result<Self, Failure> {
        if let Some(password) = &plan.any_user {
            let any = Arc::new(AnyUser::new(password, &plan.config.hostname));
            let (authenticator, names) = (Arc::clone(&any) as Arc<dyn Authenticator>, any as Arc<dyn Names>);
            return Ok(Self { authenticator, names, reload: Arc::new(|| Ok(0)) });
        }
        let users = Arc::new(Users::open(&plan.data)?);
        let (authenticator, names) = (Arc::clone(&users) as Arc<dyn Authenticator>, Arc::clone(&users) as Arc<dyn Names>);
        Ok(Self { authenticator, names, reload: Arc::new(move || users.reload()) })
    }
}

/// A server that serves.
struct Server {
    core: Core,
    doors: Arc<Doors>,
    tls: Arc<Tls>,
    people: People,
    gate: Arc<Gate>,
    office: PostOffice,
    stop: watch::Sender<bool>,
}

impl Server {
    async fn serve(
        plan: Plan,
        ground: &Ground,
        signals: Signals,
        opened: impl FnOnce(&Opened) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let people = People::open(&plan)?;
        let config = &plan.config;
        let files = if plan.in_memory { tls::fleeting_files } else { tls::files };
        let files = files(config, &plan.data, Clock::system().seconds())?;
        let tls = Tls::open(files)?;
        // Before anything is started: a server that cannot open one door serves nobody.
        let (bound, addresses) = Bound::bind(&plan, tls.files().authority.clone())?;
        if let Some(authority) = &tls.files().authority {
            tracing::info!(authority = %authority.display(), "serving a certificate of our own authority: clients must trust it");
        }
        let door = socket::open(&plan.data)?;
        let acceptor = tls.acceptor()?;
        let settings = session_settings(config)?;
        let core = start_core(Arc::clone(&ground.journal), config.threads, config.limits.clone());
        let authenticator = Arc::clone(&people.authenticator);
        let doors = Arc::new(Doors::new(core.clone(), authenticator, Some(Arc::new(move || acceptor.clone())), settings));
        let office = PostOffice {
            core: core.clone(),
            authenticator: Arc::clone(&people.authenticator),
            hostname: config.hostname.clone(),
            domains: config.lmtp_domains.clone(),
            separator: config.separator,
        };
        let (stop, _) = watch::channel(false);
        let gate = Gate::new(places(config.connections), config.connections_per_address);
        let server = Self { core, doors, tls, people, gate, office, stop };
        server.open_doors(bound);
        addresses.trace();
        let live = Live {
            core: server.core.clone(),
            authenticator: Arc::clone(&server.people.authenticator),
            reload_users: Arc::clone(&server.people.reload),
        };
        let (journal, store) = (Arc::clone(&ground.journal), ground.store.clone());
        let backend = Backend { journal, store, names: Arc::clone(&server.people.names), live: Some(live), only_aside: None };
        admin::server::start(&door, backend).map_err(|error| Failure::new(Exit::Failed, format!("no admin thread: {error}")))?;
        opened(&addresses)?;
        notify(&[NotifyState::Ready]);
        let reason = server.wait(&plan, signals).await;
        notify(&[NotifyState::Stopping]);
        drop(door);
        server.stop.send_replace(true);
        server.core.directory.end().await;
        tracing::info!("ended");
        reason.map_or(Ok(()), |reason| Err(Failure::new(Exit::TryAgain, format!("the server had to end: {reason}"))))
    }

    fn open_doors(&self, bound: Bound) {
        let farewell = turned_away(self.doors.settings.name_format());
        bound.imap.into_iter().for_each(|listener| self.serve_imap(listener, Transport::Plain, farewell.clone()));
        // In TLS nothing can be said before a handshake, which would cost what the limit is to save.
        bound.imaps.into_iter().for_each(|listener| self.serve_imap(listener, Transport::Tls, Vec::new()));
        bound.lmtp.into_iter().for_each(|listener| self.serve_lmtp(listener));
        bound.unix.into_iter().for_each(|door| self.serve_lmtp_unix(door));
    }

    fn serve_imap(&self, listener: TcpListener, transport: fn(TcpStream) -> Transport, farewell: Vec<u8>) {
        let (doors, placement) = (Arc::clone(&self.doors), self.core.placement.clone());
        let accepting = listener::accept(listener, Arc::clone(&self.gate), farewell, move |stream, peer, admission| {
            let doors = Arc::clone(&doors);
            // A socket belongs to the thread whose loop it was registered with.
            let Ok(stream) = stream.into_std() else { return };
            placement.session_arbiter().spawn(async move {
                match TcpStream::from_std(stream) {
                    Ok(stream) => drop(start_session(doors, transport(stream), peer, admission)),
                    Err(error) => tracing::warn!(%error, %peer, "a connection could not be served"),
                }
            });
        });
        self.until_the_end(accepting);
    }

    fn serve_lmtp(&self, listener: TcpListener) {
        let postman = self.postmen();
        let placement = self.core.placement.clone();
        let farewell = Reply::crowded().to_string().into_bytes();
        let accepting = listener::accept(listener, Arc::clone(&self.gate), farewell, move |stream, peer, admission| {
            let postman = postman.clone();
            let Ok(stream) = stream.into_std() else { return };
            placement.session_arbiter().spawn(async move {
                match TcpStream::from_std(stream) {
                    Ok(stream) => drop(actix_rt::spawn(postman.serve(stream, peer.ip().to_string(), admission))),
                    Err(error) => tracing::warn!(%error, %peer, "a connection could not be served"),
                }
            });
        });
        self.until_the_end(accepting);
    }

    fn serve_lmtp_unix(&self, door: UnixDoor) {
        let postman = self.postmen();
        self.until_the_end(listener::accept_unix(door, Arc::clone(&self.gate), move |stream, admission| {
            actix_rt::spawn(postman.clone().serve(stream, "local socket".to_owned(), admission));
        }));
    }

    fn postmen(&self) -> Postmen {
        Postmen { office: self.office.clone(), stop: self.stop.subscribe() }
    }

    /// Accepts until the server ends; then the door is closed at once.
    fn until_the_end(&self, accepting: impl Future<Output = ()> + 'static) {
        let mut stop = self.stop.subscribe();
        actix_rt::spawn(async move {
            tokio::select! {
                () = accepting => {}
                _ = stop.wait_for(|is_ending| *is_ending) => {}
            }
        });
    }

    /// Waits for what ends the server, and does what signals ask meanwhile; the reason, where it was not asked to end.
    async fn wait(&self, plan: &Plan, mut signals: Signals) -> Option<String> {
        let mut watchdog_us = 0;
        let is_watched = sd_notify::watchdog_enabled(false, &mut watchdog_us);
        let mut daily = tokio::time::interval(DAY);
        let mut pulse = tokio::time::interval(Duration::from_micros((watchdog_us / 2).max(100_000)));
        loop {
            tokio::select! {
                _ = signals.terminate.recv() => return None,
                _ = signals.interrupt.recv() => return None,
                _ = signals.hangup.recv() => self.reload(plan),
                _ = daily.tick() => self.renew(plan),
                _ = pulse.tick(), if is_watched => notify(&[NotifyState::Watchdog]),
                reason = self.core.ended() => return Some(reason),
            }
        }
    }

    /// A certificate of our own must not grow old while the server runs.
    fn renew(&self, plan: &Plan) {
        match self.tls.renew(&plan.config, &plan.data, Clock::system().seconds()) {
            Ok(true) => tracing::info!("our own certificate was made anew: new connections get it"),
            Ok(false) => {}
            Err(failure) => tracing::error!(%failure, "our own certificate could not be made anew"),
        }
    }

    fn reload(&self, plan: &Plan) {
        self.renew(plan);
        match self.tls.reload() {
            Ok(()) => tracing::info!("the certificate was read again"),
            Err(failure) => tracing::error!(%failure, "the certificate could not be read again: the old one stays"),
        }
        match (self.people.reload)() {
            Ok(users) => tracing::info!(users, "the users were read again"),
            Err(failure) => tracing::error!(%failure, "the users could not be read again: the old ones stay"),
        }
    }
}

/// What each LMTP connection is served with.
#[derive(Clone)]
struct Postmen {
    office: PostOffice,
    stop: watch::Receiver<bool>,
}

impl Postmen {
    async fn serve<S>(self, stream: S, peer: String, admission: carillon_actors::session::admission::Admission)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let core = &self.office.core;
        let spool = Spool {
            journal: Arc::clone(core.journal.store()),
            placement: core.placement.clone(),
            message_bytes: core.limits.message_bytes,
        };
        let settings = lmtp_connection::Settings { hostname: self.office.hostname.clone(), spool, stop: self.stop };
        let peer = if peer.contains(':') {
            format!("[IPv6:{peer}]")
        } else if peer.contains('.') {
            format!("[{peer}]")
        } else {
            peer
        };
        let postman = Postman::new(self.office.clone(), peer);
        let session = format!("{:016x}", postman.author.borrow().session);
        let span = tracing::info_span!("session", id = %session, peer = %postman.peer, protocol = "LMTP");
        let serving = tracing::Instrument::instrument(lmtp_connection::serve(stream, settings, &postman), span.clone());
        let Summary { in_bytes, out_bytes, delivered, refused, end } = serving.await;
        span.in_scope(|| tracing::info!(reason = end, in_bytes, out_bytes, delivered, refused, "session ended"));
        drop(admission);
    }
}

/// Doors that are ours and not yet served.
struct Bound {
    imap: Vec<TcpListener>,
    imaps: Vec<TcpListener>,
    lmtp: Vec<TcpListener>,
    unix: Option<UnixDoor>,
}

impl Bound {
    fn bind(plan: &Plan, authority: Option<PathBuf>) -> Result<(Self, Opened), Failure> {
        let config = &plan.config;
        let mut opened = Opened { lmtp_socket: config.lmtp_socket.clone(), authority, ..Opened::default() };
        let imap = bind_all(&config.imap, plan.takes_near_ports, &mut opened.imap)?;
        let imaps = bind_all(&config.imaps, plan.takes_near_ports, &mut opened.imaps)?;
        let lmtp = bind_all(&config.lmtp, plan.takes_near_ports, &mut opened.lmtp)?;
        let unix = config.lmtp_socket.as_deref().map(listener::bind_unix).transpose()?;
        Ok((Self { imap, imaps, lmtp, unix }, opened))
    }
}

fn bind_all(wanted: &[SocketAddr], takes_near: bool, opened: &mut Vec<SocketAddr>) -> Result<Vec<TcpListener>, Failure> {
    let mut listeners = Vec::new();
    for address in wanted {
        let listener = if takes_near { listener::bind_near(*address)? } else { listener::bind(*address)? };
        opened.push(listener.local_addr().unwrap_or(*address));
        listeners.push(listener);
    }
    Ok(listeners)
}

fn session_settings(config: &Config) -> Result<Settings, Failure> {
    let format = NameFormat { separator: config.separator, utf8: true };
    let mut mailboxes = Vec::with_capacity(config.remote_mailboxes.len());
    for remote in &config.remote_mailboxes {
        let name = MailboxName::parse(remote.name.as_bytes(), format);
        let name = name.map_err(|error| Failure::new(Exit::Config, format!("referral.mailbox {:?}: {error}", remote.name)))?;
        mailboxes.push((name, remote.url.clone()));
    }
    let users = config.remote_users.iter().map(|remote| (remote.user.clone(), remote.url.clone()));
    Ok(Settings {
        hostname: config.hostname.clone(),
        separator: config.separator,
        plaintext_login: match config.plaintext_login {
            PlaintextLogin::Never => settings::PlaintextLogin::Never,
            PlaintextLogin::Loopback => settings::PlaintextLogin::Loopback,
            PlaintextLogin::Always => settings::PlaintextLogin::Always,
        },
        disabled_capabilities: config.disabled_capabilities.clone(),
        referrals: Referrals::new(mailboxes.into_iter().collect(), users),
    })
}

/// Tells systemd, where it is there.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, states) {
        tracing::debug!(%error, "systemd was not told");
    }
}
