//! The end of the server when it can no longer keep its promises: BYE to all, exit 75; the next start decides from the disk.

use std::sync::Arc;

use tokio::sync::watch;

/// Whether the server must end, and why: the first reason stays. Clones share it.
#[derive(Clone, Debug)]
pub struct Ending(Arc<watch::Sender<Option<String>>>);

impl Default for Ending {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Ending {
    /// The server must end.
    pub fn trigger(&self, reason: impl Into<String>) {
        self.0.send_if_modified(|first| {
            let is_first = first.is_none();
            if is_first {
                let reason = reason.into();
                tracing::error!(reason, "the server ends");
                *first = Some(reason);
            }
            is_first
        });
    }

    /// Why the server must end, if it must.
    pub fn reason(&self) -> Option<String> {
        self.0.borrow().clone()
    }

    /// Waits until the server must end: why.
    pub async fn wait(&self) -> String {
        let mut changes = self.0.subscribe();
        let reason = changes.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        reason.unwrap_or_default()
    }
}

/// Held by an actor without which nothing goes: its death is the server's end.
#[derive(Debug)]
pub struct Indispensable {
    ending: Ending,
    who: &'static str,
    is_done: bool,
}

impl Indispensable {
    /// `who` is the actor's name.
    pub fn new(ending: Ending, who: &'static str) -> Self {
        Self { ending, who, is_done: false }
    }

    /// The actor's work is done: it may go.
    pub fn done(&mut self) {
        self.is_done = true;
    }
}

impl Drop for Indispensable {
    fn drop(&mut self) {
        if !self.is_done {
            self.ending.trigger(format!("the {} is gone", self.who));
        }
    }
}
