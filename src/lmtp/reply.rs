//! Replies with their enhanced status codes (RFC 5321 §4.2, RFC 2034, RFC 3463).

use std::fmt;

/// A reply of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Three digits.
    pub code: u16,
    /// The enhanced code; 354 and 220 have none.
    pub enhanced: &'static str,
    /// What people read. Holds nothing that the peer sent.
    pub text: String,
}

impl Reply {
    /// A reply.
    pub fn new(code: u16, enhanced: &'static str, text: impl Into<String>) -> Self {
        Self { code, enhanced, text: text.into() }
    }

    /// 250 2.0.0.
    pub fn ok(text: impl Into<String>) -> Self {
        Self::new(250, "2.0.0", text)
    }

    /// A command in the wrong order.
    pub fn out_of_order(text: &'static str) -> Self {
        Self::new(503, "5.5.1", text)
    }

    /// What cannot be parsed.
    pub fn syntax(text: &'static str) -> Self {
        Self::new(501, "5.5.4", text)
    }

    /// There is no such user.
    pub fn unknown_user() -> Self {
        Self::new(550, "5.1.1", "no such user here")
    }

    /// The message is longer than the limit.
    pub fn too_big(limit_bytes: u64) -> Self {
        Self::new(552, "5.3.4", format!("message longer than {limit_bytes} bytes"))
    }

    /// There are as many connections as may be.
    pub fn crowded() -> Self {
        Self::new(421, "4.3.2", "too many connections; come again in a moment")
    }

    /// Whether it says yes.
    pub const fn is_success(&self) -> bool {
        self.code < 400
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.enhanced.is_empty() {
            write!(formatter, "{} {}\r\n", self.code, self.text)
        } else {
            write!(formatter, "{} {} {}\r\n", self.code, self.enhanced, self.text)
        }
    }
}

/// The reply to LHLO: what is offered.
pub fn hello(hostname: &str, message_bytes: u64) -> String {
    format!(
        "250-{hostname}\r\n250-PIPELINING\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n250 SIZE {message_bytes}\r\n"
    )
}
