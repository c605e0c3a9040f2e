//! How sled is asked, and opened anew where it met a full disk; how a body is read.

use std::fs::File;
use std::io::ErrorKind;
use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;

use crate::error::ReadError;
use crate::format::{BodyPlace, HEADER_LENGTH};
use crate::record::{BodyHash, LogId};
use crate::remake::{Maker, apply_from};
use crate::sled::{Change, LogError, SledLog, broken};
use crate::store::{ReadLog, Shared, Writer, lock};
use crate::survey::{search_footers, span_before, spans};

/// How often a sled that met a full disk is opened anew before the server ends; half a second lies between.
const REOPENINGS: u32 = 60;

impl Shared {
    pub(crate) fn with_log<T>(&self, ask: impl Fn(&SledLog) -> Result<T, LogError>) -> (u64, Result<T, LogError>) {
        let read_log = self.read_log.read().unwrap_or_else(PoisonError::into_inner);
        let asked = match &read_log.log {
            Some(log) => ask(log),
            None => Err(LogError::Full("sled is not open".into())),
        };
        (read_log.epoch, asked)
    }

    fn ask_or<T>(
        &self,
        ask: impl Fn(&SledLog) -> Result<T, LogError>,
        reopen: impl FnOnce(u64) -> Result<(), String>,
    ) -> Result<T, ReadError> {
        let (epoch, mut asked) = self.with_log(&ask);
        if matches!(asked, Err(LogError::Full(_))) && reopen(epoch).is_ok() {
            asked = self.with_log(&ask).1;
        }
        asked.map_err(|error| match error {
            LogError::Full(text) => ReadError::Failed(text),
            LogError::Broken(text) => {
                self.doubt(&text);
                ReadError::Damaged(text)
            }
        })
    }

    /// Asks sled; one that met a full disk is opened anew first, which whoever asks as the writer would wait for for ever: see [`Self::ask_as_writer`].
    pub(crate) fn ask<T>(&self, ask: impl Fn(&SledLog) -> Result<T, LogError>) -> Result<T, ReadError> {
        self.ask_or(ask, |epoch| self.reopen(&lock(&self.writer), epoch))
    }

    /// The same for whoever holds the writer.
    pub(crate) fn ask_as_writer<T>(
        &self,
        writer: &Writer,
        ask: impl Fn(&SledLog) -> Result<T, LogError>,
    ) -> Result<T, ReadError> {
        self.ask_or(ask, |epoch| self.reopen(writer, epoch))
    }

    /// Changes sled behind a durable group. Where that fails in the end the server must end: what is durable is never answered with NO.
    pub(crate) fn apply(&self, writer: &Writer, change: impl Fn() -> Change) -> Result<(), String> {
        let (epoch, applied) = self.with_log(|log| log.apply(change()));
        match applied {
            Ok(()) => Ok(()),
            // Reopening applies everything since the checkpoint, this group too.
            Err(LogError::Full(_)) => self.reopen(writer, epoch),
            Err(LogError::Broken(text)) => {
                self.doubt(&text);
                Err(text)
            }
        }
    }

    /// Opens sled anew after it met a full disk and applies everything since the checkpoint; readers wait meanwhile.
    pub(crate) fn reopen(&self, writer: &Writer, epoch: u64) -> Result<(), String> {
        let mut read_log = self.read_log.write().unwrap_or_else(PoisonError::into_inner);
        if read_log.epoch != epoch {
            return Ok(());
        }
        tracing::warn!("sled met a full disk: it is opened anew");
        read_log.log = None;
        self.ballast.release();
        let reopened = self.reopened(writer);
        self.ballast.take();
        match reopened {
            Ok(log) => {
                *read_log = ReadLog { log: Some(log), epoch: epoch + 1 };
                Ok(())
            }
            Err(reason) => {
                self.doubt(&reason);
                Err(reason)
            }
        }
    }

    fn reopened(&self, writer: &Writer) -> Result<SledLog, String> {
        let mut reason = String::new();
        for attempt in 0..REOPENINGS {
            if attempt > 0 {
                std::thread::sleep(Duration::from_millis(500));
            }
            match self.opened_anew(writer) {
                Ok(log) => return Ok(log),
                Err(LogError::Full(text)) => reason = text,
                Err(LogError::Broken(text)) => return Err(text),
            }
        }
        Err(reason)
    }

    fn opened_anew(&self, writer: &Writer) -> Result<SledLog, LogError> {
        let log = Maker { home: &self.home, options: &self.options, files: &self.files }.open_current()?;
        let (first, stream) = (writer.stream.checkpoint + 1, &writer.stream);
        if log.newest()? < stream.checkpoint {
            return broken("it ends before the checkpoint");
        }
        let spans = spans(&self.home.directory.join("segments"), self.identity());
        let spans = spans.map_err(|error| LogError::Broken(error.to_string()))?;
        apply_from(&log, &self.home, &spans, (span_before(&spans, first), HEADER_LENGTH), first, stream.end)?;
        match log.newest()? {
            newest if newest == stream.newest => Ok(log),
            newest => broken(format!("it ends at commit {newest}, not at {}", stream.newest)),
        }
    }

    /// Waits until no append under way writes to the log, so that a reader sees all that was accepted before it asked.
    pub(crate) fn wait_for(&self, log: LogId) {
        let mut in_flight = lock(&self.in_flight);
        while in_flight.contains(&log) {
            in_flight = self.landed.wait(in_flight).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Where a body lies, from memory or from sled.
    pub(crate) fn place(&self, hash: BodyHash) -> Result<Option<BodyPlace>, ReadError> {
        if let Some(place) = self.places.get(hash) {
            return Ok(Some(place));
        }
        let place = self.ask(|log| log.place(hash))?;
        if let Some(place) = place {
            self.places.put(hash, place);
        }
        Ok(place)
    }

    /// Reads a body by `read`. A place that turns out wrong is asked of sled again: healing may have made the file anew. What sled does not know is looked up
    /// in the segments themselves before it is called missing.
    pub(crate) fn read_body(
        &self,
        hash: BodyHash,
        read: impl Fn(&File, &BodyPlace) -> Result<Bytes, ReadError>,
    ) -> Result<Bytes, ReadError> {
        let open = |place: &BodyPlace| {
            let (file, place) = self.shelf.file(hash, place, self.identity()).map_err(|error| match error.kind() {
                ErrorKind::NotFound => ReadError::Damaged(format!("the file of body {hash} is missing")),
                ErrorKind::InvalidData => ReadError::Damaged(format!("the head of body {hash}")),
                _ => ReadError::Failed(error.to_string()),
            })?;
            read(&file, &place)
        };
        let Some(place) = self.place(hash)? else {
            // One that arrives has a file before a commit names it.
            if let Ok((_, place)) = self.shelf.large(hash, self.identity()) {
                return open(&place);
            }
            let place = self.search(hash)?.ok_or(ReadError::NoSuchBody)?;
            let bytes = open(&place)?;
            self.doubt(&format!("it lacks the place of body {hash}"));
            return Ok(bytes);
        };
        let first = open(&place);
        if !matches!(first, Err(ReadError::Damaged(_))) {
            return first;
        }
        self.shelf.forget();
        self.places.forget(hash);
        match self.ask(|log| log.place(hash))? {
            Some(place) => open(&place).inspect(|_| self.places.put(hash, place)),
            None => first,
        }
    }

    /// Looks for a body in the index of the newest segment and in all others.
    fn search(&self, hash: BodyHash) -> Result<Option<BodyPlace>, ReadError> {
        let newest = lock(&self.writer).stream.index.iter().find(|(known, _)| *known == hash).map(|(_, place)| *place);
        if newest.is_some() {
            return Ok(newest);
        }
        let directory = self.home.directory.join("segments");
        search_footers(&directory, self.identity(), hash).map_err(|error| ReadError::Failed(error.to_string()))
    }
}
