//! Which lists of commits are accepted, and the records that they become: the same rule for every engine.

use std::collections::{HashMap, HashSet};

use crate::error::AppendError;
use crate::format::{LIST_BODY_LIMIT, LIST_LIMIT};
use crate::journal::CommitList;
use crate::record::{Body, BodySource, Chain, CommitNumber, Committed, Head, LogId, Record};

/// A commit with its number, its records sealed by their chains.
#[derive(Debug)]
pub(crate) struct OrderedCommit {
    pub(crate) committed: Committed,
    /// Ascending by log.
    pub(crate) records: Vec<Record>,
    pub(crate) bodies: Vec<Body>,
}

/// A list that may be written, and the heads of its logs behind it.
#[derive(Debug, Default)]
pub(crate) struct OrderedList {
    pub(crate) commits: Vec<OrderedCommit>,
    pub(crate) heads: HashMap<LogId, Head>,
}

/// Orders one list behind everything that `head_of` knows; its first commit gets the number `first`. A list is taken whole or refused whole.
pub(crate) fn order(
    list: CommitList,
    first: CommitNumber,
    head_of: &mut dyn FnMut(LogId) -> Result<Head, AppendError>,
) -> Result<OrderedList, AppendError> {
    check_size(&list)?;
    let mut ordered = OrderedList::default();
    for (number, commit) in (first..).zip(list) {
        let mut records: Vec<Record> = Vec::with_capacity(commit.records.len());
        let mut positions = Vec::with_capacity(commit.records.len());
        for draft in commit.records {
            if records.iter().any(|record| record.log == draft.log) {
                return Err(AppendError::Failed(format!(
                    "two records for log {}/{:016x} in one commit",
                    draft.log.kind, draft.log.id
                )));
            }
            let head = match ordered.heads.get(&draft.log) {
                Some(head) => *head,
                None => head_of(draft.log)?,
            };
            if head.position != draft.expected {
                return Err(AppendError::Conflict { log: draft.log, expected: draft.expected, found: head.position });
            }
            let mut record = Record {
                log: draft.log,
                position: head.position + 1,
                commit: number,
                at: commit.at,
                author: commit.author.clone(),
                version: draft.version,
                events: draft.events,
                chain: Chain::default(),
            };
            record.chain = record.chain_after(head.chain);
            ordered.heads.insert(record.log, Head { position: record.position, chain: record.chain });
            positions.push(record.position);
            records.push(record);
        }
        records.sort_by_key(|record| record.log);
        ordered.commits.push(OrderedCommit {
            committed: Committed { commit: number, positions },
            records,
            bodies: commit.bodies,
        });
    }
    Ok(ordered)
}

/// What is too large for a group must not be built first.
fn check_size(list: &CommitList) -> Result<(), AppendError> {
    let records: usize = list.iter().flat_map(|commit| &commit.records).map(|draft| draft.events.len()).sum();
    let mut met = HashSet::new();
    let bodies = list.iter().flat_map(|commit| &commit.bodies).filter(|body| body.source != BodySource::Stored);
    let bodies: u64 = bodies.filter(|body| met.insert(body.hash)).map(|body| body.length).sum();
    if records > LIST_LIMIT || bodies > LIST_BODY_LIMIT { Err(AppendError::TooLarge) } else { Ok(()) }
}
