//! MOVE (RFC 6851).

use crate::command::Command;
use crate::grammar::Parsed;
use crate::grammar::message::set_and_mailbox;
use crate::mailbox_name::NameFormat;
use crate::set::Numbering;

/// `move = "MOVE" SP sequence-set SP mailbox`
pub(crate) fn move_messages(input: &[u8], numbering: Numbering, format: NameFormat) -> Parsed<'_, Command> {
    let (rest, (set, mailbox)) = set_and_mailbox(input, format)?;
    Ok((rest, Command::Move { numbering, set, mailbox }))
}
