//! A client that believes what it is told: it replays LIST, FLAGS, EXISTS, EXPUNGE and FETCH into a view of its own.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

/// A connection to a server.
pub trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// A message as this client knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Its UID, once told.
    pub uid: Option<u32>,
    /// Its flags without \Recent, once told.
    pub flags: Option<BTreeSet<String>>,
}

/// What was told of a selected mailbox.
#[derive(Clone, Debug, Default)]
pub struct Selected {
    /// Its name, as this client knows it.
    pub name: String,
    /// UIDVALIDITY.
    pub uid_validity: u32,
    /// UIDNEXT as SELECT said.
    pub uid_next: u32,
    /// Whether it was opened with EXAMINE.
    pub is_read_only: bool,
    /// The flags of FLAGS.
    pub flags: BTreeSet<String>,
    /// The messages.
    pub view: Vec<Known>,
}

/// One connection.
pub struct Client {
    stream: Box<dyn Stream>,
    received: Vec<u8>,
    next_tag: u32,
    /// The selected mailbox.
    pub selected: Option<Selected>,
    /// The tag of the IDLE that is under way.
    idling: Option<String>,
    /// What contradicts the standard.
    pub complaints: Vec<String>,
    name: String,
}

/// The answer to a command.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Of the command.
    pub tag: String,
    /// `OK`, `NO` or `BAD`, with all that follows; empty where the connection ended.
    pub status: String,
    /// The untagged lines, literals in place.
    pub untagged: Vec<String>,
}

impl Answer {
    /// Whether it was OK.
    pub fn is_ok(&self) -> bool {
        self.status.starts_with("OK")
    }

    /// Whether the connection ended before it came.
    pub fn is_lost(&self) -> bool {
        self.status.is_empty()
    }

    /// The text behind a response code, up to the bracket.
    pub fn code(&self, name: &str) -> Option<&str> {
        let lines = std::iter::once(&self.status).chain(&self.untagged);
        lines.filter_map(|line| line.split_once(&format!("[{name} "))?.1.split_once(']')).map(|(text, _)| text).next()
    }

    /// The number behind a response code.
    pub fn number(&self, name: &str) -> Option<u32> {
        self.code(name)?.parse().ok()
    }
}

impl Client {
    /// A client that logs in as `somebody`; `name` stands in its tags and complaints.
    pub async fn log_in(stream: Box<dyn Stream>, name: String) -> Option<Self> {
        let (received, complaints) = (Vec::new(), Vec::new());
        let mut client = Self { stream, received, next_tag: 0, selected: None, idling: None, complaints, name };
        let is_greeted = client.line().await?.starts_with("* OK");
        (is_greeted && client.command("LOGIN somebody secret").await.is_ok()).then_some(client)
    }

    /// Whether it is in IDLE.
    pub fn is_idling(&self) -> bool {
        self.idling.is_some()
    }

    /// The messages of the selected mailbox.
    pub fn view(&self) -> &[Known] {
        self.selected.as_ref().map_or(&[], |selected| &selected.view)
    }

    /// The UIDs that it knows.
    pub fn uids(&self) -> Vec<u32> {
        self.view().iter().filter_map(|known| known.uid).collect()
    }

    /// One response line, with its literals in place; `None` at the end of the connection. May be cancelled.
    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(length) = whole_line(&self.received) {
                let line: Vec<u8> = self.received.drain(..length).collect();
                return Some(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if self.stream.read_buf(&mut self.received).await.ok()? == 0 {
                return None;
            }
        }
    }

    async fn send(&mut self, text: &str) -> bool {
        self.stream.write_all(text.as_bytes()).await.is_ok()
    }

    fn tag(&mut self) -> String {
        self.next_tag += 1;
        format!("{}-{}", self.name, self.next_tag)
    }

    /// Sends a command and replays its answer.
    pub async fn command(&mut self, text: &str) -> Answer {
        self.commands(&[text.to_owned()]).await.pop().unwrap_or_default()
    }

    /// Sends commands all at once, and replays their answers: as many as there are commands.
    pub async fn commands(&mut self, texts: &[String]) -> Vec<Answer> {
        let tags: Vec<String> = texts.iter().map(|_| self.tag()).collect();
        let lines: String = tags.iter().zip(texts).map(|(tag, text)| format!("{tag} {text}\r\n")).collect();
        let mut is_alive = self.send(&lines).await;
        let mut answers = Vec::with_capacity(texts.len());
        for (tag, text) in tags.into_iter().zip(texts) {
            let mut answer = Answer { tag, ..Answer::default() };
            is_alive = is_alive && self.receive(text, &mut answer).await;
            answers.push(answer);
        }
        answers
    }

    /// Replays lines up to the tagged one; `false` where the connection ended.
    async fn receive(&mut self, text: &str, answer: &mut Answer) -> bool {
        let is_by_number = ["FETCH", "STORE", "SEARCH"].iter().any(|verb| text.starts_with(verb));
        let is_list = ["LIST", "LSUB"].iter().any(|verb| text.starts_with(verb));
        while let Some(line) = self.line().await {
            if let Some(status) = line.strip_prefix(&format!("{} ", answer.tag)) {
                status.clone_into(&mut answer.status);
                return true;
            }
            if is_by_number && line.ends_with(" EXPUNGE") {
                self.complain(format!("EXPUNGE during {text}: {line}"));
            }
            if !(is_list && is_list_line(&line)) {
                self.replay(&line);
            }
            answer.untagged.push(line);
        }
        false
    }

    /// SELECT or EXAMINE, with a fresh view.
    pub async fn select(&mut self, mailbox: &str, is_read_only: bool) -> Answer {
        // A name that changes meanwhile is told in the answer.
        self.selected = Some(Selected { name: mailbox.to_owned(), is_read_only, ..Selected::default() });
        let answer = self.command(&format!("{} {mailbox}", if is_read_only { "EXAMINE" } else { "SELECT" })).await;
        match &mut self.selected {
            Some(selected) if answer.is_ok() => {
                selected.uid_validity = answer.number("UIDVALIDITY").unwrap_or_default();
                selected.uid_next = answer.number("UIDNEXT").unwrap_or_default();
            }
            _ => self.selected = None,
        }
        answer
    }

    /// CLOSE or UNSELECT.
    pub async fn deselect(&mut self, command: &str) -> Answer {
        let answer = self.command(command).await;
        if answer.is_ok() {
            self.selected = None;
        }
        answer
    }

    /// Enters IDLE; `false` where the connection ended.
    pub async fn begin_idle(&mut self) -> bool {
        let tag = self.tag();
        if !self.send(&format!("{tag} IDLE\r\n")).await {
            return false;
        }
        while let Some(line) = self.line().await {
            if line.starts_with('+') {
                self.idling = Some(tag);
                return true;
            }
            if line.starts_with(&tag) {
                self.complain(format!("IDLE was refused: {line}"));
                return true;
            }
            self.replay(&line);
        }
        false
    }

    /// Replays what is pushed for a while; `false` where the connection ended.
    pub async fn listen(&mut self, length: Duration) -> bool {
        let until = Instant::now() + length;
        loop {
            match timeout_at(until, self.line()).await {
                Ok(Some(line)) => self.replay(&line),
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
    }

    /// Leaves IDLE; `false` where the connection ended.
    pub async fn end_idle(&mut self) -> bool {
        let Some(tag) = self.idling.take() else { return true };
        if !self.send("DONE\r\n").await {
            return false;
        }
        while let Some(line) = self.line().await {
            if line.starts_with(&format!("{tag} ")) {
                return true;
            }
            self.replay(&line);
        }
        false
    }

    fn replay(&mut self, line: &str) {
        let Some(rest) = line.strip_prefix("* ") else { return };
        let Some(selected) = &mut self.selected else { return };
        if is_list_line(line) {
            // Nobody asked: the selected mailbox has this name now.
            if let Some((_, name)) = rest.split_once(") \"/\" ") {
                name.trim_matches('"').clone_into(&mut selected.name);
            }
            return;
        }
        if let Some(flags) = rest.strip_prefix("FLAGS ") {
            selected.flags = words(flags.trim_matches(['(', ')']));
            return;
        }
        let mut words = rest.splitn(3, ' ');
        let (Some(number), Some(what)) = (words.next().and_then(|word| word.parse::<usize>().ok()), words.next()) else { return };
        let exists = selected.view.len();
        let complaint = match what {
            "EXISTS" if number < exists => Some(format!("EXISTS shrinks from {exists} to {number}")),
            "EXISTS" => {
                selected.view.resize(number, Known::default());
                None
            }
            "RECENT" => (number > exists).then(|| format!("RECENT {number} of {exists}")),
            "EXPUNGE" if number == 0 || number > exists => Some(format!("EXPUNGE {number} of {exists}")),
            "EXPUNGE" => {
                selected.view.remove(number - 1);
                None
            }
            "FETCH" => replay_fetch(selected, number, words.next().unwrap_or_default()).err(),
            _ => None,
        };
        if let Some(complaint) = complaint {
            self.complain(complaint);
        }
    }

    /// Notes something that must not be.
    pub fn complain(&mut self, what: String) {
        self.complaints.push(format!("{}: {what}", self.name));
    }
}

fn replay_fetch(selected: &mut Selected, number: usize, data: &str) -> Result<(), String> {
    let exists = selected.view.len();
    let known = number.checked_sub(1).and_then(|index| selected.view.get_mut(index));
    let known = known.ok_or_else(|| format!("FETCH {number} of {exists}"))?;
    if let Some(flags) = flags_of(data) {
        let unknown = flags.iter().find(|flag| !flag.starts_with('\\') && !selected.flags.contains(*flag)).cloned();
        known.flags = Some(flags);
        if let Some(keyword) = unknown {
            return Err(format!("FETCH with {keyword} before FLAGS had it"));
        }
    }
    let (before, uid) = (known.uid, uid_of(data));
    known.uid = uid.or(before);
    match (before, uid) {
        (Some(before), Some(uid)) if before != uid => Err(format!("message {number} had UID {before} and now has {uid}")),
        _ => Ok(()),
    }
}

fn is_list_line(line: &str) -> bool {
    line.starts_with("* LIST ") || line.starts_with("* LSUB ")
}

fn words(text: &str) -> BTreeSet<String> {
    text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The UID in the data of a FETCH.
pub fn uid_of(data: &str) -> Option<u32> {
    data.split_once("UID ").and_then(|(_, rest)| rest.split([' ', ')']).next()?.parse().ok())
}

/// The flags in the data of a FETCH, without \Recent.
pub fn flags_of(data: &str) -> Option<BTreeSet<String>> {
    let (flags, _) = data.split_once("FLAGS (")?.1.split_once(')')?;
    let mut flags = words(flags);
    flags.remove("\\Recent");
    Some(flags)
}

/// The length of the first response in `bytes`, its literals and its CRLF with it, if it is there whole.
fn whole_line(bytes: &[u8]) -> Option<usize> {
    let mut start = 0;
    loop {
        let end = start + bytes.get(start..)?.iter().position(|byte| *byte == b'\n')? + 1;
        let line = String::from_utf8_lossy(&bytes[start..end]);
        let length = line.trim_end().strip_suffix('}').and_then(|line| line.rsplit_once('{')?.1.parse::<usize>().ok());
        let Some(length) = length else { return Some(end) };
        start = end + length;
    }
}
