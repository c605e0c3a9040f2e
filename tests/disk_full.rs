//! A full disk under a running server: changes are refused, what was acknowledged stays, everything else goes on, and service comes back by itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is a test")]

mod support;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use support::client::{logged_in, ok};
use support::disk::{Disk, say, verify};
use support::lmtp::deliver;
use support::server::Server;
use support::wire::{PATIENCE, Wire};

/// What became of the changes of one worker.
#[derive(Default)]
struct Books {
    acknowledged: AtomicU64,
    refused: AtomicU64,
    /// The messages that must be there, and those that must not, by subject.
    kept: Mutex<HashMap<String, Vec<u8>>>,
    dropped: Mutex<HashSet<String>>,
}

impl Books {
    fn note(&self, subject: &str, message: Vec<u8>, is_kept: bool) {
        if is_kept {
            self.kept.lock().unwrap().insert(subject.to_owned(), message);
            self.acknowledged.fetch_add(1, Ordering::SeqCst);
        } else {
            self.dropped.lock().unwrap().insert(subject.to_owned());
            self.refused.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn counts(&self) -> (u64, u64) {
        (self.acknowledged.load(Ordering::SeqCst), self.refused.load(Ordering::SeqCst))
    }
}

fn message(subject: &str, length: usize) -> Vec<u8> {
    let mut text = format!("Subject: {subject}\r\n\r\n").into_bytes();
    let line = format!("{subject} says this line again and again.\r\n");
    while text.len() < length {
        text.extend(line.as_bytes());
    }
    text
}

fn selected(server: &Server, mailbox: &str) -> Wire {
    let mut wire = logged_in(server.target.imap, "alice");
    ok(&mut wire, &format!("EXAMINE {mailbox}"));
    wire
}

/// Whether a change was made; a refusal must say that it may work later.
fn is_done(reply: &str) -> bool {
    assert!(reply.starts_with("k OK") || reply.starts_with("k NO [UNAVAILABLE]"), "a full disk was answered by {reply}");
    reply.starts_with("k OK")
}

fn append(wire: &mut Wire, mailbox: &str, message: &[u8]) -> bool {
    wire.send(format!("k APPEND {mailbox} {{{}}}\r\n", message.len()).as_bytes()).unwrap();
    let first = String::from_utf8_lossy(&wire.response(PATIENCE).expect("APPEND is answered")).into_owned();
    if !first.starts_with('+') {
        return is_done(&first);
    }
    wire.send(&[message, b"\r\n"].concat()).unwrap();
    let replies = wire.until("k").unwrap();
    wire.history.clear();
    is_done(replies.last().unwrap())
}

/// Appends until it is stopped.
fn appender(imap: SocketAddr, books: &Books, stop: &AtomicBool, mailbox: &str, length: usize, pause: Duration) {
    let mut wire = logged_in(imap, "alice");
    for number in 0.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let subject = format!("{mailbox} {number}");
        let text = message(&subject, length);
        let is_kept = append(&mut wire, mailbox, &text);
        books.note(&subject, text, is_kept);
        thread::sleep(pause);
    }
}

fn deliverer(lmtp: SocketAddr, books: &Books, stop: &AtomicBool) {
    for number in 0.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let subject = format!("delivery {number}");
        let text = message(&subject, 3000);
        match deliver(lmtp, "alice+deliveries", &text) {
            Ok(()) => books.note(&subject, text, true),
            Err(reply) if reply.starts_with("LMTP: 452 4.3.1") => books.note(&subject, text, false),
            Err(other) => panic!("a full disk was answered by {other}"),
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Replaces the flags of one message; the last ones that were acknowledged.
fn storer(imap: SocketAddr, books: &Books, stop: &AtomicBool) -> String {
    let mut wire = logged_in(imap, "alice");
    ok(&mut wire, "SELECT Flags");
    let mut last = String::new();
    for number in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let flag = format!("k{}", number % 40);
        let replies = wire.command("k", &format!("UID STORE 1 FLAGS.SILENT ({flag})")).unwrap();
        wire.history.clear();
        if is_done(replies.last().unwrap()) {
            last = flag;
            books.acknowledged.fetch_add(1, Ordering::SeqCst);
        } else {
            books.refused.fetch_add(1, Ordering::SeqCst);
        }
        thread::sleep(Duration::from_millis(5));
    }
    last
}

/// What needs no room: must work at any time.
fn reads_work(imap: SocketAddr, idler: &mut Wire) {
    let mut wire = logged_in(imap, "alice");
    ok(&mut wire, "LIST \"\" *");
    ok(&mut wire, "STATUS Small (MESSAGES UNSEEN)");
    let replies = ok(&mut wire, "EXAMINE Small");
    let exists = replies.iter().find_map(|reply| reply.strip_prefix("* ")?.strip_suffix(" EXISTS")?.parse::<u32>().ok()).unwrap();
    let body = ok(&mut wire, &format!("FETCH {exists} (UID FLAGS BODY.PEEK[])"));
    assert!(body[0].contains("again and again"), "{body:?}");
    assert!(ok(&mut wire, "SEARCH SUBJECT \"Small 0\"")[0].starts_with("* SEARCH 1"));
    ok(&mut wire, "LOGOUT");
    // IDLE ends and begins.
    idler.send(b"DONE\r\n").unwrap();
    assert!(idler.until("i").unwrap().last().unwrap().starts_with("i OK"));
    idler.history.clear();
    idle(idler);
}

fn idle(idler: &mut Wire) {
    idler.send(b"i IDLE\r\n").unwrap();
    idler.until("+").unwrap();
}

fn wait_until(what: &str, patience: Duration, is_so: impl Fn() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < patience, "{what}: not within {patience:?}");
        thread::sleep(Duration::from_millis(5));
    }
    begun.elapsed()
}

/// Everybody's next answers are of this kind.
fn all_get_on(all: &[&Arc<Books>], what: &str, count: impl Fn(&Books) -> u64, server: &Server) -> Duration {
    let before: Vec<u64> = all.iter().map(|books| count(books)).collect();
    wait_until(&format!("{what}\n{}", server.stderr()), Duration::from_secs(30), || {
        all.iter().zip(&before).all(|(books, before)| count(books) >= before + 2)
    })
}

fn audit(server: &Server, mailbox: &str, books: &Books) {
    let mut wire = selected(server, mailbox);
    let mut kept = books.kept.lock().unwrap().clone();
    let dropped = books.dropped.lock().unwrap();
    wire.send(b"k FETCH 1:* BODY.PEEK[]\r\n").unwrap();
    loop {
        let response = wire.response(PATIENCE).unwrap();
        wire.history.clear();
        if response.starts_with(b"k ") {
            break;
        }
        let at = response.windows(9).position(|window| window == b"Subject: ").expect("a message");
        let line = response[at + 9..].split(|byte| *byte == b'\r').next().unwrap();
        let subject = String::from_utf8_lossy(line).into_owned();
        assert!(!dropped.contains(&subject), "{subject} was refused and is there");
        let text = kept.remove(&subject).unwrap_or_else(|| panic!("{subject} is there twice, or nobody knows it"));
        assert!(response[..response.len() - 1].ends_with(&text), "{subject} is not as it was");
    }
    assert!(kept.is_empty(), "{mailbox}: acknowledged and lost: {:?}", kept.keys().collect::<Vec<_>>());
}

#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::make(directory.path()) else {
        say("LEFT OUT: the full disk needs root and loop mounts");
        return;
    };
    let mut server = Server::over(&disk.mount.join("data"), &["alice"], &[]).unwrap();
    let (imap, lmtp) = (server.target.imap, server.target.lmtp.unwrap());
    let mut first = logged_in(imap, "alice");
    for mailbox in ["Small", "Large", "Flags", "deliveries"] {
        ok(&mut first, &format!("CREATE {mailbox}"));
    }
    assert!(append(&mut first, "Flags", &message("flags", 100)));
    let stop = Arc::new(AtomicBool::new(false));
    let [small, large, delivered, stored] = [(); 4].map(|()| Arc::new(Books::default()));
    let spawn_appender = |books: &Arc<Books>, mailbox: &'static str, length, pause| {
        let (books, stop) = (Arc::clone(books), Arc::clone(&stop));
        thread::spawn(move || appender(imap, &books, &stop, mailbox, length, Duration::from_millis(pause)))
    };
    let mut workers = vec![spawn_appender(&small, "Small", 8_000, 3), spawn_appender(&large, "Large", 1_500_000, 200)];
    workers.push(thread::spawn({
        let (books, stop) = (Arc::clone(&delivered), Arc::clone(&stop));
        move || deliverer(lmtp, &books, &stop)
    }));
    let storing = thread::spawn({
        let (books, stop) = (Arc::clone(&stored), Arc::clone(&stop));
        move || storer(imap, &books, &stop)
    });
    let all = [&small, &large, &delivered, &stored];
    let (acknowledged, refused) = (|books: &Books| books.counts().0, |books: &Books| books.counts().1);
    let mut idler = logged_in(imap, "alice");
    ok(&mut idler, "SELECT Small");
    idle(&mut idler);
    for round in 1..=3 {
        all_get_on(&all, "the beginning", acknowledged, &server);
        disk.fill();
        let filled = all_get_on(&all, "refusals", refused, &server);
        reads_work(imap, &mut idler);
        if round == 2 {
            // So long that a checkpoint falls into it.
            thread::sleep(Duration::from_secs(6));
            reads_work(imap, &mut idler);
        }
        disk.make_room();
        let resumed = all_get_on(&all, "service again", acknowledged, &server);
        // The session that was idle all the time is told.
        let told = idler.response(PATIENCE).unwrap();
        assert!(told.ends_with(b" EXISTS"), "{}", String::from_utf8_lossy(&told));
        say(&format!("full disk, round {round}: all refused after {filled:?}, all served again after {resumed:?}"));
    }
    stop.store(true, Ordering::SeqCst);
    for worker in workers {
        worker.join().unwrap();
    }
    let flag = storing.join().unwrap();
    let all_is_there = |server: &Server| {
        for (mailbox, books) in [("Small", &small), ("Large", &large), ("deliveries", &delivered)] {
            audit(server, mailbox, books);
        }
        let flags = ok(&mut selected(server, "Flags"), "FETCH 1 FLAGS");
        assert!(flags[0].contains(&format!("({flag}")), "{flags:?}, not {flag}");
    };
    all_is_there(&server);
    killed_on_a_full_disk(&disk, &mut server, all_is_there);
    assert_eq!(server.terminate().unwrap(), Some(0), "{}", server.stderr());
    let (verdict, _) = verify(&disk.mount.join("data"));
    assert!(verdict.starts_with("whole: "), "{verdict}");
    assert_eq!(server.panics(), Vec::<String>::new());
    let counts: Vec<(u64, u64)> = all.iter().map(|books| books.counts()).collect();
    say(&format!("full disk: (acknowledged, refused) of APPEND, large APPEND, LMTP, STORE: {counts:?}; nothing lost"));
}

/// It starts, and serves what is there.
fn killed_on_a_full_disk(disk: &Disk, server: &mut Server, all_is_there: impl Fn(&Server)) {
    disk.fill();
    server.crash().unwrap();
    all_is_there(server);
    assert!(
        !append(&mut logged_in(server.target.imap, "alice"), "Small", b"Subject: no\r\n\r\n"),
        "there is room on a full disk"
    );
    disk.make_room();
    assert!(append(&mut logged_in(server.target.imap, "alice"), "Flags", b"Subject: yes\r\n\r\n"));
}
