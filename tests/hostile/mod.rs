//! The attacks.

mod after_login;
mod before_login;
mod doorbells;
mod floods;
mod injection;
mod lmtp;
mod memory;
mod messages;
mod names;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::client::{greeted, logged_in};
use crate::support::server::{Server, Target};
use crate::support::wire::{PATIENCE, Silence, Wire};

/// What a bystander may wait in the middle of an attack.
const MEDIAN: Duration = Duration::from_millis(100);

/// What an answer to a bomb may take in a build without optimisation on a busy machine; what is quadratic takes far longer.
const BOMB: Duration = Duration::from_secs(10);

/// An unauthenticated peer costs at most this (docs/security.md).
const PER_CONNECTION: u64 = 1 << 20;

/// Starts a server, lets a bystander work while the attack runs, and checks that the server is whole afterwards.
fn under_attack(attack: impl FnOnce(&Server)) {
    under_attack_on(&Server::memory(&[]).expect("the server starts"), attack);
}

/// The same with a server over a data directory, real accounts and real password hashes.
fn under_attack_on_disk(users: &[&str], settings: &[&str], attack: impl FnOnce(&Server)) {
    let settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
    let users: Vec<&str> = ["bystander", "afterwards"].iter().chain(users).copied().collect();
    under_attack_on(&Server::on_disk(&users, &settings).expect("the server starts"), attack);
}

fn under_attack_on(server: &Server, attack: impl FnOnce(&Server)) {
    let stop = Arc::new(AtomicBool::new(false));
    let mut bystander = logged_in(server.target.imap, "bystander");
    let watch = thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            let mut times = Vec::new();
            loop {
                let start = Instant::now();
                bystander.command("n", "NOOP").expect("the bystander is answered");
                times.push(start.elapsed());
                bystander.history.clear();
                if stop.load(Ordering::Relaxed) {
                    return times;
                }
                thread::sleep(Duration::from_millis(5));
            }
        }
    });
    attack(server);
    stop.store(true, Ordering::Relaxed);
    let mut times = watch.join().expect("the bystander was answered to the end");
    times.sort();
    let median = times[times.len() / 2];
    assert!(median < MEDIAN, "a bystander waited {median:?} (median of {})", times.len());
    assert_eq!(server.panics(), Vec::<String>::new(), "the server panicked");
    logged_in(server.target.imap, "afterwards").command("z", "LOGOUT").expect("a new client is let in afterwards");
}

/// The greatest resident size of the next half second, so that what was sent has been read.
fn resident_bytes(server: &Server) -> u64 {
    let sample = |_| {
        thread::sleep(Duration::from_millis(20));
        server.resident_bytes()
    };
    (0..25).map(sample).max().unwrap_or_default()
}

/// Appends a message and selects INBOX.
fn with_message(target: &Target, user: &str, message: &[u8]) -> Wire {
    let mut wire = logged_in(target.imap, user);
    let mut command = format!("m APPEND INBOX {{{}+}}\r\n", message.len()).into_bytes();
    command.extend(message);
    command.extend(b"\r\n");
    wire.send(&command).unwrap();
    let replies = wire.until("m").unwrap();
    assert!(replies.last().unwrap().starts_with("m OK"), "{replies:?}");
    wire.command("s", "SELECT INBOX").unwrap();
    wire
}

/// Sends a command that must be answered in time, whatever the answer.
fn in_time(wire: &mut Wire, command: &str) -> String {
    let start = Instant::now();
    let replies = wire.command("b", command).unwrap_or_else(|error| panic!("{}: {error}", &command[..command.len().min(60)]));
    let took = start.elapsed();
    assert!(took < BOMB, "{} took {took:?}", &command[..command.len().min(60)]);
    replies.last().cloned().unwrap_or_default()
}

/// Sends bytes that may end the connection, and reads what comes until the server is silent or has closed.
fn throw(target: &Target, bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut wire = greeted(target.imap);
    let _ = wire.send(bytes);
    let mut answers = Vec::new();
    loop {
        match wire.response(Duration::from_millis(300)) {
            Ok(answer) => answers.push(answer),
            Err(Silence::Timeout | Silence::Closed | Silence::Broken(_)) => return answers,
        }
        if answers.len() > 1000 {
            return answers;
        }
    }
}

/// The tagged reply to a command that was sent in full.
fn reply(wire: &mut Wire, tag: &str) -> Option<String> {
    loop {
        let response = wire.response(PATIENCE).ok()?;
        let text = String::from_utf8_lossy(&response).into_owned();
        if text.starts_with(tag) || text.starts_with("* BYE") {
            return Some(text);
        }
    }
}

/// A small generator of numbers, so that every run throws the same.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }
}
