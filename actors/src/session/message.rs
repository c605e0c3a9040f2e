//! The bytes of messages and what is computed of them, for reading jobs in the pool. A message is prefix + body; summaries are cached by content.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use carillon_protocol::mime::{BodyPart, Envelope, Excerpt, FieldFilter, Glance, PartContent, Summary, fields, summarise};
use carillon_storage::{BodyHash, CacheEntry, Journal, codec};
use serde::Deserialize;

use super::glances::Glances;
use super::recomputed::Recomputed;
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
    recomputed: Arc<Recomputed>,
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
        Self { journal, glances: Arc::new(Glances::new(glance_bytes)), recomputed: Arc::default() }
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
                self.keep(&name.hash, &summary);
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
                    None => self.keep(&name.hash, &self.summarised(details, &name)?).unwrap_or_default(),
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
        let key = cache_key(&name.hash);
        self.recomputed.get(&key).or_else(|| self.journal.cache(&key).ok().flatten())
    }

    /// Keeps a summary for all who read it, and gives its glance as it is encoded.
    fn keep(&self, name: &BodyHash, summary: &Summary) -> Option<Arc<[u8]>> {
        let (entry, front) = cache_entry(name, summary)?;
        let entries = self.recomputed.add(entry);
        if !entries.is_empty() {
            // Without them the next reader computes again.
            let _ = self.journal.put_cache(entries);
        }
        Some(front)
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
mod tests;
