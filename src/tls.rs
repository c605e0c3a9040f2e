//! TLS by rustls: the certificate of the configuration, or our own of our own authority; replaced on SIGHUP while sessions go on.

mod own;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::users::write_synced;

/// Where certificate and key lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The chain (PEM), leaf first.
    pub certificate: PathBuf,
    /// The private key (PEM).
    pub key: PathBuf,
    /// The authority that clients must trust, where it is our own.
    pub authority: Option<PathBuf>,
}

/// The files of the configuration; where it names none, our own under `DIR/tls/`, which are made if they are missing or grow old.
///
/// # Errors
/// The disk, or a configured host name that cannot stand in a certificate.
pub fn files(config: &Config, data: &Path, now_seconds: u64) -> Result<Files, Failure> {
    files_written(config, data, now_seconds, write_synced)
}

/// The same for a server whose files go with it.
///
/// # Errors
/// As for [`files`].
pub fn fleeting_files(config: &Config, data: &Path, now_seconds: u64) -> Result<Files, Failure> {
    files_written(config, data, now_seconds, own::write_fleeting)
}

fn files_written(config: &Config, data: &Path, now_seconds: u64, write: own::Write) -> Result<Files, Failure> {
    match (&config.tls_certificate, &config.tls_key) {
        (Some(certificate), Some(key)) => Ok(Files { certificate: certificate.clone(), key: key.clone(), authority: None }),
        _ => own::ensure(&data.join("tls"), &config.hostname, now_seconds, write),
    }
}

/// The certificate that new connections get.
#[derive(Debug)]
pub struct Tls {
    files: Files,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// They cannot be read, or do not belong together.
    pub fn open(files: Files) -> Result<Arc<Self>, Failure> {
        let current = RwLock::new(Arc::new(load(&files)?));
        Ok(Arc::new(Self { files, current }))
    }

    /// Where the files are.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Reads the files again. Sessions keep what they have; after an error new connections get the old certificate.
    ///
    /// # Errors
    /// As for [`Tls::open`].
    pub fn reload(&self) -> Result<(), Failure> {
        let fresh = Arc::new(load(&self.files)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// Makes our own certificate anew if it grew old, was removed, or is for another name; whether it was. One of the configuration is its owner's.
    ///
    /// # Errors
    /// As for [`files`] and [`Tls::open`].
    pub fn renew(&self, config: &Config, data: &Path, now_seconds: u64) -> Result<bool, Failure> {
        let is_whole = || own::is_whole(&data.join("tls"), &config.hostname, now_seconds);
        if self.files.authority.is_none() || is_whole() {
            return Ok(false);
        }
        files(config, data, now_seconds)?;
        // Without the authority's key it stays as it is.
        if is_whole() { self.reload().map(|()| true) } else { Ok(false) }
    }

    /// What does the handshakes. No ALPN is set: rustls would refuse a client whose offer does not match, and without it one that offers `imap` is served.
    ///
    /// # Errors
    /// The crypto provider has none of the protocol versions.
    pub fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, Failure> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| Failure::new(Exit::Failed, format!("TLS cannot be set up: {error}")))?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        // 16 KiB of early data and a ticket each would be memory of strangers: neither is needed for connections that live for hours.
        config.max_early_data_size = 0;
        config.send_tls13_tickets = 1;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl ResolvesServerCert for Tls {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn load(files: &Files) -> Result<CertifiedKey, Failure> {
    let wrong = |path: &Path, what: &dyn std::fmt::Display| Failure::new(Exit::Config, format!("{}: {what}", path.display()));
    let chain: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_file_iter(&files.certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|error| wrong(&files.certificate, &error))?;
    if chain.is_empty() {
        return Err(wrong(&files.certificate, &"holds no certificate"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| wrong(&files.key, &error))?;
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(chain, key, &provider)
        .map_err(|error| wrong(&files.key, &format!("does not fit {}: {error}", files.certificate.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::ServerName;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const NOW: u64 = 1_768_212_000;

    fn own(directory: &Path) -> Arc<Tls> {
        let files = files(&Config { hostname: "mail.example.org".into(), ..Config::default() }, directory, NOW).unwrap();
        Tls::open(files).unwrap()
    }

    fn client(authority: &Path, protocols: &[&[u8]]) -> tokio_rustls::TlsConnector {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        tokio_rustls::TlsConnector::from(Arc::new(config))
    }

    async fn shake_hands(tls: &Arc<Tls>, name: &str, protocols: &[&[u8]]) -> std::io::Result<()> {
        let connector = client(tls.files().authority.as_ref().unwrap(), protocols);
        let (near, far) = tokio::io::duplex(64 << 10);
        let acceptor = tls.acceptor().unwrap();
        let server = async move {
            let mut stream = acceptor.accept(far).await?;
            stream.write_all(b"* OK\r\n").await?;
            stream.shutdown().await
        };
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let client = async move {
            let mut stream = connector.connect(name, near).await?;
            let mut greeting = [0; 6];
            stream.read_exact(&mut greeting).await.map(drop)
        };
        let (server, client) = futures_util::future::join(server, client).await;
        client.and(server)
    }

    #[tokio::test]
    async fn our_own_certificate_is_accepted_by_all_its_names_and_whatever_protocol_is_offered() {
        let directory = tempfile::tempdir().unwrap();
        let tls = own(directory.path());
        for name in ["localhost", "127.0.0.1", "::1", "mail.example.org"] {
            shake_hands(&tls, name, &[]).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        for protocols in [&[b"imap".as_slice()][..], &[b"http/1.1", b"h2"]] {
            shake_hands(&tls, "localhost", protocols).await.unwrap();
        }
        assert!(shake_hands(&tls, "other.example.org", &[]).await.is_err());
    }

    #[tokio::test]
    async fn a_reload_changes_what_new_connections_get_and_an_error_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let tls = own(directory.path());
        std::fs::write(&tls.files().key, "nonsense").unwrap();
        assert_eq!(tls.reload().unwrap_err().exit, Exit::Config);
        shake_hands(&tls, "localhost", &[]).await.unwrap();
        std::fs::remove_dir_all(directory.path().join("tls")).unwrap();
        let before = Arc::as_ptr(&tls.current.read().unwrap());
        own(directory.path());
        tls.reload().unwrap();
        assert_ne!(before, Arc::as_ptr(&tls.current.read().unwrap()));
        shake_hands(&tls, "localhost", &[]).await.unwrap();
    }

    #[tokio::test]
    async fn our_own_certificate_is_made_anew_while_it_is_served() {
        let directory = tempfile::tempdir().unwrap();
        let config = Config { hostname: "mail.example.org".into(), ..Config::default() };
        let tls = own(directory.path());
        let renew = |seconds| tls.renew(&config, directory.path(), seconds).unwrap();
        assert!(!renew(NOW) && !renew(NOW + 300 * 86_400));
        let before = Arc::as_ptr(&tls.current.read().unwrap());
        assert!(renew(NOW + 500 * 86_400) && !renew(NOW + 500 * 86_400));
        assert_ne!(before, Arc::as_ptr(&tls.current.read().unwrap()));
        std::fs::remove_file(&tls.files().certificate).unwrap();
        assert!(renew(NOW + 500 * 86_400));
        let files = Files { authority: None, ..tls.files().clone() };
        assert!(!Tls::open(files).unwrap().renew(&config, directory.path(), NOW + 5000 * 86_400).unwrap());
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (one, two) = (own(one.path()), own(two.path()));
        let mixed = Files { certificate: one.files().certificate.clone(), key: two.files().key.clone(), authority: None };
        assert_eq!(Tls::open(mixed).unwrap_err().exit, Exit::Config);
    }
}
