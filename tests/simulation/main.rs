//! The simulation (docs/testing.md): one thread, a paused clock, a seed. Random clients over pipes against the real sessions, accounts, mailboxes and
//! directory, over a journal that fails or is cut off at a chosen commit. `SEED=n cargo test --test simulation` repeats one seed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by a panic")]

mod audit;
mod client;
mod history;
mod inside;
mod ledger;
mod names;
mod people;
mod verdict;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once};

use carillon_storage::fault::AppendFault;
use world::{Plan, Tally};

/// Seeds of a usual run; `SEEDS=n` runs more.
const SEEDS: u64 = 200;
/// More appends than the fixed history makes.
const HISTORY_STEPS: u64 = 45;

/// What must happen in a usual run, so that it proves something; each at least as often as there are seeds.
const MUST_HAPPEN: [&str; 18] = [
    "APPEND",
    "MULTIAPPEND",
    "COPY",
    "MOVE",
    "STORE",
    "EXPUNGE",
    "CLOSE",
    "CREATE",
    "DELETE",
    "RENAME",
    "RENAME INBOX",
    "SUBSCRIBE",
    "UNSUBSCRIBE",
    "refused",
    "untold",
    "compared",
    "compared in IDLE",
    "compared, deleted",
];

/// Panics on purpose say nothing.
fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if panic.payload().downcast_ref::<&str>() != Some(&"on purpose") {
                usual(panic);
            }
        }));
    });
}

/// Runs worlds on all cores; how often what happened, and the complaints of those that have any.
fn run_all(plans: Vec<(String, Plan)>) -> (Tally, Vec<String>) {
    hush();
    let (next, outcome) = (AtomicU64::new(0), Mutex::new((Tally::new(), Vec::new())));
    let work = || {
        while let Some((name, plan)) = plans.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
            let found = world::run(plan);
            let (tally, complaints) = &mut *outcome.lock().unwrap();
            match found {
                Ok(found) => found.into_iter().for_each(|(what, count)| *tally.entry(what).or_default() += count),
                Err(found) => complaints.push(format!("{name}:\n  {}", found.join("\n  "))),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    outcome.into_inner().unwrap()
}

#[test]
fn clients_agree_and_nothing_acknowledged_is_lost() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("SEEDS").unwrap_or(SEEDS)).collect(),
    };
    let count_of_seeds = seeds.len() as u64;
    let (tally, failed) = run_all(seeds.into_iter().map(|seed| (format!("SEED={seed}"), Plan::from_seed(seed))).collect());
    assert!(failed.is_empty(), "{} worlds failed; repeat one with SEED=n:\n{}", failed.len(), failed.join("\n"));
    eprintln!("{tally:?}");
    let rare = MUST_HAPPEN.iter().filter(|what| tally.get(*what).is_none_or(|count| *count < count_of_seeds));
    assert!(count_of_seeds < SEEDS || rare.clone().count() == 0, "too rare: {:?}", rare.collect::<Vec<_>>());
}

/// Each kind of change, refused, cut off before and cut off behind every commit of a fixed history: it is there or it is not, never in part.
#[test]
fn every_change_is_whole_at_every_commit_step() {
    let faults = [AppendFault::Fail, AppendFault::Vanish, AppendFault::Tear];
    let plan = |step: u64, fault: AppendFault| (format!("{fault:?} at append {step}"), Plan::history(step, fault));
    let (_, failed) = run_all((0..HISTORY_STEPS).flat_map(|step| faults.map(|fault| plan(step, fault))).collect());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
