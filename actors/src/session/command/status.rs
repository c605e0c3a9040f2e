//! STATUS (RFC 9051 §6.3.11, RFC 8438). Wakes no mailbox.

use carillon_protocol::command::StatusItem;
use carillon_protocol::mailbox_name::MailboxName;
use carillon_protocol::response::Untagged;

use super::super::reply::{self, Reply};
use super::super::state::Session;

/// STATUS of any mailbox, the selected one too.
pub async fn status(session: &mut Session, name: &MailboxName, items: &[StatusItem]) -> Reply {
    let mailbox = session.find(name).await?;
    let status = session.login()?.account.status(mailbox).await?;
    let value = |item: &StatusItem| match item {
        StatusItem::Messages => status.counts.messages,
        StatusItem::Recent => status.recent,
        StatusItem::UidNext => u64::from(status.uid_next.get()),
        StatusItem::UidValidity => u64::from(status.uid_validity.get()),
        StatusItem::Unseen => status.counts.unseen,
        StatusItem::Deleted => status.counts.deleted,
        StatusItem::Size => status.counts.size,
    };
    let data = items.iter().map(|item| (*item, value(item))).collect();
    session.tell(&Untagged::StatusData(name.clone(), data));
    Ok(reply::ok("Done"))
}
