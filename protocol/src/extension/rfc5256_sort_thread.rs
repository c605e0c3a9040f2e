//! SORT and THREAD (RFC 5256).

use nom::Parser;

use crate::command::{Command, SortCriterion, SortKey, ThreadAlgorithm};
use crate::grammar::Parsed;
use crate::grammar::primitive::{expected, fail, parenthesised1, sp, word};
use crate::grammar::search::{charset, keys};
use crate::set::Numbering;

/// The most criteria; there are seven keys.
pub(crate) const MAX_CRITERIA: usize = 32;

/// ```text
/// sort = "SORT" SP "(" sort-criterion *(SP sort-criterion) ")" SP charset 1*(SP search-key)
/// ```
pub(crate) fn sort(input: &[u8], numbering: Numbering) -> Parsed<'_, Command> {
    let (start, ()) = sp(input)?;
    let (rest, criteria) = parenthesised1(criterion).parse(start)?;
    if criteria.len() > MAX_CRITERIA {
        return fail(start, "fewer sort criteria");
    }
    let (rest, ()) = sp(rest)?;
    let (rest, (charset, texts)) = charset(rest)?;
    let (rest, key) = keys(rest, &texts)?;
    Ok((rest, Command::Sort { numbering, criteria, charset, key }))
}

/// ```text
/// sort-criterion = ["REVERSE" SP] sort-key
/// sort-key = "ARRIVAL" / "CC" / "DATE" / "FROM" / "SIZE" / "SUBJECT" / "TO"
/// ```
fn criterion(input: &[u8]) -> Parsed<'_, SortCriterion> {
    const WHAT: &str = "ARRIVAL, CC, DATE, FROM, SIZE, SUBJECT or TO, with or without REVERSE";
    let (mut rest, mut name) = expected(WHAT, word).parse(input)?;
    let reverse = name.eq_ignore_ascii_case("REVERSE");
    if reverse {
        let (behind, ()) = sp(rest)?;
        (rest, name) = expected(WHAT, word).parse(behind)?;
    }
    let key = match name.to_ascii_uppercase().as_str() {
        "ARRIVAL" => SortKey::Arrival,
        "CC" => SortKey::Cc,
        "DATE" => SortKey::Date,
        "FROM" => SortKey::From,
        "SIZE" => SortKey::Size,
        "SUBJECT" => SortKey::Subject,
        "TO" => SortKey::To,
        _ => return fail(input, WHAT),
    };
    Ok((rest, SortCriterion { reverse, key }))
}

/// ```text
/// thread     = "THREAD" SP thread-alg SP charset 1*(SP search-key)
/// thread-alg = "ORDEREDSUBJECT" / "REFERENCES"
/// ```
pub(crate) fn thread(input: &[u8], numbering: Numbering) -> Parsed<'_, Command> {
    const WHAT: &str = "ORDEREDSUBJECT or REFERENCES";
    let (start, ()) = sp(input)?;
    let (rest, name) = expected(WHAT, word).parse(start)?;
    let algorithm = match name.to_ascii_uppercase().as_str() {
        "ORDEREDSUBJECT" => ThreadAlgorithm::OrderedSubject,
        "REFERENCES" => ThreadAlgorithm::References,
        _ => return fail(start, WHAT),
    };
    let (rest, ()) = sp(rest)?;
    let (rest, (charset, texts)) = charset(rest)?;
    let (rest, key) = keys(rest, &texts)?;
    Ok((rest, Command::Thread { numbering, algorithm, charset, key }))
}
