//! Commands on mailboxes: SELECT to STATUS (RFC 3501 §6.3).

use nom::Parser;

use super::Parsed;
use super::primitive::{expected, fail, list_mailbox, mailbox, parenthesised1, reference, sp, word};
use crate::command::{Command, ListKind, StatusItem};
use crate::extension::rfc6154_special_use;
use crate::mailbox_name::{MailboxName, NameFormat};

/// The commands whose first argument is a mailbox or a reference; `verb` in capitals.
///
/// ```text
/// select = "SELECT" SP mailbox         examine = "EXAMINE" SP mailbox
/// delete = "DELETE" SP mailbox         subscribe = "SUBSCRIBE" SP mailbox
/// unsubscribe = "UNSUBSCRIBE" SP mailbox
/// list   = "LIST" SP mailbox SP list-mailbox      lsub  = "LSUB" SP mailbox SP list-mailbox
/// rlist  = "RLIST" SP mailbox SP list-mailbox     rlsub = "RLSUB" SP mailbox SP list-mailbox   ; RFC 2193 §6
/// ```
pub(crate) fn mailbox_command<'a>(verb: &str, input: &'a [u8], format: NameFormat) -> Parsed<'a, Command> {
    match verb {
        "SELECT" => of_mailbox(input, format, Command::Select),
        "EXAMINE" => of_mailbox(input, format, Command::Examine),
        "CREATE" => rfc6154_special_use::create(input, format),
        "DELETE" => of_mailbox(input, format, Command::Delete),
        "RENAME" => rename(input, format),
        "SUBSCRIBE" => of_mailbox(input, format, Command::Subscribe),
        "UNSUBSCRIBE" => of_mailbox(input, format, Command::Unsubscribe),
        "LIST" => list(input, format, ListKind::List),
        "LSUB" => list(input, format, ListKind::Lsub),
        "RLIST" => list(input, format, ListKind::RList),
        "RLSUB" => list(input, format, ListKind::RLsub),
        "STATUS" => status(input, format),
        _ => fail(input, "a command"),
    }
}

/// `SP mailbox`
pub(crate) fn sp_mailbox(input: &[u8], format: NameFormat) -> Parsed<'_, MailboxName> {
    let (rest, ()) = sp(input)?;
    mailbox(rest, format)
}

fn of_mailbox(input: &[u8], format: NameFormat, command: fn(MailboxName) -> Command) -> Parsed<'_, Command> {
    let (rest, mailbox) = sp_mailbox(input, format)?;
    Ok((rest, command(mailbox)))
}

/// `rename = "RENAME" SP mailbox SP mailbox`
fn rename(input: &[u8], format: NameFormat) -> Parsed<'_, Command> {
    let (rest, from) = sp_mailbox(input, format)?;
    let (rest, to) = sp_mailbox(rest, format)?;
    Ok((rest, Command::Rename { from, to }))
}

fn list(input: &[u8], format: NameFormat, kind: ListKind) -> Parsed<'_, Command> {
    let (rest, (reference, pattern)) = reference_and_pattern(input, format)?;
    Ok((rest, Command::List { kind, reference, pattern }))
}

/// `SP mailbox SP list-mailbox`
pub(crate) fn reference_and_pattern(input: &[u8], format: NameFormat) -> Parsed<'_, (String, String)> {
    let (rest, ()) = sp(input)?;
    let (rest, reference) = reference(rest, format)?;
    let (rest, ()) = sp(rest)?;
    let (rest, pattern) = list_mailbox(rest, format)?;
    Ok((rest, (reference, pattern)))
}

/// ```text
/// status     = "STATUS" SP mailbox SP "(" status-att *(SP status-att) ")"
/// status-att = "MESSAGES" / "RECENT" / "UIDNEXT" / "UIDVALIDITY" / "UNSEEN" / "DELETED" / "SIZE"   ; RFC 9051 §9
/// ```
/// An item that is named twice is answered once.
fn status(input: &[u8], format: NameFormat) -> Parsed<'_, Command> {
    let (rest, mailbox) = sp_mailbox(input, format)?;
    let (rest, ()) = sp(rest)?;
    let (rest, named) = parenthesised1(expected("a STATUS item", status_item)).parse(rest)?;
    let mut items = Vec::new();
    for item in named {
        if !items.contains(&item) {
            items.push(item);
        }
    }
    Ok((rest, Command::Status { mailbox, items }))
}

fn status_item(input: &[u8]) -> Parsed<'_, StatusItem> {
    let (rest, name) = word(input)?;
    let item = match name.to_ascii_uppercase().as_str() {
        "MESSAGES" => StatusItem::Messages,
        "RECENT" => StatusItem::Recent,
        "UIDNEXT" => StatusItem::UidNext,
        "UIDVALIDITY" => StatusItem::UidValidity,
        "UNSEEN" => StatusItem::Unseen,
        "DELETED" => StatusItem::Deleted,
        "SIZE" => StatusItem::Size,
        _ => return fail(input, "a STATUS item: MESSAGES, RECENT, UIDNEXT, UIDVALIDITY, UNSEEN, DELETED or SIZE"),
    };
    Ok((rest, item))
}
