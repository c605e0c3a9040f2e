//! One connection from greeting to BYE: steps of the frame reader become commands, one strictly after another.

use std::time::Duration;

use carillon_protocol::command::{Frame, States, Tag};
use carillon_protocol::frame::{FrameLimits, Limit, Lost, Step};
use carillon_protocol::grammar::{self, CommandError};
use carillon_protocol::mailbox_name::NameError;
use carillon_protocol::response::{Response, ResponseCode, Status, Untagged};
use carillon_protocol::text::is_http_method;
use tokio::time::{Instant, sleep_until};

use super::arriving::Arriving;
use super::dispatch::Next;
use super::reply::{self, Farewell};
use super::state::Session;

/// What ended a wait for the client.
pub(super) enum Event {
    /// Input.
    Step(Step),
    /// Something rang, or the session shall end.
    Bell,
    /// The client said nothing for too long.
    Autologout,
}

impl Session {
    /// The bounds of input in the state that the session is in.
    pub fn frame_limits(&self) -> FrameLimits {
        let limits = &self.doors.core.limits;
        if self.login.is_none() {
            return FrameLimits { literals_bytes: limits.literals_bytes_before_login, ..FrameLimits::UNAUTHENTICATED };
        }
        FrameLimits {
            line_bytes: limits.line_bytes,
            literals_bytes: limits.literals_bytes,
            message_bytes: limits.message_bytes,
            messages: limits.append_messages,
            ..FrameLimits::AUTHENTICATED
        }
    }

    /// Serves the connection until there is nothing more to serve. Dropped where it takes too long.
    pub async fn serve(&mut self, is_tls_first: bool) -> Farewell {
        if is_tls_first && let Err(farewell) = self.secure().await {
            return farewell;
        }
        self.greet();
        match self.converse().await {
            Ok(farewell) => farewell,
            Err(error) => {
                tracing::debug!(%error, "connection lost");
                Farewell::Disconnected
            }
        }
    }

    /// BYE, for which the client gets so long, and everything that was watched is let go.
    pub async fn part(&mut self, farewell: Farewell, patience: Duration) {
        if !matches!(farewell, Farewell::Logout | Farewell::Disconnected | Farewell::TlsFailed) {
            self.tell(&Untagged::Status(reply::bye(farewell)));
        }
        self.deselect();
        if let Some(login) = self.login.take() {
            login.leave();
        }
        self.connection.close(farewell.is_to_a_sender(), patience).await;
    }

    fn greet(&mut self) {
        let text = format!("{} carillon ready", self.doors.settings.hostname);
        let greeting = reply::ok_with(ResponseCode::Capability(self.capabilities()), text);
        self.tell(&Untagged::Status(greeting));
    }

    async fn converse(&mut self) -> std::io::Result<Farewell> {
        let mut arriving = Arriving::default();
        loop {
            if let Some(farewell) = self.bells.farewell() {
                return Ok(farewell);
            }
            if let Some(farewell) = self.has_gone_too_far() {
                return Ok(farewell);
            }
            let next = match self.event().await? {
                Event::Bell => continue,
                Event::Autologout => return Ok(Farewell::Timeout),
                Event::Step(Step::Fatal(Lost::TooMuch)) => return Ok(Farewell::TooMuch),
                Event::Step(Step::Fatal(Lost::DidNotWait)) => return Ok(Farewell::DidNotWait),
                Event::Step(step) => self.handle(step, &mut arriving).await?,
            };
            // A long command is no silence.
            self.last_active = Instant::now();
            match next {
                // Who sends many commands at once lets the other sessions of this thread between.
                Next::Continue => tokio::task::yield_now().await,
                Next::Close => return Ok(Farewell::Logout),
                Next::StartTls => {
                    self.connection.flush().await?;
                    if let Err(farewell) = self.secure().await {
                        return Ok(farewell);
                    }
                }
            }
        }
    }

    /// The next step of the input, or why there is none. Bells outside IDLE stay noted: nothing may be told now.
    /// Safe to drop and call again.
    pub(super) async fn event(&mut self) -> std::io::Result<Event> {
        let autologout = self.autologout();
        let bells = self.bells.clone();
        tokio::select! {
            biased;
            step = self.connection.step() => {
                self.last_active = Instant::now();
                step.map(Event::Step)
            }
            () = bells.changed() => Ok(Event::Bell),
            () = sleep_until(autologout) => Ok(Event::Autologout),
        }
    }

    async fn handle(&mut self, step: Step, arriving: &mut Arriving) -> std::io::Result<Next> {
        match step {
            Step::Frame(frame) => self.frame(frame, arriving).await,
            Step::Continue { .. } => {
                self.send(&Response::Continuation("go ahead".to_owned()));
                Ok(Next::Continue)
            }
            Step::MessageStart { length, .. } => {
                let core = &self.doors.core;
                arriving.begin(length, core.limits.spool_bytes, core.journal.store(), &core.placement).await;
                Ok(Next::Continue)
            }
            Step::MessageChunk(bytes) => {
                arriving.push(&bytes, &self.doors.core.placement).await;
                Ok(Next::Continue)
            }
            Step::MessageEnd => {
                arriving.end(&self.doors.core.placement).await;
                Ok(Next::Continue)
            }
            Step::TooBig { tag, limit } => {
                drop(arriving.take());
                self.refuse_size(tag, limit);
                Ok(Next::Continue)
            }
            Step::SyntaxError(error) => {
                drop(arriving.take());
                self.refuse_input(CommandError::Syntax(error));
                Ok(Next::Continue)
            }
            Step::Line(_) => {
                self.answer_without_command(None, reply::bad("Expected a command"));
                Ok(Next::Continue)
            }
            Step::NeedMore | Step::Fatal(_) => Ok(Next::Continue),
        }
    }

    /// What was too big has been stepped over. Only a message, or one too many, is NO; all else is not the protocol, and before login no message may come.
    fn refuse_size(&mut self, tag: Option<Tag>, limit: Limit) {
        let code = match limit {
            Limit::Message => Some(ResponseCode::TooBig),
            Limit::Messages => Some(ResponseCode::Limit),
            Limit::Line | Limit::Literals | Limit::LiteralCount => None,
        };
        let status = match code.filter(|_| self.login.is_some()) {
            Some(code) => reply::no(code, limit.to_string()),
            None => {
                self.bad_commands += 1;
                reply::bad(limit.to_string())
            }
        };
        self.answer_without_command(tag, status);
    }

    async fn frame(&mut self, frame: Frame, arriving: &mut Arriving) -> std::io::Result<Next> {
        let arrived = arriving.take();
        match grammar::parse(&frame, self.connection.format()) {
            Ok(tagged) => self.execute(tagged, arrived).await,
            Err(error) => {
                self.refuse_input(error);
                Ok(Next::Continue)
            }
        }
    }

    fn refuse_input(&mut self, error: CommandError) {
        match error {
            CommandError::Syntax(error) => {
                self.bad_commands += 1;
                if self.login.is_none() && error.tag.as_ref().is_some_and(|tag| is_http_method(tag.as_str().as_bytes())) {
                    self.bells.stop(Farewell::OtherProtocol);
                    return;
                }
                let text = error.to_string();
                self.answer_without_command(error.tag, reply::bad(text));
            }
            CommandError::BadName { tag, verb, error } => {
                let status = self.refuse_name(verb, &error);
                self.answer_without_command(Some(tag), status);
            }
            CommandError::BadCharset { tag } => {
                let charsets = ["UTF-8", "US-ASCII"].map(str::to_owned).into();
                let status = reply::no(ResponseCode::BadCharset(charsets), "This charset is not known");
                self.answer_without_command(Some(tag), status);
            }
        }
    }

    /// A name that no mailbox can have: nothing there where one is looked for, nothing to be had where one is made.
    fn refuse_name(&mut self, verb: &str, error: &NameError) -> Status {
        if self.login.is_none() {
            self.bad_commands += 1;
            return reply::bad(self.wrong_state(States::Authenticated));
        }
        let code = match verb {
            "SELECT" | "EXAMINE" => {
                // One that fails leaves nothing selected (RFC 3501 §6.3.1).
                self.deselect();
                ResponseCode::NonExistent
            }
            "STATUS" | "DELETE" => ResponseCode::NonExistent,
            _ => ResponseCode::Cannot,
        };
        reply::no(code, error.to_string())
    }

    /// RFC 9051 §7.1.3: BAD without a tag where there was none.
    fn answer_without_command(&mut self, tag: Option<Tag>, status: Status) {
        self.send(&match tag {
            Some(tag) => Response::Tagged(tag, status),
            None => Response::Untagged(Untagged::Status(status)),
        });
    }

    fn has_gone_too_far(&self) -> Option<Farewell> {
        let limits = &self.doors.core.limits;
        if self.failed_logins >= limits.failed_logins {
            return Some(Farewell::TooManyLogins);
        }
        (self.bad_commands >= limits.bad_commands).then_some(Farewell::TooManyBad)
    }

    /// The TLS handshake, at the start or after STARTTLS. What was known before it is forgotten (RFC 9051 §6.2.1).
    ///
    /// # Errors
    /// It failed, or the session has to end meanwhile.
    pub async fn secure(&mut self) -> Result<(), Farewell> {
        let acceptor = self.doors.tls.as_ref().map(|tls| tls()).ok_or(Farewell::TlsFailed)?;
        let bells = self.bells.clone();
        let handshake = tokio::select! {
            outcome = self.connection.start_tls(&acceptor) => outcome,
            // Nothing can be said in the middle of it.
            () = bells.stopped() => return Err(bells.farewell().unwrap_or(Farewell::TlsFailed)),
        };
        match handshake {
            Ok(tls) => {
                self.tls = Some(tls);
                self.client = None;
                self.doors.core.directory.session_changed(self.info());
                Ok(())
            }
            Err(error) => {
                tracing::info!(%error, "TLS handshake failed");
                Err(Farewell::TlsFailed)
            }
        }
    }
}
