//! A fixed history, for cutting it off at every commit: each kind of change once, those over several logs with mail in them.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::audit::fetch_all;
use crate::client::Client;
use crate::ledger::{DELETED, Edit, Flags, Place, Wish};
use crate::names::NameChange;
use crate::people::{Life, append, change_names, perform};

/// A subscribed tree is made and renamed; messages are stored, copied, moved and expunged; INBOX is renamed; mailboxes are emptied and deleted.
pub async fn history(life: Rc<Life>) {
    if let Some(client) = life.connect("history").await {
        let mut teller = Teller { life, client };
        let _ = teller.tell().await;
        let Teller { life, mut client } = teller;
        life.books.borrow_mut().complaints.append(&mut client.complaints);
    }
}

struct Teller {
    life: Rc<Life>,
    client: Client,
}

fn flags(text: &str) -> Flags {
    text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

impl Teller {
    /// `None` where the server is gone.
    async fn tell(&mut self) -> Option<()> {
        for name in ["A", "A/B", "A/B/C"] {
            self.names(NameChange::Create(name.to_owned())).await?;
            self.names(NameChange::Subscribe(name.to_owned())).await?;
        }
        self.client.select("INBOX", false).await;
        self.append("INBOX", 3, "").await?;
        self.append("INBOX", 2, "\\Flagged word0").await?;
        self.store(0..3, Edit::Add, "\\Seen word1").await?;
        self.transfer("MOVE", 0..2, "A/B").await?;
        self.rename("A", "X/Y").await?;
        self.transfer("COPY", 0..2, "X/Y/B").await?;
        self.transfer("MOVE", 0..1, "X/Y/B/C").await?;
        self.rename("X/Y", "A").await?;
        self.append("INBOX", 3, "").await?;
        self.store(1..3, Edit::Replace, DELETED).await?;
        self.expunge(1..3).await?;
        self.append("INBOX", 2, "").await?;
        self.rename("INBOX", "Old/Mail").await?;
        self.append("INBOX", 2, DELETED).await?;
        self.close().await?;
        self.names(NameChange::Delete("A/B/C".to_owned())).await?;
        self.rename("A/B", "Q").await?;
        self.names(NameChange::Delete("Q".to_owned())).await?;
        self.append("A", 1, "").await
    }

    async fn names(&mut self, change: NameChange) -> Option<()> {
        change_names(&mut self.client, &self.life.books, &change).await.then_some(())
    }

    async fn rename(&mut self, from: &str, to: &str) -> Option<()> {
        self.names(NameChange::Rename(from.to_owned(), to.to_owned())).await
    }

    async fn append(&mut self, mailbox: &str, count: u32, words: &str) -> Option<()> {
        append(&mut self.client, &self.life.books, mailbox, count, flags(words)).await.map(drop)
    }

    /// The messages at these places of the selected mailbox, as far as there are any, and the set that names them.
    async fn chosen(&mut self, which: std::ops::Range<usize>) -> Option<(BTreeSet<Place>, String)> {
        fetch_all(&mut self.client, &self.life.books).await?;
        let uid_validity = self.client.selected.as_ref()?.uid_validity;
        let uids: Vec<u32> = self.client.uids().into_iter().skip(which.start).take(which.len()).collect();
        let set = uids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        Some((uids.into_iter().map(|uid| (uid_validity, uid)).collect(), set))
    }

    async fn perform(&mut self, command: &str, set: &str, rest: &str, wish: Wish) -> Option<()> {
        // An append that was refused may leave nothing to name.
        if set.is_empty() {
            return Some(());
        }
        perform(&mut self.client, &self.life.books, &format!("UID {command} {set}{rest}"), wish).await.map(drop)
    }

    async fn store(&mut self, which: std::ops::Range<usize>, edit: Edit, words: &str) -> Option<()> {
        let (places, set) = self.chosen(which).await?;
        let sign = if edit == Edit::Add { "+" } else { "" };
        self.perform("STORE", &set, &format!(" {sign}FLAGS ({words})"), Wish::Store(places, edit, flags(words))).await
    }

    async fn transfer(&mut self, verb: &str, which: std::ops::Range<usize>, target: &str) -> Option<()> {
        let (places, set) = self.chosen(which).await?;
        let wish = if verb == "MOVE" { Wish::Move(places) } else { Wish::Copy(places) };
        self.perform(verb, &set, &format!(" {target}"), wish).await
    }

    async fn expunge(&mut self, which: std::ops::Range<usize>) -> Option<()> {
        let (places, set) = self.chosen(which).await?;
        let uid_validity = places.first().map_or(0, |(uid_validity, _)| *uid_validity);
        let among = places.into_iter().map(|(_, uid)| uid).collect();
        self.perform("EXPUNGE", &set, "", Wish::Expunge(uid_validity, Some(among))).await
    }

    async fn close(&mut self) -> Option<()> {
        let wish = Wish::Expunge(self.client.selected.as_ref()?.uid_validity, None);
        perform(&mut self.client, &self.life.books, "CLOSE", wish).await.map(drop)
    }
}
