//! SELECT, EXAMINE, CLOSE, UNSELECT (RFC 9051 §6.3.2, §6.3.3, §6.4.1, §6.4.2).

use carillon_protocol::mailbox_name::MailboxName;
use carillon_protocol::response::{ResponseCode, Untagged};

use super::super::reply::{self, Reply};
use super::super::state::Session;
use super::super::view::Mode;
use crate::mailbox::requests::Change;
use crate::refusal::Refusal;

/// SELECT and EXAMINE. A failed one leaves nothing selected; the old selection ends first.
pub async fn select(session: &mut Session, name: &MailboxName, mode: Mode) -> Reply {
    session.deselect();
    let mailbox = session.find(name).await?;
    session.select(name.clone(), mailbox, mode).await?;
    introduce(session)?;
    Ok(match mode {
        Mode::ReadWrite => reply::ok_with(ResponseCode::ReadWrite, "Selected"),
        Mode::ReadOnly => reply::ok_with(ResponseCode::ReadOnly, "Opened read-only"),
    })
}

/// All that RFC 3501 §6.3.1 requires, in one order.
fn introduce(session: &mut Session) -> Result<(), Refusal> {
    let view = &session.selected()?.view;
    let status = |code, text: &str| Untagged::Status(reply::ok_with(code, text));
    let mut responses = Vec::from(view.flag_lists().responses());
    responses.extend([
        Untagged::Exists(as_number(view.exists())),
        Untagged::Recent(as_number(view.recent_count())),
        status(ResponseCode::UidValidity(view.uid_validity()), "UIDs valid"),
        status(ResponseCode::UidNext(view.uid_next()), "The next message's UID"),
    ]);
    if let Some(unseen) = view.first_unseen() {
        responses.push(status(ResponseCode::Unseen(unseen), "The first unseen message"));
    }
    responses.iter().for_each(|untagged| session.tell(untagged));
    Ok(())
}

fn as_number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// CLOSE: expunges without a word, unless read-only.
pub async fn close(session: &mut Session) -> Reply {
    if session.selected()?.view.mode() == Mode::ReadWrite {
        let expunge = Change::Expunge { among: None, by_close: true };
        match session.change_mailbox(expunge).await {
            Ok(changed) => session.counts.expunged += changed.affected.len(),
            // A mailbox that was deleted meanwhile has nothing left to expunge.
            Err(Refusal::NoSuchMailbox) => {}
            Err(refusal) => return Err(refusal.into()),
        }
    }
    session.deselect();
    Ok(reply::ok("Closed"))
}

/// UNSELECT (RFC 3691).
pub fn unselect(session: &mut Session) -> Reply {
    session.deselect();
    Ok(reply::ok("Closed, nothing was expunged"))
}
