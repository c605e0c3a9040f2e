//! What answers administration: the running server over its socket, a thread for each connection, or a command of its own with the store open.

use std::io::{self, BufReader};
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
use super::socket::{Door, MAX_REQUEST_BYTES, is_there, receive, send};
use super::{Reply, Request, log};
use crate::exit::{Exit, Failure};
use crate::import::transfer;
use crate::users;

/// Questions at a time that may take long: logs that are shown or followed, imports.
const MAX_LONG: usize = 16;
/// Connections at a time: beside the long questions there is always room for short ones.
const MAX_CONNECTIONS: usize = 2 * MAX_LONG;
/// How long a connection may be silent before it asks.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);
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
    /// Where the store was opened aside because it cannot be written: what is damaged in it, and mended aside alone. Nothing else is mended then.
    pub only_aside: Option<Vec<String>>,
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
            Request::Who => self.who(runtime, emit),
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

    fn who(&self, runtime: &Runtime, emit: &mut dyn FnMut(Option<Value>) -> bool) -> Result<(), Failure> {
        let sessions = runtime.block_on(self.live()?.core.directory.sessions());
        let owners = self.names.names();
        for session in sessions {
            let owner = session.account.and_then(|account| owners.get(&account));
            emit(Some(json!({
                "session": session.session.to_string(), "account_id": session.account.map(|account| account.to_string()),
                "user": owner.map_or(session.user, ToString::to_string), "peer": session.peer, "tls": session.tls,
                "client": session.client, "selected": session.selected, "state": session.state,
                "since_seconds": session.since_seconds, "in_bytes": session.in_bytes, "out_bytes": session.out_bytes,
            })));
        }
        Ok(())
    }

    fn verify(&self, emit: &mut dyn FnMut(Option<Value>) -> bool) -> Result<(), Failure> {
        let Some(store) = &self.store else {
            return Err(Failure::new(Exit::Failed, "a server that keeps everything in memory has nothing to verify"));
        };
        let report = store.verify(self.only_aside.is_none())?;
        let only_aside = self.only_aside.as_deref().unwrap_or_default();
        for what in only_aside {
            emit(Some(json!({ "finding": what, "records": [], "bodies": [], "healed": false })));
        }
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
        let is_whole = report.is_whole() && lost.is_empty() && only_aside.is_empty();
        emit(Some(json!({
            "segments": report.segments, "groups": report.groups, "records": report.records, "bodies": report.bodies, "bytes": report.bytes,
            "findings": report.findings.len() + lost.len() + only_aside.len(), "whole": is_whole,
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
        // By account: a name can be typed in many ways at login, and a user may be removed already.
        let accounts = user.map(|user| users::accounts(&self.names.names(), user)).unwrap_or_default();
        if let (Some(user), []) = (user, accounts.as_slice()) {
            return Err(Failure::new(Exit::NoUser, format!("there is no user {user:?}")));
        }
        let mut kicked = 0_u64;
        for info in runtime.block_on(directory.sessions()) {
            let is_users = info.account.is_some_and(|account| accounts.contains(&account));
            if is_users || session.is_some_and(|session| session == info.session) {
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

/// A place among a bounded number; given back when it is dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(taken: &Arc<AtomicUsize>, most: usize) -> Result<Self, Failure> {
        let place = Self(Arc::clone(taken));
        if taken.fetch_add(1, Ordering::Relaxed) < most {
            return Ok(place);
        }
        Err(Failure::new(Exit::TryAgain, format!("{most} administrators are at work already: try again later")))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves the admin socket from a thread of its own, until the process ends.
///
/// # Errors
/// The thread cannot be started.
pub fn start(door: &Door, backend: Backend) -> io::Result<()> {
    let listener = door.listener.try_clone()?;
    let (open, long) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let accept = move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else {
                // Out of file descriptors, most likely: the sessions need them more.
                std::thread::sleep(Duration::from_millis(100));
                continue;
            };
            let place = match Place::take(&open, MAX_CONNECTIONS) {
                Ok(place) => place,
                Err(failure) => {
                    // A line has room in a new connection: nobody is waited for.
                    let _ = stream.set_nonblocking(true).and_then(|()| send(&mut stream, &Reply::from(failure)));
                    continue;
                }
            };
            let (backend, long) = (backend.clone(), Arc::clone(&long));
            let serve = move || {
                let _place = place;
                if let Err(error) = converse(&backend, stream, &long) {
                    tracing::debug!(%error, "an admin connection broke");
                }
            };
            if let Err(error) = std::thread::Builder::new().name("admin".to_owned()).spawn(serve) {
                tracing::warn!(%error, "no thread for an admin connection");
            }
        }
    };
    std::thread::Builder::new().name("admin-door".to_owned()).spawn(accept).map(drop)
}

/// Answers one connection until it ends; `long` are the places of long questions that are taken.
///
/// # Errors
/// The connection broke.
pub fn converse(backend: &Backend, mut stream: UnixStream, long: &Arc<AtomicUsize>) -> io::Result<()> {
    stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut input = BufReader::new(stream.try_clone()?);
    loop {
        stream.set_read_timeout(Some(ASK_TIMEOUT))?;
        let Some(request) = receive::<Request>(&mut input, MAX_REQUEST_BYTES)? else { return Ok(()) };
        stream.set_read_timeout(None)?;
        let place = if request.is_long() { Place::take(long, MAX_LONG).map(Some) } else { Ok(None) };
        let outcome = match (&request, place) {
            (_, Err(failure)) => Err(failure),
            (Request::Import { user }, Ok(_place)) => {
                backend.live().and_then(|live| transfer::serve(live, user, &runtime, &mut input, &mut stream))
            }
            (_, Ok(_place)) => backend.answer(&request, &runtime, &mut |row| match row {
                Some(row) => send(&mut stream, &Reply::Row(row)).is_ok(),
                None => is_there(&stream),
            }),
        };
        send(&mut stream, &outcome.map_or_else(Reply::from, |()| Reply::Done))?;
    }
}
