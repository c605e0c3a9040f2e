//! Puts what the segments hold into sled: what lies behind the checkpoint, or all of it into a new one that takes the old one's place.

use std::path::PathBuf;

use crate::apply::{Applier, ApplyError};
use crate::error::OpenError;
use crate::files::Files;
use crate::format::HEADER_LENGTH;
use crate::home::Home;
use crate::options::StoreOptions;
use crate::record::CommitNumber;
use crate::scan::{Extent, Found, scan};
use crate::sled::{LogError, SledLog, SledOptions};
use crate::survey::{Span, span_before};

/// Applies the spans from a place (span and offset) on to sled, from commit `first` on; the last one ends at `cut`. How many commits that were.
pub(crate) fn apply_from(
    log: &SledLog,
    home: &Home,
    spans: &[Span],
    (from, offset): (usize, u64),
    first: CommitNumber,
    cut: u64,
) -> Result<u64, ApplyError> {
    let mut applier = Applier::new(log, &home.identity, first);
    for (index, span) in spans.iter().enumerate().skip(from) {
        let Some(file) = &span.file else { continue };
        let from = if index == from { offset } else { HEADER_LENGTH };
        let end = if index + 1 == spans.len() { cut } else { span.end };
        let extent = Extent { file, identity: &home.identity, segment: span.number, from, end };
        scan::<ApplyError>(&extent, &mut |found| match found {
            Found::Group { offset, header, payload } => applier.group(span.number, offset, &header, payload),
            // The commits in it are found to be missing.
            Found::Damage { .. } => Ok(()),
        })?;
    }
    applier.finish()?;
    Ok(applier.commits)
}

/// What making sled anew needs.
#[derive(Clone, Copy)]
pub(crate) struct Maker<'a> {
    pub(crate) home: &'a Home,
    pub(crate) options: &'a StoreOptions,
    pub(crate) files: &'a Files,
}

fn unmade(error: LogError) -> OpenError {
    match error {
        LogError::Full(text) => OpenError::Full(format!("the disk is full: {text}")),
        LogError::Broken(text) => OpenError::Failed(format!("the log that is read could not be made: {text}")),
    }
}

impl Maker<'_> {
    fn path(&self) -> PathBuf {
        self.home.directory.join("sled")
    }

    fn new_path(&self) -> PathBuf {
        self.home.directory.join("sled.new")
    }

    fn open(&self, path: &std::path::Path) -> Result<SledLog, LogError> {
        let (cache_bytes, store) = (self.options.sled_cache_bytes, &self.home.identity.store);
        SledLog::open(path, &SledOptions { cache_bytes, store, files: self.files })
    }

    /// The one that is read.
    pub(crate) fn open_current(&self) -> Result<SledLog, LogError> {
        self.open(&self.path())
    }

    /// Removes what an earlier try left.
    pub(crate) fn clean(&self) -> std::io::Result<()> {
        self.files.remove_tree(&self.new_path())
    }

    /// An empty one beside the one that is read.
    pub(crate) fn begin(&self) -> Result<SledLog, OpenError> {
        self.clean().map_err(|error| self.failed(&error))?;
        self.open(&self.new_path()).map_err(unmade)
    }

    /// Applies commits from `first` on to a new sled, which has those before, and brings it to disk. How many they were.
    pub(crate) fn fill(&self, log: &SledLog, spans: &[Span], first: CommitNumber, cut: u64) -> Result<u64, OpenError> {
        let commits = match apply_from(log, self.home, spans, (span_before(spans, first), HEADER_LENGTH), first, cut) {
            Err(ApplyError::Segments(text)) => {
                return Err(OpenError::Damaged(format!("the segments contradict themselves: {text}")));
            }
            applied => applied.map_err(|error| unmade(error.into()))?,
        };
        log.flush().map_err(unmade)?;
        self.files.sync_tree(&self.new_path()).map_err(|error| self.failed(&error))?;
        Ok(commits)
    }

    /// Puts the new sled in the place of the one that was read. The last one that was put aside is kept, for whoever wants to know why.
    pub(crate) fn swap(&self, log: SledLog) -> Result<SledLog, OpenError> {
        drop(log);
        let (directory, files) = (&self.home.directory, self.files);
        let aside = directory.join("damaged").join("sled");
        let swap = || {
            if self.path().exists() {
                files.remove_tree(&aside)?;
                files.rename(&self.path(), &aside)?;
            }
            files.rename(&self.new_path(), &self.path())?;
            files.sync_directory(directory)
        };
        swap().map_err(|error| self.failed(&error))?;
        self.open_current().map_err(unmade)
    }

    fn failed(&self, error: &std::io::Error) -> OpenError {
        OpenError::of(format!("{}: {error}", self.home.directory.display()), error)
    }
}
