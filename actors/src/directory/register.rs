//! Who is connected, and what of that goes to the server's log.

use std::collections::BTreeMap;

use carillon_storage::Author;

use super::event::ServerEvent;
use super::requests::{Line, SessionInfo, SessionIs, SessionStop, Stop};
use crate::id::SessionId;

/// The longest text of a client about itself that is kept, in bytes: RFC 2971 §3.3 allows 30 fields of 1024.
const CLIENT_BYTES: usize = 4096;

struct Entry {
    info: SessionInfo,
    stop: Option<SessionStop>,
}

/// All sessions.
#[derive(Default)]
pub(super) struct Register(BTreeMap<SessionId, Entry>);

impl Register {
    /// A session is new or changed; the line that its login makes.
    pub fn put(&mut self, SessionIs { info, stop }: SessionIs, at: u64) -> Option<Line> {
        let entry = self
            .0
            .entry(info.session)
            .or_insert_with(|| Entry { info: SessionInfo { account: None, ..info.clone() }, stop: None });
        let is_login = entry.info.account.is_none() && info.account.is_some();
        entry.info = info;
        entry.stop = stop.or(entry.stop.take());
        let SessionInfo { session, account, peer, tls, client, .. } = entry.info.clone();
        let account = account.filter(|_| is_login)?;
        Some(line(session, "LOGIN", at, ServerEvent::SessionOpened { session, account, peer, tls, client }))
    }

    /// A client said what it is.
    pub fn said(&mut self, session: SessionId, mut client: String, at: u64) -> Option<Line> {
        client.truncate(client.floor_char_boundary(CLIENT_BYTES));
        let entry = self.0.get_mut(&session)?;
        entry.info.client.clone_from(&client);
        entry.info.account?;
        Some(line(session, "ID", at, ServerEvent::SessionIdentified { session, client }))
    }

    /// A session ended.
    pub fn gone(&mut self, session: SessionId, at: u64) -> Option<Line> {
        self.0.remove(&session)?.info.account?;
        Some(line(session, "end", at, ServerEvent::SessionClosed { session }))
    }

    /// Who is connected.
    pub fn who(&self) -> Vec<SessionInfo> {
        self.0.values().map(|entry| entry.info.clone()).collect()
    }

    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells one session to end, or all.
    pub fn stop(&self, session: Option<SessionId>, why: Stop) {
        let named = self.0.values().filter(|entry| session.is_none_or(|session| entry.info.session == session));
        named.filter_map(|entry| entry.stop.as_ref()).for_each(|stop| stop.stop(why));
    }
}

fn line(session: SessionId, verb: &str, at: u64, event: ServerEvent) -> Line {
    let author = Author { session: session.0, command: 0, tag: String::new(), verb: verb.to_owned() };
    Line { author, at, event }
}
