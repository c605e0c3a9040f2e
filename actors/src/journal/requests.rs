//! What the journal's actor can be asked.

use carillon_storage::{CommitList, LogId};

/// Make these commits durable, all or none.
#[derive(Debug)]
pub struct Append(pub CommitList);

/// Answer when every commit that was accepted so far and writes to this log is decided.
#[derive(Debug)]
pub struct Settle(pub LogId);

/// Finish what was accepted, leave a checkpoint, accept nothing more.
#[derive(Debug)]
pub struct Close;
