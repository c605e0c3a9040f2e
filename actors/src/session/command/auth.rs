//! LOGIN and AUTHENTICATE (RFC 9051 §6.2.2 and §6.2.3, RFC 4616, RFC 4959, RFC 2221).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use carillon_protocol::frame::Step;
use carillon_protocol::response::{Response, ResponseCode, Status};
use carillon_protocol::text::Secret;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

use super::super::auth::Verdict;
use super::super::reply::{self, Ending, Farewell, Reply};
use super::super::serve::Event;
use super::super::state::Session;
use crate::refusal::Fault;

/// The longest line of an authentication exchange, in bytes of base64.
const MAX_LINE: usize = 8 << 10;
/// When a failed login is answered, counted from its command, times the failures of this connection: longer than a hash takes, so that the time says nothing
/// of the user.
const FAILED: Duration = Duration::from_millis(250);

/// LOGIN.
pub async fn login(session: &mut Session, user: String, password: Secret<Vec<u8>>) -> Reply {
    if !session.may_log_in_plainly() {
        return Ok(reply::no(ResponseCode::PrivacyRequired, "Use TLS first: STARTTLS, or the port for TLS"));
    }
    enter(session, user, password).await
}

/// AUTHENTICATE PLAIN and LOGIN.
pub async fn authenticate(session: &mut Session, mechanism: &str, initial: Option<Secret<Vec<u8>>>) -> Reply {
    if !matches!(mechanism, "PLAIN" | "LOGIN") {
        return Ok(reply::no(ResponseCode::Cannot, "The mechanisms are PLAIN and LOGIN"));
    }
    if !session.may_log_in_plainly() {
        return Ok(reply::no(ResponseCode::PrivacyRequired, "Use TLS first: STARTTLS, or the port for TLS"));
    }
    if !session.offers(&format!("AUTH={mechanism}")) {
        return Ok(reply::no(ResponseCode::Cannot, "This mechanism is switched off"));
    }
    if mechanism == "PLAIN" {
        let message = match initial {
            Some(message) => message,
            None => answer(session, "").await?,
        };
        let (user, password) = plain(message.expose())?;
        return enter(session, user, password).await;
    }
    // draft-murchison-sasl-login: the challenges are "Username:" and "Password:".
    let user = match initial {
        Some(user) => user,
        None => answer(session, "VXNlcm5hbWU6").await?,
    };
    let password = answer(session, "UGFzc3dvcmQ6").await?;
    enter(session, text(user.expose())?, password).await
}

/// One challenge and its answer, decoded.
async fn answer(session: &mut Session, challenge: &str) -> Result<Secret<Vec<u8>>, Ending> {
    session.send(&Response::Continuation(challenge.to_owned()));
    session.connection.frames().expect_line();
    let line = loop {
        match (session.event().await?, session.bells.farewell()) {
            (_, Some(farewell)) => return Err(Ending::Bye(farewell)),
            (Event::Autologout, None) => return Err(Ending::Bye(Farewell::Timeout)),
            (Event::Bell, None) => {}
            (Event::Step(Step::Line(line)), None) if line.len() <= MAX_LINE => break line,
            (Event::Step(_), None) => return Err(Ending::Bad("Expected one line of base64")),
        }
    };
    if line == b"*" {
        return Err(Ending::Bad("Authentication cancelled"));
    }
    STANDARD.decode(&line).map(Secret::new).map_err(|_| Ending::Bad("Expected one line of base64"))
}

/// RFC 4616: authorization identity NUL authentication identity NUL password. Acting for somebody else is not offered.
fn plain(message: &[u8]) -> Result<(String, Secret<Vec<u8>>), Ending> {
    let mut parts = message.splitn(3, |byte| *byte == 0);
    let (Some(authorization), Some(user), Some(password)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Ending::Bad("Expected authorization identity, NUL, user, NUL, password"));
    };
    if password.contains(&0) {
        return Err(Ending::Bad("Expected no NUL in the password"));
    }
    if !authorization.is_empty() && authorization != user {
        return Err(Ending::Status(reply::no(ResponseCode::AuthorizationFailed, "You may only act for yourself")));
    }
    Ok((text(user)?, Secret::new(password.to_vec())))
}

fn text(user: &[u8]) -> Result<String, Ending> {
    String::from_utf8(user.to_vec()).map_err(|_| Ending::Bad("Expected a user name in UTF-8"))
}

async fn enter(session: &mut Session, user: String, password: Secret<Vec<u8>>) -> Reply {
    // The password is not even looked at.
    if let Some(referral) = session.doors.settings.referrals.user(&user) {
        return Ok(referral);
    }
    let begun = Instant::now();
    let authenticator = session.doors.authenticator.clone();
    let name = user.clone();
    let doors = session.doors.clone();
    let hasher = doors.hasher().ok_or(Fault::Bug("no thread checks passwords"))?;
    let verdict = hasher.run(move || authenticator.verify(&name, password.expose())).await?;
    match verdict {
        Verdict::Accepted(account) => {
            session.log_in(user, account).await?;
            welcome(session);
            Ok(reply::ok_with(ResponseCode::Capability(session.capabilities()), "Logged in"))
        }
        Verdict::Refused => Ok(refuse(session, begun).await),
        Verdict::Unavailable(reason) => Err(Fault::Unavailable(reason).into()),
    }
}

fn welcome(session: &mut Session) {
    let limits = session.frame_limits();
    session.connection.set_limits(limits);
}

async fn refuse(session: &mut Session, begun: Instant) -> Status {
    session.failed_logins += 1;
    tracing::info!(failures = session.failed_logins, "login failed");
    sleep_until(begun + FAILED * session.failed_logins).await;
    reply::no(ResponseCode::AuthenticationFailed, "Wrong user name or password")
}
