//! How a start decides, alone: what the segments hold since the checkpoint is applied again; a sled that is in doubt is made again; a torn tail is cut;
//! damage is mended from sled or refused.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::apply::{Applier, bodies};
use crate::error::OpenError;
use crate::files::{Files, read_up_to};
use crate::format::{BodyPlace, EntryKind, HEADER_LENGTH, encode_record};
use crate::heal::{self, Healer, Mendable, Salvaged};
use crate::home::Home;
use crate::options::{OpenReport, StoreOptions};
use crate::record::{BodyHash, CommitNumber, Record};
use crate::scan::{Extent, Found, scan};
use crate::sled::{LogError, SledLog};
use crate::stream::{Group, Stream, StreamState, WriteError};
use crate::survey::{Damage, Examination, Span, examine, spans};

/// The name of the file that tells the next start to make sled again.
pub(crate) const REBUILD: &str = "carillon.rebuild";

/// What a start has found and made whole.
pub(crate) struct Recovered {
    pub(crate) stream: Stream,
    pub(crate) log: SledLog,
    pub(crate) report: OpenReport,
}

enum Trouble {
    Open(OpenError),
    Sled(LogError),
}

impl From<OpenError> for Trouble {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}
impl From<LogError> for Trouble {
    fn from(error: LogError) -> Self {
        Self::Sled(error)
    }
}
impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Open(failed(&error))
    }
}

fn failed(error: &io::Error) -> OpenError {
    OpenError::of(format!("the data directory: {error}"), error)
}

struct Recovery<'a> {
    home: &'a Home,
    options: &'a StoreOptions,
    files: &'a Files,
    report: OpenReport,
    had_sled: bool,
    /// To be written again at the end: records that only sled had, bodies that had to make room.
    rewrite: Vec<(Damage, Vec<Record>, Vec<Salvaged>)>,
}

/// Opens what is in a data directory.
pub(crate) fn recover(home: &Home, options: &StoreOptions, files: &Files) -> Result<Recovered, OpenError> {
    let mut recovery = Recovery { home, options, files, report: OpenReport::default(), had_sled: false, rewrite: Vec::new() };
    if home.is_healed {
        recovery.report.say("the store's metadata was missing or damaged: made again from the segments".into());
    }
    recovery.run().map_err(|trouble| match trouble {
        Trouble::Open(error) => error,
        Trouble::Sled(LogError::Full(text)) => OpenError::Full(format!("the log that is read could not be opened: {text}")),
        Trouble::Sled(error) => OpenError::Failed(format!("the log that is read could not be made: {error}")),
    })
}

impl Recovery<'_> {
    fn segments(&self) -> PathBuf {
        self.home.directory.join("segments")
    }

    fn sled_path(&self) -> PathBuf {
        self.home.directory.join("sled")
    }

    fn healer(&self) -> Healer<'_> {
        Healer { files: self.files, directory: &self.home.directory, identity: &self.home.identity }
    }

    fn open_sled(&self, path: &Path) -> Result<SledLog, LogError> {
        SledLog::open(path, self.options.sled_cache_bytes, &self.home.identity.store)
    }

    fn run(mut self) -> Result<Recovered, Trouble> {
        self.healer().tidy()?;
        let marker = self.home.directory.join(REBUILD);
        let marked = fs::read_to_string(&marker).ok();
        self.had_sled = self.sled_path().exists();
        let opened = self.open_sled(&self.sled_path()).and_then(|log| log.newest().map(|newest| (log, newest)));
        let mut spans = self.spans()?;
        if spans.is_empty() {
            return self.begin(opened);
        }
        let (opened, known) = match opened {
            Ok((log, newest)) => (Ok(log), newest),
            Err(error) => (Err(error), 0),
        };
        let from = self.first_needed(&spans);
        let examination = self.examine(&mut spans, from, known, opened.as_ref().ok())?;
        self.cut(&spans, &examination)?;
        // One that is marked may still have helped to mend, but is not served from.
        let opened = marked.map_or(opened, |why| Err(LogError::Broken(why)));
        let log = match opened.and_then(|log| self.catch_up(log, &spans, from, &examination)) {
            Ok(log) => log,
            Err(error) => self.rebuild(&mut spans, &error, known.min(examination.newest))?,
        };
        match fs::remove_file(&marker) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let mut stream = self.resume(&spans, &examination)?;
        self.write_again(&mut stream, &log)?;
        Ok(Recovered { stream, log, report: self.report })
    }

    /// A store without segments is new, or has lost everything that made it durable.
    fn begin(self, opened: Result<(SledLog, CommitNumber), LogError>) -> Result<Recovered, Trouble> {
        let log = match opened {
            Ok((_, newest)) if newest > 0 => {
                let text = format!("{} has no segments left, but its sled holds {newest} commits", self.home.directory.display());
                return Err(OpenError::Damaged(text).into());
            }
            Ok((log, _)) => log,
            Err(LogError::Broken(_)) if !self.home.is_new && self.sled_path().exists() => {
                let text = format!("{} has no segments left, and its sled cannot be opened", self.home.directory.display());
                return Err(OpenError::Damaged(text).into());
            }
            Err(error) => return Err(error.into()),
        };
        let stream = Stream::create(self.files.clone(), &self.segments(), self.home.identity, self.options.segment_bytes)?;
        Ok(Recovered { stream, log, report: self.report })
    }

    fn spans(&self) -> Result<Vec<Span>, Trouble> {
        let mut found = spans(&self.segments(), &self.home.identity)?;
        // A crash while a segment was made leaves a file without a whole header and without groups.
        if let Some(last) = found.last()
            && last.header.is_none()
            && last.length <= HEADER_LENGTH
        {
            self.healer().keep(&self.segments().join(crate::segment::name(last.number, last.generation)))?;
            found.pop();
        }
        Ok(found)
    }

    /// The last segment that begins before the newest checkpoint that a header tells of.
    fn first_needed(&self, spans: &[Span]) -> usize {
        let checkpoint = spans.iter().rev().find_map(|span| span.header).map_or(0, |header| header.checkpoint);
        spans.iter().rposition(|span| span.header.is_some_and(|header| header.predecessor_commit <= checkpoint)).unwrap_or(0)
    }

    /// Examines and mends; what is left is whole.
    fn examine(
        &mut self,
        spans: &mut Vec<Span>,
        from: usize,
        known: CommitNumber,
        log: Option<&SledLog>,
    ) -> Result<Examination, Trouble> {
        let mut examination = examine(spans, from, &self.home.identity, known)?;
        if examination.damages.is_empty() {
            return Ok(examination);
        }
        let mut mended = false;
        let damages = std::mem::take(&mut examination.damages);
        let mut by_span: Vec<(usize, Vec<Mendable>)> = Vec::new();
        for damage in damages {
            let records = self.lost_records(&damage, spans, log)?;
            if damage.is_at_end(spans, examination.cut) {
                let file = spans.get(damage.span).and_then(|span| span.file.as_ref());
                let salvaged = file.map(|file| heal::salvage(file, damage.start, damage.end, &self.home.identity)).transpose()?;
                (examination.cut, examination.newest) = (damage.start, damage.first - 1);
                self.rewrite.push((damage, records, salvaged.unwrap_or_default()));
                continue;
            }
            match by_span.last_mut() {
                Some((span, list)) if *span == damage.span => list.push((damage, records)),
                _ => by_span.push((damage.span, vec![(damage, records)])),
            }
        }
        for (index, damages) in by_span {
            self.mend(spans, index, &damages)?;
            mended = true;
        }
        if mended {
            let fresh = self.spans()?;
            *spans = fresh;
        }
        Ok(examination)
    }

    fn lost_records(&mut self, damage: &Damage, spans: &[Span], log: Option<&SledLog>) -> Result<Vec<Record>, Trouble> {
        let number = spans.get(damage.span).map_or(0, |span| span.number);
        let place = format!("segment {number}, bytes {} to {}", damage.start, damage.end);
        let lost = damage.lost();
        if lost.is_empty() {
            self.report.say(format!("{place}: damaged; no record is missing, `log verify` names the bodies that are"));
            return Ok(Vec::new());
        }
        let commits = format!("commits {} to {}", lost.start, lost.end - 1);
        // A sled that fails while it is asked has nothing.
        match log.map(|log| heal::records(log, lost)).transpose().unwrap_or_default().flatten() {
            Some(records) => {
                self.report.say(format!("{place}: damaged; {} records ({commits}) mended from sled", records.len()));
                self.report.healed_records += records.len() as u64;
                Ok(records)
            }
            None => {
                let text = format!("{place}: damaged, and sled does not hold {commits}; restore the file from a backup");
                Err(OpenError::Damaged(text).into())
            }
        }
    }

    fn mend(&mut self, spans: &[Span], index: usize, damages: &[Mendable]) -> Result<(), Trouble> {
        let Some(span) = spans.get(index) else { return Ok(()) };
        let end = index.checked_sub(1).and_then(|before| spans.get(before)).map_or(0, |before| before.end);
        let first = damages.first().map_or(0, |(damage, _)| damage.first.saturating_sub(1));
        let healed = self.healer().span(span, (end, first), damages)?;
        if let Some((damage, _)) = damages.first().filter(|_| !healed.displaced.is_empty()) {
            self.rewrite.push((damage.clone(), Vec::new(), healed.displaced));
        }
        Ok(())
    }

    /// Cuts the torn tail, and makes sure that what is left is on disk before anybody is shown it.
    fn cut(&mut self, spans: &[Span], examination: &Examination) -> Result<(), Trouble> {
        let Some(last) = spans.last() else { return Ok(()) };
        let path = self.segments().join(crate::segment::name(last.number, last.generation));
        let file = File::options().read(true).write(true).open(&path)?;
        if file.metadata()?.len() > examination.cut {
            if examination.torn_bytes > 0 {
                let bytes = examination.torn_bytes;
                self.report
                    .say(format!("segment {}: {bytes} bytes of an unfinished group cut off; nobody was told of it", last.number));
                self.report.cut_bytes += bytes;
            }
            if !self.rewrite.is_empty() {
                let name = format!("{}~tail", crate::segment::name(last.number, last.generation));
                fs::copy(&path, self.home.directory.join("damaged").join(name))?;
            }
            self.files.truncate(&file, examination.cut)?;
        }
        // After a failed fsync the kernel calls pages clean that never reached the disk: writing them again makes the sync mean them.
        let from = examination.synced_offset.min(examination.cut);
        let tail = read_up_to(&file, from, usize::try_from(examination.cut - from).unwrap_or(usize::MAX))?;
        file.write_all_at(&tail, from)?;
        self.files.sync(&file)?;
        self.files.sync_directory(&self.segments())?;
        Ok(())
    }

    fn catch_up(&mut self, log: SledLog, spans: &[Span], from: usize, examination: &Examination) -> Result<SledLog, LogError> {
        let newest = log.newest()?;
        if newest < examination.checkpoint {
            let text = format!("it ends at commit {newest}, but was on disk up to {}", examination.checkpoint);
            return Err(LogError::Broken(text));
        }
        let commits = apply_from(&log, self.home, spans, from, examination.checkpoint + 1, examination.cut)?;
        self.report.reapplied_commits = commits;
        if newest < examination.newest {
            self.report.say(format!("{} commits were not in sled and were applied again", examination.newest - newest));
        }
        log.check(self.options.checked_commits)?;
        Ok(log)
    }

    /// Puts sled aside and makes it again from the segments, under another name until it is whole and on disk.
    fn rebuild(&mut self, spans: &mut Vec<Span>, why: &LogError, known: CommitNumber) -> Result<SledLog, Trouble> {
        if let LogError::Full(text) = why {
            return Err(OpenError::Full(format!("the disk is full: {text}")).into());
        }
        let path = self.sled_path();
        let had = if self.had_sled { "was in doubt" } else { "was missing" };
        // The doubtful one may still have what a damaged segment lacks.
        let old = self.open_sled(&path).ok();
        let examination = self.examine(spans, 0, old.as_ref().map_or(0, |_| known), old.as_ref())?;
        drop(old);
        let (log, commits) = remake(self.home, self.options, self.files, spans, examination.cut)?;
        self.report.say(format!("sled {had} ({why}): made again from the segments, {commits} commits"));
        self.report.is_rebuilt = true;
        Ok(log)
    }

    fn resume(&self, spans: &[Span], examination: &Examination) -> Result<Stream, Trouble> {
        let Some(last) = spans.last() else { return Err(OpenError::Failed("no segment".into()).into()) };
        let path = self.segments().join(crate::segment::name(last.number, last.generation));
        let file = File::options().read(true).write(true).open(path)?;
        let index = index_of(&file, last.number, examination.cut, self.home)?;
        let state = StreamState {
            number: last.number,
            end: examination.cut,
            newest: examination.newest,
            checkpoint: examination.checkpoint,
            index,
        };
        let (files, identity) = (self.files.clone(), self.home.identity);
        Ok(Stream::resume(files, &self.segments(), identity, self.options.segment_bytes, Arc::new(file), state))
    }

    /// Writes again what only sled had, and bodies that had to make room.
    fn write_again(&mut self, stream: &mut Stream, log: &SledLog) -> Result<(), Trouble> {
        for (damage, records, bodies) in std::mem::take(&mut self.rewrite) {
            let mut group = Group::new(stream.newest + 1);
            for record in &records {
                let encoded = encode_record(record).map_err(|error| OpenError::Failed(error.to_string()))?;
                group.entry(EntryKind::Record, &encoded);
            }
            if damage.first == group.first {
                group.count = u32::try_from(damage.next - damage.first).unwrap_or(u32::MAX);
            }
            for body in bodies {
                group.stored_body(body.hash, &body.content, body.length);
            }
            if group.is_empty() {
                continue;
            }
            let places = stream.write(&mut group).map_err(|error| match error {
                WriteError::Refused { reason, .. } | WriteError::Unknown(reason) => OpenError::Failed(reason),
            })?;
            let mut applier = Applier::new(log, &self.home.identity, group.first);
            applier.written(&group, &places)?;
        }
        Ok(())
    }
}

/// Makes sled again from the segments, whose last one ends at `cut`: under another name until it is whole and on disk. How many commits that were.
pub(crate) fn remake(
    home: &Home,
    options: &StoreOptions,
    files: &Files,
    spans: &[Span],
    cut: u64,
) -> Result<(SledLog, u64), OpenError> {
    let (path, new) = (home.directory.join("sled"), home.directory.join("sled.new"));
    let open = |path: &Path| SledLog::open(path, options.sled_cache_bytes, &home.identity.store);
    let unmade = |error: LogError| OpenError::Failed(format!("the log that is read could not be made: {error}"));
    remove_tree(&new).map_err(|error| failed(&error))?;
    let log = open(&new).map_err(unmade)?;
    let commits = match apply_from(&log, home, spans, 0, 1, cut) {
        Err(LogError::Broken(text)) => return Err(OpenError::Damaged(format!("the segments contradict themselves: {text}"))),
        applied => applied.map_err(unmade)?,
    };
    log.flush().map_err(unmade)?;
    drop(log);
    // The last one that was put aside is kept, for whoever wants to know why.
    let aside = home.directory.join("damaged").join("sled");
    let swapped = sync_tree(&new).and_then(|()| {
        if path.exists() {
            remove_tree(&aside)?;
            fs::rename(&path, &aside)?;
        }
        fs::rename(&new, &path)?;
        files.sync_directory(&home.directory)
    });
    swapped.map_err(|error| failed(&error))?;
    Ok((open(&path).map_err(unmade)?, commits))
}

fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The bodies of a segment.
fn index_of(file: &File, segment: u64, end: u64, home: &Home) -> io::Result<Vec<(BodyHash, BodyPlace)>> {
    let mut index = Vec::new();
    let extent = Extent { file, identity: &home.identity, segment, from: HEADER_LENGTH, end };
    scan::<io::Error>(&extent, &mut |found| {
        if let Found::Group { offset, payload, .. } = found {
            let found = bodies(segment, offset, payload, &home.identity).map_err(io::Error::other)?;
            index.extend(found.places.into_iter().filter(|(_, place)| place.segment == segment));
        }
        Ok(())
    })?;
    Ok(index)
}

impl From<io::Error> for LogError {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

/// Applies the spans from index `from` to sled, from commit `first` on; the last one ends at `cut`. How many commits that were.
pub(crate) fn apply_from(
    log: &SledLog,
    home: &Home,
    spans: &[Span],
    from: usize,
    first: CommitNumber,
    cut: u64,
) -> Result<u64, LogError> {
    let mut applier = Applier::new(log, &home.identity, first);
    for (index, span) in spans.iter().enumerate().skip(from) {
        let Some(file) = &span.file else { continue };
        let end = if index + 1 == spans.len() { cut } else { span.end };
        let extent = Extent { file, identity: &home.identity, segment: span.number, from: HEADER_LENGTH, end };
        scan::<LogError>(&extent, &mut |found| match found {
            Found::Group { offset, header, payload } => applier.group(span.number, offset, &header, payload),
            Found::Damage { .. } => Ok(()),
        })?;
    }
    applier.finish()?;
    Ok(applier.commits)
}

/// fsync of every file below a directory, and of the directories.
pub(crate) fn sync_tree(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    File::open(path)?.sync_all()
}
