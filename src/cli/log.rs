//! `carillon log`.

use carillon_actors::clock::Clock;
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use super::Place;
use crate::admin::{Request, Selection, client, render};
use crate::calendar::parse_moment;
use crate::exit::Failure;
use crate::terminal::{json, line, plain};

/// `carillon log ...`
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// List the logs with the number of their records
    List {
        /// Of this user alone
        user: Option<String>,
        /// How they are written
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Show records, from the first or from a position on
    Show(ShowOptions),
    /// Show the last records; with -f go on with what is written from now on
    Tail(ShowOptions),
    /// Check that nothing in the logs was lost or altered, and mend what can be mended; 65 if something is damaged
    Verify {
        /// How findings are written
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
}

/// Which records, and how.
#[derive(Debug, Args)]
pub struct ShowOptions {
    /// USER/MAILBOX, USER/* for all of a user, USER for names and subscriptions, `server` for sessions, * for everything
    #[arg(default_value = "*")]
    target: String,
    /// From this position on; of several logs, from this commit on
    #[arg(long, value_name = "N")]
    from: Option<u64>,
    /// Only the last so many [tail: 20, if it is not said where to begin]
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<usize>,
    /// Go on with what is written from now on
    #[arg(short, long, conflicts_with = "until")]
    follow: bool,
    /// Not older than this: "2h", "10 min ago", 2026-01-12, 2026-01-12T10:00:00Z (UTC where no zone is said)
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    since: Option<u64>,
    /// Older than this
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    until: Option<u64>,
    /// Events of these types alone, with commas or repeated
    #[arg(short, long = "type", value_name = "TYPE", value_delimiter = ',', value_parser = PossibleValuesParser::new(render::TYPES))]
    types: Vec<String>,
    /// How records are written
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// How rows are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// One line for people
    #[default]
    Short,
    /// One JSON object a line
    Json,
}

pub(super) fn run(place: &Place, command: &LogCommand) -> Result<(), Failure> {
    let data = place.data()?;
    match command {
        LogCommand::List { user, output } => {
            let request = Request::LogList { user: user.clone() };
            client::ask(&data, &request, &mut |row| put(row, *output, log_line))
        }
        LogCommand::Show(options) => show(&data, options, options.lines),
        LogCommand::Tail(options) => {
            let has_start = options.from.is_some() || options.since.is_some();
            show(&data, options, options.lines.or((!has_start).then_some(20)))
        }
        LogCommand::Verify { output } => client::ask(&data, &Request::LogVerify, &mut |row| put(row, *output, verify_line)),
    }
}

fn show(data: &std::path::Path, options: &ShowOptions, last: Option<usize>) -> Result<(), Failure> {
    let ShowOptions { from, follow, since, until, .. } = *options;
    let (target, types) = (options.target.clone(), options.types.clone());
    let selection = Selection { target, from, last, follow, since, until, types };
    client::ask(data, &Request::Log(selection), &mut |row| put(row, options.output, render::short))
}

fn moment(text: &str) -> Result<u64, String> {
    let expected = "expected a time such as 2h, \"10 min ago\", 2026-01-12 or 2026-01-12T10:00:00Z";
    parse_moment(text, Clock::system().microseconds()).ok_or_else(|| expected.to_owned())
}

fn put(row: &Value, output: Output, short: fn(&Value) -> String) -> Result<bool, Failure> {
    line(&if output == Output::Json { json(row) } else { short(row) })
}

fn text(row: &Value, key: &str) -> String {
    match row.get(key) {
        Some(Value::String(text)) => plain(text),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

fn log_line(row: &Value) -> String {
    let deleted = if row.get("deleted") == Some(&Value::Bool(true)) { " (deleted)" } else { "" };
    format!("{}  {:>8} records  {}{deleted}", text(row, "id"), text(row, "records"), text(row, "log"))
}

fn verify_line(row: &Value) -> String {
    if row.get("finding").is_some() {
        let healed = if row.get("healed") == Some(&Value::Bool(true)) { "mended" } else { "NOT MENDED" };
        return format!(
            "{}: {} (records {}, bodies {})",
            healed,
            text(row, "finding"),
            text(row, "records"),
            text(row, "bodies")
        );
    }
    let numbers = ["segments", "groups", "records", "bodies", "bytes"].map(|key| format!("{} {key}", text(row, key)));
    let verdict = if row.get("whole") == Some(&Value::Bool(true)) { "whole" } else { "damaged" };
    format!("{verdict}: {}, {} findings", numbers.join(", "), text(row, "findings"))
}
