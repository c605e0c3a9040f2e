//! Our own authority and a leaf of it. Two certificates, since NSS and GnuTLS take none that is its own authority.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};

use super::Files;
use crate::calendar::Date;
use crate::exit::{Exit, Failure, failed};

const DAY_SECONDS: u64 = 86_400;
/// Apple's clients take no leaf of more than 825 days, whoever signed it.
const LEAF_DAYS: u64 = 820;
/// A leaf of this age is made anew: at the start, on SIGHUP, and on the day while the server runs.
const RENEW_DAYS: u64 = 400;
const AUTHORITY_DAYS: u64 = 20 * 365;

/// How a file is written.
pub(super) type Write = fn(&Path, &[u8], u32) -> Result<(), Failure>;

/// For a server whose files go with it: nobody waits for the disk.
pub(super) fn write_fleeting(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let write = || OpenOptions::new().create(true).truncate(true).write(true).mode(mode).open(path)?.write_all(bytes);
    write().map_err(|error| failed("cannot write", path, &error))
}

/// The files in `directory`; what is missing is made, the leaf also when it grows old or the host's name changed. The authority stays: clients trust it.
///
/// # Errors
/// The disk; or the authority's key is gone and a leaf is needed.
pub(super) fn ensure(directory: &Path, hostname: &str, now_seconds: u64, write: Write) -> Result<Files, Failure> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(directory);
    made.map_err(|error| failed("cannot make", directory, &error))?;
    let path = |name: &str| directory.join(name);
    let (authority, authority_key) = (path("ca.pem"), path("ca-key.pem"));
    let files = Files { certificate: path("cert.pem"), key: path("key.pem"), authority: Some(authority.clone()) };
    if is_whole(directory, hostname, now_seconds) {
        return Ok(files);
    }
    if !authority.exists() {
        let key = KeyPair::generate().map_err(broken)?;
        let certificate = authority_parameters(now_seconds)?.self_signed(&key).map_err(broken)?;
        write(&authority_key, key.serialize_pem().as_bytes(), 0o600)?;
        write(&authority, certificate.pem().as_bytes(), 0o644)?;
    }
    let key = match fs::read_to_string(&authority_key) {
        Ok(key) => KeyPair::from_pem(&key).map_err(broken)?,
        Err(error) if error.kind() == ErrorKind::NotFound => return without_key(files, &authority_key),
        Err(error) => return Err(failed("cannot read", &authority_key, &error)),
    };
    let issuer = Issuer::new(authority_parameters(now_seconds)?, key);
    let leaf_key = KeyPair::generate().map_err(broken)?;
    let leaf = leaf_parameters(hostname, now_seconds)?.signed_by(&leaf_key, &issuer).map_err(broken)?;
    write(&files.key, leaf_key.serialize_pem().as_bytes(), 0o600)?;
    write(&files.certificate, leaf.pem().as_bytes(), 0o644)?;
    write(&path("made"), format!("{hostname}\n{now_seconds}\n").as_bytes(), 0o644)?;
    Ok(files)
}

/// A new authority would be one that no client trusts: the old leaf, while there is one.
fn without_key(files: Files, authority_key: &Path) -> Result<Files, Failure> {
    let text = format!(
        "{} is missing, and without it no new certificate can be made that clients trust: put it back, or remove ca.pem too and let them trust a new authority",
        authority_key.display()
    );
    if files.certificate.exists() && files.key.exists() {
        tracing::error!("{text}; the old certificate is served");
        return Ok(files);
    }
    Err(Failure::new(Exit::Config, text))
}

/// Whether there is a leaf, for this host and young enough. The authority's key may be kept elsewhere until it is needed.
pub(super) fn is_whole(directory: &Path, hostname: &str, now_seconds: u64) -> bool {
    let is_there = |name| directory.join(name).exists();
    ["ca.pem", "cert.pem", "key.pem"].into_iter().all(is_there) && is_fresh(&directory.join("made"), hostname, now_seconds)
}

/// `made` says for which host the leaf is, and since when.
fn is_fresh(made: &Path, hostname: &str, now_seconds: u64) -> bool {
    let text = fs::read_to_string(made).unwrap_or_default();
    let mut lines = text.lines();
    let is_same_host = lines.next() == Some(hostname);
    let since: Option<u64> = lines.next().and_then(|line| line.parse().ok());
    let limit = Duration::from_secs(RENEW_DAYS * DAY_SECONDS);
    is_same_host && since.is_some_and(|since| Duration::from_secs(now_seconds.saturating_sub(since)) < limit)
}

fn broken(error: rcgen::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot make a certificate: {error}"))
}

fn parameters(names: Vec<String>, common_name: &str, now_seconds: u64, days: u64) -> Result<CertificateParams, Failure> {
    let mut parameters = CertificateParams::new(names).map_err(broken)?;
    let day = |seconds: u64| {
        let date = Date::of(i64::try_from(seconds).unwrap_or(0));
        date_time_ymd(i32::try_from(date.year).unwrap_or(2000), date.month, date.day)
    };
    // A day back: clocks of clients differ.
    parameters.not_before = day(now_seconds.saturating_sub(DAY_SECONDS));
    parameters.not_after = day(now_seconds.saturating_add(days * DAY_SECONDS));
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(DnType::OrganizationName, "carillon");
    parameters.distinguished_name.push(DnType::CommonName, common_name);
    Ok(parameters)
}

/// The same for every leaf: issuer's name and key identifier come from them and from the key.
fn authority_parameters(now_seconds: u64) -> Result<CertificateParams, Failure> {
    let mut parameters = parameters(Vec::new(), "carillon local authority", now_seconds, AUTHORITY_DAYS)?;
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(parameters)
}

fn leaf_parameters(hostname: &str, now_seconds: u64) -> Result<CertificateParams, Failure> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if hostname != "localhost" {
        names.insert(0, hostname.to_owned());
    }
    let mut parameters = parameters(names, hostname, now_seconds, LEAF_DAYS)?;
    parameters.is_ca = IsCa::ExplicitNoCa;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    parameters.use_authority_key_identifier_extension = true;
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::users::write_synced;
    use std::os::unix::fs::PermissionsExt as _;

    const NOW: u64 = 1_768_212_000;

    #[test]
    fn keys_are_private_and_the_authority_stays() {
        let directory = tempfile::tempdir().unwrap();
        let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
        ensure(directory.path(), "a.example", NOW, write_synced).unwrap();
        let first = [read("ca.pem"), read("cert.pem"), read("key.pem")];
        for name in ["key.pem", "ca-key.pem"] {
            let mode = fs::metadata(directory.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        ensure(directory.path(), "a.example", NOW + 300 * DAY_SECONDS, write_synced).unwrap();
        assert_eq!(first, [read("ca.pem"), read("cert.pem"), read("key.pem")]);
        ensure(directory.path(), "a.example", NOW + 500 * DAY_SECONDS, write_synced).unwrap();
        let old = [read("ca.pem"), read("cert.pem"), read("key.pem")];
        assert!(first[0] == old[0] && first[1] != old[1] && first[2] != old[2]);
        ensure(directory.path(), "b.example", NOW + 500 * DAY_SECONDS, write_synced).unwrap();
        assert!(read("cert.pem") != old[1] && read("ca.pem") == old[0]);
    }

    #[test]
    fn no_authority_replaces_one_whose_key_is_kept_elsewhere() {
        let directory = tempfile::tempdir().unwrap();
        let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
        let ensure = |seconds| ensure(directory.path(), "a.example", seconds, write_fleeting);
        ensure(NOW).unwrap();
        let before = [read("ca.pem"), read("cert.pem")];
        fs::remove_file(directory.path().join("ca-key.pem")).unwrap();
        ensure(NOW).unwrap();
        ensure(NOW + 500 * DAY_SECONDS).unwrap();
        assert_eq!([read("ca.pem"), read("cert.pem")], before);
        fs::remove_file(directory.path().join("cert.pem")).unwrap();
        assert_eq!(ensure(NOW).unwrap_err().exit, Exit::Config);
        fs::remove_file(directory.path().join("ca.pem")).unwrap();
        ensure(NOW).unwrap();
        assert_ne!(read("ca.pem"), before[0]);
    }

    #[test]
    fn openssl_accepts_the_leaf() {
        let directory = tempfile::tempdir().unwrap();
        let now = carillon_actors::clock::Clock::system().seconds();
        let files = ensure(directory.path(), "mail.example.org", now, write_synced).unwrap();
        let mut command = std::process::Command::new("openssl");
        command.args(["verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "mail.example.org", "-CAfile"]);
        let Ok(output) = command.arg(files.authority.unwrap()).arg(files.certificate).output() else {
            return; // No openssl on this machine; tests/clients/ try real clients.
        };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
