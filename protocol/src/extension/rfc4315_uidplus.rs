//! UIDPLUS (RFC 4315): UID EXPUNGE.

use crate::command::Command;
use crate::grammar::Parsed;
use crate::grammar::message::sp_set;

/// `uid =/ "UID" SP "EXPUNGE" SP sequence-set`
pub(crate) fn uid_expunge(input: &[u8]) -> Parsed<'_, Command> {
    let (rest, set) = sp_set(input)?;
    Ok((rest, Command::UidExpunge(set)))
}
