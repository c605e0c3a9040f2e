//! The messages of an APPEND while they arrive: small ones in memory, large ones in a file, none larger than the limit.

use std::io::Write;
use std::path::PathBuf;

use crate::arrival::Content;
use crate::placement::Placement;
use crate::refusal::Fault;
use carillon_storage::Journal;
use std::sync::Arc;

/// Bytes that are collected before they are written to the file.
const PIECE_BYTES: usize = 256 << 10;

/// The messages of the frame that is being read, in order.
#[derive(Default)]
pub struct Arriving {
    messages: Vec<Message>,
}

struct Message {
    memory: Vec<u8>,
    file: Option<(PathBuf, Arc<std::fs::File>)>,
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
    pub async fn begin(&mut self, length: u64, spool_bytes: u64, journal: &Arc<dyn Journal>, pool: &Placement) -> Result<(), Fault> {
        let file = if length > spool_bytes {
            let journal = journal.clone();
            Some(pool.run(move || create(journal.as_ref())).await??)
        } else {
            None
        };
        self.messages.push(Message { memory: Vec::new(), file, has_nul: false });
        Ok(())
    }

    /// Bytes of the message that began last.
    pub async fn push(&mut self, bytes: &[u8], pool: &Placement) -> Result<(), Fault> {
        let Some(message) = self.messages.last_mut() else { return Err(Fault::Bug("bytes of a message that did not begin")) };
        message.has_nul |= bytes.contains(&0);
        message.memory.extend_from_slice(bytes);
        if message.file.is_some() && message.memory.len() >= PIECE_BYTES {
            message.spill(pool).await?;
        }
        Ok(())
    }

    /// The message that began last is whole.
    pub async fn end(&mut self, pool: &Placement) -> Result<(), Fault> {
        match self.messages.last_mut() {
            Some(message) if message.file.is_some() => message.spill(pool).await,
            _ => Ok(()),
        }
    }

    /// All that arrived. Nothing is left.
    pub fn take(&mut self) -> Vec<Arrived> {
        let content = |mut message: Message| Arrived {
            has_nul: message.has_nul,
            content: match message.file.take() {
                Some((path, _)) => Content::File(path),
                None => Content::Memory(std::mem::take(&mut message.memory)),
            },
        };
        self.messages.drain(..).map(content).collect()
    }
}

impl Message {
    async fn spill(&mut self, pool: &Placement) -> Result<(), Fault> {
        let Some((_, file)) = &self.file else { return Ok(()) };
        let (file, memory) = (file.clone(), std::mem::take(&mut self.memory));
        pool.run(move || (&*file).write_all(&memory)).await?.map_err(|error| Fault::Unavailable(error.to_string()))
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // Only what was not taken: a command that was refused or cut off. A file that stays is swept at the next start.
        if let Some((path, _)) = &self.file {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn create(journal: &dyn Journal) -> Result<(PathBuf, Arc<std::fs::File>), Fault> {
    let path = journal.spool()?;
    let file = std::fs::OpenOptions::new().create(true).truncate(true).write(true).open(&path);
    file.map(|file| (path, Arc::new(file))).map_err(|error| Fault::Unavailable(error.to_string()))
}
