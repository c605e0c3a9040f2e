//! SEARCH (RFC 9051 §6.4.4) over what the client was told: a function of a reader and a source of bytes, run in the pool.

use bytes::Bytes;
use carillon_protocol::command::{DateComparison, SearchKey};
use carillon_protocol::date::Day;
use carillon_protocol::flag::{Flag, FlagSet, SystemFlag};
use carillon_protocol::mime::{FieldFilter, Needle, body_text, header_text, message_text};
use carillon_protocol::number::Uid;
use carillon_protocol::set::UidSet;

use super::message::{Content, Glimpse, Source};
use super::reader::{Reader, Seen};
use super::resolve::BadSequence;
use super::view::View;
use crate::refusal::Fault;

/// A search key whose sets and keywords mean what they mean in one view, texts ready to be looked for.
#[derive(Clone, Debug)]
pub enum BoundKey {
    /// All of them, the cheap ones first.
    And(Vec<BoundKey>),
    /// One of the two, the cheap one first.
    Or(Box<BoundKey>, Box<BoundKey>),
    /// Not it.
    Not(Box<BoundKey>),
    /// Messages with this system flag.
    Flag(SystemFlag),
    /// Messages with this keyword, as a bit; 0 for one that the mailbox does not know.
    Keyword(u64),
    /// Messages that this session holds as recent.
    Recent,
    /// These messages.
    Set(UidSet),
    /// INTERNALDATE's day.
    Internal(DateComparison, Day),
    /// The Date field's day.
    Sent(DateComparison, Day),
    /// More octets.
    Larger(u64),
    /// Fewer octets.
    Smaller(u64),
    /// The text in a field of this name.
    Header(String, FieldFilter, Needle),
    /// The text in the body.
    Body(Needle),
    /// The text anywhere.
    Text(Needle),
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The messages that match; exact, without ghosts.
    pub uids: UidSet,
    /// Why it is not known of some messages whether they match, the first reason: they are damaged. They are not in `uids`.
    pub damage: Option<Fault>,
}

/// Resolves the sets of a key as this client counts messages now. A number beyond the last message matches nothing.
///
/// # Errors
/// A lone 0.
pub fn bind(key: &SearchKey, view: &View) -> Result<BoundKey, BadSequence> {
    Ok(match key {
        SearchKey::And(keys) => all_of(keys.iter().map(|key| bind(key, view)).collect::<Result<_, _>>()?),
        SearchKey::Or(one, other) => {
            let (one, other) = (Box::new(bind(one, view)?), Box::new(bind(other, view)?));
            if one.cost() <= other.cost() { BoundKey::Or(one, other) } else { BoundKey::Or(other, one) }
        }
        SearchKey::Not(key) => BoundKey::Not(Box::new(bind(key, view)?)),
        SearchKey::All => BoundKey::And(Vec::new()),
        SearchKey::Flag(flag) => BoundKey::Flag(*flag),
        SearchKey::Keyword(keyword) => {
            let flags: FlagSet = std::iter::once(Flag::Keyword(keyword.clone())).collect();
            BoundKey::Keyword(view.snapshot().flags(&flags).keyword_bits())
        }
        SearchKey::Recent => BoundKey::Recent,
        SearchKey::Set(numbering, set) => BoundKey::Set(view.resolve_key(set, *numbering)?),
        SearchKey::Internal(comparison, day) => BoundKey::Internal(*comparison, *day),
        SearchKey::Sent(comparison, day) => BoundKey::Sent(*comparison, *day),
        SearchKey::Larger(size) => BoundKey::Larger(*size),
        SearchKey::Smaller(size) => BoundKey::Smaller(*size),
        SearchKey::Header(name, text) => {
            let filter = FieldFilter::new(std::slice::from_ref(name), false);
            BoundKey::Header(name.clone(), filter, Needle::new(text))
        }
        SearchKey::Body(text) => BoundKey::Body(Needle::new(text)),
        SearchKey::Text(text) => BoundKey::Text(Needle::new(text)),
    })
}

/// Sorted by cost, and the sets made one, so that only its messages are looked at.
fn all_of(keys: Vec<BoundKey>) -> BoundKey {
    let (mut set, mut others) = (None::<UidSet>, Vec::with_capacity(keys.len()));
    for key in keys {
        match key {
            BoundKey::Set(uids) => set = Some(set.map_or_else(|| uids.clone(), |set| set.intersection(&uids))),
            BoundKey::And(inner) => others.extend(inner),
            key => others.push(key),
        }
    }
    others.extend(set.map(BoundKey::Set));
    others.sort_by_key(BoundKey::cost);
    BoundKey::And(others)
}

/// The messages that match, ghosts left out.
///
/// # Errors
/// The journal cannot be read at all. A damaged message is no error: see [`Found::damage`].
pub fn search(reader: &Reader, key: &BoundKey, source: &Source) -> Result<Found, Fault> {
    let everything = UidSet::from_range(Uid::MIN, Uid::MAX);
    let candidates = key.set().unwrap_or(&everything);
    let mut found = Found::default();
    for seen in reader.messages(candidates).filter(|seen| !seen.ghost) {
        match Candidate::new(seen, source).matches(key) {
            Ok(true) => found.uids.insert(seen.uid),
            Ok(false) => {}
            Err(fault @ Fault::Damaged(_)) => {
                tracing::warn!(uid = seen.uid.get(), body = %seen.details.body, %fault, "a message cannot be searched");
                found.damage.get_or_insert(fault);
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(found)
}

impl BoundKey {
    /// What has to be read: 0 nothing, 1 the glance, 2 perhaps the header, 3 all of the message.
    fn cost(&self) -> u8 {
        match self {
            Self::And(keys) => keys.iter().map(Self::cost).max().unwrap_or(0),
            Self::Or(one, other) => one.cost().max(other.cost()),
            Self::Not(key) => key.cost(),
            Self::Sent(..) => 1,
            Self::Header(..) => 2,
            Self::Body(_) | Self::Text(_) => 3,
            _ => 0,
        }
    }

    /// A set that holds all that match.
    fn set(&self) -> Option<&UidSet> {
        match self {
            Self::Set(uids) => Some(uids),
            Self::And(keys) => keys.iter().find_map(|key| if let Self::Set(uids) = key { Some(uids) } else { None }),
            _ => None,
        }
    }
}

/// A message, read no further than the keys need.
struct Candidate<'a> {
    seen: Seen<'a>,
    source: &'a Source,
    glance: Option<Glimpse>,
    content: Option<Content>,
    header: Option<Bytes>,
    whole: Option<Bytes>,
}

impl<'a> Candidate<'a> {
    fn new(seen: Seen<'a>, source: &'a Source) -> Self {
        Self { seen, source, glance: None, content: None, header: None, whole: None }
    }

    /// What cannot be known for damage is an error only where the rest of the key does not decide.
    fn matches(&mut self, key: &BoundKey) -> Result<bool, Fault> {
        let details = self.seen.details;
        Ok(match key {
            BoundKey::And(keys) => return self.is_every(keys),
            BoundKey::Or(one, other) => match self.matches(one) {
                Ok(false) => self.matches(other)?,
                Ok(true) => true,
                Err(fault) => return if self.matches(other)? { Ok(true) } else { Err(fault) },
            },
            BoundKey::Not(key) => !self.matches(key)?,
            BoundKey::Flag(flag) => self.seen.flags.has(*flag),
            BoundKey::Keyword(bit) => self.seen.flags.keyword_bits() & bit != 0,
            BoundKey::Recent => self.seen.recent,
            BoundKey::Set(uids) => uids.contains(self.seen.uid),
            BoundKey::Internal(comparison, day) => is_day(details.internal_date.day(), *comparison, *day),
            BoundKey::Sent(comparison, day) => {
                self.glance()?.read().digest.sent.is_some_and(|sent| is_day(sent.day(), *comparison, *day))
            }
            BoundKey::Larger(size) => details.size > *size,
            BoundKey::Smaller(size) => details.size < *size,
            BoundKey::Header(name, filter, needle) => {
                let is_in = |header: &[u8]| header_text(header, name).any(|text| needle.is_in(&text));
                match self.glance()?.header_for(filter).map(is_in) {
                    Some(is_in) => is_in,
                    None => is_in(&self.header()?),
                }
            }
            BoundKey::Body(needle) => {
                let whole = self.whole()?;
                body_text(&whole, &self.content()?.structure).any(|text| needle.is_in(&text))
            }
            BoundKey::Text(needle) => {
                let whole = self.whole()?;
                message_text(&whole, &self.content()?.structure).any(|text| needle.is_in(&text))
            }
        })
    }

    fn is_every(&mut self, keys: &[BoundKey]) -> Result<bool, Fault> {
        let mut unknown = None;
        for key in keys {
            match self.matches(key) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(fault) => unknown = Some(fault),
            }
        }
        unknown.map_or(Ok(true), Err)
    }

    fn glance(&mut self) -> Result<&Glimpse, Fault> {
        let glance = match self.glance.take() {
            Some(glance) => glance,
            None => self.source.glance(self.seen.details)?,
        };
        Ok(self.glance.insert(glance))
    }

    fn content(&mut self) -> Result<&Content, Fault> {
        let content = match self.content.take() {
            Some(content) => content,
            None => self.source.content(self.seen.details)?,
        };
        Ok(self.content.insert(content))
    }

    fn header(&mut self) -> Result<Bytes, Fault> {
        if let Some(bytes) = self.whole.as_ref().or(self.header.as_ref()) {
            return Ok(bytes.clone());
        }
        let length = self.glance()?.header_length();
        let header = self.source.range(self.seen.details, 0..length)?;
        Ok(self.header.insert(header).clone())
    }

    fn whole(&mut self) -> Result<Bytes, Fault> {
        if let Some(bytes) = &self.whole {
            return Ok(bytes.clone());
        }
        let whole = self.source.bytes(self.seen.details)?;
        Ok(self.whole.insert(whole).clone())
    }
}

fn is_day(day: Day, comparison: DateComparison, other: Day) -> bool {
    match comparison {
        DateComparison::Before => day < other,
        DateComparison::On => day == other,
        DateComparison::Since => day >= other,
    }
}

#[cfg(test)]
mod tests;
