//! The way of a change: order, write, fdatasync, sled, answer.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;

use crate::error::AppendError;
use crate::format::{BodyPlace, EntryKind, encode_places, encode_record};
use crate::journal::CommitList;
use crate::large;
use crate::order::{OrderedCommit, OrderedList, order};
use crate::record::{Body, BodyHash, BodySource, CacheEntry, Committed, Head, LogId, Record};
use crate::sled::Change;
use crate::store::{Shared, Writer, lock};
use crate::stream::Group;

/// A group is written once it has this many bytes, whatever still waits.
const GROUP_BYTES: usize = 32 * 1024 * 1024;
/// How many heads the writer remembers.
const HEAD_LIMIT: usize = 100_000;

type Answer = Result<Vec<Committed>, AppendError>;

/// The lists of a group that is not written yet.
struct Draft {
    group: Group,
    records: Vec<(Record, Vec<u8>)>,
    commits: Vec<(u64, Vec<(LogId, u64)>)>,
    heads: HashMap<LogId, Head>,
    /// Bodies in this group or made durable just before.
    bodies: HashSet<BodyHash>,
    large: Vec<(BodyHash, BodyPlace)>,
    beside: Vec<CacheEntry>,
    /// Which answers wait for it, and what they will be.
    answers: Vec<(usize, Vec<Committed>)>,
}

impl Draft {
    fn new(first: u64) -> Self {
        Self {
            group: Group::new(first),
            records: Vec::new(),
            commits: Vec::new(),
            heads: HashMap::new(),
            bodies: HashSet::new(),
            large: Vec::new(),
            beside: Vec::new(),
            answers: Vec::new(),
        }
    }
}

impl Shared {
    pub(crate) fn append(&self, lists: Vec<CommitList>) -> Vec<Answer> {
        let mut writer = lock(&self.writer);
        *lock(&self.in_flight) = lists.iter().flatten().flat_map(|commit| &commit.records).map(|draft| draft.log).collect();
        let answers = self.append_locked(&mut writer, lists);
        lock(&self.in_flight).clear();
        self.landed.notify_all();
        answers
    }

    fn append_locked(&self, writer: &mut Writer, lists: Vec<CommitList>) -> Vec<Answer> {
        let mut answers: Vec<Answer> = Vec::with_capacity(lists.len());
        let mut draft = Draft::new(writer.stream.newest + 1);
        for (index, list) in lists.into_iter().enumerate() {
            if let Some(reason) = self.fatal() {
                answers.push(Err(AppendError::Failed(reason)));
                continue;
            }
            match self.add(writer, &mut draft, list) {
                Ok(committed) => {
                    draft.answers.push((index, committed));
                    answers.push(Ok(Vec::new()));
                }
                Err(error) => answers.push(Err(error)),
            }
            if draft.group.len() >= GROUP_BYTES {
                self.finish(writer, &mut draft, &mut answers);
            }
        }
        self.finish(writer, &mut draft, &mut answers);
        if writer.heads.len() > HEAD_LIMIT {
            writer.heads.clear();
        }
        answers
    }

    /// Adds a list to the group, whole or not at all.
    fn add(&self, writer: &Writer, draft: &mut Draft, list: CommitList) -> Answer {
        let mut head_of = |log: LogId| match draft.heads.get(&log).or_else(|| writer.heads.get(&log)) {
            Some(head) => Ok(*head),
            None => self.ask_as_writer(writer, |sled| sled.head(log)).map_err(|error| AppendError::Failed(error.to_string())),
        };
        let OrderedList { commits, heads } = order(list, draft.group.next(), &mut head_of)?;
        let mark = draft.group.mark();
        let (records, large, beside) = (draft.records.len(), draft.large.len(), draft.beside.len());
        let added = self.add_bodies(writer, draft, &commits).and_then(|bodies| add_records(draft, &commits, bodies));
        match added {
            Ok(bodies) => {
                draft.bodies.extend(bodies);
                draft.heads.extend(heads);
                Ok(accept(draft, commits))
            }
            Err(error) => {
                draft.group.rewind(mark);
                draft.records.truncate(records);
                draft.large.truncate(large);
                draft.beside.truncate(beside);
                Err(error)
            }
        }
    }

    /// Adds the bodies that are not stored yet, and says of large ones where they are.
    fn add_bodies(
        &self,
        writer: &Writer,
        draft: &mut Draft,
        commits: &[OrderedCommit],
    ) -> Result<HashSet<BodyHash>, AppendError> {
        let mut added = HashSet::new();
        for body in commits.iter().flat_map(|commit| &commit.bodies) {
            if draft.bodies.contains(&body.hash) || !added.insert(body.hash) {
                continue;
            }
            let place = self.stored_place(writer, body)?;
            if place.is_none() || body.source == BodySource::Stored {
                draft.beside.extend(body.beside.clone());
            }
            match place {
                Some(place) if place.segment == 0 => {
                    draft.large.push((body.hash, place));
                    draft.group.entry(EntryKind::Large, &encode_places(&[(body.hash, place)]));
                }
                Some(_) => {}
                None => draft.group.body(self.identity(), body.hash, &large::load(body)?),
            }
        }
        Ok(added)
    }

    /// Where a body lies that need not be written: what was prepared, and what this process knows to be there.
    fn stored_place(&self, writer: &Writer, body: &Body) -> Result<Option<BodyPlace>, AppendError> {
        let known = self.places.whole(body.hash);
        if known.is_some() || body.source != BodySource::Stored {
            return Ok(known);
        }
        let place = self.ask_as_writer(writer, |log| log.place(body.hash));
        let place = place.map_err(|error| AppendError::Failed(error.to_string()))?;
        let own = || self.shelf.large(body.hash, self.identity()).ok().map(|(_, place)| place);
        let missing = || AppendError::Failed(format!("body {} is not stored", body.hash));
        place.or_else(own).map(Some).ok_or_else(missing)
    }

    /// Makes the group durable and visible, and fills in the answers.
    fn finish(&self, writer: &mut Writer, draft: &mut Draft, answers: &mut [Answer]) {
        let written = if draft.group.is_empty() { Ok(()) } else { self.write(writer, draft) };
        let next = writer.stream.newest + 1;
        let done = std::mem::replace(draft, Draft::new(next));
        for (index, committed) in done.answers {
            if let Some(answer) = answers.get_mut(index) {
                *answer = written.clone().map(|()| committed);
            }
        }
    }

    fn write(&self, writer: &mut Writer, draft: &mut Draft) -> Result<(), AppendError> {
        self.room.check(draft.group.len() as u64)?;
        let places = writer.stream.write(&mut draft.group).map_err(|error| self.refusal(error))?;
        let newest = writer.stream.newest;
        let change = || {
            let mut change = Change::default();
            draft.records.iter().for_each(|(record, encoded)| change.record(record, encoded));
            draft.heads.iter().for_each(|(log, head)| change.head(*log, *head));
            draft.commits.iter().for_each(|(commit, places)| change.commit(*commit, places));
            places.iter().chain(&draft.large).for_each(|(hash, place)| change.place(*hash, place));
            draft.beside.iter().for_each(|(key, value)| change.cached(key, value));
            change.newest(newest);
            change
        };
        self.apply(writer, change).map_err(AppendError::Unknown)?;
        writer.heads.extend(draft.heads.drain());
        places.iter().chain(&draft.large).for_each(|(hash, place)| self.places.put_whole(*hash, *place));
        self.newest.store(newest, Ordering::Release);
        Ok(())
    }
}

fn add_records(
    draft: &mut Draft,
    commits: &[OrderedCommit],
    bodies: HashSet<BodyHash>,
) -> Result<HashSet<BodyHash>, AppendError> {
    for record in commits.iter().flat_map(|commit| &commit.records) {
        let encoded = encode_record(record).map_err(|error| AppendError::Failed(error.to_string()))?;
        draft.group.entry(EntryKind::Record, &encoded);
        draft.records.push((record.clone(), encoded));
    }
    Ok(bodies)
}

fn accept(draft: &mut Draft, commits: Vec<OrderedCommit>) -> Vec<Committed> {
    let mut answers = Vec::with_capacity(commits.len());
    for commit in commits {
        draft.group.count += 1;
        let places = commit.records.iter().map(|record| (record.log, record.position)).collect();
        draft.commits.push((commit.committed.commit, places));
        answers.push(commit.committed);
    }
    answers
}
