use std::collections::BTreeMap;
use std::sync::Arc;

use carillon_protocol::command::SearchKey;
use carillon_protocol::flag::FlagSet;
use carillon_storage::MemoryJournal;
use proptest::prelude::*;

use super::*;
use crate::session::message::Source;
use crate::session::search::Query;
use crate::session::testing::{Server, stored};
use crate::session::view::Mode;
use crate::turn::at_once;

/// `id<ref,ref subject @sent`; subjects that begin with `re:` are replies.
fn rows(lines: &[&str]) -> Vec<Row> {
    lines
        .iter()
        .zip(1..)
        .map(|(line, number)| {
            let (line, sent) = line.split_once('@').map_or((*line, number), |(line, sent)| (line, sent.parse().unwrap()));
            let (ids, subject) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
            let (id, references) = ids.split_once('<').unwrap_or((ids, ""));
            let references = references.split(',').filter(|id| !id.is_empty()).map(str::to_owned).collect();
            let (subject, is_reply) = subject.trim().strip_prefix("re:").map_or((subject.trim(), false), |base| (base, true));
            let message_id = Some(id.to_owned()).filter(|id| !id.is_empty());
            Row { number: u32::try_from(number).unwrap(), sent, subject: subject.to_owned(), is_reply, message_id, references }
        })
        .collect()
}

/// As on the wire, but every list of replies in parentheses.
fn show(threads: &[Thread]) -> String {
    threads
        .iter()
        .map(|thread| {
            let message = thread.message.map_or_else(|| "-".to_owned(), |message| message.to_string());
            let replies = show(&thread.replies);
            if replies.is_empty() { format!("({message})") } else { format!("({message} {replies})") }
        })
        .collect()
}

fn threaded(lines: &[&str]) -> String {
    show(&references::references(&rows(lines)))
}

#[test]
fn ordered_subject_is_one_level_below_the_first() {
    let rows = rows(&["a x @5", "b y @1", "c x @2", "d x @9", "e z @1", "f x @2"]);
    assert_eq!(show(&ordered_subject(&rows)), "(2)(5)(3 (6)(1)(4))");
    assert_eq!(show(&ordered_subject(&[])), "");
}

#[test]
fn references_link_messages_and_stand_in_for_those_that_are_not_there() {
    assert_eq!(threaded(&["a", "b<a", "c<a,b", "d<a"]), "(1 (2 (3))(4))");
    // b is not there: its child moves up; x is not there and has two children: a dummy at the top.
    assert_eq!(threaded(&["a", "c<a,b"]), "(1 (2))");
    assert_eq!(threaded(&["c<x", "d<x"]), "(- (1)(2))");
    assert_eq!(threaded(&["c<x,y", "d<x,z", "e<c"]), "(- (1 (3))(2))");
    assert_eq!(threaded(&["c<x"]), "(1)");
    assert_eq!(threaded(&["c<x,y,z", "d<x,y,z"]), "(- (1)(2))");
}

#[test]
fn a_messages_own_references_win_over_those_of_others() {
    // c says that b is a's child; b itself says that it is d's.
    assert_eq!(threaded(&["a", "c<a,b", "b<d", "d"]), "(1)(4 (3 (2)))");
    assert_eq!(threaded(&["c<a,b", "b", "a"]), "(2 (1))(3)");
    // After b's own turn others may still give it a parent.
    assert_eq!(threaded(&["b", "c<a,b", "a"]), "(3 (1 (2)))");
}

#[test]
fn loops_are_not_made() {
    assert_eq!(threaded(&["a<b", "b<a"]), "(2 (1))");
    assert_eq!(threaded(&["a<a"]), "(1)");
    // What a says of c is in the way of b's own word, though c's own turn takes it back: so says the RFC's letter.
    assert_eq!(threaded(&["a<b,c", "b<c", "c<a"]), "(2)(3 (1))");
    assert_eq!(threaded(&["a<b,b,b"]), "(1)");
}

#[test]
fn ids_that_are_missing_or_come_twice() {
    assert_eq!(threaded(&["", "", "a", "a", "b<a"]), "(1)(2)(3 (5))(4)");
}

#[test]
fn siblings_are_sorted_by_sent_date_then_number() {
    assert_eq!(threaded(&["a @9", "b<a @5", "c<a @3", "d<a @5", "e @1"]), "(5)(1 (3)(2)(4))");
    // A dummy counts as its first child.
    assert_eq!(threaded(&["c<x @7", "d<x @2", "e @4"]), "(- (2)(1))(3)");
}

#[test]
fn subjects_gather_threads() {
    // A reply joins the original, whichever comes first.
    assert_eq!(threaded(&["a s", "b re:s"]), "(1 (2))");
    assert_eq!(threaded(&["b re:s", "a s"]), "(2 (1))");
    // Two originals, or two replies, become siblings under a dummy.
    assert_eq!(threaded(&["a s", "b s"]), "(- (1)(2))");
    assert_eq!(threaded(&["a re:s", "b re:s", "c re:s"]), "(- (1)(2)(3))");
    // Into a dummy.
    assert_eq!(threaded(&["a<x s", "b<x s", "c s", "d re:s"]), "(- (1)(2)(3)(4))");
    assert_eq!(threaded(&["a<x s", "b<x s", "c<y s", "d<y s"]), "(- (1)(2)(3)(4))");
    assert_eq!(threaded(&["c s @1", "a<x s @2", "b<x s @3"]), "(- (1)(2)(3))");
    // No subject gathers nothing; a subject below the top neither.
    assert_eq!(threaded(&["a", "b"]), "(1)(2)");
    assert_eq!(threaded(&["a s", "b<a t", "c t"]), "(1 (2))(3)");
}

#[test]
fn a_long_thread_costs_little_and_is_flattened() {
    let count = 100_000u32;
    let chain: Vec<Row> = (1..=count)
        .map(|number| Row {
            number,
            sent: number.into(),
            message_id: Some(number.to_string()),
            references: (number.saturating_sub(3).max(1)..number).map(|id| id.to_string()).collect(),
            ..Row::default()
        })
        .collect();
    // A chain is a chain, whichever end the rows begin with.
    for rows in [chain.clone(), chain.into_iter().rev().collect::<Vec<_>>()] {
        let threads = references::references(&rows);
        assert_eq!(threads.len(), 1);
        let (mut depth, mut messages, mut level) = (0, 0, threads.iter().collect::<Vec<_>>());
        while !level.is_empty() {
            depth += 1;
            messages += level.len();
            level = level.into_iter().flat_map(|thread| &thread.replies).collect();
        }
        assert_eq!((depth, messages), (Thread::MAX_DEPTH, count as usize));
    }
    // Dummies above dummies, many children below.
    let deep: Vec<String> = (0..1000).map(|id| format!("x{id}")).collect();
    let wide: Vec<Row> = (1..2000).map(|number| Row { number, references: deep.clone(), ..Row::default() }).collect();
    assert_eq!(references::references(&wide).first().map(|thread| thread.replies.len()), Some(1999));
    let same: Vec<Row> = (1..=count).map(|number| Row { number, subject: "s".to_owned(), ..Row::default() }).collect();
    assert_eq!(references::references(&same).len(), 1);
}

#[test]
fn messages_of_a_mailbox() {
    let (journal, mut server) = (Arc::new(MemoryJournal::new()), Server::new(10));
    for (id, rest) in
        [("a", "Subject: Hi"), ("b", "Subject: Re: hi\r\nIn-Reply-To: <a@x>"), ("c", "Subject: RE: HI"), ("d", "Subject: other")]
    {
        let details = stored(&journal, format!("Message-ID: <{id}@x>\r\n{rest}\r\n\r\n").as_bytes());
        server.append(&FlagSet::new(), details);
    }
    server.expunge(&crate::session::testing::uids([4]));
    server.append(&FlagSet::new(), stored(&journal, b"Subject: last\r\n\r\n"));
    let view = server.select(Mode::ReadOnly);
    let by = |algorithm, numbering| {
        let threading = || {
            let query = Query::bind(&SearchKey::All, &view).unwrap();
            Threading::new(Search::new(view.reader(), query, Source::new(journal.clone(), 1 << 20)), algorithm, numbering)
        };
        let threaded = at_once(threading()).unwrap();
        let mut in_turns = threading();
        assert_eq!((0..).find_map(|_| in_turns.advance(&mut Turn::of(1)).unwrap()), Some(threaded.clone()));
        show(&threaded.threads)
    };
    assert_eq!(by(ThreadAlgorithm::References, Numbering::Seq), "(1 (2)(3))(4)");
    assert_eq!(by(ThreadAlgorithm::OrderedSubject, Numbering::Uid), "(1 (2)(3))(5)");
}

/// Step 1 of the RFC by its letter, with links broken and loops looked for by walking: parents by id.
fn linked_by_the_letter(rows: &[Row]) -> BTreeMap<String, String> {
    let mut parents: BTreeMap<String, String> = BTreeMap::new();
    let is_above = |parents: &BTreeMap<String, String>, above: &str, below: &str| {
        let mut node = Some(below);
        while let Some(id) = node {
            if id == above {
                return true;
            }
            node = parents.get(id).map(String::as_str);
        }
        false
    };
    for row in rows {
        let id = row.message_id.clone().unwrap();
        for pair in row.references.windows(2) {
            if !parents.contains_key(&pair[1]) && !is_above(&parents, &pair[1], &pair[0]) {
                parents.insert(pair[1].clone(), pair[0].clone());
            }
        }
        parents.remove(&id);
        if let Some(parent) = row.references.last().filter(|parent| !is_above(&parents, &id, parent)) {
            parents.insert(id, parent.clone());
        }
    }
    parents
}

/// The nearest message above, by number.
fn parents_of(threads: &[Thread]) -> BTreeMap<u32, Option<u32>> {
    let mut parents = BTreeMap::new();
    let mut pending: Vec<(&Thread, Option<u32>)> = threads.iter().map(|thread| (thread, None)).collect();
    while let Some((thread, above)) = pending.pop() {
        if let Some(message) = thread.message {
            parents.insert(message, above);
        }
        pending.extend(thread.replies.iter().map(|reply| (reply, thread.message)));
    }
    parents
}

proptest! {
    /// The links are those of the RFC's own procedure, however the references contradict each other.
    #[test]
    fn links_are_the_rfcs(shape in prop::collection::vec((0u32..9, prop::collection::vec(0u32..12, 0..5)), 0..10)) {
        let mut rows: Vec<Row> = Vec::new();
        for (id, references) in shape {
            let message_id = Some(id.to_string());
            if !rows.iter().any(|row| row.message_id == message_id) {
                let number = u32::try_from(rows.len()).unwrap() + 1;
                let references = references.into_iter().map(|id| id.to_string()).collect();
                rows.push(Row { number, message_id, references, ..Row::default() });
            }
        }
        let links = linked_by_the_letter(&rows);
        let numbers: BTreeMap<String, u32> = rows.iter().map(|row| (row.message_id.clone().unwrap(), row.number)).collect();
        let expected: BTreeMap<u32, Option<u32>> = rows.iter().map(|row| {
            let mut node = links.get(row.message_id.as_ref().unwrap());
            while let Some(id) = node && !numbers.contains_key(id) {
                node = links.get(id);
            }
            (row.number, node.map(|id| numbers[id]))
        }).collect();
        prop_assert_eq!(parents_of(&references::references(&rows)), expected);
    }

    /// Whatever the headers say, every message stands in exactly one place.
    #[test]
    fn no_message_is_lost_or_doubled(lines in prop::collection::vec("[a-d]?(<[a-f](,[a-f]){0,3})?( (re:)?[st])?", 0..12)) {
        let rows = rows(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        let numbers = |threads: &[Thread]| {
            let (mut numbers, mut pending) = (Vec::new(), threads.iter().collect::<Vec<_>>());
            while let Some(thread) = pending.pop() {
                numbers.extend(thread.message);
                pending.extend(&thread.replies);
            }
            numbers.sort_unstable();
            numbers
        };
        let all: Vec<u32> = (1..=u32::try_from(rows.len()).unwrap()).collect();
        prop_assert_eq!(numbers(&references::references(&rows)), all.clone());
        prop_assert_eq!(numbers(&ordered_subject(&rows)), all);
    }
}
