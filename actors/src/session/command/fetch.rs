//! FETCH and UID FETCH (RFC 9051 §6.4.5).

use carillon_protocol::command::{Expunges, FetchItem};
use carillon_protocol::flag::{FlagChange, FlagSet, SystemFlag};
use carillon_protocol::set::{Numbering, SequenceSet, UidSet};

use super::super::fetch::{self, Plan};
use super::super::reader::Seen;
use super::super::reply::{self, Ending, Reply};
use super::super::state::Session;
use super::super::view::Mode;
use crate::mailbox::requests::Change;
use crate::refusal::{Fault, Refusal};
use crate::turn::Turn;

/// Encoded responses of one job in the pool: so much memory a FETCH of any size holds, and one message more.
const BATCH_BYTES: usize = 256 << 10;

/// FETCH: \Seen first, in one commit for the whole set; then the data, piece by piece as the client takes them.
pub async fn fetch(session: &mut Session, numbering: Numbering, set: &SequenceSet, items: &[FetchItem]) -> Reply {
    let view = &session.selected()?.view;
    let uids = view.resolve(set, numbering)?;
    let missed = if numbering == Numbering::Uid { view.missed(set) } else { UidSet::new() };
    let mut plan = Plan::new(items);
    let has_seen = plan.sets_seen() && session.selected()?.view.mode() == Mode::ReadWrite && see(session, &uids).await?;
    if has_seen {
        plan.tell_flags();
    }
    let (damage, left_out) = stream(session, &plan, &uids).await?;
    if has_seen {
        // Their \Seen went out with no data.
        session.selected()?.view.owe(&left_out);
    }
    let explanation = explain_missing(session, &missed).await?;
    match damage {
        Some(refusal) => Err(refusal.into()),
        None => Ok(reply::ok(explanation.unwrap_or_else(|| "Fetched".to_owned()))),
    }
}

/// Sets \Seen where it is not yet. The flags go out with the data of this FETCH, so its own change is not told again.
async fn see(session: &mut Session, uids: &UidSet) -> Result<bool, Ending> {
    let reader = session.selected()?.view.reader();
    let named = uids.clone();
    let find = move || {
        let is_unseen = |seen: &Seen<'_>| !seen.ghost && !seen.flags.has(SystemFlag::Seen);
        reader.messages(&named).filter(is_unseen).map(|seen| seen.uid).collect::<UidSet>()
    };
    let unseen = session.compute(session.exists(), find).await?;
    if unseen.is_empty() {
        return Ok(false);
    }
    let flags = FlagSet::from(SystemFlag::Seen);
    let change = Change::Store { uids: unseen, change: FlagChange::Add, flags };
    match session.change_mailbox(change).await {
        Ok(changed) => {
            if let Some(position) = changed.position {
                session.selected()?.view.silence(position);
            }
        }
        // The mailbox is gone, and this client is not yet told: it reads on from what it was told.
        Err(Refusal::NoSuchMailbox) => return Ok(false),
        // A full disk keeps nobody from reading mail; the next FETCH tries again.
        Err(Refusal::Fault(Fault::Unavailable(reason))) => {
            tracing::warn!(reason, "\\Seen cannot be kept now");
            return Ok(false);
        }
        Err(refusal) => return Err(refusal.into()),
    }
    session.catch_up(Expunges::Withhold).await?;
    Ok(true)
}

/// Encodes in the pool, writes as the socket takes it. One damaged message does not keep the others back; it is left out.
async fn stream(session: &mut Session, plan: &Plan, uids: &UidSet) -> Result<(Option<Refusal>, UidSet), Ending> {
    let (mut damage, mut left_out) = (None, UidSet::new());
    let mut rest = uids.clone();
    while !rest.is_empty() {
        let reader = session.selected()?.view.reader();
        let source = session.doors.core.source.clone();
        let (plan, format) = (plan.clone(), session.connection.format());
        let job = move |turn: &mut Turn| fetch::encode_batch(&reader, &rest, &plan, &source, format, BATCH_BYTES, turn);
        let batch = session.turn(job).await?;
        session.connection.send_encoded(batch.encoded).await?;
        if let Some(farewell) = session.bells.farewell() {
            return Err(Ending::Bye(farewell));
        }
        session.counts.fetched += batch.count;
        damage = damage.or(batch.refusal);
        left_out = left_out.union(&batch.left_out);
        rest = batch.rest;
    }
    Ok((damage, left_out))
}

/// The command loop of the stories: a client that asks again and again for what it was told is gone is told so, and slowed.
async fn explain_missing(session: &mut Session, missing: &UidSet) -> Result<Option<String>, Ending> {
    if missing.is_empty() {
        session.selected()?.refetch.reset();
        return Ok(None);
    }
    let answer = session.selected()?.refetch.note(missing);
    if answer.is_loop {
        tracing::warn!(client = session.client.as_deref().unwrap_or("unknown"), uids = %missing, "client asks again for messages that are gone");
    }
    if let Some(delay) = answer.delay {
        session.connection.flush().await?;
        tokio::time::sleep(delay).await;
    }
    Ok(Some(answer.text))
}
