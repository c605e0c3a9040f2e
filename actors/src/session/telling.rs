//! Where a session looks and tells: at the end of a command, on entering IDLE and at a bell in IDLE (design.md §4).

use carillon_protocol::command::Expunges;
use carillon_protocol::response::{ListEntry, ListName, ListResponse, Untagged};

use super::reply::Ending;
use super::state::{Session, claim};
use crate::account::event::AccountEvent;
use crate::account::list;

impl Session {
    /// Looks at what the session watches and tells the client what it has not been told.
    pub async fn catch_up(&mut self, expunges: Expunges) -> Result<(), Ending> {
        self.catch_up_names().await?;
        self.catch_up_mailbox(expunges).await
    }

    async fn catch_up_mailbox(&mut self, expunges: Expunges) -> Result<(), Ending> {
        let Some(selected) = &self.selected else { return Ok(()) };
        let mode = selected.view.mode();
        self.bells.take_mailbox();
        let look = self.look(claim(mode)).await?;
        let view = &mut self.selected()?.view;
        let changes = if view.is_far_behind(&look.snapshot) {
            let mut behind = view.clone();
            let job = move || {
                let changes = behind.catch_up(look, expunges);
                (behind, changes)
            };
            let (view, changes) = self.doors.core.placement.run(job).await?;
            self.selected()?.view = view;
            changes
        } else {
            view.catch_up(look, expunges)
        };
        for untagged in changes.responses() {
            self.connection.tell(&untagged);
            self.connection.relieve().await?;
        }
        Ok(())
    }

    /// A RENAME of the selected mailbox is told as a plain LIST of its new name (corners.md, "Who hears of RENAME").
    async fn catch_up_names(&mut self) -> Result<(), Ending> {
        if self.login.is_none() || !self.bells.take_account() {
            return Ok(());
        }
        let names = self.names().await?;
        let selected = self.selected.as_ref().map(|selected| selected.view.mailbox());
        let format = self.connection.format();
        let login = self.login()?;
        let told = std::mem::replace(&mut login.names, names).position();
        let names = login.names.clone();
        let Some(selected) = selected else { return Ok(()) };
        let was_renamed = names.changes_since(told).is_none_or(|mut changes| {
            changes.any(|(_, event)| match event {
                AccountEvent::MailboxRenamed { moves, .. } => moves.iter().any(|moved| moved.mailbox == selected),
                _ => false,
            })
        });
        if was_renamed && let Some(entry) = names.by_id(selected) {
            self.tell(&Untagged::List(ListEntry {
                kind: ListResponse::List,
                attributes: list::attributes(&names, entry),
                separator: Some(format.separator),
                name: ListName::Mailbox(entry.name.clone()),
            }));
        }
        Ok(())
    }
}
