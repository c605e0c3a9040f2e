//! `carillon who`, `kick` and `ready`: questions to the running server.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::admin::{Request, client};
use crate::exit::{Exit, Failure};
use crate::terminal::{json, line, plain};

pub(super) fn who(data: &Path, is_json: bool) -> Result<(), Failure> {
    let mut rows = Vec::new();
    client::ask(data, &Request::Who, &mut |row| {
        rows.push(row.clone());
        Ok(true)
    })?;
    if is_json {
        return rows.iter().try_for_each(|row| line(&json(row)).map(drop));
    }
    let text = |row: &Value, key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let count = rows.len();
    if count > 0 {
        line(&format!("{:<16}  {:<20}  {:<24}  {:<14}  {:<20}  {}", "session", "user", "peer", "state", "mailbox", "client"))?;
    }
    for row in &rows {
        let [session, user, peer, state, selected, client] =
            ["session", "user", "peer", "state", "selected", "client"].map(|key| text(row, key));
        line(&plain(&format!("{session}  {user:<20}  {peer:<24}  {state:<14}  {selected:<20}  {client}")))?;
    }
    line(&format!("{count} sessions")).map(drop)
}

pub(super) fn kick(data: &Path, session: Option<String>, user: Option<String>) -> Result<(), Failure> {
    client::ask(data, &Request::Kick { session, user }, &mut |row| {
        line(&format!("{} sessions ended", row.get("kicked").and_then(Value::as_u64).unwrap_or_default()))
    })
}

pub(super) fn ready(data: &Path, wait_seconds: u64) -> Result<(), Failure> {
    let end = Instant::now() + Duration::from_secs(wait_seconds);
    loop {
        let answer = client::ask(data, &Request::Ready, &mut |_| Ok(true));
        match answer {
            Err(failure) if failure.exit == Exit::Unreachable && Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(50));
            }
            other => return other,
        }
    }
}
