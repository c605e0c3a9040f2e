//! One world: lives of a server over one journal, random clients in each, and the audit at the end.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use carillon_actors::clock::Clock;
use carillon_actors::id::{AccountId, Ids};
use carillon_actors::limits::Limits;
use carillon_actors::placement::Placement;
use carillon_actors::server::Core;
use carillon_actors::session::actor::{Transport, start};
use carillon_actors::session::auth::{Authenticator, Verdict};
use carillon_actors::session::settings::{Doors, Settings};
use carillon_storage::fault::{AppendFault, FaultJournal};
use carillon_storage::memory::MemoryJournal;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::client::{Client, Known};
use crate::ledger::{Ledger, Names};

/// 2026-01-01T00:00:00Z in microseconds.
const EPOCH: u64 = 1_767_225_600_000_000;

/// What happens in a world.
pub struct Plan {
    seed: u64,
    /// The fault of each life of the server: at which append, and what.
    lives: Vec<(u64, AppendFault)>,
    /// Whether the clients follow the fixed history instead of the dice.
    is_history: bool,
}

impl Plan {
    /// Everything from the dice.
    pub fn from_seed(seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let faults = [AppendFault::Fail, AppendFault::Full, AppendFault::Tear, AppendFault::Vanish];
        let life = |dice: &mut StdRng| (dice.random_range(0..60), *faults.choose(dice).unwrap());
        let lives = (0..dice.random_range(1..4)).map(|_| life(&mut dice)).chain([(0, AppendFault::Fail)]);
        Self { seed, lives: lives.collect(), is_history: false }
    }

    /// The fixed history, cut off right behind its n-th append: durable, and nobody is told.
    pub fn history_torn_at(step: u64) -> Self {
        Self { seed: 1, lives: vec![(step, AppendFault::Tear), (0, AppendFault::Fail)], is_history: true }
    }

    /// The fixed history, whose n-th append is refused.
    pub fn history_failed_at(step: u64) -> Self {
        Self { seed: 1, lives: vec![(step, AppendFault::Fail), (0, AppendFault::Fail)], is_history: true }
    }
}

struct Anybody;

impl Authenticator for Anybody {
    fn verify(&self, _user: &str, _password: &[u8]) -> Verdict {
        Verdict::Accepted(AccountId(7))
    }

    fn find(&self, _user: &str) -> Option<AccountId> {
        Some(AccountId(7))
    }
}

/// Runs a world; what went wrong in it.
pub fn run(plan: &Plan) -> Result<(), Vec<String>> {
    let journal = Arc::new(MemoryJournal::new());
    let ledger = Rc::new(RefCell::new(Ledger::new()));
    for (life, (nth, fault)) in plan.lives.iter().enumerate() {
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let system = actix_rt::System::with_tokio_rt(runtime);
        let faulty = Arc::new(FaultJournal::new(journal.clone(), *nth, *fault));
        let is_last = life + 1 == plan.lives.len();
        system.block_on(live(plan, life as u64, faulty, ledger.clone(), is_last));
    }
    let complaints = std::mem::take(&mut ledger.borrow_mut().complaints);
    if complaints.is_empty() { Ok(()) } else { Err(complaints) }
}

type Books = Rc<RefCell<Ledger>>;

/// A server's life, as its clients see it.
struct Life {
    doors: Arc<Doors>,
    books: Books,
}

impl Life {
    async fn connect(&self, name: &str) -> Option<Client> {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        start(self.doors.clone(), Transport::Pipe(theirs), SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
        let mut client = Client::connect(ours, name.to_owned()).await?;
        client.command("LOGIN somebody secret").await.is_ok().then_some(client)
    }
}

async fn live(plan: &Plan, life: u64, journal: Arc<FaultJournal<Arc<MemoryJournal>>>, books: Books, is_last: bool) {
    let begun = tokio::time::Instant::now();
    let born = EPOCH + life * 1_000_000_000;
    let clock = Clock::new(move || born + u64::try_from(begun.elapsed().as_micros()).unwrap_or_default());
    let ids = Ids::new(born / 1_000_000, plan.seed ^ (life << 32));
    let core = Core::start(journal, Placement::one_thread(), clock, ids, Limits::default());
    let doors = Doors { core: core.clone(), authenticator: Arc::new(Anybody), tls: None, settings: Settings::default() };
    let server = Rc::new(Life { doors: Arc::new(doors), books: books.clone() });
    let end = core.clone();
    let watchdog = actix_rt::spawn(async move {
        end.ended().await;
        end.directory.end().await;
    });
    let mut tasks = Vec::new();
    let dice = |who: u64| StdRng::seed_from_u64(plan.seed.wrapping_mul(1_000_003) ^ (life << 20) ^ who);
    if plan.is_history {
        if life == 0 {
            tasks.push(actix_rt::spawn(history(server.clone())));
        }
    } else {
        tasks.push(actix_rt::spawn(administrator(server.clone(), dice(0))));
        for who in 1..4 {
            tasks.push(actix_rt::spawn(reader(server.clone(), who, dice(who))));
        }
    }
    for task in tasks {
        if task.await.is_err() {
            books.borrow_mut().complaints.push("a client panicked".to_owned());
        }
    }
    if is_last {
        audit(&server).await;
    }
    watchdog.abort();
    core.directory.end().await;
}

async fn pause(dice: &mut StdRng) {
    let microseconds = if dice.random_bool(0.5) { dice.random_range(0..50) } else { dice.random_range(0..3_000) };
    tokio::time::sleep(Duration::from_micros(microseconds)).await;
}

/// The one client that changes names, so that they are known at every moment.
async fn administrator(life: Rc<Life>, mut dice: StdRng) {
    let Some(mut client) = life.connect("administrator").await else { return };
    check_names(&mut client, &life.books).await;
    let names = ["A", "A/B", "A/B/C", "X", "X/Y", "Z"];
    for _ in 0..25 {
        pause(&mut dice).await;
        let (one, other) = (*names.choose(&mut dice).unwrap(), *names.choose(&mut dice).unwrap());
        let change: (String, Box<dyn Fn(&mut Names) -> bool>) = match dice.random_range(0..10) {
            0..3 => (format!("CREATE {one}"), Box::new(move |names| names.create(one))),
            3..8 => (format!("RENAME {one} {other}"), Box::new(move |names| names.rename(one, other))),
            8 => (format!("SUBSCRIBE {one}"), Box::new(move |names| names.subscribed.insert(one.to_owned()) || true)),
            _ => (format!("UNSUBSCRIBE {one}"), Box::new(move |names| names.subscribed.remove(one) || true)),
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

/// One change of names; `false` where the server is gone.
async fn change_names(client: &mut Client, books: &Books, command: &str, change: &dyn Fn(&mut Names) -> bool) -> bool {
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
async fn reader(life: Rc<Life>, who: u64, mut dice: StdRng) {
    let Some(mut client) = life.connect(&format!("reader {who}")).await else { return };
    let mailboxes = ["INBOX", "INBOX", "A", "A/B", "X", "Archive"];
    let mut is_selected = false;
    for _ in 0..40 {
        pause(&mut dice).await;
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

async fn append(client: &mut Client, books: &Books, mailbox: &str) -> bool {
    let number = {
        let mut books = books.borrow_mut();
        books.next += 1;
        books.next
    };
    let message = format!("Subject: message {number}\r\n\r\nHello.\r\n");
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

/// STORE, COPY, MOVE or EXPUNGE of one message that this client knows the UID of.
async fn touch(client: &mut Client, books: &Books, choice: u32, mailbox: &str, dice: &mut StdRng) -> bool {
    let known: Vec<u32> = client.view.iter().filter_map(|known| known.uid).collect();
    let Some(uid) = known.choose(dice).copied() else {
        return !client.command("FETCH 1:* (UID FLAGS)").await.status.is_empty();
    };
    let message = books.borrow().seen.get(&(client.uid_validity, uid)).copied();
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
        let number = line.split_once("Subject: message ").and_then(|(_, rest)| {
            rest.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
        });
        if let (Some(uid), Some(number)) = (uid, number) {
            books.borrow_mut().saw(client.uid_validity, uid, number);
        }
    }
}

/// A fixed history: a subscribed tree is renamed, messages move, the tree moves back.
async fn history(life: Rc<Life>) {
    let Some(mut client) = life.connect("history").await else { return };
    let books = &life.books;
    for name in ["A", "A/B", "A/B/C"] {
        if !change_names(&mut client, books, &format!("CREATE {name}"), &|names| names.create(name)).await {
            return;
        }
        let subscribe = |names: &mut Names| names.subscribed.insert(name.to_owned()) || true;
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

/// The end: a fresh session reads everything, and the books must agree.
async fn audit(life: &Rc<Life>) {
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
