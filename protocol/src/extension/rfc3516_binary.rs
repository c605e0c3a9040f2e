//! BINARY (RFC 3516): parts of a message without their transfer encoding. Its literal8 in APPEND stands with APPEND.

use crate::command::FetchItem;
use crate::grammar::Parsed;
use crate::grammar::fetch::{close_bracket, open_bracket, partial, section_part};

/// `fetch-att =/ "BINARY" [".PEEK"] section-binary [partial]`
pub(crate) fn binary(input: &[u8], peek: bool) -> Parsed<'_, FetchItem> {
    let (rest, part) = section_binary(input)?;
    let (rest, partial) = partial(rest)?;
    Ok((rest, FetchItem::Binary { part, partial, peek }))
}

/// `fetch-att =/ "BINARY.SIZE" section-binary`
pub(crate) fn binary_size(input: &[u8]) -> Parsed<'_, FetchItem> {
    let (rest, part) = section_binary(input)?;
    Ok((rest, FetchItem::BinarySize { part }))
}

/// `section-binary = "[" [section-part] "]"`
fn section_binary(input: &[u8]) -> Parsed<'_, Vec<u32>> {
    let (rest, _) = open_bracket(input)?;
    let (rest, part) = section_part(rest)?;
    let (rest, _) = close_bracket(rest)?;
    Ok((rest, part))
}
