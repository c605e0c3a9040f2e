//! The front of a summary: what lists, sorts and searches ask of every message. It is short and can be read without copying anything,
//! and it holds the fields that clients ask for, so that none of them reads the body.

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::header::{FieldFilter, fields, filter_fields};

/// The fields that clients and searches ask for, in small letters and ascending. What a message's prefix may hold is not among them, so
/// that an excerpt is the same with the prefix and without it.
const COMMON: [&str; 26] = [
    "bcc",
    "cc",
    "content-description",
    "content-type",
    "date",
    "disposition-notification-to",
    "followup-to",
    "from",
    "importance",
    "in-reply-to",
    "keywords",
    "list-id",
    "list-post",
    "list-unsubscribe",
    "message-id",
    "newsgroups",
    "priority",
    "references",
    "reply-to",
    "sender",
    "subject",
    "to",
    "x-keywords",
    "x-label",
    "x-priority",
    "x-spam-flag",
];
/// The most octets of common fields that are kept of a message.
const MOST_OCTETS: usize = 4096;
/// The most names of other fields that are kept, and the most such names that one filter is compared with them.
const MOST_OTHERS: usize = 128;

/// What stands at the front of a summary. Borrowed from its encoding where it is only looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Glance<Text = String, Octets = Vec<u8>> {
    /// The length of the message's header, its blank line included.
    pub header_length: u64,
    /// Fields of the header; `None` where they are too many or too long.
    pub excerpt: Option<Excerpt<Octets>>,
    /// What SORT, THREAD and SEARCH SENT... ask.
    pub digest: Digest<Text>,
}

/// A part of a header that is known to be all that some names mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excerpt<Octets = Vec<u8>> {
    /// The common fields as they stand, then the blank line where the header has one: a header of its own.
    pub fields: Octets,
    /// Two octets of a hash for the name of each other field.
    others: Octets,
}

impl Excerpt {
    /// The excerpt of a header.
    pub(super) fn of(header: &[u8]) -> Option<Self> {
        let mut others: Vec<[u8; 2]> = Vec::new();
        for field in fields(header).filter(|field| !is_common(field.name)) {
            let mark = mark(field.name);
            if !others.contains(&mark) {
                others.push(mark);
            }
            if others.len() > MOST_OTHERS {
                return None;
            }
        }
        let fields = filter_fields(header, &COMMON.map(str::to_owned), false);
        (fields.len() <= MOST_OCTETS).then(|| Self { fields, others: others.concat() })
    }
}

impl Excerpt<&[u8]> {
    /// Whether the filter finds in the excerpt what it finds in the whole header: each of its names is a common one or none of the header's.
    pub fn is_enough_for(&self, filter: &FieldFilter) -> bool {
        let is_other = |name: &Vec<u8>| self.others.chunks_exact(2).any(|other| other == mark(name));
        filter.uncommon().is_some_and(|names| !names.iter().any(is_other))
    }
}

impl FieldFilter {
    /// Its names that are not common; `None` where no excerpt can do.
    fn uncommon(&self) -> Option<&[Vec<u8>]> {
        Some(self.uncommon.as_slice()).filter(|names| !self.except && names.len() <= MOST_OTHERS)
    }
}

/// Whether excerpts hold the fields of this name.
pub(super) fn is_common(name: &[u8]) -> bool {
    let order = |common: &&str| common.bytes().cmp(name.iter().map(u8::to_ascii_lowercase));
    COMMON.binary_search_by(order).is_ok()
}

/// FNV-1a over the name in small letters, folded. It is kept on disk.
fn mark(name: &[u8]) -> [u8; 2] {
    let step = |hash: u32, byte: &u8| (hash ^ u32::from(byte.to_ascii_lowercase())).wrapping_mul(16_777_619);
    let [a, b, c, d] = name.iter().fold(2_166_136_261, step).to_le_bytes();
    [a ^ c, b ^ d]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mime::header_length;

    fn excerpt(header: &[u8]) -> Option<Excerpt> {
        Excerpt::of(header)
    }

    fn view(excerpt: &Excerpt) -> Excerpt<&[u8]> {
        Excerpt { fields: &excerpt.fields, others: &excerpt.others }
    }

    fn filter(names: &[&str], except: bool) -> FieldFilter {
        FieldFilter::new(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(), except)
    }

    #[test]
    fn common_names_are_in_order_and_in_small_letters() {
        assert!(COMMON.is_sorted() && COMMON.iter().all(|name| name.to_ascii_lowercase() == *name));
        assert!(
            is_common(b"SUBJECT") && is_common(b"bcc") && is_common(b"X-Spam-Flag") && !is_common(b"") && !is_common(b"received")
        );
    }

    #[test]
    fn an_excerpt_knows_what_it_does_not_hold() {
        let excerpt = excerpt(b"Received: x\r\nSubject: s\r\n t\r\nX-A: b\r\nno field\r\nTO: a@b\r\n\r\n").unwrap();
        let excerpt = view(&excerpt);
        assert_eq!(excerpt.fields, b"Subject: s\r\n t\r\nTO: a@b\r\n\r\n");
        for (names, is_enough) in [
            (&["subject", "To"][..], true),
            (&["Cc"], true),
            (&["X-Not-There", "subject"], true),
            (&["x-a"], false),
            (&["subject", "RECEIVED"], false),
            (&[""], false),
            (&[], true),
        ] {
            assert_eq!(excerpt.is_enough_for(&filter(names, false)), is_enough, "{names:?}");
            assert!(!excerpt.is_enough_for(&filter(names, true)));
        }
        let many: Vec<String> = (0..=MOST_OTHERS).map(|number| format!("n{number}")).collect();
        assert!(!excerpt.is_enough_for(&FieldFilter::new(&many, false)));
    }

    #[test]
    fn a_header_that_is_too_long_has_none() {
        let long = |octets: usize| format!("Subject: {}\r\n\r\n", "x".repeat(octets - "Subject: \r\n\r\n".len())).into_bytes();
        assert!(excerpt(&long(MOST_OCTETS)).is_some() && excerpt(&long(MOST_OCTETS + 1)).is_none());
        let many = |count: usize| (0..count).map(|number| format!("X-{number}: y\r\n")).collect::<String>();
        assert!(excerpt(many(MOST_OTHERS / 2).as_bytes()).is_some() && excerpt(many(10 * MOST_OTHERS).as_bytes()).is_none());
        assert!(excerpt(format!("X-Long: {}\r\nSubject: x\r\n\r\n", "y".repeat(100_000)).as_bytes()).is_some());
    }

    proptest! {
        #[test]
        fn where_it_is_enough_it_gives_the_same(
            header in "((Subject|to|X-A|x-b|Received|List-Id| |:|\t)?(: | :|)(a|b|\r| )?(\r\n|\n|\r\n )){0,9}(\r\n|\n)?",
            names in proptest::collection::vec("Subject|TO|x-a|X-B|received|list-id|x-c|", 0..4),
        ) {
            let header = &header.as_bytes()[..header_length(header.as_bytes())];
            let (excerpt, filter) = (excerpt(header).unwrap(), FieldFilter::new(&names, false));
            if view(&excerpt).is_enough_for(&filter) {
                prop_assert_eq!(filter.apply(&excerpt.fields), filter.apply(header));
            }
        }
    }
}
