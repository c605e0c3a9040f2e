//! ENABLE (RFC 5161).

use nom::Parser;
use nom::multi::separated_list1;

use crate::command::Command;
use crate::grammar::Parsed;
use crate::grammar::primitive::{atom, expected, sp};

/// `enable = "ENABLE" 1*(SP capability)`; what is not known is ignored by the session (RFC 5161 §3.1).
pub(crate) fn enable(input: &[u8]) -> Parsed<'_, Command> {
    let (rest, ()) = sp(input)?;
    let (rest, capabilities) = separated_list1(sp, expected("a capability", atom)).parse(rest)?;
    Ok((rest, Command::Enable(capabilities.into_iter().map(str::to_ascii_uppercase).collect())))
}
