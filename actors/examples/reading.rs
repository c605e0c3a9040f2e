//! What reading costs: `cargo run --release -p carillon-actors --example reading [messages] [octets] [repetitions] [part of a figure's name]`.
//! A store on disk is filled, closed and opened anew for each figure: `first` is a server that has just started, `again` one that
//! has answered the same before. Of several times the shortest counts.

#![allow(clippy::print_stdout, reason = "it prints figures")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a figure that cannot be taken is no figure")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use carillon_actors::arrival::{self, Content};
use carillon_actors::id::MailboxId;
use carillon_actors::limits::Limits;
use carillon_actors::mailbox::event::{Arrival, MailboxEvent, Origin};
use carillon_actors::mailbox::requests::Look;
use carillon_actors::mailbox::state::State;
use carillon_actors::session::fetch::{Plan, encode_batch};
use carillon_actors::session::message::Source;
use carillon_actors::session::search::{Query, Search};
use carillon_actors::session::sort::Sort;
use carillon_actors::session::thread::Threading;
use carillon_actors::session::view::{Mode, View};
use carillon_actors::turn::{Turn, at_once};
use carillon_protocol::command::{FetchItem, SearchKey, Section, SectionText, SortCriterion, SortKey, ThreadAlgorithm};
use carillon_protocol::date::InternalDate;
use carillon_protocol::flag::FlagSet;
use carillon_protocol::mailbox_name::NameFormat;
use carillon_protocol::number::{Uid, UidValidity};
use carillon_protocol::set::{Numbering, UidSet};
use carillon_storage::{Author, Commit, Journal, Store, StoreOptions};

/// As in the session: so much is encoded at a time.
const BATCH_BYTES: usize = 256 << 10;
const OPENINGS: usize = 3;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| arguments.next().map_or(default, |argument| argument.parse().expect("a number"));
    let (messages, octets, repetitions) = (number(10_000), number(4096), number(9));
    let only = arguments.next();
    let directory = tempfile::tempdir().expect("a directory");
    let view = filled(directory.path(), messages, octets);
    println!("{messages} messages of {octets} octets; milliseconds on a processor");
    println!("{:<44} {:>9} {:>9}", "", "first", "again");
    for (name, job) in jobs() {
        if only.as_ref().is_none_or(|only| name.contains(only)) {
            figure(name, directory.path(), &view, &job, repetitions);
        }
    }
}

type Job = Box<dyn Fn(&View, &Source) -> usize>;

fn figure(name: &str, directory: &Path, view: &View, job: &Job, repetitions: usize) {
    let (mut first, mut again, mut found) = (f64::INFINITY, f64::INFINITY, None);
    for _ in 0..OPENINGS {
        let (store, _) = Store::open(directory, StoreOptions::default()).expect("a store");
        let source = Source::new(Arc::new(store), Limits::default().glance_bytes);
        let mut once = || {
            let start = used();
            let count = job(view, &source);
            assert_eq!(*found.get_or_insert(count), count);
            (used() - start).as_secs_f64() * 1e3
        };
        first = first.min(once());
        again = (0..repetitions).map(|_| once()).fold(again, f64::min);
    }
    println!("{name:<44} {first:>9.1} {again:>9.1}   ({})", found.unwrap_or_default());
}

/// Time that this one thread has had on a processor: others on the machine are not counted.
fn used() -> Duration {
    // Giving way makes the kernel bring its figure up to date.
    std::thread::yield_now();
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(schedstat.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0))
}

/// A message as the measurement over the network has it (benches/imap.py).
fn message(number: usize, octets: usize) -> Vec<u8> {
    let (minute, second, topic) = (number / 60 % 60, number % 60, number.wrapping_mul(7919) % 1000);
    let head = format!(
        "Return-Path: <sender{topic}@example.org>\r\nReceived: from mx.example.org (mx.example.org [192.0.2.1])\r\n\
         \tby mail.example.net with ESMTPS id {number:08x};\r\n\tMon, 5 Jan 2026 10:{minute:02}:{second:02} +0000\r\n\
         From: \"Sender {topic}\" <sender{topic}@example.org>\r\nTo: Reader <reader@example.net>, other{number}@example.net\r\n\
         Subject: Re: Message {topic} of a measurement\r\nDate: Mon, 5 Jan 2026 10:{minute:02}:{second:02} +0000\r\n\
         Message-ID: <{number}@example.org>\r\nIn-Reply-To: <{topic}@example.org>\r\nReferences: <{topic}@example.org>\r\n\
         MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=\"b{number}\"\r\n\r\n--b{number}\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\n"
    );
    let tail =
        format!("\r\n--b{number}\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>needle{number}</p>\r\n--b{number}--\r\n");
    let line = "All work and no play makes a dull message, and this is the line that says so.\r\n";
    let lines = octets.saturating_sub(head.len() + tail.len()) / line.len() + 1;
    [head, line.repeat(lines), tail].concat().into_bytes()
}

fn filled(directory: &Path, messages: usize, octets: usize) -> View {
    let (store, _) = Store::open(directory, StoreOptions::default()).expect("a store");
    let store = Arc::new(store);
    let source = Source::new(store.clone(), 0);
    let mut state = State::new(&Limits::default());
    state.apply(1, &MailboxEvent::Opened { uid_validity: UidValidity::MIN });
    let numbers: Vec<usize> = (0..messages).collect();
    for some in numbers.chunks(500) {
        let (mut bodies, mut arrivals) = (Vec::new(), Vec::new());
        for number in some {
            let internal_date = InternalDate { unix_seconds: 1_700_000_000 + *number as i64, offset_minutes: 0 };
            let content = Content::Memory(message(*number, octets));
            let (flags, origin, save_date) = (FlagSet::new(), Origin::Append, 0);
            let arrival = arrival::Arrival { content, prefix: None, has_nul: false, internal_date, save_date, flags, origin };
            let new = arrival::prepare(&source, arrival).expect("a message");
            bodies.extend(new.body);
            let uid = Uid::new(*number as u32 + 1).expect("not 0");
            arrivals.push(Arrival { uid, flags: new.flags, details: new.details, origin });
        }
        let commit = Commit { at: 0, author: Author::default(), records: Vec::new(), bodies };
        store.append(vec![vec![commit]]).remove(0).expect("accepted");
        state.apply(state.position() + 1, &MailboxEvent::Appended { arrivals });
    }
    store.close();
    View::new(MailboxId(1), Mode::ReadOnly, Look { snapshot: state, recent_from: Uid::MIN })
}

fn fetching(items: Vec<FetchItem>) -> Job {
    let plan = Plan::new(&items);
    Box::new(move |view, source| {
        let (reader, mut rest, mut octets) = (view.reader(), everything(), 0);
        while !rest.is_empty() {
            let turn = &mut Turn::endless();
            let batch = encode_batch(&reader, &rest, &plan, source, NameFormat::default(), BATCH_BYTES, turn);
            assert!(batch.refusal.is_none(), "{:?}", batch.refusal);
            octets += batch.encoded.len();
            rest = batch.rest;
        }
        octets
    })
}

fn everything() -> UidSet {
    UidSet::from_range(Uid::MIN, Uid::MAX)
}

fn searching(key: SearchKey) -> Job {
    Box::new(move |view, source| {
        let found = at_once(search(view, &key, source)).expect("found");
        assert!(found.damage.is_none(), "{:?}", found.damage);
        found.uids.len() as usize
    })
}

fn search(view: &View, key: &SearchKey, source: &Source) -> Search {
    Search::new(view.reader(), Query::bind(key, view).expect("a key"), source.clone())
}

fn sorting(key: SortKey) -> Job {
    let criteria = [SortCriterion { reverse: false, key }];
    Box::new(move |view, source| {
        let sort = Sort::new(search(view, &SearchKey::All, source), &criteria, Numbering::Uid);
        at_once(sort).expect("sorted").numbers.len()
    })
}

fn threading(algorithm: ThreadAlgorithm) -> Job {
    Box::new(move |view, source| {
        let threading = Threading::new(search(view, &SearchKey::All, source), algorithm, Numbering::Uid);
        at_once(threading).expect("threaded").threads.len()
    })
}

fn section(text: Option<SectionText>) -> FetchItem {
    FetchItem::Section { section: Section { part: Vec::new(), text }, partial: None, peek: true }
}

fn header(name: &str, text: &str) -> SearchKey {
    SearchKey::Header(name.to_owned(), text.to_owned())
}

fn jobs() -> Vec<(&'static str, Job)> {
    let names = |names: &[&str]| SectionText::HeaderFields(names.iter().map(|name| (*name).to_owned()).collect());
    let common = names(&["FROM", "TO", "SUBJECT", "DATE", "MESSAGE-ID"]);
    let others = names(&["X-SPAM-FLAG", "RECEIVED", "LIST-ID"]);
    vec![
        ("FETCH (UID FLAGS)", fetching(vec![FetchItem::Uid, FetchItem::Flags])),
        ("FETCH ENVELOPE", fetching(vec![FetchItem::Envelope])),
        ("FETCH (ENVELOPE BODYSTRUCTURE)", fetching(vec![FetchItem::Envelope, FetchItem::BodyStructure])),
        ("FETCH HEADER.FIELDS (FROM TO SUBJECT ...)", fetching(vec![section(Some(common))])),
        ("FETCH HEADER.FIELDS (X-SPAM-FLAG ...)", fetching(vec![section(Some(others))])),
        ("FETCH BODY[HEADER]", fetching(vec![section(Some(SectionText::Header))])),
        ("FETCH BODY[TEXT]", fetching(vec![section(Some(SectionText::Text))])),
        ("FETCH BODY[]", fetching(vec![section(None)])),
        ("SEARCH SUBJECT", searching(header("SUBJECT", "Message 99"))),
        ("SEARCH FROM", searching(header("FROM", "sender77"))),
        ("SEARCH HEADER List-Id", searching(header("List-Id", "x"))),
        (
            "SEARCH SENTSINCE",
            searching(SearchKey::Sent(carillon_protocol::command::DateComparison::Since, carillon_protocol::date::Day(0))),
        ),
        ("SEARCH TEXT", searching(SearchKey::Text("needle9999".to_owned()))),
        ("SORT (SUBJECT)", sorting(SortKey::Subject)),
        ("SORT (DATE)", sorting(SortKey::Date)),
        ("SORT (ARRIVAL)", sorting(SortKey::Arrival)),
        ("THREAD REFERENCES", threading(ThreadAlgorithm::References)),
    ]
}
