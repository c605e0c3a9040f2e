//! SORT (RFC 5256 §2.2, §3): the messages that SEARCH found, in order.

use std::borrow::Cow;
use std::ops::Range;

use carillon_protocol::command::{SortCriterion, SortKey};
use carillon_protocol::mime::Digest;
use carillon_protocol::number::Uid;
use carillon_protocol::set::Numbering;
use unicode_normalization::UnicodeNormalization;

use super::reader::Seen;
use super::search::{Gathering, Search};
use crate::refusal::Fault;
use crate::turn::{Turn, Work};

/// A SORT that is done, or partly done.
pub struct Sort {
    messages: Gathering,
    criteria: Vec<SortCriterion>,
    numbering: Numbering,
    rows: Rows,
}

/// What a SORT found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sorted {
    /// Message numbers or UIDs, in order.
    pub numbers: Vec<u32>,
    /// As [`super::search::Found::damage`].
    pub damage: Option<Fault>,
}

impl Sort {
    /// What the search finds in the order of the criteria; messages that are equal in all of them by message number.
    pub fn new(search: Search, criteria: &[SortCriterion], numbering: Numbering) -> Self {
        Self { messages: Gathering::new(search), criteria: effective(criteria), numbering, rows: Rows::default() }
    }
}

impl Work for Sort {
    type Outcome = Sorted;

    /// # Errors
    /// The journal cannot be read at all.
    fn advance(&mut self, turn: &mut Turn) -> Result<Option<Sorted>, Fault> {
        let reads_digests = self.criteria.iter().any(|criterion| !matches!(criterion.key, SortKey::Arrival | SortKey::Size));
        let Self { rows, criteria, .. } = self;
        let is_gathered = self.messages.advance(turn, reads_digests, |seen, digest| rows.add(seen, digest, criteria))?;
        // Comparing cannot be cut in two.
        if !is_gathered || turn.is_too_short_for(self.rows.octets()) {
            return Ok(None);
        }
        let reader = self.messages.reader();
        let sorted = std::mem::take(&mut self.rows).sorted();
        let numbers = sorted.into_iter().filter_map(|uid| reader.number(uid, self.numbering)).collect();
        Ok(Some(Sorted { numbers, damage: self.messages.damage() }))
    }
}

/// A key that comes again decides nothing.
fn effective(criteria: &[SortCriterion]) -> Vec<SortCriterion> {
    let mut kept: Vec<SortCriterion> = Vec::new();
    for criterion in criteria {
        if !kept.iter().any(|other| other.key == criterion.key) {
            kept.push(*criterion);
        }
    }
    kept
}

/// The messages with what is compared of each: octets whose order is the order of the criteria, one behind the other in one buffer.
#[derive(Default)]
struct Rows {
    keys: Vec<u8>,
    rows: Vec<Row>,
}

struct Row {
    /// The first octets of the key, so that most comparisons need not look further.
    front: u64,
    key: Range<usize>,
    uid: Uid,
}

impl Rows {
    fn add(&mut self, seen: &Seen<'_>, digest: &Digest<&str>, criteria: &[SortCriterion]) {
        let start = self.keys.len();
        for criterion in criteria {
            let from = self.keys.len();
            self.value(seen, digest, criterion.key);
            if criterion.reverse {
                // No value is the beginning of another, so this turns the order round.
                self.keys.iter_mut().skip(from).for_each(|octet| *octet = !*octet);
            }
        }
        let mut front = [0; 8];
        let key = self.keys.get(start..).unwrap_or_default();
        front.iter_mut().zip(key).for_each(|(to, octet)| *to = *octet);
        self.rows.push(Row { front: u64::from_be_bytes(front), key: start..self.keys.len(), uid: seen.uid });
    }

    fn value(&mut self, seen: &Seen<'_>, digest: &Digest<&str>, key: SortKey) {
        match key {
            SortKey::Arrival => self.moment(seen.details.internal_date.unix_seconds),
            SortKey::Date => self.moment(sent(seen, digest)),
            SortKey::Size => self.keys.extend_from_slice(&seen.details.size.to_be_bytes()),
            SortKey::Cc => self.text(digest.cc),
            SortKey::From => self.text(digest.from),
            SortKey::To => self.text(digest.to),
            SortKey::Subject => self.text(digest.base_subject),
        }
    }

    /// What comparing goes through, about.
    fn octets(&self) -> u64 {
        (self.keys.len() + self.rows.len() * size_of::<Row>()) as u64
    }

    fn moment(&mut self, seconds: i64) {
        let above_all_negative = seconds.cast_unsigned() ^ (1 << 63);
        self.keys.extend_from_slice(&above_all_negative.to_be_bytes());
    }

    /// Ended by two NUL; a NUL inside becomes NUL and 1, which comes behind the end and before all else.
    fn text(&mut self, text: &str) {
        let text = collation_key(text);
        for (index, piece) in text.as_bytes().split(|octet| *octet == 0).enumerate() {
            if index > 0 {
                self.keys.extend_from_slice(&[0, 1]);
            }
            self.keys.extend_from_slice(piece);
        }
        self.keys.extend_from_slice(&[0, 0]);
    }

    /// Rows come in the order of their numbers, and the sort keeps it where values are equal, with REVERSE too.
    fn sorted(mut self) -> Vec<Uid> {
        let key = |row: &Row| self.keys.get(row.key.clone());
        self.rows.sort_by(|one, other| one.front.cmp(&other.front).then_with(|| key(one).cmp(&key(other))));
        self.rows.into_iter().map(|row| row.uid).collect()
    }
}

/// The sent date in seconds since 1970, UTC; INTERNALDATE where there is none (RFC 5256 §2.2).
pub(super) fn sent(seen: &Seen<'_>, digest: &Digest<&str>) -> i64 {
    digest.sent.unwrap_or(seen.details.internal_date).unix_seconds
}

/// A text such that octet order is the order of i;unicode-casemap (RFC 5051 §2): capitals, decomposed. So `_` comes after the letters.
pub(super) fn collation_key(text: &str) -> Cow<'_, str> {
    if !text.is_ascii() {
        Cow::Owned(text.chars().flat_map(char::to_uppercase).nfkd().collect())
    } else if text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        Cow::Owned(text.to_ascii_uppercase())
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;
    use std::sync::Arc;

    use carillon_protocol::command::SearchKey;
    use carillon_protocol::date::InternalDate;
    use carillon_protocol::flag::FlagSet;
    use carillon_storage::{BodyHash, MemoryJournal};
    use proptest::prelude::*;

    use super::*;
    use crate::mailbox::event::Details;
    use crate::session::message::Source;
    use crate::session::search::Query;
    use crate::session::testing::{Server, details, stored};
    use crate::session::view::Mode;
    use crate::turn::at_once;

    /// Messages with these headers; the n-th arrives at second 1000 - n.
    fn sort_headers(headers: &[&str], criteria: &[(bool, SortKey)]) -> Vec<u32> {
        let (journal, mut server) = (Arc::new(MemoryJournal::new()), Server::new(10));
        for (header, second) in headers.iter().zip((0..1000).rev()) {
            let date = InternalDate { unix_seconds: second, offset_minutes: 0 };
            let plain = stored(&journal, format!("{header}\r\n").as_bytes());
            server.append(&FlagSet::new(), Arc::new(Details { internal_date: date, ..(*plain).clone() }));
        }
        sort_server(&mut server, journal, criteria)
    }

    fn sort_server(server: &mut Server, journal: Arc<MemoryJournal>, criteria: &[(bool, SortKey)]) -> Vec<u32> {
        let criteria: Vec<SortCriterion> =
            criteria.iter().map(|(reverse, key)| SortCriterion { reverse: *reverse, key: *key }).collect();
        let view = server.select(Mode::ReadOnly);
        let sort = || {
            let query = Query::bind(&SearchKey::All, &view).unwrap();
            Sort::new(Search::new(view.reader(), query, Source::new(journal.clone(), 1 << 20)), &criteria, Numbering::Uid)
        };
        let sorted = at_once(sort()).unwrap();
        let mut in_turns = sort();
        assert_eq!((0..).find_map(|_| in_turns.advance(&mut Turn::of(1)).unwrap()), Some(sorted.clone()));
        assert_eq!(sorted.damage, None);
        sorted.numbers
    }

    #[test]
    fn every_key() {
        let headers = [
            "From: zoe@x\r\nTo: b@x\r\nCc: k@x\r\nSubject: Re: beta\r\nDate: 2 Jan 2020 00:00:00 +0000\r\n",
            "From: \"A\" <Bob@x>\r\nTo: A@x\r\nSubject: Alpha\r\nDate: 1 Jan 2020 23:30:00 -0100\r\nX: long long long\r\n",
            "From: amy@x, z@x\r\nCc: J@x\r\nSubject: [list] gamma (fwd)\r\nDate: 1 Jan 2020 00:00:00 +0000\r\n",
        ];
        for (key, expected) in [
            (SortKey::Arrival, [3, 2, 1]),
            (SortKey::Cc, [2, 3, 1]),
            (SortKey::Date, [3, 1, 2]),
            (SortKey::From, [3, 2, 1]),
            (SortKey::Subject, [2, 1, 3]),
            (SortKey::To, [3, 2, 1]),
            (SortKey::Size, [1, 3, 2]),
        ] {
            assert_eq!(sort_headers(&headers, &[(false, key)]), expected, "{key:?}");
            let reversed: Vec<u32> = expected.into_iter().rev().collect();
            assert_eq!(sort_headers(&headers, &[(true, key)]), reversed, "REVERSE {key:?}");
        }
    }

    #[test]
    fn ties_go_by_the_next_criterion_and_at_last_by_number() {
        let headers = ["Subject: b\r\nFrom: x@x\r\n", "Subject: a\r\n", "Subject: B\r\n", "Subject: a\r\nFrom: y@x\r\n"];
        assert_eq!(sort_headers(&headers, &[(false, SortKey::Subject)]), [2, 4, 1, 3]);
        assert_eq!(sort_headers(&headers, &[(true, SortKey::Subject)]), [1, 3, 2, 4]);
        assert_eq!(sort_headers(&headers, &[(false, SortKey::Subject), (true, SortKey::From)]), [4, 2, 1, 3]);
        let again = [(false, SortKey::Subject), (true, SortKey::Subject), (true, SortKey::From)];
        assert_eq!(sort_headers(&headers, &again), [4, 2, 1, 3]);
    }

    #[test]
    fn texts_are_compared_without_case_as_the_collation_says() {
        let headers = ["Subject: _x\r\n", "Subject: zebra\r\n", "Subject: =?utf-8?q?=C3=A9tude?=\r\n", "Subject: Fox\r\n"];
        assert_eq!(sort_headers(&headers, &[(false, SortKey::Subject)]), [3, 4, 2, 1]);
    }

    #[test]
    fn a_message_without_date_was_sent_when_it_arrived() {
        let headers = ["Date: 1 Jan 1970 00:16:38 +0000\r\n", "Date: rubbish\r\n", "Date: 1 Jan 1970 00:16:37 +0000\r\n"];
        // 998, 998, 997.
        assert_eq!(sort_headers(&headers, &[(false, SortKey::Date)]), [3, 1, 2]);
    }

    proptest! {
        #[test]
        fn the_octets_have_the_order_of_the_criteria(
            messages in proptest::collection::vec(("[a-bA-B\0\x01\u{e9}\u{ff}]{0,3}", "[aB\0]{0,2}", -3_i64..3), 0..12),
            reverses: [bool; 3],
        ) {
            let mut server = Server::new(10);
            messages.iter().for_each(|(.., seconds)| server.append(&FlagSet::new(), details(BodyHash::of(b""), 0, *seconds)));
            let reader = server.select(Mode::ReadOnly).reader();
            let keys = [SortKey::Subject, SortKey::Arrival, SortKey::From];
            let criteria: Vec<SortCriterion> = keys.into_iter().zip(reverses).map(|(key, reverse)| SortCriterion { reverse, key }).collect();
            let mut rows = Rows::default();
            for (seen, (subject, from, _)) in reader.all().zip(&messages) {
                rows.add(&seen, &Digest { base_subject: subject.as_str(), from: from.as_str(), ..Digest::default() }, &criteria);
            }
            let mut expected: Vec<u32> = (1..).take(messages.len()).collect();
            let [by_subject, by_arrival, by_from] = reverses.map(|reverse| move |order: Ordering| if reverse { order.reverse() } else { order });
            expected.sort_by(|one, other| {
                let (one, other) = (&messages[*one as usize - 1], &messages[*other as usize - 1]);
                by_subject(collation_key(&one.0).cmp(&collation_key(&other.0)))
                    .then(by_arrival(one.2.cmp(&other.2)))
                    .then(by_from(collation_key(&one.1).cmp(&collation_key(&other.1))))
            });
            prop_assert_eq!(rows.sorted().into_iter().map(Uid::get).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_damaged_message_is_in_the_order_too() {
        let (journal, mut server) = (Arc::new(MemoryJournal::new()), Server::new(10));
        server.append(&FlagSet::new(), stored(&journal, b"Subject: x\r\n\r\n"));
        server.append(&FlagSet::new(), details(BodyHash::of(b"lost"), 4, 0));
        assert_eq!(sort_server(&mut server, journal, &[(false, SortKey::Subject)]), [2, 1]);
    }
}
