//! One message of a search: read no further than the keys need, and decoded once for all of them.

use carillon_protocol::mime::{Needle, TextKind, Window, field_text, fields, texts};
use carillon_protocol::number::Uid;

use super::super::message::{Glimpse, Source};
use super::super::reader::Seen;
use super::key::{Answers, Query, Question, is_day};
use crate::refusal::Fault;
use crate::turn::Turn;

/// How far a message was looked through: all that stays of it between two turns, for its bytes may be many.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) uid: Uid,
    answers: Answers,
    /// The field or text that is looked through: fields first, as long as one of their questions is open.
    text: usize,
    pub(super) window: Window,
}

impl Progress {
    /// None yet. The window may be any that was rewound, for its memory.
    pub(super) fn none(seen: &Seen<'_>, query: &Query, window: Window) -> Self {
        Self { uid: seen.uid, answers: vec![None; query.questions.len()], text: 0, window }
    }
}

/// Whether a step came to its end; `false` where the turn was over before.
type IsDone = bool;

/// A message that is looked through.
pub(super) struct Candidate<'a> {
    pub(super) seen: Seen<'a>,
    pub(super) query: &'a Query,
    pub(super) source: &'a Source,
    pub(super) progress: Progress,
    /// What it cost, about.
    pub(super) octets_read: u64,
}

impl Candidate<'_> {
    /// Whether it matches; `None` where the turn was over before that was known. What cannot be read is an error only where the rest of the key does
    /// not decide.
    pub(super) fn verdict(&mut self, turn: &mut Turn) -> Result<Option<bool>, Fault> {
        if let Some(is_match) = self.known() {
            return Ok(Some(is_match));
        }
        if turn.is_too_short_for(self.seen.details.size) {
            return Ok(None);
        }
        self.octets_read = self.seen.details.size;
        for step in [Self::ask_glance, Self::ask_header, Self::ask_texts] {
            let is_done = step(self, turn)?;
            let verdict = self.known();
            if verdict.is_some() || !is_done {
                return Ok(verdict);
            }
        }
        Err(Fault::Bug("a search left a question open"))
    }

    fn known(&self) -> Option<bool> {
        self.query.verdict(&self.seen, &self.progress.answers)
    }

    fn answer(&mut self, question: usize, answer: bool) {
        if let Some(slot) = self.progress.answers.get_mut(question) {
            slot.get_or_insert(answer);
        }
    }

    fn is_open(&self) -> impl Fn(&(usize, &Question)) -> bool + '_ {
        |(number, _)| self.progress.answers.get(*number).is_some_and(Option::is_none)
    }

    /// What is in memory, or a short read away.
    fn ask_glance(&mut self, _turn: &mut Turn) -> Result<IsDone, Fault> {
        let about_fields = self.query.about_fields(&self.progress.answers);
        let has_date = |question: &Question| matches!(question, Question::Sent(..));
        if about_fields.is_empty() && !self.query.questions.iter().any(has_date) {
            return Ok(true);
        }
        let glimpse = self.source.glance(self.seen.details)?;
        self.ask_date(&glimpse);
        // What one excerpt holds it holds for all.
        let mut excerpt = None;
        let mut answered = Vec::new();
        for (number, filter) in about_fields {
            if let Some(fields) = glimpse.header_for(filter) {
                excerpt = Some(fields);
                answered.push(number);
            }
        }
        for field in fields(excerpt.unwrap_or_default()) {
            let mut open = self.query.of_field(field.name, &self.progress.answers);
            if !open.is_empty() {
                self.look(&field_text(&field), &mut open, None);
            }
        }
        answered.into_iter().for_each(|number| self.answer(number, false));
        Ok(true)
    }

    fn ask_date(&mut self, glimpse: &Glimpse) {
        let dates = self.query.questions.iter().enumerate().filter(self.is_open());
        let dates: Vec<_> = dates
            .filter_map(|(number, question)| match question {
                Question::Sent(comparison, day) => Some((number, *comparison, *day)),
                _ => None,
            })
            .collect();
        if dates.is_empty() {
            return;
        }
        let sent = glimpse.read().digest.sent;
        for (number, comparison, day) in dates {
            self.answer(number, sent.is_some_and(|sent| is_day(sent.day(), comparison, day)));
        }
    }

    /// Fields that the glance does not know.
    fn ask_header(&mut self, turn: &mut Turn) -> Result<IsDone, Fault> {
        if self.query.about_fields(&self.progress.answers).is_empty() {
            return Ok(true);
        }
        let header = self.source.header(self.seen.details)?;
        turn.has_prepared();
        for (place, field) in fields(&header).enumerate().skip(self.progress.text) {
            let mut open = self.query.of_field(field.name, &self.progress.answers);
            if open.is_empty() {
                continue;
            }
            self.progress.text = place;
            if !self.look(&field_text(&field), &mut open, Some(turn)) {
                return Ok(false);
            }
        }
        for (number, _) in self.query.about_fields(&self.progress.answers) {
            self.answer(number, false);
        }
        self.progress.text = 0;
        Ok(true)
    }

    /// All of the message.
    fn ask_texts(&mut self, turn: &mut Turn) -> Result<IsDone, Fault> {
        let whole = self.source.bytes(self.seen.details)?;
        let content = self.source.content(self.seen.details)?;
        for (place, text) in texts(&content.structure).enumerate().skip(self.progress.text) {
            let mut open = self.query.of_text(text.kind, &self.progress.answers);
            if open.is_empty() {
                continue;
            }
            self.progress.text = place;
            let text = text.read(&whole);
            turn.has_prepared();
            let (before, is_done) = (open.len(), self.look(&text, &mut open, Some(turn)));
            if !is_done || open.len() < before && self.known().is_some() {
                return Ok(is_done);
            }
        }
        for (number, _) in self.query.of_text(TextKind::Body, &self.progress.answers) {
            self.answer(number, false);
        }
        Ok(true)
    }

    /// Looks for all that is open in one text, from where it was left; what is found is open no more.
    fn look(&mut self, text: &str, open: &mut Vec<(usize, &Needle)>, mut turn: Option<&mut Turn>) -> IsDone {
        loop {
            let is_more = self.progress.window.advance(text, self.query.overlap);
            open.retain(|(number, needle)| {
                let is_found = needle.is_in(&self.progress.window);
                if is_found && let Some(slot) = self.progress.answers.get_mut(*number) {
                    *slot = Some(true);
                }
                !is_found
            });
            if !is_more || open.is_empty() {
                self.progress.window.rewind();
                return true;
            }
            let octets = Window::OCTETS * (1 + open.len() as u64);
            if turn.as_deref_mut().is_some_and(|turn| turn.is_over(octets)) {
                return false;
            }
        }
    }
}
