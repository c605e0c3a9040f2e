//! Password hashes: ARGON2ID is what we make; SHA512-CRYPT, BLF-CRYPT and PLAIN are what others made and what we can check.

use std::cell::RefCell;
use std::fmt;
use std::sync::OnceLock;

use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{PasswordHash, PasswordHasher as _, SaltString};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use subtle::ConstantTimeEq as _;

use crate::exit::{Exit, Failure};

/// The longest password, in bytes. A longer one is refused before it costs work.
pub const MAX_BYTES: usize = 1024;

/// A bcrypt hash of a higher cost would let one login hold a thread for seconds.
const MAX_BCRYPT_COST: u32 = 15;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Argon2id,
    Sha512Crypt,
    BlfCrypt,
    Plain,
}

impl Scheme {
    const ALL: [Self; 4] = [Self::Argon2id, Self::Sha512Crypt, Self::BlfCrypt, Self::Plain];

    const fn name(self) -> &'static str {
        match self {
            Self::Argon2id => "ARGON2ID",
            Self::Sha512Crypt => "SHA512-CRYPT",
            Self::BlfCrypt => "BLF-CRYPT",
            Self::Plain => "PLAIN",
        }
    }
}

/// The hash of a password, never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Hash {
    scheme: Scheme,
    text: String,
}

impl fmt::Debug for Hash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{{{}}}", self.scheme.name())
    }
}

impl Hash {
    /// The ARGON2ID hash of a password. Takes some 20 ms on purpose.
    ///
    /// # Errors
    /// An empty password, or one of more than [`MAX_BYTES`].
    pub fn new(password: &[u8]) -> Result<Self, Failure> {
        if password.is_empty() || password.len() > MAX_BYTES {
            return Err(Failure::new(Exit::Data, format!("a password has 1 to {MAX_BYTES} bytes")));
        }
        let salt = SaltString::generate(&mut OsRng);
        let hash = Argon2::default().hash_password(password, &salt);
        let hash = hash.map_err(|error| Failure::new(Exit::Failed, format!("hashing failed: {error}")))?;
        Ok(Self { scheme: Scheme::Argon2id, text: hash.to_string() })
    }

    /// A hash as passwd-files write it: `{SCHEME}text`; without scheme the form of the text tells (`$6$`, `$2y$`, `$argon2id$`).
    ///
    /// # Errors
    /// A scheme that is not known, or a text that is none of its hashes: what is wrong, without the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (scheme, text) = match text.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((name, text)) if !name.eq_ignore_ascii_case("CRYPT") => {
                let known = Scheme::ALL.into_iter().find(|scheme| scheme.name().eq_ignore_ascii_case(name));
                let shown: String = name.chars().filter(char::is_ascii_graphic).take(40).collect();
                (known.ok_or_else(|| format!("scheme {{{shown}}} is not known"))?, text)
            }
            Some((_, text)) => (guess(text)?, text),
            None => (guess(text)?, text),
        };
        let is_sound = match scheme {
            Scheme::Argon2id => PasswordHash::new(text)
                .is_ok_and(|hash| hash.algorithm.as_str() == "argon2id" && hash.hash.is_some() && is_affordable(&hash)),
            Scheme::Sha512Crypt => Sha512Crypt::parse(text).is_some(),
            Scheme::BlfCrypt => text.parse::<bcrypt::HashParts>().is_ok_and(|hash| hash.get_cost() <= MAX_BCRYPT_COST),
            Scheme::Plain => !text.is_empty() && text.len() <= MAX_BYTES,
        };
        let is_storable = text.len() <= MAX_BYTES && !text.contains(['\t', '\n', '\r']);
        if !(is_sound && is_storable) {
            return Err(format!("this is no {{{}}} hash, or one that costs more than a login may", scheme.name()));
        }
        Ok(Self { scheme, text: text.to_owned() })
    }

    /// The scheme's name.
    pub fn scheme(&self) -> &'static str {
        self.scheme.name()
    }

    /// The hash as [`Hash::parse`] reads it, for the file.
    pub(super) fn expose(&self) -> String {
        format!("{{{}}}{}", self.scheme.name(), self.text)
    }

    /// Whether this is the password's hash. Blocks for some 20 ms or as long as the hash demands.
    pub fn verify(&self, password: &[u8]) -> bool {
        if password.is_empty() || password.len() > MAX_BYTES {
            // As for a user that does not exist: else a login with an empty password tells who does.
            waste_work(password);
            return false;
        }
        match self.scheme {
            Scheme::Argon2id => PasswordHash::new(&self.text).is_ok_and(|hash| is_argon2_of(&hash, password).unwrap_or(false)),
            Scheme::Sha512Crypt => Sha512Crypt::parse(&self.text).is_some_and(|hash| hash.verify(password)),
            Scheme::BlfCrypt => bcrypt::verify(password, &self.text).unwrap_or(false),
            Scheme::Plain => is_same(self.text.as_bytes(), password),
        }
    }
}

thread_local! {
    /// The working memory of ARGON2ID, 19 MiB: used again, since the allocator would keep one block after the other for later.
    static WORKING_MEMORY: RefCell<Vec<Block>> = const { RefCell::new(Vec::new()) };
}

fn is_argon2_of(hash: &PasswordHash<'_>, password: &[u8]) -> argon2::password_hash::Result<bool> {
    let (Some(salt), Some(expected)) = (hash.salt, hash.hash) else { return Ok(false) };
    let version = hash.version.map_or(Ok(Version::default()), Version::try_from)?;
    let params = Params::try_from(hash)?;
    let mut buffer = [0; 64];
    let salt = salt.decode_b64(&mut buffer)?;
    let mut output = vec![0; expected.len()];
    let blocks = params.block_count();
    WORKING_MEMORY.with_borrow_mut(|memory| {
        memory.resize(memory.len().max(blocks), Block::default());
        Argon2::new(Algorithm::Argon2id, version, params).hash_password_into_with_memory(password, salt, &mut output, memory)
    })?;
    Ok(is_same(&output, expected.as_bytes()))
}

/// Whether checking an ARGON2ID hash takes no more than a login may: 256 MiB, and so many passes over them.
fn is_affordable(hash: &PasswordHash<'_>) -> bool {
    let (memory_kib, passes) = (hash.params.get_decimal("m").unwrap_or(0), hash.params.get_decimal("t").unwrap_or(0));
    memory_kib <= 256 << 10 && u64::from(memory_kib) * u64::from(passes) <= 1 << 20
}

fn guess(text: &str) -> Result<Scheme, String> {
    let prefixes = [("$6$", Scheme::Sha512Crypt), ("$2", Scheme::BlfCrypt), ("$argon2id$", Scheme::Argon2id)];
    let found = prefixes.into_iter().find(|(prefix, _)| text.starts_with(prefix));
    found.map(|(_, scheme)| scheme).ok_or_else(|| "the hash has no {SCHEME} and no known form".to_owned())
}

/// Compares in constant time, lengths aside.
pub(super) fn is_same(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}

/// Costs what checking an ARGON2ID hash costs: for refusals where there is no user whose check would cost it.
pub fn waste_work(password: &[u8]) {
    static DUMMY: OnceLock<Option<Hash>> = OnceLock::new();
    if let Some(hash) = DUMMY.get_or_init(|| Hash::new(b"nobody's password").ok()) {
        let password = if password.is_empty() || password.len() > MAX_BYTES { b"-" } else { password };
        hash.verify(password);
    }
}

/// The parts of `$6$[rounds=N$]salt$hash`.
struct Sha512Crypt<'a> {
    rounds: sha_crypt::Sha512Params,
    salt: &'a str,
    hash: &'a str,
}

impl<'a> Sha512Crypt<'a> {
    /// Rounds beyond this would let one login hold a thread for seconds.
    const MAX_ROUNDS: usize = 10_000_000;

    fn parse(text: &'a str) -> Option<Self> {
        let rest = text.strip_prefix("$6$")?;
        let (rounds, rest) = match rest.strip_prefix("rounds=") {
            Some(rest) => {
                let (rounds, rest) = rest.split_once('$')?;
                (rounds.parse().ok().filter(|rounds| *rounds <= Self::MAX_ROUNDS)?, rest)
            }
            None => (sha_crypt::ROUNDS_DEFAULT, rest),
        };
        let (salt, hash) = rest.split_once('$')?;
        let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'/';
        let is_sound = salt.len() <= 16 && salt.is_ascii() && hash.len() == 86 && hash.bytes().all(is_base64);
        let rounds = sha_crypt::Sha512Params::new(rounds).ok().filter(|_| is_sound)?;
        Some(Self { rounds, salt, hash })
    }

    fn verify(&self, password: &[u8]) -> bool {
        sha_crypt::sha512_crypt_b64(password, self.salt.as_bytes(), &self.rounds)
            .is_ok_and(|hash| is_same(hash.as_bytes(), self.hash.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by other programs: openssl, crypt(3), the argon2 tool; the password is `secret` everywhere.
    const FOREIGN: [&str; 5] = [
        "{SHA512-CRYPT}$6$i14hHL1Jnp5mQiE2$68ii2CdxEJE96rX//zRWtxoeQmgNcQwnOXPg0OGE6e02qOcHI42FiXsgSEU2TjnXOCbLJX2mp4tzlblqdv2m00",
        "{CRYPT}$6$i14hHL1Jnp5mQiE2$68ii2CdxEJE96rX//zRWtxoeQmgNcQwnOXPg0OGE6e02qOcHI42FiXsgSEU2TjnXOCbLJX2mp4tzlblqdv2m00",
        "{BLF-CRYPT}$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a",
        "{ARGON2ID}$argon2id$v=19$m=4096,t=2,p=1$c2FsdHNhbHQ$84A2PW5mlTvAhhyioPv7Z0MY6rvobdz+ETtOz3xDUyU",
        "{plain}secret",
    ];

    #[test]
    fn hashes_of_others_work() {
        for text in FOREIGN {
            let hash = Hash::parse(text).unwrap();
            assert!(hash.verify(b"secret"), "{text}");
            assert!(!hash.verify(b"secre") && !hash.verify(b"") && !hash.verify(b"secret\0"), "{text}");
            assert_eq!(Hash::parse(&hash.expose()).unwrap(), hash);
        }
    }

    #[test]
    fn own_hashes_work() {
        let hash = Hash::new("pä\0ss".as_bytes()).unwrap();
        assert!(hash.verify("pä\0ss".as_bytes()) && !hash.verify(b"pass"));
        assert_ne!(Hash::new(b"same").unwrap().expose(), Hash::new(b"same").unwrap().expose());
        assert!(Hash::new(b"").is_err() && Hash::new(&[b'x'; MAX_BYTES + 1]).is_err());
        assert_eq!(format!("{hash:?}"), "{ARGON2ID}");
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        for bad in [
            "",
            "secret",
            "{MD5}x",
            "{}",
            "{PLAIN}",
            "{PLAIN}a\nb",
            "{SHA512-CRYPT}$6$x",
            "{ARGON2ID}$argon2i$v=19$x",
            "{BLF-CRYPT}$2",
            // A login would take hours, or all memory.
            "{BLF-CRYPT}$2y$31$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a",
            "{ARGON2ID}$argon2id$v=19$m=4194304,t=2,p=1$c2FsdHNhbHQ$84A2PW5mlTvAhhyioPv7Z0MY6rvobdz+ETtOz3xDUyU",
            "{ARGON2ID}$argon2id$v=19$m=65536,t=4000000000,p=1$c2FsdHNhbHQ$84A2PW5mlTvAhhyioPv7Z0MY6rvobdz+ETtOz3xDUyU",
        ] {
            assert!(Hash::parse(bad).is_err(), "{bad:?}");
        }
        let rounds = format!("$6$rounds=999999999$salt${}", "a".repeat(86));
        assert!(Hash::parse(&rounds).is_err());
    }

    /// Counts work by the clock, generously: a fault of an order of magnitude is what it must find. The least of some times: the machine has other work.
    #[test]
    fn an_unknown_user_costs_a_hash() {
        let hash = Hash::new(b"known").unwrap();
        waste_work(b"warm");
        let time = |work: &dyn Fn()| {
            let once = |_| {
                let start = std::time::Instant::now();
                work();
                start.elapsed().as_secs_f64()
            };
            (0..7).map(once).fold(f64::INFINITY, f64::min)
        };
        let unknown = time(&|| waste_work(b"wrong"));
        for password in [b"wrong".as_slice(), b"", &[b'x'; MAX_BYTES + 1]] {
            let known = time(&|| assert!(!hash.verify(password)));
            assert!(unknown > known / 5.0 && known > unknown / 5.0, "{known} {unknown} for {} bytes", password.len());
        }
    }
}
