//! Brings what sled holds to disk now and then, in a thread of its own, and notes in the segments up to which commit: a start applies only what is newer.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread::{Builder, JoinHandle};

use crate::sled::LogError;
use crate::store::{Shared, lock};
use crate::stream::{Group, WriteError};

/// Starts the thread; it ends when the store does.
pub(crate) fn start(shared: Arc<Shared>) -> io::Result<JoinHandle<()>> {
    Builder::new().name("checkpoint".into()).spawn(move || {
        while !wait(&shared) {
            take(&shared);
            if shared.room.check_arriving(0).is_ok() {
                shared.ballast.take();
            }
        }
    })
}

/// Sleeps for the interval; whether the store ends.
fn wait(shared: &Shared) -> bool {
    let is_stopping = lock(&shared.is_stopping);
    let waited = shared.stop.wait_timeout_while(is_stopping, shared.options.checkpoint_interval, |is_stopping| !*is_stopping);
    *waited.unwrap_or_else(PoisonError::into_inner).0
}

/// Takes a checkpoint, if there is anything new.
pub(crate) fn take(shared: &Shared) {
    if shared.fatal().is_some() {
        return;
    }
    // Read first: the flush covers at least this.
    let newest = shared.newest.load(Ordering::Acquire);
    if newest == lock(&shared.writer).stream.checkpoint {
        return;
    }
    // Others have filled the disk: sled would have to be opened anew after it, and what is not flushed is applied again at the next start.
    if shared.room.is_nearly_gone() {
        tracing::warn!("no checkpoint: the disk is full");
        return;
    }
    if let Err(error) = shared.ask(crate::sled::SledLog::flush) {
        tracing::warn!(%error, "no checkpoint: sled could not be flushed");
        return;
    }
    if let Err(error) = shared.files.sync_tree(&shared.home.directory.join("sled")) {
        // What the kernel could not write is not there at the next start, which then finds sled in doubt.
        shared.doubt(&LogError::Broken(format!("its files could not be synced: {error}")).to_string());
        return;
    }
    note(shared, newest);
}

fn note(shared: &Shared, newest: u64) {
    let mut writer = lock(&shared.writer);
    writer.stream.checkpoint = writer.stream.checkpoint.max(newest);
    let mut group = Group::new(writer.stream.newest + 1);
    match writer.stream.write(&mut group) {
        Ok(_) => {}
        // The note stands in the next group too.
        Err(WriteError::Refused { reason, .. }) => tracing::warn!(reason, "a checkpoint could not be noted"),
        Err(WriteError::Unknown(reason)) => shared.end(&reason),
    }
}
