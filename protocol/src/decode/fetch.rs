//! The data of FETCH (RFC 9051 §7.5.2, RFC 3516 §4.2).

use bytes::Bytes;

use super::cursor::{Cursor, Parsed};
use super::flag;
use super::structure::{body_structure, envelope};
use crate::command::{Section, SectionText};
use crate::date::InternalDate;
use crate::number::Uid;
use crate::response::{FetchData, Rfc822Item};

/// One datum with its name.
pub(super) fn datum(cursor: &mut Cursor<'_>) -> Parsed<FetchData> {
    let name = cursor.word().to_ascii_uppercase();
    if cursor.take(b'[') {
        return with_section(cursor, &name);
    }
    cursor.blank()?;
    Ok(match name.as_slice() {
        b"UID" => FetchData::Uid(Uid::new(cursor.number()?).ok_or(cursor.error("a UID"))?),
        b"FLAGS" => flags(cursor)?,
        b"INTERNALDATE" => {
            let text = cursor.string()?;
            let date = std::str::from_utf8(&text).ok().and_then(InternalDate::parse);
            FetchData::InternalDate(date.ok_or(cursor.error("a date"))?)
        }
        b"RFC822.SIZE" => FetchData::Rfc822Size(cursor.number()?),
        b"ENVELOPE" => FetchData::Envelope(Box::new(envelope(cursor)?)),
        b"BODY" => FetchData::Body(Box::new(body_structure(cursor, 0)?)),
        b"BODYSTRUCTURE" => FetchData::BodyStructure(Box::new(body_structure(cursor, 0)?)),
        b"RFC822" => rfc822(cursor, Rfc822Item::Message)?,
        b"RFC822.HEADER" => rfc822(cursor, Rfc822Item::Header)?,
        b"RFC822.TEXT" => rfc822(cursor, Rfc822Item::Text)?,
        _ => return Err(cursor.error("a known item of FETCH")),
    })
}

fn rfc822(cursor: &mut Cursor<'_>, item: Rfc822Item) -> Parsed<FetchData> {
    let data = cursor.nstring()?.unwrap_or_default();
    Ok(FetchData::Rfc822(item, Bytes::from(data)))
}

fn flags(cursor: &mut Cursor<'_>) -> Parsed<FetchData> {
    let mut recent = false;
    let found = cursor.list(|cursor| {
        let text = cursor.flag()?;
        recent |= text.eq_ignore_ascii_case(b"\\Recent");
        flag(cursor, text)
    })?;
    Ok(FetchData::Flags { flags: found.into_iter().flatten().collect(), recent })
}

fn with_section(cursor: &mut Cursor<'_>, name: &[u8]) -> Parsed<FetchData> {
    let section = section(cursor)?;
    cursor.expect(b']', "the end of a section")?;
    if name == b"BINARY.SIZE" {
        cursor.blank()?;
        return Ok(FetchData::BinarySize { part: section.part, size: cursor.number()? });
    }
    let origin = if cursor.take(b'<') {
        let origin = cursor.number()?;
        cursor.expect(b'>', "the end of an origin")?;
        Some(origin)
    } else {
        None
    };
    cursor.blank()?;
    let data = cursor.nstring()?.map(Bytes::from);
    match name {
        b"BODY" => Ok(FetchData::Section { section, origin, data }),
        b"BINARY" => Ok(FetchData::Binary { part: section.part, origin, data }),
        _ => Err(cursor.error("BODY or BINARY")),
    }
}

fn section(cursor: &mut Cursor<'_>) -> Parsed<Section> {
    let mut part = Vec::new();
    loop {
        let word = cursor.until(|byte| matches!(byte, b'.' | b']' | b' '));
        let number = std::str::from_utf8(word).ok().and_then(|word| word.parse().ok());
        if word.is_empty() && cursor.is_at(b']') {
            return Ok(Section { part, text: None });
        }
        let Some(number) = number else {
            let text = section_text(cursor, word)?;
            return Ok(Section { part, text: Some(text) });
        };
        if part.len() >= Section::MAX_DEPTH {
            return Err(cursor.error("fewer part numbers"));
        }
        part.push(number);
        if !cursor.take(b'.') && !cursor.is_at(b']') {
            return Err(cursor.error("the end of a section"));
        }
    }
}

/// A part's text whose first word was read: `HEADER` may be followed by `.FIELDS`.
fn section_text(cursor: &mut Cursor<'_>, word: &[u8]) -> Parsed<SectionText> {
    let mut name = word.to_ascii_uppercase();
    while cursor.take(b'.') {
        name.push(b'.');
        name.extend(cursor.until(|byte| matches!(byte, b'.' | b']' | b' ')).to_ascii_uppercase());
    }
    Ok(match name.as_slice() {
        b"HEADER" => SectionText::Header,
        b"TEXT" => SectionText::Text,
        b"MIME" => SectionText::Mime,
        b"HEADER.FIELDS" => SectionText::HeaderFields(field_names(cursor)?),
        b"HEADER.FIELDS.NOT" => SectionText::HeaderFieldsNot(field_names(cursor)?),
        _ => return Err(cursor.error("HEADER, TEXT or MIME")),
    })
}

fn field_names(cursor: &mut Cursor<'_>) -> Parsed<Vec<String>> {
    cursor.blank()?;
    cursor.list(|cursor| cursor.astring().map(|name| String::from_utf8_lossy(&name).into_owned()))
}
