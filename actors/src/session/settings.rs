//! What every session of the server shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use carillon_protocol::mailbox_name::NameFormat;
use tokio_rustls::TlsAcceptor;

use super::auth::Authenticator;
use super::referral::Referrals;
use crate::placement::Lane;
use crate::server::Core;

/// Everything that a session is given at its start.
pub struct Doors {
    /// The actors.
    pub core: Core,
    /// The user database.
    pub authenticator: Arc<dyn Authenticator>,
    /// Gives the acceptor with the certificate that is in force now; `None` where TLS is not offered.
    pub tls: Option<Arc<dyn Fn() -> TlsAcceptor + Send + Sync>>,
    /// The configuration's choices.
    pub settings: Settings,
    /// Password hashes are slow on purpose and take much memory: threads of their own, for half of the cores, work on them and on nothing else, so that they
    /// hold up nobody and their memory is used again.
    hashers: Vec<Lane>,
    next_hasher: AtomicUsize,
}

impl Doors {
    /// What sessions are given.
    pub fn new(
        core: Core,
        authenticator: Arc<dyn Authenticator>,
        tls: Option<Arc<dyn Fn() -> TlsAcceptor + Send + Sync>>,
        settings: Settings,
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let hashers = (0..(cores / 2).max(1)).map(|_| core.placement.lane("passwords")).collect();
        Self { core, authenticator, tls, settings, hashers, next_hasher: AtomicUsize::new(0) }
    }

    /// The thread that checks the next password.
    pub(super) fn hasher(&self) -> Option<&Lane> {
        let turn = self.next_hasher.fetch_add(1, Ordering::Relaxed);
        self.hashers.get(turn % self.hashers.len().max(1))
    }
}

/// The configuration's choices for sessions.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The server's name in the greeting.
    pub hostname: String,
    /// The hierarchy separator, `/` or `.`.
    pub separator: char,
    /// From where a password may come without TLS.
    pub plaintext_login: PlaintextLogin,
    /// Capabilities that are switched off, in capitals.
    pub disabled_capabilities: Vec<String>,
    /// Mailboxes and users that live on other servers.
    pub referrals: Referrals,
}

/// From where a password may come without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaintextLogin {
    /// From nowhere.
    Never,
    /// From this machine.
    Loopback,
    /// From everywhere.
    Always,
}

impl Settings {
    /// How names stand on the wire.
    pub const fn name_format(&self) -> NameFormat {
        NameFormat { separator: self.separator, utf8: false }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hostname: "localhost".to_owned(),
            separator: '/',
            plaintext_login: PlaintextLogin::Loopback,
            disabled_capabilities: Vec::new(),
            referrals: Referrals::default(),
        }
    }
}
