//! FETCH's data (RFC 9051 §6.4.5, RFC 3516): read and encoded in the pool, batch by batch, so that the session writes in between.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use carillon_protocol::command::{FetchItem, Partial, Section, SectionText};
use carillon_protocol::encode::FetchLine;
use carillon_protocol::mailbox_name::NameFormat;
use carillon_protocol::mime::{FieldFilter, SectionSource, body_range, cut, decode_part, find, section_source, slice};
use carillon_protocol::number::Uid;
use carillon_protocol::response::{FetchData, Rfc822Item};
use carillon_protocol::set::UidSet;

use super::message::{Content, Glimpse, Source};
use super::reader::{Reader, Seen};
use crate::mailbox::state::Flags;
use crate::refusal::Refusal;
use crate::turn::Turn;

/// A message up to this size is read once where several of its sections are asked for.
const SMALL_BYTES: u64 = 64 << 10;
/// What one response may hold beyond four times its message, in octets: bounds `(BODY[]<0.9> BODY[]<1.9> ...)`.
const SPARE_BYTES: u64 = 16 << 20;

/// What a FETCH asks of every message.
#[derive(Clone, Debug)]
pub struct Plan {
    /// In the order asked, none twice.
    items: Vec<Asked>,
    /// Whether more than the state is needed: the message, or what was computed of it.
    reads_message: bool,
    reads_often: bool,
}

/// An item, made ready for many messages.
#[derive(Clone, Debug)]
struct Asked {
    item: FetchItem,
    /// Of HEADER.FIELDS and HEADER.FIELDS.NOT.
    filter: Option<FieldFilter>,
}

/// What one call encoded.
#[derive(Debug, Default)]
pub struct Batch {
    /// Whole FETCH responses.
    pub encoded: Vec<u8>,
    /// Why a message could not be given, the first of them; all others were.
    pub refusal: Option<Refusal>,
    /// Messages without a response.
    pub left_out: UidSet,
    /// How many responses.
    pub count: u64,
    /// What is left to do; empty at the end.
    pub rest: UidSet,
}

impl Plan {
    /// For the items of a FETCH command.
    pub fn new(items: &[FetchItem]) -> Self {
        let mut plan = Self { items: Vec::with_capacity(items.len()), reads_message: false, reads_often: false };
        items.iter().for_each(|item| plan.add(item));
        let is_state = |item: &FetchItem| {
            matches!(item, FetchItem::Uid | FetchItem::Flags | FetchItem::InternalDate | FetchItem::Rfc822Size)
        };
        plan.reads_message = plan.items.iter().any(|asked| !is_state(&asked.item));
        plan.reads_often = plan.items.iter().filter(|asked| reads(&asked.item)).count() > 1;
        plan
    }

    fn add(&mut self, item: &FetchItem) {
        // Long lists of items are somebody's experiment: their repetitions are not worth a quadratic search.
        const LOOKED_AT: usize = 64;
        if !self.items.iter().take(LOOKED_AT).any(|other| other.item == *item) {
            self.items.push(Asked { item: item.clone(), filter: filter_of(item) });
        }
    }

    /// Whether the command sets \Seen: an item that gives the text without PEEK (RFC 9051 §6.4.5).
    pub fn sets_seen(&self) -> bool {
        self.items.iter().any(|asked| match &asked.item {
            FetchItem::Rfc822 | FetchItem::Rfc822Text => true,
            FetchItem::Section { peek, .. } | FetchItem::Binary { peek, .. } => !peek,
            _ => false,
        })
    }

    /// The responses hold FLAGS, asked for or not: the command changed them.
    pub fn tell_flags(&mut self) {
        self.add(&FetchItem::Flags);
    }
}

fn filter_of(item: &FetchItem) -> Option<FieldFilter> {
    let FetchItem::Section { section: Section { text: Some(text), .. }, .. } = item else { return None };
    match text {
        SectionText::HeaderFields(names) => Some(FieldFilter::new(names, false)),
        SectionText::HeaderFieldsNot(names) => Some(FieldFilter::new(names, true)),
        SectionText::Header | SectionText::Text | SectionText::Mime => None,
    }
}

/// Whether the item needs the message's bytes.
fn reads(item: &FetchItem) -> bool {
    matches!(
        item,
        FetchItem::Rfc822
            | FetchItem::Rfc822Header
            | FetchItem::Rfc822Text
            | FetchItem::Section { .. }
            | FetchItem::Binary { .. }
            | FetchItem::BinarySize { .. }
    )
}

/// Encodes the responses for `uids`, ghosts too, up to the first that makes `max_bytes` or more, or the turn's end. A message that cannot be given has no
/// response.
pub fn encode_batch(
    reader: &Reader,
    uids: &UidSet,
    plan: &Plan,
    source: &Source,
    format: NameFormat,
    max_bytes: usize,
    turn: &mut Turn,
) -> Batch {
    let mut batch = Batch::default();
    let mut flags = FlagsDatum { reader, made: None };
    for seen in reader.messages(uids) {
        if plan.reads_message && turn.is_too_short_for(seen.details.size) {
            batch.rest = uids.intersection(&UidSet::from_range(seen.uid, Uid::MAX));
            break;
        }
        let start = batch.encoded.len();
        let mut message = Message::new(seen, plan, source);
        if let Err(refusal) = message.encode(&mut flags, format, &mut batch.encoded) {
            trace(&seen, &refusal);
            batch.encoded.truncate(start);
            batch.refusal.get_or_insert(refusal);
            batch.left_out.insert(seen.uid);
        } else {
            batch.count += 1;
        }
        let octets = if plan.reads_message { seen.details.size } else { 0 };
        if batch.encoded.len() >= max_bytes || turn.is_over(octets) {
            batch.rest = behind(uids, seen.uid);
            break;
        }
    }
    batch
}

/// What is damaged is somebody's to mend; what a client may not have it may ask for as often as it likes.
fn trace(seen: &Seen<'_>, refusal: &Refusal) {
    let (uid, body) = (seen.uid.get(), &seen.details.body);
    match refusal {
        Refusal::Fault(fault) => tracing::warn!(uid, %body, %fault, "a message cannot be fetched"),
        refusal => tracing::debug!(uid, %body, ?refusal, "a message is not given"),
    }
}

fn octets_allowed(size: u64) -> u64 {
    size.saturating_mul(4).saturating_add(SPARE_BYTES)
}

fn behind(uids: &UidSet, uid: Uid) -> UidSet {
    uid.next().map(|next| uids.intersection(&UidSet::from_range(next, Uid::MAX))).unwrap_or_default()
}

/// FLAGS of the message before: neighbours often have the same.
struct FlagsDatum<'a> {
    reader: &'a Reader,
    made: Option<(Flags, bool, FetchData)>,
}

impl FlagsDatum<'_> {
    fn of(&mut self, seen: &Seen<'_>) -> &FetchData {
        let is_same = |made: &(Flags, bool, FetchData)| (made.0, made.1) == (seen.flags, seen.recent);
        let made = self.made.take().filter(is_same).unwrap_or_else(|| {
            let flags = self.reader.flag_set(seen.flags);
            (seen.flags, seen.recent, FetchData::Flags { flags, recent: seen.recent })
        });
        &self.made.insert(made).2
    }
}

/// One message while its response is made.
struct Message<'a> {
    seen: Seen<'a>,
    plan: &'a Plan,
    source: &'a Source,
    glance: Option<Glimpse>,
    content: Option<Content>,
    whole: Option<Bytes>,
    octets_left: u64,
}

impl<'a> Message<'a> {
    fn new(seen: Seen<'a>, plan: &'a Plan, source: &'a Source) -> Self {
        Self { seen, plan, source, glance: None, content: None, whole: None, octets_left: octets_allowed(seen.details.size) }
    }

    fn encode(&mut self, flags: &mut FlagsDatum<'_>, format: NameFormat, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let mut line = FetchLine::begin(out, self.seen.seq);
        for asked in &self.plan.items {
            match &asked.item {
                FetchItem::Flags => line.datum(out, format, flags.of(&self.seen)),
                FetchItem::Envelope => line.envelope(out, format, &self.content()?.envelope),
                FetchItem::Body => line.body(out, format, &self.content()?.structure),
                FetchItem::BodyStructure => line.body_structure(out, format, &self.content()?.structure),
                FetchItem::Section { section, partial, .. } => {
                    let data = self.section(section, asked.filter.as_ref(), *partial)?;
                    line.section(out, section, partial.map(|partial| partial.first), data.as_ref());
                }
                FetchItem::Uid => line.datum(out, format, &FetchData::Uid(self.seen.uid)),
                FetchItem::InternalDate => line.datum(out, format, &FetchData::InternalDate(self.seen.details.internal_date)),
                FetchItem::Rfc822Size => line.datum(out, format, &FetchData::Rfc822Size(self.seen.details.size)),
                FetchItem::Rfc822 => line.datum(out, format, &self.rfc822(Rfc822Item::Message, None)?),
                FetchItem::Rfc822Header => {
                    line.datum(out, format, &self.rfc822(Rfc822Item::Header, Some(SectionText::Header))?);
                }
                FetchItem::Rfc822Text => line.datum(out, format, &self.rfc822(Rfc822Item::Text, Some(SectionText::Text))?),
                FetchItem::Binary { part, partial, .. } => {
                    let data = self.binary(part)?.map(|data| slice(&data, &cut(0..data.len() as u64, *partial)));
                    let origin = partial.map(|partial| partial.first);
                    line.datum(out, format, &FetchData::Binary { part: part.clone(), origin, data });
                }
                FetchItem::BinarySize { part } => {
                    let size = self.binary(part)?.map_or(0, |data| data.len() as u64);
                    line.datum(out, format, &FetchData::BinarySize { part: part.clone(), size });
                }
            }
        }
        line.end(out);
        Ok(())
    }

    fn glance(&mut self) -> Result<&Glimpse, Refusal> {
        let glance = match self.glance.take() {
            Some(glance) => glance,
            None => self.source.glance(self.seen.details)?,
        };
        Ok(self.glance.insert(glance))
    }

    fn content(&mut self) -> Result<&Content, Refusal> {
        let content = match self.content.take() {
            Some(content) => content,
            None => self.source.content(self.seen.details)?,
        };
        Ok(self.content.insert(content))
    }

    fn spend(&mut self, octets: u64) -> Result<(), Refusal> {
        self.octets_left =
            self.octets_left.checked_sub(octets).ok_or(Refusal::Limit("That is too much of one message in one FETCH"))?;
        Ok(())
    }

    fn octets(&mut self, range: Range<u64>) -> Result<Bytes, Refusal> {
        self.spend(range.end.saturating_sub(range.start))?;
        let details = self.seen.details;
        if let Some(whole) = &self.whole {
            return Ok(slice(whole, &range));
        }
        if self.plan.reads_often && details.size <= SMALL_BYTES {
            let whole = self.whole.insert(self.source.bytes(details)?);
            return Ok(slice(whole, &range));
        }
        Ok(self.source.range(details, range)?)
    }

    fn rfc822(&mut self, item: Rfc822Item, text: Option<SectionText>) -> Result<FetchData, Refusal> {
        let data = self.section(&Section { part: Vec::new(), text }, None, None)?;
        Ok(FetchData::Rfc822(item, data.unwrap_or_default()))
    }

    /// `None` where the message has no such part.
    fn section(
        &mut self,
        section: &Section,
        filter: Option<&FieldFilter>,
        partial: Option<Partial>,
    ) -> Result<Option<Bytes>, Refusal> {
        // The sections of the message itself need no structure.
        let size = self.seen.details.size;
        match (section.part.as_slice(), &section.text, filter) {
            ([], None, _) => return self.octets(cut(0..size, partial)).map(Some),
            ([], Some(SectionText::Header), _) => {
                let length = self.glance()?.header_length();
                return self.octets(cut(0..length, partial)).map(Some);
            }
            ([], Some(SectionText::Text), _) => {
                let length = self.glance()?.header_length();
                return self.octets(cut(length..size, partial)).map(Some);
            }
            ([], Some(SectionText::HeaderFields(_) | SectionText::HeaderFieldsNot(_)), Some(filter)) => {
                let fields = self.fields(filter)?;
                return Ok(Some(slice(&fields, &cut(0..fields.len() as u64, partial))));
            }
            _ => {}
        }
        match section_source(&self.content()?.structure, section) {
            None => Ok(None),
            Some(SectionSource::Octets(range)) => self.octets(cut(range, partial)).map(Some),
            Some(SectionSource::Fields { header, names, except }) => {
                let header = self.octets(header)?;
                let fields = match filter {
                    Some(filter) => filter.apply(&header),
                    None => FieldFilter::new(names, except).apply(&header),
                };
                Ok(Some(slice(&fields.into(), &cut(0..u64::MAX, partial))))
            }
        }
    }

    /// Fields of the message's own header, from its glance where that is enough.
    fn fields(&mut self, filter: &FieldFilter) -> Result<Bytes, Refusal> {
        let glance = self.glance()?.clone();
        if let Some(header) = glance.header_for(filter) {
            self.spend(header.len() as u64)?;
            return Ok(filter.apply(header).into());
        }
        Ok(filter.apply(&self.octets(0..glance.header_length())?).into())
    }

    /// A part without its transfer encoding; the message itself has none (RFC 3516 §4.2).
    fn binary(&mut self, numbers: &[u32]) -> Result<Option<Bytes>, Refusal> {
        if numbers.is_empty() {
            return self.octets(0..self.seen.details.size).map(Some);
        }
        let Some(part) = find(&self.content()?.structure, numbers) else { return Ok(None) };
        let (range, encoding) = (body_range(part), part.encoding.clone());
        let bytes = self.octets(range)?;
        let decoded = decode_part(&bytes, &encoding).map_err(|_| Refusal::UnknownEncoding)?;
        Ok(Some(match decoded {
            Cow::Borrowed(_) => bytes.clone(),
            Cow::Owned(decoded) => decoded.into(),
        }))
    }
}

#[cfg(test)]
mod tests;
