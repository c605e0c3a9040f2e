//! What the binary and the tests start: the journal's actor and the directory, from which everything else follows.

use std::sync::Arc;

use carillon_storage::Journal;

use crate::clock::Clock;
use crate::directory::actor::{DirectoryActor, DirectoryHandle, Tools};
use crate::fault::Ending;
use crate::id::Ids;
use crate::journal::actor::{JournalActor, JournalHandle};
use crate::limits::Limits;
use crate::placement::Placement;
use crate::session::message::Source;

/// The server without its doors.
#[derive(Clone)]
pub struct Core {
    /// Accounts, and who is connected.
    pub directory: DirectoryHandle,
    /// What is durable.
    pub journal: JournalHandle,
    /// What messages say.
    pub source: Source,
    /// Where things run.
    pub placement: Placement,
    /// The time of day.
    pub clock: Clock,
    /// New ids.
    pub ids: Ids,
    /// The bounds.
    pub limits: Arc<Limits>,
    ending: Ending,
}

impl Core {
    /// Starts on the calling thread, which must be an actix system's.
    pub fn start(journal: Arc<dyn Journal>, placement: Placement, clock: Clock, ids: Ids, limits: Limits) -> Self {
        let (ending, limits) = (Ending::default(), Arc::new(limits));
        let source = Source::new(Arc::clone(&journal), limits.glance_bytes);
        let journal = JournalActor::start(journal, &placement, &ending);
        let tools = Tools { journal: journal.clone(), clock: clock.clone(), ids: ids.clone(), limits: Arc::clone(&limits) };
        let directory = DirectoryActor::start(tools, &ending);
        Self { directory, journal, source, placement, clock, ids, limits, ending }
    }

    /// Waits until the server can no longer keep its promises: why. It must end then, with [`DirectoryHandle::end`] and exit code 75.
    pub async fn ended(&self) -> String {
        self.ending.wait().await
    }

    /// Tells everybody that the server must end, and why.
    pub fn fail(&self, reason: impl Into<String>) {
        self.ending.trigger(reason);
    }
}
