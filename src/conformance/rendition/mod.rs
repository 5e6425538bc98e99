//! One rendition as it is followed: its playlists, and the bytes that they name.
//!
//! In:  playlists and fetched resources, with times. Out: judgements, and what to fetch next.
//! Not here: fetching (`follow`), other renditions (`together`). Bounded: so many segments are remembered, and
//! bytes only until both a segment and its parts have come, and not more than [`MAX_HELD`] of them.

mod again;
mod names;
mod settle;

#[cfg(test)]
mod tests;

pub(super) use settle::digest;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use url::Url;

use super::Position;
use super::boxes::{Init, Media};
use super::cadence::{Arrival, Cadence};
use super::fetch::{Answer, Failure, Resource};
use super::findings::Page;
use super::media::{Facts, judge_init};
use super::parse::{ByteRange, MediaPlaylist, Part, Segment, has_reference};
use super::rules::{must, practice};
use super::single;
use super::successive::{Changes, History, discontinuity_numbers};
use names::Names;

/// Segments remembered.
const MAX_RECORDS: usize = 600;
/// Complete segments of the first playlist that are fetched.
const FIRST_SEGMENTS: usize = 3;
/// Resources remembered as asked for.
const MAX_ASKED: usize = 4_000;
/// Hinted parts whose bytes may wait for a playlist that lists them.
const MAX_EARLY: usize = 16;
/// Entries of the log of last positions, and of reports.
const MAX_LOG: usize = 20_000;
/// Initialization sections read.
const MAX_INITS: usize = 100;
/// Bytes that wait to be compared, or what they were read into.
const MAX_HELD: usize = 160 * 1024 * 1024;
/// Longest URI that is followed; servers take no longer ones.
const MAX_URI: usize = 8 * 1024;
/// Why something is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Init,
    Part(Position),
    Segment(u64),
    Hint,
    /// A segment that has left the playlist.
    Removed(u64, Stay),
    /// A part whose tag has left the playlist.
    Untagged(Position, Stay),
}

/// How long something must stay though it is not listed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stay {
    gone_ms: u64,
    due_ms: u64,
}

impl Purpose {
    fn due_ms(self) -> Option<u64> {
        match self {
            Self::Removed(_, stay) | Self::Untagged(_, stay) => Some(stay.due_ms),
            Self::Init | Self::Part(_) | Self::Segment(_) | Self::Hint => None,
        }
    }
}

/// Something to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) purpose: Purpose,
    pub(super) resource: Resource,
}

/// An initialization section.
#[derive(Debug)]
enum Section {
    Awaited,
    Here(Init),
    /// Not there, or nothing that can be read.
    Unusable,
}

/// The bytes of a part or segment.
#[derive(Debug, Default)]
enum Slot {
    /// Asked for, or hinted and on its way.
    #[default]
    Awaited,
    Here(Bytes),
    Read(Media),
    /// A gap, a failure, no longer needed, or nothing that can be read.
    Closed,
}

#[derive(Debug)]
struct PartRecord {
    tag: Part,
    /// None on the first playlist: it may have been there for long.
    arrival_ms: Option<u64>,
    resource: Option<Resource>,
    slot: Slot,
}

/// A segment.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) segment: Segment,
    pub(super) discontinuity_number: u64,
    pub(super) facts: Option<Facts>,
    parts: Vec<PartRecord>,
    is_asked: bool,
    slot: Slot,
    is_settled: bool,
    is_chained: bool,
    /// The section that it stands under.
    pub(super) init: Option<Resource>,
    /// When it was first listed complete; none on the first playlist.
    pub(super) arrival_ms: Option<u64>,
}

impl Record {
    /// When each part was first listed.
    pub(super) fn part_arrivals(&self) -> impl Iterator<Item = Option<u64>> {
        self.parts.iter().map(|part| part.arrival_ms)
    }

    /// Whether it is complete.
    pub(super) fn is_complete(&self) -> bool {
        !self.segment.uri.is_empty()
    }
}

/// A rendition report as it was received.
#[derive(Clone, Debug)]
pub(super) struct ReportSeen {
    pub(super) at_ms: u64,
    pub(super) url: Url,
    pub(super) last_msn: Option<u64>,
    pub(super) last_part: Option<u64>,
}

/// What a rendition's playlists and bytes have told.
#[derive(Debug)]
pub(super) struct Rendition {
    pub(super) name: String,
    pub(super) url: Url,
    /// Where its newest playlist came from, redirects followed: URIs are relative to it.
    base: Url,
    pub(super) history: History,
    pub(super) records: BTreeMap<u64, Record>,
    inits: BTreeMap<Resource, Section>,
    /// The digests of the sections, to see that they stay.
    pub(super) init_digests: BTreeMap<Resource, u64>,
    /// Each change of the last position.
    pub(super) log: VecDeque<(u64, Position)>,
    pub(super) reports: VecDeque<ReportSeen>,
    pub(super) parts_seen: u64,
    pub(super) segments_seen: u64,
    pub(super) slack_ms: u64,
    cadence: Cadence,
    asked: BTreeSet<Resource>,
    asked_in_order: VecDeque<Resource>,
    early: VecDeque<(Resource, Answer)>,
    names: Names,
    /// What has left, until its time is nearly over.
    again: Vec<Wanted>,
    /// Bytes per millisecond of the fastest transfer.
    best_rate: u64,
    /// Hinted parts that came, and how many of them slowly.
    hints_kept: u64,
    hints_slow: u64,
    is_foreign: bool,
}

impl Rendition {
    pub(super) fn new(name: String, url: Url, slack_ms: u64) -> Self {
        Self {
            name,
            base: url.clone(),
            url,
            history: History::default(),
            records: BTreeMap::new(),
            inits: BTreeMap::new(),
            init_digests: BTreeMap::new(),
            log: VecDeque::new(),
            reports: VecDeque::new(),
            parts_seen: 0,
            segments_seen: 0,
            slack_ms,
            cadence: Cadence::default(),
            asked: BTreeSet::new(),
            asked_in_order: VecDeque::new(),
            early: VecDeque::new(),
            names: Names::default(),
            again: Vec::new(),
            best_rate: 0,
            hints_kept: 0,
            hints_slow: 0,
            is_foreign: false,
        }
    }

    /// EXT-X-TARGETDURATION, or a usual one as long as it is not known.
    pub(super) fn target_s(&self) -> u64 {
        let newest = self.history.newest();
        newest
            .and_then(|list| list.target_s)
            .unwrap_or(6)
            .clamp(1, 60)
    }

    /// PART-TARGET, zero without one.
    pub(super) fn part_target_us(&self) -> u64 {
        let newest = self.history.newest();
        newest.and_then(|list| list.part_target_us).unwrap_or(0)
    }

    /// Its playlists come from `url` now.
    pub(super) fn redirect(&mut self, url: &Url) {
        self.base.clone_from(url);
    }

    /// Whether its playlist has this path, redirected or not.
    pub(super) fn is_at(&self, path: &str) -> bool {
        path == self.url.path() || path == self.base.path()
    }

    /// A URI in its playlist as a URL.
    pub(super) fn join(&self, uri: &str) -> Option<Url> {
        self.base.join(uri).ok()
    }

    /// The initialization sections that could be read.
    pub(super) fn sections(&self) -> impl Iterator<Item = &Init> {
        self.inits.values().filter_map(|section| match section {
            Section::Here(init) => Some(init),
            _ => None,
        })
    }

    /// The stream is interrupted, and the server admits it.
    pub(super) fn interrupt(&mut self) {
        self.cadence.interrupt();
    }

    /// The server is away, or its playlist, or the stream has ended.
    pub(super) fn lose(&mut self, page: &mut Page<'_>) {
        self.cadence.forget(page);
    }

    /// A playlist came; `delay_ms` is what this program itself may have added. What to fetch now.
    pub(super) fn push_list(
        &mut self,
        list: MediaPlaylist,
        at_ms: u64,
        delay_ms: u64,
        page: &mut Page<'_>,
    ) -> Vec<Wanted> {
        single::judge(&list, page);
        let is_first = self.history.newest().is_none();
        if is_first && !list.is_ended {
            let holds = !list.segments.is_empty();
            page.check(practice(64, "first-list-empty"), holds, "", || {
                "the first playlist has no complete segment".to_owned()
            });
        }
        let changes = self.history.push(list, page);
        let Some(list) = self.history.newest().cloned() else {
            return Vec::new();
        };
        if changes.is_new {
            let arrival = self.arrival(&list, &changes, at_ms, delay_ms);
            self.cadence.push(&arrival, page);
        }
        self.log_position(&list, at_ms);
        let mut wanted = Vec::new();
        if list.is_iframes_only {
            page.note("i-frames", || {
                "the pictures of I-frame playlists are not looked into".to_owned()
            });
            return wanted;
        }
        if uris(&list).any(|uri| uri.len() > MAX_URI) {
            page.note("long-uri", || {
                format!("URIs of more than {MAX_URI} bytes are not followed")
            });
        }
        self.record(&list, at_ms, is_first, &mut wanted, page);
        self.want_hint(&list, &mut wanted);
        self.want_again(&list, &changes, at_ms, &mut wanted);
        self.settle(page);
        wanted
    }

    /// Nothing more comes: judges that the stream did not stand still.
    pub(super) fn finish(&mut self, at_ms: u64, delay_ms: u64, page: &mut Page<'_>) {
        let Some(list) = self.history.newest().filter(|list| !list.is_ended).cloned() else {
            return;
        };
        let last = self.arrival(&list, &Changes::default(), at_ms, delay_ms);
        self.cadence.finish(&last, page);
    }

    fn arrival(
        &self,
        list: &MediaPlaylist,
        changes: &Changes,
        at_ms: u64,
        delay_ms: u64,
    ) -> Arrival {
        let target_s = list.target_s.unwrap_or(6);
        // Without blocking reload news are seen at the next poll.
        let poll_ms = if list.can_block() { 0 } else { poll_ms(list) };
        Arrival {
            at_ms,
            has_parts: !changes.parts.is_empty(),
            has_segments: !changes.segments.is_empty(),
            is_spliced: changes.is_spliced,
            part_target_us: list.part_target_us,
            hold_back_us: list.hold_back_us(),
            target_s,
            slack_ms: self
                .slack_ms
                .saturating_add(delay_ms)
                .saturating_add(poll_ms),
        }
    }

    fn log_position(&mut self, list: &MediaPlaylist, at_ms: u64) {
        if let Some(last) = list.last_position()
            && self.log.back().is_none_or(|(_, before)| *before != last)
        {
            self.log.push_back((at_ms, last));
        }
        for report in &list.reports {
            if report.uri.len() <= MAX_URI
                && let Some(url) = self.join(&report.uri)
            {
                self.reports.push_back(ReportSeen {
                    at_ms,
                    url,
                    last_msn: report.last_msn,
                    last_part: report.last_part,
                });
            }
        }
        while self.log.len() > MAX_LOG {
            self.log.pop_front();
        }
        while self.reports.len() > MAX_LOG {
            self.reports.pop_front();
        }
    }

    /// Enters what is new into the records.
    fn record(
        &mut self,
        list: &MediaPlaylist,
        at_ms: u64,
        is_first: bool,
        wanted: &mut Vec<Wanted>,
        page: &mut Page<'_>,
    ) {
        let numbers = discontinuity_numbers(list);
        let last_number = numbers.values().next_back().copied();
        let skip = if is_first {
            list.segments.len().saturating_sub(FIRST_SEGMENTS)
        } else {
            0
        };
        let newest = self.records.keys().next_back().copied();
        for segment in list.all_segments().skip(skip) {
            let is_known = self.records.contains_key(&segment.msn);
            if !is_known && newest.is_some_and(|newest| segment.msn < newest) {
                continue;
            }
            let mut record = self.records.remove(&segment.msn).unwrap_or_default();
            let number = numbers.get(&segment.msn).copied().or(last_number);
            let number = number.unwrap_or(list.discontinuity_sequence.unwrap_or(0));
            let is_open_break = segment.uri.is_empty() && segment.has_discontinuity;
            record.discontinuity_number = number.saturating_add(u64::from(is_open_break));
            let arrival = (!is_first).then_some(at_ms);
            self.update(&mut record, segment, arrival, wanted, page);
            self.records.insert(segment.msn, record);
        }
        while self.records.len() > MAX_RECORDS {
            self.records.pop_first();
        }
    }

    fn update(
        &mut self,
        record: &mut Record,
        segment: &Segment,
        arrival: Option<u64>,
        wanted: &mut Vec<Wanted>,
        page: &mut Page<'_>,
    ) {
        // What is encrypted is not looked into.
        let map = segment.map.as_ref().filter(|_| !segment.is_encrypted);
        if let Some(map) = map.filter(|map| !map.is_encrypted)
            && let Some(resource) = self.resource(&map.uri, map.range)
        {
            if !self.inits.contains_key(&resource) && self.inits.len() < MAX_INITS {
                self.inits.insert(resource.clone(), Section::Awaited);
                let purpose = Purpose::Init;
                wanted.push(Wanted {
                    purpose,
                    resource: resource.clone(),
                });
            }
            record.init = Some(resource);
        }
        // Behind the last known one, or where it would be.
        let known = record.parts.len();
        let last = record.parts.last().and_then(|last| {
            let mut tags = segment.parts.iter();
            tags.rposition(|tag| tag.uri == last.tag.uri && tag.range == last.tag.range)
        });
        let news = segment
            .parts
            .iter()
            .skip(last.map_or(known, |last| last.saturating_add(1)));
        let next = u64::try_from(known).unwrap_or(u64::MAX);
        for (part, tag) in (next..).zip(news) {
            let position = Position {
                msn: segment.msn,
                part,
            };
            self.parts_seen = self.parts_seen.saturating_add(1);
            let mut entry = PartRecord {
                tag: tag.clone(),
                arrival_ms: arrival,
                resource: self.resource(&tag.uri, tag.range),
                slot: Slot::Awaited,
            };
            self.want_part(&mut entry, position, wanted, page);
            record.parts.push(entry);
        }
        let was_complete = record.is_complete();
        record.segment = segment.clone();
        if record.is_complete() && !was_complete {
            record.arrival_ms = arrival;
            self.segments_seen = self.segments_seen.saturating_add(1);
            self.want_segment(record, wanted);
        }
    }

    fn want_part(
        &mut self,
        part: &mut PartRecord,
        position: Position,
        wanted: &mut Vec<Wanted>,
        page: &mut Page<'_>,
    ) {
        let Some(resource) = part.resource.clone().filter(|_| !part.tag.is_gap) else {
            part.slot = Slot::Closed;
            return;
        };
        if self.names.list(&resource, position.msn) {
            // What came under this name before is something else.
            self.asked.remove(&resource);
        }
        let early = self.early.iter().position(|(found, _)| *found == resource);
        if let Some((_, answer)) = early.and_then(|at| self.early.remove(at)) {
            self.hint_came_true(part, position, &answer, wanted, page);
        } else if self.note_asked(&resource) {
            let purpose = Purpose::Part(position);
            wanted.push(Wanted { purpose, resource });
        }
    }

    fn want_segment(&mut self, record: &mut Record, wanted: &mut Vec<Wanted>) {
        let segment = &record.segment;
        let resource = self.resource(&segment.uri, segment.range);
        let Some(resource) = resource.filter(|_| !segment.is_gap) else {
            record.slot = Slot::Closed;
            return;
        };
        self.names.list(&resource, segment.msn);
        record.is_asked = true;
        let purpose = Purpose::Segment(segment.msn);
        wanted.push(Wanted { purpose, resource });
    }

    fn want_hint(&mut self, list: &MediaPlaylist, wanted: &mut Vec<Wanted>) {
        // A range of a resource that grows is asked for once it is listed.
        let Some(hint) = list.part_hint().filter(|hint| !hint.has_range()) else {
            return;
        };
        if let Some(resource) = self.resource(&hint.uri, None)
            && self.note_asked(&resource)
        {
            let purpose = Purpose::Hint;
            wanted.push(Wanted { purpose, resource });
        }
    }

    /// Whether it was not asked for before.
    fn note_asked(&mut self, resource: &Resource) -> bool {
        if !self.asked.insert(resource.clone()) {
            return false;
        }
        self.asked_in_order.push_back(resource.clone());
        if self.asked_in_order.len() > MAX_ASKED
            && let Some(oldest) = self.asked_in_order.pop_front()
        {
            self.asked.remove(&oldest);
        }
        true
    }

    /// A URI of this rendition's playlist as a resource; none if it makes no URL.
    pub(super) fn resource(&self, uri: &str, range: Option<ByteRange>) -> Option<Resource> {
        if has_reference(uri) || uri.len() > MAX_URI {
            return None;
        }
        let url = self.join(uri)?;
        Some(Resource { url, range })
    }
}

fn uris(list: &MediaPlaylist) -> impl Iterator<Item = &String> {
    let segments = list.all_segments();
    segments.flat_map(|segment| {
        let parts = segment.parts.iter().map(|part| &part.uri);
        parts.chain([&segment.uri])
    })
}

/// How long to wait between playlists that cannot be held.
pub(super) fn poll_ms(list: &MediaPlaylist) -> u64 {
    match list.part_target_us {
        Some(target) => (target / 1000).clamp(100, 5_000),
        None => list.target_s.unwrap_or(6).clamp(1, 20).saturating_mul(500),
    }
}
