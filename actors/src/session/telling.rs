//! Where a session looks and tells: at the end of a command, on entering IDLE and at a bell in IDLE (design.md §4).

use carillon_protocol::command::Expunges;
use carillon_protocol::response::{ListEntry, ListName, ListResponse, Untagged};

use super::reply::Ending;
use super::state::{Session, claim};
use crate::account::list;
use crate::discard::discard;

impl Session {
    /// Looks at what the session watches and tells the client what it has not been told.
    pub async fn catch_up(&mut self, expunges: Expunges) -> Result<(), Ending> {
        // The one does not wait for the other: names that cannot be read now keep no EXPUNGE back.
        let names = self.catch_up_names().await;
        self.catch_up_mailbox(expunges).await.and(names)
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
            let old = std::mem::replace(&mut self.selected()?.view, view);
            discard(&self.doors.core.placement, old.exists(), old);
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
        let names = match self.names().await {
            Ok(names) => names,
            Err(refusal) => {
                self.bells.keep_account();
                return Err(refusal.into());
            }
        };
        let separator = Some(self.connection.format().separator);
        let old = std::mem::replace(&mut self.login()?.names, names.clone());
        discard(&self.doors.core.placement, old.mailboxes(), old);
        let Some(selected) = &mut self.selected else { return Ok(()) };
        let Some(entry) = names.by_id(selected.view.mailbox()).filter(|entry| entry.name != selected.name) else { return Ok(()) };
        selected.name = entry.name.clone();
        let (attributes, name) = (list::attributes(&names, entry), ListName::Mailbox(entry.name.clone()));
        self.tell(&Untagged::List(ListEntry { kind: ListResponse::List, attributes, separator, name }));
        self.doors.core.directory.session_changed(self.info());
        Ok(())
    }
}
