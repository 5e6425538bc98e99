//! Parts and windows for this room's tests and `origin`'s.

use std::sync::Arc;

use bytes::Bytes;

use super::{Config, Variant, Window};
use crate::base::clock::WallTime;
use crate::media::codec::avc;
use crate::media::{Tracks, VideoTrack};
use crate::packaging::{InitSection, Part};

/// 2026-10-01T10:00:00.000Z
pub(crate) const START: WallTime = WallTime(1_790_848_800_000);
/// A part of ten frames at 30 fps.
pub(crate) const PART: i64 = 30_000;

/// An initialization section called `hash`.
pub(crate) fn init(hash: &str) -> Arc<InitSection> {
    let record = Bytes::from_static(avc::tests::X264_360P30);
    let config = Arc::new(avc::parse(&record).unwrap());
    Arc::new(InitSection {
        bytes: Bytes::copy_from_slice(hash.as_bytes()),
        hash: hash.to_owned(),
        tracks: Tracks {
            video: Some(VideoTrack { config }),
            audio: None,
        },
    })
}

/// Pushes one segment of `durations`, beginning at `start`; gives its end.
pub(crate) fn push_segment(window: &mut Window, start: i64, durations: &[i64]) -> i64 {
    let end = push_parts(window, start, durations, true);
    assert_eq!(window.snapshot().hint().map(|h| h.part), Some(0));
    end
}

/// Pushes the first parts of a segment, all of it if it `closes`; gives their end.
pub(crate) fn push_parts(window: &mut Window, start: i64, durations: &[i64], closes: bool) -> i64 {
    push_parts_with_gaps(window, start, durations, closes, &[])
}

/// Like [`push_parts`]; the parts with the indices `gaps` are missing.
pub(crate) fn push_parts_with_gaps(
    window: &mut Window,
    mut start: i64,
    durations: &[i64],
    closes: bool,
    gaps: &[usize],
) -> i64 {
    for (index, duration) in durations.iter().enumerate() {
        let is_gap = gaps.contains(&index);
        let content = (!is_gap).then(|| Bytes::from(format!("part at {start}")));
        window.push(Part {
            bytes: content.unwrap_or_default(),
            start,
            duration: *duration,
            is_independent: index == 0 && !is_gap,
            opens_segment: index == 0,
            closes_segment: closes && index + 1 == durations.len(),
            is_gap,
            is_promised: false,
        });
        start += duration;
    }
    start
}

/// A window at 30 fps with `segments` complete segments and `parts` parts of the next.
pub(crate) fn window(config: &Config, first_msn: u64, segments: usize, parts: usize) -> Window {
    let mut window = Window::new(config, first_msn);
    window.start_timeline(init("7f3a09bc"), START);
    let mut at = 0;
    for _ in 0..segments {
        at = push_segment(&mut window, at, &[PART; 6]);
    }
    push_parts(&mut window, at, &vec![PART; parts], false);
    window
}

/// 720p at 59.94 fps with stereo sound.
pub(crate) fn variant() -> Variant {
    Variant {
        name: "720p60".to_owned(),
        bandwidth_bps: 3_422_999,
        average_bandwidth_bps: 3_000_000,
        codecs: "avc1.4D401F,mp4a.40.2".to_owned(),
        width: 1280,
        height: 720,
        frame_rate_millis: 59_940,
        is_source: true,
    }
}
