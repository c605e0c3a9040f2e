//! What SORT, THREAD and the SENT keys of SEARCH ask of a message (RFC 5256), small enough to be kept for every message.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::header::fields;
use super::needle::folded;
use super::search::decoded;
use super::subject::base_subject;
use super::{Address, Envelope};
use crate::date::InternalDate;

/// The longest message id that is kept, in octets; a longer one counts as none: no line of a message has more than 998 (RFC 5322 §2.1.1), and an id stands
/// in one, between angle brackets.
const LONGEST_ID: usize = 996;
/// The most References that are kept beside the oldest: the nearest say where a message belongs, and THREAD holds those of all messages in memory.
const MOST_REFERENCES: usize = 100;
/// The most octets of them: ids of the usual length all fit, and a mailbox of such messages stays readable from memory.
const MOST_REFERENCE_OCTETS: usize = 8 << 10;
/// The longest text that is compared, in octets: longer than a line may be is nobody's name or subject.
const LONGEST_TEXT: usize = 998;
/// The octets of a field that such a text is taken from: encoded words may be ten times as long as what they say.
const MOST_OF_FIELD: usize = 16 << 10;

/// The sort and thread keys of a message. Texts are decoded and folded ([`folded`]), so that they compare as they stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest<Text = String> {
    /// The Date field; `None` where it is missing or no date: then INTERNALDATE counts (RFC 5256 §2.2).
    pub sent: Option<InternalDate>,
    /// The base subject, folded.
    pub base_subject: Text,
    /// Whether the subject marks a reply or a forward (RFC 5256 §3, REFERENCES step 5).
    pub is_reply: bool,
    /// The mailbox (local part) of the first From address, folded; empty where there is none.
    pub from: Text,
    /// The same of To.
    pub to: Text,
    /// The same of Cc.
    pub cc: Text,
    /// The normalised message id.
    pub message_id: Option<Text>,
    /// The ancestors from the oldest to the parent: References, or the first id of In-Reply-To (RFC 5256 §3, REFERENCES step 1). Of very many the oldest,
    /// which names the thread, and the nearest.
    pub references: Vec<Text>,
}

impl Digest {
    /// The digest of a message with this header.
    pub(super) fn of(header: &[u8], envelope: &Envelope) -> Self {
        let subject = base_subject(&decoded(front(envelope.subject.as_deref())));
        let mut ancestors = Ancestors::default();
        for field in fields(header).filter(|field| field.is("References")) {
            message_ids(field.value).for_each(|id| ancestors.add(id));
        }
        if ancestors.oldest.is_none() {
            ancestors.oldest = message_ids(envelope.in_reply_to.as_deref().unwrap_or_default()).next();
        }
        let message_id = message_ids(envelope.message_id.as_deref().unwrap_or_default()).next();
        Self {
            sent: sent_date(envelope.date.as_deref().unwrap_or_default()),
            base_subject: compared(&subject.text),
            is_reply: subject.is_reply,
            from: first_mailbox(&envelope.from),
            to: first_mailbox(&envelope.to),
            cc: first_mailbox(&envelope.cc),
            message_id,
            references: ancestors.oldest.into_iter().chain(ancestors.nearest).collect(),
        }
    }
}

/// Ancestors as they are read, the oldest first.
#[derive(Default)]
struct Ancestors {
    oldest: Option<String>,
    nearest: VecDeque<String>,
    nearest_octets: usize,
}

impl Ancestors {
    fn add(&mut self, id: String) {
        if self.oldest.is_none() {
            self.oldest = Some(id);
            return;
        }
        self.nearest_octets += id.len();
        self.nearest.push_back(id);
        while self.nearest_octets > MOST_REFERENCE_OCTETS || self.nearest.len() > MOST_REFERENCES {
            self.nearest_octets -= self.nearest.pop_front().map_or(self.nearest_octets, |id| id.len());
        }
    }
}

fn first_mailbox(addresses: &[Address]) -> String {
    // A group's name counts as its mailbox, as ENVELOPE shows it.
    compared(&decoded(front(addresses.first().and_then(|address| address.mailbox.as_deref()))))
}

fn front(value: Option<&[u8]>) -> &[u8] {
    let value = value.unwrap_or_default();
    value.get(..MOST_OF_FIELD).unwrap_or(value)
}

/// A text as it is compared.
fn compared(text: &str) -> String {
    let mut text = folded(text).into_owned();
    text.truncate(text.floor_char_boundary(LONGEST_TEXT));
    text
}

/// The moment in a Date field with its zone; an unknown or missing zone reads as UTC.
pub fn sent_date(value: &[u8]) -> Option<InternalDate> {
    // A date is some 40 octets; comments may make it longer.
    const LONGEST: usize = 1000;
    let text = in_order(&String::from_utf8_lossy(value.get(..LONGEST).unwrap_or(value)));
    // The parser ends at a line end, and wants a zone.
    let parse = |zone| mail_parser::DateTime::parse_rfc822(&format!("{text}{zone}\n"));
    let date = parse("").or_else(|| parse(" +0000"))?;
    let is_day = (1..=12).contains(&date.month) && (1..=31).contains(&date.day) && (1900..=9999).contains(&date.year);
    if !is_day {
        return None;
    }
    // An impossible time of day reads as 00:00:00 (RFC 5256 §2.2); a leap second is none.
    let is_time = date.hour <= 23 && date.minute <= 59 && date.second <= 60;
    let date = if is_time { date } else { mail_parser::DateTime { hour: 0, minute: 0, second: 0, ..date } };
    let minutes = i16::from(date.tz_hour) * 60 + i16::from(date.tz_minute);
    let offset_minutes = if minutes > 5999 {
        0
    } else if date.tz_before_gmt {
        -minutes
    } else {
        minutes
    };
    Some(InternalDate { unix_seconds: date.to_timestamp_local() - i64::from(offset_minutes) * 60, offset_minutes })
}

/// The words of a date as the parser wants them: `Thu Dec 19 02:14:02 2002`, with or without a zone before the year, is C's order and would be read as
/// another day; behind a time without seconds it would miss the name of a zone.
fn in_order(text: &str) -> String {
    let mut words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    let is_year = |word: &String| word.len() == 4 && word.bytes().all(|byte| byte.is_ascii_digit());
    if let [_, month, day, time, rest @ ..] = words.as_slice()
        && month.bytes().all(|byte| byte.is_ascii_alphabetic())
        && day.bytes().all(|byte| byte.is_ascii_digit())
        && time.contains(':')
        && let Some(place) = rest.iter().position(is_year)
    {
        let others = rest.iter().enumerate().filter(|(other, _)| *other != place).map(|(_, word)| word);
        words = [day, month].into_iter().chain(rest.get(place)).chain([time]).chain(others).cloned().collect();
    }
    for word in &mut words {
        let is_time = |(hours, minutes): (&str, &str)| {
            [hours, minutes].iter().all(|part| (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit()))
        };
        if word.split_once(':').is_some_and(is_time) {
            word.push_str(":00");
        }
    }
    words.join(" ")
}

/// The message ids in a field's value, without angle brackets, blanks and needless quotes (RFC 5256 §3: `"a"@b` is `a@b`). Only `left@right` is one
/// (RFC 5322 §3.6.4): `In-Reply-To: <yes>`, which people type, would make one thread of strangers.
pub fn message_ids(value: &[u8]) -> impl Iterator<Item = String> {
    let mut rest = value;
    std::iter::from_fn(move || {
        loop {
            let start = memchr::memchr(b'<', rest)?;
            rest = rest.get(start + 1..)?;
            if let Some(id) = message_id(&mut rest) {
                return Some(id);
            }
        }
    })
}

/// One message id, its `<` taken; `None` where there is none, as at a second `<`, which is left.
fn message_id(rest: &mut &[u8]) -> Option<String> {
    let mut id = Vec::new();
    let mut bytes = rest.iter().enumerate();
    let mut in_quotes = false;
    while let Some((place, byte)) = bytes.next() {
        match byte {
            b'"' => in_quotes = !in_quotes,
            b'\\' if in_quotes => id.extend(bytes.next().map(|(_, escaped)| *escaped)),
            b'<' if !in_quotes => {
                *rest = rest.get(place..)?;
                return None;
            }
            b'>' if !in_quotes => {
                *rest = rest.get(place + 1..)?;
                let has_both_sides = id.contains(&b'@') && !id.starts_with(b"@") && !id.ends_with(b"@");
                let is_id = has_both_sides && id.len() <= LONGEST_ID;
                return is_id.then(|| String::from_utf8_lossy(&id).into_owned());
            }
            b' ' | b'\t' | b'\r' | b'\n' => {}
            byte => id.push(*byte),
        }
    }
    *rest = &[];
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(value: &str) -> Vec<String> {
        message_ids(value.as_bytes()).collect()
    }

    #[test]
    fn ids_are_normalised() {
        // The example of RFC 5256 §3.
        assert_eq!(ids("<\"01KF8JCEOCBS0045PS\"@xxx.yyy.com>"), ids("<01KF8JCEOCBS0045PS@xxx.yyy.com>"));
        assert_eq!(ids("<a@b> <c@\r\n d>(x)<e@f>"), ["a@b", "c@d", "e@f"]);
        assert_eq!(ids("your mail of <a <b@c> <> d"), ["b@c"]);
        assert_eq!(ids("<yes> <@> <a@> <@b> <> <no> <a@b@c> <a@@>"), ["a@b@c"]);
        assert_eq!(ids(&format!("<{}@b> <{}@b>", "a".repeat(LONGEST_ID - 2), "c".repeat(LONGEST_ID - 1))).len(), 1);
        assert_eq!(ids("<a@b"), Vec::<String>::new());
        assert_eq!(ids(&"<".repeat(100_000)).len(), 0);
        assert_eq!(ids(&"<\"".repeat(100_000)).len(), 0);
    }

    #[test]
    fn dates() {
        let seconds = |text: &str| sent_date(text.as_bytes()).map(|date| (date.unix_seconds, date.offset_minutes));
        assert_eq!(seconds("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)"), Some((837_595_405, -420)));
        assert_eq!(seconds("1 Jan 1970 01:00 +0100"), Some((0, 60)));
        assert_eq!(seconds("Wed, 3 May 2006 00:09:22"), Some((1_146_614_962, 0)));
        assert_eq!(seconds("Wed, 3 May 06 00:09:22 EST"), Some((1_146_632_962, -300)));
        assert_eq!(seconds("Thu Dec 19 02:14:02 2002"), Some((1_040_264_042, 0)));
        assert_eq!(seconds("Thu Dec  5 02:14:02 -0600 2002"), Some((1_039_076_042, -360)));
        assert_eq!(seconds("Wed, 20 Dec 95 19:59 CST"), Some((819_511_140, -360)));
        assert_eq!(seconds("no date"), None);
        assert_eq!(seconds(""), None);
        assert_eq!(seconds("Thu, 32 Jan 1970 00:00:00 +0000"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_date_panics(text in "((Mon|Jan|[0-9]{1,12}|[+-][0-9]{1,9}|GMT|PDT|[ ,:+()/-]|[ -~]) ?){0,9}", bytes: Vec<u8>) {
            sent_date(text.as_bytes());
            sent_date(&bytes);
        }
    }

    #[test]
    fn digests() {
        let header = b"From: \"A\" <Ann@x>\r\nTo: g: b@y;\r\nSubject: Re: [l] =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\
            Message-ID: <\"m\"@x>\r\nReferences: <1@x>\r\n <2@x>\r\nIn-Reply-To: <3@x>\r\n\r\n";
        let digest = crate::mime::summarise(header).glance.digest;
        assert_eq!((digest.from.as_str(), digest.to.as_str(), digest.cc.as_str()), ("ann", "g", ""));
        assert_eq!((digest.base_subject.as_str(), digest.is_reply), ("grüsse", true));
        assert_eq!(digest.message_id.as_deref(), Some("m@x"));
        assert_eq!(digest.references, ["1@x", "2@x"]);
        let digest = crate::mime::summarise(b"In-Reply-To: text <3@x> <4@x>\r\n\r\n").glance.digest;
        assert_eq!(digest.references, ["3@x"]);
    }

    /// What a sender makes long stays short here; of the ancestors the oldest stays, which names the thread.
    #[test]
    fn digests_are_bounded() {
        let ids = |count: u32| (0..count).map(|id| format!(" <{id}@example.org>\r\n")).collect::<String>();
        let long = "\u{1fb7}\u{3c2}".repeat(1 << 20);
        let header = format!("From: {long}\r\nTo: {long}\r\nCc: {long}\r\nSubject: {long}\r\nReferences:{}\r\n", ids(100_000));
        let digest = crate::mime::summarise(header.as_bytes()).glance.digest;
        for text in [&digest.from, &digest.to, &digest.cc, &digest.base_subject] {
            assert!((LONGEST_TEXT - 8..=LONGEST_TEXT).contains(&text.len()), "{}", text.len());
        }
        assert_eq!(digest.references.len(), 1 + MOST_REFERENCES);
        let nearest = (100_001 - digest.references.len()..100_000).map(|id| format!("{id}@example.org"));
        assert_eq!(digest.references, std::iter::once("0@example.org".to_owned()).chain(nearest).collect::<Vec<_>>());
        let long = (0..100).map(|id| format!(" <{id}@{}>\r\n", "x".repeat(900))).collect::<String>();
        let digest = crate::mime::summarise(format!("References:{long}\r\n").as_bytes()).glance.digest;
        assert_eq!(
            digest.references.iter().map(|id| id.split_once('@').unwrap().0).collect::<Vec<_>>(),
            ["0", "91", "92", "93", "94", "95", "96", "97", "98", "99"]
        );
    }
}
