//! `carillon`: server and administration in one binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    carillon::cli::run(std::env::args_os())
}
