//! What can go wrong in the journal. No text here names a secret or a message's content.

use std::fmt;

use crate::record::{LogId, Position};

/// Why a list of commits was refused. After every variant but `Unknown` nothing of the list exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendError {
    /// A log's newest record is not the one the writer knew.
    Conflict {
        /// The log.
        log: LogId,
        /// The position that the writer expected.
        expected: Position,
        /// The position of the newest record.
        found: Position,
    },
    /// There is less free space than the configured reserve.
    DiskFull,
    /// Writing failed; the reason is for the trace.
    Failed(String),
    /// The records of the list exceed what a group may hold, or its bodies should have been prepared.
    TooLarge,
    /// It is not known whether the list is durable: only a new start can tell, from the disk.
    Unknown(String),
}

impl AppendError {
    /// What a failed system call becomes.
    pub(crate) fn of(error: &std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::StorageFull { Self::DiskFull } else { Self::Failed(error.to_string()) }
    }
}

impl fmt::Display for AppendError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict { log, expected, found } => {
                write!(formatter, "log {}/{:016x} ends at position {found}, not at {expected}", log.kind, log.id)
            }
            Self::DiskFull => formatter.write_str("the disk is full"),
            Self::Failed(reason) => write!(formatter, "writing failed: {reason}"),
            Self::TooLarge => formatter.write_str("the change is larger than a group of commits may be"),
            Self::Unknown(reason) => write!(formatter, "it is unknown whether the change is durable: {reason}"),
        }
    }
}
impl std::error::Error for AppendError {}

/// Why something could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// There is no such body.
    NoSuchBody,
    /// What is there is damaged: what it is, for the trace and for `log verify`.
    Damaged(String),
    /// The disk or the engine failed.
    Failed(String),
}

impl fmt::Display for ReadError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchBody => formatter.write_str("no such body"),
            Self::Damaged(what) => write!(formatter, "damaged: {what}"),
            Self::Failed(reason) => write!(formatter, "reading failed: {reason}"),
        }
    }
}
impl std::error::Error for ReadError {}

/// Why a store could not be opened. What was acknowledged is on disk as it was; an unfinished group may have been cut off and damage mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// Another process holds the data directory.
    Locked(String),
    /// The directory is not empty and is no carillon store.
    Foreign(String),
    /// It was written by a newer version.
    Newer(String),
    /// Records that cannot be mended are damaged: where, which commits, and the logs whose records are known to be among them.
    Damaged(String),
    /// There is no room on the disk: later it can be opened.
    Full(String),
    /// The disk failed.
    Failed(String),
}

impl OpenError {
    /// What a failed system call becomes.
    pub(crate) fn of(text: String, error: &std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::StorageFull { Self::Full(text) } else { Self::Failed(text) }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked(text)
            | Self::Foreign(text)
            | Self::Newer(text)
            | Self::Damaged(text)
            | Self::Full(text)
            | Self::Failed(text) => formatter.write_str(text),
        }
    }
}
impl std::error::Error for OpenError {}
