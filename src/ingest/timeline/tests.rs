use super::*;

const AUDIO: Timescale = Timescale::new(48_000).expect("not zero");

/// A publisher in real time: 30 fps video and 48 kHz AAC from `start`, with a shift of its clock
/// from some moment on.
struct Publisher {
    timeline: Timeline,
    start: u32,
    /// From this media time on, timestamps are moved by so much.
    step: (i64, i64),
    video: Vec<i64>,
    audio: Vec<i64>,
}

impl Publisher {
    fn new(start: u32, step: (i64, i64)) -> Self {
        let mut timeline = Timeline::new();
        timeline.hint_frame_rate(30_000);
        timeline.set_audio_scale(AUDIO);
        Self {
            timeline,
            start,
            step,
            video: vec![],
            audio: vec![],
        }
    }

    fn stamp(&self, ms: i64) -> u32 {
        let moved = if ms >= self.step.0 {
            ms + self.step.1
        } else {
            ms
        };
        self.start
            .wrapping_add(u32::try_from(moved.rem_euclid(1 << 32)).unwrap())
    }

    fn run(&mut self, seconds: i64) {
        let video = (0..seconds * 30).map(|n| (n * 1000 / 30, TrackKind::Video));
        let audio = (0..seconds * 48_000 / 1024).map(|n| (n * 1024 / 48, TrackKind::Audio));
        let mut messages: Vec<_> = video.chain(audio).collect();
        messages.sort_by_key(|m| m.0);
        for (ms, kind) in messages {
            let now = Duration::from_millis(ms.unsigned_abs());
            let stamp = self.stamp(ms);
            match kind {
                TrackKind::Video => self.video.push(self.timeline.video(stamp, 0, now).dts),
                TrackKind::Audio => self.audio.extend(self.timeline.audio(stamp, 1024, now)),
            }
        }
    }

    /// Ends of both tracks in milliseconds.
    fn ends(&self) -> (i64, i64) {
        let video = self.video.last().unwrap() / 90;
        (video, self.audio.last().unwrap() / 48)
    }
}

#[test]
fn wraps_and_extended_timestamps_leave_no_trace() {
    for start in [
        0,
        1,
        5_000_000,
        (1 << 24) - 5000,
        (1 << 31) - 5000,
        u32::MAX - 5000,
        u32::MAX,
    ] {
        let mut publisher = Publisher::new(start, (0, 0));
        publisher.run(20);
        let first = BASE_MS * 90;
        let video: Vec<i64> = (0..600).map(|n| first + n * 3000).collect();
        assert_eq!(publisher.video, video, "from {start}");
        let audio: Vec<i64> = (0..937).map(|n| BASE_MS * 48 + n * 1024).collect();
        assert_eq!(publisher.audio, audio, "from {start}");
        assert_eq!(publisher.timeline.take_jumps(), 0, "from {start}");
    }
}

#[test]
fn after_a_jump_both_tracks_go_on_where_wall_time_puts_them() {
    for jump in [
        10_000,
        -10_000,
        3_600_000,
        -4_000,
        2_000_000_000,
        -2_500,
        -500,
    ] {
        let mut publisher = Publisher::new(20_000, (7_000, jump));
        publisher.run(20);
        let (video_ms, audio_ms) = publisher.ends();
        // The last messages were sent at 19.966 s and 19.968 s.
        assert!(
            (video_ms - BASE_MS - 19_966).abs() <= 60,
            "{jump}: video ends at {video_ms}"
        );
        assert!(
            (audio_ms - BASE_MS - 19_968).abs() <= 80,
            "{jump}: audio ends at {audio_ms}"
        );
        assert!(
            (video_ms + 2 - audio_ms).abs() <= 40,
            "{jump}: {video_ms} and {audio_ms}"
        );
        assert!(publisher.video.windows(2).all(|w| w[0] < w[1]), "{jump}");
        assert!(
            publisher.audio.windows(2).all(|w| w[1] - w[0] >= 1024),
            "{jump}"
        );
        let last: Vec<i64> = publisher.video[400..]
            .windows(2)
            .map(|w| w[1] - w[0])
            .collect();
        assert!(last.iter().all(|step| *step == 3000), "{jump}: {last:?}");
        assert_eq!(publisher.timeline.take_jumps(), 1, "{jump}");
        assert_eq!(publisher.timeline.take_jumps(), 0, "{jump}: told once");
    }
}

#[test]
fn a_short_step_forward_is_a_gap_in_both_tracks() {
    let mut publisher = Publisher::new(0, (7_000, 2_000));
    publisher.run(20);
    let (video_ms, audio_ms) = publisher.ends();
    assert_eq!(video_ms, BASE_MS + 21_966);
    assert!((audio_ms - BASE_MS - 21_968).abs() <= 40);
}

#[test]
fn sound_stays_with_the_picture_however_short_the_step_or_the_hole() {
    for by in [-79, -45, 25, 43, 60, 79] {
        let mut publisher = Publisher::new(20_000, (7_000, by));
        publisher.run(20);
        let (video_ms, audio_ms) = publisher.ends();
        let off = audio_ms - video_ms - 2;
        assert!(off.abs() <= 21, "a step of {by} ms: {off} ms");
    }
    for missing in 1..=4 {
        let mut timeline = Timeline::new();
        timeline.set_audio_scale(AUDIO);
        let mut place = |n: i64| {
            let stamp = u32::try_from(n * 1024 / 48).unwrap();
            let placed = timeline.audio(stamp, 1024, Duration::ZERO).unwrap();
            placed - BASE_MS * 48 - n * 1024
        };
        for n in 0..100 {
            assert_eq!(place(n), 0, "frame {n}");
        }
        // Soon no more than rounding, the sooner the more is missing.
        let early: Vec<_> = (100 + missing..140).map(place).collect();
        let until = if missing == 1 { 7 } else { 3 };
        assert!(
            early[until..].iter().all(|off| off.abs() <= 48),
            "{missing}: {early:?}"
        );
    }
}

#[test]
fn one_wrong_timestamp_does_not_move_the_rest() {
    for wrong in [-1_000, -9_000, 9_000, 3_000_000] {
        let mut timeline = Timeline::new();
        timeline.hint_frame_rate(25_000);
        timeline.set_audio_scale(AUDIO);
        let mut times = vec![];
        for n in 0..100u32 {
            let now = Duration::from_millis(u64::from(n) * 40);
            let error = if n == 50 { wrong } else { 0 };
            timeline.audio(20_000 + n * 40, 1024, now);
            times.push(
                timeline
                    .video((20_000 + n * 40).wrapping_add_signed(error), 0, now)
                    .dts,
            );
        }
        for (n, dts) in (0..).zip(&times) {
            let is_exact = *dts == BASE_MS * 90 + n * 3600;
            assert!(is_exact || n == 50, "{wrong}: frame {n} at {dts}");
        }
        assert!(times[49] < times[50] && times[50] < times[51], "{wrong}");
    }
}

#[test]
fn tracks_that_start_apart_stay_apart() {
    // Audio came first on the wire but is stamped later, and the other way round.
    for (video, audio) in [(0u32, 400u32), (2_900, 0), (0, 2_900)] {
        for video_first in [true, false] {
            let mut timeline = Timeline::new();
            timeline.set_audio_scale(AUDIO);
            let now = Duration::ZERO;
            let mut first = None;
            if video_first {
                first = Some(timeline.video(video, 0, now).dts);
            }
            let audio_ms = timeline.audio(audio, 1024, now).unwrap() / 48;
            let video_ms = first.unwrap_or_else(|| timeline.video(video, 0, now).dts) / 90;
            assert!(audio_ms >= 0 && video_ms >= 0);
            assert_eq!(video_ms - audio_ms, i64::from(video) - i64::from(audio));
        }
    }
}

#[test]
fn audio_that_starts_late_is_in_place_even_when_media_outruns_the_wall() {
    let mut timeline = Timeline::new();
    timeline.set_audio_scale(AUDIO);
    for n in 0..1000u32 {
        timeline.video(n * 40, 0, Duration::from_millis(u64::from(n)));
    }
    let start = timeline
        .audio(40_000, 1024, Duration::from_secs(1))
        .unwrap();
    assert_eq!(start / 48, BASE_MS + 40_000);
}

#[test]
fn audio_is_counted_in_samples_until_it_is_far_off() {
    let mut timeline = Timeline::new();
    let scale = Timescale::new(44_100).unwrap();
    timeline.set_audio_scale(scale);
    let now = Duration::ZERO;
    // Rounded to milliseconds, with 60 ms of jitter.
    for n in 0..500u32 {
        let stamp = n * 1024 * 1000 / 44_100 + (n % 3) * 30;
        let start = timeline.audio(stamp, 1024, now);
        assert_eq!(
            start,
            Some(scale_ticks(scale, BASE_MS) + i64::from(n) * 1024)
        );
    }
    // A second is missing: the next frame stands where its timestamp says.
    let stamp = 500 * 1024 * 1000 / 44_100 + 1000;
    let start = timeline.audio(stamp, 1024, now).unwrap();
    assert_eq!(start, scale_ticks(scale, BASE_MS + i64::from(stamp)));
    // And 200 ms too many: frames are left out until time has caught up.
    let left_out = (1..=20u32)
        .filter(|n| timeline.audio(stamp - 200 + n * 23, 1024, now).is_none())
        .count();
    assert!((5..=9).contains(&left_out), "{left_out}");
}

fn scale_ticks(scale: Timescale, ms: i64) -> i64 {
    Timescale::MILLIS.convert(ms, scale)
}

#[test]
fn video_at_one_spot_gets_the_next_free_ticks() {
    let mut timeline = Timeline::new();
    let now = Duration::ZERO;
    let times: Vec<VideoTime> = [0, 0, 40, 39, 80]
        .iter()
        .map(|ms| timeline.video(*ms, 10, now))
        .collect();
    let base = BASE_MS * 90;
    let dts: Vec<i64> = times.iter().map(|t| t.dts - base).collect();
    assert_eq!(dts, [0, 1, 3600, 3601, 7200]);
    // Presentation keeps its time.
    assert_eq!(
        times[3].dts + i64::from(times[3].composition_offset) - base,
        49 * 90
    );
}

#[test]
fn timestamps_that_stand_still_follow_the_wall() {
    let mut timeline = Timeline::new();
    let mut last = 0;
    for n in 0..300u64 {
        last = timeline.video(7, 0, Duration::from_millis(n * 33)).dts;
    }
    assert!((last / 90 - BASE_MS - 9_867).abs() < 400, "{last}");
}

proptest::proptest! {
    #[test]
    fn any_timestamps_give_increasing_times(
        messages in proptest::collection::vec((proptest::bool::ANY, proptest::num::u32::ANY, -500i32..500, 0u64..5000), 1..200),
        near in proptest::bool::ANY,
    ) {
        let mut timeline = Timeline::new();
        timeline.set_audio_scale(AUDIO);
        let (mut video, mut audio, mut now) = (-1, -1, Duration::ZERO);
        for (is_video, stamp, composition_ms, wait) in messages {
            now += Duration::from_millis(wait);
            let stamp = if near { stamp % 20_000 } else { stamp };
            if is_video {
                let dts = timeline.video(stamp, composition_ms, now).dts;
                assert!(dts > video);
                video = dts;
            } else if let Some(start) = timeline.audio(stamp, 1024, now) {
                assert!(start > audio);
                audio = start;
            }
        }
    }
}
