//! When something must not go on: the end of the server that can no longer keep its promises (BYE to all, exit 75; the next start decides from the disk), and the
//! pause of an actor that dies again and again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::refusal::Fault;

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

/// Deaths of one actor: after three within a minute it is not started again for a minute.
#[derive(Clone, Debug, Default)]
pub struct Deaths(VecDeque<Instant>);

impl Deaths {
    const MANY: usize = 3;
    const PERIOD: Duration = Duration::from_secs(60);

    /// It was found dead.
    pub fn note(&mut self) {
        self.0.push_back(Instant::now());
        if self.0.len() > Self::MANY {
            self.0.pop_front();
        }
    }

    /// Whether it may be started now.
    ///
    /// # Errors
    /// `Unavailable` for a minute after the third death in a minute.
    pub fn may_start(&self) -> Result<(), Fault> {
        match (self.0.front(), self.0.back()) {
            (Some(first), Some(last))
                if self.0.len() == Self::MANY && *last - *first <= Self::PERIOD && last.elapsed() < Self::PERIOD =>
            {
                Err(Fault::Unavailable("it failed three times within a minute".to_owned()))
            }
            _ => Ok(()),
        }
    }
}
