//! FETCH (RFC 3501 §6.4.5).

use nom::Parser;
use nom::character::complete::char;

use super::Parsed;
use super::message::sp_set;
use super::primitive::{astring, expected, fail, number, nz_number, parenthesised1, sp, word};
use crate::command::{Command, FetchItem, Partial, Section, SectionText};
use crate::extension::rfc3516_binary;
use crate::set::Numbering;

/// The most items in one FETCH: each is encoded for every message of the set.
pub(crate) const MAX_ITEMS: usize = 256;
/// The most field names in one HEADER.FIELDS: each is looked for in every message of the set.
pub(crate) const MAX_FIELDS: usize = 256;

/// ```text
/// fetch = "FETCH" SP sequence-set SP ("ALL" / "FULL" / "FAST" / fetch-att / "(" fetch-att *(SP fetch-att) ")")
/// ```
/// Macros are expanded; an item that is named twice is fetched once; UID FETCH always has UID (RFC 3501 §6.4.8).
pub(crate) fn fetch(input: &[u8], numbering: Numbering) -> Parsed<'_, Command> {
    let (start, set) = sp_set(input)?;
    let (start, ()) = sp(start)?;
    let (rest, named) = if start.starts_with(b"(") {
        parenthesised1(fetch_att).parse(start)?
    } else if let Some((rest, items)) = fetch_macro(start) {
        (rest, items)
    } else {
        let (rest, item) = fetch_att(start)?;
        (rest, vec![item])
    };
    if named.len() > MAX_ITEMS {
        return fail(start, "fewer items in one FETCH");
    }
    let mut items = Vec::with_capacity(named.len() + 1);
    for item in (numbering == Numbering::Uid).then_some(FetchItem::Uid).into_iter().chain(named) {
        if !items.contains(&item) {
            items.push(item);
        }
    }
    Ok((rest, Command::Fetch { numbering, set, items }))
}

fn fetch_macro(input: &[u8]) -> Option<(&[u8], Vec<FetchItem>)> {
    let fast = [FetchItem::Flags, FetchItem::InternalDate, FetchItem::Rfc822Size];
    let (rest, name) = word(input).ok()?;
    let more = match name.to_ascii_uppercase().as_str() {
        "FAST" => vec![],
        "ALL" => vec![FetchItem::Envelope],
        "FULL" => vec![FetchItem::Envelope, FetchItem::Body],
        _ => return None,
    };
    Some((rest, fast.into_iter().chain(more).collect()))
}

/// ```text
/// fetch-att = "ENVELOPE" / "FLAGS" / "INTERNALDATE" / "RFC822" [".HEADER" / ".SIZE" / ".TEXT"] /
///             "BODY" ["STRUCTURE"] / "UID" / "BODY" section ["<" number "." nz-number ">"] /
///             "BODY.PEEK" section ["<" number "." nz-number ">"]
/// ```
fn fetch_att(input: &[u8]) -> Parsed<'_, FetchItem> {
    let (rest, name) = expected("a FETCH item", word).parse(input)?;
    let name = name.to_ascii_uppercase();
    if rest.starts_with(b"[") {
        return match name.as_str() {
            "BODY" => body_section(rest, false),
            "BODY.PEEK" => body_section(rest, true),
            "BINARY" => rfc3516_binary::binary(rest, false),
            "BINARY.PEEK" => rfc3516_binary::binary(rest, true),
            "BINARY.SIZE" => rfc3516_binary::binary_size(rest),
            _ => fail(input, "BODY, BODY.PEEK, BINARY, BINARY.PEEK or BINARY.SIZE in front of a section"),
        };
    }
    let item = match name.as_str() {
        "ENVELOPE" => FetchItem::Envelope,
        "FLAGS" => FetchItem::Flags,
        "INTERNALDATE" => FetchItem::InternalDate,
        "RFC822" => FetchItem::Rfc822,
        "RFC822.HEADER" => FetchItem::Rfc822Header,
        "RFC822.SIZE" => FetchItem::Rfc822Size,
        "RFC822.TEXT" => FetchItem::Rfc822Text,
        "BODY" => FetchItem::Body,
        "BODYSTRUCTURE" => FetchItem::BodyStructure,
        "UID" => FetchItem::Uid,
        _ => return fail(input, "a FETCH item"),
    };
    Ok((rest, item))
}

fn body_section(input: &[u8], peek: bool) -> Parsed<'_, FetchItem> {
    let (rest, section) = section(input)?;
    let (rest, partial) = partial(rest)?;
    Ok((rest, FetchItem::Section { section, partial, peek }))
}

/// `["<" number "." nz-number ">"]`
pub(crate) fn partial(input: &[u8]) -> Parsed<'_, Option<Partial>> {
    let Some(inside) = input.strip_prefix(b"<") else { return Ok((input, None)) };
    let (rest, first) = number(inside)?;
    let (rest, _) = expected("a full stop", char('.')).parse(rest)?;
    let (rest, count) = nz_number(rest)?;
    let (rest, _) = expected("a closing angle bracket", char('>')).parse(rest)?;
    Ok((rest, Some(Partial { first, count })))
}

/// ```text
/// section      = "[" [section-spec] "]"
/// section-spec = section-msgtext / (section-part ["." section-text])
/// ```
fn section(input: &[u8]) -> Parsed<'_, Section> {
    let (rest, _) = open_bracket(input)?;
    let (rest, part) = section_part(rest)?;
    let (rest, text) = match rest {
        // Behind a part number the text comes after a full stop.
        [b'.', text @ ..] if !part.is_empty() => section_text(text, true)?,
        [b']', ..] => (rest, None),
        _ if part.is_empty() => section_text(rest, false)?,
        _ => (rest, None),
    };
    let (rest, _) = close_bracket(rest)?;
    Ok((rest, Section { part, text }))
}

pub(crate) fn open_bracket(input: &[u8]) -> Parsed<'_, char> {
    expected("an opening bracket", char('[')).parse(input)
}

pub(crate) fn close_bracket(input: &[u8]) -> Parsed<'_, char> {
    expected("a closing bracket", char(']')).parse(input)
}

/// `section-part = nz-number *("." nz-number)`, or nothing; the full stop in front of a text is left.
pub(crate) fn section_part(input: &[u8]) -> Parsed<'_, Vec<u32>> {
    let mut part = Vec::new();
    let mut rest = input;
    loop {
        let digits = if part.is_empty() { Some(rest) } else { rest.strip_prefix(b".") };
        let Some(digits) = digits.filter(|digits| digits.first().is_some_and(u8::is_ascii_digit)) else {
            return Ok((rest, part));
        };
        if part.len() == Section::MAX_DEPTH {
            return fail(rest, "fewer part numbers");
        }
        let (behind, number) = nz_number(digits)?;
        part.push(number);
        rest = behind;
    }
}

/// ```text
/// section-msgtext = "HEADER" / "HEADER.FIELDS" [".NOT"] SP header-list / "TEXT"
/// section-text    = section-msgtext / "MIME"      ; MIME only behind a part number
/// ```
fn section_text(input: &[u8], behind_part: bool) -> Parsed<'_, Option<SectionText>> {
    const WHAT: &str = "HEADER, HEADER.FIELDS, HEADER.FIELDS.NOT, TEXT or, behind a part number, MIME";
    let (rest, name) = expected(WHAT, word).parse(input)?;
    let (rest, text) = match name.to_ascii_uppercase().as_str() {
        "HEADER" => (rest, SectionText::Header),
        "TEXT" => (rest, SectionText::Text),
        "MIME" if behind_part => (rest, SectionText::Mime),
        "HEADER.FIELDS" => header_list(rest, SectionText::HeaderFields)?,
        "HEADER.FIELDS.NOT" => header_list(rest, SectionText::HeaderFieldsNot)?,
        _ => return fail(input, WHAT),
    };
    Ok((rest, Some(text)))
}

/// ```text
/// header-list     = "(" header-fld-name *(SP header-fld-name) ")"
/// header-fld-name = astring
/// ```
fn header_list(input: &[u8], text: fn(Vec<String>) -> SectionText) -> Parsed<'_, SectionText> {
    let (start, ()) = sp(input)?;
    let (rest, names) = parenthesised1(field_name).parse(start)?;
    if names.len() > MAX_FIELDS { fail(start, "fewer header fields") } else { Ok((rest, text(names))) }
}

/// A name that a header field can have (RFC 5322 §2.2): printable ASCII without colon. It comes back in the response.
pub(crate) fn field_name(input: &[u8]) -> Parsed<'_, String> {
    let (rest, name) = expected("the name of a header field", astring).parse(input)?;
    let is_name = !name.is_empty() && name.iter().all(|byte| byte.is_ascii_graphic() && *byte != b':');
    match String::from_utf8(name.into_owned()) {
        Ok(name) if is_name => Ok((rest, name)),
        _ => fail(input, "the name of a header field"),
    }
}
