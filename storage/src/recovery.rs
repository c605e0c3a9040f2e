//! How a start decides, alone: damage is mended; a torn tail is cut; what the segments hold since the checkpoint is applied again; a sled that is in doubt is made
//! again.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::OpenError;
use crate::files::{Files, read_up_to};
use crate::format::HEADER_LENGTH;
use crate::heal::{Healer, Verdict};
use crate::home::Home;
use crate::options::{OpenReport, StoreOptions};
use crate::record::CommitNumber;
use crate::remake::{Maker, apply_from};
use crate::segment;
use crate::sled::{LogError, SledLog};
use crate::stream::{Stream, StreamState};
use crate::survey::{Damage, Examination, Span, Tail, examine, span_before, spans};

/// The name of the file that tells the next start to make sled again.
pub(crate) const REBUILD: &str = "carillon.rebuild";

/// What a start has found and made whole.
pub(crate) struct Recovered {
    pub(crate) stream: Stream,
    pub(crate) log: SledLog,
    pub(crate) report: OpenReport,
}

/// Segments that were walked, and what they hold.
struct Ground {
    spans: Vec<Span>,
    found: Examination,
}

/// What has to be had of the segments.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    /// What lies behind the checkpoint: sled has the rest.
    Tail,
    /// Every record.
    All,
}

struct Recovery<'a> {
    home: &'a Home,
    options: &'a StoreOptions,
    files: &'a Files,
    report: OpenReport,
}

/// Opens what is in a data directory.
pub(crate) fn recover(home: &Home, options: &StoreOptions, files: &Files) -> Result<Recovered, OpenError> {
    let mut recovery = Recovery { home, options, files, report: OpenReport::default() };
    if home.is_healed {
        recovery.report.say("the store's metadata was missing or damaged: made again from the segments".into());
    }
    recovery.healer().tidy().map_err(|error| recovery.failed(&error))?;
    recovery.maker().clean().map_err(|error| recovery.failed(&error))?;
    if home.is_new { recovery.begin() } else { recovery.resume() }
}

fn unopened(error: LogError) -> OpenError {
    match error {
        LogError::Full(text) => OpenError::Full(format!("the disk is full: {text}")),
        LogError::Broken(text) => OpenError::Failed(format!("the log that is read could not be read: {text}")),
    }
}

impl Recovery<'_> {
    fn failed(&self, error: &io::Error) -> OpenError {
        OpenError::of(format!("{}: {error}", self.home.directory.display()), error)
    }

    fn segments(&self) -> PathBuf {
        self.home.directory.join("segments")
    }

    fn path(&self, span: &Span) -> PathBuf {
        self.segments().join(segment::name(span.number, span.generation))
    }

    fn healer(&self) -> Healer<'_> {
        Healer { files: self.files, directory: &self.home.directory, identity: &self.home.identity }
    }

    fn maker(&self) -> Maker<'_> {
        Maker { home: self.home, options: self.options, files: self.files }
    }

    /// A new store: its first segment makes it one.
    fn begin(self) -> Result<Recovered, OpenError> {
        // What a crash left of one that was never finished.
        let left = self.segments().join(segment::name(1, 0));
        self.files.remove(&left).map_err(|error| self.failed(&error))?;
        let stream = Stream::create(self.files.clone(), &self.segments(), self.home.identity, self.options.segment_bytes);
        let stream = stream.map_err(|error| self.failed(&error))?;
        self.home.found(self.files)?;
        let log = self.maker().open_current().map_err(unopened)?;
        Ok(Recovered { stream, log, report: self.report })
    }

    fn resume(mut self) -> Result<Recovered, OpenError> {
        let marker = self.home.directory.join(REBUILD);
        let marked = fs::read_to_string(&marker).ok();
        let had_sled = self.home.directory.join("sled").exists();
        let open = || self.maker().open_current().and_then(|log| log.newest().map(|newest| (log, newest)));
        let (opened, why) = match open() {
            Ok(opened) => (Some(opened), marked.map(LogError::Broken)),
            Err(LogError::Full(text)) => return Err(unopened(LogError::Full(text))),
            // Once more: it may still have what a damaged segment lacks.
            Err(error) => (open().ok(), Some(error)),
        };
        let need = if why.is_some() { Need::All } else { Need::Tail };
        let (log, known) = opened.map_or((None, 0), |(log, newest)| (Some(log), newest));
        let mut ground = self.survey(need, known, log.as_ref())?;
        self.cut(&ground)?;
        let caught_up = match (log, why) {
            (Some(log), None) => self.catch_up(log, &ground),
            (_, why) => Err(why.unwrap_or_else(|| LogError::Broken("it cannot be opened".into()))),
        };
        let log = match caught_up {
            Ok(log) => log,
            Err(LogError::Full(text)) => return Err(unopened(LogError::Full(text))),
            Err(why) => {
                if need == Need::Tail {
                    let old = self.maker().open_current().ok();
                    ground = self.survey(Need::All, known, old.as_ref())?;
                }
                self.remake(&ground, had_sled, &why)?
            }
        };
        self.files.remove(&marker).map_err(|error| self.failed(&error))?;
        let stream = self.stream(ground)?;
        Ok(Recovered { stream, log, report: self.report })
    }

    fn spans(&self) -> Result<Vec<Span>, OpenError> {
        let mut found = spans(&self.segments(), &self.home.identity)?;
        // A crash while a segment was made leaves a file without a whole header and without groups.
        if let Some(last) = found.last().filter(|last| last.number > 1)
            && last.header.is_none()
            && last.length <= HEADER_LENGTH
        {
            self.healer().keep(&self.path(last)).map_err(|error| self.failed(&error))?;
            found.pop();
        }
        if found.is_empty() {
            let text = format!("{} has no segments any more: restore segments/ from a backup", self.home.directory.display());
            return Err(OpenError::Damaged(text));
        }
        Ok(found)
    }

    /// Where a walk begins that looks for what lies behind the checkpoint.
    fn first_needed(spans: &[Span]) -> usize {
        let checkpoint = spans.iter().rev().find_map(|span| span.header).map_or(0, |header| header.checkpoint);
        let needed = span_before(spans, checkpoint + 1);
        // What can be seen to be missing is mended while sled has it.
        spans.iter().position(Span::is_visibly_damaged).map_or(needed, |damaged| damaged.min(needed))
    }

    /// Walks the segments and mends them; what is damaged still is not needed.
    fn survey(&mut self, need: Need, known: CommitNumber, log: Option<&SledLog>) -> Result<Ground, OpenError> {
        let (mut is_from_first, mut is_mended, mut torn_bytes) = (need == Need::All, false, 0);
        loop {
            let mut spans = self.spans()?;
            let from = if is_from_first { 0 } else { Self::first_needed(&spans) };
            let found = examine(&spans, from, &self.home.identity, Tail::Open(known), &mut |_, _| Ok(()));
            let mut found = found.map_err(|error| self.failed(&error))?;
            torn_bytes = found.torn_bytes.max(torn_bytes);
            if found.damages.is_empty() || is_mended {
                found.torn_bytes = torn_bytes;
                return Ok(Ground { spans, found });
            }
            if let Some(last) = spans.last_mut() {
                last.end = found.cut;
            }
            let verdicts = self.healer().heal(&spans, from, &found.damages, log).map_err(|error| self.failed(&error))?;
            let is_needed = |damage: &Damage| need == Need::All || damage.next > found.checkpoint + 1;
            let is_lost =
                |damage: &Damage, verdict: &Verdict| !verdict.is_mended && !damage.lost().is_empty() && is_needed(damage);
            let judged = || found.damages.iter().zip(&verdicts);
            judged().filter(|(_, verdict)| verdict.is_mended).for_each(|(damage, verdict)| self.tell(&spans, damage, verdict));
            match judged().find(|(damage, verdict)| is_lost(damage, verdict)) {
                // Records that others stand on may lie further in front.
                Some(_) if from > 0 => is_from_first = true,
                Some((_, Verdict { failure: Some(error), .. })) => return Err(unopened(error.clone())),
                Some((damage, verdict)) => {
                    let text = describe(&spans, damage, verdict);
                    let sled = if log.is_some() { "sled does not hold them" } else { "sled cannot be read" };
                    return Err(OpenError::Damaged(format!("{text}; {sled}; restore the file from a backup")));
                }
                None => {
                    let left = judged().filter(|(_, verdict)| !verdict.is_mended);
                    left.for_each(|(damage, verdict)| self.tell(&spans, damage, verdict));
                    is_mended = true;
                }
            }
        }
    }

    fn tell(&mut self, spans: &[Span], damage: &Damage, verdict: &Verdict) {
        self.report.say(describe(spans, damage, verdict));
        self.report.healed_records += verdict.from_sled as u64;
    }

    /// Cuts the torn tail, and makes sure that what is left is on disk before anybody is shown it.
    fn cut(&mut self, ground: &Ground) -> Result<(), OpenError> {
        let Some(last) = ground.spans.last() else { return Ok(()) };
        let found = &ground.found;
        if found.torn_bytes > 0 {
            let (number, bytes) = (last.number, found.torn_bytes);
            self.report.say(format!("segment {number}: {bytes} bytes of an unfinished group cut off; nobody was told of it"));
            self.report.cut_bytes += bytes;
        }
        let cut = || -> io::Result<()> {
            let file = File::options().read(true).write(true).open(self.path(last))?;
            if file.metadata()?.len() > found.cut {
                self.files.truncate(&file, found.cut)?;
            }
            // After a failed fsync the kernel calls pages clean that never reached the disk: writing them again makes the sync mean them.
            let from = found.synced_offset.min(found.cut);
            let tail = read_up_to(&file, from, usize::try_from(found.cut - from).unwrap_or(usize::MAX))?;
            self.files.write_at(&file, &tail, from)?;
            self.files.sync(&file)?;
            self.files.sync_directory(&self.segments())
        };
        cut().map_err(|error| self.failed(&error))
    }

    fn catch_up(&mut self, log: SledLog, ground: &Ground) -> Result<SledLog, LogError> {
        let (newest, found) = (log.newest()?, &ground.found);
        if newest < found.checkpoint {
            let text = format!("it ends at commit {newest}, but was on disk up to {}", found.checkpoint);
            return Err(LogError::Broken(text));
        }
        if let Some(place) = found.first_unapplied() {
            let first = found.checkpoint + 1;
            self.report.reapplied_commits = apply_from(&log, self.home, &ground.spans, place, first, found.cut)?;
        }
        if newest < found.newest {
            self.report.say(format!("{} commits were not in sled and were applied again", found.newest - newest));
        }
        log.check(self.options.checked_commits)?;
        Ok(log)
    }

    /// Puts sled aside and makes it again from the segments, under another name until it is whole and on disk.
    fn remake(&mut self, ground: &Ground, had_sled: bool, why: &LogError) -> Result<SledLog, OpenError> {
        let maker = self.maker();
        let log = maker.begin()?;
        let commits = maker.fill(&log, &ground.spans, 1, ground.found.cut)?;
        let log = maker.swap(log)?;
        let had = if had_sled { "was in doubt" } else { "was missing" };
        self.report.say(format!("sled {had} ({why}): made again from the segments, {commits} commits"));
        self.report.is_rebuilt = true;
        Ok(log)
    }

    fn stream(&self, ground: Ground) -> Result<Stream, OpenError> {
        let Ground { spans, found } = ground;
        let last = spans.last().ok_or_else(|| OpenError::Failed("no segment".into()))?;
        let file = File::options().read(true).write(true).open(self.path(last)).map_err(|error| self.failed(&error))?;
        let Examination { newest, checkpoint, cut, index, .. } = found;
        let state = StreamState { number: last.number, end: cut, newest, checkpoint, index };
        let (files, identity) = (self.files.clone(), self.home.identity);
        Ok(Stream::resume(files, &self.segments(), identity, self.options.segment_bytes, Arc::new(file), state))
    }
}

/// Where damage is, what became of it, and what it concerns.
fn describe(spans: &[Span], damage: &Damage, verdict: &Verdict) -> String {
    let number = spans.get(damage.span).map_or(0, |span| span.number);
    let mut text = format!("segment {number}, bytes {} to {}: damaged; ", damage.start, damage.end);
    let lost = damage.lost();
    let commits = format!("commits {} to {}", lost.start, lost.end.saturating_sub(1));
    if !verdict.is_mended && !lost.is_empty() {
        text += &format!("{commits} are lost there");
    } else if lost.is_empty() {
        text += "no record is missing";
    } else if verdict.from_sled > 0 {
        text += &format!("{} of {} records ({commits}) mended from sled", verdict.from_sled, verdict.records);
    } else {
        text += &format!("all {} records ({commits}) are whole", verdict.records);
    }
    let records = verdict.lost.iter().map(|(log, position)| format!("log {}/{:016x}#{position}", log.kind, log.id));
    let concerned: Vec<String> = records.chain(verdict.unreadable.iter().map(|hash| format!("body {hash}"))).collect();
    let shown = concerned.iter().take(10).map(String::as_str).collect::<Vec<_>>().join(", ");
    match concerned.len() {
        0 => text + "; `log verify` names what cannot be read",
        1..=10 => format!("{text}; it concerns {shown}"),
        more => format!("{text}; it concerns {shown} and {} more", more - 10),
    }
}
