//! Who uses the server: an administrator of names, readers of mail, and the auditor at the end. They know a server only by its
//! connections, so the same people work in the simulation and against the real binary.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::client::{Client, Known};
use crate::ledger::{Ledger, Names};

/// The books that all clients share.
pub type Books = Rc<RefCell<Ledger>>;

/// A client that is logged in, or `None` where there is no server.
pub type Connecting = Pin<Box<dyn Future<Output = Option<Client>>>>;

/// What a command does to the names that are expected; `false` where it is not possible.
type NameChange = Box<dyn Fn(&mut Names) -> bool>;

/// A server's life, as its clients see it.
pub struct Life {
    /// Connects and logs in under a name for complaints.
    pub connect: Box<dyn Fn(String) -> Connecting>,
    /// The books.
    pub books: Books,
    /// The longest pause between two commands, in microseconds.
    pub pause_microseconds: u64,
}

impl Life {
    /// A client that is logged in.
    pub async fn connect(&self, name: &str) -> Option<Client> {
        (self.connect)(name.to_owned()).await
    }

    async fn pause(&self, dice: &mut StdRng) {
        let longest = if dice.random_bool(0.5) { 50 } else { self.pause_microseconds };
        tokio::time::sleep(Duration::from_micros(dice.random_range(0..longest))).await;
    }
}

/// The one client that changes names, so that they are known at every moment.
pub async fn administrator(life: Rc<Life>, mut dice: StdRng) {
    let Some(mut client) = life.connect("administrator").await else { return };
    check_names(&mut client, &life.books).await;
    let names = ["A", "A/B", "A/B/C", "X", "X/Y", "Z"];
    for _ in 0..25 {
        life.pause(&mut dice).await;
        let (one, other) = (*names.choose(&mut dice).unwrap(), *names.choose(&mut dice).unwrap());
        if dice.random_bool(0.1) && !create_and_delete(&mut client, &life.books).await {
            return;
        }
        let change: (String, NameChange) = match dice.random_range(0..10) {
            0..3 => (format!("CREATE {one}"), Box::new(move |names| names.create(one))),
            3..8 => (format!("RENAME {one} {other}"), Box::new(move |names| names.rename(one, other))),
            8 => (format!("SUBSCRIBE {one}"), Box::new(move |names| names.subscribe(one))),
            _ => (format!("UNSUBSCRIBE {one}"), Box::new(move |names| names.unsubscribe(one))),
        };
        if !change_names(&mut client, &life.books, &change.0, &change.1).await {
            return;
        }
        if dice.random_bool(0.2) {
            check_names(&mut client, &life.books).await;
        }
    }
    check_names(&mut client, &life.books).await;
    life.books.borrow_mut().complaints.append(&mut client.complaints);
}

/// A mailbox comes, takes mail and goes; nobody else uses its name. Its subscription, if any, stays.
async fn create_and_delete(client: &mut Client, books: &Books) -> bool {
    if !change_names(client, books, "CREATE Doomed", &|names| names.create("Doomed")).await {
        return false;
    }
    let number = books.borrow().next + 1;
    books.borrow_mut().endangered.insert(number);
    append(client, books, "Doomed").await
        && change_names(client, books, "DELETE Doomed", &|names| names.mailboxes.remove("Doomed")).await
}

/// One change of names; `false` where the server is gone.
pub async fn change_names(client: &mut Client, books: &Books, command: &str, change: &dyn Fn(&mut Names) -> bool) -> bool {
    let before = books.borrow().possible.clone();
    books.borrow_mut().attempt(change);
    let answer = client.command(command).await;
    if answer.status.is_empty() {
        return false;
    }
    // A refusal of the disk leaves everything as it was; any other must agree with the rules.
    let is_refused_by_rule = answer.status.starts_with("NO") && !answer.status.contains("UNAVAILABLE");
    if is_refused_by_rule && before.iter().all(|names| change(&mut names.clone())) {
        client.complain(format!("{command}: {} although it is possible", answer.status));
    }
    if answer.is_ok() && before.iter().all(|names| !change(&mut names.clone())) {
        client.complain(format!("{command}: OK although it is not possible"));
    }
    books.borrow_mut().settle(&before, change, answer.is_ok());
    true
}

/// LIST and LSUB must show one of the possible outcomes; from here on it is the one.
async fn check_names(client: &mut Client, books: &Books) {
    let (listed, subscribed) = (client.command("LIST \"\" *").await, client.command("LSUB \"\" *").await);
    if !listed.is_ok() || !subscribed.is_ok() {
        return;
    }
    let names = |lines: &[String], kind: &str| {
        let of_line = |line: &String| {
            let (attributes, name) = line.strip_prefix(&format!("* {kind} "))?.split_once(") \"/\" ")?;
            (!attributes.contains("Noselect") && !attributes.contains("NonExistent")).then(|| name.trim_matches('"').to_owned())
        };
        lines.iter().filter_map(of_line).collect()
    };
    let found = Names { mailboxes: names(&listed.untagged, "LIST"), subscribed: names(&subscribed.untagged, "LSUB") };
    let is_possible = books.borrow().possible.contains(&found);
    if is_possible {
        books.borrow_mut().possible = vec![found];
    } else {
        let possible = books.borrow().possible.clone();
        client.complain(format!("names are {found:?}, possible are {possible:?}"));
    }
}

/// A client that works with mail in whatever mailboxes there are.
pub async fn reader(life: Rc<Life>, who: u64, mut dice: StdRng) {
    let Some(mut client) = life.connect(&format!("reader {who}")).await else { return };
    let mailboxes = ["INBOX", "INBOX", "A", "A/B", "X", "Archive"];
    let mut is_selected = false;
    for _ in 0..40 {
        life.pause(&mut dice).await;
        let mailbox = *mailboxes.choose(&mut dice).unwrap();
        let alive = match dice.random_range(0..12) {
            0..3 => append(&mut client, &life.books, mailbox).await,
            3 => {
                let answer = client.select(mailbox).await;
                is_selected = answer.is_ok();
                !answer.status.is_empty()
            }
            _ if !is_selected => {
                let answer = client.select("INBOX").await;
                is_selected = answer.is_ok();
                !answer.status.is_empty()
            }
            4 => !client.idle(dice.random_range(0..5_000)).await.status.is_empty(),
            5 => check_view(&mut client, &life.books).await,
            choice => touch(&mut client, &life.books, choice, mailbox, &mut dice).await,
        };
        if !alive {
            break;
        }
    }
    if is_selected {
        check_view(&mut client, &life.books).await;
    }
    life.books.borrow_mut().complaints.append(&mut client.complaints);
}

/// APPEND of a message with a new number; `false` where the server is gone.
pub async fn append(client: &mut Client, books: &Books, mailbox: &str) -> bool {
    let number = {
        let mut books = books.borrow_mut();
        books.next += 1;
        books.next
    };
    let longest = books.borrow().longest_message_bytes;
    let more = filler(number, [longest, longest / 50, longest / 50, 0, 0][number as usize % 5]);
    let message = format!("Subject: message {number}\r\n\r\nHello.\r\n{more}");
    let answer = client.command(&format!("APPEND {mailbox} {{{}+}}\r\n{message}", message.len())).await;
    let mut books = books.borrow_mut();
    if answer.is_ok() {
        books.appended.insert(number);
        if let Some((validity, uid)) = answer.code("APPENDUID").and_then(|text| text.split_once(' ')) {
            books.saw(validity.parse().unwrap_or_default(), uid.parse().unwrap_or_default(), number);
        }
    }
    !answer.status.is_empty()
}

/// Lines that do not compress, so many bytes of them.
fn filler(number: u32, bytes: usize) -> String {
    let mut dice = StdRng::seed_from_u64(u64::from(number));
    let mut text = String::with_capacity(bytes + 72);
    while text.len() < bytes {
        text.extend((0..70).map(|_| char::from(dice.random_range(b'0'..=b'z'))));
        text.push_str("\r\n");
    }
    text
}

/// STORE, COPY, MOVE or EXPUNGE of one message that this client knows the UID of.
async fn touch(client: &mut Client, books: &Books, choice: u32, mailbox: &str, dice: &mut StdRng) -> bool {
    let known: Vec<u32> = client.view.iter().filter_map(|known| known.uid).collect();
    let Some(uid) = known.choose(dice).copied() else {
        return !client.command("FETCH 1:* (UID FLAGS)").await.status.is_empty();
    };
    let message = books.borrow().seen.get(&(client.uid_validity, uid)).copied();
    if message.is_none() {
        // Which message that is must stand in the books before anybody may harm it.
        return check_view(client, books).await;
    }
    let command = match choice {
        6 => format!("UID STORE {uid} +FLAGS (\\Flagged)"),
        7 => format!("UID STORE {uid} -FLAGS.SILENT (\\Flagged \\Seen)"),
        8 => format!("STORE {} FLAGS (\\Seen word{})", dice.random_range(1..=client.view.len()), dice.random_range(0..3)),
        9 => {
            books.borrow_mut().copied.extend(message);
            format!("UID COPY {uid} {mailbox}")
        }
        10 => format!("UID MOVE {uid} {mailbox}"),
        _ => {
            books.borrow_mut().endangered.extend(message);
            let answer = client.command(&format!("UID STORE {uid} +FLAGS (\\Deleted)")).await;
            if answer.status.is_empty() {
                return false;
            }
            // Only this one: others may have marked messages whose loss would not be in the books.
            format!("UID EXPUNGE {uid}")
        }
    };
    !client.command(&command).await.status.is_empty()
}

/// After NOOP this client's view must be what FETCH says, and what a fresh session would see.
async fn check_view(client: &mut Client, books: &Books) -> bool {
    if client.command("NOOP").await.status.is_empty() {
        return false;
    }
    let believed = client.view.clone();
    let fetch = "FETCH 1:* (UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])";
    let answer = client.command(fetch).await;
    if answer.status.is_empty() {
        return false;
    }
    for (index, (before, now)) in believed.iter().zip(&client.view.clone()).enumerate() {
        let is_other = |one: &Known, two: &Known| {
            (one.uid.is_some() && one.uid != two.uid) || (one.flags.is_some() && one.flags != two.flags)
        };
        // Whoever is concurrent may have changed flags between the two commands; that change is told in the FETCH itself.
        if before.uid.is_some() && before.uid != now.uid && is_other(before, now) {
            client.complain(format!("message {} was believed to be {before:?} and is {now:?}", index + 1));
        }
    }
    note_subjects(client, books, &answer.untagged);
    true
}

fn note_subjects(client: &mut Client, books: &Books, lines: &[String]) {
    for line in lines {
        let uid = line.split_once("UID ").and_then(|(_, rest)| rest.split([' ', ')']).next()?.parse().ok());
        let number = line
            .split_once("Subject: message ")
            .and_then(|(_, rest)| rest.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok());
        if let (Some(uid), Some(number)) = (uid, number) {
            books.borrow_mut().saw(client.uid_validity, uid, number);
        }
    }
}

/// The end: a fresh session reads everything, and the books must agree.
pub async fn audit(life: &Rc<Life>) {
    let Some(mut client) = life.connect("auditor").await else {
        life.books.borrow_mut().complaints.push("the last server does not answer".to_owned());
        return;
    };
    check_names(&mut client, &life.books).await;
    let mailboxes = life.books.borrow().possible.first().map(|names| names.mailboxes.clone()).unwrap_or_default();
    let mut copies: BTreeMap<u32, u32> = BTreeMap::new();
    for mailbox in mailboxes {
        if !client.select(&mailbox).await.is_ok() {
            client.complain(format!("{mailbox} cannot be selected"));
            continue;
        }
        check_view(&mut client, &life.books).await;
        let believed = client.view.clone();
        let mut uids: Vec<Option<u32>> = believed.iter().map(|known| known.uid).collect();
        uids.dedup();
        if uids.len() != believed.len() || !uids.is_sorted() {
            client.complain(format!("UIDs of {mailbox} do not ascend: {uids:?}"));
        }
        for uid in uids.into_iter().flatten() {
            if let Some(number) = life.books.borrow().seen.get(&(client.uid_validity, uid)) {
                *copies.entry(*number).or_default() += 1;
            }
        }
    }
    let mut books = life.books.borrow_mut();
    for number in books.appended.clone() {
        let there = copies.get(&number).copied().unwrap_or_default();
        let (is_endangered, is_copied) = (books.endangered.contains(&number), books.copied.contains(&number));
        if there == 0 && !is_endangered {
            books.complaints.push(format!("message {number} was acknowledged and is gone"));
        }
        if there > 1 && !is_copied {
            books.complaints.push(format!("message {number} is there {there} times"));
        }
    }
    books.complaints.append(&mut client.complaints);
}
