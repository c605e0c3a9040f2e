//! Administration: what is asked over the admin socket in the data directory, and what answers. With the server stopped the same questions are
//! answered from the store. Requests and replies are JSON, one a line; a batch of an import is followed by its bytes.

mod aside;
pub mod client;
pub mod log;
pub mod lost;
pub mod names;
pub mod render;
pub mod server;
pub mod socket;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::exit::{Exit, Failure};

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Is the server serving?
    Ready,
    /// Who is connected?
    Who,
    /// End sessions.
    Kick {
        /// One session, by its id in hexadecimal digits.
        session: Option<String>,
        /// All sessions of a user.
        user: Option<String>,
    },
    /// Read the users' file again.
    ReloadUsers,
    /// Which logs are there?
    LogList {
        /// Of this user alone.
        user: Option<String>,
    },
    /// Records of logs.
    Log(Selection),
    /// Are the logs whole?
    LogVerify,
    /// Messages for an account follow.
    Import {
        /// Whose.
        user: String,
    },
}

impl Request {
    /// Whether the answer may take long: such questions must not keep short ones out.
    fn is_long(&self) -> bool {
        matches!(self, Self::LogList { .. } | Self::Log(_) | Self::LogVerify | Self::Import { .. })
    }
}

/// Which records of which logs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Selection {
    /// `*`, `server`, `USER` (or `USER/`: a user may be called `server`), `USER/*` or `USER/MAILBOX`.
    pub target: String,
    /// From this position on; of several logs, from this commit on.
    pub from: Option<u64>,
    /// Only the last so many.
    pub last: Option<usize>,
    /// Go on with what is written from now on.
    pub follow: bool,
    /// Only what was written at this moment or later, in microseconds since 1970.
    pub since: Option<u64>,
    /// Only what was written before this moment.
    pub until: Option<u64>,
    /// Only events of these types ([`render::TYPES`]); of all types where there is none.
    pub types: Vec<String>,
}

impl Selection {
    /// Whether some records are left out by what they are, and not only by where they stand.
    fn has_filter(&self) -> bool {
        self.since.is_some() || self.until.is_some() || !self.types.is_empty()
    }

    fn has_moment(&self, at: u64) -> bool {
        self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at < until)
    }

    fn has_type(&self, kind: &str) -> bool {
        self.types.is_empty() || self.types.iter().any(|wanted| wanted == kind)
    }

    fn has(&self, record: &carillon_storage::Record) -> bool {
        self.has_moment(record.at) && (self.types.is_empty() || render::types(record).iter().any(|kind| self.has_type(kind)))
    }
}

/// A part of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// One of many.
    Row(Value),
    /// All was told.
    Done,
    /// It could not be done.
    Failed {
        /// The exit code.
        exit: u8,
        /// Why.
        text: String,
    },
}

impl From<Failure> for Reply {
    fn from(failure: Failure) -> Self {
        Self::Failed { exit: failure.exit as u8, text: failure.text }
    }
}

impl From<carillon_storage::ReadError> for Failure {
    fn from(error: carillon_storage::ReadError) -> Self {
        let exit = match error {
            carillon_storage::ReadError::Damaged(_) => Exit::Data,
            _ => Exit::Failed,
        };
        Self::new(exit, error.to_string())
    }
}
