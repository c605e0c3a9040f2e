//! IDLE (RFC 9051 §6.3.13): entering it is a catch-up, so no change falls between the last command and the first push.

use carillon_protocol::command::Expunges;
use carillon_protocol::frame::Step;
use carillon_protocol::response::{Response, Untagged};
use tokio::time::{Instant, sleep_until};

use super::super::reply::{self, Ending, Farewell, Reply};
use super::super::state::Session;

/// What ended a wait in IDLE.
enum Event {
    Input(Step),
    Bell,
    Heartbeat,
    Autologout,
}

/// IDLE, with or without a selected mailbox, until DONE.
pub async fn idle(session: &mut Session) -> Reply {
    session.catch_up(Expunges::Tell).await?;
    session.send(&Response::Continuation("idling".to_owned()));
    session.connection.frames().expect_line();
    let autologout = session.autologout();
    let heartbeat = session.doors.core.limits.heartbeat;
    let mut next_heartbeat = Instant::now() + heartbeat;
    loop {
        // All output goes out before the wait; a wait that is cut off by a bell loses no input.
        session.connection.flush().await?;
        let bells = session.bells.clone();
        let event = tokio::select! {
            biased;
            step = session.connection.step() => Event::Input(step?),
            () = bells.changed() => Event::Bell,
            () = sleep_until(next_heartbeat) => Event::Heartbeat,
            () = sleep_until(autologout) => Event::Autologout,
        };
        match event {
            Event::Input(Step::Line(line)) if line.eq_ignore_ascii_case(b"DONE") => return Ok(reply::ok("Idled")),
            Event::Input(_) => return Err(Ending::Bad("Expected DONE")),
            Event::Bell => {
                if bells.farewell().is_some() {
                    return Ok(reply::ok("Idled"));
                }
                session.catch_up(Expunges::Tell).await?;
            }
            Event::Heartbeat => session.tell(&Untagged::Status(reply::ok("Still here"))),
            Event::Autologout => {
                session.bells.stop(Farewell::Timeout);
                return Ok(reply::ok("Idled for too long"));
            }
        }
        if session.connection.has_output() {
            next_heartbeat = Instant::now() + heartbeat;
        }
    }
}
