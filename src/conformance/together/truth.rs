//! Whether a variant's attributes are true: rules 52, 54 and 55, against the bytes.
//!
//! In:  a variant, its rendition, and the renditions of its audio group. Out: judgements.

use super::super::boxes::{Init, Kind, Track};
use super::super::findings::Page;
use super::super::parse::Variant;
use super::super::rendition::{Record, Rendition};
use super::super::rules::{must, should};
use super::{PICTURE, SOUND};

/// Media that must have been measured before an average means something.
const ENOUGH_US: u64 = 8_000_000;

/// Judges `variant`, whose media is `rendition` with the sound of `audio`. `later` is the same variant as it was when the
/// playlist was loaded again: a source that changed in mid-stream cannot have been foreseen.
pub(in super::super) fn judge(
    variant: &Variant,
    later: &[Variant],
    rendition: &Rendition,
    audio: &[&Rendition],
    page: &mut Page<'_>,
) {
    let own: Vec<_> = rendition.sections().collect();
    if own.is_empty() {
        return;
    }
    let others: Vec<_> = audio.iter().flat_map(|other| other.sections()).collect();
    codecs(variant, later, &own, &others, page);
    size(variant, later, &own, page);
    frame_rate(variant, rendition, page);
    bandwidth(variant, later, rendition, page);
}

/// Rules 54 and 55.
fn codecs(
    variant: &Variant,
    later: &[Variant],
    own: &[&Init],
    others: &[&Init],
    page: &mut Page<'_>,
) {
    let Some(codecs) = &variant.codecs else {
        return;
    };
    let later = later.iter().filter_map(|variant| variant.codecs.as_deref());
    let listed: Vec<_> = codecs
        .split(',')
        .chain(later.flat_map(|codecs| codecs.split(',')))
        .map(|codec| codec.trim().to_ascii_lowercase())
        .collect();
    let tracks = || own.iter().flat_map(|init| &init.tracks);
    for track in tracks().filter(|track| track.kind != Kind::Other) {
        let is_listed = listed.iter().any(|codec| says(codec, track));
        page.check(must(55, "codec-unlisted"), is_listed, "", || {
            let found = track.codec.as_deref().unwrap_or(&track.entry);
            format!(
                "CODECS `{codecs}` does not list {found}, which {} has",
                variant.uri
            )
        });
    }
    let all: Vec<_> = tracks()
        .chain(others.iter().flat_map(|init| &init.tracks))
        .collect();
    if variant.audio.is_some() && others.is_empty() {
        // The sound of the group was not seen.
        return;
    }
    for codec in &listed {
        let is_heard_or_seen = [SOUND, PICTURE].concat();
        if !is_heard_or_seen
            .iter()
            .any(|prefix| codec.starts_with(prefix))
        {
            // Subtitles, whose renditions are not followed.
            continue;
        }
        let is_there = all.iter().any(|track| says(codec, track));
        let is_sound = SOUND.iter().any(|prefix| codec.starts_with(prefix));
        let has_sound = all.iter().any(|track| track.kind == Kind::Audio);
        if is_sound && !has_sound {
            page.check(must(54, "sound-promised"), is_there, "", || {
                format!("CODECS `{codecs}` promises sound, {} has none", variant.uri)
            });
        } else {
            page.check(must(55, "codec-absent"), is_there, "", || {
                format!(
                    "CODECS `{codecs}` lists {codec}, which no track of {} is",
                    variant.uri
                )
            });
        }
    }
}

/// Whether a codec string is true of a track; where no exact string is known, its sample entry decides.
fn says(codec: &str, track: &Track) -> bool {
    if let Some(found) = &track.codec {
        // HE-AAC may be there without the configuration saying so.
        let is_implicit = found == "mp4a.40.2" && matches!(codec, "mp4a.40.5" | "mp4a.40.29");
        // AV1's may go on with what is the same in most streams.
        let (told, more) = codec.split_at_checked(found.len()).unwrap_or((codec, ""));
        let goes_on = found.starts_with("av01") && more.starts_with('.');
        let is_same = found.eq_ignore_ascii_case(told) && (more.is_empty() || goes_on);
        return is_implicit || is_same;
    }
    let entry = track.entry.to_ascii_lowercase();
    codec == entry || codec.starts_with(&format!("{entry}."))
}

/// Rule 52: RESOLUTION.
fn size(variant: &Variant, later: &[Variant], own: &[&Init], page: &mut Page<'_>) {
    let is_later = |found| {
        later
            .iter()
            .any(|variant| variant.resolution == Some(found))
    };
    for init in own {
        let video = init.first(Kind::Video);
        let size = video.and_then(|track| track.size);
        let display = video.and_then(|track| track.display);
        if let (Some(told), Some(found)) = (variant.resolution, size) {
            let is_true = told == found || is_later(found) || display == Some(told);
            page.check(must(52, "resolution-untrue"), is_true, "", || {
                format!(
                    "RESOLUTION {}x{} for pictures of {}x{}",
                    told.0, told.1, found.0, found.1
                )
            });
        }
    }
}

/// Rule 52: FRAME-RATE is the highest there is.
fn frame_rate(variant: &Variant, rendition: &Rendition, page: &mut Page<'_>) {
    let Some(told) = variant.frame_rate_micros else {
        return;
    };
    let (mut pictures, mut lasted_us) = (0u64, 0u64);
    for facts in rendition
        .records
        .values()
        .filter_map(|record| record.facts.as_ref())
    {
        let tracks = facts
            .tracks
            .iter()
            .filter(|track| track.kind == Kind::Video);
        for track in tracks {
            pictures = pictures.saturating_add(track.samples);
            lasted_us = lasted_us.saturating_add(track.end_us.saturating_sub(track.start_us));
        }
    }
    let found = u128::from(pictures) * 1_000_000_000_000;
    let Some(found) = found.checked_div(lasted_us.into()) else {
        return;
    };
    let found = u64::try_from(found).unwrap_or(u64::MAX);
    let words = || {
        format!(
            "FRAME-RATE {}.{:03} for {}.{:03} pictures a second",
            told / 1_000_000,
            told % 1_000_000 / 1000,
            found / 1_000_000,
            found % 1_000_000 / 1000
        )
    };
    let holds = found <= told.saturating_mul(102) / 100;
    page.check(must(52, "frame-rate-untrue"), holds, "", words);
    let holds = found >= told.saturating_mul(90) / 100;
    page.check(should(52, "frame-rate-high"), holds, "", words);
}

/// Rule 52: rates over runs of 0.5 to 1.5 target durations, with Apple's tolerance for live streams.
fn bandwidth(variant: &Variant, later: &[Variant], rendition: &Rendition, page: &mut Page<'_>) {
    let all = || later.iter().chain([variant]);
    let records: Vec<_> = rendition.records.values().collect();
    let target = rendition.target_s().saturating_mul(1_000_000);
    let rate = |(bytes, us): (u64, u64)| {
        let bits = u128::from(bytes) * 8_000_000;
        u64::try_from(bits.checked_div(us.into()).unwrap_or(0)).unwrap_or(u64::MAX)
    };
    let runs = (0..records.len()).flat_map(|start| runs_from(records.get(start..).unwrap_or(&[])));
    let runs = runs.filter(|(_, us)| *us >= target / 2 && *us <= target.saturating_mul(3) / 2);
    if let (Some(peak), Some(told)) = (
        runs.map(rate).max(),
        all().filter_map(|v| v.bandwidth_bps).max(),
    ) {
        let words = || format!("BANDWIDTH {told} for a peak of {peak} b/s");
        let is_far = peak > told.saturating_mul(125) / 100;
        page.check(must(52, "bandwidth-low"), !is_far, "", words);
        page.check(
            should(52, "bandwidth-exceeded"),
            is_far || peak <= told,
            "",
            words,
        );
    }
    let total = records.iter().filter_map(|record| measure(record));
    let total = total.fold((0u64, 0u64), |(bytes, us), (b, u)| {
        (bytes.saturating_add(b), us.saturating_add(u))
    });
    let average = all().filter_map(|v| v.average_bps).max();
    if let Some(told) = average.filter(|_| total.1 >= ENOUGH_US) {
        let average = rate(total);
        let holds = average <= told.saturating_mul(110) / 100;
        page.check(should(52, "average-exceeded"), holds, "", || {
            format!("AVERAGE-BANDWIDTH {told} for {average} b/s")
        });
    }
}

/// Bytes and duration of the first segment, of the first two, and so on, as far as they are known.
fn runs_from(records: &[&Record]) -> Vec<(u64, u64)> {
    let known = records.iter().map_while(|record| measure(record)).take(64);
    let sums = known.scan((0u64, 0u64), |(bytes, us), (more_bytes, more_us)| {
        *bytes = bytes.saturating_add(more_bytes);
        *us = us.saturating_add(more_us);
        Some((*bytes, *us))
    });
    sums.collect()
}

fn measure(record: &Record) -> Option<(u64, u64)> {
    let facts = record.facts.as_ref()?;
    Some((facts.bytes, record.segment.duration_us))
}

#[cfg(test)]
mod tests {
    use super::super::super::findings::Book;
    use super::*;

    fn track(kind: Kind, entry: &str, codec: Option<&str>, pixels: Option<(u64, u64)>) -> Track {
        Track {
            id: 1,
            kind,
            timescale: 1,
            entry: entry.to_owned(),
            codec: codec.map(str::to_owned),
            size: pixels,
            display: pixels.map(|(_, height)| (1024, height)),
            edit: 0,
            video: None,
            default_duration: 0,
            default_size: 0,
            default_flags: 0,
        }
    }

    #[test]
    fn codec_strings_are_compared_whole_but_for_what_av1_may_leave_out() {
        let av1 = track(Kind::Video, "av01", Some("av01.0.04M.08"), None);
        let hevc = track(Kind::Video, "hvc1", Some("hvc1.1.6.L93.B0"), None);
        for (told, track, is_said) in [
            ("av01.0.04m.08", &av1, true),
            ("av01.0.04m.08.0.110.01.01.01.0", &av1, true),
            ("av01.0.05m.08", &av1, false),
            ("av01.0.04m.0", &av1, false),
            ("hvc1.1.6.l93.b0", &hevc, true),
            ("hvc1.1.6.l93.b0.0", &hevc, false),
            ("hvc1.1.6.l120.b0", &hevc, false),
        ] {
            assert_eq!(says(told, track), is_said, "{told}");
        }
    }

    #[test]
    fn what_attributes_may_say_besides() {
        let init = Init {
            tracks: vec![
                track(Kind::Video, "avc1", Some("avc1.64001E"), Some((720, 576))),
                track(Kind::Audio, "mp4a", Some("mp4a.40.2"), None),
            ],
            ..Init::default()
        };
        for (told, width, expected) in [
            ("avc1.64001e,mp4a.40.2", 720, &[][..]),
            // Pixels that are not square; HE-AAC that is not signalled; subtitles of another rendition.
            ("avc1.64001e,mp4a.40.5,stpp.ttml.im1t", 1024, &[]),
            ("avc1.64001e,mp4a.40.2,wvtt", 1024, &[]),
            ("avc1.64001e,mp4a.40.2,ac-3", 720, &["codec-absent"]),
            ("avc1.64001e", 720, &["codec-unlisted"]),
            ("avc1.64001e,mp4a.40.2", 704, &["resolution-untrue"]),
        ] {
            let variant = Variant {
                codecs: Some(told.to_owned()),
                resolution: Some((width, 576)),
                ..Variant::default()
            };
            let mut book = Book::default();
            let page = &mut book.page("", 0);
            codecs(&variant, &[], &[&init], &[], page);
            size(&variant, &[], &[&init], page);
            let kinds: Vec<_> = book.findings().iter().map(|found| found.kind).collect();
            assert_eq!(kinds, expected, "{told}");
        }
    }
}
