//! `log verify`: walks all segments and sled, says what is damaged and whose it is, and mends what can be mended.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::sync::PoisonError;

use bytes::Bytes;

use crate::apply::contents;
use crate::body;
use crate::error::ReadError;
use crate::format::BodyPlace;
use crate::heal::{Healer, Verdict};
use crate::record::{BodyHash, CommitNumber, Head, LogId, Position, Record};
use crate::remake::Maker;
use crate::scan::Found;
use crate::sled::{LogError, SledLog};
use crate::store::{ReadLog, Shared, Store, lock};
use crate::stream::Stream;
use crate::survey::{Damage, Span, Tail, bodies_of, examine, spans};

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is and where, as a sentence.
    pub what: String,
    /// The records that it concerns.
    pub records: Vec<(LogId, Position)>,
    /// The bodies that it concerns and that cannot be read now.
    pub bodies: Vec<BodyHash>,
    /// Whether it was mended (records from sled, sled from the segments); bodies that are named are lost all the same.
    pub is_healed: bool,
}

/// What a store was found to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Segments walked.
    pub segments: u64,
    /// Groups walked.
    pub groups: u64,
    /// Records whose chain was checked and that were compared with sled's.
    pub records: u64,
    /// Bodies whose hash was computed again.
    pub bodies: u64,
    /// Bytes read.
    pub bytes: u64,
    /// What is wrong; empty where all is well.
    pub findings: Vec<Finding>,
}

impl VerifyReport {
    /// Whether nothing is wrong, or all that was wrong is mended.
    pub fn is_whole(&self) -> bool {
        self.findings.iter().all(|finding| finding.is_healed && finding.bodies.is_empty())
    }
}

fn failed(error: impl std::fmt::Display) -> ReadError {
    ReadError::Failed(error.to_string())
}

/// A walk over the whole store.
struct Check<'a> {
    shared: &'a Shared,
    report: VerifyReport,
    heads: HashMap<LogId, Head>,
    /// Why sled must be made again.
    doubts: Vec<Finding>,
    large: HashSet<BodyHash>,
}

impl Store {
    /// Walks all segments and sled: checksums, chains, heads, the hash of every body. With `is_healing` damaged parts of segments are written anew with
    /// records from sled, and a sled that is wrong is made again. The store goes on serving: appends wait only while a new segment is begun, and while a new sled
    /// takes the place of the old one.
    ///
    /// # Errors
    /// The disk failed; what is merely damaged is in the report.
    pub fn verify(&self, is_healing: bool) -> Result<VerifyReport, ReadError> {
        let shared = &self.shared;
        let _one_at_a_time = lock(&shared.healing);
        let end = shared.written();
        let found = shared.spans_up_to(&end)?;
        let mut check =
            Check { shared, report: VerifyReport::default(), heads: HashMap::new(), doubts: Vec::new(), large: HashSet::new() };
        let damages = check.walk(&found, end.newest)?;
        check.heads()?;
        let Check { mut report, doubts, .. } = check;
        report.segments = found.len() as u64;
        report.bytes = found.iter().map(|span| span.end).sum();
        let mut findings = shared.describe(&found, &damages)?;
        if is_healing && !damages.is_empty() {
            let from = if doubts.is_empty() { found.len() } else { 0 };
            let verdicts = shared.heal(found, from, &end, &damages)?;
            for (finding, verdict) in findings.iter_mut().zip(verdicts) {
                finding.is_healed = verdict.is_mended;
            }
        }
        report.findings.extend(findings);
        if !doubts.is_empty() {
            let can_heal = is_healing && report.findings.iter().all(|finding| finding.is_healed || finding.records.is_empty());
            let is_healed = can_heal && shared.remake();
            report.findings.extend(doubts.into_iter().map(|finding| Finding { is_healed, ..finding }));
        }
        Ok(report)
    }
}

impl Check<'_> {
    fn walk(&mut self, spans: &[Span], newest: CommitNumber) -> Result<Vec<Damage>, ReadError> {
        let identity = *self.shared.identity();
        // All of it was written by this process or made whole at its start: nothing is a torn tail.
        let examination = examine(spans, 0, &identity, Tail::Closed(newest), &mut |span, found| {
            if let Found::Group { offset, payload, .. } = found {
                self.group(span, *offset, payload).map_err(io::Error::other)?;
            }
            Ok(())
        });
        let examination = examination.map_err(failed)?;
        self.report.groups = examination.groups;
        Ok(examination.damages)
    }

    fn group(&mut self, span: &Span, offset: u64, payload: &[u8]) -> Result<(), ReadError> {
        let identity = *self.shared.identity();
        let contents = contents(span.number, offset, payload, &identity).map_err(ReadError::Damaged)?;
        for (record, _) in &contents.records {
            self.record(record)?;
        }
        for (hash, place) in &contents.places {
            self.body(*hash, place, offset, payload)?;
        }
        Ok(())
    }

    fn doubt(&mut self, what: String, record: Option<(LogId, Position)>) {
        self.doubts.push(Finding { what, records: record.into_iter().collect(), bodies: Vec::new(), is_healed: false });
    }

    fn record(&mut self, record: &Record) -> Result<(), ReadError> {
        self.report.records += 1;
        let name = format!("record {} of log {}/{:016x}", record.position, record.log.kind, record.log.id);
        let before = self.heads.insert(record.log, Head { position: record.position, chain: record.chain }).unwrap_or_default();
        // Behind damage the predecessor is not known here; the damage is a finding of its own.
        if before.position + 1 == record.position && record.chain != record.chain_after(before.chain) {
            let what = format!("{name}: its chain does not stand on its predecessor");
            let records = vec![(record.log, record.position)];
            self.report.findings.push(Finding { what, records, bodies: Vec::new(), is_healed: false });
        }
        match self.shared.peek(|log| log.record(record.log, record.position)) {
            Ok(Some(found)) if found == *record => {}
            Ok(Some(_)) => {
                self.doubt(format!("{name}: sled has another one than the segments"), Some((record.log, record.position)))
            }
            Ok(None) => self.doubt(format!("{name}: sled does not have it"), Some((record.log, record.position))),
            Err(error) => self.doubt(format!("{name}: {error}"), Some((record.log, record.position))),
        }
        Ok(())
    }

    fn body(&mut self, hash: BodyHash, place: &BodyPlace, offset: u64, payload: &[u8]) -> Result<(), ReadError> {
        self.report.bodies += 1;
        let bytes = if place.segment == 0 {
            if !self.large.insert(hash) {
                return Ok(());
            }
            let file = self.shared.shelf.large(hash, self.shared.identity());
            file.ok().and_then(|(file, place)| body::read(&file, &place, hash, self.shared.identity()).ok())
        } else {
            let start = (place.offset - offset) as usize - crate::format::GROUP_LENGTH;
            let content = payload.get(start..start + place.stored as usize).map(Bytes::copy_from_slice);
            content.and_then(|content| body::decode(&content, self.shared.identity())).map(|(_, bytes)| bytes)
        };
        let is_right = bytes.is_some_and(|bytes| BodyHash::of(&bytes) == hash);
        // A body may lie in several places: what counts is whether it can be read.
        if !is_right && self.shared.read_whole(hash).is_err() {
            let what = format!("body {hash} (segment {}, byte {}) is damaged", place.segment, place.offset);
            self.report.findings.push(Finding { what, records: Vec::new(), bodies: vec![hash], is_healed: false });
        }
        match self.shared.peek(|log| log.place(hash)) {
            Ok(Some(_)) => {}
            Ok(None) => self.doubt(format!("body {hash}: sled does not know its place"), None),
            Err(error) => self.doubt(format!("body {hash}: {error}"), None),
        }
        Ok(())
    }

    /// No log of sled is shorter than in the segments, and each is whole.
    fn heads(&mut self) -> Result<(), ReadError> {
        let shared = self.shared;
        match shared.peek(|log| log.check(CommitNumber::MAX)) {
            Ok(()) => {}
            Err(error) => self.doubt(format!("sled: {error}"), None),
        }
        let expected: Vec<_> = self.heads.iter().map(|(log, head)| (*log, *head)).collect();
        for (log, head) in expected {
            let found = shared.peek(|sled| sled.head(log)).unwrap_or_default();
            if found.position < head.position {
                let what = format!(
                    "log {}/{:016x}: sled ends at position {}, the segments at {}",
                    log.kind, log.id, found.position, head.position
                );
                self.doubt(what, Some((log, head.position)));
            }
        }
        Ok(())
    }
}

/// Up to where the segments were written at one moment.
struct Written {
    number: u64,
    end: u64,
    newest: CommitNumber,
}

impl Written {
    fn by(stream: &Stream) -> Self {
        Self { number: stream.number, end: stream.end, newest: stream.newest }
    }
}

impl Shared {
    fn written(&self) -> Written {
        Written::by(&lock(&self.writer).stream)
    }

    fn spans_up_to(&self, written: &Written) -> Result<Vec<Span>, ReadError> {
        let mut found = spans(&self.home.directory.join("segments"), self.identity()).map_err(failed)?;
        found.retain(|span| span.number <= written.number);
        if let Some(last) = found.last_mut() {
            last.end = written.end;
        }
        Ok(found)
    }

    /// Asks sled without ending the server where it is wrong: that is what is being found out.
    fn peek<T>(&self, ask: impl Fn(&SledLog) -> Result<T, LogError>) -> Result<T, LogError> {
        self.with_log(ask).1
    }

    fn read_whole(&self, hash: BodyHash) -> Result<Bytes, ReadError> {
        let place = self.peek(|log| log.place(hash)).map_err(failed)?.ok_or(ReadError::NoSuchBody)?;
        let (file, place) = self.shelf.file(hash, &place, self.identity()).map_err(failed)?;
        body::read(&file, &place, hash, self.identity())
    }

    /// The records and bodies that damaged parts hold.
    fn describe(&self, spans: &[Span], damages: &[Damage]) -> Result<Vec<Finding>, ReadError> {
        let mut bodies: Vec<BTreeSet<BodyHash>> = vec![BTreeSet::new(); damages.len()];
        let numbers: Vec<u64> = damages.iter().map(|damage| spans.get(damage.span).map_or(0, |span| span.number)).collect();
        let parts = || damages.iter().zip(&numbers);
        let mut put = |hash: BodyHash, place: &BodyPlace| {
            let overlaps =
                |damage: &Damage| place.offset < damage.end && place.offset.saturating_add(place.stored) > damage.start;
            for ((damage, number), bodies) in parts().zip(&mut bodies) {
                if place.segment == *number && overlaps(damage) {
                    bodies.insert(hash);
                }
            }
        };
        if !damages.is_empty() {
            // A sled that fails while it is asked knows nothing more.
            let known = std::cell::RefCell::new(&mut put);
            let _ = self.peek(|log| log.places(&mut |hash, place| known.borrow_mut()(hash, place)));
        }
        let damaged: BTreeSet<usize> = damages.iter().map(|damage| damage.span).collect();
        for span in damaged.iter().filter_map(|span| spans.get(*span)) {
            bodies_of(span, self.identity()).map_err(failed)?.iter().for_each(|(hash, place)| put(*hash, place));
        }
        let finding = |((damage, number), bodies): ((&Damage, &u64), BTreeSet<BodyHash>)| {
            let commits = damage.lost().take(100_000);
            let records: Vec<_> =
                commits.flat_map(|commit| self.peek(|log| log.commit(commit)).unwrap_or_default().unwrap_or_default()).collect();
            let bodies: Vec<_> = bodies.into_iter().filter(|hash| self.read_whole(*hash).is_err()).collect();
            let (start, end, lost) = (damage.start, damage.end, bodies.len());
            let what = format!(
                "segment {number}, bytes {start} to {end}: damaged; {} records lay there, {lost} bodies are lost",
                records.len()
            );
            Finding { what, records, bodies, is_healed: false }
        };
        Ok(parts().zip(bodies).map(finding).collect())
    }

    /// Writes damaged parts anew. Only a segment that nobody writes to is mended: the newest one is sealed first where it is damaged.
    fn heal(&self, found: Vec<Span>, from: usize, written: &Written, damages: &[Damage]) -> Result<Vec<Verdict>, ReadError> {
        let mut found = found;
        if damages.iter().any(|damage| damage.span + 1 == found.len()) {
            let mut writer = lock(&self.writer);
            if writer.stream.number == written.number {
                writer.stream.roll().map_err(|error| ReadError::Failed(self.refusal(error).to_string()))?;
            }
            drop(writer);
            found = spans(&self.home.directory.join("segments"), self.identity()).map_err(failed)?;
            found.retain(|span| span.number <= written.number);
        }
        let healer = Healer { files: &self.files, directory: &self.home.directory, identity: self.identity() };
        let healed = self.peek(|log| Ok(healer.heal(&found, from, damages, Some(log)))).map_err(failed)?;
        self.shelf.forget();
        healed.map_err(failed)
    }

    /// Makes sled again from the segments; whether it could. Readers have the old one meanwhile, and commits go on; only for the last of them, and while the new one
    /// takes the old one's place, both wait.
    fn remake(&self) -> bool {
        let maker = Maker { home: &self.home, options: &self.options, files: &self.files };
        let made = || -> Result<(), String> {
            let written = self.written();
            let found = self.spans_up_to(&written).map_err(|error| error.to_string())?;
            let log = maker.begin().map_err(|error| error.to_string())?;
            maker.fill(&log, &found, 1, written.end).map_err(|error| error.to_string())?;
            let mut writer = lock(&self.writer);
            let found = self.spans_up_to(&Written::by(&writer.stream)).map_err(|error| error.to_string())?;
            maker.fill(&log, &found, written.newest + 1, writer.stream.end).map_err(|error| error.to_string())?;
            let mut read_log = self.read_log.write().unwrap_or_else(PoisonError::into_inner);
            let epoch = read_log.epoch + 1;
            read_log.log = None;
            *read_log = ReadLog { log: Some(maker.swap(log).map_err(|error| error.to_string())?), epoch };
            writer.heads.clear();
            self.places.forget_all();
            Ok(())
        };
        made().map_err(|reason| self.doubt(&reason)).is_ok()
    }
}
