//! CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE: one request each to the account, which alone owns names.

use carillon_protocol::command::SpecialUse;
use carillon_protocol::mailbox_name::MailboxName;

use super::super::reply::{self, Reply};
use super::super::state::Session;
use crate::account::requests::Change;

/// CREATE (RFC 9051 §6.3.4, RFC 6154 §3).
pub async fn create(session: &mut Session, mailbox: MailboxName, special_use: Vec<SpecialUse>) -> Reply {
    let names = session.names().await?;
    session.refer(&mailbox, &names)?;
    session.change_account(Change::Create { mailbox, special_use }).await?;
    Ok(reply::ok("Created"))
}

/// DELETE (RFC 9051 §6.3.5).
pub async fn delete(session: &mut Session, mailbox: MailboxName) -> Reply {
    let names = session.names().await?;
    session.refer(&mailbox, &names)?;
    session.change_account(Change::Delete(mailbox)).await?;
    Ok(reply::ok("Deleted"))
}

/// RENAME (RFC 9051 §6.3.6, with the subscriptions: docs/adr/0001-rename.md).
pub async fn rename(session: &mut Session, from: MailboxName, to: MailboxName) -> Reply {
    let names = session.names().await?;
    session.refer_both(&from, &to, &names)?;
    session.change_account(Change::Rename { from, to }).await?;
    Ok(reply::ok("Renamed"))
}

/// SUBSCRIBE (RFC 9051 §6.3.7): of any name.
pub async fn subscribe(session: &mut Session, mailbox: MailboxName) -> Reply {
    session.change_account(Change::Subscribe(mailbox)).await?;
    Ok(reply::ok("Subscribed"))
}

/// UNSUBSCRIBE (RFC 9051 §6.3.8): OK also where there was no subscription.
pub async fn unsubscribe(session: &mut Session, mailbox: MailboxName) -> Reply {
    session.change_account(Change::Unsubscribe(mailbox)).await?;
    Ok(reply::ok("Unsubscribed"))
}
