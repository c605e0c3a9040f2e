//! APPEND (RFC 3501 §6.3.11) of one or several messages (RFC 3502).

use nom::Parser;
use nom::character::complete::{char, u32 as index};
use nom::combinator::opt;
use nom::sequence::{delimited, terminated};

use super::mailbox::sp_mailbox;
use super::primitive::{date_time, expected, fail, flag_list, sp};
use super::{Context, Parsed};
use crate::command::{AppendMessage, Command, MessageLiteral};

/// ```text
/// append         = "APPEND" SP mailbox 1*append-message            ; RFC 3502 §6.3.11
/// append-message = [SP flag-list] [SP date-time] SP (literal / literal8)   ; literal8: RFC 3516 §4.4
/// ```
pub(crate) fn append<'a>(input: &'a [u8], context: Context<'_>) -> Parsed<'a, Command> {
    let (mut rest, mailbox) = sp_mailbox(input, context.format)?;
    let mut messages = Vec::new();
    while messages.is_empty() || !matches!(rest, [] | [b' ']) {
        let (behind, message) = append_message(rest, context, messages.len())?;
        messages.push(message);
        rest = behind;
    }
    Ok((rest, Command::Append { mailbox, messages }))
}

fn append_message<'a>(input: &'a [u8], context: Context<'_>, next: usize) -> Parsed<'a, AppendMessage> {
    let (rest, ()) = sp(input)?;
    let (rest, flags) = if rest.starts_with(b"(") { terminated(flag_list, sp).parse(rest)? } else { (rest, Default::default()) };
    let (rest, date) = if rest.starts_with(b"\"") {
        let (rest, date) = terminated(date_time, sp).parse(rest)?;
        (rest, Some(date))
    } else {
        (rest, None)
    };
    let (rest, literal) = message_literal(rest, context, next)?;
    Ok((rest, AppendMessage { flags, date, literal }))
}

/// A message literal as the frame reader leaves it: `["~"] NUL index NUL` (see [`Frame`](crate::command::Frame)).
fn message_literal<'a>(input: &'a [u8], context: Context<'_>, next: usize) -> Parsed<'a, MessageLiteral> {
    const WHAT: &str = "a message as a literal, such as {310}";
    let (rest, tilde) = opt(char('~')).parse(input)?;
    let (rest, index) = expected(WHAT, delimited(char('\0'), index, char('\0'))).parse(rest)?;
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    match context.frame.messages.get(index).filter(|_| index == next) {
        Some(length) => Ok((rest, MessageLiteral { index, length: *length, binary: tilde.is_some() })),
        None => fail(input, WHAT),
    }
}
