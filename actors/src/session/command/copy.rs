//! COPY and MOVE (RFC 9051 §6.4.7, RFC 6851, RFC 4315 §3).

use carillon_protocol::mailbox_name::MailboxName;
use carillon_protocol::response::{ResponseCode, Untagged};
use carillon_protocol::set::{Numbering, SequenceSet, UidSet};

use super::super::reply::{self, Ending, Reply};
use super::super::state::Session;
use super::super::view::Mode;
use crate::account::requests::Transferred;
use crate::id::MailboxId;
use crate::mailbox::decide::may_be_copied;
use crate::mailbox::details;
use crate::mailbox::event::Origin;
use crate::mailbox::requests::{Change, Claim, NewMessage, Snapshot};
use crate::mailbox::state::Message;
use crate::refusal::Refusal;

/// COPY: a look at the source, a plain append by reference to the target, all or nothing.
pub async fn copy(session: &mut Session, numbering: Numbering, set: &SequenceSet, target: &MailboxName) -> Reply {
    let (source, uids) = take_part(session, numbering, set).await?;
    let target = session.find_target(target).await?;
    let handle = session.open(target).await.map_err(missing_target)?;
    if uids.is_empty() {
        return Ok(reply::ok("There was nothing to copy"));
    }
    let (mailbox, save_date, named) = (session.selected()?.view.mailbox(), session.doors.core.clock.seconds(), uids.clone());
    let limits = session.doors.core.limits.clone();
    let copy = move || {
        may_be_copied(&source, &named, &limits)?;
        Ok::<_, Refusal>(copies(&source, mailbox, &named, save_date))
    };
    let messages = session.compute(session.exists(), copy).await??;
    let changed = session.change(handle, Change::Append(messages)).await.map_err(missing_target)?;
    Ok(reply::ok_with(ResponseCode::CopyUid(changed.uid_validity, uids, changed.appended), "Copied"))
}

/// MOVE: one commit over both mailboxes; COPYUID comes before the first EXPUNGE (RFC 6851 §4.3).
pub async fn move_messages(session: &mut Session, numbering: Numbering, set: &SequenceSet, target: MailboxName) -> Reply {
    if session.selected()?.view.mode() == Mode::ReadOnly {
        return Err(Refusal::ReadOnly.into());
    }
    let (_, uids) = take_part(session, numbering, set).await?;
    let source = session.selected()?.view.mailbox();
    let target_id = session.find_target(&target).await?;
    if uids.is_empty() {
        return Ok(reply::ok("There was nothing to move"));
    }
    let Transferred { uid_validity, from, to } = if source == target_id {
        let changed = session.change_mailbox(Change::MoveWithin(uids)).await?;
        Transferred { uid_validity: changed.uid_validity, from: changed.affected, to: changed.appended }
    } else {
        session.transfer(uids, &target).await?
    };
    session.counts.expunged += from.len();
    if !from.is_empty() {
        session.tell(&Untagged::Status(reply::ok_with(ResponseCode::CopyUid(uid_validity, from, to), "Moved")));
    }
    Ok(reply::ok("Moved"))
}

/// The newest state of the source and which messages of the set are still in it. By number, a message that is gone stops all
/// (RFC 2180 §4.4.2); by UID it is passed over.
async fn take_part(session: &mut Session, numbering: Numbering, set: &SequenceSet) -> Result<(Snapshot, UidSet), Ending> {
    let view = &session.selected()?.view;
    let named = view.resolve(set, numbering)?;
    let (has_ghosts, reader) = (!view.ghosts_among(&named).is_empty(), view.reader());
    let snapshot = session.look(Claim::Nothing).await?.snapshot;
    if snapshot.is_ended() {
        return Err(Refusal::NoSuchMailbox.into());
    }
    let newest = snapshot.clone();
    let compare = move || {
        let living = reader.living(&named);
        let uids: UidSet = newest.messages().among(&living).map(|message| message.uid).collect();
        (living == uids, uids)
    };
    let (are_all_there, uids) = session.compute(session.exists(), compare).await?;
    if numbering == Numbering::Seq && (has_ghosts || !are_all_there) {
        return Err(Refusal::ExpungeIssued.into());
    }
    Ok((snapshot, uids))
}

/// The messages with their flags, each by reference to the bytes that are stored.
fn copies(source: &Snapshot, mailbox: MailboxId, uids: &UidSet, save_date: u64) -> Vec<NewMessage> {
    let copy = |message: Message<'_>| NewMessage {
        flags: source.flag_set(message.flags),
        details: details::saved_at(message.details, save_date),
        origin: Origin::Copy { mailbox, uid: message.uid },
        body: None,
    };
    source.messages().among(uids).map(copy).collect()
}

impl Session {
    /// The mailbox to copy or append to: a missing one answers TRYCREATE.
    pub async fn find_target(&mut self, name: &MailboxName) -> Result<MailboxId, Ending> {
        match self.find(name).await {
            Err(Ending::Refused(Refusal::NoSuchMailbox)) => Err(Refusal::NoTargetMailbox.into()),
            found => found,
        }
    }
}

/// A target that was deleted between the look at the names and the request.
pub fn missing_target(refusal: Refusal) -> Refusal {
    if refusal == Refusal::NoSuchMailbox { Refusal::NoTargetMailbox } else { refusal }
}
