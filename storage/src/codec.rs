//! The one configuration of bincode in the project (2.0.1, pinned: docs/adr/0003-bincode.md): little-endian, variable-length integers, bounded.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The most bytes that decoding one value may take.
const LIMIT_BYTES: usize = 64 * 1024 * 1024;

fn configuration()
-> bincode::config::Configuration<bincode::config::LittleEndian, bincode::config::Varint, bincode::config::Limit<LIMIT_BYTES>> {
    bincode::config::standard().with_limit::<LIMIT_BYTES>()
}

/// Why bytes are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodecError(pub String);

impl std::fmt::Display for CodecError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}
impl std::error::Error for CodecError {}

/// The bytes of a value.
///
/// # Errors
/// A type that serde cannot put into this format.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    bincode::serde::encode_to_vec(value, configuration()).map_err(|error| CodecError(error.to_string()))
}

/// The value of bytes; all of them must be used.
///
/// # Errors
/// Bytes that are no such value, are too few or too many, or ask for more than the limit.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    match bincode::serde::decode_from_slice(bytes, configuration()) {
        Ok((value, used)) if used == bytes.len() => Ok(value),
        Ok((_, used)) => Err(CodecError(format!("{} bytes too many", bytes.len() - used))),
        Err(error) => Err(CodecError(error.to_string())),
    }
}
