//! Bodies on their way to a commit: what is stored already is found, what is large or much becomes durable ahead of it.

use std::collections::HashSet;

use crate::body;
use crate::error::AppendError;
use crate::format::BodyPlace;
use crate::journal::AHEAD_BYTES;
use crate::large::{self, Desk};
use crate::record::{Body, BodyHash, BodySource};
use crate::sled::Change;
use crate::store::{Shared, lock};
use crate::stream::{Group, WriteError};

/// How many bytes are written ahead at a time: whatever others commit meanwhile waits for so many.
const AHEAD_GROUP_BYTES: usize = 2 * 1024 * 1024;

impl Shared {
    pub(crate) fn prepare(&self, bodies: &[Body]) -> Result<Vec<Body>, AppendError> {
        let is_large = |body: &Body| body.length > self.options.large_body_bytes;
        let together: u64 = bodies.iter().filter(|body| !is_large(body)).map(|body| body.length).sum();
        let mut ahead = Group::new(0);
        let mut met = HashSet::new();
        let mut prepared = Vec::with_capacity(bodies.len());
        for body in bodies {
            let mut source = BodySource::Stored;
            if body.source == BodySource::Stored || met.contains(&body.hash) || self.is_stored(body.hash, is_large(body)) {
                // Nothing is to be written.
            } else if is_large(body) {
                self.store_large(body)?;
            } else if together > AHEAD_BYTES {
                ahead.body(self.identity(), body.hash, &large::load(body)?);
                met.insert(body.hash);
                if ahead.len() >= AHEAD_GROUP_BYTES {
                    self.write_ahead(std::mem::replace(&mut ahead, Group::new(0)))?;
                }
            } else {
                source = BodySource::Memory(large::load(body)?);
            }
            prepared.push(Body { source, ..body.clone() });
        }
        self.write_ahead(ahead)?;
        Ok(prepared)
    }

    /// Whether a body is stored and can be read whole: one that is damaged is written again.
    fn is_stored(&self, hash: BodyHash, is_large: bool) -> bool {
        if self.places.whole(hash).is_some() {
            return true;
        }
        let place = self.ask(|log| log.place(hash)).ok().flatten();
        // The file of a large one may be there without a commit that names it.
        let own_file = is_large.then_some(BodyPlace { segment: 0, offset: 0, stored: 0, length: 0 });
        let Some(place) = place.or(own_file) else { return false };
        let Ok((file, place)) = self.shelf.file(hash, &place, self.identity()) else { return false };
        let is_whole = body::is_whole(&file, &place, hash, self.identity());
        if is_whole {
            self.places.put_whole(hash, place);
        }
        is_whole
    }

    /// Makes a body durable in a file of its own.
    fn store_large(&self, body: &Body) -> Result<(), AppendError> {
        self.room.check_arriving(body.length)?;
        let desk = Desk { files: &self.files, room: &self.room, identity: self.identity() };
        let place = large::store(&desk, &self.shelf, &self.spool.path(), body)?;
        self.places.put_whole(body.hash, place);
        Ok(())
    }

    /// Makes a group of bodies durable that no commit names yet.
    fn write_ahead(&self, mut group: Group) -> Result<(), AppendError> {
        if group.is_empty() {
            return Ok(());
        }
        self.room.check_arriving(group.len() as u64)?;
        let mut writer = lock(&self.writer);
        if let Some(reason) = self.fatal() {
            return Err(AppendError::Failed(reason));
        }
        group.first = writer.stream.newest + 1;
        let places = writer.stream.write(&mut group).map_err(|error| self.refusal(error))?;
        let change = || {
            let mut change = Change::default();
            places.iter().for_each(|(hash, place)| change.place(*hash, place));
            change
        };
        // Nobody is told of anything yet: where sled fails the server ends.
        self.apply(&writer, change).map_err(AppendError::Failed)?;
        places.iter().for_each(|(hash, place)| self.places.put_whole(*hash, *place));
        Ok(())
    }

    /// What becomes of a list or body whose group was not written.
    pub(crate) fn refusal(&self, error: WriteError) -> AppendError {
        match error {
            WriteError::Refused { is_full: true, .. } => AppendError::DiskFull,
            WriteError::Refused { reason, .. } => AppendError::Failed(reason),
            WriteError::Unknown(reason) => {
                self.end(&reason);
                AppendError::Unknown(reason)
            }
        }
    }
}
