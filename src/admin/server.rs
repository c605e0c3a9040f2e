//! What answers administration: the running server over its socket, a thread for each connection, or a command of its own with the store open.

use std::io::{self, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use carillon_actors::id::SessionId;
use carillon_actors::server::Core;
use carillon_storage::{Journal, Store};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::lost::{self, Lost};
use super::names::Names;
use super::socket::{Door, receive, send};
use super::{Reply, Request, log};
use crate::exit::{Exit, Failure};
use crate::import::transfer;
use crate::users;

/// Connections at a time.
const MAX_CONNECTIONS: usize = 16;
/// How long an administrator's command may leave an answer unread.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// What can be asked.
#[derive(Clone)]
pub struct Backend {
    /// The logs.
    pub journal: Arc<dyn Journal>,
    /// The journal, where it is the store on disk.
    pub store: Option<Arc<Store>>,
    /// The users' names.
    pub names: Arc<dyn users::Names>,
    /// The running server.
    pub live: Option<Live>,
}

/// The running server.
#[derive(Clone)]
pub struct Live {
    /// Its actors.
    pub core: Core,
    /// Finds users' accounts.
    pub authenticator: Arc<dyn carillon_actors::session::auth::Authenticator>,
    /// Reads the users' file again, and says how many there are.
    pub reload_users: Arc<dyn Fn() -> Result<usize, Failure> + Send + Sync>,
}

impl Backend {
    /// Gives the answer to a request piece by piece to `emit`, which says whether anybody still reads; `None` asks only that.
    ///
    /// # Errors
    /// What the asker is told at the end instead of Done.
    pub fn answer(
        &self,
        request: &Request,
        runtime: &Runtime,
        emit: &mut dyn FnMut(Option<Value>) -> bool,
    ) -> Result<(), Failure> {
        let journal = self.journal.as_ref();
        let names = || Names::new(self.names.names());
        match request {
            Request::Log(selection) => log::show(journal, names(), selection, emit),
            Request::LogList { user } => log::list(journal, names(), user.as_deref(), emit),
            Request::LogVerify => self.verify(emit),
            Request::Ready => self.live().map(drop),
            Request::Who => {
                for session in runtime.block_on(self.live()?.core.directory.sessions()) {
                    emit(Some(serde_json::to_value(session).unwrap_or_default()));
                }
                Ok(())
            }
            Request::Kick { session, user } => self.kick(session.as_deref(), user.as_deref(), runtime, emit),
            Request::ReloadUsers => {
                let count = (self.live()?.reload_users)()?;
                emit(Some(json!({ "users": count })));
                Ok(())
            }
            Request::Import { .. } => Err(Failure::new(Exit::Failed, "an import needs a connection of its own")),
        }
    }

    fn live(&self) -> Result<&Live, Failure> {
        self.live.as_ref().ok_or_else(|| Failure::new(Exit::Unreachable, "no server is running on this data directory"))
    }

    fn verify(&self, emit: &mut dyn FnMut(Option<Value>) -> bool) -> Result<(), Failure> {
        let Some(store) = &self.store else {
            return Err(Failure::new(Exit::Failed, "a server that keeps everything in memory has nothing to verify"));
        };
        let report = store.verify(true)?;
        for finding in &report.findings {
            let records: Vec<String> =
                finding.records.iter().map(|(log, position)| format!("{}/{:016x}#{position}", log.kind, log.id)).collect();
            let bodies: Vec<String> = finding.bodies.iter().map(ToString::to_string).collect();
            emit(Some(json!({ "finding": finding.what, "records": records, "bodies": bodies, "healed": finding.is_healed })));
        }
        let damaged = report.findings.iter().flat_map(|finding| finding.bodies.iter().copied()).collect();
        let mut names = Names::new(self.names.names());
        names.learn_all(self.journal.as_ref())?;
        let lost = lost::find(self.journal.as_ref(), &names, &damaged)?;
        for Lost { place, record: (log, position), body } in &lost {
            let what = format!("{place}: this message cannot be read");
            let records = [format!("{}/{:016x}#{position}", log.kind, log.id)];
            emit(Some(json!({ "finding": what, "records": records, "bodies": [body.to_string()], "healed": false })));
        }
        let is_whole = report.is_whole() && lost.is_empty();
        emit(Some(json!({
            "segments": report.segments, "groups": report.groups, "records": report.records, "bodies": report.bodies, "bytes": report.bytes,
            "findings": report.findings.len() + lost.len(), "whole": is_whole,
        })));
        if is_whole { Ok(()) } else { Err(Failure::new(Exit::Data, "the log is damaged")) }
    }

    fn kick(
        &self,
        session: Option<&str>,
        user: Option<&str>,
        runtime: &Runtime,
        emit: &mut dyn FnMut(Option<Value>) -> bool,
    ) -> Result<(), Failure> {
        let directory = &self.live()?.core.directory;
        let session = session.map(|text| u64::from_str_radix(text, 16).map(SessionId)).transpose();
        let session = session.map_err(|_| Failure::new(Exit::Usage, "a session's id has hexadecimal digits"))?;
        let mut kicked = 0_u64;
        for info in runtime.block_on(directory.sessions()) {
            if session.is_some_and(|session| session == info.session) || user.is_some_and(|user| user == info.user) {
                directory.kick(info.session);
                kicked += 1;
            }
        }
        if kicked == 0 {
            return Err(Failure::new(Exit::Failed, "there is no such session"));
        }
        emit(Some(json!({ "kicked": kicked })));
        Ok(())
    }
}

/// Serves the admin socket from a thread of its own, until the process ends.
///
/// # Errors
/// The thread cannot be started.
pub fn start(door: &Door, backend: Backend) -> io::Result<()> {
    let listener = door.listener.try_clone()?;
    let open = Arc::new(AtomicUsize::new(0));
    let accept = move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else {
                // Out of file descriptors, most likely: the sessions need them more.
                std::thread::sleep(Duration::from_millis(100));
                continue;
            };
            let (backend, open) = (backend.clone(), Arc::clone(&open));
            if open.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS {
                open.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            let serve = move || {
                if let Err(error) = converse(&backend, stream) {
                    tracing::debug!(%error, "an admin connection broke");
                }
                open.fetch_sub(1, Ordering::Relaxed);
            };
            if let Err(error) = std::thread::Builder::new().name("admin".to_owned()).spawn(serve) {
                tracing::warn!(%error, "no thread for an admin connection");
            }
        }
    };
    std::thread::Builder::new().name("admin-door".to_owned()).spawn(accept).map(drop)
}

fn converse(backend: &Backend, stream: UnixStream) -> io::Result<()> {
    stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut output = stream.try_clone()?;
    let mut input = BufReader::new(stream);
    while let Some(request) = receive::<Request>(&mut input)? {
        let outcome = match &request {
            Request::Import { user } => match backend.live() {
                Ok(live) => transfer::serve(&live.core, live.authenticator.as_ref(), user, &runtime, &mut input, &mut output),
                Err(failure) => Err(failure),
            },
            _ => backend.answer(&request, &runtime, &mut |row| is_reading(&mut output, row)),
        };
        let last = outcome.map_or_else(Reply::from, |()| Reply::Done);
        send(&mut output, &last)?;
        output.flush()?;
    }
    Ok(())
}

/// Sends a row. Without one, looks whether the asker is still there: it sends nothing while it waits, so its end is all that can be read.
fn is_reading(output: &mut UnixStream, row: Option<Value>) -> bool {
    match row {
        Some(row) => send(output, &Reply::Row(row)).is_ok(),
        None => {
            let mut nothing = [0];
            if output.set_nonblocking(true).is_err() {
                return false;
            }
            let read = io::Read::read(output, &mut nothing);
            let is_there = matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
            output.set_nonblocking(false).is_ok() && is_there
        }
    }
}
