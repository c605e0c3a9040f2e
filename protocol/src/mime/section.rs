//! Which octets of a message a section means (RFC 9051 §6.4.5.1).

use std::ops::Range;

use bytes::Bytes;

use super::header::filter_fields;
use super::{BodyPart, PartContent};
use crate::command::{Partial, Section, SectionText};

/// Where a section's octets come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SectionSource<'a> {
    /// These octets of the message.
    Octets(Range<u64>),
    /// Fields of the header that these octets are: see [`filter_fields`].
    Fields {
        /// The header, its blank line included.
        header: Range<u64>,
        /// The names.
        names: &'a [String],
        /// HEADER.FIELDS.NOT: all fields but these.
        except: bool,
    },
}

/// What a section of the message means, or `None` where the message has no such part (the answer is NIL).
pub fn section_source<'a>(structure: &BodyPart, section: &'a Section) -> Option<SectionSource<'a>> {
    let target = find(structure, &section.part)?;
    // HEADER and TEXT are of messages: of the message itself, or of a message/rfc822 part.
    let message = || match target {
        _ if section.part.is_empty() => Some(target),
        BodyPart { content: PartContent::Message(_, inner), .. } => Some(&**inner),
        _ => None,
    };
    let fields = |names, except| Some(SectionSource::Fields { header: header_range(message()?), names, except });
    match &section.text {
        None if section.part.is_empty() => Some(SectionSource::Octets(target.header_start..target.body_end)),
        None => Some(SectionSource::Octets(body_range(target))),
        Some(SectionText::Mime) => Some(SectionSource::Octets(header_range(target))),
        Some(SectionText::Header) => Some(SectionSource::Octets(header_range(message()?))),
        Some(SectionText::Text) => Some(SectionSource::Octets(body_range(message()?))),
        Some(SectionText::HeaderFields(names)) => fields(names.as_slice(), false),
        Some(SectionText::HeaderFieldsNot(names)) => fields(names.as_slice(), true),
    }
}

/// The octets of a section of a message in memory, cut to `partial`; `None` where there is no such part.
pub fn section_bytes(message: &Bytes, structure: &BodyPart, section: &Section, partial: Option<Partial>) -> Option<Bytes> {
    match section_source(structure, section)? {
        SectionSource::Octets(range) => Some(slice(message, &cut(range, partial))),
        SectionSource::Fields { header, names, except } => {
            let filtered = Bytes::from(filter_fields(&slice(message, &header), names, except));
            let range = cut(0..filtered.len() as u64, partial);
            Some(slice(&filtered, &range))
        }
    }
}

/// The part of the range that `<first.count>` names; empty where it begins behind the end (RFC 9051 §6.4.5).
pub fn cut(range: Range<u64>, partial: Option<Partial>) -> Range<u64> {
    let Some(Partial { first, count }) = partial else { return range };
    let start = range.start.saturating_add(first.into()).min(range.end);
    start..start.saturating_add(count.into()).min(range.end)
}

/// The part with these numbers; the message itself for none. `None` where there is no such part.
///
/// A message that is no multipart has one part, its body (RFC 9051 §6.4.5.1).
pub fn find<'a>(structure: &'a BodyPart, numbers: &[u32]) -> Option<&'a BodyPart> {
    let mut part = structure;
    let mut is_message = true;
    for number in numbers {
        let whole = match &part.content {
            PartContent::Message(_, inner) if !is_message => inner,
            _ if is_message => part,
            PartContent::Multipart(_) => part,
            _ => return None,
        };
        part = match &whole.content {
            PartContent::Multipart(parts) => parts.get(usize::try_from(*number).ok()?.checked_sub(1)?)?,
            _ if *number == 1 => whole,
            _ => return None,
        };
        is_message = false;
    }
    Some(part)
}

fn header_range(part: &BodyPart) -> Range<u64> {
    part.header_start..part.body_start
}

/// The octets of a part's body.
pub fn body_range(part: &BodyPart) -> Range<u64> {
    part.body_start..part.body_end
}

/// A range of a message in memory; what lies outside is left out.
pub fn slice(message: &Bytes, range: &Range<u64>) -> Bytes {
    let place = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(message.len());
    let (start, end) = (place(range.start), place(range.end));
    message.slice(start.min(end)..end)
}
