//! One world: lives of a server over one journal, with a fault or several in each; random clients, and the auditor between.

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use carillon_actors::clock::Clock;
use carillon_actors::id::{AccountId, Ids};
use carillon_actors::limits::Limits;
use carillon_actors::placement::Placement;
use carillon_actors::server::Core;
use carillon_actors::session::actor::{Transport, start};
use carillon_actors::session::admission::Admission;
use carillon_actors::session::auth::{Authenticator, Verdict};
use carillon_actors::session::settings::{Doors, Settings};
use carillon_storage::fault::{AppendFault, FaultJournal};
use carillon_storage::memory::MemoryJournal;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::client::Client;
use crate::history::history;
use crate::inside::Inside;
use crate::ledger::Ledger;
use crate::people::{Books, Connecting, Life};

/// 2026-01-01T00:00:00Z in microseconds.
const EPOCH: u64 = 1_767_225_600_000_000;
/// Whose account it is.
const ACCOUNT: AccountId = AccountId(7);
/// Spans of a life that nothing ends.
const SPANS: u32 = 4;
/// Readers in each life.
const READERS: u64 = 3;

/// How often what happened.
pub type Tally = std::collections::BTreeMap<&'static str, u64>;

/// What happens in a world.
pub struct Plan {
    seed: u64,
    lives: Vec<Fate>,
    /// Whether the clients follow the fixed history instead of the dice.
    is_history: bool,
}

/// What goes wrong in one life of the server.
#[derive(Clone)]
struct Fate {
    /// At which append of the journal, and what. Tear and Vanish end the life.
    faults: [(u64, AppendFault); 2],
    /// Actors that panic: after so many microseconds, and which: the account, or one of its mailboxes.
    deaths: Vec<(u64, Option<usize>)>,
    /// How long the slowest of the usual jobs (flushes, reads, loads) takes, in microseconds.
    pace: u64,
    /// The job that takes so many seconds.
    stall: (u64, u64),
    /// How long a mailbox's actor stays that nobody uses.
    retire_after: Duration,
    /// Whether all readers crowd into one mailbox.
    is_crowded: bool,
    /// How many changes a state remembers.
    recent_changes: usize,
}

impl Fate {
    const PEACE: Self = Self {
        faults: [(0, AppendFault::Fail), (0, AppendFault::Fail)],
        deaths: Vec::new(),
        pace: 0,
        stall: (0, 0),
        retire_after: Duration::from_secs(300),
        is_crowded: false,
        recent_changes: 10_000,
    };

    fn from_dice(dice: &mut StdRng) -> Self {
        let refused = [AppendFault::Fail, AppendFault::Full];
        let all = [AppendFault::Fail, AppendFault::Full, AppendFault::Tear, AppendFault::Vanish, AppendFault::Tear];
        let death = |dice: &mut StdRng| {
            let mailbox = dice.random_bool(0.7).then(|| dice.random_range(0..12));
            (dice.random_range(0..120_000), mailbox)
        };
        let deaths = if dice.random_bool(0.4) { dice.random_range(1..3) } else { 0 };
        Self {
            faults: [
                (dice.random_range(0..120), *refused.choose(dice).unwrap()),
                (dice.random_range(0..120), *all.choose(dice).unwrap()),
            ],
            deaths: (0..deaths).map(|_| death(dice)).collect(),
            pace: *[0, 4_000].choose(dice).unwrap(),
            stall: if dice.random_bool(0.3) { (dice.random_range(0..600), dice.random_range(1..40)) } else { (0, 0) },
            retire_after: Duration::from_millis(*[2, 10, 300_000].choose(dice).unwrap()),
            is_crowded: dice.random_bool(0.25),
            recent_changes: *[2, 20, 10_000].choose(dice).unwrap(),
        }
    }
}

impl Plan {
    /// Everything from the dice. The last life is peaceful.
    pub fn from_seed(seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let lives = (0..dice.random_range(1..4)).map(|_| Fate::from_dice(&mut dice)).collect::<Vec<_>>();
        Self { seed, lives: lives.into_iter().chain([Fate::PEACE]).collect(), is_history: false }
    }

    /// The fixed history with a fault at its n-th append.
    pub fn history(step: u64, fault: AppendFault) -> Self {
        let fate = Fate { faults: [(0, AppendFault::Fail), (step, fault)], ..Fate::PEACE };
        Self { seed: 1, lives: vec![fate, Fate::PEACE], is_history: true }
    }
}

struct Anybody;

impl Authenticator for Anybody {
    fn verify(&self, _user: &str, _password: &[u8]) -> Verdict {
        Verdict::Accepted(ACCOUNT)
    }

    fn find(&self, _user: &str) -> Option<AccountId> {
        Some(ACCOUNT)
    }
}

/// Runs a world; what went wrong in it.
pub fn run(plan: &Plan) -> Result<Tally, Vec<String>> {
    let journal = Arc::new(MemoryJournal::new());
    let books: Books = Rc::new(RefCell::new(Ledger::new()));
    let inside = Rc::new(Inside::new(ACCOUNT, journal.clone(), books.clone()));
    for (number, fate) in plan.lives.iter().enumerate() {
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let system = actix_rt::System::with_tokio_rt(runtime);
        system.block_on(live(plan, number as u64, fate, &journal, &inside, &books));
    }
    let mut books = books.borrow_mut();
    if !books.acts.is_empty() {
        books.complain("the last server was not looked at".to_owned());
    }
    let complaints = std::mem::take(&mut books.complaints);
    if complaints.is_empty() { Ok(std::mem::take(&mut books.tally)) } else { Err(complaints) }
}

async fn live(plan: &Plan, number: u64, fate: &Fate, journal: &Arc<MemoryJournal>, inside: &Rc<Inside>, books: &Books) {
    let core = start_core(plan, number, fate, journal);
    let doors = Arc::new(Doors::new(core.clone(), Arc::new(Anybody), None, Settings::default()));
    let (inside, insight) = (inside.clone(), core.clone());
    let look = move |census| -> std::pin::Pin<Box<dyn Future<Output = ()>>> {
        let (inside, core) = (inside.clone(), insight.clone());
        Box::pin(async move { inside.look(&core, &census).await })
    };
    let life = Rc::new(Life {
        connect: connector(doors),
        books: books.clone(),
        number,
        spans: SPANS,
        is_crowded: fate.is_crowded,
        pause_microseconds: 3_000,
        insight: Some(Box::new(look)),
    });
    let end = core.clone();
    let watchdog = actix_rt::spawn(async move {
        end.ended().await;
        end.directory.end().await;
    });
    let deaths: Vec<_> = fate.deaths.iter().map(|(after, whose)| actix_rt::spawn(die(core.clone(), *after, *whose))).collect();
    if !plan.is_history {
        life.work(READERS, plan.seed.wrapping_mul(1_000_003) ^ (number << 20)).await;
    } else if number == 0 {
        history(life.clone()).await;
    }
    // Without a crash the last answers are in the books, and after one the next life looks.
    life.look().await;
    watchdog.abort();
    deaths.iter().for_each(actix_rt::task::JoinHandle::abort);
    core.directory.end().await;
}

fn start_core(plan: &Plan, number: u64, fate: &Fate, journal: &Arc<MemoryJournal>) -> Core {
    let begun = tokio::time::Instant::now();
    let born = EPOCH + number * 1_000_000_000;
    let clock = Clock::new(move || born + u64::try_from(begun.elapsed().as_micros()).unwrap_or_default());
    let ids = Ids::new(born / 1_000_000, plan.seed ^ (number << 32));
    // Half of the jobs take no time, and one may take very long: requests come between.
    let dice = Mutex::new((0, StdRng::seed_from_u64(plan.seed ^ 0x7061_6365)));
    let (longest, stall) = (fate.pace, fate.stall);
    let pace = move || {
        let mut dice = dice.lock().unwrap();
        dice.0 += 1;
        let usual = Duration::from_micros(dice.1.random_range(0..=longest * 2).saturating_sub(longest));
        if dice.0 == stall.0 { Duration::from_secs(stall.1) } else { usual }
    };
    let [(first, one), (second, other)] = fate.faults;
    let faulty = FaultJournal::new(FaultJournal::new(journal.clone(), first, one), second, other);
    let limits = Limits { retire_after: fate.retire_after, recent_changes: fate.recent_changes, ..Limits::default() };
    Core::start(Arc::new(faulty), Placement::one_thread_paced(pace), clock, ids, limits)
}

/// An actor panics on purpose.
async fn die(core: Core, after: u64, whose: Option<usize>) {
    tokio::time::sleep(Duration::from_micros(after)).await;
    let Ok(account) = core.directory.account(ACCOUNT).await else { return };
    let Some(which) = whose else { return account.panic() };
    let Ok(names) = account.peek().await else { return };
    let Some(mailbox) = names.entries().nth(which % names.mailboxes().max(1)).map(|entry| entry.mailbox) else { return };
    if let Ok(mailbox) = account.open(mailbox).await {
        mailbox.panic();
    }
}

/// Connects by a pipe, as a listener would by a socket.
fn connector(doors: Arc<Doors>) -> Box<dyn Fn(String) -> Connecting> {
    Box::new(move |name| {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        start(doors.clone(), Transport::Pipe(theirs), peer, Admission::uncounted());
        Box::pin(Client::log_in(Box::new(ours), name))
    })
}
