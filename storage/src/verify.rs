//! `log verify`: walks all segments and sled, says what is damaged and whose it is, and mends what can be mended.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::PoisonError;

use bytes::Bytes;

use crate::apply::{Applier, contents};
use crate::body;
use crate::error::ReadError;
use crate::format::BodyPlace;
use crate::heal::{self, Healer, Mendable, Salvaged};
use crate::record::{BodyHash, CommitNumber, Head, LogId, Position, Record};
use crate::recovery;
use crate::scan::Found;
use crate::sled::{LogError, SledLog};
use crate::store::{ReadLog, Shared, Store, Writer, lock};
use crate::stream::{Group, WriteError};
use crate::survey::{Damage, Span, examine_with, footer, spans};

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
    /// records from sled, and a sled that is wrong is made again. The store goes on serving; appends wait only while something is mended.
    ///
    /// # Errors
    /// The disk failed; what is merely damaged is in the report.
    pub fn verify(&self, is_healing: bool) -> Result<VerifyReport, ReadError> {
        let shared = &self.shared;
        let (number, end, newest) = {
            let writer = lock(&shared.writer);
            (writer.stream.number, writer.stream.end, writer.stream.newest)
        };
        let mut found = shared.spans()?;
        found.retain(|span| span.number <= number);
        if let Some(last) = found.last_mut() {
            last.end = end;
        }
        let mut check =
            Check { shared, report: VerifyReport::default(), heads: HashMap::new(), doubts: Vec::new(), large: HashSet::new() };
        let damages = check.walk(&found, newest)?;
        check.heads()?;
        let Check { mut report, doubts, .. } = check;
        report.segments = found.len() as u64;
        report.bytes = found.iter().map(|span| span.end).sum();
        for damage in &damages {
            report.findings.push(shared.describe(&found, damage)?);
        }
        if is_healing && !damages.is_empty() {
            shared.heal(&mut report.findings)?;
        }
        if !doubts.is_empty() {
            let can_heal = is_healing && report.findings.iter().all(|finding| finding.is_healed || finding.records.is_empty());
            let is_healed = can_heal && shared.remake()?;
            report.findings.extend(doubts.into_iter().map(|finding| Finding { is_healed, ..finding }));
        }
        Ok(report)
    }
}

impl Check<'_> {
    fn walk(&mut self, spans: &[Span], newest: CommitNumber) -> Result<Vec<Damage>, ReadError> {
        let identity = *self.shared.identity();
        let examination = examine_with(spans, 0, &identity, newest, &mut |span, found| {
            if let Found::Group { offset, payload, .. } = found {
                self.group(span, *offset, payload).map_err(io::Error::other)?;
            }
            Ok(())
        });
        let mut examination = examination.map_err(failed)?;
        self.report.groups = examination.groups;
        // All of it was written by this process: what looks like a torn tail is a note or a body whose damage no commit tells of.
        if examination.torn_bytes > 0 {
            let (start, end) = (examination.cut, examination.cut + examination.torn_bytes);
            examination.damages.push(Damage::without_commits(spans.len().saturating_sub(1), start, end, newest + 1));
        }
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
            self.shared
                .shelf
                .file(hash, place)
                .map_err(failed)
                .and_then(|file| body::read(&file, place, hash, self.shared.identity()))
                .ok()
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

impl Shared {
    fn spans(&self) -> Result<Vec<Span>, ReadError> {
        spans(&self.home.directory.join("segments"), self.identity()).map_err(failed)
    }

    /// Asks sled without ending the server where it is wrong: that is what is being found out.
    fn peek<T>(&self, ask: impl Fn(&SledLog) -> Result<T, LogError>) -> Result<T, LogError> {
        let read_log = self.read_log.read().unwrap_or_else(PoisonError::into_inner);
        read_log.log.as_ref().map_or_else(|| Err(LogError::Full("sled is not open".into())), ask)
    }

    fn read_whole(&self, hash: BodyHash) -> Result<Bytes, ReadError> {
        let place = self.peek(|log| log.place(hash)).map_err(failed)?.ok_or(ReadError::NoSuchBody)?;
        let file = self.shelf.file(hash, &place).map_err(failed)?;
        body::read(&file, &place, hash, self.identity())
    }

    /// The records and bodies that a damaged part holds.
    fn describe(&self, spans: &[Span], damage: &Damage) -> Result<Finding, ReadError> {
        let span = spans.get(damage.span);
        let number = span.map_or(0, |span| span.number);
        let mut records = Vec::new();
        for commit in damage.lost().take(100_000) {
            records.extend(self.peek(|log| log.commit(commit)).unwrap_or_default().unwrap_or_default());
        }
        let mut bodies = self.peek(|log| log.bodies_in(number, damage.start, damage.end)).unwrap_or_default();
        let named = span.map(|span| footer(span, self.identity())).transpose().map_err(failed)?.unwrap_or_default();
        let is_inside = |place: &BodyPlace| place.offset < damage.end && place.offset.saturating_add(place.stored) > damage.start;
        bodies.extend(named.into_iter().filter(|(_, place)| is_inside(place)).map(|(hash, _)| hash));
        bodies.sort_unstable();
        bodies.dedup();
        bodies.retain(|hash| self.read_whole(*hash).is_err());
        let what = format!(
            "segment {number}, bytes {} to {}: damaged; {} records and {} bodies lay there",
            damage.start,
            damage.end,
            records.len(),
            bodies.len()
        );
        Ok(Finding { what, records, bodies, is_healed: false })
    }

    /// Writes damaged parts anew. Appends wait: the end of the newest segment must not move, and that segment is sealed first.
    fn heal(&self, findings: &mut [Finding]) -> Result<(), ReadError> {
        let mut writer = lock(&self.writer);
        writer.stream.roll().map_err(|error| match error {
            WriteError::Refused { reason, .. } => ReadError::Failed(reason),
            WriteError::Unknown(reason) => {
                self.end(&reason);
                ReadError::Failed(reason)
            }
        })?;
        let found = self.spans()?;
        let known = writer.stream.newest;
        let examination = crate::survey::examine(&found, 0, self.identity(), known).map_err(failed)?;
        let mut displaced = Vec::new();
        let mut by_span: Vec<(usize, Vec<Mendable>)> = Vec::new();
        let mut is_all = true;
        for damage in examination.damages {
            let Ok(Some(records)) = self.peek(|log| heal::records(log, damage.lost())) else {
                is_all = false;
                continue;
            };
            match by_span.last_mut() {
                Some((span, list)) if *span == damage.span => list.push((damage, records)),
                _ => by_span.push((damage.span, vec![(damage, records)])),
            }
        }
        let healer = Healer { files: &self.files, directory: &self.home.directory, identity: self.identity() };
        for (index, damages) in by_span {
            let end = index.checked_sub(1).and_then(|before| found.get(before)).map_or(0, |before| before.end);
            let first = damages.first().map_or(0, |(damage, _)| damage.first.saturating_sub(1));
            if let Some(span) = found.get(index) {
                displaced.extend(healer.span(span, (end, first), &damages).map_err(failed)?.displaced);
            }
        }
        self.shelf.forget();
        self.places.forget();
        self.put_again(&mut writer, displaced)?;
        findings.iter_mut().for_each(|finding| finding.is_healed = is_all);
        Ok(())
    }

    /// Writes bodies that had to make room at the end of the stream.
    fn put_again(&self, writer: &mut Writer, bodies: Vec<Salvaged>) -> Result<(), ReadError> {
        let mut group = Group::new(writer.stream.newest + 1);
        bodies.iter().for_each(|body| group.stored_body(body.hash, &body.content, body.length));
        if group.is_empty() {
            return Ok(());
        }
        let places = writer.stream.write(&mut group).map_err(|error| match error {
            WriteError::Refused { reason, .. } | WriteError::Unknown(reason) => ReadError::Failed(reason),
        })?;
        self.peek(|log| Applier::new(log, self.identity(), group.first).written(&group, &places)).map_err(failed)
    }

    /// Makes sled again from the segments while readers wait.
    fn remake(&self) -> Result<bool, ReadError> {
        let mut writer = lock(&self.writer);
        let found = self.spans()?;
        let mut read_log = self.read_log.write().unwrap_or_else(PoisonError::into_inner);
        let epoch = read_log.epoch + 1;
        read_log.log = None;
        match recovery::remake(&self.home, &self.options, &self.files, &found, writer.stream.end) {
            Ok((log, _)) => {
                *read_log = ReadLog { log: Some(log), epoch };
                writer.heads.clear();
                self.places.forget();
                Ok(true)
            }
            Err(error) => {
                drop(read_log);
                self.doubt(&error.to_string());
                Ok(false)
            }
        }
    }
}
