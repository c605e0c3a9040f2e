//! What becomes of a request: events or a refusal. Pure; nothing here has happened until the events are durable.
//! The rules for names and subscriptions are those of docs/adr/0011-names.md.

use std::collections::BTreeSet;

use carillon_protocol::command::SpecialUse;
use carillon_protocol::mailbox_name::MailboxName;
use carillon_protocol::number::UidValidity;

use super::event::{AccountEvent, Creation, Move};
use super::requests::Change;
use super::state::{Existence, State};
use crate::id::{Ids, MailboxId};
use crate::limits::Limits;
use crate::refusal::Refusal;

/// What a decision needs beside the state.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Where new ids come from.
    pub ids: &'a Ids,
    /// Seconds since 1970.
    pub now_seconds: u64,
    /// The bounds.
    pub limits: &'a Limits,
}

/// The mailboxes of a new account, all subscribed (RFC 6154 §2).
const FIRST_MAILBOXES: [(&str, Option<SpecialUse>); 6] = [
    ("INBOX", None),
    ("Drafts", Some(SpecialUse::Drafts)),
    ("Sent", Some(SpecialUse::Sent)),
    ("Junk", Some(SpecialUse::Junk)),
    ("Trash", Some(SpecialUse::Trash)),
    ("Archive", Some(SpecialUse::Archive)),
];

/// Decides a change: the events of one record. No events: it is done already (SUBSCRIBE of what is subscribed).
///
/// # Errors
/// [`Refusal`]: `MailboxExists`, `NoSuchMailbox`, `HasChildren`, `Cannot` or `Limit`. Nothing has changed then.
pub fn decide(state: &State, change: &Change, context: &Context<'_>) -> Result<Vec<AccountEvent>, Refusal> {
    match change {
        Change::Create { mailbox, special_use } => create(state, mailbox, special_use, context),
        Change::Delete(name) => delete(state, name),
        Change::Rename { from, to } if from.is_inbox() => rename_inbox(state, to, context),
        Change::Rename { from, to } => rename(state, from, to, context),
        Change::Subscribe(name) => subscribe(state, name, context),
        Change::Unsubscribe(name) => {
            Ok(state.is_subscribed(name).then(|| AccountEvent::Unsubscribed(name.clone())).into_iter().collect())
        }
    }
}

/// The events that begin a new account's log.
///
/// # Errors
/// Never for an empty state: the names are sound and UIDVALIDITY has just begun.
pub fn new_account(context: &Context<'_>) -> Result<Vec<AccountEvent>, Refusal> {
    let state = State::new();
    let mut creations = Creations::new(&state, context);
    let mut subscribed = Vec::new();
    for (name, special_use) in FIRST_MAILBOXES {
        let name = MailboxName::from_segments([name]).map_err(|_| Refusal::Cannot("a first mailbox has no sound name"))?;
        subscribed.push(AccountEvent::Subscribed(name.clone()));
        creations.add(name, special_use.into_iter().collect())?;
    }
    Ok(creations.made.into_iter().map(AccountEvent::MailboxCreated).chain(subscribed).collect())
}

/// New mailboxes of one decision: each gets an id that was never used and the next UIDVALIDITY.
struct Creations<'a> {
    state: &'a State,
    context: &'a Context<'a>,
    last: Option<UidValidity>,
    made: Vec<Creation>,
}

impl<'a> Creations<'a> {
    fn new(state: &'a State, context: &'a Context<'a>) -> Self {
        Self { state, context, last: state.largest_uid_validity(), made: Vec::new() }
    }

    fn add(&mut self, name: MailboxName, special_use: Vec<SpecialUse>) -> Result<(), Refusal> {
        if self.state.mailboxes() + self.made.len() >= self.context.limits.mailboxes {
            return Err(Refusal::Limit("the account holds no further mailbox"));
        }
        let uid_validity = self.uid_validity().ok_or(Refusal::Limit("the account has used up all UIDVALIDITY values"))?;
        self.last = Some(uid_validity);
        let mailbox = self.id();
        self.made.push(Creation { mailbox, name, uid_validity, special_use });
        Ok(())
    }

    /// max(last + 1, seconds since 1970), so that it neither falls nor repeats, even if the account's log is lost and begun anew.
    fn uid_validity(&self) -> Option<UidValidity> {
        let now = u32::try_from(self.context.now_seconds).ok().and_then(UidValidity::new).unwrap_or(UidValidity::MIN);
        match self.last {
            Some(last) => Some(last.next()?.max(now)),
            None => Some(now),
        }
    }

    fn id(&self) -> MailboxId {
        loop {
            let id = self.context.ids.mailbox();
            if self.state.by_id(id).is_none() {
                return id;
            }
        }
    }

    /// Makes the superiors of `name` that are not names yet; a superior that only lost its mailbox stays as it is.
    fn add_superiors(&mut self, name: &MailboxName) -> Result<(), Refusal> {
        for superior in name.superiors() {
            if self.state.exists(&superior) == Existence::No {
                self.add(superior, Vec::new())?;
            }
        }
        Ok(())
    }
}

fn create(
    state: &State,
    name: &MailboxName,
    special_use: &[SpecialUse],
    context: &Context<'_>,
) -> Result<Vec<AccountEvent>, Refusal> {
    if name.is_inbox() || state.find(name).is_some() {
        return Err(Refusal::MailboxExists);
    }
    let uses: BTreeSet<SpecialUse> = special_use.iter().copied().collect();
    may_be_used(state, &uses)?;
    let mut creations = Creations::new(state, context);
    creations.add_superiors(name)?;
    creations.add(name.clone(), uses.into_iter().collect())?;
    Ok(creations.made.into_iter().map(AccountEvent::MailboxCreated).collect())
}

/// A use that means a view of other mailboxes' messages is not offered, and each use has one mailbox (RFC 6154 §3 lets the server choose).
fn may_be_used(state: &State, uses: &BTreeSet<SpecialUse>) -> Result<(), Refusal> {
    if uses.is_empty() {
        return Ok(());
    }
    if uses.contains(&SpecialUse::All) || uses.contains(&SpecialUse::Flagged) {
        return Err(Refusal::SpecialUse("this server has no virtual mailboxes"));
    }
    if state.entries().any(|entry| entry.special_use.iter().any(|taken| uses.contains(taken))) {
        return Err(Refusal::SpecialUse("another mailbox has that special use already"));
    }
    Ok(())
}

fn delete(state: &State, name: &MailboxName) -> Result<Vec<AccountEvent>, Refusal> {
    if name.is_inbox() {
        return Err(Refusal::Cannot("INBOX cannot be deleted"));
    }
    match state.find(name) {
        Some(entry) => Ok(vec![AccountEvent::MailboxDeleted { mailbox: entry.mailbox, name: entry.name.clone() }]),
        None if state.has_children(name) => Err(Refusal::HasChildren),
        None => Err(Refusal::NoSuchMailbox),
    }
}

/// RFC 3501 §6.3.5: INBOX stays, its messages go to a new mailbox. The messages' part of the commit is the account actor's.
fn rename_inbox(state: &State, to: &MailboxName, context: &Context<'_>) -> Result<Vec<AccountEvent>, Refusal> {
    if to.is_inbox() || state.find(to).is_some() {
        return Err(Refusal::MailboxExists);
    }
    if to.is_below(&MailboxName::inbox()) {
        return Err(Refusal::Cannot("the new name lies below the old one"));
    }
    let mut creations = Creations::new(state, context);
    creations.add_superiors(to)?;
    creations.add(to.clone(), Vec::new())?;
    Ok(vec![AccountEvent::MailboxRenamed { moves: Vec::new(), created: creations.made, subscriptions: Vec::new() }])
}

/// The same where INBOX cannot be read: the mailbox itself gets the name, with all that is in it, and a new one becomes INBOX. [`decide`] has allowed the name.
///
/// # Errors
/// [`Refusal::Limit`].
pub fn replace_inbox(state: &State, to: &MailboxName, context: &Context<'_>) -> Result<Vec<AccountEvent>, Refusal> {
    let inbox = MailboxName::inbox();
    let mailbox = state.find(&inbox).map(|entry| entry.mailbox).ok_or(Refusal::NoSuchMailbox)?;
    let moves = vec![Move { mailbox, from: inbox.clone(), to: to.clone() }];
    let mut creations = Creations::new(state, context);
    creations.add_superiors(to)?;
    let created = std::mem::take(&mut creations.made);
    creations.add(inbox, Vec::new())?;
    let renamed = AccountEvent::MailboxRenamed { moves, created, subscriptions: Vec::new() };
    Ok(std::iter::once(renamed).chain(creations.made.into_iter().map(AccountEvent::MailboxCreated)).collect())
}

/// One event moves the mailbox, all below it and all their subscriptions, or nothing.
fn rename(state: &State, from: &MailboxName, to: &MailboxName, context: &Context<'_>) -> Result<Vec<AccountEvent>, Refusal> {
    if state.exists(from) == Existence::No {
        return Err(Refusal::NoSuchMailbox);
    }
    if from == to || to.is_inbox() {
        return Err(Refusal::MailboxExists);
    }
    if to.is_below(from) {
        return Err(Refusal::Cannot("the new name lies below the old one"));
    }
    let mut moves = Vec::new();
    for entry in state.find(from).into_iter().chain(state.below(from)) {
        moves.push(Move { mailbox: entry.mailbox, from: entry.name.clone(), to: renamed(&entry.name, from, to)? });
    }
    // The new name itself counts as a target too where only its children move.
    let is_taken =
        |target: &MailboxName| state.find(target).is_some_and(|other| other.name != *from && !other.name.is_below(from));
    if is_taken(to) || moves.iter().any(|one| is_taken(&one.to)) {
        return Err(Refusal::MailboxExists);
    }
    let mut subscriptions = Vec::new();
    for name in state.subscriptions_under(from) {
        subscriptions.push((name.clone(), renamed(name, from, to)?));
    }
    let mut creations = Creations::new(state, context);
    creations.add_superiors(to)?;
    Ok(vec![AccountEvent::MailboxRenamed { moves, created: creations.made, subscriptions }])
}

fn renamed(name: &MailboxName, from: &MailboxName, to: &MailboxName) -> Result<MailboxName, Refusal> {
    match name.replace_prefix(from, to) {
        Ok(Some(name)) => Ok(name),
        Ok(None) => Ok(name.clone()),
        Err(_) => Err(Refusal::Cannot("a name below it would become too long")),
    }
}

fn subscribe(state: &State, name: &MailboxName, context: &Context<'_>) -> Result<Vec<AccountEvent>, Refusal> {
    if state.is_subscribed(name) {
        return Ok(Vec::new());
    }
    if state.subscription_count() >= context.limits.subscriptions {
        return Err(Refusal::Limit("the account holds no further subscription"));
    }
    Ok(vec![AccountEvent::Subscribed(name.clone())])
}

#[cfg(test)]
mod tests;
