//! Plays tests/transcripts against our server, or with `CARILLON_TEST_SERVER=host:port[,user[,password]]` against any other.
//! `TRANSCRIPT=part-of-a-path` plays those alone. The format stands in docs/testing.md.
#![allow(clippy::explicit_write, reason = "the test runner captures what eprintln writes")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

#[path = "support/mod.rs"]
mod support;
mod transcript;

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use support::server::{Server, Target};
use support::wire::Wire;
use transcript::run::{Outcome, play};
use transcript::script::Script;

/// Scenarios at once: they wait more than they work.
const AT_ONCE: usize = 8;

#[test]
fn transcripts() {
    // Cargo starts tests in the package's folder, and relative paths are what an editor can jump to.
    let root = PathBuf::from("tests/transcripts");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let part = std::env::var("TRANSCRIPT").unwrap_or_default();
    files.retain(|path| path.to_string_lossy().contains(&part));
    files.sort();
    assert!(!files.is_empty(), "no transcript under {} has `{part}` in its path", root.display());
    let foreign = Target::from_environment();
    let at_once = if foreign.as_ref().is_some_and(|target| target.user.is_some()) { 1 } else { AT_ONCE };
    let shared = Arc::new(Shared { foreign, servers: Mutex::new(BTreeMap::new()) });
    let queue = Arc::new(Mutex::new(files.into_iter().enumerate().collect::<VecDeque<_>>()));
    let results = Arc::new(Mutex::new(Vec::new()));
    let start = Instant::now();
    let workers: Vec<_> = (0..at_once)
        .map(|_| {
            let (shared, queue, results) = (Arc::clone(&shared), Arc::clone(&queue), Arc::clone(&results));
            thread::spawn(move || {
                while let Some((number, path)) = { queue.lock().unwrap().pop_front() } {
                    let outcome = shared.play(number, &path);
                    results.lock().unwrap().push((path, outcome));
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().expect("the runner itself failed");
    }
    report(&results.lock().unwrap(), &shared, start);
}

fn report(results: &[(PathBuf, Outcome)], shared: &Shared, start: Instant) {
    let mut failures = Vec::new();
    let mut passed = 0;
    for (path, outcome) in results {
        match outcome {
            Outcome::Passed => passed += 1,
            Outcome::Skipped(why) => writeln!(std::io::stderr(), "SKIPPED {}: {why}", path.display()).unwrap(),
            Outcome::Failed(what) => failures.push(what.as_str()),
        }
    }
    failures.sort_unstable();
    let panics: Vec<String> = shared.servers.lock().unwrap().values().flat_map(|server| server.panics()).collect();
    let count = results.len();
    let skipped = count - passed - failures.len();
    let seconds = start.elapsed().as_secs_f32();
    let summary =
        format!("transcripts: {passed} of {count} passed, {} failed, {skipped} skipped, in {seconds:.1} s", failures.len());
    for failure in &failures {
        eprintln!("\n{failure}");
    }
    // Past the test runner's capture: the figure belongs to the end of a run.
    writeln!(std::io::stderr(), "{summary}").unwrap();
    assert!(panics.is_empty(), "the server panicked:\n{}", panics.join("\n"));
    assert!(failures.is_empty(), "{summary}");
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("tests/transcripts can be read") {
        let path = entry.expect("tests/transcripts can be read").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "imap") {
            files.push(path);
        }
    }
}

/// The servers in memory, one for each set of settings.
struct Shared {
    foreign: Option<Target>,
    servers: Mutex<BTreeMap<String, Server>>,
}

impl Shared {
    fn play(&self, number: usize, path: &Path) -> Outcome {
        let script = match Script::read(path) {
            Ok(script) => script,
            Err(problem) => return Outcome::Failed(problem),
        };
        if let Some(target) = &self.foreign {
            return play_foreign(&script, target, number);
        }
        let user = format!("u{number}");
        if script.kills() {
            let other = format!("{user}-other");
            return match Server::on_disk(&[&user, &other], &script.server) {
                Ok(mut server) => {
                    let target = server.target.clone();
                    let outcome = play(&script, &target, Some(&mut server), &user);
                    match (outcome, server.panics()) {
                        (Outcome::Passed, panics) if !panics.is_empty() => {
                            Outcome::Failed(format!("{}: the server panicked: {}", path.display(), panics.join("\n")))
                        }
                        (outcome, _) => outcome,
                    }
                }
                Err(error) => Outcome::Failed(format!("{}:1: the server did not start: {error}", path.display())),
            };
        }
        match self.server(&script.server) {
            Ok(target) => play(&script, &target, None, &user),
            Err(problem) => Outcome::Failed(format!("{}:1: the server did not start: {problem}", path.display())),
        }
    }

    fn server(&self, settings: &[String]) -> Result<Target, String> {
        let mut servers = self.servers.lock().unwrap();
        let key = settings.join(" ");
        if let Some(server) = servers.get(&key) {
            return Ok(server.target.clone());
        }
        let server = Server::memory(settings).map_err(|error| error.to_string())?;
        let target = server.target.clone();
        servers.insert(key, server);
        Ok(target)
    }
}

fn play_foreign(script: &Script, target: &Target, number: usize) -> Outcome {
    if script.ours_only || !script.server.is_empty() || script.kills() {
        return Outcome::Skipped("for carillon alone".to_owned());
    }
    match &target.user {
        None => play(script, target, None, &format!("t{}-{number}", std::process::id())),
        Some(user) => match clean(target, user) {
            Ok(()) => play(script, target, None, user),
            Err(problem) => Outcome::Failed(format!("{}:1: the account could not be emptied: {problem}", script.path.display())),
        },
    }
}

/// Empties the one account of a foreign server.
fn clean(target: &Target, user: &str) -> Result<(), String> {
    let mut wire = Wire::connect(target.imap).map_err(|error| error.to_string())?;
    wire.until("*")?;
    wire.command("a", &format!("LOGIN {user} {}", target.password))?;
    let mut names: Vec<String> = Vec::new();
    for line in wire.command("b", "LIST \"\" *")? {
        if let Some((_, name)) =
            line.strip_prefix("* LIST ").and_then(|rest| rest.split_once("\"/\" ").or_else(|| rest.split_once("\".\" ")))
        {
            names.push(name.to_owned());
        }
    }
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    for name in names.iter().filter(|name| !name.eq_ignore_ascii_case("INBOX")) {
        wire.command("c", &format!("DELETE {name}"))?;
        wire.command("d", &format!("UNSUBSCRIBE {name}"))?;
    }
    wire.command("e", "SELECT INBOX")?;
    wire.command("f", "STORE 1:* +FLAGS.SILENT (\\Deleted)")?;
    wire.command("g", "EXPUNGE")?;
    wire.command("h", "LOGOUT").map(drop)
}
