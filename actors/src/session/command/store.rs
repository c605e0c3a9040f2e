//! STORE and UID STORE (RFC 9051 §6.4.6).

use carillon_protocol::command::Expunges;
use carillon_protocol::flag::{FlagChange, FlagSet};
use carillon_protocol::set::{Numbering, SequenceSet};

use super::super::reply::{self, Reply};
use super::super::state::Session;
use super::super::view::Mode;
use crate::mailbox::requests::Change;
use crate::refusal::Refusal;

/// What STORE is to do.
pub struct Wish {
    /// +FLAGS, -FLAGS or FLAGS.
    pub change: FlagChange,
    /// .SILENT: the client knows the result and is not told.
    pub silent: bool,
    /// The flags.
    pub flags: FlagSet,
}

/// STORE: one commit for the whole set; every message that it names is answered once.
pub async fn store(session: &mut Session, numbering: Numbering, set: &SequenceSet, wish: Wish) -> Reply {
    let view = &session.selected()?.view;
    if view.mode() == Mode::ReadOnly {
        return Err(Refusal::ReadOnly.into());
    }
    let named = view.resolve(set, numbering)?;
    let (reader, all) = (view.reader(), named.clone());
    let uids = session.compute(session.exists(), move || reader.living(&all)).await?;
    let Wish { change, silent, flags } = wish;
    if !uids.is_empty() {
        let changed = session.change_mailbox(Change::Store { uids: uids.clone(), change, flags }).await?;
        let view = &mut session.selected()?.view;
        match changed.position {
            Some(position) if silent => view.silence(position),
            None if silent => {}
            _ => view.owe(&uids),
        }
    }
    if numbering == Numbering::Uid || silent {
        return Ok(reply::ok("Stored"));
    }
    // RFC 2180 §4.2: the rest was changed. Who is gone is known behind the change only: another session may have been quicker.
    session.catch_up(Expunges::Withhold).await?;
    let ghosts = session.selected()?.view.ghosts_among(&named);
    if ghosts.is_empty() { Ok(reply::ok("Stored")) } else { Err(Refusal::ExpungeIssued.into()) }
}
