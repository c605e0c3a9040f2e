use carillon_protocol::date::InternalDate;
use carillon_protocol::flag::FlagSet;
use carillon_storage::{MemoryJournal, ReadError};
use proptest::prelude::*;

use super::*;
use crate::arrival::{Arrival, Content as ArrivalContent, prepare};
use crate::mailbox::event::Origin;
use crate::session::testing::{details, stored};

const PREFIX: &str = "Return-Path: <a@b>\r\nDelivered-To: c@d\r\nReceived: by x\r\n  for c@d\r\n";

fn with_prefix(journal: &MemoryJournal, prefix: &str, body: &[u8]) -> Details {
    let plain = stored(journal, body);
    let prefix = Some(prefix.as_bytes()).filter(|prefix| !prefix.is_empty());
    let size = plain.size + prefix.map_or(0, |prefix| prefix.len() as u64);
    Details { prefix: prefix.map(Arc::from), size, ..(*plain).clone() }
}

fn check_glance(glimpse: &Glimpse, message: &[u8], expected: &Summary) {
    let (glance, expected) = (glimpse.read(), &expected.glance);
    assert_eq!((glance.header_length, glimpse.header_length()), (expected.header_length, expected.header_length));
    assert_eq!((glance.digest.base_subject, glance.digest.sent), (expected.digest.base_subject.as_str(), expected.digest.sent));
    assert_eq!(glance.digest.references, expected.digest.references);
    assert_eq!(glance.excerpt, glimpse.front().1);
    let header = &message[..usize::try_from(expected.header_length).unwrap()];
    for names in [&["Subject"][..], &["Received"], &["RETURN-PATH", "to"], &["From", "Content-Type"], &["X"], &[""]] {
        let filter = FieldFilter::new(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(), false);
        if let Some(excerpt) = glimpse.header_for(&filter) {
            assert_eq!(filter.apply(excerpt), filter.apply(header), "{names:?} in {:?}", String::from_utf8_lossy(message));
        }
    }
    assert!(glimpse.header_for(&FieldFilter::new(&["subject".to_owned()], false)).is_some());
}

/// Twice: computed, and from the cache.
fn check(prefix: &str, body: &[u8]) {
    let journal = Arc::new(MemoryJournal::new());
    let details = with_prefix(&journal, prefix, body);
    let source = Source::new(journal.clone(), 1 << 20);
    let message = [prefix.as_bytes(), body].concat();
    let expected = summarise(&message);
    for _ in 0..2 {
        let Content { envelope, structure } = source.content(&details).unwrap();
        assert_eq!((&envelope, &structure), (&expected.envelope, &expected.structure), "{:?}", String::from_utf8_lossy(&message));
        check_glance(&source.glance(&details).unwrap(), &message, &expected);
    }
    // Anew, from what the journal keeps; and computed where it keeps nothing.
    let name = name(&details);
    journal.put_cache(vec![(cache_key(&name.hash), source.kept(&name).unwrap())]).unwrap();
    check_glance(&Source::new(journal.clone(), 0).glance(&details).unwrap(), &message, &expected);
    journal.put_cache(vec![(cache_key(&name.hash), Bytes::new())]).unwrap();
    check_glance(&Source::new(journal, 0).glance(&details).unwrap(), &message, &expected);
    assert_eq!(source.bytes(&details).unwrap(), message);
    let header_length = usize::try_from(expected.glance.header_length).unwrap();
    assert_eq!(source.header(&details).unwrap(), message[..header_length]);
    for start in [0, 1, prefix.len() - prefix.len().min(1), prefix.len(), message.len(), message.len() + 5] {
        for end in [start, start + 1, prefix.len(), prefix.len() + 3, message.len(), message.len() + 7] {
            let (from, to) = (start.min(message.len()), end.min(message.len()));
            let expected = message.get(from..to).unwrap_or_default();
            assert_eq!(source.range(&details, start as u64..end as u64).unwrap(), expected, "{start}..{end}");
        }
    }
}

/// A sender decides how long a field is, not how much of it is kept.
#[test]
fn what_is_kept_of_a_message_is_bounded() {
    let long = "x\u{1fb7} ".repeat(1 << 17);
    let addresses = "\"A name\" <a@b.example>,\r\n ".repeat(5_000);
    let ids = "<some-id@example.org>\r\n ".repeat(5_000);
    for (field, value) in [
        ("Subject", &long),
        ("From", &long),
        ("Message-ID", &long),
        ("References", &ids),
        ("In-Reply-To", &ids),
        ("Content-Description", &long),
        ("Content-Type", &format!("text/plain; name=\"{long}\"")),
        ("Date", &long),
        ("X-Any", &long),
        ("Cc", &addresses),
    ] {
        let message = format!("{field}: {value}x\r\nTo: a@b\r\n\r\nbody\r\n");
        let journal = Arc::new(MemoryJournal::new());
        let source = Source::new(journal.clone(), 1 << 20);
        let (_, entry) = source.summarise_arrival(&BodyHash::of(message.as_bytes()), message.as_bytes());
        journal.put_cache(entry.into_iter().collect()).unwrap();
        let kept = || journal.cache(&cache_key(&BodyHash::of(message.as_bytes()))).unwrap().unwrap();
        let before = kept();
        assert!(before.len() <= LONGEST_CACHED, "{field}: {}", before.len());
        assert!(front_of(&before).unwrap().len() <= 20_000, "{field}");
        let (details, expected) = (with_prefix(&journal, "", message.as_bytes()), summarise(message.as_bytes()));
        for source in [source, Source::new(journal.clone(), 0)] {
            let Content { envelope, structure } = source.content(&details).unwrap();
            assert!(envelope == expected.envelope && structure == expected.structure, "{field} is given as it is");
            assert_eq!(source.glance(&details).unwrap().header_length(), expected.glance.header_length);
        }
        assert_eq!(kept(), before, "it is not put again");
    }
}

#[test]
fn a_message_is_prefix_and_body() {
    let nested = b"Subject: s\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n\
        Content-Type: message/rfc822\r\n\r\nSubject: t\r\n\r\ntext\r\n--b--\r\n";
    let bodies: [&[u8]; 8] = [
        nested,
        b"Subject: x\r\n\r\nbody",
        b" continued\r\nSubject: x\r\n\r\nbody",
        b"\tcontinued",
        b"\r\nbody",
        b"no header",
        b"",
        b"From x\r\n",
    ];
    for prefix in ["", PREFIX, "From: me@x\r\n", "Received: without line end", "Received: a\r\n\r\nwith blank line\r\n", "X: a\n"]
    {
        bodies.iter().for_each(|body| check(prefix, body));
    }
}

#[test]
fn a_cache_that_is_no_summary_is_computed_again() {
    let journal = Arc::new(MemoryJournal::new());
    let details = stored(&journal, b"Subject: x\r\n\r\nbody");
    journal.put_cache(vec![(cache_key(&details.body), Bytes::from_static(b"rubbish"))]).unwrap();
    let source = Source::new(journal.clone(), 1 << 20);
    assert_eq!(
        (source.content(&details).unwrap().structure.body_start, source.glance(&details).unwrap().header_length()),
        (14, 14)
    );
    assert!(source.kept(&name(&details)).is_some_and(|kept| kept != "rubbish"));
}

#[test]
fn the_summary_of_an_arrival_is_kept() {
    let (journal, body) = (Arc::new(MemoryJournal::new()), b"Subject: x\r\n\r\nbody");
    let (name, source) = (BodyHash::of(body), Source::new(journal.clone(), 1 << 20));
    let (summary, entry) = source.summarise_arrival(&name, body);
    assert_eq!(summary.glance.header_length, 14);
    assert_eq!(entry.map(|(key, _)| key), Some(cache_key(&name)));
    // The body is not there yet, so this comes from memory.
    let details = details(name, body.len() as u64, 0);
    assert_eq!(source.glance(&details).unwrap().read().digest.base_subject, "x");
    assert!(source.content(&details).is_err());
}

#[test]
fn what_comes_in_brings_its_summary_along() {
    let journal = Arc::new(MemoryJournal::new());
    let source = Source::new(journal, 0);
    let arrival = Arrival {
        content: ArrivalContent::Memory(b"Subject: x\r\n\r\nbody".to_vec()),
        prefix: None,
        has_nul: false,
        internal_date: InternalDate { unix_seconds: 0, offset_minutes: 0 },
        save_date: 0,
        flags: FlagSet::new(),
        origin: Origin::Append,
    };
    let body = prepare(&source, arrival).unwrap().body.unwrap();
    let (key, value) = body.beside.unwrap();
    assert_eq!(key, cache_key(&body.hash));
    assert!(matches!(behind_front(&value), Rest::Content(_)));
}

#[test]
fn summaries_that_were_computed_again_are_put_together() {
    let journal = Arc::new(MemoryJournal::new());
    let source = Source::new(journal.clone(), 0);
    let messages: Vec<_> = (0..100).map(|number| stored(&journal, format!("Subject: {number}\r\n\r\n").as_bytes())).collect();
    for details in &messages {
        assert!(source.content(details).is_ok());
        assert!(source.kept(&name(details)).is_some());
    }
    assert!(messages.iter().take(50).all(|details| journal.cache(&cache_key(&details.body)).unwrap().is_some()));
}

#[test]
fn what_is_missing_or_short_is_damage() {
    let journal = Arc::new(MemoryJournal::new());
    let short = Details { size: 99, ..(*stored(&journal, b"body")).clone() };
    let missing = details(BodyHash::of(b"nowhere"), 7, 0);
    let source = Source::new(journal, 1 << 20);
    for details in [&short, &*missing] {
        assert!(matches!(source.bytes(details), Err(Fault::Damaged(_))));
        assert!(matches!(source.range(details, 0..6), Err(Fault::Damaged(_))));
    }
    assert!(matches!(source.content(&missing), Err(Fault::Damaged(_))));
    assert_eq!(Fault::from(ReadError::Failed("io".to_owned())), Fault::Unavailable("io".to_owned()));
}

proptest! {
    #[test]
    fn a_harmless_prefix_only_moves_the_summary(body in "( |\t|\r\n|\n|Subject|From|Content-Type|: |text|multipart/mixed; boundary=b|message/rfc822|--b|--){0,20}") {
        check(PREFIX, body.as_bytes());
    }
}
