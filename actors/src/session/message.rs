//! The bytes of messages and what is computed of them, for reading jobs in the pool. A message is prefix + body; summaries are cached by content.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use carillon_protocol::mime::{BodyPart, Digest, PartContent, Summary, fields, summarise};
use carillon_storage::{BodyHash, Journal, codec};

use crate::mailbox::event::Details;
use crate::refusal::Fault;

/// The form of what is cached: another number where [`Summary`] or what it says of a message changes.
const CACHE_VERSION: u8 = 1;

/// Where messages are read from. Every method may block on the disk.
#[derive(Clone)]
pub struct Source {
    journal: Arc<dyn Journal>,
}

impl Source {
    /// Reads from this journal.
    pub fn new(journal: Arc<dyn Journal>) -> Self {
        Self { journal }
    }

    /// What a message holds and where, from the cache where it is there.
    ///
    /// # Errors
    /// The message is damaged or cannot be read.
    pub fn summary(&self, details: &Details) -> Result<Summary, Fault> {
        let prefix = prefix(details);
        if !prefix.is_empty() && !is_harmless(prefix) {
            return self.summary_of_all(details, prefix);
        }
        let summary = self.cached(&cache_key(&details.body), || Ok(self.journal.body(details.body)?))?;
        Ok(if prefix.is_empty() { summary } else { shifted(summary, prefix.len() as u64) })
    }

    /// The message's sort and thread keys. One that is damaged has none, and the trace is told.
    ///
    /// # Errors
    /// The journal cannot be read at all.
    pub fn digest(&self, details: &Details) -> Result<Digest, Fault> {
        match self.summary(details) {
            Ok(summary) => Ok(summary.digest),
            Err(fault @ Fault::Damaged(_)) => {
                tracing::warn!(body = %details.body, %fault, "a message has no sort keys");
                Ok(Digest::default())
            }
            Err(fault) => Err(fault),
        }
    }

    /// Prefix and body taken apart together: where one changes what the other means.
    fn summary_of_all(&self, details: &Details, prefix: &[u8]) -> Result<Summary, Fault> {
        let name = BodyHash::of(&[&(prefix.len() as u64).to_le_bytes(), prefix, &details.body.0].concat());
        self.cached(&cache_key(&name), || self.bytes(details))
    }

    /// A cache that cannot be read or written costs time and nothing else.
    fn cached(&self, key: &[u8], read: impl FnOnce() -> Result<Bytes, Fault>) -> Result<Summary, Fault> {
        if let Ok(Some(bytes)) = self.journal.cache(key)
            && let Ok(summary) = codec::decode(&bytes)
        {
            return Ok(summary);
        }
        let summary = summarise(&read()?);
        if let Ok(bytes) = codec::encode(&summary) {
            let _ = self.journal.put_cache(vec![(key.to_vec(), bytes.into())]);
        }
        Ok(summary)
    }

    /// The whole message.
    ///
    /// # Errors
    /// It is damaged or cannot be read.
    pub fn bytes(&self, details: &Details) -> Result<Bytes, Fault> {
        let body = self.journal.body(details.body)?;
        let prefix = prefix(details);
        let message = if prefix.is_empty() { body } else { [prefix, &body].concat().into() };
        whole(message, details.size)
    }

    /// Octets of the message; what lies behind its end is left out. Does not read the rest where the journal can avoid it.
    ///
    /// # Errors
    /// They are damaged or cannot be read.
    pub fn range(&self, details: &Details, range: Range<u64>) -> Result<Bytes, Fault> {
        let range = range.start.min(details.size)..range.end.min(details.size);
        if range == (0..details.size) {
            return self.bytes(details);
        }
        let prefix = prefix(details);
        let split = prefix.len() as u64;
        let in_prefix = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(prefix.len());
        let head = prefix.get(in_prefix(range.start)..in_prefix(range.end)).unwrap_or_default();
        let start = range.start.saturating_sub(split);
        let length = range.end.saturating_sub(split).saturating_sub(start);
        let tail = if length == 0 { Bytes::new() } else { self.journal.body_range(details.body, start, length)? };
        let bytes = if head.is_empty() { tail } else { [head, &tail].concat().into() };
        whole(bytes, range.end.saturating_sub(range.start))
    }

    /// The message's header, its blank line included.
    ///
    /// # Errors
    /// It is damaged or cannot be read.
    pub fn header(&self, details: &Details) -> Result<Bytes, Fault> {
        self.range(details, 0..self.summary(details)?.header_length)
    }
}

/// The summary of a body that just arrived and is still in memory, put beside it for all who read it.
pub fn summarise_arrival(journal: &dyn Journal, name: &BodyHash, body: &[u8]) -> Summary {
    let summary = summarise(body);
    if let Ok(bytes) = codec::encode(&summary) {
        // Without it the first reader computes it again.
        let _ = journal.put_cache(vec![(cache_key(name), bytes.into())]);
    }
    summary
}

fn cache_key(name: &BodyHash) -> Vec<u8> {
    [b"summary".as_slice(), &[CACHE_VERSION], &name.0].concat()
}

fn prefix(details: &Details) -> &[u8] {
    details.prefix.as_deref().unwrap_or_default()
}

/// Fewer octets than the log says are damage, whatever the journal thinks of them.
fn whole(bytes: Bytes, expected: u64) -> Result<Bytes, Fault> {
    if bytes.len() as u64 == expected {
        return Ok(bytes);
    }
    Err(Fault::Damaged(format!("a message has {} octets where its record says {expected}", bytes.len())))
}

/// Whether a prefix is whole lines of fields that say nothing about the envelope and the structure, so that it only moves what follows: also
/// where the body begins with no field, for at worst its first line continues a field that nobody asks for.
fn is_harmless(prefix: &[u8]) -> bool {
    const HARMLESS: [&str; 6] = ["Return-Path", "Delivered-To", "Received", "X-Original-To", "Envelope-To", "Received-SPF"];
    let known: usize =
        fields(prefix).filter(|field| HARMLESS.iter().any(|name| field.is(name))).map(|field| field.raw.len()).sum();
    prefix.ends_with(b"\n") && known == prefix.len()
}

/// The summary of a body as that of a message with `length` octets of header before it.
fn shifted(mut summary: Summary, length: u64) -> Summary {
    summary.header_length += length;
    let mut parts: Vec<&mut BodyPart> = vec![&mut summary.structure];
    while let Some(part) = parts.pop() {
        part.header_start += length;
        part.body_start += length;
        part.body_end += length;
        match &mut part.content {
            PartContent::Single => {}
            PartContent::Multipart(inner) => parts.extend(inner),
            PartContent::Message(_, inner) => parts.push(inner),
        }
    }
    summary.structure.header_start = 0;
    summary
}

#[cfg(test)]
mod tests {
    use carillon_storage::{MemoryJournal, ReadError};
    use proptest::prelude::*;

    use super::*;
    use crate::session::testing::{details, stored};

    const PREFIX: &str = "Return-Path: <a@b>\r\nDelivered-To: c@d\r\nReceived: by x\r\n  for c@d\r\n";

    fn with_prefix(journal: &MemoryJournal, prefix: &str, body: &[u8]) -> Details {
        let plain = stored(journal, body);
        let prefix = Some(prefix.as_bytes()).filter(|prefix| !prefix.is_empty());
        let size = plain.size + prefix.map_or(0, |prefix| prefix.len() as u64);
        Details { prefix: prefix.map(Arc::from), size, ..(*plain).clone() }
    }

    /// Twice: computed, and from the cache.
    fn check(prefix: &str, body: &[u8]) {
        let journal = Arc::new(MemoryJournal::new());
        let details = with_prefix(&journal, prefix, body);
        let source = Source::new(journal);
        let message = [prefix.as_bytes(), body].concat();
        let expected = summarise(&message);
        for _ in 0..2 {
            assert_eq!(source.summary(&details), Ok(expected.clone()), "{:?}", String::from_utf8_lossy(&message));
        }
        assert_eq!(source.bytes(&details).unwrap(), message);
        let header_length = usize::try_from(expected.header_length).unwrap();
        assert_eq!(source.header(&details).unwrap(), message[..header_length]);
        for start in [0, 1, prefix.len() - prefix.len().min(1), prefix.len(), message.len(), message.len() + 5] {
            for end in [start, start + 1, prefix.len(), prefix.len() + 3, message.len(), message.len() + 7] {
                let (from, to) = (start.min(message.len()), end.min(message.len()));
                let expected = message.get(from..to).unwrap_or_default();
                assert_eq!(source.range(&details, start as u64..end as u64).unwrap(), expected, "{start}..{end}");
            }
        }
    }

    #[test]
    fn a_message_is_prefix_and_body() {
        let nested = b"Subject: s\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n\
            Content-Type: message/rfc822\r\n\r\nSubject: t\r\n\r\ntext\r\n--b--\r\n";
        let bodies: [&[u8]; 8] = [
            nested,
            b"Subject: x\r\n\r\nbody",
            b" continued\r\nSubject: x\r\n\r\nbody",
            b"\tcontinued",
            b"\r\nbody",
            b"no header",
            b"",
            b"From x\r\n",
        ];
        for prefix in
            ["", PREFIX, "From: me@x\r\n", "Received: without line end", "Received: a\r\n\r\nwith blank line\r\n", "X: a\n"]
        {
            bodies.iter().for_each(|body| check(prefix, body));
        }
    }

    #[test]
    fn a_cache_that_is_no_summary_is_computed_again() {
        let journal = Arc::new(MemoryJournal::new());
        let details = stored(&journal, b"Subject: x\r\n\r\nbody");
        journal.put_cache(vec![(cache_key(&details.body), Bytes::from_static(b"rubbish"))]).unwrap();
        let summary = Source::new(journal.clone()).summary(&details).unwrap();
        assert_eq!(summary.header_length, 14);
        assert_ne!(journal.cache(&cache_key(&details.body)).unwrap(), Some(Bytes::from_static(b"rubbish")));
    }

    #[test]
    fn the_summary_of_an_arrival_is_kept() {
        let (journal, body) = (MemoryJournal::new(), b"Subject: x\r\n\r\nbody");
        let name = BodyHash::of(body);
        let summary = summarise_arrival(&journal, &name, body);
        assert_eq!(summary.header_length, 14);
        assert!(journal.cache(&cache_key(&name)).unwrap().is_some());
    }

    #[test]
    fn what_is_missing_or_short_is_damage() {
        let journal = Arc::new(MemoryJournal::new());
        let short = Details { size: 99, ..(*stored(&journal, b"body")).clone() };
        let missing = details(BodyHash::of(b"nowhere"), 7, 0);
        let source = Source::new(journal);
        for details in [&short, &*missing] {
            assert!(matches!(source.bytes(details), Err(Fault::Damaged(_))));
            assert!(matches!(source.range(details, 0..6), Err(Fault::Damaged(_))));
        }
        assert!(matches!(source.summary(&missing), Err(Fault::Damaged(_))));
        assert_eq!(Fault::from(ReadError::Failed("io".to_owned())), Fault::Unavailable("io".to_owned()));
    }

    proptest! {
        #[test]
        fn a_harmless_prefix_only_moves_the_summary(body in "( |\t|\r\n|\n|Subject|From|Content-Type|: |text|multipart/mixed; boundary=b|message/rfc822|--b|--){0,20}") {
            check(PREFIX, body.as_bytes());
        }
    }
}
