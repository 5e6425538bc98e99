//! The outcome of a check, for people and for programs.
//!
//! In:  the book and what was followed. Out: [`Report`]: text by `Display`, JSON by `Serialize`; the names in the
//! JSON are part of the outside contract. Not here: judgements.

use std::fmt;

use serde::Serialize;

use super::Options;
use super::findings::{Book, Finding, Note};
use super::rendition::Rendition;
use super::rules::{Level, RULES};

/// A media playlist that was followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Followed {
    /// The end of its path, by which findings name it.
    pub rendition: String,
    /// Its URL.
    pub url: String,
    /// Complete segments seen.
    pub segments: u64,
    /// Parts seen.
    pub parts: u64,
}

impl Followed {
    /// Adds what a rendition has seen.
    pub(super) fn add(all: &mut Vec<Self>, rendition: &Rendition) {
        all.push(Self {
            rendition: rendition.name.clone(),
            url: rendition.url.to_string(),
            segments: rendition.segments_seen,
            parts: rendition.parts_seen,
        });
    }
}

/// What became of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Judged, never broken.
    Held,
    /// Broken at least once, at whatever level.
    Broken,
    /// The stream has nothing that it applies to, or the time was too short.
    NotApplicable,
    /// This program does not judge it.
    Unjudged,
}

/// A rule with its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RuleOutcome {
    /// 1 to 64.
    pub rule: u8,
    /// In few words.
    pub title: &'static str,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it is not judged.
    pub why: Option<&'static str>,
}

/// How many findings there are at each level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Broken demands of the specification.
    pub must: usize,
    /// Advice not followed.
    pub should: usize,
    /// What players stumble over.
    pub practice: usize,
}

/// The outcome of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What was checked.
    pub url: String,
    /// How long it took, in milliseconds.
    pub lasted_ms: u64,
    /// What was allowed for network and scheduling.
    pub slack_ms: u64,
    /// The worst delay of this program's own timers, allowed besides.
    pub own_delay_ms: u64,
    /// The media playlists.
    pub renditions: Vec<Followed>,
    /// By rule.
    pub findings: Vec<Finding>,
    /// In order of time.
    pub notes: Vec<Note>,
    /// All rules.
    pub rules: Vec<RuleOutcome>,
    /// The findings counted.
    pub summary: Summary,
}

impl Report {
    pub(super) fn new(
        options: &Options,
        renditions: Vec<Followed>,
        book: &Book,
        lasted_ms: u64,
        own_delay_ms: u64,
    ) -> Self {
        let findings = book.findings();
        let outcome = |number: u8| {
            if findings.iter().any(|finding| finding.rule == number) {
                Outcome::Broken
            } else if book.judged().contains(&number) {
                Outcome::Held
            } else {
                Outcome::NotApplicable
            }
        };
        let rules = RULES.iter().map(|entry| RuleOutcome {
            rule: entry.number,
            title: entry.title,
            outcome: entry
                .unjudged
                .map_or_else(|| outcome(entry.number), |_| Outcome::Unjudged),
            why: entry.unjudged,
        });
        let count = |level| {
            findings
                .iter()
                .filter(|finding| finding.level == level)
                .count()
        };
        Self {
            url: options.url.to_string(),
            lasted_ms,
            slack_ms: u64::try_from(options.slack.as_millis()).unwrap_or(u64::MAX),
            own_delay_ms,
            renditions,
            rules: rules.collect(),
            summary: Summary {
                must: count(Level::Must),
                should: count(Level::Should),
                practice: count(Level::Practice),
            },
            notes: book.notes(),
            findings,
        }
    }

    /// Whether no demand of the specification was found broken.
    pub fn is_conformant(&self) -> bool {
        self.summary.must == 0
    }

    fn numbers(&self, outcome: Outcome) -> String {
        let rules = self.rules.iter().filter(|rule| rule.outcome == outcome);
        let numbers: Vec<_> = rules.map(|rule| rule.rule.to_string()).collect();
        if numbers.is_empty() {
            "none".to_owned()
        } else {
            numbers.join(" ")
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |ms: u64| format!("{}.{:03} s", ms / 1000, ms % 1000);
        writeln!(f, "{}", self.url)?;
        writeln!(
            f,
            "  followed for {}, slack {} ms, own timers up to {} ms late",
            seconds(self.lasted_ms),
            self.slack_ms,
            self.own_delay_ms
        )?;
        for followed in &self.renditions {
            let Followed {
                rendition,
                segments,
                parts,
                ..
            } = followed;
            writeln!(f, "  {rendition}: {segments} segments, {parts} parts")?;
        }
        for note in &self.notes {
            let at = seconds(note.first_seen_ms);
            let times = times(note.count);
            writeln!(
                f,
                "  note at {at}, {times}: {} {}",
                note.rendition, note.text
            )?;
        }
        for rule in self
            .rules
            .iter()
            .filter(|rule| rule.outcome == Outcome::Broken)
        {
            writeln!(f, "\nrule {}: {}", rule.rule, rule.title)?;
            for finding in self
                .findings
                .iter()
                .filter(|finding| finding.rule == rule.rule)
            {
                write_finding(f, finding)?;
            }
        }
        writeln!(f, "\nheld            {}", self.numbers(Outcome::Held))?;
        writeln!(
            f,
            "not applicable  {}",
            self.numbers(Outcome::NotApplicable)
        )?;
        writeln!(f, "not judged      {}", self.numbers(Outcome::Unjudged))?;
        for rule in &self.rules {
            if let Some(why) = rule.why {
                writeln!(f, "  {}: {} ({why})", rule.rule, rule.title)?;
            }
        }
        let Summary {
            must,
            should,
            practice,
        } = self.summary;
        let word = if self.is_conformant() {
            "passed"
        } else {
            "FAILED"
        };
        writeln!(
            f,
            "\n{word}: {must} must, {should} should, {practice} practice"
        )
    }
}

fn write_finding(f: &mut fmt::Formatter<'_>, finding: &Finding) -> fmt::Result {
    let Finding {
        kind,
        rendition,
        place,
        text,
        count,
        first_seen_ms,
        ..
    } = finding;
    let level = finding.level.word();
    let at = [rendition.as_str(), place.as_str()]
        .into_iter()
        .filter(|word| !word.is_empty());
    let at = at.collect::<Vec<_>>().join(" ");
    let times = times(*count);
    writeln!(
        f,
        "  {level:<8} {kind} [{at}] {text} ({times}, first after {first_seen_ms} ms)"
    )
}

fn times(count: u64) -> String {
    if count == 1 {
        "once".to_owned()
    } else {
        format!("{count} times")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use url::Url;

    use super::super::rules::{must, should};
    use super::*;

    #[test]
    fn text_and_json_tell_the_same() {
        let options = Options {
            url: Url::parse("http://127.0.0.1/a/live.m3u8").unwrap(),
            duration: Duration::from_secs(5),
            slack: Duration::from_millis(150),
            outage: Duration::from_secs(10),
        };
        let mut book = Book::default();
        let mut page = book.page("a/live.m3u8", 1234);
        page.check(must(4, "segment-over-target"), true, "", String::new);
        page.broken(must(19, "part-over-target"), "7.1", || {
            "0.4 over 0.334".to_owned()
        });
        page.broken(should(45, "no-lifetime"), "", || "nothing said".to_owned());
        page.note("outage", || "connection refused".to_owned());
        let report = Report::new(&options, Vec::new(), &book, 5000, 3);
        assert!(!report.is_conformant());
        let text = report.to_string();
        for words in [
            "rule 19: durations of parts\n  must     part-over-target [a/live.m3u8 7.1] 0.4 over 0.334 (once, first after 1234 ms)\n",
            "note at 1.234 s, once: a/live.m3u8 connection refused\n",
            "held            4\n",
            "FAILED: 1 must, 1 should, 0 practice\n",
        ] {
            assert!(text.contains(words), "{words} in {text}");
        }
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["summary"]["must"], 1);
        assert_eq!(json["findings"][0]["kind"], "part-over-target");
        assert_eq!(json["rules"][18]["outcome"], "broken");
        assert_eq!(json["rules"][39]["outcome"], "unjudged");
    }
}
