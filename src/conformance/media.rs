//! Rules on bytes: what parts and segments must hold, against what the playlist says of them.
//!
//! In:  parsed initialization sections, parts and segments with their tags. Out: judgements, and [`Facts`] that
//! stay when the bytes are gone. Not here: fetching, which bytes belong to which tag (`rendition`).

use super::Position;
use super::boxes::{Init, Kind, Media, Sample};
use super::findings::Page;
use super::parse::{Part, Segment};
use super::rules::{Rule, must, should};
use super::single::Seconds;

/// Timestamps of neighbours may miss each other by this much: rounding between timescales.
const TOUCH_US: u64 = 1_000;
/// A larger miss is another timestamp sequence.
const JUMP_US: u64 = 500_000;

/// What remains of a segment's bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// The tracks that its initialization section has, whether samples came or not.
    declared: Vec<(u32, Kind)>,
    pub(super) tracks: Vec<TrackFacts>,
    pub(super) bytes: u64,
    pub(super) digest: u64,
}

/// One track of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TrackFacts {
    id: u32,
    pub(super) kind: Kind,
    pub(super) start_us: u64,
    pub(super) end_us: u64,
    /// Of the first sample.
    pub(super) shown_us: i64,
    pub(super) samples: u64,
    /// The longest sample.
    pub(super) frame_us: u64,
}

impl Facts {
    pub(super) fn of(media: &Media, init: &Init, bytes: u64, digest: u64) -> Self {
        let mut tracks = Vec::new();
        for track in &init.tracks {
            let mut samples = media.of_track(track.id);
            let us = |ticks: u64| micros(ticks, track.timescale);
            let (first, last) = (samples.next(), samples.next_back());
            let Some(first) = first else { continue };
            let last = last.unwrap_or(first);
            let longest = media.of_track(track.id).map(|sample| sample.duration).max();
            let pts = first.pts.saturating_sub(track.edit);
            let shown = i64::try_from(us(pts.unsigned_abs())).unwrap_or(i64::MAX);
            tracks.push(TrackFacts {
                id: track.id,
                kind: track.kind,
                start_us: us(first.dts),
                end_us: us(last.dts.saturating_add(last.duration.into())),
                shown_us: if pts < 0 { -shown } else { shown },
                samples: u64::try_from(media.of_track(track.id).count()).unwrap_or(0),
                frame_us: us(longest.unwrap_or(0).into()),
            });
        }
        let declared = init.tracks.iter();
        Self {
            declared: declared.map(|track| (track.id, track.kind)).collect(),
            tracks,
            bytes,
            digest,
        }
    }

    /// The picture, else the sound, else whatever there is.
    pub(super) fn reference(&self) -> Option<&TrackFacts> {
        self.tracks.iter().min_by_key(|track| track.kind)
    }
}

/// Ticks in microseconds, rounded down.
pub(super) fn micros(ticks: u64, timescale: u32) -> u64 {
    let us = u128::from(ticks) * 1_000_000 / u128::from(timescale.max(1));
    u64::try_from(us).unwrap_or(u64::MAX)
}

/// Rule 58, the initialization section.
pub(super) fn judge_init(init: &Init, uri: &str, page: &mut Page<'_>) {
    page.check(must(58, "no-ftyp"), init.begins_with_ftyp, "", || {
        format!("{uri} does not begin with ftyp")
    });
    page.check(must(58, "no-mvex"), init.has_mvex, "", || {
        format!("{uri} has no mvex")
    });
    page.check(must(58, "samples-in-init"), !init.has_samples, "", || {
        format!("{uri} lists samples")
    });
    page.check(
        should(58, "duration-in-init"),
        !init.has_duration,
        "",
        || format!("{uri} has a duration that is not zero"),
    );
    page.check(must(58, "no-tracks"), !init.tracks.is_empty(), "", || {
        format!("{uri} has no tracks")
    });
    let is_foreign = init
        .tracks
        .iter()
        .any(|track| matches!(&*track.entry, "avc3" | "hev1"));
    page.check(
        should(55, "parameter-sets-in-band"),
        !is_foreign,
        "",
        || format!("{uri} has an avc3 or hev1 track, which Safari refuses"),
    );
}

/// Rules 20, 24 and 26: a part.
pub(super) fn judge_part(
    part: &Part,
    media: &Media,
    init: &Init,
    at: Position,
    page: &mut Page<'_>,
) {
    structure(media, &at.to_string(), page);
    page.check(must(26, "no-fragment"), media.fragments > 0, at, || {
        "the part holds no fragment".to_owned()
    });
    let has_picture = init.first(Kind::Video).is_some();
    let holds_one = match init.first(Kind::Video) {
        Some(video) => media.of_track(video.id).any(is_entry),
        None => true,
    };
    let holds = holds_one || !part.is_independent;
    page.check(must(20, "independent-untrue"), holds, at, || {
        "INDEPENDENT=YES, but the part holds no IDR picture".to_owned()
    });
    page.check(
        should(20, "independent-unsaid"),
        part.is_independent || !holds_one,
        at,
        || {
            let what = if has_picture {
                "an IDR picture"
            } else {
                "sound only"
            };
            format!("the part holds {what}, but INDEPENDENT=YES is not said")
        },
    );
    if let Some((track, ticks)) = reference(media, init) {
        let told = part.duration_us;
        let found = micros(ticks, track.0);
        let frame = micros(track.1.into(), track.0);
        let holds = told.abs_diff(found) <= frame.saturating_add(TOUCH_US);
        page.check(must(24, "part-duration-untrue"), holds, at, || {
            format!(
                "DURATION {} for samples of {}",
                Seconds(told),
                Seconds(found)
            )
        });
    }
}

/// Rules 4 and 58: a segment.
pub(super) fn judge_segment(segment: &Segment, media: &Media, init: &Init, page: &mut Page<'_>) {
    let msn = segment.msn;
    structure(media, &msn.to_string(), page);
    page.check(must(58, "no-fragment"), media.fragments > 0, msn, || {
        "the segment holds no fragment".to_owned()
    });
    if let Some(video) = init.first(Kind::Video) {
        let first = media.of_track(video.id).next();
        page.check(must(58, "no-picture"), first.is_some(), msn, || {
            "the segment holds no picture".to_owned()
        });
        if let Some(first) = first {
            page.check(must(58, "segment-without-idr"), is_entry(first), msn, || {
                let idr = first.is_idr;
                format!("the segment does not begin with an IDR picture: sync sample {}, IDR {idr:?}", first.is_sync)
            });
        }
        let lies = media
            .of_track(video.id)
            .filter(|sample| sample.is_sync && sample.is_idr == Some(false));
        let lies = lies.count();
        page.check(should(58, "sync-flag-untrue"), lies == 0, msn, || {
            format!("{lies} samples are flagged as sync samples but hold no IDR picture")
        });
    }
    if let Some((track, ticks)) = reference(media, init) {
        let told = segment.duration_us;
        let found = micros(ticks, track.0);
        let frame = micros(track.1.into(), track.0);
        let holds = told.abs_diff(found) <= frame.saturating_add(TOUCH_US);
        page.check(must(4, "extinf-untrue"), holds, msn, || {
            format!("EXTINF {} for samples of {}", Seconds(told), Seconds(found))
        });
    }
}

/// Rule 24: parts hold what their segment holds.
pub(super) fn compare(msn: u64, parts: &[&Media], segment: &Media, page: &mut Page<'_>) {
    let by_track = |samples: &mut dyn Iterator<Item = &Sample>| {
        let mut samples: Vec<_> = samples.copied().collect();
        samples.sort_by_key(|sample| (sample.track, sample.dts));
        samples
    };
    let told = by_track(&mut parts.iter().flat_map(|part| &part.samples));
    let found = by_track(&mut segment.samples.iter());
    let differing = std::iter::zip(&told, &found).find(|(told, found)| told != found);
    let holds = told.len() == found.len() && differing.is_none();
    page.check(must(24, "parts-differ"), holds, msn, || match differing {
        Some((told, found)) => format!(
            "parts and segment differ in a sample of track {}: at tick {} with {} bytes, and at {} with {}",
            told.track, told.dts, told.size, found.dts, found.size
        ),
        None => format!("the parts hold {} samples, the segment {}", told.len(), found.len()),
    });
}

/// Rules 58, 61 and 62: a segment follows the one before it; `gap_us` of gap segments lie between.
pub(super) fn continuity(
    before: &Facts,
    after: &Facts,
    segment: &Segment,
    gap_us: u64,
    page: &mut Page<'_>,
) {
    if segment.has_discontinuity {
        return;
    }
    let same = before.declared == after.declared || gap_us > 0;
    page.check(must(61, "tracks-changed"), same, segment.msn, || {
        format!(
            "tracks {:?} became {:?} without DISCONTINUITY",
            before.declared, after.declared
        )
    });
    // Samples of subtitles and metadata come when there is something to say.
    let steady = before.tracks.iter().filter(|old| old.kind != Kind::Other);
    let both = steady.filter_map(|old| {
        let new = after.tracks.iter().find(|new| new.id == old.id)?;
        Some((old, new))
    });
    for (old, new) in both {
        let expected = old.end_us.saturating_add(gap_us);
        let off = new.start_us.abs_diff(expected);
        let words = || {
            let way = if new.start_us < expected {
                "before"
            } else {
                "behind"
            };
            format!(
                "the {:?} track goes on {} {way} its end at {}, without DISCONTINUITY",
                old.kind,
                Seconds(off),
                Seconds(expected)
            )
        };
        let rule: Rule = if gap_us > 0 {
            should(62, "gap-misses-timeline")
        } else if off > JUMP_US {
            must(61, "jump-without-discontinuity")
        } else {
            must(58, "tfdt-not-contiguous")
        };
        let most = if gap_us > 0 { JUMP_US / 5 } else { TOUCH_US };
        page.check(rule, off <= most, segment.msn, words);
    }
}

/// Where decoding can begin.
fn is_entry(sample: &Sample) -> bool {
    sample.is_sync && sample.is_idr != Some(false)
}

/// Timescale, longest sample and sum of the track that durations are told by.
fn reference(media: &Media, init: &Init) -> Option<((u32, u32), u64)> {
    let present = |kind| {
        init.first(kind)
            .filter(|track| media.of_track(track.id).next().is_some())
    };
    let track = present(Kind::Video).or_else(|| {
        let has_picture = init.first(Kind::Video).is_some();
        present(Kind::Audio).filter(|_| !has_picture)
    })?;
    let longest = media
        .of_track(track.id)
        .map(|sample| sample.duration)
        .max()?;
    Some(((track.timescale, longest), media.ticks(track.id)))
}

fn structure(media: &Media, place: &str, page: &mut Page<'_>) {
    page.check(should(26, "structure"), true, place, String::new);
    page.check(must(58, "structure"), true, place, String::new);
    for (kind, text) in &media.oddities {
        let rule = match *kind {
            "strange-box" => should(26, "strange-box"),
            "mdat-without-moof" | "moof-without-mdat" => must(26, kind),
            _ => must(58, kind),
        };
        page.broken(rule, place, || text.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::super::findings::Book;
    use super::*;

    fn facts(declared: &[(u32, Kind)], tracks: &[(u32, Kind, u64, u64)]) -> Facts {
        let track = |&(id, kind, start_us, end_us): &_| TrackFacts {
            id,
            kind,
            start_us,
            end_us,
            shown_us: 0,
            samples: 1,
            frame_us: 1,
        };
        Facts {
            declared: declared.to_vec(),
            tracks: tracks.iter().map(track).collect(),
            bytes: 0,
            digest: 0,
        }
    }

    fn broken(before: &Facts, after: &Facts) -> Vec<&'static str> {
        let mut book = Book::default();
        continuity(before, after, &Segment::default(), 0, &mut book.page("", 0));
        book.findings().iter().map(|found| found.kind).collect()
    }

    #[test]
    fn sparse_and_missing_samples_are_no_change_of_tracks() {
        use Kind::{Audio, Other, Video};
        let all = [(1, Video), (2, Audio), (3, Other)];
        let first = facts(
            &all,
            &[
                (1, Video, 0, 10_000),
                (2, Audio, 0, 10_000),
                (3, Other, 0, 5),
            ],
        );
        let cue = (3, Other, 600_000, 700_000);
        for next in [
            &[(1, Video, 10_000, 20_000), (2, Audio, 10_000, 20_000)][..],
            &[(1, Video, 10_000, 20_000), (2, Audio, 10_000, 20_000), cue],
            &[(1, Video, 10_000, 20_000)],
        ] {
            assert_eq!(broken(&first, &facts(&all, next)), [""; 0]);
        }
        let late = facts(
            &all,
            &[(1, Video, 10_000, 20_000), (2, Audio, 13_000, 20_000)],
        );
        assert_eq!(broken(&first, &late), ["tfdt-not-contiguous"]);
        let other = facts(&[(1, Video)], &[(1, Video, 10_000, 20_000)]);
        assert_eq!(broken(&first, &other), ["tracks-changed"]);
    }
}
