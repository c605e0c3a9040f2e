//! `carillon log`: records of one log or of many, in the order of commits. Blocks on the disk; called in the pool or in a process of its own.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use carillon_actors::id::{LOG_KIND_ACCOUNT, LOG_KIND_MAILBOX, LOG_KIND_SERVER, SERVER_LOG};
use carillon_storage::{Journal, LogId, Record};
use serde_json::{Value, json};

use super::Selection;
use super::names::{Names, SERVER, text};
use super::render;
use crate::exit::{Exit, Failure};

/// Records or commits that are read at a time.
const PIECE: usize = 500;
/// How often a follower looks for new commits.
pub const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Which logs are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Scope {
    All,
    One(LogId),
    Some(BTreeSet<LogId>),
}

impl Scope {
    fn has(&self, log: LogId) -> bool {
        match self {
            Self::All => true,
            Self::One(one) => *one == log,
            Self::Some(logs) => logs.contains(&log),
        }
    }
}

fn scope(target: &str, journal: &dyn Journal, names: &mut Names) -> Result<Scope, Failure> {
    if target == "*" || target.is_empty() {
        names.learn_all(journal)?;
        return Ok(Scope::All);
    }
    if target == SERVER {
        return Ok(Scope::One(SERVER_LOG));
    }
    let (user, mailbox) = target.split_once('/').map_or((target, None), |(user, mailbox)| (user, Some(mailbox)));
    let account = names.account(user)?;
    names.learn(journal, account)?;
    match mailbox {
        None | Some("") => Ok(Scope::One(account.log())),
        Some("*") => {
            let mailboxes = names.mailboxes(account).into_iter().map(|(id, _)| id.log());
            Ok(Scope::Some(std::iter::once(account.log()).chain(mailboxes).collect()))
        }
        Some(name) => {
            let found = names.find(account, name);
            let missing = || Failure::new(Exit::Failed, format!("{user} has no mailbox {name:?}"));
            found.map(|id| Scope::One(id.log())).ok_or_else(missing)
        }
    }
}

/// Gives the rows of a selection to `emit`, and with `follow` goes on until `emit` says false.
///
/// # Errors
/// No such user or mailbox, or a log that cannot be read.
pub fn show(
    journal: &dyn Journal,
    mut names: Names,
    selection: &Selection,
    emit: &mut dyn FnMut(Option<Value>) -> bool,
) -> Result<(), Failure> {
    let scope = scope(&selection.target, journal, &mut names)?;
    let end = journal.newest_commit();
    let mut emit_records = |records: &[Record], names: &mut Names| -> Result<bool, Failure> {
        for record in records {
            names.fold(record)?;
            if !emit_rows(record, names, selection, emit) {
                return Ok(false);
            }
        }
        Ok(true)
    };
    let is_wanted = match &scope {
        Scope::One(log) => one_log(journal, *log, selection, &mut |records| emit_records(records, &mut names))?,
        _ => many_logs(journal, &scope, selection, end, &mut |records| emit_records(records, &mut names))?,
    };
    if !(is_wanted && selection.follow) {
        return Ok(());
    }
    follow(journal, scope, selection, names, end + 1, emit)
}

/// Gives the rows of a record that are wanted; false when nobody reads any more.
fn emit_rows(record: &Record, names: &Names, selection: &Selection, emit: &mut dyn FnMut(Option<Value>) -> bool) -> bool {
    let is_wanted = |row: &Value| row.get("type").and_then(Value::as_str).is_some_and(|kind| selection.has_type(kind));
    render::rows(record, names).into_iter().filter(is_wanted).all(|row| emit(Some(row)))
}

fn one_log(
    journal: &dyn Journal,
    log: LogId,
    selection: &Selection,
    emit: &mut dyn FnMut(&[Record]) -> Result<bool, Failure>,
) -> Result<bool, Failure> {
    let head = journal.head(log)?.position;
    let mut from = selection.from.unwrap_or(1);
    let mut kept = Kept::new(selection);
    if let (Some(last), false) = (selection.last, selection.has_filter()) {
        from = from.max((head + 1).saturating_sub(last as u64));
    }
    from = from.max(1);
    while from <= head {
        let records = journal.read(log, from, PIECE)?;
        let Some(newest) = records.last().map(|record| record.position) else { break };
        if !kept.pass(records, emit)? {
            return Ok(false);
        }
        from = newest + 1;
    }
    emit(kept.records.make_contiguous())
}

/// What is held back until it is known to be the last.
struct Kept<'a> {
    selection: &'a Selection,
    records: VecDeque<Record>,
}

impl<'a> Kept<'a> {
    fn new(selection: &'a Selection) -> Self {
        Self { selection, records: VecDeque::new() }
    }

    /// Gives on what is wanted, or with `last` keeps the newest of it.
    fn pass(&mut self, records: Vec<Record>, emit: &mut dyn FnMut(&[Record]) -> Result<bool, Failure>) -> Result<bool, Failure> {
        let selection = self.selection;
        self.records.extend(records.into_iter().filter(|record| !selection.has_filter() || selection.has(record)));
        match selection.last {
            Some(last) => {
                self.records.drain(..self.records.len().saturating_sub(last));
                Ok(true)
            }
            None => emit(std::mem::take(&mut self.records).make_contiguous()),
        }
    }
}

fn many_logs(
    journal: &dyn Journal,
    scope: &Scope,
    selection: &Selection,
    end: u64,
    emit: &mut dyn FnMut(&[Record]) -> Result<bool, Failure>,
) -> Result<bool, Failure> {
    let mut from = selection.from.unwrap_or(1).max(1);
    // The last so many of all logs lie in the last so many commits; of some logs, or of some records, they have to be looked for.
    if let (Some(last), Scope::All, false) = (selection.last, scope, selection.has_filter()) {
        from = from.max((end + 1).saturating_sub(last as u64));
    }
    let mut kept = Kept::new(selection);
    while from <= end {
        let records = journal.commits(from, PIECE)?;
        let Some(newest) = records.last().map(|record| record.commit) else { break };
        let wanted: Vec<Record> = records.into_iter().filter(|record| record.commit <= end && scope.has(record.log)).collect();
        if !kept.pass(wanted, emit)? {
            return Ok(false);
        }
        from = newest + 1;
    }
    emit(kept.records.make_contiguous())
}

fn follow(
    journal: &dyn Journal,
    mut scope: Scope,
    selection: &Selection,
    mut names: Names,
    mut from: u64,
    emit: &mut dyn FnMut(Option<Value>) -> bool,
) -> Result<(), Failure> {
    loop {
        // Without a row it is asked whether anybody still reads.
        if !emit(None) {
            return Ok(());
        }
        if journal.newest_commit() < from {
            std::thread::sleep(LOOK_AGAIN);
            continue;
        }
        let records = journal.commits(from, PIECE)?;
        let Some(newest) = records.last().map(|record| record.commit) else {
            std::thread::sleep(LOOK_AGAIN);
            continue;
        };
        from = newest + 1;
        let has_new_names = records.iter().any(|record| record.log.kind == LOG_KIND_ACCOUNT);
        records.iter().try_for_each(|record| names.fold(record))?;
        if has_new_names && matches!(scope, Scope::Some(_)) {
            scope = self::scope(&selection.target, journal, &mut names)?;
        }
        for record in records.iter().filter(|record| scope.has(record.log) && selection.has_moment(record.at)) {
            if !emit_rows(record, &names, selection, emit) {
                return Ok(());
            }
        }
    }
}

/// The logs, with their heads: of one user, or all.
///
/// # Errors
/// No such user, or a log that cannot be read.
pub fn list(
    journal: &dyn Journal,
    mut names: Names,
    user: Option<&str>,
    emit: &mut dyn FnMut(Option<Value>) -> bool,
) -> Result<(), Failure> {
    let only = user.map(|user| names.account(user)).transpose()?;
    let mut logs = Vec::new();
    if only.is_none() {
        logs.extend(journal.logs(LOG_KIND_SERVER)?.into_iter().map(|log| (log, SERVER.to_owned(), false)));
    }
    for log in journal.logs(LOG_KIND_ACCOUNT)? {
        let account = carillon_actors::id::AccountId(log.id);
        if only.is_some_and(|only| only != account) {
            continue;
        }
        names.learn(journal, account)?;
        let user = names.user(account);
        logs.push((log, names.log(account), false));
        let mailboxes = names.mailboxes(account);
        logs.extend(mailboxes.iter().map(|(id, named)| (id.log(), format!("{user}/{}", text(&named.name)), named.is_deleted)));
    }
    for (log, name, is_deleted) in logs {
        let head = journal.head(log)?;
        let row = json!({
            "log": name, "id": format!("{:016x}", log.id), "kind": kind_name(log.kind), "records": head.position,
            "chain": head.chain.to_string(), "deleted": is_deleted,
        });
        if !emit(Some(row)) {
            break;
        }
    }
    Ok(())
}

fn kind_name(kind: u8) -> &'static str {
    match kind {
        LOG_KIND_SERVER => SERVER,
        LOG_KIND_ACCOUNT => "account",
        LOG_KIND_MAILBOX => "mailbox",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests;
