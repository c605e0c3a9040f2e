//! A journal in memory with two users, and what people see of it.

use std::collections::BTreeMap;

use carillon_actors::account::event::{self as account_event, AccountEvent, Creation, Move};
use carillon_actors::id::{AccountId, MailboxId};
use carillon_actors::mailbox::event::{self as mailbox_event, Expunging, MailboxEvent};
use carillon_protocol::flag::{Flag, FlagChange, FlagSet, SystemFlag};
use carillon_protocol::mailbox_name::MailboxName;
use carillon_protocol::number::{Uid, UidValidity};
use carillon_protocol::set::UidSet;
use carillon_storage::{Author, Commit, MemoryJournal, RecordDraft};

use super::*;
use crate::users::Owner;

const ALICE: AccountId = AccountId(1);
const BOB: AccountId = AccountId(2);
const FIRST: u64 = 1_768_212_000_123_456;

fn name(text: &str) -> MailboxName {
    MailboxName::from_segments(text.split('/')).unwrap()
}

fn commit(journal: &MemoryJournal, verb: &str, drafts: Vec<(LogId, bytes::Bytes)>) {
    let draft = |(log, events)| RecordDraft { log, expected: journal.head(log).unwrap().position, version: 1, events };
    let author = Author { session: 0xab, command: 3, tag: "a7".into(), verb: verb.into() };
    let records = drafts.into_iter().map(draft).collect();
    // A second later with each commit.
    let at = FIRST + journal.newest_commit() * 1_000_000;
    let commit = Commit { at, author, records, bodies: Vec::new() };
    journal.append(vec![vec![commit]]).remove(0).unwrap();
}

fn account(events: &[AccountEvent]) -> bytes::Bytes {
    account_event::encode(events).unwrap()
}

fn mailbox(event: MailboxEvent) -> bytes::Bytes {
    mailbox_event::encode(&[event]).unwrap()
}

fn creation(id: u64, text: &str) -> Creation {
    Creation { mailbox: MailboxId(id), name: name(text), uid_validity: UidValidity::MIN, special_use: Vec::new() }
}

fn opened(id: u64) -> (LogId, bytes::Bytes) {
    (MailboxId(id).log(), mailbox(MailboxEvent::Opened { uid_validity: UidValidity::MIN }))
}

/// Alice has INBOX (10) and Work (11), which was Old; bob has INBOX (20) and deleted Work (21).
fn journal() -> MemoryJournal {
    let journal = MemoryJournal::new();
    let made = |id, text| AccountEvent::MailboxCreated(creation(id, text));
    commit(&journal, "new account", vec![(ALICE.log(), account(&[made(10, "INBOX"), made(11, "Old")])), opened(10), opened(11)]);
    commit(&journal, "new account", vec![(BOB.log(), account(&[made(20, "INBOX"), made(21, "Work")])), opened(20), opened(21)]);
    let moves = vec![Move { mailbox: MailboxId(11), from: name("Old"), to: name("Work/x") }];
    let renamed = AccountEvent::MailboxRenamed { moves, created: vec![], subscriptions: vec![(name("Old"), name("Work"))] };
    commit(&journal, "RENAME\u{1b}", vec![(ALICE.log(), account(&[renamed]))]);
    let uids = UidSet::from_range(Uid::MIN, Uid::new(3).unwrap());
    let flags: FlagSet = [Flag::System(SystemFlag::Seen)].into_iter().collect();
    let changed = MailboxEvent::FlagsChanged { uids: uids.clone(), change: FlagChange::Add, flags };
    commit(&journal, "UID STORE", vec![(MailboxId(10).log(), mailbox(changed))]);
    let moved = MailboxEvent::Expunged { uids: uids.clone(), why: Expunging::MovedTo { mailbox: MailboxId(11), uids } };
    commit(&journal, "UID MOVE", vec![(MailboxId(10).log(), mailbox(moved))]);
    let deleted = AccountEvent::MailboxDeleted { mailbox: MailboxId(21), name: name("Work") };
    commit(&journal, "DELETE", vec![(BOB.log(), account(&[deleted])), (MailboxId(21).log(), mailbox(MailboxEvent::Ended))]);
    journal
}

fn owner(name: &str, is_removed: bool) -> Owner {
    Owner { name: name.to_owned(), is_removed }
}

fn names() -> Names {
    Names::new(BTreeMap::from([(ALICE, owner("alice", false)), (BOB, owner("bob", false))]))
}

fn rows(selection: Selection) -> Result<Vec<String>, Exit> {
    let mut rows = Vec::new();
    let mut emit = |row: Option<Value>| {
        row.into_iter().for_each(|row| {
            rows.push(format!("{}#{} {}", row["log"].as_str().unwrap(), row["seq"], row["type"].as_str().unwrap()))
        });
        true
    };
    show(&journal(), names(), &selection, &mut emit).map_err(|failure| failure.exit)?;
    Ok(rows)
}

fn select(target: &str) -> Selection {
    Selection { target: target.to_owned(), ..Selection::default() }
}

#[test]
fn one_log_or_many_in_the_order_of_commits() {
    assert_eq!(
        rows(select("alice/INBOX")).unwrap(),
        ["alice/INBOX#1 opened", "alice/INBOX#2 flags_changed", "alice/INBOX#3 expunged"]
    );
    assert_eq!(rows(select("alice/inbox")).unwrap().len(), 3);
    assert_eq!(rows(select("Bob")).unwrap(), ["bob#1 mailbox_created", "bob#1 mailbox_created", "bob#2 mailbox_deleted"]);
    assert_eq!(rows(select("bob/Work")).unwrap(), ["bob/Work#1 opened", "bob/Work#2 ended"]);
    let all = rows(select("*")).unwrap();
    assert_eq!((all.len(), all[0].as_str(), all[all.len() - 1].as_str()), (13, "alice#1 mailbox_created", "bob/Work#2 ended"));
    let of_alice = rows(select("alice/*")).unwrap();
    assert!(of_alice.len() == 7 && of_alice.iter().all(|row| row.starts_with("alice")), "{of_alice:?}");
}

#[test]
fn parts_of_logs() {
    assert_eq!(rows(Selection { from: Some(3), ..select("alice/INBOX") }).unwrap(), ["alice/INBOX#3 expunged"]);
    assert_eq!(rows(Selection { last: Some(1), ..select("alice/INBOX") }).unwrap(), ["alice/INBOX#3 expunged"]);
    assert_eq!(
        rows(Selection { last: Some(2), ..select("alice/*") }).unwrap(),
        ["alice/INBOX#2 flags_changed", "alice/INBOX#3 expunged"]
    );
    assert_eq!(rows(Selection { from: Some(6), ..select("*") }).unwrap(), ["bob#2 mailbox_deleted", "bob/Work#2 ended"]);
    assert_eq!(rows(Selection { from: Some(99), last: Some(5), ..select("*") }).unwrap(), Vec::<String>::new());
    assert_eq!((rows(select("carol")), rows(select("alice/None"))), (Err(Exit::NoUser), Err(Exit::Failed)));
}

#[test]
fn records_of_some_times_and_types() {
    let types = |types: &[&str]| types.iter().map(|kind| (*kind).to_owned()).collect::<Vec<_>>();
    let (third, fifth) = (Some(FIRST + 2_000_000), Some(FIRST + 4_000_000));
    let all = || select("*");
    assert_eq!(
        rows(Selection { since: third, until: fifth, ..all() }).unwrap(),
        ["alice#2 mailbox_renamed", "alice/INBOX#2 flags_changed"]
    );
    assert_eq!(rows(Selection { since: third, ..select("bob") }).unwrap(), ["bob#2 mailbox_deleted"]);
    assert_eq!(rows(Selection { until: third, ..select("alice/INBOX") }).unwrap(), ["alice/INBOX#1 opened"]);
    assert_eq!(
        rows(Selection { types: types(&["expunged", "ended"]), ..all() }).unwrap(),
        ["alice/INBOX#3 expunged", "bob/Work#2 ended"]
    );
    // The last so many are counted among those that are wanted, in one log and in many.
    assert_eq!(rows(Selection { types: types(&["opened"]), last: Some(1), ..all() }).unwrap(), ["bob/Work#1 opened"]);
    assert_eq!(
        rows(Selection { types: types(&["opened"]), last: Some(1), ..select("alice/INBOX") }).unwrap(),
        ["alice/INBOX#1 opened"]
    );
    assert_eq!(rows(Selection { since: Some(FIRST + 60_000_000), ..all() }).unwrap(), Vec::<String>::new());
}

#[test]
fn every_type_can_be_asked_for() {
    let journal = journal();
    for record in journal.commits(1, 100).unwrap() {
        assert!(render::types(&record).iter().all(|kind| render::TYPES.contains(kind)));
    }
    let source = include_str!("../render.rs");
    for kind in render::TYPES {
        assert!(source.matches(&format!("(\"{kind}\", ")).count() == 1, "{kind}");
    }
}

#[test]
fn a_follower_gets_what_comes_and_goes_when_nobody_reads() {
    let journal = journal();
    let mut seen = Vec::new();
    let mut asked = 0;
    let mut emit = |row: Option<Value>| {
        match row {
            Some(row) => seen.push(row["type"].as_str().unwrap().to_owned()),
            None => asked += 1,
        }
        if asked == 1 && seen.len() == 1 {
            let subscribed = AccountEvent::Subscribed(name("Late"));
            commit(&journal, "SUBSCRIBE", vec![(ALICE.log(), account(&[subscribed]))]);
        }
        seen.len() < 2
    };
    show(&journal, names(), &Selection { follow: true, last: Some(1), ..select("alice") }, &mut emit).unwrap();
    assert_eq!(seen, ["mailbox_renamed", "subscribed"]);
}

#[test]
fn lines_for_people_say_who_and_what_without_escape_codes() {
    let journal = journal();
    let mut lines = Vec::new();
    let mut emit = |row: Option<Value>| {
        row.into_iter().for_each(|row| lines.push(render::short(&row)));
        true
    };
    show(&journal, names(), &Selection { from: Some(3), ..select("*") }, &mut emit).unwrap();
    assert_eq!(
        lines,
        [
            "2026-01-12 10:00:02.123 alice #2 mailbox_renamed Old -> Work/x  [00000000000000ab a7 RENAME\u{fffd}]",
            "2026-01-12 10:00:03.123 alice/INBOX #2 flags_changed uids 1:3 +(\\Seen)  [00000000000000ab a7 UID STORE]",
            "2026-01-12 10:00:04.123 alice/INBOX #3 expunged uids 1:3 (moved to Work/x)  [00000000000000ab a7 UID MOVE]",
            "2026-01-12 10:00:05.123 bob #2 mailbox_deleted Work  [00000000000000ab a7 DELETE]",
            "2026-01-12 10:00:05.123 bob/Work #2 ended [00000000000000ab a7 DELETE]",
        ]
    );
}

#[test]
fn the_list_has_all_logs_of_a_user() {
    let mut found = Vec::new();
    let mut emit = |row: Option<Value>| {
        row.into_iter().for_each(|row| {
            found.push(format!(
                "{} {}{}",
                row["log"].as_str().unwrap(),
                row["records"],
                if row["deleted"] == true { " deleted" } else { "" }
            ))
        });
        true
    };
    list(&journal(), names(), Some("bob"), &mut emit).unwrap();
    assert_eq!(found, ["bob 2", "bob/INBOX 1", "bob/Work 2 deleted"]);
}

/// The rows of a target where the two accounts belong to others.
fn rows_of(owners: [Owner; 2], target: &str) -> Result<Vec<String>, Failure> {
    let owners = [ALICE, BOB].into_iter().zip(owners).collect();
    let mut rows = Vec::new();
    let mut emit = |row: Option<Value>| {
        row.into_iter().for_each(|row| rows.push(format!("{}#{}", row["log"].as_str().unwrap(), row["seq"])));
        true
    };
    show(&journal(), Names::new(owners), &select(target), &mut emit)?;
    Ok(rows)
}

#[test]
fn a_user_who_is_called_server_has_a_log() {
    let owners = || [owner("server", false), owner("bob", false)];
    assert_eq!(rows_of(owners(), "server").unwrap(), Vec::<String>::new());
    assert_eq!(rows_of(owners(), "server/").unwrap(), ["server/#1", "server/#1", "server/#2"]);
    assert_eq!(rows_of(owners(), "server/Work/x").unwrap(), ["server/Work/x#1"]);
    assert_eq!(rows_of(owners(), "bob/").unwrap().len(), 3);
}

#[test]
fn removed_users_of_one_name_are_told_apart() {
    let both = || [owner("carol", true), owner("carol", true)];
    for target in ["carol", "carol~removed", "Carol/INBOX"] {
        let failure = rows_of(both(), target).unwrap_err();
        let ids = format!("{ALICE} or {BOB}");
        assert!(failure.exit == Exit::NoUser && failure.text.contains(&ids), "{failure}");
    }
    assert_eq!(rows_of(both(), &ALICE.to_string()).unwrap().len(), 3);
    assert_eq!(rows_of([owner("carol", true), owner("bob", false)], "carol/INBOX").unwrap()[0], "carol~removed/INBOX#1");
    // The one who is there is meant first.
    let one = || [owner("carol", false), owner("carol", true)];
    assert_eq!(rows_of(one(), "carol/INBOX").unwrap()[0], "carol/INBOX#1");
    assert_eq!(rows_of(one(), "carol~removed/INBOX").unwrap()[0], "carol~removed/INBOX#1");
}

/// What is asked of one account costs what that account has, however many others there are.
#[test]
fn the_list_of_very_many_accounts_takes_no_longer_for_each() {
    let took = |accounts: u64| {
        let journal = MemoryJournal::new();
        for account in 1..=accounts {
            let made = |id, text| AccountEvent::MailboxCreated(creation(10 * account + id, text));
            let events = ["INBOX", "A", "B", "C", "D", "E"].iter().zip(0..).map(|(name, id)| made(id, name)).collect::<Vec<_>>();
            commit(&journal, "new account", vec![(AccountId(account).log(), self::account(&events))]);
        }
        let begun = std::time::Instant::now();
        let mut count = 0;
        let mut emit = |row: Option<Value>| {
            count += row.into_iter().count() as u64;
            true
        };
        list(&journal, Names::default(), None, &mut emit).unwrap();
        assert_eq!(count, 7 * accounts);
        begun.elapsed()
    };
    let few = took(400);
    let many = took(4000);
    assert!(many < few * 40, "400 accounts took {few:?}, 4000 {many:?}");
}
