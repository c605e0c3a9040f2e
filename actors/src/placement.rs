//! Which thread an actor lives on, and where work that blocks or computes for long is done: threads in the server, one thread in the simulation (real
//! threads let a paused clock jump).

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;
use std::time::Duration;

use actix::{Actor, Addr, Context};
use actix_rt::{Arbiter, ArbiterHandle};
use tokio::sync::{Semaphore, oneshot};

use crate::refusal::Fault;
use crate::turn::{LARGE_OCTETS, Order, Turn};

/// Where things run. Clones are the same placement.
#[derive(Clone)]
pub struct Placement(Arc<Kind>);

enum Kind {
    Threads {
        places: Vec<Place>,
        next_session: AtomicUsize,
        /// One permit for each short job that may run at a time.
        short: Arc<Semaphore>,
        /// The same for jobs that are not short: whoever waits for a short one does not wait for them. The processors are shared out by the kernel.
        long: Arc<Semaphore>,
    },
    OneThread {
        /// How long each job takes, on the paused clock.
        pace: Box<dyn Fn() -> Duration + Send + Sync>,
    },
}

impl Placement {
    /// `arbiters` threads for actors, and a bounded pool for jobs. To be called inside an actix `System`; arbiters that the system does not give are traced and
    /// done without.
    pub fn threads(arbiters: usize) -> Self {
        let mut places = Vec::with_capacity(arbiters);
        for _ in 0..arbiters {
            match Arbiter::try_new() {
                Ok(arbiter) => places.push(Place(Some(arbiter.handle()))),
                Err(error) => tracing::error!(%error, "an arbiter's thread could not be started"),
            }
        }
        if places.is_empty() {
            places.push(Place(Some(Arbiter::current())));
        }
        let permits = || Arc::new(Semaphore::new(available_parallelism().map_or(1, usize::from).max(2)));
        Self(Arc::new(Kind::Threads { places, next_session: AtomicUsize::new(0), short: permits(), long: permits() }))
    }

    /// Everything on the calling thread, jobs too.
    pub fn one_thread() -> Self {
        Self::one_thread_paced(|| Duration::ZERO)
    }

    /// The same, with jobs (flushes too) that take as long as `pace` says: time for others to come between.
    pub fn one_thread_paced(pace: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(Kind::OneThread { pace: Box::new(pace) }))
    }

    /// Runs a short job that may block, or compute for more than 1 ms, in the bounded pool. A job that has begun ends, also where nobody waits for it any more.
    ///
    /// # Errors
    /// `Bug` where the job panics, `Ending` where the pool is no more.
    pub async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
        self.pooled(Order::First, job).await
    }

    /// The same for a job over so many octets of mail, which is not short where they are many.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn run_for<T: Send + 'static>(&self, octets: u64, job: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
        self.pooled(if octets > LARGE_OCTETS { Order::Later } else { Order::First }, job).await
    }

    /// One turn of work that may take long. The first of a command is a short job; each later one waits its turn behind those of others.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn turn<T: Send + 'static>(
        &self,
        order: Order,
        job: impl FnOnce(&mut Turn) -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let is_timed = matches!(*self.0, Kind::Threads { .. });
        self.pooled(order, move || job(&mut Turn::begin(order, is_timed))).await
    }

    async fn pooled<T: Send + 'static>(&self, order: Order, job: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
        match &*self.0 {
            Kind::Threads { short, long, .. } => {
                let permits = if order == Order::First { short } else { long };
                // Whoever has waited longest is next.
                let permit = Arc::clone(permits).acquire_owned().await.map_err(|_| Fault::Ending)?;
                let outcome = tokio::task::spawn_blocking(move || {
                    let _permit = permit;
                    guarded(job)
                });
                outcome.await.unwrap_or(Err(Fault::Ending))
            }
            Kind::OneThread { pace } => {
                // Others get their turn, as they would while a thread works.
                match pace() {
                    Duration::ZERO => tokio::task::yield_now().await,
                    pause => tokio::time::sleep(pause).await,
                }
                guarded(job)
            }
        }
    }

    /// A thread of its own for jobs that must not wait for the pool.
    pub fn lane(&self, name: &str) -> Lane {
        if matches!(*self.0, Kind::OneThread { .. }) {
            return Lane(Way::Pool(self.clone()));
        }
        let (sender, jobs) = std::sync::mpsc::channel::<Job>();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || jobs.into_iter().for_each(|job| job()));
        match thread {
            Ok(_) => Lane(Way::Thread(sender)),
            Err(error) => {
                tracing::error!(%error, name, "a thread could not be started: its jobs go to the pool");
                Lane(Way::Pool(self.clone()))
            }
        }
    }

    /// The place of an account and of all its mailboxes.
    pub fn place_of(&self, account: crate::id::AccountId) -> Place {
        match &*self.0 {
            Kind::Threads { places, .. } => {
                let index = usize::try_from(account.0 % places.len().max(1) as u64).unwrap_or_default();
                places.get(index).cloned().unwrap_or(Place(None))
            }
            Kind::OneThread { .. } => Place(None),
        }
    }

    /// The place of the next session: all in turn.
    pub fn session_arbiter(&self) -> Place {
        match &*self.0 {
            Kind::Threads { places, next_session, .. } => {
                let index = next_session.fetch_add(1, Ordering::Relaxed) % places.len().max(1);
                places.get(index).cloned().unwrap_or(Place(None))
            }
            Kind::OneThread { .. } => Place(None),
        }
    }

    /// The calling thread.
    pub fn here(&self) -> Place {
        Place(None)
    }
}

/// A thread that actors live on.
#[derive(Clone)]
pub struct Place(Option<ArbiterHandle>);

impl Place {
    /// Starts an actor here; `make` runs on this place's thread.
    pub fn start<A: Actor<Context = Context<A>>>(&self, make: impl FnOnce(&mut Context<A>) -> A + Send + 'static) -> Addr<A> {
        match &self.0 {
            Some(arbiter) => A::start_in_arbiter(arbiter, make),
            None => A::create(make),
        }
    }

    /// Runs a future here; `false` where the place is no more.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> bool {
        match &self.0 {
            Some(arbiter) => arbiter.spawn(future),
            None => {
                actix_rt::spawn(future);
                true
            }
        }
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// A thread that does one job after another, in order. It ends when this is dropped and the last job is done.
pub struct Lane(Way);

enum Way {
    Thread(std::sync::mpsc::Sender<Job>),
    Pool(Placement),
}

impl Lane {
    /// Queues a job; the future gives its result. A job that was queued runs also where nobody waits for it any more (in one thread: once this was polled).
    ///
    /// # Errors
    /// `Bug` where the job panics, `Ending` where the thread is no more.
    pub fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Pin<Box<dyn Future<Output = Result<T, Fault>>>> {
        let (answer, result) = oneshot::channel();
        let job: Job = Box::new(move || {
            let _ = answer.send(guarded(job));
        });
        let pool = match &self.0 {
            Way::Thread(sender) => {
                // A thread that is gone drops the job, and the result with it.
                let _ = sender.send(job);
                None
            }
            Way::Pool(placement) => Some((placement.clone(), job)),
        };
        Box::pin(async move {
            if let Some((placement, job)) = pool {
                placement.run(job).await?;
            }
            result.await.unwrap_or(Err(Fault::Ending))
        })
    }
}

/// A panic in a job is that job's fault alone.
fn guarded<T>(job: impl FnOnce() -> T) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(job)).map_err(|panic: Box<dyn Any + Send>| {
        let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        tracing::error!(panic = text.unwrap_or("of an unknown kind"), "a job panicked");
        Fault::Bug("a job panicked")
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// As many long jobs as there are places for, and one that waits for a place; short ones come all the same.
    #[test]
    fn short_jobs_wait_for_no_long_ones() {
        actix_rt::System::new().block_on(async {
            let placement = Placement::threads(1);
            let (release, wait) = mpsc::channel::<()>();
            let (wait, (begun, mut has_begun)) = (Arc::new(std::sync::Mutex::new(wait)), tokio::sync::mpsc::unbounded_channel());
            let places = available_parallelism().map_or(1, usize::from).max(2);
            let long: Vec<_> = (0..places + 1)
                .map(|number| {
                    let (placement, wait, begun) = (placement.clone(), Arc::clone(&wait), begun.clone());
                    let job = move || {
                        begun.send(()).unwrap();
                        wait.lock().unwrap().recv().unwrap();
                    };
                    actix_rt::spawn(async move {
                        match number % 2 {
                            0 => placement.turn(Order::Later, move |_| job()).await,
                            _ => placement.run_for(LARGE_OCTETS + 1, job).await,
                        }
                    })
                })
                .collect();
            for _ in 0..places {
                has_begun.recv().await.unwrap();
            }
            assert_eq!(placement.run(|| 1).await, Ok(1));
            assert_eq!(placement.run_for(LARGE_OCTETS, || 2).await, Ok(2));
            assert_eq!(placement.turn(Order::First, |turn| turn.is_too_short_for(LARGE_OCTETS + 1)).await, Ok(true));
            assert!(has_begun.try_recv().is_err(), "there are no more places for long jobs");
            (0..places + 1).for_each(|_| release.send(()).unwrap());
            for job in long {
                assert_eq!(job.await.unwrap(), Ok(()));
            }
        });
    }
}
