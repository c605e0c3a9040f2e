//! Texts on the wire: which form a string takes, and secrets that are never shown.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Whether a word is a method of HTTP (RFC 9110 §9). A line that begins with one is no command of mail: it comes from a browser that a web page uses, and what
/// follows it must not be taken for commands.
pub fn is_http_method(word: &[u8]) -> bool {
    let methods: [&[u8]; 9] = [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH"];
    methods.contains(&word)
}

/// A value that no debug output, trace or error shows, in any build.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Hides a value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for the one place that checks it.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret")
    }
}

/// Reads base64 as SASL has it (RFC 4648 §4): with padding, without line ends or blanks, left-over bits 0. `None` for anything else.
pub fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Writes base64, with padding and without line ends.
pub fn encode_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_strict() {
        assert_eq!(decode_base64(b"AGEAYg==").as_deref(), Some(&b"\0a\0b"[..]));
        // Reports 13 and 19 of the reliability page: garbage and tabs are an error of this one response, nothing else.
        for broken in
            [&b"AGEAYg"[..], b"AGEAYg=", b"AG\tEAYg==", b"AGEAYg==\r\n", b"AGEAYh==", b"*", b"A", b"\xff\xff\xff\xff", b"===="]
        {
            assert_eq!(decode_base64(broken), None);
        }
        assert_eq!(encode_base64(b"\0a\0b"), "AGEAYg==");
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret");
    }
}
