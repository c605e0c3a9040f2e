//! SELECT, EXAMINE, CLOSE, UNSELECT (RFC 9051 §6.3.2, §6.3.3, §6.4.1, §6.4.2).

use carillon_protocol::flag::{Flag, SystemFlag};
use carillon_protocol::mailbox_name::MailboxName;
use carillon_protocol::response::{NewKeywords, ResponseCode, Untagged};

use super::super::reply::{self, Ending, Reply};
use super::super::state::Session;
use super::super::view::{Mode, View};
use crate::mailbox::requests::Change;
use crate::refusal::Refusal;

impl Session {
    /// The id of the mailbox of a name; a remote one answers with its referral (RFC 2193 §4).
    pub async fn find(&mut self, name: &MailboxName) -> Result<crate::id::MailboxId, Ending> {
        let names = self.names().await?;
        if let Some(entry) = names.find(name) {
            return Ok(entry.mailbox);
        }
        Err(self.refer(name).unwrap_or(Ending::Refused(Refusal::NoSuchMailbox)))
    }

    /// The referral to a remote mailbox, where the name is one.
    pub fn refer(&self, name: &MailboxName) -> Option<Ending> {
        let url = self.doors.settings.referrals.mailboxes.get(name)?;
        Some(Ending::Status(reply::no(ResponseCode::Referral(vec![url.clone()]), "This mailbox is on another server")))
    }
}

/// SELECT and EXAMINE. A failed one leaves nothing selected; the old selection ends first.
pub async fn select(session: &mut Session, name: &MailboxName, mode: Mode) -> Reply {
    session.deselect();
    let mailbox = session.find(name).await?;
    session.select(mailbox, mode).await?;
    introduce(session)?;
    Ok(match mode {
        Mode::ReadWrite => reply::ok_with(ResponseCode::ReadWrite, "Selected"),
        Mode::ReadOnly => reply::ok_with(ResponseCode::ReadOnly, "Opened read-only"),
    })
}

/// All that RFC 3501 §6.3.1 requires, in one order.
fn introduce(session: &mut Session) -> Result<(), Refusal> {
    let view = &session.selected()?.view;
    let permanent = permanent_flags(view);
    let status = |code, text: &str| Untagged::Status(reply::ok_with(code, text));
    let mut responses = vec![
        Untagged::Flags(flags(view)),
        Untagged::Exists(view.exists()),
        Untagged::Recent(view.recent_count()),
        status(ResponseCode::UidValidity(view.uid_validity()), "UIDs valid"),
        status(ResponseCode::UidNext(view.uid_next()), "The next message's UID, or less"),
        status(permanent, "Flags that are kept"),
    ];
    if let Some(unseen) = view.first_unseen() {
        responses.push(status(ResponseCode::Unseen(unseen), "The first unseen message"));
    }
    responses.iter().for_each(|untagged| session.tell(untagged));
    Ok(())
}

/// FLAGS: what messages of the mailbox may have.
pub fn flags(view: &View) -> Vec<Flag> {
    let system = SystemFlag::ALL.into_iter().map(Flag::System);
    system.chain(view.told().keywords().iter().cloned().map(Flag::Keyword)).collect()
}

/// PERMANENTFLAGS: empty in a read-only mailbox; without `\*` where no keyword can be added.
pub fn permanent_flags(view: &View) -> ResponseCode {
    match view.mode() {
        Mode::ReadOnly => ResponseCode::PermanentFlags(Vec::new(), NewKeywords::Refused),
        Mode::ReadWrite if view.told().may_add_keywords() => ResponseCode::PermanentFlags(flags(view), NewKeywords::Allowed),
        Mode::ReadWrite => ResponseCode::PermanentFlags(flags(view), NewKeywords::Refused),
    }
}

/// CLOSE: expunges without a word, unless read-only.
pub async fn close(session: &mut Session) -> Reply {
    if session.selected()?.view.mode() == Mode::ReadWrite {
        let expunge = Change::Expunge { among: None, by_close: true };
        match session.change_mailbox(expunge).await {
            // A mailbox that was deleted meanwhile has nothing left to expunge.
            Ok(_) | Err(Refusal::NoSuchMailbox) => {}
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
