//! Commands that change messages: STORE, COPY (RFC 3501 §6.4.6 and §6.4.7).

use nom::Parser;
use nom::branch::alt;
use nom::combinator::map;
use nom::multi::separated_list1;

use super::Parsed;
use super::mailbox::sp_mailbox;
use super::primitive::{expected, fail, flag, flag_list, flag_set, sequence_set, sp, word};
use crate::command::Command;
use crate::flag::FlagChange;
use crate::mailbox_name::{MailboxName, NameFormat};
use crate::set::{Numbering, SequenceSet};

/// `SP sequence-set`
pub(crate) fn sp_set(input: &[u8]) -> Parsed<'_, SequenceSet> {
    let (rest, ()) = sp(input)?;
    sequence_set(rest)
}

/// `SP sequence-set SP mailbox`
pub(crate) fn set_and_mailbox(input: &[u8], format: NameFormat) -> Parsed<'_, (SequenceSet, MailboxName)> {
    let (rest, set) = sp_set(input)?;
    let (rest, mailbox) = sp_mailbox(rest, format)?;
    Ok((rest, (set, mailbox)))
}

/// `copy = "COPY" SP sequence-set SP mailbox`
pub(crate) fn copy(input: &[u8], numbering: Numbering, format: NameFormat) -> Parsed<'_, Command> {
    let (rest, (set, mailbox)) = set_and_mailbox(input, format)?;
    Ok((rest, Command::Copy { numbering, set, mailbox }))
}

/// ```text
/// store           = "STORE" SP sequence-set SP store-att-flags
/// store-att-flags = (["+" / "-"] "FLAGS" [".SILENT"]) SP (flag-list / (flag *(SP flag)))
/// ```
pub(crate) fn store(input: &[u8], numbering: Numbering) -> Parsed<'_, Command> {
    let (rest, set) = sp_set(input)?;
    let (rest, ()) = sp(rest)?;
    let (rest, (change, silent)) = store_att(rest)?;
    let (rest, ()) = sp(rest)?;
    let bare = map(separated_list1(sp, flag), flag_set);
    let (rest, flags) = expected("flags", alt((flag_list, bare))).parse(rest)?;
    Ok((rest, Command::Store { numbering, set, change, silent, flags }))
}

fn store_att(input: &[u8]) -> Parsed<'_, (FlagChange, bool)> {
    const WHAT: &str = "FLAGS, +FLAGS or -FLAGS, each with or without .SILENT";
    let (change, name) = match input {
        [b'+', name @ ..] => (FlagChange::Add, name),
        [b'-', name @ ..] => (FlagChange::Remove, name),
        name => (FlagChange::Replace, name),
    };
    let (rest, name) = expected(WHAT, word).parse(name)?;
    if name.eq_ignore_ascii_case("FLAGS") {
        Ok((rest, (change, false)))
    } else if name.eq_ignore_ascii_case("FLAGS.SILENT") {
        Ok((rest, (change, true)))
    } else {
        fail(input, WHAT)
    }
}
