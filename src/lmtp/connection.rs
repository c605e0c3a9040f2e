//! One LMTP peer, from its greeting to its end. Commands run one after another; replies to pipelined ones go out together.

use std::future::Future;
use std::io;
use std::time::Duration;

use carillon_protocol::text::is_http_method;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;

use super::command::{self, Address, Command, MAX_LINE_BYTES, Mail};
use super::data::Framing;
use super::incoming::{Bytes, Incoming, Spool};
use super::reply::{Reply, hello};

/// Recipients of one message: RFC 5321 §4.5.3.1.8 asks for 100 at least.
const MAX_RECIPIENTS: usize = 100;
/// Refused commands in a row before the end.
const MAX_ERRORS: u32 = 20;
/// Commands without a delivery before the end.
const MAX_COMMANDS: u32 = 1000;
/// How long a peer may be silent (RFC 5321 §4.5.3.2.7).
const SILENCE: Duration = Duration::from_secs(300);
/// How long a peer may leave replies unread.
const WRITE_TIMEOUT: Duration = Duration::from_secs(120);
const READ_BYTES: usize = 32 << 10;

/// Who sends, as far as this connection knows.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// What the peer called itself.
    pub hello: String,
    /// The sender.
    pub mail: Mail,
}

/// What the connection asks of the server behind it.
pub trait Delivery {
    /// Where a recipient's mail goes.
    type Target;

    /// Finds a recipient, or the reply that refuses it.
    fn recipient(&self, address: &Address) -> impl Future<Output = Result<Self::Target, Reply>>;

    /// Delivers to all targets; a reply for each, in their order. A success is durable.
    fn deliver(&self, envelope: &Envelope, bytes: Bytes, targets: &[(Address, Self::Target)])
    -> impl Future<Output = Vec<Reply>>;
}

/// What a connection is given.
pub struct Settings {
    /// The server's name.
    pub hostname: String,
    /// Where messages go while they arrive.
    pub spool: Spool,
    /// Becomes true when the server ends.
    pub stop: watch::Receiver<bool>,
}

/// What a connection did, for the line at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Bytes received.
    pub in_bytes: u64,
    /// Bytes sent.
    pub out_bytes: u64,
    /// Recipients that have a message now.
    pub delivered: u64,
    /// Recipients that were refused or could not be delivered to, and messages that were refused.
    pub refused: u64,
    /// Why it ended.
    pub end: String,
}

/// What ends a connection early.
enum Halt {
    /// The peer is gone, or never read.
    Gone(io::Error),
    /// A last word, then the end.
    Farewell(Reply),
}

impl From<io::Error> for Halt {
    fn from(error: io::Error) -> Self {
        Self::Gone(error)
    }
}

/// A transaction under way.
struct Transaction<T> {
    mail: Mail,
    recipients: Vec<(Address, T)>,
    incoming: Option<Incoming>,
}

struct Connection<'a, S, D: Delivery> {
    stream: S,
    settings: Settings,
    delivery: &'a D,
    input: Vec<u8>,
    output: String,
    hello: Option<String>,
    transaction: Option<Transaction<D::Target>>,
    errors: u32,
    commands: u32,
    summary: Summary,
}

/// Serves a peer to its end.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin, D: Delivery>(stream: S, settings: Settings, delivery: &D) -> Summary {
    let output = format!("220 {} LMTP carillon\r\n", settings.hostname);
    let mut connection = Connection {
        stream,
        settings,
        delivery,
        input: Vec::new(),
        output,
        hello: None,
        transaction: None,
        errors: 0,
        commands: 0,
        summary: Summary::default(),
    };
    let end = match connection.run().await {
        Ok(end) => end.to_owned(),
        Err(Halt::Farewell(reply)) => {
            connection.reply(&reply);
            reply.text
        }
        Err(Halt::Gone(error)) => error.to_string(),
    };
    // Who is gone hears nothing.
    let _ = connection.flush().await;
    Summary { end, ..connection.summary }
}

/// Whether a line begins a request of HTTP, whose body could hold commands.
fn is_http(line: &[u8]) -> bool {
    line.split(|byte| *byte == b' ').next().is_some_and(is_http_method)
}

impl<S: AsyncRead + AsyncWrite + Unpin, D: Delivery> Connection<'_, S, D> {
    /// Why it ended.
    async fn run(&mut self) -> Result<&'static str, Halt> {
        loop {
            let Some(line) = self.line().await? else { return Ok("the peer closed the connection") };
            self.commands += 1;
            if self.hello.is_none() && line.as_ref().is_ok_and(|line| is_http(line)) {
                return Err(Halt::Farewell(Reply::new(421, "5.7.0", "this is LMTP")));
            }
            let reply = match line.and_then(|line| command::parse(&line)) {
                Ok(Command::Quit) => {
                    self.reply(&Reply::new(221, "2.0.0", "bye"));
                    return Ok("quit");
                }
                Ok(command) => self.command(command).await?,
                Err(reply) => Some(reply),
            };
            if let Some(reply) = &reply {
                self.errors = if reply.is_success() { 0 } else { self.errors + 1 };
                self.reply(reply);
            }
            if self.errors >= MAX_ERRORS || self.commands >= MAX_COMMANDS {
                return Err(Halt::Farewell(Reply::new(421, "4.7.0", "too many commands without a delivery")));
            }
        }
    }

    fn reply(&mut self, reply: &Reply) {
        self.output.push_str(&reply.to_string());
    }

    /// Who looks for a message that never came finds this.
    fn note_refusal(&mut self, what: &'static str, recipient: &str, reply: &Reply) {
        self.summary.refused += 1;
        let sender = self.transaction.as_ref().and_then(|transaction| transaction.mail.sender.as_ref());
        let sender = sender.map(Address::quoted).unwrap_or_default();
        tracing::info!(recipient, sender, code = reply.code, enhanced = reply.enhanced, reason = reply.text, "{what}");
    }

    /// Does a command; `None` where it replied by itself.
    async fn command(&mut self, command: Command) -> Result<Option<Reply>, Halt> {
        Ok(Some(match command {
            Command::Lhlo(name) => {
                self.transaction = None;
                self.hello = Some(name);
                self.output.push_str(&hello(&self.settings.hostname, self.settings.spool.message_bytes));
                return Ok(None);
            }
            Command::Mail(mail) => self.mail(mail),
            Command::Rcpt(address) => self.rcpt(address).await,
            Command::Data => return self.data().await,
            Command::Bdat { size, is_last } => return self.bdat(size, is_last).await,
            Command::Rset => {
                self.transaction = None;
                Reply::ok("forgotten")
            }
            Command::Noop => Reply::ok("here"),
            Command::Vrfy => Reply::new(252, "2.5.0", "try to deliver to it"),
            Command::Quit => return Ok(None),
        }))
    }

    fn mail(&mut self, mail: Mail) -> Reply {
        if self.hello.is_none() {
            return Reply::out_of_order("LHLO first");
        }
        if self.transaction.is_some() {
            return Reply::out_of_order("one MAIL at a time");
        }
        let limit = self.settings.spool.message_bytes;
        if mail.size.is_some_and(|size| size > limit) {
            let reply = Reply::too_big(limit);
            self.note_refusal("message refused", "", &reply);
            return reply;
        }
        self.transaction = Some(Transaction { mail, recipients: Vec::new(), incoming: None });
        Reply::new(250, "2.1.0", "sender taken")
    }

    async fn rcpt(&mut self, address: Address) -> Reply {
        let Some(transaction) = self.transaction.as_mut().filter(|transaction| transaction.incoming.is_none()) else {
            return Reply::out_of_order("MAIL first");
        };
        if transaction.recipients.len() >= MAX_RECIPIENTS {
            return Reply::new(452, "4.5.3", "too many recipients");
        }
        if address.has_utf8() && !transaction.mail.is_utf8 {
            return Reply::new(553, "5.6.7", "an address in UTF-8 needs SMTPUTF8");
        }
        match self.delivery.recipient(&address).await {
            Ok(target) => {
                transaction.recipients.push((address, target));
                Reply::new(250, "2.1.5", "recipient taken")
            }
            Err(reply) => {
                self.note_refusal("recipient refused", &address.quoted(), &reply);
                reply
            }
        }
    }

    fn incoming(&self, framing: Framing) -> Incoming {
        Incoming::new(self.settings.spool.clone(), framing)
    }

    async fn data(&mut self) -> Result<Option<Reply>, Halt> {
        match &self.transaction {
            None => return Ok(Some(Reply::out_of_order("MAIL first"))),
            // RFC 2033 §4.2: DATA without a recipient that was taken fails.
            Some(transaction) if transaction.recipients.is_empty() => return Ok(Some(Reply::out_of_order("no recipients"))),
            Some(transaction) if transaction.incoming.is_some() => return Ok(Some(Reply::out_of_order("go on with BDAT"))),
            Some(_) => {}
        }
        self.output.push_str("354 send the message, and a dot alone on a line\r\n");
        self.flush().await?;
        let mut incoming = self.incoming(Framing::Dots);
        loop {
            let used = incoming.push(&self.input).await;
            self.input.drain(..used);
            if incoming.is_at_end() {
                break;
            }
            self.read_more().await?;
        }
        self.finish(incoming).await;
        Ok(None)
    }

    /// The octets follow whatever the reply will be: they are taken off the stream in any case.
    async fn bdat(&mut self, size: u64, is_last: bool) -> Result<Option<Reply>, Halt> {
        let mut refused = None;
        let mut incoming = match self.transaction.as_mut() {
            Some(transaction) if !transaction.recipients.is_empty() => match transaction.incoming.take() {
                Some(incoming) if incoming.framing() == Framing::Counted => incoming,
                _ => self.incoming(Framing::Counted),
            },
            _ => {
                refused = Some(Reply::out_of_order("MAIL and RCPT first"));
                self.incoming(Framing::Counted)
            }
        };
        let mut left = size;
        while left > 0 {
            if self.input.is_empty() {
                self.read_more().await?;
            }
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(self.input.len());
            let rest = self.input.split_off(count);
            let chunk = std::mem::replace(&mut self.input, rest);
            left = left.saturating_sub(chunk.len() as u64);
            if refused.is_none() {
                incoming.push(&chunk).await;
            }
        }
        if refused.is_some() {
            return Ok(refused);
        }
        if is_last {
            self.finish(incoming).await;
            return Ok(None);
        }
        if let Some(transaction) = self.transaction.as_mut() {
            transaction.incoming = Some(incoming);
        }
        Ok(Some(Reply::ok(format!("{size} octets taken"))))
    }

    /// The message is whole: one reply for each recipient (RFC 2033 §4.2).
    async fn finish(&mut self, incoming: Incoming) {
        let bytes = incoming.finish().await;
        if let Err(reply) = &bytes {
            self.note_refusal("message refused", "", reply);
        }
        let Some(Transaction { mail, recipients, .. }) = self.transaction.take() else { return };
        let envelope = Envelope { hello: self.hello.clone().unwrap_or_default(), mail };
        let replies = match bytes {
            Ok(bytes) => {
                let replies = self.delivery.deliver(&envelope, bytes, &recipients).await;
                let delivered = replies.iter().filter(|reply| reply.is_success()).count();
                self.summary.delivered += delivered as u64;
                self.summary.refused += (replies.len() - delivered) as u64;
                replies
            }
            Err(reply) => vec![reply; recipients.len()],
        };
        self.commands = 0;
        self.errors = 0;
        let mut replies = replies.into_iter();
        for _ in &recipients {
            let reply = replies.next().unwrap_or_else(|| Reply::new(451, "4.3.0", "no outcome"));
            self.reply(&reply);
        }
    }

    /// The next line without CRLF; `None` at the end of input. A line that is too long or ends in a lone LF is an error and passed over.
    async fn line(&mut self) -> Result<Option<Result<Vec<u8>, Reply>>, Halt> {
        let mut is_too_long = false;
        loop {
            if let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.input.drain(..=end).collect();
                line.pop();
                return Ok(Some(if is_too_long || line.len() > MAX_LINE_BYTES + 1 {
                    Err(Reply::new(500, "5.5.2", "the line is too long"))
                } else if line.pop() == Some(b'\r') {
                    Ok(line)
                } else {
                    Err(Reply::new(500, "5.5.2", "lines end in CR LF"))
                }));
            }
            if self.input.len() > MAX_LINE_BYTES {
                is_too_long = true;
                self.input.clear();
            }
            self.flush().await?;
            match self.read_more().await {
                Ok(()) => {}
                Err(Halt::Gone(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                Err(halt) => return Err(halt),
            }
        }
    }

    async fn read_more(&mut self) -> Result<(), Halt> {
        let before = self.input.len();
        self.input.resize(before + READ_BYTES, 0);
        let place = self.input.get_mut(before..).unwrap_or_default();
        let read = tokio::time::timeout(SILENCE, self.stream.read(place));
        let outcome = tokio::select! {
            outcome = read => outcome,
            _ = self.settings.stop.wait_for(|is_ending| *is_ending) => {
                self.input.truncate(before);
                return Err(Halt::Farewell(Reply::new(421, "4.3.2", "the server is ending")));
            }
        };
        let count = match &outcome {
            Ok(Ok(count)) => *count,
            _ => 0,
        };
        self.input.truncate(before + count);
        self.summary.in_bytes += count as u64;
        match outcome {
            Err(_) => Err(Halt::Farewell(Reply::new(421, "4.4.2", "silent for too long"))),
            Ok(Err(error)) => Err(error.into()),
            Ok(Ok(0)) => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(Ok(_)) => Ok(()),
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        let output = std::mem::take(&mut self.output);
        self.summary.out_bytes += output.len() as u64;
        let write = async {
            self.stream.write_all(output.as_bytes()).await?;
            self.stream.flush().await
        };
        tokio::time::timeout(WRITE_TIMEOUT, write).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

#[cfg(test)]
mod tests;
