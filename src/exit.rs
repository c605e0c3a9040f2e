//! How the process ends: the exit codes of sysexits.h, as docs/operations.md lists them.

use std::fmt;
use std::process::ExitCode;

/// An exit code. Scripts and systemd units rely on the numbers: they never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It could not be done.
    Failed = 1,
    /// The command line is wrong.
    Usage = 64,
    /// Input data is wrong, or the log is damaged.
    Data = 65,
    /// There is no such user.
    NoUser = 67,
    /// The server cannot be reached.
    Unreachable = 69,
    /// Later it may work: the directory is held by another server, or the disk is full.
    TryAgain = 75,
    /// The configuration is wrong; starting again will not help.
    Config = 78,
}

impl Exit {
    /// All of them, for documentation and tests.
    pub const ALL: [Self; 7] =
        [Self::Failed, Self::Usage, Self::Data, Self::NoUser, Self::Unreachable, Self::TryAgain, Self::Config];

    /// The exit code of a number that came over the admin socket; 1 for one that is none.
    pub fn from_number(number: u8) -> Self {
        Self::ALL.into_iter().find(|exit| *exit as u8 == number).unwrap_or(Self::Failed)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not succeed: what the user reads, and the exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What to tell, without a full stop; may have several lines.
    pub text: String,
}

impl Failure {
    /// A failure with its text.
    pub fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self { exit, text: text.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}
impl std::error::Error for Failure {}

/// What a failed system call on `path` becomes.
pub fn failed(what: &str, path: &std::path::Path, error: &std::io::Error) -> Failure {
    let exit = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::WouldBlock => Exit::TryAgain,
        _ => Exit::Failed,
    };
    Failure::new(exit, format!("{what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_stand_in_the_manual() {
        let manual = include_str!("../docs/operations.md");
        for exit in Exit::ALL {
            assert_eq!(Exit::from_number(exit as u8), exit);
            assert!(manual.contains(&format!("\n| {} | ", exit as u8)), "{exit:?}");
        }
        assert_eq!(Exit::from_number(3), Exit::Failed);
    }
}
