//! The keys of a search as they are asked of each message: what its state says is looked up; what its bytes say is a list of questions, all of them
//! answered in one pass over the bytes, and the tree of keys is evaluated over the answers.

use carillon_protocol::command::{DateComparison, SearchKey};
use carillon_protocol::date::Day;
use carillon_protocol::flag::{Flag, FlagSet, SystemFlag};
use carillon_protocol::mime::{FieldFilter, Needle, TextKind};
use carillon_protocol::set::UidSet;

use super::super::reader::Seen;
use super::super::resolve::BadSequence;
use super::super::view::View;

/// A search whose sets and keywords mean what they mean in one view, texts ready to be looked for.
#[derive(Clone, Debug)]
pub struct Query {
    key: BoundKey,
    pub(super) questions: Vec<Question>,
    /// The questions about fields, by the field's name in small letters.
    by_field: Vec<(Vec<u8>, usize)>,
    /// One octet less than the longest text that is looked for.
    pub(super) overlap: usize,
}

#[derive(Clone, Debug)]
enum BoundKey {
    And(Vec<BoundKey>),
    Or(Box<BoundKey>, Box<BoundKey>),
    Not(Box<BoundKey>),
    Flag(SystemFlag),
    /// A keyword, as a bit; 0 for one that the mailbox does not know.
    Keyword(u64),
    /// Messages that this session holds as recent.
    Recent,
    Set(UidSet),
    Internal(DateComparison, Day),
    Larger(u64),
    Smaller(u64),
    /// The answer to the question with this number.
    Asked(usize),
}

/// What the bytes of a message are asked.
#[derive(Clone, Debug)]
pub(super) enum Question {
    /// The Date field's day.
    Sent(DateComparison, Day),
    /// A text in a field of this name.
    Header(FieldFilter, Needle),
    /// A text in the body.
    Body(Needle),
    /// A text anywhere: as it is looked for in headers and in bodies.
    Text(Needle, Needle),
}

/// What is known of each question; `None` as long as it was not asked to the end.
pub(super) type Answers = Vec<Option<bool>>;

impl Query {
    /// Resolves the sets of a key as this client counts messages now. A number beyond the last message matches nothing.
    ///
    /// # Errors
    /// A lone 0.
    pub fn bind(key: &SearchKey, view: &View) -> Result<Self, BadSequence> {
        let mut query = Self { key: BoundKey::And(Vec::new()), questions: Vec::new(), by_field: Vec::new(), overlap: 0 };
        query.key = query.bound(key, view)?;
        query.by_field.sort_unstable();
        Ok(query)
    }

    fn bound(&mut self, key: &SearchKey, view: &View) -> Result<BoundKey, BadSequence> {
        Ok(match key {
            SearchKey::And(keys) => all_of(keys.iter().map(|key| self.bound(key, view)).collect::<Result<_, _>>()?),
            SearchKey::Or(one, other) => BoundKey::Or(Box::new(self.bound(one, view)?), Box::new(self.bound(other, view)?)),
            SearchKey::Not(key) => BoundKey::Not(Box::new(self.bound(key, view)?)),
            SearchKey::All => BoundKey::And(Vec::new()),
            SearchKey::Flag(flag) => BoundKey::Flag(*flag),
            SearchKey::Keyword(keyword) => {
                let flags: FlagSet = std::iter::once(Flag::Keyword(keyword.clone())).collect();
                BoundKey::Keyword(view.snapshot().flags(&flags).keyword_bits())
            }
            SearchKey::Recent => BoundKey::Recent,
            SearchKey::Set(numbering, set) => BoundKey::Set(view.resolve_key(set, *numbering)?),
            SearchKey::Internal(comparison, day) => BoundKey::Internal(*comparison, *day),
            SearchKey::Larger(size) => BoundKey::Larger(*size),
            SearchKey::Smaller(size) => BoundKey::Smaller(*size),
            SearchKey::Sent(comparison, day) => self.ask(Question::Sent(*comparison, *day)),
            SearchKey::Header(name, text) => {
                self.by_field.push((name.to_ascii_lowercase().into_bytes(), self.questions.len()));
                let filter = FieldFilter::new(std::slice::from_ref(name), false);
                self.ask(Question::Header(filter, Needle::in_header(text)))
            }
            SearchKey::Body(text) => self.ask(Question::Body(Needle::new(text))),
            SearchKey::Text(text) => self.ask(Question::Text(Needle::in_header(text), Needle::new(text))),
        })
    }

    fn ask(&mut self, question: Question) -> BoundKey {
        let needles = match &question {
            Question::Sent(..) => [None, None],
            Question::Header(_, needle) | Question::Body(needle) => [Some(needle), None],
            Question::Text(in_header, in_body) => [Some(in_header), Some(in_body)],
        };
        let longest = needles.into_iter().flatten().map(Needle::length).max().unwrap_or_default();
        self.overlap = self.overlap.max(longest.saturating_sub(1));
        self.questions.push(question);
        BoundKey::Asked(self.questions.len() - 1)
    }

    /// A set that holds all that match.
    pub(super) fn candidates(&self) -> Option<&UidSet> {
        match &self.key {
            BoundKey::Set(uids) => Some(uids),
            BoundKey::And(keys) => keys.iter().find_map(|key| if let BoundKey::Set(uids) = key { Some(uids) } else { None }),
            _ => None,
        }
    }

    /// Whether the message matches; `None` where that hangs on what is not answered yet.
    pub(super) fn verdict(&self, seen: &Seen<'_>, answers: &[Option<bool>]) -> Option<bool> {
        self.key.verdict(seen, answers)
    }

    /// The open questions about a field of this name, with what they look for.
    pub(super) fn of_field(&self, name: &[u8], answers: &[Option<bool>]) -> Vec<(usize, &Needle)> {
        let order = |other: &[u8]| other.iter().copied().cmp(name.iter().map(u8::to_ascii_lowercase));
        let start = self.by_field.partition_point(|(other, _)| order(other).is_lt());
        let of_it = self.by_field.iter().skip(start).take_while(|(other, _)| order(other).is_eq());
        let numbers = of_it.map(|(_, number)| *number).filter(|number| is_open(answers, *number));
        let needle = |number| match self.questions.get(number) {
            Some(Question::Header(_, needle)) => Some((number, needle)),
            _ => None,
        };
        numbers.filter_map(needle).collect()
    }

    /// The open questions about texts of this kind, with what they look for.
    pub(super) fn of_text(&self, kind: TextKind, answers: &[Option<bool>]) -> Vec<(usize, &Needle)> {
        let open = self.questions.iter().enumerate().filter(|(number, _)| is_open(answers, *number));
        let needles = open.filter_map(|(number, question)| match (question, kind) {
            (Question::Text(needle, _), TextKind::Header)
            | (Question::Text(_, needle) | Question::Body(needle), TextKind::Body) => Some((number, needle)),
            _ => None,
        });
        needles.collect()
    }

    /// The numbers of the open questions about fields.
    pub(super) fn about_fields(&self, answers: &[Option<bool>]) -> Vec<(usize, &FieldFilter)> {
        let open = self.questions.iter().enumerate().filter(|(number, _)| is_open(answers, *number));
        open.filter_map(
            |(number, question)| if let Question::Header(filter, _) = question { Some((number, filter)) } else { None },
        )
        .collect()
    }
}

fn is_open(answers: &[Option<bool>], number: usize) -> bool {
    answers.get(number).is_some_and(Option::is_none)
}

/// The sets made one, so that only its messages are looked at.
fn all_of(keys: Vec<BoundKey>) -> BoundKey {
    let (mut set, mut others) = (None::<UidSet>, Vec::with_capacity(keys.len()));
    for key in keys {
        match key {
            BoundKey::Set(uids) => set = Some(set.map_or_else(|| uids.clone(), |set| set.intersection(&uids))),
            BoundKey::And(inner) => others.extend(inner),
            key => others.push(key),
        }
    }
    others.extend(set.map(BoundKey::Set));
    BoundKey::And(others)
}

impl BoundKey {
    /// What is not known makes no difference where the rest decides.
    fn verdict(&self, seen: &Seen<'_>, answers: &[Option<bool>]) -> Option<bool> {
        let details = seen.details;
        Some(match self {
            Self::And(keys) => return every(keys.iter().map(|key| key.verdict(seen, answers))),
            Self::Or(one, other) => {
                let neither = [one, other].into_iter().map(|key| key.verdict(seen, answers).map(|is_match| !is_match));
                !every(neither)?
            }
            Self::Not(key) => !key.verdict(seen, answers)?,
            Self::Flag(flag) => seen.flags.has(*flag),
            Self::Keyword(bit) => seen.flags.keyword_bits() & bit != 0,
            Self::Recent => seen.recent,
            Self::Set(uids) => uids.contains(seen.uid),
            Self::Internal(comparison, day) => is_day(details.internal_date.day(), *comparison, *day),
            Self::Larger(size) => details.size > *size,
            Self::Smaller(size) => details.size < *size,
            Self::Asked(number) => return answers.get(*number).copied().flatten(),
        })
    }
}

/// Whether all are true; one that is false decides, one that is unknown leaves it open.
fn every(verdicts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut all = Some(true);
    for verdict in verdicts {
        match verdict {
            Some(true) => {}
            Some(false) => return Some(false),
            None => all = None,
        }
    }
    all
}

pub(super) fn is_day(day: Day, comparison: DateComparison, other: Day) -> bool {
    match comparison {
        DateComparison::Before => day < other,
        DateComparison::On => day == other,
        DateComparison::Since => day >= other,
    }
}
