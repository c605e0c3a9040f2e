//! Any message has a structure whose octets lie in the message, and everything that reads it comes to an end.
#![no_main]

use bytes::Bytes;
use carillon_protocol::command::{Partial, Section, SectionText};
use carillon_protocol::mime::{
    BodyPart, Needle, PartContent, Window, base_subject, body_range, decode_part, field_text, fields, folded, header_length,
    message_ids, section_bytes, sent_date, slice, summarise, texts, without_nul,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u32, &[u8])| {
    let (seed, bytes) = input;
    let summary = summarise(bytes);
    let structure = &summary.structure;
    assert!(header_length(bytes) <= bytes.len());
    check(structure, bytes, 0);
    let message = Bytes::copy_from_slice(bytes);
    let part: Vec<u32> = (0..seed % 4).map(|level| (seed >> (4 + 4 * level)) % 8).collect();
    let partial = (seed % 3 == 0).then(|| Partial { first: seed, count: seed >> 8 });
    let names = vec!["subject".to_owned(), "to".to_owned()];
    let sections = [
        None,
        Some(SectionText::Mime),
        Some(SectionText::Header),
        Some(SectionText::Text),
        Some(SectionText::HeaderFields(names.clone())),
        Some(SectionText::HeaderFieldsNot(names)),
    ];
    for text in sections {
        let found = section_bytes(&message, structure, &Section { part: part.clone(), text }, partial);
        assert!(found.is_none_or(|found| found.len() <= bytes.len() + 2));
    }
    let mut decoded = 0;
    for text in texts(structure) {
        let text = text.read(bytes);
        decoded += text.len();
        // Window by window as much is found as in the whole.
        let end = text.char_indices().rev().nth(5).and_then(|(place, _)| text.get(place..)).unwrap_or_default();
        let (needle, mut window, mut is_found) = (Needle::new(end), Window::default(), false);
        while {
            let is_more = window.advance(&text, needle.length());
            is_found |= needle.is_in(&window);
            is_more
        } {}
        assert_eq!(is_found, folded(&text).contains(&*folded(end)));
    }
    // Each octet is decoded once, as a part's or as a header's, and no charset makes more than some characters of one octet.
    assert!(decoded <= 64 * bytes.len() + 4096, "{decoded} octets of text out of {}", bytes.len());
    for field in fields(bytes) {
        let value = field.unfolded();
        let _ = field_text(&field);
        let _ = (sent_date(&value), message_ids(&value).count());
        base_subject(&String::from_utf8_lossy(&value));
    }
    if let Some(clean) = without_nul(bytes) {
        assert!(!clean.contains(&0));
    }
});

/// Ranges are ordered and inside what holds them; counts fit. Recursion is bounded by the structure's own bound, which this would find missing.
fn check(part: &BodyPart, bytes: &[u8], depth: usize) {
    assert!(depth < 1000, "a structure without bound");
    assert!(
        part.header_start <= part.body_start && part.body_start <= part.body_end && part.body_end <= bytes.len() as u64,
        "{part:?}"
    );
    let message = Bytes::copy_from_slice(if depth == 0 { bytes } else { &[] });
    if depth == 0 {
        assert_eq!(slice(&message, &body_range(part)).len() as u64, part.body_end - part.body_start);
        let _ = decode_part(bytes, &part.encoding);
    }
    match &part.content {
        PartContent::Single => {}
        PartContent::Multipart(parts) => {
            assert!(!parts.is_empty());
            let mut from = part.body_start;
            for inner in parts {
                assert!(inner.header_start >= from && inner.body_end <= part.body_end, "parts overlap");
                from = inner.body_end;
                check(inner, bytes, depth + 1);
            }
        }
        PartContent::Message(_, inner) => {
            assert!(inner.header_start >= part.body_start && inner.body_end <= part.body_end);
            check(inner, bytes, depth + 1);
        }
    }
}
