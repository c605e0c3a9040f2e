//! ID (RFC 2971).

use nom::Parser;
use nom::branch::alt;
use nom::combinator::map;

use crate::command::Command;
use crate::grammar::Parsed;
use crate::grammar::primitive::{expected, fail, nil, nstring, parenthesised0, sp, string};

/// The most fields (RFC 2971 §3.3).
pub const MAX_FIELDS: usize = 30;
/// The longest field name, in bytes (RFC 2971 §3.3).
pub const MAX_FIELD_BYTES: usize = 30;
/// The longest value, in bytes (RFC 2971 §3.3).
pub const MAX_VALUE_BYTES: usize = 1024;

/// ```text
/// id = "ID" SP id-params-list
/// id-params-list = "(" [string SP nstring *(SP string SP nstring)] ")" / nil
/// ```
/// Bytes that are no UTF-8 are replaced: the fields are for people.
pub(crate) fn id(input: &[u8]) -> Parsed<'_, Command> {
    let (start, ()) = sp(input)?;
    let list = map(parenthesised0(field), Some);
    let (rest, fields) = expected("a list of fields, or NIL", alt((map(nil, |()| None), list))).parse(start)?;
    match fields {
        Some(fields) if fields.len() > MAX_FIELDS => fail(start, "at most 30 fields"),
        fields => Ok((rest, Command::Id(fields))),
    }
}

fn field(input: &[u8]) -> Parsed<'_, (String, Option<String>)> {
    let (value, name) = expected("the name of a field", string).parse(input)?;
    let (value, ()) = sp(value)?;
    let (rest, text) = nstring(value)?;
    let lossy = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
    let (name, text) = (lossy(&name), text.as_deref().map(lossy));
    if name.len() > MAX_FIELD_BYTES {
        return fail(input, "a name of at most 30 bytes");
    }
    if text.as_ref().is_some_and(|text| text.len() > MAX_VALUE_BYTES) {
        return fail(value, "a value of at most 1024 bytes");
    }
    Ok((rest, (name, text)))
}
