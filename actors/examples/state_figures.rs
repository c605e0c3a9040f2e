//! Figures of the states in memory: `cargo run --release -p carillon-actors --example state_figures [messages] [mailboxes]`.
//! Every change is made while a snapshot of the state before it is held, as sessions do.

#![allow(clippy::print_stdout, reason = "it prints figures")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a figure that cannot be taken is no figure")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use carillon_actors::account;
use carillon_actors::account::event::AccountEvent;
use carillon_actors::id::{Ids, MailboxId};
use carillon_actors::limits::Limits;
use carillon_actors::mailbox::details::{self, MessageIds};
use carillon_actors::mailbox::event::{Arrival, Expunging, MailboxEvent, Origin};
use carillon_actors::mailbox::requests::Change;
use carillon_actors::mailbox::snapshot::{from_chunks, to_chunks};
use carillon_actors::mailbox::state::State;
use carillon_actors::mailbox::{self};
use carillon_protocol::command::ListKind;
use carillon_protocol::date::InternalDate;
use carillon_protocol::flag::{FlagChange, FlagSet, SystemFlag};
use carillon_protocol::mailbox_name::{MailboxName, NameFormat};
use carillon_protocol::number::{Uid, UidValidity};
use carillon_protocol::set::UidSet;
use carillon_storage::{BodyHash, Chain};

fn main() {
    let mut numbers = std::env::args().skip(1).map(|argument| argument.parse::<u32>().expect("a number"));
    let (messages, mailboxes) = (numbers.next().unwrap_or(1_000_000), numbers.next().unwrap_or(10_000));
    mailbox_figures(messages);
    account_figures(mailboxes);
}

/// Time that this one thread has had on a processor: others on the machine are not counted.
struct Started(Duration);

impl Started {
    fn now() -> Self {
        Self(Self::used())
    }

    fn used() -> Duration {
        let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        Duration::from_nanos(schedstat.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0))
    }

    fn elapsed(&self) -> Duration {
        Self::used() - self.0
    }
}

/// Prints the time of one of `count` calls.
fn measure<T>(what: &str, count: u32, mut call: impl FnMut(u32) -> T) {
    let start = Started::now();
    for number in 0..count {
        black_box(call(number));
    }
    let each = start.elapsed().as_secs_f64() / f64::from(count);
    let (value, unit) = match each {
        each if each < 1e-6 => (each * 1e9, "ns"),
        each if each < 1e-3 => (each * 1e6, "us"),
        each => (each * 1e3, "ms"),
    };
    println!("{what:<44} {value:>8.1} {unit}");
}

/// The process's resident memory in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

fn uid(number: u32) -> Uid {
    Uid::new(number.max(1)).expect("not 0")
}

/// Numbers all over a range, the same in each run.
fn scattered(number: u32, range: u32) -> u32 {
    number.wrapping_mul(2_654_435_761) % range + 1
}

fn arrival(number: u32) -> MailboxEvent {
    let date = InternalDate { unix_seconds: i64::from(number), offset_minutes: 0 };
    let body = BodyHash::of(&number.to_le_bytes());
    let details = Arc::new(details::new(None, body, 5000, date, 0, MessageIds::default()));
    let arrival = Arrival { uid: uid(number), flags: FlagSet::new(), details, origin: Origin::Append };
    MailboxEvent::Appended { arrivals: vec![arrival] }
}

fn mailbox_figures(count: u32) {
    let limits = Limits::default();
    let mut state = State::new(&limits);
    state.apply(1, &MailboxEvent::Opened { uid_validity: UidValidity::MIN });
    let before = resident();
    let start = Started::now();
    for number in 1..=count {
        state.apply(u64::from(number) + 1, &arrival(number));
    }
    println!("mailbox of {count} messages");
    println!("{:<44} {:>8.1} ms", "fold of all (events made meanwhile)", start.elapsed().as_secs_f64() * 1e3);
    println!("{:<44} {:>8} bytes", "memory per message, details included", (resident() - before) / u64::from(count));
    let mut position = u64::from(count) + 1;
    let mut change = |state: &mut State, event: &MailboxEvent| {
        let held = state.clone();
        position += 1;
        state.apply(position, event);
        held
    };
    measure("clone", 1_000_000, |_| state.clone());
    let arrivals: Vec<MailboxEvent> = (1..=20_000).map(|number| arrival(count + number)).collect();
    measure("append", 20_000, |number| change(&mut state, arrivals.get(number as usize).unwrap()));
    let flags = FlagSet::from(SystemFlag::Seen);
    let flagged = |uids| MailboxEvent::FlagsChanged { uids, change: FlagChange::Add, flags: flags.clone() };
    let one = |number: u32| UidSet::from_range(uid(number), uid(number));
    let events: Vec<MailboxEvent> = (0..20_000).map(|number| flagged(one(scattered(number, count)))).collect();
    measure("flags of one", 20_000, |number| change(&mut state, events.get(number as usize).unwrap()));
    let removed = |uids| MailboxEvent::Expunged { uids, why: Expunging::Expunge };
    let events: Vec<MailboxEvent> = (0..20_000).map(|number| removed(one(scattered(number + 20_000, count)))).collect();
    measure("remove one", 20_000, |number| change(&mut state, events.get(number as usize).unwrap()));
    let messages = state.messages().clone();
    measure("place -> message", 1_000_000, |number| messages.get(scattered(number, count - 20_000) as usize).map(|m| m.uid));
    measure("UID -> place", 1_000_000, |number| messages.index_of(uid(scattered(number, count))));
    measure("first unseen", 1_000_000, |_| state.first_unseen());
    let start = Started::now();
    let seen = messages.iter().filter(|message| black_box(message).flags.has(SystemFlag::Seen)).count();
    let each = start.elapsed().as_secs_f64() * 1e9 / messages.len() as f64;
    println!("{:<44} {each:>8.1} ns ({seen} seen)", "iterate, a message");
    let mut each_time = [SystemFlag::Flagged, SystemFlag::Answered, SystemFlag::Draft].into_iter().cycle();
    let all = UidSet::from_range(Uid::MIN, Uid::MAX);
    measure("flags of all", 6, |_| {
        let flags = FlagSet::from(each_time.next().unwrap());
        change(&mut state, &MailboxEvent::FlagsChanged { uids: all.clone(), change: FlagChange::Add, flags })
    });
    let context = mailbox::decide::Context { mailbox: MailboxId(1), now_seconds: 0, limits: &limits };
    let store = Change::Store { uids: all.clone(), change: FlagChange::Remove, flags: SystemFlag::Flagged.into() };
    measure("decide: flags of all", 5, |_| mailbox::decide::decide(&state, &store, &context));
    let expunge = Change::Expunge { among: None, by_close: false };
    measure("decide: expunge, none deleted", 1000, |_| mailbox::decide::decide(&state, &expunge, &context));
    let start = Started::now();
    let written = to_chunks(&state, Chain::default(), None).unwrap();
    let bytes: usize = written.entries.iter().map(|(_, bytes)| bytes.len()).sum();
    println!("{:<44} {:>8.1} ms, {} MB", "snapshot, whole", start.elapsed().as_secs_f64() * 1e3, bytes >> 20);
    let chunks: std::collections::HashMap<_, _> = written.entries.into_iter().collect();
    let header = chunks.get(&mailbox::snapshot::Part::Header).unwrap();
    measure("load of a snapshot", 1, |_| {
        from_chunks(header, |number| chunks.get(&mailbox::snapshot::Part::Chunk(number)).cloned(), &limits).unwrap()
    });
    drop(messages);
    measure("drop of the whole state", 1, move |_| drop(std::mem::replace(&mut state, State::new(&limits))));
}

fn account_figures(count: u32) {
    let (ids, limits) = (Ids::new(0, 1), Limits { mailboxes: 1 << 20, subscriptions: 1 << 20, ..Limits::default() });
    let context = account::decide::Context { ids: &ids, now_seconds: 1, limits: &limits };
    let mut state = account::state::State::new();
    let name = |text: String| MailboxName::from_segments(text.split('/')).unwrap();
    let commit = |state: &mut account::state::State, change: &account::requests::Change| {
        let held = state.clone();
        let events: Vec<AccountEvent> = account::decide::decide(state, change, &context).unwrap();
        let position = state.position() + 1;
        events.iter().for_each(|event| state.apply(position, event));
        held
    };
    println!("\naccount of {count} mailboxes (decide, held snapshot, fold)");
    let names: Vec<MailboxName> = (0..count).map(|number| name(format!("tree{}/box{number}", number / 100))).collect();
    measure("CREATE", count, |number| {
        let mailbox = names.get(number as usize).unwrap().clone();
        commit(&mut state, &account::requests::Change::Create { mailbox, special_use: Vec::new() })
    });
    measure("SUBSCRIBE", count, |number| {
        commit(&mut state, &account::requests::Change::Subscribe(names.get(number as usize).unwrap().clone()))
    });
    measure("RENAME of a tree of 100", count / 100, |number| {
        let (from, to) = (name(format!("tree{number}")), name(format!("other{number}")));
        commit(&mut state, &account::requests::Change::Rename { from, to })
    });
    measure("DELETE", count / 2, |number| {
        let name = name(format!("other{}/box{number}", number / 100));
        commit(&mut state, &account::requests::Change::Delete(name))
    });
    measure("clone", 1_000_000, |_| state.clone());
    let none = account::remote::RemoteMailboxes::default();
    measure("LIST \"\" *", 5, |_| account::list::list(&state, &none, ListKind::List, "", "*", NameFormat::default()));
    measure("LSUB \"\" %", 5, |_| account::list::list(&state, &none, ListKind::Lsub, "", "%", NameFormat::default()));
    measure("snapshot", 1, |_| account::snapshot::to_bytes(&state, Chain::default()));
}
