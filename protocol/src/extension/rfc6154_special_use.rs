//! CREATE with a special use (RFC 6154 §3).

use nom::Parser;

use crate::command::{Command, SpecialUse};
use crate::grammar::Parsed;
use crate::grammar::mailbox::sp_mailbox;
use crate::grammar::primitive::{atom, close, expected, fail, open, parenthesised0, sp, word};
use crate::mailbox_name::NameFormat;

impl SpecialUse {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::All, Self::Archive, Self::Drafts, Self::Flagged, Self::Important, Self::Junk, Self::Sent, Self::Trash];
}

/// ```text
/// create       = "CREATE" SP mailbox [SP "(" create-param ")"]
/// create-param = "USE" SP "(" [use-attr *(SP use-attr)] ")"
/// ```
pub(crate) fn create(input: &[u8], format: NameFormat) -> Parsed<'_, Command> {
    let (rest, mailbox) = sp_mailbox(input, format)?;
    let Some(parameter) = rest.strip_prefix(b" ").filter(|parameter| !parameter.is_empty()) else {
        return Ok((rest, Command::Create { mailbox, special_use: Vec::new() }));
    };
    let (parameter, ()) = open(parameter)?;
    let (rest, name) = expected("USE", word).parse(parameter)?;
    if !name.eq_ignore_ascii_case("USE") {
        return fail(parameter, "USE");
    }
    let (rest, ()) = sp(rest)?;
    let (rest, mut special_use) = parenthesised0(use_attr).parse(rest)?;
    let (rest, ()) = close(rest)?;
    special_use.sort_unstable();
    special_use.dedup();
    Ok((rest, Command::Create { mailbox, special_use }))
}

/// `use-attr = "\All" / "\Archive" / "\Drafts" / "\Flagged" / "\Junk" / "\Sent" / "\Trash" / "\Important"` (RFC 8457)
fn use_attr(input: &[u8]) -> Parsed<'_, SpecialUse> {
    const WHAT: &str = "a special use, such as \\Sent";
    let Some(name) = input.strip_prefix(b"\\") else { return fail(input, WHAT) };
    let (rest, name) = expected(WHAT, atom).parse(name)?;
    let is_it = |special_use: &SpecialUse| {
        crate::encode::special_use_name(*special_use).strip_prefix('\\').is_some_and(|known| known.eq_ignore_ascii_case(name))
    };
    SpecialUse::ALL.into_iter().find(is_it).map_or_else(|| fail(input, WHAT), |special_use| Ok((rest, special_use)))
}
