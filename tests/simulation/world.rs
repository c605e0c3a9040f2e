//! One world: lives of a server over one journal, random clients in each, and the audit at the end.

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
use crate::ledger::Ledger;
use crate::people::{Books, Connecting, Life, administrator, audit, reader};

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

async fn live(plan: &Plan, life: u64, journal: Arc<FaultJournal<Arc<MemoryJournal>>>, books: Books, is_last: bool) {
    let begun = tokio::time::Instant::now();
    let born = EPOCH + life * 1_000_000_000;
    let clock = Clock::new(move || born + u64::try_from(begun.elapsed().as_micros()).unwrap_or_default());
    let ids = Ids::new(born / 1_000_000, plan.seed ^ (life << 32));
    // Flushes and reads take a while, now and then: requests come between.
    let dice = Mutex::new(StdRng::seed_from_u64(plan.seed ^ 0x7061_6365));
    let pace =
        move || Duration::from_micros(dice.lock().map_or(0, |mut dice| dice.random_range(0_u64..8_000).saturating_sub(4_000)));
    let core = Core::start(journal, Placement::one_thread_paced(pace), clock, ids, Limits::default());
    let doors = Doors::new(core.clone(), Arc::new(Anybody), None, Settings::default());
    let server = Rc::new(Life { connect: connector(Arc::new(doors)), books: books.clone(), pause_microseconds: 3_000 });
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

/// Connects by a pipe, as a listener would by a socket.
fn connector(doors: Arc<Doors>) -> Box<dyn Fn(String) -> Connecting> {
    Box::new(move |name| {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        start(doors.clone(), Transport::Pipe(theirs), peer, Admission::uncounted());
        Box::pin(Client::log_in(Box::new(ours), name))
    })
}
