//! A client that believes what it is told: it replays EXISTS, EXPUNGE and FETCH into a view of its own.

use std::collections::BTreeSet;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

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

/// One connection.
pub struct Client {
    pipe: BufReader<Box<dyn Stream>>,
    next_tag: u32,
    /// What was told of the selected mailbox.
    pub view: Vec<Known>,
    /// What contradicts the standard.
    pub complaints: Vec<String>,
    /// UIDVALIDITY of the selected mailbox.
    pub uid_validity: u32,
    name: String,
}

/// The answer to a command.
#[derive(Debug, Default)]
pub struct Answer {
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

    /// The text behind a response code, up to the bracket.
    pub fn code(&self, name: &str) -> Option<&str> {
        let lines = std::iter::once(&self.status).chain(&self.untagged);
        lines.filter_map(|line| line.split_once(&format!("[{name} "))?.1.split_once(']')).map(|(text, _)| text).next()
    }
}

impl Client {
    /// A client that logs in as `somebody`; `name` stands in its complaints.
    pub async fn log_in(pipe: Box<dyn Stream>, name: String) -> Option<Self> {
        let mut client =
            Self { pipe: BufReader::new(pipe), next_tag: 0, view: Vec::new(), complaints: Vec::new(), uid_validity: 0, name };
        let is_greeted = client.line().await?.starts_with("* OK");
        (is_greeted && client.command("LOGIN somebody secret").await.is_ok()).then_some(client)
    }

    /// One response line, with its literals in place; `None` at the end of the connection.
    async fn line(&mut self) -> Option<String> {
        let mut text = String::new();
        loop {
            let mut line = Vec::new();
            if self.pipe.read_until(b'\n', &mut line).await.ok()? == 0 {
                return None;
            }
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            text.push_str(&line);
            let Some(length) = literal(&line) else { return Some(text) };
            let mut bytes = vec![0; length];
            self.pipe.read_exact(&mut bytes).await.ok()?;
            text.push_str(&String::from_utf8_lossy(&bytes));
        }
    }

    /// Sends a command and replays its answer.
    pub async fn command(&mut self, text: &str) -> Answer {
        self.next_tag += 1;
        let tag = format!("t{}", self.next_tag);
        let is_by_number = ["FETCH", "STORE", "SEARCH"].iter().any(|verb| text.starts_with(verb));
        if self.pipe.get_mut().write_all(format!("{tag} {text}\r\n").as_bytes()).await.is_err() {
            return Answer::default();
        }
        let mut answer = Answer::default();
        while let Some(line) = self.line().await {
            if let Some(status) = line.strip_prefix(&format!("{tag} ")) {
                status.clone_into(&mut answer.status);
                return answer;
            }
            if is_by_number && line.ends_with(" EXPUNGE") {
                self.complain(format!("EXPUNGE during {text}: {line}"));
            }
            self.replay(&line);
            answer.untagged.push(line);
        }
        answer.status.clear();
        answer
    }

    /// SELECT, with a fresh view.
    pub async fn select(&mut self, mailbox: &str) -> Answer {
        self.view.clear();
        let answer = self.command(&format!("SELECT {mailbox}")).await;
        self.uid_validity = answer.code("UIDVALIDITY").and_then(|text| text.parse().ok()).unwrap_or_default();
        answer
    }

    /// IDLE for a while of simulated time.
    pub async fn idle(&mut self, microseconds: u64) -> Answer {
        self.next_tag += 1;
        let tag = format!("t{}", self.next_tag);
        if self.pipe.get_mut().write_all(format!("{tag} IDLE\r\n").as_bytes()).await.is_err() {
            return Answer::default();
        }
        let mut is_done = false;
        let done = tokio::time::sleep(std::time::Duration::from_micros(microseconds));
        tokio::pin!(done);
        loop {
            // `line` is not cancelled in its middle: responses are written whole, and a pipe is as large as the longest.
            tokio::select! {
                biased;
                line = self.line() => {
                    let Some(line) = line else { return Answer::default() };
                    if let Some(status) = line.strip_prefix(&format!("{tag} ")) {
                        return Answer { status: status.to_owned(), untagged: Vec::new() };
                    }
                    self.replay(&line);
                }
                () = &mut done, if !is_done => {
                    is_done = true;
                    if self.pipe.get_mut().write_all(b"DONE\r\n").await.is_err() {
                        return Answer::default();
                    }
                }
            }
        }
    }

    fn replay(&mut self, line: &str) {
        let Some(rest) = line.strip_prefix("* ") else { return };
        let mut words = rest.splitn(3, ' ');
        let (Some(number), Some(what)) = (words.next().and_then(|word| word.parse::<usize>().ok()), words.next()) else { return };
        match what {
            "EXISTS" if number < self.view.len() => {
                self.complain(format!("EXISTS shrinks from {} to {number}", self.view.len()));
            }
            "EXISTS" => self.view.resize(number, Known::default()),
            "EXPUNGE" if number == 0 || number > self.view.len() => {
                self.complain(format!("EXPUNGE {number} of {}", self.view.len()));
            }
            "EXPUNGE" => {
                self.view.remove(number - 1);
            }
            "FETCH" => self.replay_fetch(number, words.next().unwrap_or_default()),
            _ => {}
        }
    }

    fn replay_fetch(&mut self, number: usize, data: &str) {
        let uid = data.split_once("UID ").and_then(|(_, rest)| rest.split([' ', ')']).next()?.parse::<u32>().ok());
        let flags = data.split_once("FLAGS (").and_then(|(_, rest)| rest.split_once(')')).map(|(flags, _)| {
            flags.split(' ').filter(|flag| !flag.is_empty() && *flag != "\\Recent").map(str::to_owned).collect()
        });
        let Some(known) = number.checked_sub(1).and_then(|index| self.view.get_mut(index)) else {
            return self.complain(format!("FETCH {number} of {}", self.view.len()));
        };
        let before = known.uid;
        if uid.is_some() {
            known.uid = uid;
        }
        if flags.is_some() {
            known.flags = flags;
        }
        if let (Some(before), Some(uid)) = (before, uid)
            && before != uid
        {
            self.complain(format!("message {number} had UID {before} and now has {uid}"));
        }
    }

    /// Notes something that must not be.
    pub fn complain(&mut self, what: String) {
        self.complaints.push(format!("{}: {what}", self.name));
    }
}

fn literal(line: &str) -> Option<usize> {
    line.strip_suffix('}')?.rsplit_once('{')?.1.parse().ok()
}
