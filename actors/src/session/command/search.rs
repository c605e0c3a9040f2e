//! SEARCH, SORT and THREAD (RFC 9051 §6.4.4, RFC 5256): computed in the pool over what this client was told.

use carillon_protocol::command::{SearchKey, SortCriterion, ThreadAlgorithm};
use carillon_protocol::number::Uid;
use carillon_protocol::response::Untagged;
use carillon_protocol::set::{Numbering, UidSet};

use super::super::message::Source;
use super::super::reader::Reader;
use super::super::reply::{self, Ending, Reply};
use super::super::search::{self, BoundKey};
use super::super::state::Session;
use super::super::{sort, thread};
use crate::refusal::Fault;

/// SEARCH.
pub async fn search(session: &mut Session, numbering: Numbering, key: SearchKey) -> Reply {
    let (key, reader) = bind(session, &key)?;
    let found: Result<_, Fault> = in_pool(session, reader, move |reader, source| {
        let found = search::search(reader, &key, source)?;
        Ok((numbers(reader, numbering, &found.uids), found.damage))
    })
    .await?;
    let (numbers, damage) = found?;
    session.tell(&Untagged::Search(numbers));
    conclude("Searched", damage)
}

/// SORT.
pub async fn sort(session: &mut Session, numbering: Numbering, criteria: Vec<SortCriterion>, key: SearchKey) -> Reply {
    let (key, reader) = bind(session, &key)?;
    let sorted: Result<_, Fault> = in_pool(session, reader, move |reader, source| {
        let found = search::search(reader, &key, source)?;
        let sorted = sort::sort(reader, &found.uids, &criteria, source)?;
        let numbers = sorted.into_iter().filter_map(|uid| number(reader, numbering, uid)).collect();
        Ok((numbers, found.damage))
    })
    .await?;
    let (numbers, damage) = sorted?;
    session.tell(&Untagged::Sort(numbers));
    conclude("Sorted", damage)
}

/// THREAD.
pub async fn thread(session: &mut Session, numbering: Numbering, algorithm: ThreadAlgorithm, key: SearchKey) -> Reply {
    let (key, reader) = bind(session, &key)?;
    let threads: Result<_, Fault> = in_pool(session, reader, move |reader, source| {
        let found = search::search(reader, &key, source)?;
        Ok((thread::thread(reader, &found.uids, algorithm, numbering, source)?, found.damage))
    })
    .await?;
    let (threads, damage) = threads?;
    session.tell(&Untagged::Thread(threads));
    conclude("Threaded", damage)
}

/// What was found is told in any case; messages that could not be read are not passed over in silence.
pub(super) fn conclude(text: &str, damage: Option<Fault>) -> Reply {
    damage.map_or_else(|| Ok(reply::ok(text)), |fault| Err(fault.into()))
}

/// The key with its sets resolved as this client numbers messages now, and what it may see.
fn bind(session: &mut Session, key: &SearchKey) -> Result<(BoundKey, Reader), Ending> {
    let view = &session.selected()?.view;
    Ok((search::bind(key, view)?, view.reader()))
}

async fn in_pool<T: Send + 'static>(
    session: &Session,
    reader: Reader,
    job: impl FnOnce(&Reader, &Source) -> T + Send + 'static,
) -> Result<T, Fault> {
    let source = session.doors.core.source.clone();
    session.doors.core.placement.run(move || job(&reader, &source)).await
}

fn number(reader: &Reader, numbering: Numbering, uid: Uid) -> Option<u32> {
    match numbering {
        Numbering::Uid => Some(uid.get()),
        Numbering::Seq => reader.message(uid).map(|seen| seen.seq.get()),
    }
}

fn numbers(reader: &Reader, numbering: Numbering, uids: &UidSet) -> Vec<u32> {
    match numbering {
        Numbering::Uid => uids.iter().map(Uid::get).collect(),
        Numbering::Seq => reader.messages(uids).map(|seen| seen.seq.get()).collect(),
    }
}
