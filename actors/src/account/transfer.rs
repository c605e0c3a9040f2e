//! All that touches two logs: MOVE, DELETE, RENAME INBOX. Each asks the mailboxes to prepare and hold still, commits once, and releases them.

use std::sync::Arc;

use carillon_protocol::mailbox_name::MailboxName;
use carillon_protocol::number::UidValidity;
use carillon_protocol::set::UidSet;
use carillon_storage::{AppendError, Author, Commit, CommitList, Position, RecordDraft};
use futures_util::future::join_all;

use super::actor::AccountHandle;
use super::draft::About;
use super::event::{AccountEvent, Creation};
use super::load::{creations, deletions, record, records};
use super::requests::Transferred;
use crate::id::MailboxId;
use crate::journal::actor::JournalHandle;
use crate::mailbox::decide::{Context, MovingMessage, append_for_move, moved_to};
use crate::mailbox::draft::record as mailbox_record;
use crate::mailbox::event::MailboxEvent;
use crate::mailbox::hold::Hold;
use crate::mailbox::requests::{Change as MailboxChange, Prepare, Prepared};
use crate::mailbox::state::State as MailboxState;
use crate::refusal::{Fault, Refusal};

/// How often a mailbox is asked for anew that retired or died between being found and being asked.
pub(super) const ATTEMPTS: usize = 3;

/// What a change over several logs needs.
pub(super) struct Desk {
    pub about: About,
    pub account: AccountHandle,
    pub journal: JournalHandle,
    pub author: Author,
}

/// A mailbox that still holds still, and what became durable in its log.
pub(super) type Held = (Hold, Vec<MailboxEvent>);

/// Why nothing was done.
pub(super) struct Failure {
    pub refusal: Refusal,
    /// Whether the account's log is further than its state: it must be read again.
    pub is_stale: bool,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, is_stale: false }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Refusal::from(fault).into()
    }
}

impl Desk {
    async fn prepared(&self, mailbox: MailboxId, what: impl Fn() -> Prepare) -> Result<Prepared, Refusal> {
        let mut outcome = Err(Fault::Gone.into());
        for _ in 0..ATTEMPTS {
            outcome = self.account.open(mailbox).await?.prepare(what()).await;
            if !matches!(outcome, Err(Refusal::Fault(Fault::Gone))) {
                break;
            }
        }
        outcome
    }

    fn commit(&self, records: Vec<RecordDraft>) -> Commit {
        Commit { at: self.about.clock.microseconds(), author: self.author.clone(), records, bodies: Vec::new() }
    }

    /// Commits. The holds come back where the list is durable; where it is refused the mailboxes go on unchanged, and where they may be behind they read again.
    async fn append(&self, list: CommitList, held: Vec<Held>) -> Result<Vec<Held>, Failure> {
        let Err(error) = self.journal.append(list).await else { return Ok(held) };
        tracing::warn!(account = %self.about.id, %error, "a change over several logs was refused");
        let is_stale = matches!(&error, AppendError::Conflict { log, .. } if *log == self.about.id.log());
        if !matches!(error, AppendError::Conflict { .. } | AppendError::Unknown(_)) {
            held.into_iter().for_each(|(hold, _)| hold.unchanged());
        }
        Err(Failure { refusal: Fault::from(error).into(), is_stale })
    }

    async fn transfer_within(&self, mailbox: MailboxId, uids: UidSet) -> Result<Transferred, Refusal> {
        let handle = self.account.open(mailbox).await?;
        let changed = handle.change(self.author.clone(), MailboxChange::MoveWithin(uids)).await?;
        let moved = changed.affected.iter().zip(changed.appended).collect();
        Ok(Transferred { uid_validity: changed.uid_validity, moved })
    }
}

/// MOVE. The source is asked before the target, and one transfer an account runs at a time: no cycle.
pub(super) async fn transfer(
    desk: &Desk,
    source: MailboxId,
    uids: UidSet,
    target: (MailboxId, UidValidity),
) -> Result<Transferred, Refusal> {
    let (target, uid_validity) = target;
    if source == target {
        return desk.transfer_within(source, uids).await;
    }
    let from = desk.prepared(source, || Prepare::Expunge(Some(uids.clone()))).await?;
    if from.messages.is_empty() {
        from.hold.unchanged();
        return Ok(Transferred { uid_validity, moved: Vec::new() });
    }
    let Prepared { hold, messages, .. } = from;
    let to = match desk.prepared(target, || Prepare::Append { source, messages: messages.clone() }).await {
        Ok(to) => to,
        Err(refusal) => {
            hold.unchanged();
            return Err(if refusal == Refusal::NoSuchMailbox { Refusal::NoTargetMailbox } else { refusal });
        }
    };
    let moved = messages.iter().map(|message| message.uid).zip(to.appended.iter().copied()).collect();
    let held = vec![(hold, vec![moved_to(&messages, target, &to.appended)]), (to.hold, to.events)];
    let held = commit_held(desk, [source, target], held).await.map_err(|failure| failure.refusal)?;
    release(held).await;
    Ok(Transferred { uid_validity: to.uid_validity, moved })
}

async fn commit_held(desk: &Desk, mailboxes: [MailboxId; 2], held: Vec<Held>) -> Result<Vec<Held>, Failure> {
    let drafts = mailboxes.iter().zip(&held);
    let drafts = drafts.map(|(mailbox, (hold, events))| mailbox_record(*mailbox, hold.position(), events));
    match drafts.collect() {
        Ok(drafts) => desk.append(vec![desk.commit(drafts)], held).await,
        Err(fault) => {
            held.into_iter().for_each(|(hold, _)| hold.unchanged());
            Err(fault.into())
        }
    }
}

/// Tells the mailboxes what is durable; whoever looks at them afterwards sees it.
pub(super) async fn release(held: Vec<Held>) {
    join_all(held.into_iter().map(|(hold, events)| hold.committed(events))).await;
}

/// DELETE: `MailboxDeleted` in the account's log and `Ended` in the mailbox's, in one commit.
pub(super) async fn delete(desk: &Desk, expected: Position, events: &[AccountEvent]) -> Result<Vec<Held>, Failure> {
    let own = record(desk.about.id, expected, events)?;
    let Some(mailbox) = deletions(events).next() else { return Err(Fault::Bug("a deletion deletes nothing").into()) };
    let Prepared { hold, events, .. } = desk.prepared(mailbox, || Prepare::End).await?;
    let ended = mailbox_record(mailbox, hold.position(), &events)?;
    desk.append(vec![desk.commit(vec![own, ended])], vec![(hold, events)]).await
}

/// RENAME INBOX: a new mailbox gets INBOX's messages (RFC 3501 §6.3.5). One list: the commit of the names and the commit of the messages stand and fall together,
/// for a commit holds one record a log, and `Opened` is always a record of its own.
pub(super) async fn rename_inbox(
    desk: &Desk,
    inbox: MailboxId,
    to: &MailboxName,
    expected: Position,
    events: &[AccountEvent],
) -> Result<Vec<Held>, Failure> {
    let names = desk.commit(records(desk.about.id, expected, events)?);
    let Some(target) = creations(events).find(|creation| creation.name == *to).cloned() else {
        return Err(Fault::Bug("a renaming of INBOX makes no mailbox").into());
    };
    let Prepared { hold, messages, .. } = desk.prepared(inbox, || Prepare::Expunge(None)).await?;
    if messages.is_empty() {
        hold.unchanged();
        return desk.append(vec![names], Vec::new()).await;
    }
    let target_id = target.mailbox;
    let (messages, decided) = match arrivals(desk, inbox, target, messages).await {
        Ok(arrivals) => arrivals,
        Err(refusal) => {
            hold.unchanged();
            return Err(refusal.into());
        }
    };
    let (appended, uids) = decided;
    let moved = vec![moved_to(&messages, target_id, &uids)];
    let drafts = [mailbox_record(inbox, hold.position(), &moved), mailbox_record(target_id, 1, &appended)];
    let drafts = drafts.into_iter().collect::<Result<Vec<_>, _>>()?;
    desk.append(vec![names, desk.commit(drafts)], vec![(hold, moved)]).await
}

type Decided = (Vec<MailboxEvent>, Vec<carillon_protocol::number::Uid>);

/// What the new mailbox decides, which has no actor yet: over the state that `Opened` leaves.
async fn arrivals(
    desk: &Desk,
    inbox: MailboxId,
    target: Creation,
    messages: Vec<MovingMessage>,
) -> Result<(Vec<MovingMessage>, Decided), Refusal> {
    let (limits, now_seconds) = (Arc::clone(&desk.about.limits), desk.about.clock.seconds());
    let decide = move || {
        let mut state = MailboxState::new(&limits);
        state.apply(1, &MailboxEvent::Opened { uid_validity: target.uid_validity });
        let context = Context { mailbox: target.mailbox, now_seconds, limits: &limits };
        let decision = append_for_move(&state, inbox, &messages, &context)?;
        Ok((messages, (decision.events, decision.changed.appended)))
    };
    desk.journal.placement().run(decide).await?
}
