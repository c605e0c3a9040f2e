//! A fixed history, for cutting it off at every commit.

use std::rc::Rc;

use crate::ledger::Names;
use crate::people::{Life, append, change_names};

/// A fixed history: a subscribed tree is renamed, messages move, the tree moves back.
pub async fn history(life: Rc<Life>) {
    let Some(mut client) = life.connect("history").await else { return };
    let books = &life.books;
    for name in ["A", "A/B", "A/B/C"] {
        if !change_names(&mut client, books, &format!("CREATE {name}"), &|names| names.create(name)).await {
            return;
        }
        let subscribe = |names: &mut Names| names.subscribe(name);
        if !change_names(&mut client, books, &format!("SUBSCRIBE {name}"), &subscribe).await {
            return;
        }
    }
    for _ in 0..3 {
        if !append(&mut client, books, "INBOX").await {
            return;
        }
    }
    client.select("INBOX").await;
    for (command, from, to) in [("UID MOVE 1:2 A/B", "A", "X/Y"), ("UID MOVE 3 X/Y/B/C", "X/Y", "A"), ("NOOP", "A/B", "Q")] {
        if client.command(command).await.status.is_empty() {
            return;
        }
        if !change_names(&mut client, books, &format!("RENAME {from} {to}"), &|names| names.rename(from, to)).await {
            return;
        }
    }
    life.books.borrow_mut().complaints.append(&mut client.complaints);
}
