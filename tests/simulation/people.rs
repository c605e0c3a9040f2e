//! Who uses the server: an administrator of names and readers of mail, who work in spans and rest between them while the auditor looks. They know a server only by
//! its connections, so the same people work in the simulation and against the real binary.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{join, join_all};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::audit::{audit, check_names, compare, fetch_all};
use crate::client::{Answer, Client, flags_of, uid_of};
use crate::ledger::{DELETED, Edit, Flags, Ledger, Place, Wish};
use crate::names::NameChange;
use crate::verdict::Census;

/// The books that all clients share.
pub type Books = Rc<RefCell<Ledger>>;

/// A client that is logged in, or `None` where there is no server.
pub type Connecting = Pin<Box<dyn Future<Output = Option<Client>>>>;

/// What else looks at a census: the simulation sees the server from the inside.
pub type Insight = Box<dyn Fn(Census) -> Pin<Box<dyn Future<Output = ()>>>>;

/// A server's life, as its clients see it.
pub struct Life {
    /// Connects and logs in under a name for tags and complaints.
    pub connect: Box<dyn Fn(String) -> Connecting>,
    /// The books.
    pub books: Books,
    /// Which life: tags are never used twice.
    pub number: u64,
    /// The most spans of work, each with a rest behind it.
    pub spans: u32,
    /// Whether all readers crowd into INBOX, idle there, or send many requests at once.
    pub is_crowded: bool,
    /// The longest pause between two commands, in microseconds.
    pub pause_microseconds: u64,
    /// Looks at every census too.
    pub insight: Option<Insight>,
}

/// What people do between two audits.
const STEPS: u32 = 12;
/// Two of the things that a reader may choose to do.
const IDLE: u32 = 5;
const HURRY: u32 = 13;
/// Names that come and go. The readers use them too.
const NAMES: [&str; 6] = ["A", "A/B", "A/B/C", "X", "X/Y", "Z"];

impl Life {
    /// A client that is logged in.
    pub async fn connect(&self, who: &str) -> Option<Client> {
        (self.connect)(format!("{who}.{}", self.number)).await
    }

    async fn pause(&self, dice: &mut StdRng) {
        let longest = if dice.random_bool(0.5) { 50 } else { self.pause_microseconds };
        tokio::time::sleep(Duration::from_micros(dice.random_range(0..longest))).await;
    }

    /// Everybody works, and rests while the auditor looks, until the server is gone or the spans are over.
    pub async fn work(self: &Rc<Self>, readers: u64, seed: u64) {
        let dice = |who: u64| StdRng::seed_from_u64(seed ^ (who << 40));
        self.look().await;
        let Some(mut administrator) = Administrator::begin(self, dice(0)).await else { return };
        let begun = join_all((1..=readers).map(|who| Reader::begin(self, who, dice(who)))).await;
        let mut readers: Vec<Reader> = begun.into_iter().flatten().collect();
        for _ in 0..self.spans {
            let (is_alive, are_alive) = join(administrator.work(), join_all(readers.iter_mut().map(Reader::work))).await;
            if !is_alive || are_alive.contains(&false) || !self.rest(&mut readers).await {
                break;
            }
        }
        let clients = readers.iter_mut().map(|reader| &mut reader.client).chain([&mut administrator.client]);
        clients.for_each(|client| self.books.borrow_mut().complaints.append(&mut client.complaints));
    }

    /// Nobody works: what everybody believes is compared with what there is. `false` where the server is gone.
    async fn rest(self: &Rc<Self>, readers: &mut [Reader]) -> bool {
        for reader in readers.iter_mut().filter(|reader| !reader.client.is_idling()) {
            if reader.client.command("NOOP").await.is_lost() {
                return false;
            }
        }
        let Some(census) = self.look().await else { return false };
        for reader in readers {
            let selected = reader.client.selected.as_ref();
            if let Some(selected) = selected {
                let is_deleted = !census.contains_key(&selected.uid_validity);
                let what = if is_deleted {
                    "compared, deleted"
                } else if reader.client.is_idling() {
                    "compared in IDLE"
                } else {
                    "compared"
                };
                self.books.borrow_mut().count(what);
            }
            compare(&mut reader.client, &census).await;
        }
        true
    }

    /// The auditor looks.
    pub async fn look(self: &Rc<Self>) -> Option<Census> {
        let census = audit(self).await?;
        if let Some(insight) = &self.insight {
            insight(census.clone()).await;
        }
        Some(census)
    }
}

/// A request that the books note; `None` where the server is gone.
pub async fn perform(client: &mut Client, books: &Books, command: &str, wish: Wish) -> Option<Answer> {
    perform_all(client, books, vec![(command.to_owned(), wish)]).await?.pop()
}

/// Requests that are sent all at once; `None` where the server is gone.
async fn perform_all(client: &mut Client, books: &Books, requests: Vec<(String, Wish)>) -> Option<Vec<Answer>> {
    let (commands, wishes): (Vec<String>, Vec<Wish>) = requests.into_iter().unzip();
    let acts: Vec<usize> = wishes.into_iter().map(|wish| books.borrow_mut().begin(wish)).collect();
    let answers = client.commands(&commands).await;
    for ((act, command), answer) in acts.into_iter().zip(&commands).zip(&answers) {
        books.borrow_mut().end(act, answer);
        if answer.status.starts_with("BAD") {
            client.complain(format!("{command}: {}", answer.status));
        }
    }
    (!answers.iter().any(Answer::is_lost)).then_some(answers)
}

/// One change of names; `false` where the server is gone.
pub async fn change_names(client: &mut Client, books: &Books, change: &NameChange) -> bool {
    let before = books.borrow().possible.clone();
    let is_possible = before.iter().any(|names| names.clone().change(change));
    let mailbox = match change {
        _ if !is_possible => Ok(None),
        NameChange::Delete(name) => uid_validity(client, name).await,
        NameChange::Rename(from, _) if from == "INBOX" => uid_validity(client, from).await,
        _ => Ok(None),
    };
    let act = match (mailbox, change) {
        (Ok(Some(mailbox)), NameChange::Rename(_, to)) => Some(books.borrow_mut().begin(Wish::RenameInbox(mailbox, to.clone()))),
        (Ok(Some(mailbox)), _) => Some(books.borrow_mut().begin(Wish::Delete(mailbox))),
        (Ok(None), _) => None,
        (Err(answer), _) => return !answer.is_lost(),
    };
    books.borrow_mut().attempt(change);
    let answer = client.command(&change.command()).await;
    if let Some(act) = act {
        books.borrow_mut().end(act, &answer);
    }
    if answer.is_lost() {
        return false;
    }
    books.borrow_mut().settle(before, change, &answer);
    if let (NameChange::Rename(_, to), Some(act), true) = (change, act, answer.is_ok()) {
        let Ok(target) = uid_validity(client, to).await else { return false };
        books.borrow_mut().acts[act].target = target;
    }
    true
}

/// Names that change in quick succession, all sent at once; `false` where the server is gone.
async fn change_names_at_once(client: &mut Client, books: &Books, changes: &[NameChange]) -> bool {
    let mut before = books.borrow().possible.clone();
    changes.iter().for_each(|change| books.borrow_mut().attempt(change));
    let commands: Vec<String> = changes.iter().map(NameChange::command).collect();
    let answers = client.commands(&commands).await;
    for (index, (change, answer)) in changes.iter().zip(&answers).enumerate() {
        if answer.is_lost() {
            books.borrow_mut().possible = before;
            changes[index..].iter().for_each(|change| books.borrow_mut().attempt(change));
            return false;
        }
        books.borrow_mut().settle(before, change, answer);
        before = books.borrow().possible.clone();
    }
    true
}

/// The UIDVALIDITY of a mailbox, if there is one; the answer that says neither.
async fn uid_validity(client: &mut Client, name: &str) -> Result<Option<u32>, Answer> {
    let answer = client.command(&format!("STATUS {name} (UIDVALIDITY)")).await;
    let number = answer.untagged.iter().find_map(|line| line.split_once("(UIDVALIDITY ")?.1.strip_suffix(')')?.parse().ok());
    if number.is_none() && !answer.status.contains("NONEXISTENT") { Err(answer) } else { Ok(number) }
}

/// The one client that changes names, so that they are known at every moment.
struct Administrator {
    life: Rc<Life>,
    client: Client,
    dice: StdRng,
}

impl Administrator {
    async fn begin(life: &Rc<Life>, dice: StdRng) -> Option<Self> {
        Some(Self { life: life.clone(), client: life.connect("administrator").await?, dice })
    }

    /// `false` where the server is gone.
    async fn work(&mut self) -> bool {
        let dice = &mut self.dice;
        for _ in 0..STEPS {
            self.life.pause(dice).await;
            let (one, other) = (*NAMES.choose(dice).unwrap(), *NAMES.choose(dice).unwrap());
            let (one, other) = (one.to_owned(), other.to_owned());
            if dice.random_bool(0.2) {
                let (there, back) = (NameChange::Rename(one.clone(), other.clone()), NameChange::Rename(other, one));
                let changes: Vec<NameChange> = [there, back].into_iter().cycle().take(dice.random_range(2..8)).collect();
                if !change_names_at_once(&mut self.client, &self.life.books, &changes).await {
                    return false;
                }
                continue;
            }
            let change = match dice.random_range(0..20) {
                0..6 => NameChange::Create(one),
                6..14 => NameChange::Rename(one, other),
                14 => NameChange::Rename("INBOX".to_owned(), one),
                15..17 => NameChange::Delete(one),
                17..19 => NameChange::Subscribe(one),
                _ => NameChange::Unsubscribe(one),
            };
            if !change_names(&mut self.client, &self.life.books, &change).await {
                return false;
            }
            if dice.random_bool(0.1) && check_names(&mut self.client, &self.life.books).await.is_none() {
                return false;
            }
        }
        true
    }
}

/// A client that works with mail in whatever mailboxes there are.
struct Reader {
    life: Rc<Life>,
    client: Client,
    dice: StdRng,
}

impl Reader {
    async fn begin(life: &Rc<Life>, who: u64, dice: StdRng) -> Option<Self> {
        Some(Self { life: life.clone(), client: life.connect(&format!("reader{who}")).await?, dice })
    }

    /// `false` where the server is gone.
    async fn work(&mut self) -> bool {
        for _ in 0..STEPS {
            self.life.pause(&mut self.dice).await;
            if self.step().await.is_none() {
                return false;
            }
        }
        true
    }

    fn mailbox(&mut self) -> &'static str {
        if self.life.is_crowded {
            return "INBOX";
        }
        ["INBOX", "INBOX", "Archive"].iter().chain(&NAMES).collect::<Vec<_>>().choose(&mut self.dice).unwrap()
    }

    /// `None` where the server is gone.
    async fn step(&mut self) -> Option<()> {
        let choice = match self.dice.random_range(0..24) {
            0..8 if self.life.is_crowded => IDLE,
            8..18 if self.life.is_crowded => HURRY,
            choice => choice,
        };
        let mailbox = self.mailbox();
        if self.client.is_idling() {
            let length = Duration::from_micros(self.dice.random_range(0..5_000));
            let is_alive = if choice < 12 { self.client.listen(length).await } else { self.client.end_idle().await };
            return is_alive.then_some(());
        }
        let read_only = self.client.selected.as_ref().map(|selected| selected.is_read_only);
        match (choice, read_only) {
            (0..4, _) => self.append(mailbox).await,
            (4, _) | (_, None) => self.select(mailbox).await,
            (IDLE..8, _) => self.client.begin_idle().await.then_some(()),
            (8, Some(false)) if self.dice.random_bool(0.5) => self.close().await,
            (8, _) => self.done("UNSELECT").await,
            (9, _) => fetch_all(&mut self.client, &self.life.books).await.map(drop),
            (_, Some(true)) => self.done("NOOP").await,
            (_, Some(false)) => self.touch(choice, mailbox).await,
        }
    }

    async fn done(&mut self, command: &str) -> Option<()> {
        let answer = if command == "NOOP" { self.client.command(command).await } else { self.client.deselect(command).await };
        (!answer.is_lost()).then_some(())
    }

    async fn perform(&mut self, command: &str, wish: Wish) -> Option<Answer> {
        perform(&mut self.client, &self.life.books, command, wish).await
    }

    async fn append(&mut self, mailbox: &str) -> Option<()> {
        let count = if self.dice.random_bool(0.3) { 3 } else { 1 };
        let flags = self.flags();
        append(&mut self.client, &self.life.books, mailbox, count, flags).await.map(drop)
    }

    fn flags(&mut self) -> Flags {
        let all = ["\\Seen", "\\Flagged", "\\Answered", "word0", "word1", "word2"];
        let count = self.dice.random_range(0..3);
        all.choose_multiple(&mut self.dice, count).map(|flag| (*flag).to_owned()).collect()
    }

    async fn select(&mut self, mailbox: &str) -> Option<()> {
        let is_read_only = self.dice.random_bool(0.2);
        let before: Vec<(u32, u32)> = self
            .life
            .books
            .borrow()
            .uid_validities
            .values()
            .map(|number| (*number, self.life.books.borrow().least_uid_next(*number)))
            .collect();
        if self.client.select(mailbox, is_read_only).await.is_lost() {
            return None;
        }
        let Some(selected) = &self.client.selected else { return Some(()) };
        let (uid_validity, uid_next) = (selected.uid_validity, selected.uid_next);
        if before.iter().any(|(number, least)| *number == uid_validity && uid_next < *least) {
            self.client.complain(format!("UIDNEXT {uid_next} of {mailbox} was used before"));
        }
        if self.client.view().is_empty() { Some(()) } else { fetch_all(&mut self.client, &self.life.books).await.map(drop) }
    }

    async fn close(&mut self) -> Option<()> {
        let wish = Wish::Expunge(self.client.selected.as_ref()?.uid_validity, None);
        if self.perform("CLOSE", wish).await?.is_ok() {
            self.life.books.borrow_mut().count("CLOSE");
            self.client.selected = None;
        }
        Some(())
    }

    /// Some messages that stand in the books.
    fn places(&mut self) -> Option<BTreeSet<Place>> {
        let uid_validity = self.client.selected.as_ref()?.uid_validity;
        let books = self.life.books.borrow();
        let known =
            self.client.uids().into_iter().map(|uid| (uid_validity, uid)).filter(|place| books.copies.contains_key(place));
        let known: Vec<Place> = known.collect();
        let count = if self.dice.random_bool(0.5) { 1 } else { self.dice.random_range(1..5) };
        let chosen: BTreeSet<Place> = known.choose_multiple(&mut self.dice, count).copied().collect();
        (!chosen.is_empty()).then_some(chosen)
    }

    /// STORE, COPY, MOVE or EXPUNGE of messages that this client knows.
    async fn touch(&mut self, choice: u32, mailbox: &str) -> Option<()> {
        let Some(places) = self.places() else {
            return fetch_all(&mut self.client, &self.life.books).await.map(drop);
        };
        let set = places.iter().map(|(_, uid)| uid.to_string()).collect::<Vec<_>>().join(",");
        match choice {
            10..13 => self.store(places, &set).await,
            HURRY => self.hurry(places, &set, mailbox).await,
            14 => self.store_by_number(places).await,
            15 => self.read(places, &set).await,
            16..18 => self.perform(&format!("UID COPY {set} {mailbox}"), Wish::Copy(places)).await.map(drop),
            18..21 => self.perform(&format!("UID MOVE {set} {mailbox}"), Wish::Move(places)).await.map(drop),
            _ => self.expunge(places, &set).await,
        }
    }

    fn edit(&mut self) -> (Edit, Flags, String) {
        let mut flags = self.flags();
        flags.insert("word3".to_owned());
        let edit = *[Edit::Add, Edit::Remove, Edit::Replace].choose(&mut self.dice).unwrap();
        let sign = match edit {
            Edit::Add => "+",
            Edit::Remove => "-",
            Edit::Replace => "",
        };
        let silent = if self.dice.random_bool(0.3) { ".SILENT" } else { "" };
        let text = format!("{sign}FLAGS{silent} ({})", flags.iter().map(String::as_str).collect::<Vec<_>>().join(" "));
        (edit, flags, text)
    }

    async fn store(&mut self, places: BTreeSet<Place>, set: &str) -> Option<()> {
        let (edit, flags, text) = self.edit();
        self.stored(&format!("UID STORE {set} {text}"), Wish::Store(places, edit, flags)).await
    }

    /// Several requests at once.
    async fn hurry(&mut self, places: BTreeSet<Place>, set: &str, mailbox: &str) -> Option<()> {
        let mut requests = Vec::new();
        for _ in 0..self.dice.random_range(2..7) {
            requests.push(if self.dice.random_bool(0.3) {
                let flags = self.flags();
                appending(&self.life.books, mailbox, 1, flags)
            } else {
                let (edit, flags, text) = self.edit();
                (format!("UID STORE {set} {}", text.replace(".SILENT", "")), Wish::Store(places.clone(), edit, flags))
            });
        }
        perform_all(&mut self.client, &self.life.books, requests).await.map(drop)
    }

    async fn store_by_number(&mut self, places: BTreeSet<Place>) -> Option<()> {
        let (edit, flags, text) = self.edit();
        let is_meant = |uid: Option<u32>| uid.is_some_and(|uid| places.iter().any(|(_, other)| *other == uid));
        let numbers = self
            .client
            .view()
            .iter()
            .zip(1..)
            .filter(|(known, _)| is_meant(known.uid))
            .map(|(_, number): (_, u32)| number.to_string());
        let set = numbers.collect::<Vec<_>>().join(",");
        self.stored(&format!("STORE {set} {text}"), Wish::Store(places, edit, flags)).await
    }

    /// After .SILENT the client knows what it has not been told.
    async fn stored(&mut self, command: &str, wish: Wish) -> Option<()> {
        let is_silent = command.contains(".SILENT");
        let Wish::Store(places, edit, flags) = wish.clone() else { return Some(()) };
        if !self.perform(command, wish).await?.is_ok() || !is_silent {
            return Some(());
        }
        let view = self.client.selected.iter_mut().flat_map(|selected| &mut selected.view);
        for known in view.filter(|known| known.uid.is_some_and(|uid| places.iter().any(|(_, other)| *other == uid))) {
            known.flags = match (edit, known.flags.take()) {
                (Edit::Replace, _) => Some(flags.clone()),
                (Edit::Add, Some(old)) => Some(&old | &flags),
                (Edit::Remove, Some(old)) => Some(&old - &flags),
                (_, None) => None,
            };
        }
        Some(())
    }

    /// FETCH that sets \Seen. A disk that fails keeps nobody from reading: only where the flags are told they are kept.
    async fn read(&mut self, places: BTreeSet<Place>, set: &str) -> Option<()> {
        let books = self.life.books.clone();
        let seen = Flags::from(["\\Seen".to_owned()]);
        let acts: Vec<(u32, usize)> = places
            .iter()
            .map(|place| (place.1, books.borrow_mut().begin(Wish::Store([*place].into(), Edit::Add, seen.clone()))))
            .collect();
        let answer = self.client.command(&format!("UID FETCH {set} BODY[]")).await;
        let now = books.borrow_mut().tick();
        for line in &answer.untagged {
            if let (Some(uid), Some(flags)) = (uid_of(line), flags_of(line))
                && flags.contains("\\Seen")
                && let Some((_, act)) = acts.iter().find(|(other, _)| *other == uid)
            {
                books.borrow_mut().acts[*act].done = Some(now);
            }
        }
        (!answer.is_lost()).then_some(())
    }

    /// Marks messages and expunges them, or all that are marked.
    async fn expunge(&mut self, places: BTreeSet<Place>, set: &str) -> Option<()> {
        let uid_validity = self.client.selected.as_ref()?.uid_validity;
        let uids = places.iter().map(|(_, uid)| *uid).collect();
        let mark = Wish::Store(places, Edit::Add, Flags::from([DELETED.to_owned()]));
        self.perform(&format!("UID STORE {set} +FLAGS ({DELETED})"), mark).await?;
        match self.dice.random_range(0..4) {
            0 => Some(()),
            1 => self.perform("EXPUNGE", Wish::Expunge(uid_validity, None)).await.map(drop),
            _ => self.perform(&format!("UID EXPUNGE {set}"), Wish::Expunge(uid_validity, Some(uids))).await.map(drop),
        }
    }
}

/// APPEND of new messages, all in one command; `None` where the server is gone.
pub async fn append(client: &mut Client, books: &Books, mailbox: &str, count: u32, flags: Flags) -> Option<Answer> {
    let (command, wish) = appending(books, mailbox, count, flags);
    perform(client, books, &command, wish).await
}

fn appending(books: &Books, mailbox: &str, count: u32, flags: Flags) -> (String, Wish) {
    let numbers = books.borrow_mut().numbers(count);
    let words = flags.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
    let longest = books.borrow().longest_message_bytes;
    let message = |number: &u32| {
        let more = filler(*number, [longest, longest / 50, longest / 50, 0, 0][*number as usize % 5]);
        let text = format!("Subject: message {number}\r\n\r\nHello.\r\n{more}");
        format!(" ({words}) {{{}+}}\r\n{text}", text.len())
    };
    let messages: String = numbers.iter().map(message).collect();
    (format!("APPEND {mailbox}{messages}"), Wish::Append(numbers, flags))
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
