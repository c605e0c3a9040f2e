//! How a command gets its answer: from the running server, or from the store where none is running.

use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use carillon_storage::{OpenError, Store, StoreOptions};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::server::Backend;
use super::socket::{connect, receive, send};
use super::{Reply, Request};
use crate::exit::{Exit, Failure};
use crate::owner;
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

/// Opens the store of a data directory that has one.
///
/// # Errors
/// There is none, or it cannot be opened.
pub fn open_store(data: &Path) -> Result<Arc<Store>, Failure> {
    // Lost metadata are made again from the segments.
    if ["carillon.store", "segments"].iter().all(|name| !data.join(name).exists()) {
        return Err(Failure::new(Exit::Failed, format!("{} is no carillon data directory", data.display())));
    }
    let (store, _) = Store::open(data, StoreOptions::default())?;
    Ok(Arc::new(store))
}

/// Asks; `row` gets the rows, and says whether it wants more.
///
/// # Errors
/// What the answer says, or nobody can answer.
pub fn ask(data: &Path, request: &Request, row: &mut dyn FnMut(&Value) -> Result<bool, Failure>) -> Result<(), Failure> {
    if let Some(answered) = ask_server(data, request, row) {
        return answered;
    }
    // Whoever follows would hold the store, and keep the server from starting that writes what is waited for.
    let is_following = matches!(request, Request::Log(selection) if selection.follow);
    if is_following || matches!(request, Request::Ready | Request::Who | Request::Kick { .. } | Request::ReloadUsers) {
        return Err(Failure::new(Exit::Unreachable, format!("no server is running on {}", data.display())));
    }
    let store = open_store(data)?;
    let names: Arc<dyn Names> = Arc::new(Users::open(data)?);
    let backend = Backend { journal: store.clone(), store: Some(store.clone()), names, live: None };
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
    drop((backend, store));
    owner::give_all(data)?;
    failure.map_or(answered, Err)
}

/// Asks the running server; `None` where there is none.
pub fn ask_server(
    data: &Path,
    request: &Request,
    row: &mut dyn FnMut(&Value) -> Result<bool, Failure>,
) -> Option<Result<(), Failure>> {
    let mut stream = connect(data)?;
    let broken = |error: std::io::Error| Failure::new(Exit::Unreachable, format!("the server does not answer: {error}"));
    let mut converse = || -> Result<(), Failure> {
        send(&mut stream, request).map_err(broken)?;
        let mut input = BufReader::new(stream.try_clone().map_err(broken)?);
        loop {
            match receive::<Reply>(&mut input).map_err(broken)? {
                Some(Reply::Row(value)) => {
                    if !row(&value)? {
                        return Ok(());
                    }
                }
                Some(Reply::Done) => return Ok(()),
                Some(Reply::Failed { exit, text }) => return Err(Failure::new(Exit::from_number(exit), text)),
                None => return Err(Failure::new(Exit::Unreachable, "the server ended")),
            }
        }
    };
    Some(converse())
}
