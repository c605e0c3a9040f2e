//! LIST, LSUB, RLIST, RLSUB, SCAN (RFC 3501 §6.3.8 and §6.3.9, RFC 2193 §5).

use carillon_protocol::command::{ListKind, SearchKey};
use carillon_protocol::response::{ListEntry, ListName, Untagged};

use super::super::reply::{self, Ending, Reply};
use super::super::search::{Found, Query, Search};
use super::super::state::Session;
use super::super::view::{Mode, View};
use super::search::conclude;
use crate::account::list;
use crate::account::requests::Snapshot;
use crate::id::MailboxId;
use crate::mailbox::requests::Look;
use crate::refusal::{Fault, Refusal};

/// LIST, LSUB and their forms that show remote mailboxes too.
pub async fn list(session: &mut Session, kind: ListKind, reference: &str, pattern: &str) -> Reply {
    let names = session.names().await?;
    for entry in listed(session, &names, kind, reference, pattern).await? {
        session.tell(&Untagged::List(entry));
        session.connection.relieve().await?;
    }
    Ok(reply::ok("Listed"))
}

async fn listed(
    session: &Session,
    names: &Snapshot,
    kind: ListKind,
    reference: &str,
    pattern: &str,
) -> Result<Vec<ListEntry>, Fault> {
    let (names, format) = (names.clone(), session.connection.format());
    let (reference, pattern) = (reference.to_owned(), pattern.to_owned());
    let remote = session.doors.settings.referrals.mailboxes.clone();
    let size = names.mailboxes() + names.subscription_count() + remote.len();
    session.compute(size, move || list::list(&names, &remote, kind, &reference, &pattern, format)).await
}

/// SCAN, as UW-imapd's: LIST of the mailboxes one of whose messages contains the text. Opens no mailbox for anybody.
pub async fn scan(session: &mut Session, reference: &str, pattern: &str, text: String) -> Reply {
    let names = session.names().await?;
    let mut damage = None;
    for entry in listed(session, &names, ListKind::List, reference, pattern).await? {
        let ListName::Mailbox(name) = &entry.name else { continue };
        let Some(mailbox) = names.find(name).map(|found| found.mailbox) else { continue };
        let found = match session.login()?.account.glance(mailbox).await {
            Ok(look) => matches(session, mailbox, look, text.clone()).await?,
            // It was deleted meanwhile.
            Err(Refusal::NoSuchMailbox) => continue,
            Err(refusal) => return Err(refusal.into()),
        };
        damage = damage.or(found.damage);
        if !found.uids.is_empty() {
            session.tell(&Untagged::List(entry));
            session.connection.relieve().await?;
        }
        session.pause().await?;
    }
    conclude("Scanned", damage)
}

async fn matches(session: &mut Session, mailbox: MailboxId, look: Look, text: String) -> Result<Found, Ending> {
    let view = View::new(mailbox, Mode::ReadOnly, look);
    let query = Query::bind(&SearchKey::Text(text), &view)?;
    let search = Search::for_one(view.reader(), query, session.doors.core.source.clone());
    session.in_turns(search).await
}
