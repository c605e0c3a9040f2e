use std::collections::{BTreeMap, BTreeSet};

use carillon_protocol::command::Expunges;
use carillon_protocol::flag::{Flag, FlagChange, FlagSet, Keyword};
use carillon_protocol::number::{SeqNum, Uid};
use carillon_protocol::response::{FetchData, Untagged};
use carillon_protocol::set::{Numbering, SequenceSet, SetItem, SetNumber, UidSet};
use proptest::prelude::*;

use super::{BadSequence, Mode, View};
use crate::session::changes::Changes;
use crate::session::testing::{Server, changed_flags, flags, uid, uids};

fn expunge(number: u32) -> Untagged {
    Untagged::Expunge(SeqNum::new(number).unwrap())
}

fn fetch(seq: u32, uid_number: u32, names: &str, recent: bool) -> Untagged {
    let data = vec![FetchData::Uid(uid(uid_number)), FetchData::Flags { flags: flags(names), recent }];
    Untagged::Fetch(SeqNum::new(seq).unwrap(), data)
}

fn told(changes: &Changes) -> Vec<Untagged> {
    changes.responses().collect()
}

/// A server with so many messages, and a session that selected it when the recent ones were taken.
fn selected(count: u32) -> (Server, View) {
    let mut server = Server::new(1000);
    server.arrive(count, &FlagSet::new());
    server.look(Mode::ReadWrite);
    let view = server.select(Mode::ReadWrite);
    (server, view)
}

fn catch_up(server: &mut Server, view: &mut View, expunges: Expunges) -> Vec<Untagged> {
    let look = server.look(view.mode());
    told(&view.catch_up(look, expunges))
}

#[test]
fn expunges_are_numbered_as_each_moves_the_rest() {
    let (mut server, mut view) = selected(11);
    server.expunge(&uids([3, 4, 7, 11]));
    // RFC 3501 §6.4.3 has this very example.
    let expected = [expunge(3), expunge(3), expunge(5), expunge(8)];
    assert_eq!(catch_up(&mut server, &mut view, Expunges::Tell), expected);
}

#[test]
fn the_order_of_telling_is_expunge_exists_recent_flags_fetch() {
    let (mut server, mut view) = selected(3);
    server.store(&uids([3]), FlagChange::Add, &flags("\\Seen Work"));
    server.arrive(2, &FlagSet::new());
    server.expunge(&uids([1, 4]));
    let responses = catch_up(&mut server, &mut view, Expunges::Tell);
    assert_eq!(responses.first(), Some(&expunge(1)));
    assert_eq!(responses.get(1), Some(&Untagged::Exists(3)));
    assert_eq!(responses.get(2), Some(&Untagged::Recent(1)));
    assert!(
        matches!(responses.get(3), Some(Untagged::Flags(list)) if list.contains(&Flag::Keyword(Keyword::new("work").unwrap())))
    );
    assert!(matches!(responses.get(4), Some(Untagged::Status(_))));
    assert_eq!(responses.get(5), Some(&fetch(2, 3, "\\Seen Work", false)));
    assert_eq!(responses.len(), 6);
}

#[test]
fn what_came_and_went_untold_is_never_told() {
    let (mut server, mut view) = selected(2);
    server.arrive(1, &FlagSet::new());
    server.expunge(&uids([3]));
    assert_eq!(catch_up(&mut server, &mut view, Expunges::Tell), []);
}

#[test]
fn a_ghost_keeps_its_number_and_its_flags_until_its_expunge_is_told() {
    let (mut server, mut view) = selected(4);
    server.store(&uids([2]), FlagChange::Add, &flags("\\Seen"));
    server.expunge(&uids([2]));
    server.arrive(1, &FlagSet::new());
    assert_eq!(catch_up(&mut server, &mut view, Expunges::Withhold), [Untagged::Exists(5), Untagged::Recent(1)]);
    assert_eq!(view.seq_of(uid(2)), SeqNum::new(2));
    assert_eq!(view.seq_of(uid(3)), SeqNum::new(3));
    assert_eq!(view.uid_at(SeqNum::new(2).unwrap()), Some(uid(2)));
    assert_eq!(view.uid_at(SeqNum::new(5).unwrap()), Some(uid(5)));
    assert_eq!(view.uid_at(SeqNum::new(6).unwrap()), None);
    let reader = view.reader();
    let ghost = reader.message(uid(2)).unwrap();
    assert!(ghost.ghost);
    assert_eq!(reader.flag_set(ghost.flags), FlagSet::new());
    assert_eq!(view.ghosts_among(&uids([1, 2, 3])), uids([2]));
    assert_eq!(reader.living(&uids([1, 2, 3])), uids([1, 3]));
    // Its expunge was position 7 (Opened, four arrivals, a change of flags), so all is told up to 6.
    assert_eq!(view.told_modseq(), 6);
    assert!(view.has_untold(&server.state));
    assert_eq!(catch_up(&mut server, &mut view, Expunges::Tell), [expunge(2)]);
    assert_eq!(view.told_modseq(), 8);
    assert!(!view.has_untold(&server.state));
}

#[test]
fn owed_flags_are_paid_once_and_silent_ones_not_at_all() {
    let (mut server, mut view) = selected(3);
    view.owe(&uids([1, 2]));
    server.store(&uids([1, 2]), FlagChange::Remove, &flags("\\Seen"));
    assert_eq!(catch_up(&mut server, &mut view, Expunges::Withhold), [fetch(1, 1, "", false), fetch(2, 2, "", false)]);
    assert_eq!(catch_up(&mut server, &mut view, Expunges::Withhold), []);
    let position = server.store(&uids([1, 2, 3]), FlagChange::Add, &flags("\\Seen")).unwrap();
    view.silence(position);
    server.store(&uids([3]), FlagChange::Add, &flags("\\Flagged"));
    assert_eq!(catch_up(&mut server, &mut view, Expunges::Withhold), [fetch(3, 3, "\\Flagged \\Seen", false)]);
}

#[test]
fn exactly_one_session_holds_a_message_as_recent_and_examine_only_looks() {
    let mut server = Server::new(1000);
    server.arrive(2, &FlagSet::new());
    let examining = server.select(Mode::ReadOnly);
    let mut first = server.select(Mode::ReadWrite);
    let mut second = server.select(Mode::ReadWrite);
    assert_eq!((examining.recent_count(), first.recent_count(), second.recent_count()), (2, 2, 0));
    server.arrive(1, &FlagSet::new());
    assert_eq!(catch_up(&mut server, &mut second, Expunges::Tell), [Untagged::Exists(3), Untagged::Recent(1)]);
    assert_eq!(catch_up(&mut server, &mut first, Expunges::Tell), [Untagged::Exists(3), Untagged::Recent(2)]);
    server.expunge(&uids([1, 3]));
    assert_eq!(catch_up(&mut server, &mut first, Expunges::Tell), [expunge(1), expunge(2), Untagged::Recent(1)]);
}

#[test]
fn a_deleted_mailbox_is_empty_at_the_first_moment_that_may_tell_it() {
    let (mut server, mut view) = selected(3);
    server.arrive(1, &FlagSet::new());
    view.owe(&uids([2]));
    server.store(&uids([2]), FlagChange::Add, &flags("\\Seen"));
    server.end();
    let (exists, recent) = (Untagged::Exists(4), Untagged::Recent(1));
    assert_eq!(catch_up(&mut server, &mut view, Expunges::Withhold), [exists, recent, fetch(2, 2, "\\Seen", false)]);
    assert_eq!(view.reader().all().count(), 4);
    assert_eq!(view.told_modseq(), server.state.position() - 1);
    assert!(view.has_untold(&server.state));
    let expected = [expunge(1), expunge(1), expunge(1), expunge(1), Untagged::Recent(0)];
    assert_eq!(catch_up(&mut server, &mut view, Expunges::Tell), expected);
    assert!(!view.has_untold(&server.state));
    assert_eq!((view.exists(), view.reader().all().count()), (0, 0));
    assert_eq!(catch_up(&mut server, &mut view, Expunges::Tell), []);
}

#[test]
fn a_look_that_is_older_than_what_was_told_changes_nothing() {
    let (mut server, mut view) = selected(3);
    let old = server.look(Mode::ReadOnly);
    server.expunge(&uids([1]));
    assert_eq!(catch_up(&mut server, &mut view, Expunges::Tell), [expunge(1)]);
    assert!(told(&view.catch_up(old, Expunges::Tell)).is_empty());
    assert_eq!(view.exists(), 2);
}

#[test]
fn the_saved_result_loses_what_is_expunged() {
    let (mut server, mut view) = selected(4);
    view.save_result(uids([2, 3]));
    server.expunge(&uids([2]));
    catch_up(&mut server, &mut view, Expunges::Withhold);
    assert_eq!(view.resolve(&SequenceSet::Saved, Numbering::Seq), Ok(uids([3])));
}

#[test]
fn first_unseen_is_a_number() {
    let mut server = Server::new(10);
    server.arrive(2, &flags("\\Seen"));
    server.arrive(1, &FlagSet::new());
    assert_eq!(server.select(Mode::ReadWrite).first_unseen(), SeqNum::new(3));
}

fn set(text: &str) -> SequenceSet {
    let number = |text: &str| if text == "*" { SetNumber::Star } else { SetNumber::Number(text.parse().unwrap()) };
    let item = |text: &str| match text.split_once(':') {
        Some((one, other)) => SetItem::Range(number(one), number(other)),
        None => SetItem::One(number(text)),
    };
    SequenceSet::Items(text.split(',').map(item).collect())
}

#[test]
fn sets_by_number_and_by_uid_in_every_form() {
    let (mut server, mut view) = selected(9);
    server.expunge(&uids([1, 3, 5, 7]));
    catch_up(&mut server, &mut view, Expunges::Tell);
    let resolve = |text: &str, numbering| {
        let resolved = view.resolve(&set(text), numbering)?;
        Ok(view.reader().living(&resolved).to_string())
    };
    let by_number = |text| resolve(text, Numbering::Seq);
    let by_uid = |text| resolve(text, Numbering::Uid);
    // Numbers 1 to 5 are UIDs 2, 4, 6, 8, 9.
    for (text, expected) in [
        ("1", "2"),
        ("2:4", "4,6,8"),
        ("4:2", "4,6,8"),
        ("*", "9"),
        ("*:2", "4,6,8:9"),
        ("1,3,5:*", "2,6,9"),
        ("0:*", "2,4,6,8:9"),
        ("0:9", "2,4,6,8:9"),
        ("9:0", "2,4,6,8:9"),
        ("7:*", "9"),
        ("*:*", "9"),
        ("0:0", "2"),
        ("4:4294967295", "8:9"),
    ] {
        assert_eq!(by_number(text), Ok(expected.to_owned()), "{text}");
    }
    assert_eq!(by_number("0"), Err(BadSequence::Zero));
    assert_eq!(by_number("1,0"), Err(BadSequence::Zero));
    assert_eq!(by_number("6"), Err(BadSequence::Beyond));
    assert_eq!(by_number("6:8"), Err(BadSequence::Beyond));
    for (text, expected) in [
        ("2", "2"),
        ("3", ""),
        ("1:4", "2,4"),
        ("4:1", "2,4"),
        ("*", "9"),
        ("20:*", "9"),
        ("*:20", "9"),
        ("20:30", ""),
        ("0:9", "2,4,6,8:9"),
        ("4294967295", ""),
        ("3,5,7", ""),
    ] {
        assert_eq!(by_uid(text), Ok(expected.to_owned()), "{text}");
    }
    assert_eq!(by_uid("0"), Err(BadSequence::Zero));
    assert!(view.resolve(&set("3,5,20:30"), Numbering::Uid).unwrap().is_empty());
    let by_key = |text, numbering| view.resolve_key(&set(text), numbering);
    assert_eq!(by_key("6", Numbering::Seq), Ok(UidSet::new()));
    assert_eq!(by_key("6:8,1", Numbering::Seq), Ok(uids([2])));
    assert_eq!(by_key("0", Numbering::Seq), Err(BadSequence::Zero));
}

#[test]
fn sets_in_an_empty_mailbox() {
    let view = Server::new(1).select(Mode::ReadWrite);
    for text in ["1", "*", "1:*", "0:5"] {
        assert_eq!(view.resolve(&set(text), Numbering::Seq), Err(BadSequence::Empty), "{text}");
        assert_eq!(view.resolve_key(&set(text), Numbering::Seq), Ok(UidSet::new()), "{text}");
        assert_eq!(view.resolve(&set(text), Numbering::Uid), Ok(UidSet::new()), "{text}");
    }
    assert_eq!(view.resolve(&set("0"), Numbering::Seq), Err(BadSequence::Zero));
    assert_eq!(view.resolve(&set("0"), Numbering::Uid), Err(BadSequence::Zero));
    assert_eq!(view.resolve(&SequenceSet::Saved, Numbering::Seq), Ok(UidSet::new()));
}

#[test]
fn misses_are_what_was_named_and_is_gone() {
    let (mut server, mut view) = selected(9);
    server.expunge(&uids([3, 4, 9]));
    catch_up(&mut server, &mut view, Expunges::Tell);
    for (text, expected) in [
        ("3", "3"),
        ("1,3,9", "3,9"),
        ("3:4", "3:4"),
        ("1:4", ""),
        ("1:*", ""),
        ("9:*", ""),
        ("9:12", "9"),
        ("10", ""),
        ("0", ""),
    ] {
        assert_eq!(view.missed(&set(text)).to_string(), expected, "{text}");
    }
    assert_eq!(view.missed(&SequenceSet::Saved), UidSet::new());
}

/// What a client makes of the responses, and of a FETCH of what is new to it.
#[derive(Default)]
struct Client {
    rows: Vec<(Uid, FlagSet, bool)>,
    recent: usize,
    keywords: BTreeSet<Keyword>,
}

impl Client {
    fn select(view: &View) -> Self {
        let mut client =
            Self { recent: view.recent_count(), keywords: view.keywords().iter().cloned().collect(), ..Self::default() };
        client.fetch_new(view);
        client
    }

    fn fetch_new(&mut self, view: &View) {
        let reader = view.reader();
        for message in reader.all().skip(self.rows.len()) {
            self.rows.push((message.uid, reader.flag_set(message.flags), message.recent));
        }
    }

    fn hear(&mut self, changes: &Changes, view: &View) {
        assert_eq!(changes.is_empty(), changes.responses().next().is_none());
        let mut count = self.rows.len();
        for response in changes.responses() {
            match response {
                Untagged::Expunge(seq) => {
                    self.rows.remove(seq.index());
                    count -= 1;
                }
                Untagged::Exists(exists) => {
                    assert!(exists as usize > count, "EXISTS never shrinks a mailbox, nor repeats");
                    count = exists as usize;
                }
                Untagged::Recent(recent) => self.recent = recent as usize,
                Untagged::Flags(list) => {
                    self.keywords = list
                        .into_iter()
                        .filter_map(|flag| match flag {
                            Flag::Keyword(keyword) => Some(keyword),
                            Flag::System(_) => None,
                        })
                        .collect();
                }
                Untagged::Fetch(seq, data) => {
                    let [FetchData::Uid(uid), FetchData::Flags { flags, recent }] = data.as_slice() else { panic!("{data:?}") };
                    assert!(flags.keywords().iter().all(|keyword| self.keywords.contains(keyword)));
                    let row = &mut self.rows[seq.index()];
                    assert_eq!((row.0, row.2), (*uid, *recent));
                    row.1 = flags.clone();
                }
                _ => {}
            }
        }
        self.fetch_new(view);
        assert_eq!(self.rows.len(), count);
    }

    fn check(&self, view: &View, server: &Server, expunges: Expunges) {
        let reader = view.reader();
        assert_eq!(reader.exists(), self.rows.len());
        assert_eq!(self.recent, self.rows.iter().filter(|row| row.2).count());
        for (message, row) in reader.all().zip(&self.rows) {
            assert_eq!(message.uid, row.0);
            assert_eq!(view.seq_of(message.uid), Some(message.seq));
            assert_eq!(view.uid_at(message.seq), Some(message.uid));
            assert_eq!(reader.message(message.uid).unwrap().seq, message.seq);
            if message.ghost {
                // As last told, but for keywords that no message of the mailbox has any more.
                assert!(reader.flag_set(message.flags).iter().all(|flag| row.1.iter().any(|told| told == flag)));
            } else {
                let now = server.state.messages().by_uid(message.uid).unwrap();
                assert_eq!(server.state.flag_set(now.flags), row.1);
            }
        }
        if expunges == Expunges::Tell {
            let fresh: UidSet = server.state.messages().iter().map(|message| message.uid).collect();
            assert_eq!(self.rows.iter().map(|row| row.0).collect::<UidSet>(), fresh);
            assert_eq!(view.told_modseq(), server.state.position());
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Arrive(u32, &'static str),
    Expunge(Vec<u32>),
    Store(Vec<u32>, FlagChange, &'static str),
    Look(usize, Expunges),
    OwnStore { session: usize, seqs: Vec<u32>, change: FlagChange, flags: &'static str, silent: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let names = prop::sample::select(vec!["", "\\Seen", "\\Deleted Work", "work \\Flagged", "$Later", "Play"]);
    let change = prop::sample::select(vec![FlagChange::Add, FlagChange::Remove, FlagChange::Replace]);
    let some = prop::collection::vec(1u32..30, 1..6);
    let expunges = prop::sample::select(vec![Expunges::Tell, Expunges::Withhold]);
    prop_oneof![
        3 => (1u32..4, names.clone()).prop_map(|(count, names)| Step::Arrive(count, names)),
        3 => some.clone().prop_map(Step::Expunge),
        3 => (some.clone(), change.clone(), names.clone()).prop_map(|(uids, change, names)| Step::Store(uids, change, names)),
        5 => (0usize..3, expunges).prop_map(|(session, expunges)| Step::Look(session, expunges)),
        3 => (0usize..3, some, change, names, any::<bool>())
            .prop_map(|(session, seqs, change, flags, silent)| Step::OwnStore { session, seqs, change, flags, silent }),
    ]
}

fn own_store(server: &mut Server, session: &mut (View, Client), seqs: &[u32], change: FlagChange, flags: &FlagSet, silent: bool) {
    let (view, client) = session;
    let items = seqs.iter().map(|seq| SetItem::One(SetNumber::Number(*seq))).collect();
    let Ok(named) = view.resolve_key(&SequenceSet::Items(items), Numbering::Seq) else { return };
    let named = named.difference(&view.ghosts_among(&named));
    let position = server.store(&named, change, flags);
    let before: BTreeMap<Uid, FlagSet> = client.rows.iter().map(|row| (row.0, row.1.clone())).collect();
    if silent {
        position.into_iter().for_each(|position| view.silence(position));
        // What the client believes of its own STORE; the server says so only where that is wrong.
        for row in client.rows.iter_mut().filter(|row| named.contains(row.0)) {
            row.1 = changed_flags(&row.1, change, flags);
        }
    } else {
        view.owe(&named);
    }
    let changes = view.catch_up(server.look(view.mode()), Expunges::Withhold);
    if !silent {
        let told: Vec<Uid> = changes
            .responses()
            .filter_map(|response| match response {
                Untagged::Fetch(seq, _) => view.uid_at(seq),
                _ => None,
            })
            .collect();
        let once: UidSet = told.iter().copied().collect();
        assert_eq!(once.len(), told.len() as u64, "FLAGS are told once");
        let living = view.reader().living(&named);
        assert_eq!(living.intersection(&once), living, "STORE answers for every message that it names");
    }
    // Ghosts stay as they were told.
    let ghosts = view.ghosts_among(&named);
    client.rows.iter_mut().filter(|row| ghosts.contains(row.0)).for_each(|row| row.1 = before[&row.0].clone());
    client.hear(&changes, view);
    client.check(view, server, Expunges::Withhold);
}

proptest! {
    /// Whatever happens between looks, a client that follows our responses knows what a fresh session would be told.
    #[test]
    fn a_client_that_replays_our_responses_is_always_right(
        window in prop::sample::select(vec![1usize, 3, 1000]), first_keywords in prop::sample::select(vec![0, 62, 63]),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut server = Server::new(window);
        // With many, keywords that no message has any more must give their places to others.
        server.arrive(1, &(0..first_keywords).map(|number| Flag::Keyword(Keyword::new(&format!("k{number}")).unwrap())).collect());
        server.arrive(4, &FlagSet::new());
        let mut sessions: Vec<(View, Client)> = [Mode::ReadWrite, Mode::ReadWrite, Mode::ReadOnly].into_iter().map(|mode| {
            let view = server.select(mode);
            let client = Client::select(&view);
            (view, client)
        }).collect();
        for step in steps {
            if let Step::Arrive(_, names) | Step::Store(_, _, names) | Step::OwnStore { flags: names, .. } = &step
                && !server.has_room_for(&flags(names))
            {
                continue;
            }
            match step {
                Step::Arrive(count, names) => server.arrive(count, &flags(names)),
                Step::Expunge(numbers) => server.expunge(&uids(numbers)),
                Step::Store(numbers, change, names) => drop(server.store(&uids(numbers), change, &flags(names))),
                Step::OwnStore { session, seqs, change, flags: names, silent } => {
                    own_store(&mut server, &mut sessions[session], &seqs, change, &flags(names), silent);
                }
                Step::Look(session, expunges) => {
                    let (view, client) = &mut sessions[session];
                    let changes = view.catch_up(server.look(view.mode()), expunges);
                    client.hear(&changes, view);
                    client.check(view, &server, expunges);
                    prop_assert_eq!(expunges == Expunges::Withhold && view.has_untold(&server.state), view.has_untold(&server.state));
                }
            }
            let [first, second, _] = sessions.as_slice() else { unreachable!() };
            let both = first.0.reader().recent.intersection(&second.0.reader().recent);
            prop_assert!(both.is_empty(), "{} is recent in two sessions", both);
        }
        server.end();
        for (view, client) in &mut sessions {
            let changes = view.catch_up(server.look(view.mode()), Expunges::Tell);
            client.hear(&changes, view);
            prop_assert!(client.rows.is_empty());
        }
    }

    /// resolve() against the plainest reading of the rules over a list of UIDs.
    #[test]
    fn resolve_is_what_the_rules_say(
        count in 0u32..12, gone in prop::collection::vec(1u32..14, 0..6), ghosts in prop::collection::vec(1u32..14, 0..4),
        items in prop::collection::vec((prop::option::of(0u32..16), prop::option::of(prop::option::of(0u32..16))), 1..5),
        by_uid in any::<bool>(),
    ) {
        let mut server = Server::new(100);
        server.arrive(count, &FlagSet::new());
        server.expunge(&uids(gone));
        let mut view = server.select(Mode::ReadWrite);
        server.expunge(&uids(ghosts));
        view.catch_up(server.look(Mode::ReadWrite), Expunges::Withhold);
        let numbering = if by_uid { Numbering::Uid } else { Numbering::Seq };
        let reader = view.reader();
        let list: Vec<u32> = reader.all().map(|message| if by_uid { message.uid.get() } else { message.seq.get() }).collect();
        let number = |number: Option<u32>| number.map_or(SetNumber::Star, SetNumber::Number);
        let items: Vec<SetItem> = items.into_iter().map(|(one, other)| match other {
            None => SetItem::One(number(one)),
            Some(other) => SetItem::Range(number(one), number(other)),
        }).collect();
        let expected = plain_resolve(&list, &items, by_uid);
        let resolved = view.resolve(&SequenceSet::Items(items), numbering);
        prop_assert_eq!(resolved.clone().err(), expected.clone().err());
        if let (Ok(resolved), Ok(expected)) = (resolved, expected) {
            let found: BTreeSet<u32> = reader.messages(&resolved).map(|message| if by_uid { message.uid.get() } else { message.seq.get() }).collect();
            prop_assert_eq!(resolved.is_empty(), expected.is_empty());
            prop_assert_eq!(found, expected);
        }
    }
}

fn plain_resolve(list: &[u32], items: &[SetItem], by_uid: bool) -> Result<BTreeSet<u32>, BadSequence> {
    let star = list.last().copied();
    let value = |number| match number {
        SetNumber::Number(number) => Some(number),
        SetNumber::Star => star,
    };
    let mut found = BTreeSet::new();
    for item in items {
        if *item == SetItem::One(SetNumber::Number(0)) {
            return Err(BadSequence::Zero);
        }
        if !by_uid && list.is_empty() {
            return Err(BadSequence::Empty);
        }
        let (one, other) = match item {
            SetItem::One(number) => (value(*number), value(*number)),
            SetItem::Range(one, other) => (value(*one), value(*other)),
        };
        let (Some(one), Some(other)) = (one, other) else { continue };
        let matching: Vec<u32> =
            list.iter().copied().filter(|number| (one.min(other)..=one.max(other).max(1)).contains(number)).collect();
        if !by_uid && matching.is_empty() {
            return Err(BadSequence::Beyond);
        }
        found.extend(matching);
    }
    Ok(found)
}

#[test]
fn the_end_of_a_deleted_mailbox_is_told_once_also_after_a_look_that_withholds() {
    let (mut server, mut view) = selected(2);
    server.end();
    assert!(catch_up(&mut server, &mut view, Expunges::Tell).contains(&expunge(1)));
    assert_eq!(catch_up(&mut server, &mut view, Expunges::Withhold), []);
    assert_eq!(catch_up(&mut server, &mut view, Expunges::Tell), []);
    assert_eq!(view.exists(), 0);
}
