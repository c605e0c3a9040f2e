//! How a command gets its answer: from the running server, or from the store where none is running.

use std::path::Path;
use std::sync::Arc;

use carillon_storage::{OpenError, Store, StoreOptions};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::Request;
use super::aside::Aside;
use super::server::Backend;
use super::socket::{Caller, connect};
use crate::exit::{Exit, Failure};
use crate::owner;
use crate::terminal::note;
use crate::users::{Names, Users};

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let exit = match error {
            OpenError::Locked(_) | OpenError::Full(_) => Exit::TryAgain,
            OpenError::Foreign(_) | OpenError::Newer(_) => Exit::Config,
            OpenError::Damaged(_) => Exit::Data,
            OpenError::Failed(_) => Exit::Failed,
        };
        Self::new(exit, error.to_string())
    }
}

/// A runtime for what little a command waits for.
///
/// # Errors
/// The system gives none.
pub fn runtime() -> Result<Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::new(Exit::Failed, format!("no runtime: {error}")))
}

/// A store that was opened to be read.
struct Opened {
    store: Arc<Store>,
    /// Where the data directory cannot be written: what was opened instead, and what is mended there alone.
    aside: Option<(Aside, Vec<String>)>,
}

/// Opens the store of a data directory that has one.
fn open(data: &Path) -> Result<Opened, Failure> {
    carillon_storage::refuse_foreign(data)?;
    // Lost metadata are made again from the segments.
    if ["carillon.store", "segments"].iter().all(|name| !data.join(name).exists()) {
        return Err(Failure::new(Exit::Failed, format!("{} holds no mail yet: no server has run on it", data.display())));
    }
    let aside = Aside::of(data)?;
    if aside.is_some() {
        note(&format!("{} cannot be written: nothing in it is mended", data.display()));
    }
    let (store, report) = Store::open(aside.as_ref().map_or(data, Aside::path), StoreOptions::default())?;
    report.sentences.iter().for_each(|sentence| note(sentence));
    let mended = if report.healed_records > 0 { report.sentences } else { Vec::new() };
    Ok(Opened { store: Arc::new(store), aside: aside.map(|aside| (aside, mended)) })
}

/// Asks; `row` gets the rows, and says whether it wants more.
///
/// # Errors
/// What the answer says, or nobody can answer.
pub fn ask(data: &Path, request: &Request, row: &mut dyn FnMut(&Value) -> Result<bool, Failure>) -> Result<(), Failure> {
    if ask_server(data, request, row)? {
        return Ok(());
    }
    // Whoever follows would hold the store, and keep the server from starting that writes what is waited for.
    let is_following = matches!(request, Request::Log(selection) if selection.follow);
    if is_following || matches!(request, Request::Ready | Request::Who | Request::Kick { .. } | Request::ReloadUsers) {
        return Err(Failure::new(Exit::Unreachable, format!("no server is running on {}", data.display())));
    }
    owner::work_as_owner(data)?;
    let Opened { store, aside } = open(data)?;
    let only_aside = aside.as_ref().map(|(_, mended)| mended.clone());
    let names: Arc<dyn Names> = Arc::new(Users::open(data)?);
    let backend = Backend { journal: store.clone(), store: Some(store.clone()), names, live: None, only_aside };
    let mut failure = None;
    let answered = backend.answer(request, &runtime()?, &mut |value| match value.as_ref().map(&mut *row) {
        None | Some(Ok(true)) => true,
        Some(Ok(false)) => false,
        Some(Err(error)) => {
            failure = Some(error);
            false
        }
    });
    carillon_storage::Journal::close(store.as_ref());
    failure.map_or(answered, Err)
}

/// Asks the running server; false where there is none.
///
/// # Errors
/// What the answer says, or the server cannot be reached.
pub fn ask_server(data: &Path, request: &Request, row: &mut dyn FnMut(&Value) -> Result<bool, Failure>) -> Result<bool, Failure> {
    let Some(stream) = connect(data)? else { return Ok(false) };
    let mut caller = Caller::new(stream)?;
    caller.send(request)?;
    while let Some(value) = caller.row()? {
        if !row(&value)? {
            break;
        }
    }
    Ok(true)
}
