//! Scenarios with `-- clock`: the sessions run in this thread under a paused clock, over pipes instead of sockets; half an hour passes at once.

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
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
use carillon_storage::memory::MemoryJournal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use crate::support::wire::{Pipe, Wire};

/// 2026-01-01T00:00:00Z in microseconds.
const EPOCH: u64 = 1_767_225_600_000_000;

struct World {
    runner: actix_rt::SystemRunner,
    doors: Arc<Doors>,
}

thread_local! {
    /// The server of the scenario that this thread plays. Pipes find it here, because a connection must be able to move between threads elsewhere.
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

struct Anybody;

impl Authenticator for Anybody {
    fn verify(&self, user: &str, _: &[u8]) -> Verdict {
        self.find(user).map_or(Verdict::Refused, Verdict::Accepted)
    }

    fn find(&self, user: &str) -> Option<AccountId> {
        Some(AccountId(if user.ends_with("-other") { 2 } else { 1 }))
    }
}

/// Starts a server of this thread's own; the one before it is gone.
pub fn begin() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let runner = actix_rt::System::with_tokio_rt(runtime);
    let doors = runner.block_on(async {
        let begun = tokio::time::Instant::now();
        let clock = Clock::new(move || EPOCH + u64::try_from(begun.elapsed().as_micros()).unwrap_or_default());
        let ids = Ids::new(EPOCH / 1_000_000, 1);
        let core = Core::start(Arc::new(MemoryJournal::new()), Placement::one_thread(), clock, ids, Limits::default());
        Arc::new(Doors::new(core, Arc::new(Anybody), None, Settings::default()))
    });
    WORLD.with(|world| *world.borrow_mut() = Some(World { runner, doors }));
}

/// Lets time pass.
pub fn pass(time: Duration) {
    with(|world| world.runner.block_on(async { tokio::time::sleep(time).await }));
}

/// A new connection.
pub fn connect() -> Wire {
    let ours = with(|world| {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let doors = Arc::clone(&world.doors);
        world.runner.block_on(async move { start(doors, Transport::Pipe(theirs), peer, Admission::uncounted()) });
        ours
    });
    Wire::over(Box::new(Simulated(ours)))
}

fn with<T>(work: impl FnOnce(&World) -> T) -> T {
    WORLD.with(|world| work(world.borrow().as_ref().expect("a scenario with a clock has begun in this thread")))
}

struct Simulated(DuplexStream);

impl Pipe for Simulated {
    fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        with(|world| world.runner.block_on(self.0.write_all(bytes)))
    }

    fn receive(&mut self, bytes: &mut [u8], patience: Duration) -> std::io::Result<Option<usize>> {
        let read = with(|world| world.runner.block_on(async { tokio::time::timeout(patience, self.0.read(bytes)).await }));
        read.map_or(Ok(None), |count| count.map(Some))
    }
}
