//! IDLE (RFC 9051 §6.3.13): entering it is a catch-up, so no change falls between the last command and the first push.

use std::time::Duration;

use carillon_protocol::command::Expunges;
use carillon_protocol::frame::Step;
use carillon_protocol::response::{Response, Untagged};
use tokio::time::{Instant, sleep_until};

use super::super::reply::{self, Ending, Farewell, Reply};
use super::super::serve::Event;
use super::super::state::Session;

/// A look that failed is tried again after this long: the bell that asked for it does not ring again.
const RETRY: Duration = Duration::from_secs(1);

/// IDLE, with or without a selected mailbox, until DONE.
pub async fn idle(session: &mut Session) -> Reply {
    session.set_idling(true);
    let reply = push_until_done(session).await;
    session.set_idling(false);
    reply
}

impl Session {
    fn set_idling(&mut self, is_idling: bool) {
        self.is_idling = is_idling;
        self.doors.core.directory.session_changed(self.info());
    }
}

async fn push_until_done(session: &mut Session) -> Reply {
    session.catch_up(Expunges::Tell).await?;
    session.send(&Response::Continuation("idling".to_owned()));
    session.connection.frames().expect_line();
    let mut retry_at = None;
    loop {
        // All output goes out before the wait; a wait that is cut off by a bell loses no input.
        session.connection.flush().await?;
        let heartbeat_at = session.connection.last_output() + session.doors.core.limits.heartbeat;
        let wake_at = retry_at.unwrap_or(heartbeat_at).min(heartbeat_at);
        let event = tokio::select! {
            biased;
            event = session.event() => Some(event?),
            () = sleep_until(wake_at) => None,
        };
        match event {
            Some(Event::Step(Step::Line(line))) if line.eq_ignore_ascii_case(b"DONE") => return Ok(reply::ok("Idled")),
            Some(Event::Step(_)) => return Err(Ending::Bad("Expected DONE")),
            Some(Event::Bell) if session.bells.farewell().is_some() => return Ok(reply::ok("Idled")),
            Some(Event::Autologout) => {
                session.bells.stop(Farewell::Timeout);
                return Ok(reply::ok("Idled for too long"));
            }
            Some(Event::Bell) => retry_at = push(session).await?,
            None if wake_at == heartbeat_at => session.tell(&Untagged::Status(reply::ok("Still here"))),
            None => retry_at = push(session).await?,
        }
    }
}

/// Tells what changed; or when to try again, where it cannot be known now (the mailbox's actor died again and again, the disk fails).
async fn push(session: &mut Session) -> Result<Option<Instant>, Ending> {
    match session.catch_up(Expunges::Tell).await {
        Ok(()) => Ok(None),
        Err(Ending::Refused(refusal)) => {
            tracing::warn!(?refusal, "nothing can be pushed now");
            Ok(Some(Instant::now() + RETRY))
        }
        Err(ending) => Err(ending),
    }
}
