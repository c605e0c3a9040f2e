//! One connection from greeting to BYE: steps of the frame reader become commands, one strictly after another.

use carillon_protocol::command::{Command, Expunges, Frame, TaggedCommand};
use carillon_protocol::frame::{FrameLimits, Step};
use carillon_protocol::grammar::{self, CommandError};
use carillon_protocol::response::{Response, ResponseCode, Status, Untagged};
use tokio::time::sleep_until;

use super::arriving::Arriving;
use super::command::append;
use super::dispatch::Next;
use super::reply::{self, Farewell};
use super::state::Session;
use crate::refusal::Fault;

/// What the connection gave.
enum Event {
    Step(Step),
    Stop,
    Autologout,
}

impl Session {
    /// The bounds of input in the state that the session is in.
    pub fn frame_limits(&self) -> FrameLimits {
        let limits = &self.doors.core.limits;
        let is_in = self.login.is_some();
        FrameLimits {
            line_bytes: limits.line_bytes,
            literals_bytes: if is_in { limits.literals_bytes } else { limits.literals_bytes_before_login },
            message_bytes: if is_in { limits.message_bytes } else { 0 },
            messages: limits.append_messages,
            ..FrameLimits::default()
        }
    }

    /// Serves the connection to its end. TLS from the start is done before.
    pub async fn serve(&mut self) -> Farewell {
        self.greet();
        let farewell = match self.converse().await {
            Ok(farewell) => farewell,
            Err(error) => {
                tracing::debug!(%error, "connection lost");
                Farewell::Disconnected
            }
        };
        if !matches!(farewell, Farewell::Logout | Farewell::Disconnected | Farewell::TlsFailed) {
            self.tell(&Untagged::Status(reply::bye(farewell)));
        }
        self.deselect();
        if let Some(login) = self.login.take() {
            login.leave();
        }
        self.connection.close().await;
        farewell
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
                Event::Stop => continue,
                Event::Autologout => return Ok(Farewell::Timeout),
                Event::Step(Step::Fatal) => return Ok(Farewell::TooMuch),
                Event::Step(step) => self.handle(step, &mut arriving).await?,
            };
            match next {
                Next::Continue => {}
                Next::Close => return Ok(Farewell::Logout),
                Next::StartTls => {
                    self.connection.flush().await?;
                    if !self.secure().await {
                        return Ok(Farewell::TlsFailed);
                    }
                }
            }
        }
    }

    /// The next step of the input, or why there is none. Bells outside IDLE stay noted: nothing may be told now.
    async fn event(&mut self) -> std::io::Result<Event> {
        let autologout = self.autologout();
        let bells = self.bells.clone();
        tokio::select! {
            biased;
            step = self.connection.step() => step.map(Event::Step),
            () = bells.changed() => Ok(Event::Stop),
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
                let begun = arriving.begin(length, core.limits.spool_bytes, core.journal.store(), &core.placement).await;
                self.note_spooling(begun)
            }
            Step::MessageChunk(bytes) => {
                let pushed = arriving.push(&bytes, &self.doors.core.placement).await;
                self.note_spooling(pushed)
            }
            Step::MessageEnd => {
                let ended = arriving.end(&self.doors.core.placement).await;
                self.note_spooling(ended)
            }
            Step::Rejected(rejected) => {
                drop(arriving.take());
                self.bad_commands += 1;
                let status = if rejected.is_too_big { reply::no(ResponseCode::TooBig, rejected.text) } else { reply::bad(rejected.text) };
                self.answer_without_command(rejected.tag, status);
                Ok(Next::Continue)
            }
            Step::Line(_) => {
                self.answer_without_command(None, reply::bad("Expected a command"));
                Ok(Next::Continue)
            }
            Step::NeedMore | Step::Fatal => Ok(Next::Continue),
        }
    }

    /// A message that cannot be spooled fails its APPEND when the frame is whole; the trace says why.
    fn note_spooling(&mut self, result: Result<(), Fault>) -> std::io::Result<Next> {
        if let Err(fault) = result {
            tracing::warn!(%fault, "a message could not be spooled");
            self.connection.frames().refuse_message("The server has no room for the message now");
        }
        Ok(Next::Continue)
    }

    async fn frame(&mut self, frame: Frame, arriving: &mut Arriving) -> std::io::Result<Next> {
        let arrived = arriving.take();
        match grammar::parse(&frame, self.connection.format()) {
            Ok(TaggedCommand { tag, command: Command::Append { mailbox, messages } }) if self.login.is_some() => {
                self.begin_append(&tag);
                let reply = Box::pin(append::append(self, &mailbox, messages, arrived)).await;
                let status = self.settle(reply, Expunges::Tell).await?;
                self.send(&Response::Tagged(tag, status));
                Ok(Next::Continue)
            }
            Ok(tagged) => self.execute(tagged).await,
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
                let text = error.to_string();
                self.answer_without_command(error.tag, reply::bad(text));
            }
            CommandError::BadName { tag, error, .. } => {
                self.answer_without_command(Some(tag), reply::no(ResponseCode::Cannot, error.to_string()));
            }
            CommandError::BadCharset { tag } => {
                let charsets = ["UTF-8", "US-ASCII"].map(str::to_owned).into();
                let status = reply::no(ResponseCode::BadCharset(charsets), "This charset is not known");
                self.answer_without_command(Some(tag), status);
            }
        }
    }

    /// RFC 9051 §7.1.3: BAD without a tag where there was none.
    fn answer_without_command(&mut self, tag: Option<carillon_protocol::command::Tag>, status: Status) {
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
    pub async fn secure(&mut self) -> bool {
        let Some(tls) = self.doors.tls.clone() else { return false };
        match self.connection.start_tls(&tls()).await {
            Ok(()) => {
                self.is_tls = true;
                self.client = None;
                true
            }
            Err(error) => {
                tracing::info!(%error, peer = %self.peer, "TLS handshake failed");
                false
            }
        }
    }
}
