//! EXPUNGE and UID EXPUNGE (RFC 9051 §6.4.3, RFC 4315 §2.1).

use carillon_protocol::set::{Numbering, SequenceSet};

use super::super::reply::{self, Reply};
use super::super::state::Session;
use super::super::view::Mode;
use crate::mailbox::requests::Change;
use crate::refusal::Refusal;

/// Expunges what is \Deleted, with UID EXPUNGE only what is in the set too. EXPUNGE responses go out with the catch-up.
pub async fn expunge(session: &mut Session, among: Option<SequenceSet>) -> Reply {
    let view = &session.selected()?.view;
    if view.mode() == Mode::ReadOnly {
        return Err(Refusal::ReadOnly.into());
    }
    let among = match among {
        Some(set) => Some(view.resolve(&set, Numbering::Uid)?),
        None => None,
    };
    let changed = session.change_mailbox(Change::Expunge { among, by_close: false }).await?;
    session.counts.expunged += changed.affected.len();
    Ok(reply::ok("Expunged"))
}
