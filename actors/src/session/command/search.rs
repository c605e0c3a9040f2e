//! SEARCH, SORT and THREAD (RFC 9051 §6.4.4, RFC 5256): computed in the pool over what this client was told.

use carillon_protocol::command::{SearchKey, SortCriterion, ThreadAlgorithm};
use carillon_protocol::number::Uid;
use carillon_protocol::response::Untagged;
use carillon_protocol::set::Numbering;

use super::super::reply::{self, Ending, Reply};
use super::super::search::{Query, Search};
use super::super::sort::Sort;
use super::super::state::Session;
use super::super::thread::Threading;
use crate::refusal::Fault;

/// SEARCH.
pub async fn search(session: &mut Session, numbering: Numbering, key: SearchKey) -> Reply {
    let search = bind(session, &key)?;
    let reader = session.selected()?.view.reader();
    let found = session.in_turns(search).await?;
    let count = usize::try_from(found.uids.len()).unwrap_or(usize::MAX);
    let numbers = move || match numbering {
        Numbering::Uid => found.uids.iter().map(Uid::get).collect(),
        Numbering::Seq => reader.messages(&found.uids).map(|seen| seen.seq.get()).collect(),
    };
    let numbers = session.compute(count, numbers).await?;
    session.tell(&Untagged::Search(numbers));
    conclude("Searched", found.damage)
}

/// SORT.
pub async fn sort(session: &mut Session, numbering: Numbering, criteria: &[SortCriterion], key: SearchKey) -> Reply {
    let search = bind(session, &key)?;
    let sorted = session.in_turns(Sort::new(search, criteria, numbering)).await?;
    session.tell(&Untagged::Sort(sorted.numbers));
    conclude("Sorted", sorted.damage)
}

/// THREAD.
pub async fn thread(session: &mut Session, numbering: Numbering, algorithm: ThreadAlgorithm, key: SearchKey) -> Reply {
    let search = bind(session, &key)?;
    let threaded = session.in_turns(Threading::new(search, algorithm, numbering)).await?;
    session.tell(&Untagged::Thread(threaded.threads));
    conclude("Threaded", threaded.damage)
}

/// What was found is told in any case; messages that could not be read are not passed over in silence.
pub(super) fn conclude(text: &str, damage: Option<Fault>) -> Reply {
    damage.map_or_else(|| Ok(reply::ok(text)), |fault| Err(fault.into()))
}

/// The search with its sets resolved as this client numbers messages now, over what it may see.
fn bind(session: &mut Session, key: &SearchKey) -> Result<Search, Ending> {
    let source = session.doors.core.source.clone();
    let view = &session.selected()?.view;
    Ok(Search::new(view.reader(), Query::bind(key, view)?, source))
}
