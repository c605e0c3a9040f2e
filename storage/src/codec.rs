//! The one configuration of bincode in the project (2.0.1, pinned: docs/adr/0003-bincode.md): little-endian, variable-length integers, bounded.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

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

/// The value that stands at the front of bytes, borrowed from them where its type can be, and how many they are.
///
/// # Errors
/// Bytes that do not begin with such a value, or ask for more than the limit.
pub fn decode_front<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, usize), CodecError> {
    bincode::serde::borrow_decode_from_slice(bytes, configuration()).map_err(|error| CodecError(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bytes_are_used_and_none_are_missing() {
        let bytes = encode(&(7_u64, "text".to_owned())).unwrap();
        assert_eq!(decode::<(u64, String)>(&bytes).unwrap(), (7, "text".to_owned()));
        assert!(decode::<(u64, String)>(&bytes[..bytes.len() - 1]).is_err());
        let longer = [bytes.as_slice(), b"x"].concat();
        assert_eq!(decode::<(u64, String)>(&longer), Err(CodecError("1 bytes too many".into())));
    }

    #[test]
    fn the_front_is_read_without_the_rest() {
        let bytes = encode(&("text".to_owned(), Some(b"octets".to_vec()), 7_u64)).unwrap();
        let (front, used) = decode_front::<(&str, Option<&[u8]>)>(&bytes).unwrap();
        assert_eq!((front, used), (("text", Some(b"octets".as_slice())), bytes.len() - 1));
        assert!(decode_front::<(&str, Option<&[u8]>)>(&bytes[..used - 1]).is_err());
        assert!(decode_front::<&str>(&[2, 0xc3, 0x28]).is_err());
    }

    #[test]
    fn the_bytes_are_pinned() {
        // Little-endian with variable length: up to 250 in one byte, then 251 and two bytes, 252 and four, 253 and eight.
        assert_eq!(
            encode(&(250_u64, 251_u64, 65_536_u32, u64::MAX)).unwrap(),
            [250, 251, 251, 0, 252, 0, 0, 1, 0, 253, 255, 255, 255, 255, 255, 255, 255, 255]
        );
        assert_eq!(encode(&(Some(true), "ab")).unwrap(), [1, 1, 2, b'a', b'b']);
    }

    #[test]
    fn a_length_that_claims_more_than_the_limit_is_refused_before_anything_is_reserved() {
        let claim = [&[253_u8][..], &(LIMIT_BYTES as u64 + 1).to_le_bytes()].concat();
        assert!(decode::<Vec<u8>>(&claim).is_err());
        assert!(decode::<Vec<u64>>(&claim).is_err());
        assert!(decode::<String>(&[&[253_u8][..], &u64::MAX.to_le_bytes()].concat()).is_err());
        let fits = vec![1_u8; LIMIT_BYTES / 2];
        assert_eq!(decode::<Vec<u8>>(&encode(&fits).unwrap()).unwrap(), fits);
        // More than the limit can be written but not read: the journal refuses such lists before (order of magnitude: format::LIST_LIMIT).
        const { assert!(crate::format::LIST_LIMIT < LIMIT_BYTES) };
    }

    proptest::proptest! {
        #[test]
        fn hostile_bytes_are_an_error_or_a_value(bytes: Vec<u8>) {
            if let Ok(record) = decode::<crate::Record>(&bytes) {
                proptest::prop_assert_eq!(encode(&record).unwrap().len() <= bytes.len(), true);
            }
        }
    }
}
