//! Playing a transcript.

use std::collections::BTreeMap;
use std::time::Duration;

use super::grammar::well_formed;
use super::pattern::{Pattern, Variables, value_of, variable};
use super::script::{Action, Expect, Piece, Script};
use super::simulated;
use crate::support::lmtp::deliver;
use crate::support::server::{Server, Target};
use crate::support::wire::{PATIENCE, Silence, Wire};

/// How long a forbidden push is waited for. It cannot prove that nothing comes; it has caught every server that sends at once.
const QUIET: Duration = Duration::from_millis(150);

/// The end of a scenario.
#[derive(Debug)]
pub enum Outcome {
    /// As written.
    Passed,
    /// Not played, and why.
    Skipped(String),
    /// `file:line`, what was expected, what came.
    Failed(String),
}

/// Plays a script against a server; `own` is the process that it may kill.
pub fn play(script: &Script, target: &Target, own: Option<&mut Server>, user: &str) -> Outcome {
    if script.needs_clock() {
        if std::env::var_os("CARILLON_TEST_SERVER").is_some() {
            return Outcome::Skipped("needs simulated time".to_owned());
        }
        simulated::begin();
    }
    let mut variables = Variables::new();
    let other = target.user.clone().unwrap_or_else(|| format!("{user}-other"));
    for (name, value) in [("user", user), ("other", &other), ("password", &target.password)] {
        variables.insert(name.to_owned(), value.as_bytes().to_vec());
    }
    let mut stage = Stage {
        script,
        target: target.clone(),
        own,
        variables,
        sessions: BTreeMap::new(),
        strict: std::env::var_os("CARILLON_TEST_SERVER").is_none(),
        lingering: BTreeMap::new(),
        user: user.to_owned(),
        other,
    };
    match stage.play() {
        Ok(()) => Outcome::Passed,
        Err(Failure::Skip(why)) => Outcome::Skipped(why),
        Err(Failure::At(line, what)) => Outcome::Failed(format!("{}:{line}: {what}\n{}", script.path.display(), stage.history())),
    }
}

enum Failure {
    Skip(String),
    At(usize, String),
}

struct Stage<'a> {
    script: &'a Script,
    target: Target,
    own: Option<&'a mut Server>,
    variables: Variables,
    sessions: BTreeMap<u32, Wire>,
    /// Whether every response must be one of the grammar: of our own server we can ask that.
    strict: bool,
    /// What may still come to a session: the `S1?` lines since its last tagged reply.
    lingering: BTreeMap<u32, Vec<Pattern>>,
    user: String,
    other: String,
}

struct Expected<'a> {
    line: usize,
    kind: Expect,
    pattern: &'a Pattern,
    text: &'a str,
}

impl Stage<'_> {
    fn play(&mut self) -> Result<(), Failure> {
        let steps = &self.script.steps;
        let mut at = 0;
        while at < steps.len() {
            let line = steps[at].line;
            let failed = |what: String| Failure::At(line, what);
            match &steps[at].action {
                Action::Client { session, .. } => {
                    let mut pieces: Vec<Piece> = Vec::new();
                    while let Some(Action::Client { session: next, pieces: more }) = steps.get(at).map(|step| &step.action) {
                        if next != session {
                            break;
                        }
                        pieces.extend(more.iter().cloned());
                        at += 1;
                    }
                    self.send(*session, &pieces).map_err(failed)?;
                }
                Action::Server { session, .. } => {
                    let mut group = Vec::new();
                    while let Some(Action::Server { session: next, kind, pattern, text }) = steps.get(at).map(|step| &step.action)
                    {
                        if next != session {
                            break;
                        }
                        group.push(Expected { line: steps[at].line, kind: *kind, pattern, text });
                        at += 1;
                    }
                    self.expect(*session, group)?;
                }
                Action::Stage { words, block } => {
                    self.direct(words, block.as_deref()).map_err(|failure| match failure {
                        Failure::At(_, what) => failed(what),
                        skip => skip,
                    })?;
                    at += 1;
                }
            }
        }
        let last = steps.last().map_or(1, |step| step.line);
        let sessions: Vec<u32> = self.sessions.keys().copied().collect();
        for session in sessions {
            if let Ok(extra) = self.unexpected(session, Duration::from_millis(1)) {
                return Err(Failure::At(last, format!("at the end session {session} had been sent more: {}", show(&extra))));
            }
        }
        Ok(())
    }

    fn history(&self) -> String {
        self.sessions.iter().map(|(session, wire)| format!("  session {session}:\n{}", tail(&wire.history))).collect()
    }

    /// The connection of a session, made and logged in at its first use.
    fn session(&mut self, session: u32) -> Result<&mut Wire, String> {
        if !self.sessions.contains_key(&session) {
            let mut wire = self.connect()?;
            if self.script.login {
                let user = self.user.clone();
                self.log_in(&mut wire, &user)?;
            }
            self.sessions.insert(session, wire);
        }
        self.sessions.get_mut(&session).ok_or_else(|| "no such session".to_owned())
    }

    fn connect(&self) -> Result<Wire, String> {
        if self.script.needs_clock() {
            return Ok(simulated::connect());
        }
        Wire::connect(self.target.imap).map_err(|error| format!("connect: {error}"))
    }

    fn log_in(&self, wire: &mut Wire, user: &str) -> Result<(), String> {
        wire.until("*")?;
        let replies = wire.command("login", &format!("LOGIN {user} {}", self.target.password))?;
        let last = replies.last().cloned().unwrap_or_default();
        if last.starts_with("login OK") { Ok(()) } else { Err(format!("LOGIN {user}: {last}")) }
    }

    fn send(&mut self, session: u32, pieces: &[Piece]) -> Result<(), String> {
        let variables = self.variables.clone();
        let wire = self.session(session)?;
        let mut pending = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => pending.extend(substitute(text, &variables)?),
                Piece::Bytes(bytes) => pending.extend(bytes),
                Piece::Literal { bytes, synchronising } => {
                    let plus = if *synchronising { "" } else { "+" };
                    pending.extend(format!("{{{}{plus}}}\r\n", bytes.len()).bytes());
                    if *synchronising {
                        wire.send(&pending).map_err(|error| error.to_string())?;
                        pending.clear();
                        if !may_go_on(wire)? {
                            return Ok(());
                        }
                    }
                    pending.extend(bytes);
                }
            }
        }
        wire.send(&pending).map_err(|error| error.to_string())
    }

    /// The next response that no `S1?` line allows.
    fn unexpected(&mut self, session: u32, patience: Duration) -> Result<Vec<u8>, Silence> {
        let mut variables = self.variables.clone();
        loop {
            let got = self.session(session).map_err(Silence::Broken)?.response(patience)?;
            let allowed =
                self.lingering.get(&session).is_some_and(|may| may.iter().any(|pattern| pattern.matches(&got, &mut variables)));
            if !allowed {
                return Ok(got);
            }
        }
    }

    /// Reads until every expected line came; an unexpected one is a failure.
    fn expect(&mut self, session: u32, group: Vec<Expected<'_>>) -> Result<(), Failure> {
        let first_line = group.first().map_or(0, |expected| expected.line);
        self.session(session).map_err(|what| Failure::At(first_line, what))?;
        let mut variables = self.variables.clone();
        let Some(wire) = self.sessions.get_mut(&session) else { return Ok(()) };
        let is_tagged = |expected: &&Expected<'_>| expected.kind == Expect::InOrder && !expected.text.starts_with(['*', '+']);
        let ended = group.iter().filter(is_tagged).map(|expected| expected.line).max().unwrap_or_default();
        let mut open: Vec<Expected<'_>> = group;
        while let Some(waiting) = open.iter().find(|expected| matches!(expected.kind, Expect::InOrder | Expect::AnyOrder)) {
            let (line, text) = (waiting.line, waiting.text.to_owned());
            let got = match wire.response(PATIENCE) {
                Ok(got) => got,
                Err(silence) => return Err(Failure::At(line, format!("expected {text}\n  got nothing: {silence:?}"))),
            };
            if self.strict {
                well_formed(&got).map_err(|problem| Failure::At(line, format!("not well-formed: {problem}: {}", show(&got))))?;
            }
            let forbidden =
                open.iter().find(|expected| expected.kind == Expect::Never && expected.pattern.matches(&got, &mut variables));
            if let Some(never) = forbidden {
                return Err(Failure::At(never.line, format!("must not come: {}", show(&got))));
            }
            let still_may = || {
                self.lingering
                    .get(&session)
                    .is_some_and(|may| may.iter().any(|pattern| pattern.matches(&got, &mut self.variables.clone())))
            };
            match find(&open, &got, &mut variables) {
                None if still_may() => {}
                Some(place) if open[place].kind == Expect::Maybe => {}
                Some(place) => drop(open.remove(place)),
                None => {
                    return Err(Failure::At(
                        line,
                        format!("expected {text}\n  got      {}{}", show(&got), known(&self.variables)),
                    ));
                }
            }
            self.variables = variables.clone();
        }
        let may = self.lingering.entry(session).or_default();
        if ended > 0 {
            may.clear();
        }
        may.extend(
            open.iter()
                .filter(|expected| expected.kind == Expect::Maybe && expected.line > ended)
                .map(|expected| expected.pattern.clone()),
        );
        Ok(())
    }

    fn direct(&mut self, words: &[String], block: Option<&[u8]>) -> Result<(), Failure> {
        let failed = |what: String| Failure::At(0, what);
        let word = |at: usize| words.get(at).map(String::as_str).unwrap_or_default();
        let session: u32 = word(1).parse().unwrap_or_default();
        match word(0) {
            "append" => self.append(words, block).map_err(failed),
            "deliver" => self.deliver(word(1), block.unwrap_or_default()),
            "select" | "examine" => {
                let command = format!("{} {}", word(0).to_ascii_uppercase(), words[2..].join(" "));
                let replies = self.session(session).map_err(failed)?.command("stage", &command).map_err(failed)?;
                let last = replies.last().cloned().unwrap_or_default();
                if last.starts_with("stage OK") { Ok(()) } else { Err(failed(last)) }
            }
            "login" => {
                let user = if word(2) == "other" { self.other.clone() } else { self.user.clone() };
                let mut wire = self.connect().map_err(failed)?;
                self.log_in(&mut wire, &user).map_err(failed)?;
                self.sessions.insert(session, wire);
                Ok(())
            }
            "connect" => {
                let address = if word(2) == "tls" { self.target.imaps } else { Some(self.target.imap) };
                let address = address.ok_or_else(|| Failure::Skip("no address with TLS is known".to_owned()))?;
                let mut wire = Wire::connect(address).map_err(|error| failed(error.to_string()))?;
                if word(2) == "tls" {
                    wire.start_tls().map_err(|error| failed(format!("TLS: {error}")))?;
                }
                self.sessions.insert(session, wire);
                Ok(())
            }
            "tls" => self.session(session).map_err(failed)?.start_tls().map_err(|error| failed(format!("TLS: {error}"))),
            "close" => {
                self.sessions.remove(&session);
                Ok(())
            }
            "closed" => {
                let closed = self.session(session).map_err(failed)?.response(PATIENCE);
                if closed == Err(Silence::Closed) {
                    Ok(())
                } else {
                    Err(failed(format!("expected the end of the connection, got {closed:?}")))
                }
            }
            "quiet" => match self.unexpected(session, QUIET) {
                Err(Silence::Timeout) => Ok(()),
                Err(other) => Err(failed(format!("expected silence, got {other:?}"))),
                Ok(extra) => Err(failed(format!("expected silence, got {}", show(&extra)))),
            },
            "crash" | "restart" => self.start_again(word(0)),
            "clock" => {
                let minutes: u64 =
                    word(1).trim_end_matches('m').parse().map_err(|_| failed("a clock is told minutes: 29m".to_owned()))?;
                simulated::pass(Duration::from_secs(60 * minutes));
                Ok(())
            }
            "terminate" => {
                let own = self.own.as_mut().ok_or_else(|| Failure::Skip("cannot end this server".to_owned()))?;
                match own.terminate() {
                    Ok(Some(0)) => Ok(()),
                    other => Err(failed(format!("exit code 0 after SIGTERM was expected: {other:?}"))),
                }
            }
            "assert" => self.compare(word(1), word(2), word(3)).map_err(failed),
            other => Err(failed(format!("unknown stage direction `{other}`"))),
        }
    }

    fn start_again(&mut self, how: &str) -> Result<(), Failure> {
        let Some(own) = self.own.as_mut() else { return Err(Failure::Skip(format!("cannot {how} this server"))) };
        self.sessions.clear();
        let done = if how == "crash" { own.crash() } else { own.restart() };
        self.target = own.target.clone();
        done.map_err(|error| Failure::At(0, format!("{how}: {error}")))
    }

    /// `-- append MAILBOX [(flags)] [*n] <<END`: by a session of its own.
    fn append(&mut self, words: &[String], block: Option<&[u8]>) -> Result<(), String> {
        let mut wire = self.connect()?;
        self.log_in(&mut wire, &self.user)?;
        let mailbox = words.get(1).cloned().unwrap_or_default();
        let flags: Vec<&str> = words[2..].iter().filter(|word| !word.starts_with('*')).map(String::as_str).collect();
        let count: usize = words.iter().find_map(|word| word.strip_prefix('*')).map_or(1, |count| count.parse().unwrap_or(1));
        for number in 1..=count {
            let generated = format!(
                "From: a@example.org\r\nSubject: {number}\r\nMessage-ID: <m{number}@example.org>\r\n\r\nbody {number}\r\n"
            );
            let body = block.unwrap_or(generated.as_bytes());
            let flags = flags.join(" ") + if flags.is_empty() { "" } else { " " };
            wire.send(format!("x APPEND {mailbox} {flags}{{{}}}\r\n", body.len()).as_bytes())
                .map_err(|error| error.to_string())?;
            if !may_go_on(&mut wire)? {
                return Err(format!("APPEND: {}", wire.until("x")?.join(" / ")));
            }
            wire.send(&[body, b"\r\n"].concat()).map_err(|error| error.to_string())?;
            let replies = wire.until("x")?;
            if !replies.last().is_some_and(|last| last.starts_with("x OK")) {
                return Err(format!("APPEND: {}", replies.join(" / ")));
            }
        }
        wire.command("y", "LOGOUT").map(drop)
    }

    /// `-- deliver USER[+folder] <<END`: by LMTP; where the server's LMTP is not known, an APPEND to INBOX does instead.
    fn deliver(&mut self, recipient: &str, body: &[u8]) -> Result<(), Failure> {
        let failed = |what: String| Failure::At(0, what);
        let recipient = String::from_utf8_lossy(&substitute(recipient.as_bytes(), &self.variables).map_err(failed)?).into_owned();
        let Some(address) = self.target.lmtp else {
            if recipient.contains('+') || recipient != self.user {
                return Err(Failure::Skip("the server's LMTP is not known".to_owned()));
            }
            return self.append(&["append".to_owned(), "INBOX".to_owned()], Some(body)).map_err(failed);
        };
        deliver(address, &recipient, body).map_err(failed)
    }

    fn compare(&self, left: &str, operator: &str, right: &str) -> Result<(), String> {
        let number = |text: &str| -> Result<u64, String> {
            let bytes = substitute(text.as_bytes(), &self.variables)?;
            String::from_utf8_lossy(&bytes).parse().map_err(|_| format!("{text} is no number"))
        };
        let (one, other) = (number(left)?, number(right)?);
        let holds = match operator {
            ">" => one > other,
            ">=" => one >= other,
            "=" => one == other,
            "!=" => one != other,
            _ => return Err(format!("unknown comparison `{operator}`")),
        };
        if holds { Ok(()) } else { Err(format!("{left} {operator} {right} does not hold: {one}, {other}")) }
    }
}

/// The place of the expected line that a response fits: the next in order, else one of those that may come at any time.
fn find(open: &[Expected<'_>], got: &[u8], variables: &mut Variables) -> Option<usize> {
    let next = open.iter().position(|expected| expected.kind == Expect::InOrder);
    let untagged = got.starts_with(b"* ");
    if let Some(place) = next {
        // A tagged reply ends what may come in any order before it.
        let owed = open[..place].iter().any(|expected| expected.kind == Expect::AnyOrder);
        if (untagged || !owed) && open[place].pattern.matches(got, variables) {
            return Some(place);
        }
    }
    let end = next.filter(|_| !untagged).unwrap_or(open.len());
    (0..end).find(|place| {
        matches!(open[*place].kind, Expect::AnyOrder | Expect::Maybe) && open[*place].pattern.matches(got, variables)
    })
}

/// Waits for the `+` of a literal; false if the server refused it, whose reply is then read as usual.
fn may_go_on(wire: &mut Wire) -> Result<bool, String> {
    let mut before: Vec<Vec<u8>> = Vec::new();
    let goes_on = loop {
        let response = wire.response(PATIENCE).map_err(|silence| format!("waiting for +: {silence:?}"))?;
        if response.starts_with(b"+") {
            break true;
        }
        let ends = !response.starts_with(b"* ");
        before.push(response);
        if ends {
            break false;
        }
    };
    for response in before.iter().rev() {
        wire.put_back(response);
    }
    Ok(goes_on)
}

/// Replaces `<v>`; a name that is not bound is an error, text that only looks like one is not.
fn substitute(text: &[u8], variables: &Variables) -> Result<Vec<u8>, String> {
    let mut result = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        if let Some((name, behind)) = variable(rest) {
            result.extend(value_of(&name, variables).ok_or_else(|| format!("<{name}> is not bound"))?);
            rest = behind;
        } else {
            result.push(*first);
            rest = after;
        }
    }
    Ok(result)
}

fn show(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if text.len() > 600 {
        format!("{} [... {} bytes]", text.chars().take(600).collect::<String>(), text.len())
    } else {
        text.into_owned()
    }
}

fn known(variables: &Variables) -> String {
    let shown: Vec<String> = variables
        .iter()
        .filter(|(name, _)| !["user", "other", "password"].contains(&name.as_str()))
        .map(|(name, value)| format!("<{name}>={}", String::from_utf8_lossy(value)))
        .collect();
    if shown.is_empty() { String::new() } else { format!("\n  with     {}", shown.join(" ")) }
}

fn tail(history: &str) -> String {
    let lines: Vec<&str> = history.lines().collect();
    lines[lines.len().saturating_sub(24)..].iter().map(|line| format!("{line}\n")).collect()
}
