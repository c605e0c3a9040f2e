//! SORT (RFC 5256 §2.2, §3): the messages that SEARCH found, in order.

use std::cmp::Ordering;

use carillon_protocol::command::{SortCriterion, SortKey};
use carillon_protocol::mime::Digest;
use carillon_protocol::number::Uid;
use carillon_protocol::set::UidSet;
use unicode_normalization::UnicodeNormalization;

use super::message::Source;
use super::reader::{Reader, Seen};
use crate::refusal::Fault;

/// `uids` in the order of the criteria; messages that are equal in all of them by message number. A damaged message counts as one without header.
///
/// # Errors
/// The journal cannot be read at all.
pub fn sort(reader: &Reader, uids: &UidSet, criteria: &[SortCriterion], source: &Source) -> Result<Vec<Uid>, Fault> {
    let criteria = effective(criteria);
    let reads_digest = criteria.iter().any(|criterion| !matches!(criterion.key, SortKey::Arrival | SortKey::Size));
    let mut rows = Vec::new();
    for seen in reader.messages(uids).filter(|seen| !seen.ghost) {
        let digest = if reads_digest { source.digest(seen.details)? } else { Digest::default() };
        rows.push((criteria.iter().map(|criterion| value(&seen, &digest, criterion.key)).collect(), seen.uid));
    }
    Ok(sorted(rows, &criteria))
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

/// What one criterion compares. One criterion gives one kind.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Moment(i64),
    Size(u64),
    Text(String),
}

fn value(seen: &Seen<'_>, digest: &Digest, key: SortKey) -> Value {
    match key {
        SortKey::Arrival => Value::Moment(seen.details.internal_date.unix_seconds),
        SortKey::Date => Value::Moment(sent(seen, digest)),
        SortKey::Size => Value::Size(seen.details.size),
        SortKey::Cc => Value::Text(collation_key(&digest.cc)),
        SortKey::From => Value::Text(collation_key(&digest.from)),
        SortKey::To => Value::Text(collation_key(&digest.to)),
        SortKey::Subject => Value::Text(collation_key(&digest.base_subject)),
    }
}

/// The sent date in seconds since 1970, UTC; INTERNALDATE where there is none (RFC 5256 §2.2).
pub(super) fn sent(seen: &Seen<'_>, digest: &Digest) -> i64 {
    digest.sent.unwrap_or(seen.details.internal_date).unix_seconds
}

/// A text such that octet order is the order of i;unicode-casemap (RFC 5051 §2): capitals, decomposed. So `_` comes after the letters.
pub(super) fn collation_key(text: &str) -> String {
    if text.is_ascii() { text.to_ascii_uppercase() } else { text.chars().flat_map(char::to_uppercase).nfkd().collect() }
}

/// Rows come in the order of their numbers, and the sort keeps it where values are equal, with REVERSE too.
fn sorted(mut rows: Vec<(Vec<Value>, Uid)>, criteria: &[SortCriterion]) -> Vec<Uid> {
    rows.sort_by(|(one, _), (other, _)| {
        let orders = criteria.iter().zip(one.iter().zip(other)).map(|(criterion, (one, other))| {
            let order = one.cmp(other);
            if criterion.reverse { order.reverse() } else { order }
        });
        orders.fold(Ordering::Equal, Ordering::then)
    });
    rows.into_iter().map(|(_, uid)| uid).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use carillon_protocol::date::InternalDate;
    use carillon_protocol::flag::FlagSet;
    use carillon_storage::{BodyHash, MemoryJournal};

    use super::*;
    use crate::mailbox::event::Details;
    use crate::session::testing::{Server, details, stored};
    use crate::session::view::Mode;

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
        let reader = server.select(Mode::ReadOnly).reader();
        let all = UidSet::from_range(Uid::MIN, Uid::MAX);
        sort(&reader, &all, &criteria, &Source::new(journal)).unwrap().into_iter().map(Uid::get).collect()
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

    #[test]
    fn a_damaged_message_is_in_the_order_too() {
        let (journal, mut server) = (Arc::new(MemoryJournal::new()), Server::new(10));
        server.append(&FlagSet::new(), stored(&journal, b"Subject: x\r\n\r\n"));
        server.append(&FlagSet::new(), details(BodyHash::of(b"lost"), 4, 0));
        assert_eq!(sort_server(&mut server, journal, &[(false, SortKey::Subject)]), [2, 1]);
    }
}
