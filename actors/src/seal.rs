//! Values that are kept as a cache: a version and a hash tell whether they are what was put. One that is not is no error, only absent.

use bytes::Bytes;
use carillon_storage::codec::{self, CodecError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The hash of a cached value's bytes.
pub(crate) type Seal = [u8; 16];

/// The bytes of a value, with the seal behind them.
///
/// # Errors
/// A value that cannot be encoded.
pub(crate) fn seal<T: Serialize>(version: u16, value: &T) -> Result<Bytes, CodecError> {
    let mut bytes = codec::encode(value)?;
    let seal = seal_of(version, &bytes);
    bytes.extend_from_slice(&seal);
    Ok(Bytes::from(bytes))
}

/// The value of sealed bytes; `None` for another version or damaged bytes.
pub(crate) fn unseal<T: DeserializeOwned>(version: u16, sealed: &[u8]) -> Option<T> {
    let (bytes, seal) = sealed.split_last_chunk::<16>()?;
    (seal_of(version, bytes) == *seal).then(|| codec::decode(bytes).ok()).flatten()
}

/// The hash of bytes of a version.
pub(crate) fn seal_of(version: u16, bytes: &[u8]) -> Seal {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&version.to_le_bytes()).update(bytes);
    let mut seal = Seal::default();
    seal.iter_mut().zip(hasher.finalize().as_bytes()).for_each(|(to, from)| *to = *from);
    seal
}
