//! The command line: one binary, server and administration. What a command does stands in `cli/`.

mod import;
mod log;
mod serve;
mod user;
mod who;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::config::{self, Config, Loaded, Sources};
use crate::exit::{Exit, Failure};
use crate::terminal;

/// An IMAP server whose mailboxes are append-only event logs and whose push cannot be lost.
#[derive(Debug, Parser)]
#[command(name = "carillon", version, arg_required_else_help = true, propagate_version = true)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 64 usage, 65 bad data or log, 67 no such user, 69 server not reachable, \
75 try again, 78 bad configuration.\nEvery option of the configuration file is also an environment variable: docs/operations.md.")]
pub struct Cli {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

/// Where the server's data and configuration are.
#[derive(Clone, Debug, Args)]
pub struct Place {
    /// The data directory [environment: CARILLON_DATA]
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<String>,
    /// The configuration file, TOML [environment: CARILLON_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Try it out: a server on loopback and high ports, with an account and a certificate of its own
    Try(serve::TryOptions),
    /// Serve
    Serve(Box<serve::ServeOptions>),
    /// Check the configuration and say all that is wrong with it
    Check {
        /// One JSON object for each problem
        #[arg(long)]
        json: bool,
    },
    /// Add, remove, list and import users
    #[command(subcommand)]
    User(user::UserCommand),
    /// Import mail into a user's account; run again, it goes on where it was cut off
    #[command(subcommand)]
    Import(import::ImportCommand),
    /// Read the event logs
    #[command(subcommand)]
    Log(log::LogCommand),
    /// Show who is connected
    Who {
        /// One JSON object for each session
        #[arg(long)]
        json: bool,
    },
    /// End a session, or all sessions of a user
    Kick {
        /// A session's id, as `carillon who` shows it
        #[arg(value_name = "SESSION", required_unless_present = "user", conflicts_with = "user")]
        session: Option<String>,
        /// All sessions of this user
        #[arg(long)]
        user: Option<String>,
    },
    /// Exit with 0 if the server serves, with 69 if it does not
    Ready {
        /// Wait for it so many seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=3600))]
        wait: u64,
    },
    /// Print a completion script for a shell
    Completion {
        /// Which
        shell: clap_complete::Shell,
    },
}

impl Place {
    /// Reads the configuration, with flags of a command on top.
    fn load(&self, flags: Vec<(&'static str, Vec<String>)>) -> Loaded {
        let data = self.data.iter().map(|data| ("data", vec![data.clone()]));
        config::load(&Sources { file: self.config.clone(), flags: data.chain(flags).collect(), ..Sources::of_process() })
    }

    /// The configuration, or all that is wrong with it.
    fn config(&self, flags: Vec<(&'static str, Vec<String>)>) -> Result<Config, Failure> {
        let loaded = self.load(flags);
        if loaded.problems.is_empty() {
            return Ok(loaded.config);
        }
        let lines: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
        Err(Failure::new(Exit::Config, lines.join("\n")))
    }

    /// The configuration and the data directory, for commands; absolute, because a command may give up the right to enter where it was typed.
    fn config_and_data(&self) -> Result<(Config, PathBuf), Failure> {
        let config = self.config(Vec::new())?;
        let data = config.data()?;
        let data = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
        Ok((config, data))
    }

    fn data(&self) -> Result<PathBuf, Failure> {
        self.config_and_data().map(|(_, data)| data)
    }
}

/// Runs the command line and gives the process's exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version that were asked for are no errors.
            let is_asked_for = !error.use_stderr();
            let _ = error.print();
            return if is_asked_for { ExitCode::SUCCESS } else { Exit::Usage.into() };
        }
    };
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.text.lines().for_each(terminal::note);
            failure.exit.into()
        }
    }
}

fn dispatch(cli: Cli) -> Result<(), Failure> {
    let place = &cli.place;
    match cli.command {
        Command::Try(options) => serve::run_try(place, &options),
        Command::Serve(options) => serve::run(place, &options),
        Command::Check { json } => check(place, json),
        Command::User(command) => user::run(place, command),
        Command::Import(command) => import::run(place, &command),
        Command::Log(command) => log::run(place, &command),
        Command::Who { json } => who::who(&place.data()?, json),
        Command::Kick { session, user } => who::kick(&place.data()?, session, user),
        Command::Ready { wait } => who::ready(&place.data()?, wait),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "carillon", &mut script);
            terminal::line(String::from_utf8_lossy(&script).trim_end()).map(drop)
        }
    }
}

/// What `serve` does not do without, but may be given by its flags.
fn warn_of_what_serving_needs(loaded: &mut Loaded) {
    let mut warn = |text: &str| {
        let (place, text, allowed) = (config::Place::Whole, text.to_owned(), String::new());
        loaded.warnings.push(config::Problem { place, text, allowed });
    };
    if loaded.config.data.is_none() {
        warn("no data directory: serve needs `data`, CARILLON_DATA or --data");
    }
    if !loaded.config.has_doors() {
        warn("nothing to listen on: serve needs `imap`, `imaps`, `lmtp` or `lmtp_socket`, or the same as flags");
    }
}

fn check(place: &Place, is_json: bool) -> Result<(), Failure> {
    let mut loaded = place.load(Vec::new());
    let config = &loaded.config;
    // What serving would find only at its start.
    if let (Some(certificate), Some(key)) = (&config.tls_certificate, &config.tls_key) {
        let files = crate::tls::Files { certificate: certificate.clone(), key: key.clone(), authority: None };
        if let Err(failure) = crate::tls::Tls::open(files) {
            let key = if failure.text.starts_with(&format!("{}:", key.display())) { "tls.key" } else { "tls.certificate" };
            let place = loaded.place_of(&[key]);
            loaded.problems.push(config::Problem { place, text: failure.text, allowed: String::new() });
        }
    }
    if loaded.problems.is_empty() {
        warn_of_what_serving_needs(&mut loaded);
    }
    let warnings = loaded.warnings.iter().map(|problem| ("warning", problem));
    for (severity, problem) in loaded.problems.iter().map(|problem| ("error", problem)).chain(warnings) {
        let place = problem.place.to_string();
        let text = if is_json {
            serde_json::json!({ "severity": severity, "place": place, "text": problem.text, "allowed": problem.allowed })
                .to_string()
        } else {
            terminal::plain(&format!("{severity}: {problem}"))
        };
        terminal::line(&text)?;
    }
    match loaded.problems.len() {
        0 if is_json => Ok(()),
        0 => terminal::line("the configuration is good").map(drop),
        1 => Err(Failure::new(Exit::Config, "the configuration has 1 error")),
        count => Err(Failure::new(Exit::Config, format!("the configuration has {count} errors"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn there_is_no_way_to_pass_a_users_password_as_an_argument() {
        let text = Cli::command().find_subcommand("user").unwrap().clone().render_long_help().to_string();
        assert!(!text.contains("--password "), "{text}");
        for command in ["add", "passwd"] {
            let arguments = ["carillon", "user", command, "alice", "--password", "secret"];
            assert!(Cli::try_parse_from(arguments).is_err());
        }
    }
}
