//! All that touches two logs: MOVE, DELETE, RENAME INBOX. Each asks the mailboxes to prepare and hold still, commits once, and releases them.

use std::sync::Arc;

use carillon_protocol::mailbox_name::MailboxName;
use carillon_protocol::number::UidValidity;
use carillon_protocol::set::UidSet;
use carillon_storage::{AppendError, Author, Commit, CommitList, Position, RecordDraft};
use futures_util::future::join_all;

use super::actor::AccountHandle;
use super::decide::replace_inbox;
use super::draft::About;
use super::event::{AccountEvent, Creation};
use super::load::{creations, deletions, record, records};
use super::requests::Transferred;
use super::state::State;
use crate::discard::discard;
use crate::id::MailboxId;
use crate::journal::actor::JournalHandle;
use crate::mailbox::decide::{Context, Leaving};
use crate::mailbox::draft::{Crossing, Prospect, cross, record as mailbox_record};
use crate::mailbox::event::MailboxEvent;
use crate::mailbox::hold::Hold;
use crate::mailbox::requests::{Change as MailboxChange, Changed, Prepare, Prepared};
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

    /// The position of a mailbox's newest record, as the journal has it.
    async fn head(&self, mailbox: MailboxId) -> Result<Position, Fault> {
        self.journal.settled(mailbox.log()).await?;
        let store = Arc::clone(self.journal.store());
        Ok(self.journal.placement().run(move || store.head(mailbox.log())).await??.position)
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
        let Changed { uid_validity, affected, appended, .. } =
            handle.change(self.author.clone(), MailboxChange::MoveWithin(uids)).await?;
        Ok(Transferred { uid_validity, from: affected, to: appended })
    }

    /// The messages went out of mind: some other time they would have to be dropped here.
    fn let_go(&self, leaving: Arc<Leaving>) {
        discard(self.journal.placement(), leaving.messages.len(), leaving);
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
    let Prepared { hold, leaving, .. } = desk.prepared(source, || Prepare::Expunge(Some(uids.clone()))).await?;
    if leaving.messages.is_empty() {
        hold.unchanged();
        return Ok(Transferred { uid_validity, from: UidSet::new(), to: UidSet::new() });
    }
    let prepared = desk.prepared(target, || Prepare::Append(Arc::clone(&leaving))).await;
    desk.let_go(leaving);
    let to = match prepared {
        Ok(to) => to,
        Err(refusal) => {
            hold.unchanged();
            return Err(if refusal == Refusal::NoSuchMailbox { Refusal::NoTargetMailbox } else { refusal });
        }
    };
    let Crossing { prospects, from, to: there } = to.crossing;
    let (records, events) = in_two(prospects);
    let held = [hold, to.hold].into_iter().zip(events).collect();
    let held = desk.append(vec![desk.commit(records)], held).await.map_err(|failure| failure.refusal)?;
    release(held).await;
    Ok(Transferred { uid_validity: to.uid_validity, from, to: there })
}

/// Tells the mailboxes what is durable; whoever looks at them afterwards sees it.
pub(super) async fn release(held: Vec<Held>) {
    join_all(held.into_iter().map(|(hold, events)| hold.committed(events))).await;
}

/// What a change with a hold came to: the mailboxes that still hold still, and what happened to names.
pub(super) type Done = (Vec<Held>, Vec<AccountEvent>);

/// DELETE: `MailboxDeleted` in the account's log and `Ended` in the mailbox's, in one commit.
pub(super) async fn delete(desk: &Desk, expected: Position, events: Vec<AccountEvent>) -> Result<Done, Failure> {
    let own = record(desk.about.id, expected, &events)?;
    let Some(mailbox) = deletions(&events).next() else { return Err(Fault::Bug("a deletion deletes nothing").into()) };
    let ended = vec![MailboxEvent::Ended];
    let (position, held) = match desk.prepared(mailbox, || Prepare::End).await {
        Ok(Prepared { hold, .. }) => (hold.position(), vec![(hold, ended.clone())]),
        // What cannot be read has no actor: it ends behind the last record that the journal has of it.
        Err(Refusal::Fault(Fault::Damaged(what))) => {
            tracing::warn!(%mailbox, what, "a damaged mailbox is deleted unread");
            (desk.head(mailbox).await?, Vec::new())
        }
        Err(refusal) => return Err(refusal.into()),
    };
    let ended = mailbox_record(mailbox, position, &ended)?;
    Ok((desk.append(vec![desk.commit(vec![own, ended])], held).await?, events))
}

/// RENAME INBOX: a new mailbox gets INBOX's messages (RFC 3501 §6.3.5). One list: the commit of the names and the commit of the messages stand and fall together,
/// for a commit holds one record a log, and `Opened` is always a record of its own.
pub(super) async fn rename_inbox(
    desk: &Desk,
    state: &State,
    to: &MailboxName,
    events: Vec<AccountEvent>,
) -> Result<Done, Failure> {
    let expected = state.position();
    let Some(inbox) = state.find(&MailboxName::inbox()).map(|entry| entry.mailbox) else {
        return Err(Refusal::NoSuchMailbox.into());
    };
    let Some(target) = creations(&events).find(|creation| creation.name == *to).cloned() else {
        return Err(Fault::Bug("a renaming of INBOX makes no mailbox").into());
    };
    let Prepared { hold, leaving, .. } = match desk.prepared(inbox, || Prepare::Expunge(None)).await {
        Ok(prepared) => prepared,
        Err(Refusal::Fault(Fault::Damaged(what))) => {
            tracing::warn!(%inbox, what, "a damaged INBOX is renamed unread");
            let events = replace_inbox(state, to, &desk.about.context())?;
            let names = desk.commit(records(desk.about.id, expected, &events)?);
            return Ok((desk.append(vec![names], Vec::new()).await?, events));
        }
        Err(refusal) => return Err(refusal.into()),
    };
    let names = desk.commit(records(desk.about.id, expected, &events)?);
    if leaving.messages.is_empty() {
        hold.unchanged();
        return Ok((desk.append(vec![names], Vec::new()).await?, events));
    }
    let prospects = match arrive(desk, target, leaving).await {
        Ok(Crossing { prospects, .. }) => prospects,
        Err(refusal) => {
            hold.unchanged();
            return Err(refusal.into());
        }
    };
    let (records, mut messages) = in_two(prospects);
    // The new mailbox reads its own record when it is opened.
    let moved = messages.drain(..).next().unwrap_or_default();
    Ok((desk.append(vec![names, desk.commit(records)], vec![(hold, moved)]).await?, events))
}

/// Records to commit, and their events.
fn in_two(prospects: Vec<Prospect>) -> (Vec<RecordDraft>, Vec<Vec<MailboxEvent>>) {
    prospects.into_iter().map(|prospect| (prospect.record, prospect.events)).unzip()
}

/// What the new mailbox decides, which has no actor yet: over the state that `Opened` leaves.
async fn arrive(desk: &Desk, target: Creation, leaving: Arc<Leaving>) -> Result<Crossing, Refusal> {
    let (limits, now_seconds) = (Arc::clone(&desk.about.limits), desk.about.clock.seconds());
    let decide = move || {
        let mut state = MailboxState::new(&limits);
        state.apply(1, &MailboxEvent::Opened { uid_validity: target.uid_validity });
        cross(&state, &leaving, &Context { mailbox: target.mailbox, now_seconds, limits: &limits })
    };
    desk.journal.placement().run(decide).await?
}
