//! What was found: breaches, each once with a count, and which rules were judged at all.
//!
//! In:  judgements. Out: [`Finding`]s by rule, notes of what happened beside the rules.
//! Not here: how they are printed (`report`). Bounded: so many findings and notes, then only counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use serde::Serialize;

use super::rules::{Level, Rule};

/// Most different findings kept; a stream with more is broken beyond reading.
const MAX_FINDINGS: usize = 2_000;
/// Most different notes kept.
const MAX_NOTES: usize = 200;
/// Most bytes of a finding's text: foreign URIs can be long.
const MAX_TEXT: usize = 400;

/// One way in which a rule is broken in one rendition, however often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule's number.
    pub rule: u8,
    /// How much it matters.
    pub level: Level,
    /// A stable word for this breach.
    pub kind: &'static str,
    /// Which playlist; empty for the multivariant playlist or the whole.
    pub rendition: String,
    /// Where first: `MSN.part`, `MSN` or `line N`.
    pub place: String,
    /// The evidence of the first time.
    pub text: String,
    /// When first, in milliseconds since the start.
    pub first_seen_ms: u64,
    /// How often.
    pub count: u64,
}

/// Something that happened and breaks no rule, such as an outage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// Which playlist; empty for the whole.
    pub rendition: String,
    /// What happened.
    pub text: String,
    /// When first, in milliseconds since the start.
    pub first_seen_ms: u64,
    /// How often.
    pub count: u64,
}

/// Everything found so far.
#[derive(Debug, Default)]
pub(super) struct Book {
    findings: BTreeMap<(u8, &'static str, String), Finding>,
    notes: BTreeMap<(String, &'static str), Note>,
    judged: BTreeSet<u8>,
}

impl Book {
    /// Where judgements on `rendition` at this time are written.
    pub(super) fn page<'a>(&'a mut self, rendition: &'a str, now_ms: u64) -> Page<'a> {
        Page {
            book: self,
            rendition,
            now_ms,
        }
    }

    /// By rule, then kind, then rendition.
    pub(super) fn findings(&self) -> Vec<Finding> {
        self.findings.values().cloned().collect()
    }

    /// In the order of their first time.
    pub(super) fn notes(&self) -> Vec<Note> {
        let mut notes: Vec<_> = self.notes.values().cloned().collect();
        notes.sort_by_key(|note| note.first_seen_ms);
        notes
    }

    /// Rules of which at least one judgement was made.
    pub(super) fn judged(&self) -> &BTreeSet<u8> {
        &self.judged
    }
}

/// One rendition's place in the book, at one time.
#[derive(Debug)]
pub(super) struct Page<'a> {
    book: &'a mut Book,
    rendition: &'a str,
    now_ms: u64,
}

impl Page<'_> {
    /// The rule was judged; `holds` says with what outcome, `text` gives the evidence if it does not.
    pub(super) fn check(
        &mut self,
        rule: Rule,
        holds: bool,
        place: impl Display,
        text: impl FnOnce() -> String,
    ) {
        self.book.judged.insert(rule.number);
        if !holds {
            self.record(rule, &place, text);
        }
    }

    /// A breach.
    pub(super) fn broken(
        &mut self,
        rule: Rule,
        place: impl Display,
        text: impl FnOnce() -> String,
    ) {
        self.check(rule, false, place, text);
    }

    /// Something beside the rules; `kind` counts equal ones together.
    pub(super) fn note(&mut self, kind: &'static str, text: impl FnOnce() -> String) {
        let key = (self.rendition.to_owned(), kind);
        let is_full = self.book.notes.len() >= MAX_NOTES;
        if let Some(note) = self.book.notes.get_mut(&key) {
            note.count = note.count.saturating_add(1);
        } else if !is_full {
            let note = Note {
                rendition: self.rendition.to_owned(),
                text: shortened(&text()),
                first_seen_ms: self.now_ms,
                count: 1,
            };
            self.book.notes.insert(key, note);
        }
    }

    fn record(&mut self, rule: Rule, place: &dyn Display, text: impl FnOnce() -> String) {
        let key = (rule.number, rule.kind, self.rendition.to_owned());
        let is_full = self.book.findings.len() >= MAX_FINDINGS;
        if let Some(finding) = self.book.findings.get_mut(&key) {
            finding.count = finding.count.saturating_add(1);
        } else if !is_full {
            let finding = Finding {
                rule: rule.number,
                level: rule.level,
                kind: rule.kind,
                rendition: self.rendition.to_owned(),
                place: place.to_string(),
                text: shortened(&text()),
                first_seen_ms: self.now_ms,
                count: 1,
            };
            self.book.findings.insert(key, finding);
        }
    }
}

/// One line of bounded length without control characters: evidence may quote anything.
fn shortened(text: &str) -> String {
    let mut text = text.replace(char::is_control, " ");
    if text.len() > MAX_TEXT {
        let end = (0..=MAX_TEXT).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::rules::must;
    use super::*;

    #[test]
    fn equal_breaches_are_counted_and_the_first_is_kept() {
        let mut book = Book::default();
        for (now_ms, place) in [(5, "7.1"), (9, "8.0")] {
            let mut page = book.page("a", now_ms);
            page.check(must(19, "over-target"), false, place, || {
                format!("at\n{now_ms}")
            });
            page.check(must(18, "missing"), true, place, String::new);
        }
        book.page("b", 11)
            .broken(must(19, "over-target"), "1.0", || "é".repeat(MAX_TEXT));
        let findings = book.findings();
        assert_eq!(findings.len(), 2);
        assert_eq!(
            (
                findings[0].count,
                findings[0].first_seen_ms,
                &*findings[0].place
            ),
            (2, 5, "7.1")
        );
        assert_eq!(findings[0].text, "at 5");
        assert!(findings[1].text.len() <= MAX_TEXT + '…'.len_utf8());
        assert!(book.judged().iter().eq(&[18, 19]));
    }
}
