//! LIST, LSUB, RLIST, RLSUB, SCAN (RFC 3501 §6.3.8 and §6.3.9, RFC 2193 §3).

use carillon_protocol::command::{ListKind, SearchKey};
use carillon_protocol::mailbox_name::MailboxName;
use carillon_protocol::pattern::Pattern;
use carillon_protocol::response::{ListAttribute, ListEntry, ListName, ListResponse, Untagged};

use super::super::reply::{self, Ending, Reply};
use super::super::search;
use super::super::state::Session;
use super::super::view::{Mode, View};
use crate::account::list;

/// LIST, LSUB and their forms that show remote mailboxes too.
pub async fn list(session: &mut Session, kind: ListKind, reference: &str, pattern: &str) -> Reply {
    let names = session.names().await?;
    let format = session.connection.format();
    let mut entries = list::list(&names, kind, reference, pattern, format);
    if matches!(kind, ListKind::RList | ListKind::RLsub) {
        entries.extend(remote(session, kind, reference, pattern, |name| names.is_subscribed(name)));
    }
    for entry in entries {
        session.tell(&Untagged::List(entry));
        session.connection.relieve().await?;
    }
    Ok(reply::ok("Listed"))
}

/// The remote mailboxes of the configuration (RFC 2193 §3.1); in RLSUB those that are subscribed here.
fn remote(
    session: &Session,
    kind: ListKind,
    reference: &str,
    pattern: &str,
    is_subscribed: impl Fn(&MailboxName) -> bool,
) -> Vec<ListEntry> {
    let format = session.connection.format();
    let pattern = Pattern::new(reference, pattern, format);
    let names = session.doors.settings.referrals.mailboxes.keys();
    let shown = names.filter(|name| pattern.matches(name) && (kind == ListKind::RList || is_subscribed(name)));
    let response = if kind == ListKind::RList { ListResponse::List } else { ListResponse::Lsub };
    shown
        .map(|name| ListEntry {
            kind: response,
            attributes: vec![ListAttribute::HasNoChildren],
            separator: Some(format.separator),
            name: ListName::Mailbox(name.clone()),
        })
        .collect()
}

/// SCAN, as UW-imapd's: LIST of the mailboxes one of whose messages contains the text. Opens no mailbox for anybody.
pub async fn scan(session: &mut Session, reference: &str, pattern: &str, text: String) -> Reply {
    let names = session.names().await?;
    let entries = list::list(&names, ListKind::List, reference, pattern, session.connection.format());
    for entry in entries {
        let ListName::Mailbox(name) = &entry.name else { continue };
        let Some(mailbox) = names.find(name).map(|found| found.mailbox) else { continue };
        if holds(session, mailbox, text.clone()).await? {
            session.tell(&Untagged::List(entry));
            session.connection.relieve().await?;
        }
    }
    Ok(reply::ok("Scanned"))
}

async fn holds(session: &mut Session, mailbox: crate::id::MailboxId, text: String) -> Result<bool, Ending> {
    let look = session.open(mailbox).await?.peek().await?;
    let view = View::new(mailbox, Mode::ReadOnly, look);
    let key = search::bind(&SearchKey::Text(text), &view)?;
    let (reader, source) = (view.reader(), session.doors.core.source.clone());
    let found = session.doors.core.placement.run(move || search::search(&reader, &key, &source)).await??;
    Ok(!found.uids.is_empty())
}
