//! The whole cycle of one command: rule, command, changes, tagged reply.

use carillon_protocol::command::{Command, Expunges, States, TaggedCommand};
use carillon_protocol::response::{Response, Status};
use tokio::time::Instant;
use tracing::Instrument;

use super::arriving::Arrived;
use super::command::{append, auth, basic, copy, expunge, fetch, idle, list, mailboxes, search, select, status, store};
use super::reply::{self, Ending, Reply};
use super::state::Session;
use crate::refusal::{Fault, Refusal};

/// What the connection does after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next command.
    Continue,
    /// LOGOUT was answered.
    Close,
    /// STARTTLS was answered: the handshake.
    StartTls,
}

impl Session {
    /// Runs one command to its tagged reply. `arrived` are the messages of APPEND.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn execute(&mut self, tagged: TaggedCommand, arrived: Result<Vec<Arrived>, Fault>) -> std::io::Result<Next> {
        let TaggedCommand { tag, command } = tagged;
        let rule = command.rule();
        self.begin_command(&tag, &command);
        let next = match command {
            Command::Logout => Next::Close,
            Command::StartTls if self.may_start_tls() => Next::StartTls,
            _ => Next::Continue,
        };
        let is_refetch = matches!(command, Command::Fetch { .. });
        let begun = Instant::now();
        let bytes_before = self.connection.bytes_made();
        let span = tracing::debug_span!("command", tag = tag.as_str(), name = command.name());
        let is_gone =
            needs_mailbox(&command) && self.selected.as_ref().is_some_and(|selected| selected.view.snapshot().is_ended());
        let reply = if is_gone {
            Err(Refusal::NoSuchMailbox.into())
        } else if self.is_valid_in(rule.states) {
            // The future of the largest command would otherwise be part of every idle session.
            Box::pin(self.run(command, arrived)).instrument(span.clone()).await
        } else {
            Err(Ending::Bad(self.wrong_state(rule.states)))
        };
        if !is_refetch && let Some(selected) = &mut self.selected {
            selected.refetch.reset();
        }
        let Some(status) = self.settle(reply, rule.expunges).instrument(span.clone()).await? else {
            return Ok(Next::Continue);
        };
        let outcome = status.condition;
        self.send(&Response::Tagged(tag, status));
        // What came in since the command before; of several that were pipelined it is the first's.
        let bytes_in = self.connection.bytes_in - self.counts.bytes_of_commands;
        self.counts.bytes_of_commands = self.connection.bytes_in;
        let bytes_out = self.connection.bytes_made() - bytes_before;
        let elapsed_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        tracing::debug!(parent: &span, ?outcome, elapsed_us, bytes_in, bytes_out, "ended");
        self.connection.relieve().await?;
        Ok(next)
    }

    async fn run(&mut self, command: Command, arrived: Result<Vec<Arrived>, Fault>) -> Reply {
        match command {
            Command::Capability => basic::capability(self),
            Command::Noop | Command::Check => Ok(reply::ok("Done")),
            Command::Logout => basic::logout(self),
            Command::Id(fields) => basic::id(self, fields),
            Command::StartTls => basic::start_tls(self),
            Command::Enable(names) => basic::enable(self, &names),
            Command::Namespace => basic::namespace(self),
            Command::Authenticate { mechanism, initial } => auth::authenticate(self, &mechanism, initial).await,
            Command::Login { user, password } => auth::login(self, user, password).await,
            Command::Select(mailbox) => select::select(self, &mailbox, super::view::Mode::ReadWrite).await,
            Command::Examine(mailbox) => select::select(self, &mailbox, super::view::Mode::ReadOnly).await,
            Command::Close => select::close(self).await,
            Command::Unselect => select::unselect(self),
            Command::Create { mailbox, special_use } => mailboxes::create(self, mailbox, special_use).await,
            Command::Delete(mailbox) => mailboxes::delete(self, mailbox).await,
            Command::Rename { from, to } => mailboxes::rename(self, from, to).await,
            Command::Subscribe(mailbox) => mailboxes::subscribe(self, mailbox).await,
            Command::Unsubscribe(mailbox) => mailboxes::unsubscribe(self, mailbox).await,
            Command::List { kind, reference, pattern } => list::list(self, kind, &reference, &pattern).await,
            Command::Scan { reference, pattern, text } => list::scan(self, &reference, &pattern, text).await,
            Command::Status { mailbox, items } => status::status(self, &mailbox, &items).await,
            Command::Append { mailbox, messages } => append::append(self, &mailbox, messages, arrived?).await,
            Command::Idle => idle::idle(self).await,
            Command::Expunge => expunge::expunge(self, None).await,
            Command::UidExpunge(set) => expunge::expunge(self, Some(set)).await,
            Command::Search { numbering, key, .. } => search::search(self, numbering, key).await,
            Command::Sort { numbering, criteria, key, .. } => search::sort(self, numbering, &criteria, key).await,
            Command::Thread { numbering, algorithm, key, .. } => search::thread(self, numbering, algorithm, key).await,
            Command::Fetch { numbering, set, items } => fetch::fetch(self, numbering, &set, &items).await,
            Command::Store { numbering, set, change, silent, flags } => {
                store::store(self, numbering, &set, store::Wish { change, silent, flags }).await
            }
            Command::Copy { numbering, set, mailbox } => copy::copy(self, numbering, &set, &mailbox).await,
            Command::Move { numbering, set, mailbox } => copy::move_messages(self, numbering, &set, mailbox).await,
        }
    }

    /// Tells what changed, then gives the status of the tagged reply; `None` where BYE stands for it.
    async fn settle(&mut self, reply: Reply, expunges: Expunges) -> std::io::Result<Option<Status>> {
        let status = match reply {
            Ok(status) | Err(Ending::Status(status)) => status,
            Err(Ending::Bad(text)) => reply::bad(text),
            Err(Ending::Refused(refusal)) => self.refuse(&refusal),
            Err(Ending::Bye(farewell)) => {
                self.bells.stop(farewell);
                return Ok(None);
            }
            Err(Ending::Lost(error)) => return Err(error),
        };
        if status.condition == carillon_protocol::response::Condition::Bad {
            self.bad_commands += 1;
        } else {
            self.bad_commands = 0;
        }
        match self.catch_up(expunges).await {
            Ok(()) | Err(Ending::Refused(_) | Ending::Bad(_) | Ending::Status(_)) => {}
            // What the command did is known all the same.
            Err(Ending::Bye(farewell)) => self.bells.stop(farewell),
            Err(Ending::Lost(error)) => return Err(error),
        }
        Ok(Some(status))
    }

    /// Why a command of these states is refused now.
    pub(super) const fn wrong_state(&self, states: States) -> &'static str {
        match states {
            States::Any => "This command is not possible now",
            States::NotAuthenticated => "You are logged in already",
            States::Selected if self.login.is_some() => "Select a mailbox first: SELECT or EXAMINE",
            States::Authenticated | States::Selected => "Log in first: LOGIN or AUTHENTICATE",
        }
    }

    /// The status of a refusal; a fault is traced under an id that the client is told.
    fn refuse(&self, refusal: &Refusal) -> Status {
        let incident = format!("{}-{}", self.id, self.author.command);
        if let Refusal::Fault(fault) = refusal {
            match fault {
                Fault::Unavailable(_) | Fault::Ending => tracing::warn!(incident, %fault, "refused"),
                Fault::Damaged(_) | Fault::Gone | Fault::Bug(_) => tracing::error!(incident, %fault, "failed"),
            }
        }
        reply::refused(refusal, &incident)
    }
}

/// Whether a command asks the selected mailbox for something. One that was deleted refuses it; reads go on from what was told.
const fn needs_mailbox(command: &Command) -> bool {
    matches!(
        command,
        Command::Store { .. } | Command::Copy { .. } | Command::Move { .. } | Command::Expunge | Command::UidExpunge(_)
    )
}
