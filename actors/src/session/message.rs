//! The bytes of messages and what is computed of them, for reading jobs in the pool. A message is prefix + body; summaries are cached by content.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use carillon_protocol::mime::{BodyPart, Envelope, Excerpt, FieldFilter, Glance, PartContent, Summary, fields, summarise};
use carillon_storage::{BodyHash, CacheEntry, Journal, codec};
use serde::Deserialize;

use super::glances::Glances;
use crate::mailbox::event::Details;
use crate::refusal::Fault;

/// The form of what is cached: another number where [`Summary`] or what it says of a message changes.
const CACHE_VERSION: u8 = 3;
/// The longest summary that is cached, in octets: larger values make everything beside them in the log's store slow, and whoever sends a Subject of 30 MB shall
/// not fill it. Of a message that needs more the glance alone is kept, which is bounded (some 20 KB), and the rest is read from the message when asked for.
const LONGEST_CACHED: usize = 64 << 10;
/// Fields that are about one delivery and say nothing about the envelope and the structure.
const HARMLESS: [&str; 6] = ["Return-Path", "Delivered-To", "Received", "X-Original-To", "Envelope-To", "Received-SPF"];

/// Where messages are read from: one for the server, its clones share what is kept in memory. Every method may block on the disk.
#[derive(Clone)]
pub struct Source {
    journal: Arc<dyn Journal>,
    glances: Arc<Glances>,
}

/// A message's glance, held as it is encoded: small, and shared with the cache.
#[derive(Clone, Debug, Default)]
pub struct Glimpse {
    encoded: Arc<[u8]>,
    /// The octets before the message that it was taken of.
    prefix_length: u64,
}

/// What a message holds and where: a summary without its glance, in its layout.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Content {
    /// ENVELOPE.
    pub envelope: Envelope,
    /// BODYSTRUCTURE, with offsets from the message's first octet.
    pub structure: BodyPart,
}

/// What a summary is kept under, and how many octets of prefix it does not know of.
struct Name {
    hash: BodyHash,
    prefix_length: u64,
}

impl Glimpse {
    /// All of it.
    pub fn read(&self) -> Glance<&str, &[u8]> {
        // What is no glance does not come in here.
        let mut glance: Glance<&str, &[u8]> = codec::decode_front(&self.encoded).map(|(glance, _)| glance).unwrap_or_default();
        glance.header_length += self.prefix_length;
        glance
    }

    /// The first two of its fields, which cost nothing.
    fn front(&self) -> (u64, Option<Excerpt<&[u8]>>) {
        let front: (u64, Option<Excerpt<&[u8]>>) = codec::decode_front(&self.encoded).map(|(front, _)| front).unwrap_or_default();
        (front.0 + self.prefix_length, front.1)
    }

    /// The length of the message's header, its blank line included.
    pub fn header_length(&self) -> u64 {
        self.front().0
    }

    /// A header in which the filter finds what it finds in the message's; `None` where only that itself will do.
    pub fn header_for(&self, filter: &FieldFilter) -> Option<&[u8]> {
        let excerpt = self.front().1.filter(|excerpt| excerpt.is_enough_for(filter))?;
        let is_of_prefix = self.prefix_length > 0 && HARMLESS.iter().any(|name| filter.names(name.as_bytes()));
        (!is_of_prefix).then_some(excerpt.fields)
    }
}

impl Source {
    /// Reads from this journal, and keeps so many bytes of glances in memory.
    pub fn new(journal: Arc<dyn Journal>, glance_bytes: usize) -> Self {
        Self { journal, glances: Arc::new(Glances::new(glance_bytes)) }
    }

    /// What a message holds and where, from the cache where it is there.
    ///
    /// # Errors
    /// The message is damaged or cannot be read.
    pub fn content(&self, details: &Details) -> Result<Content, Fault> {
        let name = name(details);
        let kept = self.kept(&name);
        let mut content = match kept.as_deref().map(behind_front) {
            Some(Rest::Content(content)) => *content,
            Some(Rest::NotKept) => content_of(self.summarised(details, &name)?),
            Some(Rest::Unreadable) | None => {
                let summary = self.summarised(details, &name)?;
                put_summary(self.journal.as_ref(), &name.hash, &summary);
                content_of(summary)
            }
        };
        if name.prefix_length > 0 {
            shift(&mut content.structure, name.prefix_length);
        }
        Ok(content)
    }

    /// What lists, sorts and searches ask of a message, from memory where it is there.
    ///
    /// # Errors
    /// The message is damaged or cannot be read.
    pub fn glance(&self, details: &Details) -> Result<Glimpse, Fault> {
        let name = name(details);
        let encoded = match self.glances.get(&name.hash) {
            Some(encoded) => encoded,
            None => {
                let encoded = match self.kept(&name).and_then(|encoded| front_of(&encoded)) {
                    Some(encoded) => encoded,
                    None => put_summary(self.journal.as_ref(), &name.hash, &self.summarised(details, &name)?).unwrap_or_default(),
                };
                self.glances.put(name.hash, Arc::clone(&encoded));
                encoded
            }
        };
        Ok(Glimpse { encoded, prefix_length: name.prefix_length })
    }

    /// The glance for a message's sort and thread keys. One that is damaged has none, and the trace is told.
    ///
    /// # Errors
    /// The journal cannot be read at all.
    pub fn glance_for_order(&self, details: &Details) -> Result<Glimpse, Fault> {
        match self.glance(details) {
            Err(fault @ Fault::Damaged(_)) => {
                tracing::warn!(body = %details.body, %fault, "a message has no sort keys");
                Ok(Glimpse::default())
            }
            glance => glance,
        }
    }

    /// The summary of a body that just arrived and is still in memory, and what is to be kept beside it for all who read it: what is new is asked for next.
    pub fn summarise_arrival(&self, hash: &BodyHash, body: &[u8]) -> (Summary, Option<CacheEntry>) {
        let summary = summarise(body);
        let entry = cache_entry(hash, &summary).map(|(entry, glance)| {
            self.glances.put(*hash, glance);
            entry
        });
        (summary, entry)
    }

    /// What is read.
    pub fn journal(&self) -> &Arc<dyn Journal> {
        &self.journal
    }

    /// A cache that cannot be read costs time and nothing else.
    fn kept(&self, name: &Name) -> Option<Bytes> {
        self.journal.cache(&cache_key(&name.hash)).ok().flatten()
    }

    /// Takes a message apart.
    fn summarised(&self, details: &Details, name: &Name) -> Result<Summary, Fault> {
        let bytes = if name.hash == details.body { self.journal.body(details.body)? } else { self.bytes(details)? };
        Ok(summarise(&bytes))
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
        self.range(details, 0..self.glance(details)?.header_length())
    }
}

/// Keeps a summary for all who read it, and gives its glance as it is encoded. Without what is put here the next reader computes it again.
fn put_summary(journal: &dyn Journal, name: &BodyHash, summary: &Summary) -> Option<Arc<[u8]>> {
    let (entry, front) = cache_entry(name, summary)?;
    let _ = journal.put_cache(vec![entry]);
    Some(front)
}

/// What is kept of a summary, and its glance as it is encoded.
fn cache_entry(name: &BodyHash, summary: &Summary) -> Option<(CacheEntry, Arc<[u8]>)> {
    let encoded = Bytes::from(codec::encode(summary).ok()?);
    let front = front_of(&encoded)?;
    let kept = if encoded.len() > LONGEST_CACHED { encoded.slice(..front.len()) } else { encoded };
    Some(((cache_key(name), kept), front))
}

/// The glance in an encoded summary; `None` where there is none.
fn front_of(encoded: &[u8]) -> Option<Arc<[u8]>> {
    let (_, length) = codec::decode_front::<Glance<&str, &[u8]>>(encoded).ok()?;
    encoded.get(..length).map(Arc::from)
}

/// What stands behind the glance in what is kept of a summary.
enum Rest {
    Content(Box<Content>),
    /// It was too long.
    NotKept,
    Unreadable,
}

fn behind_front(kept: &[u8]) -> Rest {
    let front = codec::decode_front::<Glance<&str, &[u8]>>(kept).ok();
    match front.and_then(|(_, length)| kept.get(length..)) {
        Some([]) => Rest::NotKept,
        Some(rest) => codec::decode(rest).map_or(Rest::Unreadable, |content| Rest::Content(Box::new(content))),
        None => Rest::Unreadable,
    }
}

fn content_of(Summary { envelope, structure, .. }: Summary) -> Content {
    Content { envelope, structure }
}

/// A body has one summary, whatever harmless prefixes its copies have; where prefix and body change each other's meaning, both have one together.
fn name(details: &Details) -> Name {
    let prefix = prefix(details);
    if prefix.is_empty() || is_harmless(prefix) {
        return Name { hash: details.body, prefix_length: prefix.len() as u64 };
    }
    let hash = BodyHash::of(&[&(prefix.len() as u64).to_le_bytes(), prefix, &details.body.0].concat());
    Name { hash, prefix_length: 0 }
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
    let known: usize =
        fields(prefix).filter(|field| HARMLESS.iter().any(|name| field.is(name))).map(|field| field.raw.len()).sum();
    prefix.ends_with(b"\n") && known == prefix.len()
}

/// Makes the structure of a body that of a message with `length` octets of header before it.
fn shift(structure: &mut BodyPart, length: u64) {
    let mut parts: Vec<&mut BodyPart> = vec![structure];
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
    structure.header_start = 0;
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

    fn check_glance(glimpse: &Glimpse, message: &[u8], expected: &Summary) {
        let (glance, expected) = (glimpse.read(), &expected.glance);
        assert_eq!((glance.header_length, glimpse.header_length()), (expected.header_length, expected.header_length));
        assert_eq!(
            (glance.digest.base_subject, glance.digest.sent),
            (expected.digest.base_subject.as_str(), expected.digest.sent)
        );
        assert_eq!(glance.digest.references, expected.digest.references);
        assert_eq!(glance.excerpt, glimpse.front().1);
        let header = &message[..usize::try_from(expected.header_length).unwrap()];
        for names in [&["Subject"][..], &["Received"], &["RETURN-PATH", "to"], &["From", "Content-Type"], &["X"], &[""]] {
            let filter = FieldFilter::new(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(), false);
            if let Some(excerpt) = glimpse.header_for(&filter) {
                assert_eq!(filter.apply(excerpt), filter.apply(header), "{names:?} in {:?}", String::from_utf8_lossy(message));
            }
        }
        assert!(glimpse.header_for(&FieldFilter::new(&["subject".to_owned()], false)).is_some());
    }

    /// Twice: computed, and from the cache.
    fn check(prefix: &str, body: &[u8]) {
        let journal = Arc::new(MemoryJournal::new());
        let details = with_prefix(&journal, prefix, body);
        let source = Source::new(journal.clone(), 1 << 20);
        let message = [prefix.as_bytes(), body].concat();
        let expected = summarise(&message);
        for _ in 0..2 {
            let Content { envelope, structure } = source.content(&details).unwrap();
            assert_eq!(
                (&envelope, &structure),
                (&expected.envelope, &expected.structure),
                "{:?}",
                String::from_utf8_lossy(&message)
            );
            check_glance(&source.glance(&details).unwrap(), &message, &expected);
        }
        // Anew, from what the journal keeps; and computed where it keeps nothing.
        check_glance(&Source::new(journal.clone(), 0).glance(&details).unwrap(), &message, &expected);
        journal.put_cache(vec![(cache_key(&name(&details).hash), Bytes::new())]).unwrap();
        check_glance(&Source::new(journal, 0).glance(&details).unwrap(), &message, &expected);
        assert_eq!(source.bytes(&details).unwrap(), message);
        let header_length = usize::try_from(expected.glance.header_length).unwrap();
        assert_eq!(source.header(&details).unwrap(), message[..header_length]);
        for start in [0, 1, prefix.len() - prefix.len().min(1), prefix.len(), message.len(), message.len() + 5] {
            for end in [start, start + 1, prefix.len(), prefix.len() + 3, message.len(), message.len() + 7] {
                let (from, to) = (start.min(message.len()), end.min(message.len()));
                let expected = message.get(from..to).unwrap_or_default();
                assert_eq!(source.range(&details, start as u64..end as u64).unwrap(), expected, "{start}..{end}");
            }
        }
    }

    /// A sender decides how long a field is, not how much of it is kept.
    #[test]
    fn what_is_kept_of_a_message_is_bounded() {
        let long = "x\u{1fb7} ".repeat(1 << 17);
        let addresses = "\"A name\" <a@b.example>,\r\n ".repeat(5_000);
        let ids = "<some-id@example.org>\r\n ".repeat(5_000);
        for (field, value) in [
            ("Subject", &long),
            ("From", &long),
            ("Message-ID", &long),
            ("References", &ids),
            ("In-Reply-To", &ids),
            ("Content-Description", &long),
            ("Content-Type", &format!("text/plain; name=\"{long}\"")),
            ("Date", &long),
            ("X-Any", &long),
            ("Cc", &addresses),
        ] {
            let message = format!("{field}: {value}x\r\nTo: a@b\r\n\r\nbody\r\n");
            let journal = Arc::new(MemoryJournal::new());
            let source = Source::new(journal.clone(), 1 << 20);
            let (_, entry) = source.summarise_arrival(&BodyHash::of(message.as_bytes()), message.as_bytes());
            journal.put_cache(entry.into_iter().collect()).unwrap();
            let kept = || journal.cache(&cache_key(&BodyHash::of(message.as_bytes()))).unwrap().unwrap();
            let before = kept();
            assert!(before.len() <= LONGEST_CACHED, "{field}: {}", before.len());
            assert!(front_of(&before).unwrap().len() <= 20_000, "{field}");
            let (details, expected) = (with_prefix(&journal, "", message.as_bytes()), summarise(message.as_bytes()));
            for source in [source, Source::new(journal.clone(), 0)] {
                let Content { envelope, structure } = source.content(&details).unwrap();
                assert!(envelope == expected.envelope && structure == expected.structure, "{field} is given as it is");
                assert_eq!(source.glance(&details).unwrap().header_length(), expected.glance.header_length);
            }
            assert_eq!(kept(), before, "it is not put again");
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
        let source = Source::new(journal.clone(), 1 << 20);
        assert_eq!(
            (source.content(&details).unwrap().structure.body_start, source.glance(&details).unwrap().header_length()),
            (14, 14)
        );
        assert_ne!(journal.cache(&cache_key(&details.body)).unwrap(), Some(Bytes::from_static(b"rubbish")));
    }

    #[test]
    fn the_summary_of_an_arrival_is_kept() {
        let (journal, body) = (Arc::new(MemoryJournal::new()), b"Subject: x\r\n\r\nbody");
        let (name, source) = (BodyHash::of(body), Source::new(journal.clone(), 1 << 20));
        let (summary, entry) = source.summarise_arrival(&name, body);
        assert_eq!(summary.glance.header_length, 14);
        assert_eq!(entry.map(|(key, _)| key), Some(cache_key(&name)));
        // The body is not there yet, so this comes from memory.
        let details = details(name, body.len() as u64, 0);
        assert_eq!(source.glance(&details).unwrap().read().digest.base_subject, "x");
        assert!(source.content(&details).is_err());
    }

    #[test]
    fn what_is_missing_or_short_is_damage() {
        let journal = Arc::new(MemoryJournal::new());
        let short = Details { size: 99, ..(*stored(&journal, b"body")).clone() };
        let missing = details(BodyHash::of(b"nowhere"), 7, 0);
        let source = Source::new(journal, 1 << 20);
        for details in [&short, &*missing] {
            assert!(matches!(source.bytes(details), Err(Fault::Damaged(_))));
            assert!(matches!(source.range(details, 0..6), Err(Fault::Damaged(_))));
        }
        assert!(matches!(source.content(&missing), Err(Fault::Damaged(_))));
        assert_eq!(Fault::from(ReadError::Failed("io".to_owned())), Fault::Unavailable("io".to_owned()));
    }

    proptest! {
        #[test]
        fn a_harmless_prefix_only_moves_the_summary(body in "( |\t|\r\n|\n|Subject|From|Content-Type|: |text|multipart/mixed; boundary=b|message/rfc822|--b|--){0,20}") {
            check(PREFIX, body.as_bytes());
        }
    }
}
