//! How a store is opened, and what opening it found.

use std::sync::Arc;
use std::time::Duration;

use crate::fault::FaultPlan;

/// How a [`crate::Store`] works.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// New commits are refused while the file system has fewer free bytes; half as many, 32 MiB at most, are kept in a file, to be given up for
    /// sled where others have filled the disk. Default 64 MiB.
    pub reserve_bytes: u64,
    /// The bytes after which a segment is sealed and the next one begun; a single group may be longer. Default 64 MiB.
    pub segment_bytes: u64,
    /// How often what sled holds is brought to disk, so that a start has less to do. Default 5 seconds.
    pub checkpoint_interval: Duration,
    /// sled's page cache. Default 64 MiB.
    pub sled_cache_bytes: u64,
    /// A body with more bytes is a file of its own. Default 1 MiB.
    pub large_body_bytes: u64,
    /// How many of the newest commits a start looks for in sled, with their records. Default 20,000.
    pub checked_commits: u64,
    /// Faults on purpose, for tests.
    pub faults: Option<Arc<FaultPlan>>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        const MEBIBYTE: u64 = 1024 * 1024;
        Self {
            reserve_bytes: 64 * MEBIBYTE,
            segment_bytes: 64 * MEBIBYTE,
            checkpoint_interval: Duration::from_secs(5),
            sled_cache_bytes: 64 * MEBIBYTE,
            large_body_bytes: crate::journal::LARGE_BODY_BYTES,
            checked_commits: 20_000,
            faults: None,
        }
    }
}

/// What opening a store found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// What is worth saying, as sentences; empty where all was in order.
    pub sentences: Vec<String>,
    /// Commits that were applied to sled again.
    pub reapplied_commits: u64,
    /// Bytes of an unfinished group that were cut off.
    pub cut_bytes: u64,
    /// Records of damaged segments that were mended from sled.
    pub healed_records: u64,
    /// Whether sled was made again from the segments.
    pub is_rebuilt: bool,
}

impl OpenReport {
    pub(crate) fn say(&mut self, sentence: String) {
        self.sentences.push(sentence);
    }
}
