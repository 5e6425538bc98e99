//! What came is put where it belongs, and judged as soon as all it is judged against is there.
//!
//! In:  fetched resources. Out: judgements, what to fetch again.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::super::boxes::Sample;
use super::super::exchange;
use super::super::media::{compare, continuity, judge_part, judge_segment};
use super::super::rules::Rule;
use super::{
    Answer, Bytes, Facts, Failure, Init, MAX_EARLY, MAX_HELD, Media, Page, PartRecord, Position,
    Purpose, Record, Rendition, Resource, Section, Slot, Stay, Wanted, judge_init, must,
};

/// The first byte of each packet of an MPEG transport stream.
const TRANSPORT_STREAM: u8 = 0x47;
/// Slow hinted parts before that is a habit.
const FEWEST_SLOW: u64 = 3;

impl Rendition {
    /// Something asked for came, or did not.
    pub(in super::super) fn push_media(
        &mut self,
        wanted: Wanted,
        outcome: Result<Answer, Failure>,
        page: &mut Page<'_>,
    ) -> Vec<Wanted> {
        let mut more = Vec::new();
        let Wanted { purpose, resource } = wanted;
        let answer = match outcome {
            Ok(answer) => answer,
            Err(failure) => {
                self.failed(purpose, &resource, &failure, page);
                self.close(purpose, &resource);
                return more;
            }
        };
        if answer.is_ok() {
            exchange::media(&answer, self.target_s(), page);
        } else {
            exchange::failure(&answer, self.target_s(), page);
        }
        if answer.is_ok() && !is_range(&resource, &answer, page) {
            self.close(purpose, &resource);
            return more;
        }
        match purpose {
            Purpose::Init => self.init_came(&resource, &answer, page),
            Purpose::Part(position) => {
                self.note_rate(&answer);
                let rule = must(22, "listed-part-missing");
                arrived(rule, position, &resource, &answer, page);
                self.judge_name(&resource, &answer, page);
                self.fill_part(position, &answer);
            }
            Purpose::Segment(msn) => {
                self.note_rate(&answer);
                arrived(
                    must(22, "listed-segment-missing"),
                    msn,
                    &resource,
                    &answer,
                    page,
                );
                self.judge_name(&resource, &answer, page);
                if let Some(record) = self.records.get_mut(&msn) {
                    record.slot = slot(&answer);
                }
            }
            Purpose::Hint => self.hint_came(&resource, answer, &mut more, page),
            Purpose::Removed(msn, stay) => {
                stays(
                    must(8, "removed-too-soon"),
                    (&msn, stay),
                    &resource,
                    &answer,
                    page,
                );
                self.removed_came(msn, &resource, &answer, page);
            }
            Purpose::Untagged(position, stay) => {
                let rule = must(25, "untagged-part-missing");
                stays(rule, (&position, stay), &resource, &answer, page);
            }
        }
        self.settle(page);
        self.make_room(page);
        more
    }

    /// What was asked for did not come. A listed resource that a server takes for ever to send is not there.
    fn failed(
        &self,
        purpose: Purpose,
        resource: &Resource,
        failure: &Failure,
        page: &mut Page<'_>,
    ) {
        let rule = match purpose {
            Purpose::Init => Some(must(11, "init-hangs")),
            Purpose::Part(_) => Some(must(22, "listed-part-hangs")),
            Purpose::Segment(_) => Some(must(22, "listed-segment-hangs")),
            Purpose::Hint => self.part_of(resource).map(|_| must(28, "hint-hangs")),
            Purpose::Removed(..) | Purpose::Untagged(..) => None,
        };
        let words = || format!("{}: {failure}", resource.url);
        match rule.filter(|_| matches!(failure, Failure::Timeout(_))) {
            Some(rule) => page.broken(rule, "", words),
            None => page.note("media-unreachable", words),
        }
    }

    /// Gives up comparing what is oldest when too much waits.
    pub(super) fn make_room(&mut self, page: &mut Page<'_>) {
        let early = self.early.iter().map(|(_, answer)| answer.body.len());
        let mut early: usize = early.sum();
        while early > MAX_HELD
            && let Some((_, oldest)) = self.early.pop_front()
        {
            early -= oldest.body.len();
        }
        let mut room = MAX_HELD;
        let mut is_full = false;
        for record in self.records.values_mut().rev() {
            let slots = record.parts.iter_mut().map(|part| &mut part.slot);
            for slot in slots.chain([&mut record.slot]) {
                if let Some(rest) = room.checked_sub(slot.cost()) {
                    room = rest;
                } else {
                    (*slot, is_full) = (Slot::Closed, true);
                }
            }
        }
        if is_full {
            page.note("too-much-media", || {
                format!("more than {MAX_HELD} bytes wait to be compared; the oldest are not")
            });
        }
    }

    fn close(&mut self, purpose: Purpose, resource: &Resource) {
        match purpose {
            Purpose::Part(position) => {
                if let Some(part) = self.part_mut(position) {
                    part.slot = Slot::Closed;
                }
            }
            Purpose::Segment(msn) => {
                if let Some(record) = self.records.get_mut(&msn) {
                    record.slot = Slot::Closed;
                }
            }
            Purpose::Hint => {
                // It is asked for again if it is listed.
                self.asked.remove(resource);
                if let Some(part) = self.part_of(resource).and_then(|at| self.part_mut(at)) {
                    part.slot = Slot::Closed;
                }
            }
            Purpose::Init => {
                // Asked for again when the next segment names it.
                self.inits.remove(resource);
            }
            Purpose::Removed(..) | Purpose::Untagged(..) => {}
        }
    }

    fn init_came(&mut self, resource: &Resource, answer: &Answer, page: &mut Page<'_>) {
        let uri = resource.url.path();
        arrived(must(11, "init-missing"), "", resource, answer, page);
        let mut section = Section::Unusable;
        if answer.is_ok() {
            self.init_digests
                .insert(resource.clone(), digest(&answer.body));
            if answer.body.first() == Some(&TRANSPORT_STREAM) {
                self.is_foreign = true;
            } else {
                match Init::parse(&answer.body) {
                    Ok(init) => {
                        judge_init(&init, uri, page);
                        section = Section::Here(init);
                    }
                    Err(why) => {
                        page.broken(must(58, "init-unreadable"), "", || format!("{uri}: {why}"));
                    }
                }
            }
        }
        self.inits.insert(resource.clone(), section);
    }

    fn fill_part(&mut self, position: Position, answer: &Answer) {
        if let Some(part) = self.part_mut(position) {
            part.slot = slot(answer);
        }
    }

    /// The answer to a hint: judged once a playlist lists the part.
    fn hint_came(
        &mut self,
        resource: &Resource,
        answer: Answer,
        more: &mut Vec<Wanted>,
        page: &mut Page<'_>,
    ) {
        let Some(position) = self.part_of(resource) else {
            self.early.push_back((resource.clone(), answer));
            if self.early.len() > MAX_EARLY {
                self.early.pop_front();
            }
            return;
        };
        let Some(mut part) = self.part_mut(position).map(std::mem::take) else {
            return;
        };
        self.hint_came_true(&mut part, position, &answer, more, page);
        if let Some(place) = self.part_mut(position) {
            *place = part;
        }
    }

    /// Rule 28: a hinted part was listed.
    pub(super) fn hint_came_true(
        &mut self,
        part: &mut PartRecord,
        position: Position,
        answer: &Answer,
        wanted: &mut Vec<Wanted>,
        page: &mut Page<'_>,
    ) {
        let path = answer.url.path();
        // One that turned out to be a gap was refused rightly.
        let is_right = answer.is_ok() || part.tag.is_gap;
        page.check(must(28, "hint-refused"), is_right, position, || {
            format!(
                "{path} was hinted, answered {} and listed later",
                answer.status
            )
        });
        if !answer.is_ok() {
            if let Some(resource) = part.resource.clone().filter(|_| !part.tag.is_gap) {
                let purpose = Purpose::Part(position);
                wanted.push(Wanted { purpose, resource });
            }
            return;
        }
        self.judge_transfer(position, answer, page);
        if let Some(resource) = &part.resource {
            self.judge_name(resource, answer, page);
        }
        part.slot = slot(answer);
    }

    /// A part that trickles takes as long as it lasts. One slow transfer may be the network's; when most
    /// hinted parts are slow, the server sends what it does not have yet.
    fn judge_transfer(&mut self, position: Position, answer: &Answer, page: &mut Page<'_>) {
        let took = answer.end_ms.saturating_sub(answer.head_ms);
        let bytes = u64::try_from(answer.body.len()).unwrap_or(u64::MAX);
        let at_line_rate = bytes.checked_div(self.best_rate).unwrap_or(0);
        let half = self.part_target_us() / 2_000;
        let most = half.saturating_add(at_line_rate.saturating_mul(4));
        self.hints_kept = self.hints_kept.saturating_add(1);
        self.hints_slow = self.hints_slow.saturating_add(u64::from(took > most));
        let (slow, kept) = (self.hints_slow, self.hints_kept);
        let is_usual = slow >= FEWEST_SLOW && slow.saturating_mul(2) > kept;
        page.check(must(28, "early-bytes"), took <= most || !is_usual, position, || {
            format!("the {bytes} bytes of a hinted part took {took} ms from head to end, though {most} ms would do; so did {slow} of {kept}")
        });
    }

    fn removed_came(&self, msn: u64, resource: &Resource, answer: &Answer, page: &mut Page<'_>) {
        let before = self
            .records
            .get(&msn)
            .and_then(|record| record.facts.as_ref());
        if let Some(facts) = before.filter(|_| answer.is_ok()) {
            let same = facts.digest == digest(&answer.body);
            page.check(must(47, "content-changed"), same, msn, || {
                format!("{} has another content than before", resource.url.path())
            });
        }
    }

    /// Rule 47: the bytes of a listed part or segment came.
    fn judge_name(&mut self, resource: &Resource, answer: &Answer, page: &mut Page<'_>) {
        if !answer.is_ok() {
            return;
        }
        let reused = self.names.fill(resource, digest(&answer.body));
        page.check(must(47, "uri-reused"), reused.is_none(), "", || {
            let (before, msn) = reused.unwrap_or_default();
            let path = resource.url.path();
            format!("{path} was of segment {before} and is of segment {msn}, with another content")
        });
    }

    fn note_rate(&mut self, answer: &Answer) {
        let took = answer.end_ms.saturating_sub(answer.head_ms).max(1);
        let bytes = u64::try_from(answer.body.len()).unwrap_or(u64::MAX);
        self.best_rate = self.best_rate.max(bytes / took);
    }

    fn part_mut(&mut self, at: Position) -> Option<&mut PartRecord> {
        let record = self.records.get_mut(&at.msn)?;
        record.parts.get_mut(usize::try_from(at.part).ok()?)
    }

    /// Where a part with this resource is awaited; hints are for the newest segments.
    fn part_of(&self, resource: &Resource) -> Option<Position> {
        self.records.iter().rev().take(3).find_map(|(msn, record)| {
            let mut parts = record.parts.iter();
            let at = parts.position(|part| part.resource.as_ref() == Some(resource))?;
            Some(Position {
                msn: *msn,
                part: u64::try_from(at).ok()?,
            })
        })
    }

    /// Judges what can be judged now.
    pub(super) fn settle(&mut self, page: &mut Page<'_>) {
        let mut before: Option<(Facts, u64)> = None;
        for record in self.records.values_mut() {
            let init = record.init.as_ref().map(|init| self.inits.get(init));
            if record.segment.is_encrypted {
                self.is_foreign |= close(record);
            }
            match init {
                Some(Some(Section::Here(init))) => settle_record(record, init, page),
                // The section is on its way, or will be asked for again.
                Some(Some(Section::Awaited) | None) => {}
                Some(Some(Section::Unusable)) => drop(close(record)),
                None => self.is_foreign |= close_unreadable(record, page),
            }
            let is_gap = record.segment.is_gap && record.is_complete();
            match (&record.facts, &mut before) {
                (Some(facts), Some((previous, gap_us))) => {
                    if !record.is_chained {
                        continuity(previous, facts, &record.segment, *gap_us, page);
                        record.is_chained = true;
                    }
                    before = Some((facts.clone(), 0));
                }
                (Some(facts), None) => before = Some((facts.clone(), 0)),
                (None, Some((_, gap_us))) if is_gap && !record.segment.has_discontinuity => {
                    *gap_us = gap_us.saturating_add(record.segment.duration_us);
                }
                (None, _) => before = None,
            }
        }
        if self.is_foreign {
            page.note("not-fmp4", || {
                "media that is encrypted or not fragmented MP4 is not looked into".to_owned()
            });
        }
    }
}

/// Whether something that must be there is.
fn arrived(
    rule: Rule,
    place: impl std::fmt::Display,
    resource: &Resource,
    answer: &Answer,
    page: &mut Page<'_>,
) {
    page.check(rule, answer.is_ok(), place, || {
        format!("{} answers {}", resource.url.path(), answer.status)
    });
}

/// Whether something that is not listed any more is there, as long as it must be.
fn stays(
    rule: Rule,
    (place, stay): (&dyn std::fmt::Display, Stay),
    resource: &Resource,
    answer: &Answer,
    page: &mut Page<'_>,
) {
    let may_go = answer.head_ms > stay.due_ms;
    page.check(rule, answer.is_ok() || may_go, place, || {
        format!(
            "{} answers {} though it left the playlist only {} ms before; {} ms are due",
            resource.url.path(),
            answer.status,
            answer.head_ms.saturating_sub(stay.gone_ms),
            stay.due_ms.saturating_sub(stay.gone_ms)
        )
    });
}

impl Default for PartRecord {
    fn default() -> Self {
        Self {
            tag: super::Part {
                line: 0,
                uri: String::new(),
                duration_us: 0,
                is_independent: false,
                is_gap: false,
                range: None,
            },
            arrival_ms: None,
            resource: None,
            slot: Slot::Closed,
        }
    }
}

fn settle_record(record: &mut Record, init: &Init, page: &mut Page<'_>) {
    let msn = record.segment.msn;
    for (part, entry) in (0..).zip(&mut record.parts) {
        let at = Position { msn, part };
        let Slot::Here(bytes) = &entry.slot else {
            continue;
        };
        entry.slot = match Media::parse(bytes, init) {
            Ok(media) => {
                judge_part(&entry.tag, &media, init, at, page);
                Slot::Read(media)
            }
            Err(why) => {
                page.broken(must(26, "part-unreadable"), at, || why);
                Slot::Closed
            }
        };
    }
    if let Slot::Here(bytes) = &record.slot {
        record.slot = match Media::parse(bytes, init) {
            Ok(media) => {
                judge_segment(&record.segment, &media, init, page);
                let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                record.facts = Some(Facts::of(&media, init, length, digest(bytes)));
                Slot::Read(media)
            }
            Err(why) => {
                page.broken(must(58, "segment-unreadable"), msn, || why);
                Slot::Closed
            }
        };
    }
    compare_once(record, page);
}

/// Whether single parts may have left before the first playlist (rule 3); that they may, `single` judges.
fn may_lack_parts(record: &Record) -> bool {
    let told = record.parts.iter().map(|part| part.tag.duration_us);
    let sum = told.fold(0, u64::saturating_add);
    let count = u64::try_from(record.parts.len()).unwrap_or(0);
    let tolerance = count.saturating_mul(1_000).saturating_add(5_000);
    record.arrival_ms.is_none() && sum.saturating_add(tolerance) < record.segment.duration_us
}

/// Compares parts with their segment once all are there; then their samples can go.
fn compare_once(record: &mut Record, page: &mut Page<'_>) {
    let is_open = |slot: &Slot| matches!(slot, Slot::Awaited | Slot::Here(_));
    let waits = record.parts.iter().any(|part| is_open(&part.slot));
    if record.is_settled || !record.is_asked || waits || is_open(&record.slot) {
        return;
    }
    record.is_settled = true;
    let parts: Vec<_> = record
        .parts
        .iter()
        .map_while(|part| part.slot.media())
        .collect();
    if let Some(segment) = record.slot.media()
        && parts.len() == record.parts.len()
        && !parts.is_empty()
        && !may_lack_parts(record)
    {
        compare(record.segment.msn, &parts, segment, page);
    }
    record.slot = Slot::Closed;
    for part in &mut record.parts {
        part.slot = Slot::Closed;
    }
}

/// Bytes that are not looked into; whether there were any.
fn close(record: &mut Record) -> bool {
    let mut were_here = false;
    let slots = record.parts.iter_mut().map(|part| &mut part.slot);
    for slot in slots.chain([&mut record.slot]) {
        if matches!(slot, Slot::Here(_)) {
            were_here = true;
            *slot = Slot::Closed;
        }
    }
    were_here
}

/// Bytes under no EXT-X-MAP: fragments are rule 11's, anything else is not looked into.
fn close_unreadable(record: &mut Record, page: &mut Page<'_>) -> bool {
    let mut is_foreign = false;
    let msn = record.segment.msn;
    let slots = record.parts.iter_mut().map(|part| &mut part.slot);
    for slot in slots.chain([&mut record.slot]) {
        if let Slot::Here(bytes) = slot {
            let is_fragment =
                matches!(bytes.get(4..8), Some(b"moof" | b"styp" | b"sidx" | b"emsg"));
            page.check(must(11, "fragment-without-map"), !is_fragment, msn, || {
                "a fragment stands under no EXT-X-MAP".to_owned()
            });
            is_foreign |= !is_fragment;
            *slot = Slot::Closed;
        }
    }
    is_foreign
}

/// Rules 21 and 44: a range was asked for, and came.
fn is_range(resource: &Resource, answer: &Answer, page: &mut Page<'_>) -> bool {
    let Some(range) = resource.range else {
        return true;
    };
    let path = resource.url.path();
    let is_partial = answer.status == 206;
    page.check(must(44, "range-ignored"), is_partial, "", || {
        format!("a range of {path} was answered with {}", answer.status)
    });
    let length = u64::try_from(answer.body.len()).unwrap_or(u64::MAX);
    let is_whole = length == range.length;
    page.check(
        must(21, "range-length"),
        is_whole || !is_partial,
        "",
        || format!("{length} bytes came of {range} of {path}"),
    );
    is_partial && is_whole
}

impl Slot {
    /// Bytes that it keeps.
    pub(super) fn cost(&self) -> usize {
        match self {
            Self::Awaited | Self::Closed => 0,
            Self::Here(bytes) => bytes.len(),
            Self::Read(media) => media.samples.len().saturating_mul(size_of::<Sample>()),
        }
    }

    fn media(&self) -> Option<&Media> {
        match self {
            Self::Read(media) => Some(media),
            _ => None,
        }
    }
}

fn slot(answer: &Answer) -> Slot {
    if answer.is_ok() {
        Slot::Here(answer.body.clone())
    } else {
        Slot::Closed
    }
}

/// To see whether content stays the same.
pub(in super::super) fn digest(bytes: &Bytes) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}
