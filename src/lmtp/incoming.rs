//! The message that is being received: small in memory, large in a file, never longer than the limit.

use std::sync::Arc;

use carillon_actors::placement::Placement;
use carillon_actors::refusal::Fault;
use carillon_storage::{Journal, SpoolFile};

use super::data::{Decoder, Framing};
use super::reply::Reply;

/// Bytes of a message that stay in memory.
const MEMORY_BYTES: usize = 1 << 20;

/// Where messages go while they arrive, and how long they may be.
#[derive(Clone)]
pub struct Spool {
    /// Names the files.
    pub journal: Arc<dyn Journal>,
    /// Writes them.
    pub placement: Placement,
    /// The longest message.
    pub message_bytes: u64,
}

/// The message.
pub struct Incoming {
    spool: Spool,
    decoder: Decoder,
    framing: Framing,
    memory: Vec<u8>,
    file: Option<SpoolFile>,
    length: u64,
    failed: Option<Reply>,
}

/// A whole message.
#[derive(Debug)]
pub enum Bytes {
    /// In memory.
    Memory(Vec<u8>),
    /// In a file of the journal's spool.
    File(SpoolFile),
}

impl Bytes {
    /// How many.
    pub fn octets(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(file) => std::fs::metadata(file.path()).map_or(u64::MAX, |metadata| metadata.len()),
        }
    }
}

impl Incoming {
    /// Nothing yet.
    pub fn new(spool: Spool, framing: Framing) -> Self {
        Self { spool, decoder: Decoder::new(framing), framing, memory: Vec::new(), file: None, length: 0, failed: None }
    }

    /// How its octets are framed.
    pub const fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether the end of DATA was found.
    pub fn is_at_end(&self) -> bool {
        self.decoder.is_at_end()
    }

    /// Takes bytes from the wire and gives the number that it took. What is too long, or cannot be kept, is passed over: the reply tells at the end.
    pub async fn push(&mut self, input: &[u8]) -> usize {
        let before = self.memory.len();
        let used = self.decoder.push(input, &mut self.memory);
        self.account(before).await;
        used
    }

    async fn account(&mut self, before: usize) {
        self.length = self.length.saturating_add(self.memory.len().saturating_sub(before) as u64);
        if self.length > self.spool.message_bytes && self.failed.is_none() {
            self.failed = Some(Reply::too_big(self.spool.message_bytes));
        }
        if self.failed.is_some() {
            self.memory.clear();
            self.file = None;
        } else if self.memory.len() > MEMORY_BYTES
            && let Err(fault) = self.spill().await
        {
            self.fail(&fault);
        }
    }

    fn fail(&mut self, fault: &Fault) {
        tracing::warn!(%fault, "a message cannot be spooled");
        self.failed = Some(Reply::new(452, "4.3.1", "the message cannot be stored now"));
        self.memory = Vec::new();
        self.file = None;
    }

    async fn spill(&mut self) -> Result<(), Fault> {
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                let journal = Arc::clone(&self.spool.journal);
                self.spool.placement.run(move || journal.spool()).await??
            }
        };
        let bytes = std::mem::take(&mut self.memory);
        self.file = Some(self.spool.placement.run(move || file.write(&bytes).map(|()| file)).await??);
        Ok(())
    }

    /// The whole message.
    ///
    /// # Errors
    /// The reply that every recipient gets instead.
    pub async fn finish(mut self) -> Result<Bytes, Reply> {
        let before = self.memory.len();
        self.decoder.finish(&mut self.memory);
        self.account(before).await;
        if self.file.is_some()
            && self.failed.is_none()
            && let Err(fault) = self.spill().await
        {
            self.fail(&fault);
        }
        if let Some(reply) = self.failed {
            return Err(reply);
        }
        if self.decoder.has_nul() {
            // RFC 5321 §4.1.2; IMAP could not give it out again (RFC 9051 §4.3).
            return Err(Reply::new(554, "5.6.0", "the message holds NUL octets"));
        }
        if self.length == 0 {
            return Err(Reply::new(554, "5.6.0", "the message is empty"));
        }
        match self.file {
            Some(file) => Ok(Bytes::File(file)),
            None => Ok(Bytes::Memory(self.memory)),
        }
    }
}
