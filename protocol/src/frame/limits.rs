//! What one command may be, and what is said of one that is more.

use std::fmt;

/// How much one command may be. What is above is stepped over and answered with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLimits {
    /// All lines of one command together, without its literals, in bytes.
    pub line_bytes: usize,
    /// All literals of one command that are no messages, in bytes.
    pub literals_bytes: usize,
    /// How many such literals.
    pub literal_count: usize,
    /// One message of APPEND, in bytes.
    pub message_bytes: u64,
    /// How many messages in one APPEND.
    pub messages: usize,
    /// How much of a refused command is read and thrown away, in bytes, before the connection is given up.
    pub swallow_bytes: u64,
}

impl FrameLimits {
    /// Before login: a name and a password, or what a SASL mechanism sends.
    pub const UNAUTHENTICATED: Self = Self {
        line_bytes: 16 << 10,
        literals_bytes: 8 << 10,
        literal_count: 8,
        message_bytes: 0,
        messages: 0,
        swallow_bytes: 64 << 10,
    };

    /// After login, where the configuration doesn't say otherwise.
    pub const AUTHENTICATED: Self = Self {
        line_bytes: 64 << 10,
        literals_bytes: 64 << 10,
        literal_count: 1000,
        message_bytes: 64 << 20,
        messages: 1000,
        swallow_bytes: 256 << 20,
    };
}

/// Which of the [`FrameLimits`] a command broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// [`FrameLimits::line_bytes`]
    Line,
    /// [`FrameLimits::literals_bytes`]
    Literals,
    /// [`FrameLimits::literal_count`]
    LiteralCount,
    /// [`FrameLimits::message_bytes`]: the one that is answered with `NO [TOOBIG]`.
    Message,
    /// [`FrameLimits::messages`]: answered with `NO [LIMIT]`.
    Messages,
}

impl fmt::Display for Limit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Line => "the command line is too long",
            Self::Literals => "the literals of the command are too long",
            Self::LiteralCount => "the command has too many literals",
            Self::Message => "the message is too big",
            Self::Messages => "too many messages in one command",
        })
    }
}

/// Why a connection cannot go on: nobody knows any more where the next command begins. Answered with BYE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// A refused command is longer than [`FrameLimits::swallow_bytes`].
    TooMuch,
    /// The client sent a synchronising literal without waiting for the answer, and the answer is no.
    DidNotWait,
}

impl fmt::Display for Lost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::TooMuch => "too much was sent",
            Self::DidNotWait => "a literal was sent without waiting for its continuation",
        })
    }
}
