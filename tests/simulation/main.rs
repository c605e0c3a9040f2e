//! The simulation (docs/testing.md): one thread, a paused clock, a seed. Random clients over pipes against the real sessions, accounts, mailboxes and
//! directory, over a journal that fails or is cut off at a chosen commit. `SEED=n cargo test --test simulation` repeats one seed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by a panic")]

mod client;
mod history;
mod ledger;
mod people;
mod world;

use world::Plan;

/// Seeds of a usual run; `SEEDS=n` runs more.
const SEEDS: u64 = 200;

fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("SEEDS").unwrap_or(SEEDS)).collect(),
    }
}

#[test]
fn clients_agree_and_nothing_acknowledged_is_lost() {
    let mut failed = Vec::new();
    for seed in seeds() {
        if let Err(complaints) = world::run(&Plan::from_seed(seed)) {
            failed.push(seed);
            eprintln!("seed {seed}:");
            complaints.iter().for_each(|complaint| eprintln!("  {complaint}"));
        }
    }
    assert!(failed.is_empty(), "failed seeds: {failed:?}; repeat one with SEED=n");
}

/// RENAME of a subscribed tree and MOVE, cut off behind and before every commit of a fixed history: before or after, never between.
#[test]
fn rename_and_move_are_whole_at_every_commit_step() {
    let mut complaints = Vec::new();
    for step in 0..40 {
        for plan in [Plan::history_torn_at(step), Plan::history_failed_at(step)] {
            if let Err(found) = world::run(&plan) {
                complaints.extend(found.into_iter().map(|complaint| format!("step {step}: {complaint}")));
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
