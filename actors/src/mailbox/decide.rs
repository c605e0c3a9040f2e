//! What becomes of a request: events or a refusal. Pure; nothing here has happened until the events are durable.

use std::sync::Arc;

use carillon_protocol::flag::{FlagChange, FlagSet};
use carillon_protocol::number::Uid;
use carillon_protocol::set::UidSet;
use carillon_storage::Position;

use super::chunks::Runs;
use super::details::saved_at;
use super::event::{Arrival, Details, Expunging, MailboxEvent, Origin};
use super::flags::{FlagEdit, Keywords};
use super::requests::{Change, Changed, NewMessage};
use super::state::{Message, State};
use crate::id::MailboxId;
use crate::limits::Limits;
use crate::refusal::Refusal;

/// What a decision needs beside the state.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The mailbox that decides.
    pub mailbox: MailboxId,
    /// Seconds since 1970: SAVEDATE of what is copied.
    pub now_seconds: u64,
    /// The bounds.
    pub limits: &'a Limits,
}

/// What a mailbox decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The events of one record; none where there is nothing to change.
    pub events: Vec<MailboxEvent>,
    /// The answer; its position is filled in when the record is durable.
    pub changed: Changed,
}

impl Decision {
    fn nothing(state: &State) -> Self {
        let uid_validity = state.uid_validity();
        Self {
            events: Vec::new(),
            changed: Changed { position: None, uid_validity, appended: UidSet::new(), affected: UidSet::new() },
        }
    }
}

/// The most bytes of an arrival in its event, prefix and keywords aside.
const ARRIVAL_BYTES: u64 = 117;

/// What leaves a mailbox, at this position of its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaving {
    /// The mailbox.
    pub mailbox: MailboxId,
    /// Of its newest record.
    pub position: Position,
    /// The messages, ascending.
    pub messages: Vec<MovingMessage>,
}

impl Leaving {
    /// Their UIDs.
    pub fn uids(&self) -> UidSet {
        self.messages.iter().map(|message| message.uid).collect()
    }
}

/// A message that leaves its mailbox: what the source of a transfer hands to the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovingMessage {
    /// Its UID in the source.
    pub uid: Uid,
    /// Its flags.
    pub flags: FlagSet,
    /// All else.
    pub details: Arc<Details>,
}

/// Decides a change.
///
/// # Errors
/// [`Refusal::NoSuchMailbox`] if the mailbox was deleted; [`Refusal::Limit`] if keywords or UIDs run out. Nothing has changed then.
pub fn decide(state: &State, change: &Change, context: &Context<'_>) -> Result<Decision, Refusal> {
    if state.is_ended() {
        return Err(Refusal::NoSuchMailbox);
    }
    match change {
        Change::Append(messages) => append(state, messages, context),
        Change::Store { uids, change, flags } => store(state, uids, *change, flags, context),
        Change::Expunge { among, by_close } => Ok(expunge(state, among.as_ref(), *by_close)),
        Change::MoveWithin(uids) => move_within(state, uids, context),
    }
}

/// The messages of a set that are there: the source's half of a transfer. None is no refusal.
///
/// # Errors
/// [`Refusal::NoSuchMailbox`] if the mailbox was deleted, and as [`may_be_copied`].
pub fn leave(state: &State, mailbox: MailboxId, uids: &UidSet, limits: &Limits) -> Result<Leaving, Refusal> {
    if state.is_ended() {
        return Err(Refusal::NoSuchMailbox);
    }
    may_be_copied(state, uids, limits)?;
    let messages = state.messages().among(uids).map(|message| moving(state, message)).collect();
    Ok(Leaving { mailbox, position: state.position(), messages })
}

/// Whether the messages of a set fit into one commit elsewhere: asked before anything is built of them.
///
/// # Errors
/// [`Refusal::TOO_MUCH_AT_ONCE`].
pub fn may_be_copied(state: &State, uids: &UidSet, limits: &Limits) -> Result<(), Refusal> {
    let longest_keyword = state.keywords().iter().map(|keyword| keyword.as_str().len() as u64 + 3).max().unwrap_or_default();
    let mut bytes = 0;
    for message in state.messages().among(uids) {
        let prefix = message.details.prefix.as_ref().map_or(0, |prefix| prefix.len() as u64 + 4);
        bytes += ARRIVAL_BYTES + prefix + u64::from(message.flags.keywords.count_ones()) * longest_keyword;
        if bytes > limits.change_bytes as u64 {
            return Err(Refusal::TOO_MUCH_AT_ONCE);
        }
    }
    Ok(())
}

/// Takes in messages that leave another mailbox: the target's half of a transfer.
///
/// # Errors
/// As for [`decide`].
pub fn append_for_move(state: &State, leaving: &Leaving, context: &Context<'_>) -> Result<Decision, Refusal> {
    if state.is_ended() {
        return Err(Refusal::NoSuchMailbox);
    }
    arrive(
        state,
        context,
        leaving.messages.iter().map(|message| {
            let origin = Origin::Copy { mailbox: leaving.mailbox, uid: message.uid };
            (message.flags.clone(), saved_at(&message.details, context.now_seconds), origin)
        }),
    )
}

/// The source's event of a transfer: `uids` have become `appended` in `target`, pairwise, for both ascend.
pub fn moved_to(uids: UidSet, target: MailboxId, appended: UidSet) -> MailboxEvent {
    MailboxEvent::Expunged { uids, why: Expunging::MovedTo { mailbox: target, uids: appended } }
}

fn moving(state: &State, message: Message<'_>) -> MovingMessage {
    MovingMessage { uid: message.uid, flags: state.flag_set(message.flags), details: Arc::clone(message.details) }
}

fn append(state: &State, messages: &[NewMessage], context: &Context<'_>) -> Result<Decision, Refusal> {
    arrive(state, context, messages.iter().map(|message| (message.flags.clone(), Arc::clone(&message.details), message.origin)))
}

/// Gives UIDs in order. The greatest UID is never given: UIDNEXT could not be said any more (RFC 9051 §2.3.1.1).
fn arrive(
    state: &State,
    context: &Context<'_>,
    messages: impl Iterator<Item = (FlagSet, Arc<Details>, Origin)>,
) -> Result<Decision, Refusal> {
    let mut uid = state.uid_next();
    let mut keywords = DraftKeywords::of(state);
    let mut arrivals = Vec::with_capacity(messages.size_hint().0);
    for (flags, details, origin) in messages {
        keywords.learn(&flags, context.limits)?;
        let next = uid.next().ok_or(Refusal::Limit("the mailbox has used up all UIDs"))?;
        arrivals.push(Arrival { uid, flags, details, origin });
        uid = next;
    }
    let mut decision = Decision::nothing(state);
    decision.changed.appended = arrivals.iter().map(|arrival| arrival.uid).collect();
    if !arrivals.is_empty() {
        decision.events.push(MailboxEvent::Appended { arrivals });
    }
    Ok(decision)
}

/// The keywords as they will be when the events of a command are folded.
struct DraftKeywords<'a> {
    state: &'a State,
    keywords: Keywords,
    /// The bits that the command gives to messages.
    given: u64,
}

impl<'a> DraftKeywords<'a> {
    fn of(state: &'a State) -> Self {
        Self { state, keywords: state.keywords.clone(), given: 0 }
    }

    fn held(&self) -> u64 {
        self.state.messages().held_keywords() | self.given
    }

    /// A new keyword needs room among those that messages have; one that the mailbox knows never does.
    fn learn(&mut self, flags: &FlagSet, limits: &Limits) -> Result<(), Refusal> {
        if self.keywords.knows(flags) {
            self.given |= self.keywords.flags(flags).keywords;
            return Ok(());
        }
        let mut keywords = self.keywords.clone();
        let fits = keywords.learn(flags, || self.held());
        self.given |= keywords.flags(flags).keywords;
        self.keywords = keywords;
        let is_within = self.keywords.as_slice().len() <= limits.keywords || self.held().count_ones() as usize <= limits.keywords;
        if fits && is_within {
            Ok(())
        } else {
            Err(Refusal::Limit("the messages of this mailbox have as many keywords as it can hold"))
        }
    }
}

fn store(state: &State, uids: &UidSet, change: FlagChange, flags: &FlagSet, context: &Context<'_>) -> Result<Decision, Refusal> {
    // Bits for keywords that are new here too, so that a message that gets one counts as changed.
    let mut draft = DraftKeywords::of(state);
    if change != FlagChange::Remove {
        draft.learn(flags, context.limits)?;
    }
    let edit = FlagEdit::new(change, draft.keywords.flags(flags));
    let mut affected = Runs::default();
    for message in state.messages().among(uids).filter(|message| message.flags.after(edit) != message.flags) {
        affected.push(message.uid);
    }
    let affected = affected.finish();
    let mut decision = Decision::nothing(state);
    if !affected.is_empty() {
        decision.events.push(MailboxEvent::FlagsChanged { uids: affected.clone(), change, flags: flags.clone() });
        decision.changed.affected = affected;
    }
    Ok(decision)
}

fn expunge(state: &State, among: Option<&UidSet>, by_close: bool) -> Decision {
    let deleted = state.messages().deleted();
    let uids = among.map_or_else(|| deleted.clone(), |among| deleted.intersection(among));
    let mut decision = Decision::nothing(state);
    if !uids.is_empty() {
        let why = if by_close { Expunging::Close } else { Expunging::Expunge };
        decision.events.push(MailboxEvent::Expunged { uids: uids.clone(), why });
        decision.changed.affected = uids;
    }
    decision
}

fn move_within(state: &State, uids: &UidSet, context: &Context<'_>) -> Result<Decision, Refusal> {
    let leaving = leave(state, context.mailbox, uids, context.limits)?;
    let mut decision = append_for_move(state, &leaving, context)?;
    if !leaving.messages.is_empty() {
        let (uids, appended) = (leaving.uids(), decision.changed.appended.clone());
        decision.events.push(moved_to(uids.clone(), context.mailbox, appended));
        decision.changed.affected = uids;
    }
    Ok(decision)
}

#[cfg(test)]
mod tests;
