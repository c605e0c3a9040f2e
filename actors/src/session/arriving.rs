//! The messages of an APPEND while they arrive: small ones in memory, large ones in a file, none larger than the limit.

use std::sync::Arc;

use carillon_storage::{Journal, SpoolFile};

use crate::arrival::Content;
use crate::placement::Placement;
use crate::refusal::Fault;

/// Bytes that are collected before they are written to the file.
const PIECE_BYTES: usize = 256 << 10;

/// The messages of the frame that is being read, in order.
#[derive(Default)]
pub struct Arriving {
    messages: Vec<Message>,
    /// Why they cannot be kept: the rest is read and dropped, and the command is refused when it is whole.
    fault: Option<Fault>,
}

struct Message {
    memory: Vec<u8>,
    /// Taken out while it is written to.
    file: Option<SpoolFile>,
    has_nul: bool,
}

/// A message that arrived.
pub struct Arrived {
    /// Its bytes.
    pub content: Content,
    /// Whether there is a NUL among them.
    pub has_nul: bool,
}

impl Arriving {
    /// A message of `length` bytes begins; more than `spool_bytes` go to a file.
    pub async fn begin(&mut self, length: u64, spool_bytes: u64, journal: &Arc<dyn Journal>, pool: &Placement) {
        let mut message = Message { memory: Vec::new(), file: None, has_nul: false };
        if length > spool_bytes {
            let journal = journal.clone();
            match pool.run(move || journal.spool()).await {
                Ok(Ok(file)) => message.file = Some(file),
                Ok(Err(error)) => self.fail(error.into()),
                Err(fault) => self.fail(fault),
            }
        }
        self.messages.push(message);
    }

    /// Bytes of the message that began last.
    pub async fn push(&mut self, bytes: &[u8], pool: &Placement) {
        let Some(message) = self.messages.last_mut().filter(|_| self.fault.is_none()) else { return };
        message.has_nul |= bytes.contains(&0);
        message.memory.extend_from_slice(bytes);
        if message.file.is_some() && message.memory.len() >= PIECE_BYTES {
            self.spill(pool).await;
        }
    }

    /// The message that began last is whole.
    pub async fn end(&mut self, pool: &Placement) {
        self.spill(pool).await;
    }

    async fn spill(&mut self, pool: &Placement) {
        let Some(message) = self.messages.last_mut() else { return };
        let Some(file) = message.file.take() else { return };
        let memory = std::mem::take(&mut message.memory);
        match pool.run(move || file.write(&memory).map(|()| file)).await {
            Ok(Ok(file)) => message.file = Some(file),
            Ok(Err(error)) => self.fail(error.into()),
            Err(fault) => self.fail(fault),
        }
    }

    fn fail(&mut self, fault: Fault) {
        tracing::warn!(%fault, "a message could not be spooled");
        self.fault.get_or_insert(fault);
    }

    /// All that arrived. Nothing is left.
    ///
    /// # Errors
    /// It could not be kept.
    pub fn take(&mut self) -> Result<Vec<Arrived>, Fault> {
        if let Some(fault) = self.fault.take() {
            self.messages.clear();
            return Err(fault);
        }
        let content = |message: Message| Arrived {
            has_nul: message.has_nul,
            content: match message.file {
                Some(file) => Content::File(file),
                None => Content::Memory(message.memory),
            },
        };
        Ok(self.messages.drain(..).map(content).collect())
    }
}
