//! The administrator's commands, by the real binary.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// What a command said, and how it ended.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; -1 for one that was killed.
    pub code: i32,
    /// Standard output.
    pub output: String,
    /// Standard error.
    pub errors: String,
}

/// A command on a data directory, to be started.
pub fn command(data: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_carillon"));
    command.args(arguments).arg("--data").arg(data);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a command to its end.
pub fn run(mut command: Command, input: &str) -> Ran {
    let mut child = command.spawn().unwrap();
    // One that reads no input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: output.status.code().unwrap_or(-1), output: text(&output.stdout), errors: text(&output.stderr) }
}

/// Runs a command on a data directory to its end.
pub fn carillon(data: &Path, arguments: &[&str]) -> Ran {
    run(command(data, arguments), "")
}
