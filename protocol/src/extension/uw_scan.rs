//! SCAN, of UW-imapd and never in an RFC: LIST of the mailboxes whose messages contain a text.

use nom::Parser;

use crate::command::Command;
use crate::grammar::Parsed;
use crate::grammar::mailbox::reference_and_pattern;
use crate::grammar::primitive::{expected, sp, text};
use crate::mailbox_name::NameFormat;

/// `scan = "SCAN" SP mailbox SP list-mailbox SP astring`
pub(crate) fn scan(input: &[u8], format: NameFormat) -> Parsed<'_, Command> {
    let (rest, (reference, pattern)) = reference_and_pattern(input, format)?;
    let (rest, ()) = sp(rest)?;
    let (rest, text) = expected("a text to search for", text).parse(rest)?;
    Ok((rest, Command::Scan { reference, pattern, text }))
}
