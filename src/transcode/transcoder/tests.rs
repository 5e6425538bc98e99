use std::sync::atomic::AtomicU32;
use std::time::Duration;

use super::*;
use crate::media::codec::AudioKind;
use crate::transcode::FrameRate;
use crate::transcode::encoder::tests::{pattern, settings};
use crate::transcode::raw_frame::RawFrame;

/// A source of `count` pictures with a keyframe every `gop`, as an encoder without B-frames sends it.
fn source(count: i64, gop: i64) -> (Arc<VideoConfig>, Vec<Sample>) {
    let mut encoder = X264Encoder::open(&settings(320, 180)).unwrap();
    let samples = (0..count).map(|n| encoder.encode(&pattern(320, 180, n), n % gop == 0));
    let samples = samples.map(|sample| sample.unwrap().unwrap()).collect();
    (Arc::clone(encoder.config()), samples)
}

fn rung(name: &str, width: u16, height: u16, every: u32) -> VideoRung {
    VideoRung {
        name: name.to_owned(),
        width,
        height,
        every,
        fps_millis: 30_000 / every,
        bitrate_bps: 200_000,
    }
}

fn job(video: Arc<VideoConfig>, clock: FrameClock) -> Job {
    Job {
        video,
        audio: None,
        fps_millis: 30_000,
        clock,
        segment_ms: 2000,
        begins_short: true,
        first_pts: None,
        rungs: vec![rung("large", 160, 90, 1), rung("small", 80, 44, 2)],
        shed: 0,
        keeps_last: matches!(clock, FrameClock::Constant(_)),
        cold: 0,
        is_patient: false,
        audio_encodes: Vec::new(),
        config: Config::default(),
    }
}

const FPS30: FrameClock = FrameClock::Constant(FrameRate {
    frames: 30,
    seconds: 1,
});

/// Everything that comes out after the end of the input.
fn outputs(mut started: Started) -> Vec<Output> {
    outputs_of(&mut started)
}

fn outputs_of(started: &mut Started) -> Vec<Output> {
    started.transcoder.finish();
    std::iter::from_fn(|| next(&mut started.output_rx)).collect()
}

/// The next product; a transcoder that hangs is none that has ended.
fn next(output_rx: &mut Products) -> Option<Output> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().build().unwrap();
    let received = async { tokio::time::timeout(Duration::from_mins(1), output_rx.recv()).await };
    runtime.block_on(received).expect("nothing for a minute")
}

fn feed(started: &mut Started, samples: Vec<Sample>, opens: impl Fn(&Sample) -> bool) {
    for sample in samples {
        let opens_at = opens(&sample).then(|| sample.pts());
        started
            .transcoder
            .video(sample, Some(Instant::now()), opens_at);
    }
}

/// Times and keyframes of a rung, in frames of 3000 ticks.
fn frames(outputs: &[Output], wanted: usize) -> (Vec<i64>, Vec<i64>) {
    let samples = outputs.iter().filter_map(|output| match output {
        Output::Video { rung, sample, .. } if *rung == wanted => Some(sample),
        _ => None,
    });
    let times = samples.clone().map(|sample| sample.dts / 3000).collect();
    let keyframes = samples.filter(|s| s.is_sync).map(|s| s.dts / 3000);
    (times, keyframes.collect())
}

#[test]
fn every_frame_comes_out_of_every_rung_and_segments_open_with_the_sources() {
    let (video, samples) = source(130, 60);
    let mut started = Transcoder::start(&job(video, FrameClock::Source)).unwrap();
    assert_eq!((started.video[0].width, started.video[1].width), (160, 80));
    feed(&mut started, samples, |sample| sample.is_sync);
    let outputs = outputs(started);
    let (times, keyframes) = frames(&outputs, 0);
    assert_eq!(times, (0..130).collect::<Vec<_>>());
    assert_eq!(keyframes, [0, 60, 120]);
    let (times, keyframes) = frames(&outputs, 1);
    assert_eq!(times, (0..130).step_by(2).collect::<Vec<_>>());
    assert_eq!(keyframes, [0, 60, 120]);
    assert!(
        !outputs
            .iter()
            .any(|output| matches!(output, Output::Tick { .. }))
    );
}

#[test]
fn what_will_not_come_any_more_is_said_in_order() {
    let (video, samples) = source(40, 60);
    let mut started = Transcoder::start(&job(video, FPS30)).unwrap();
    feed(&mut started, samples, |_| false);
    for wanted in 0..2 {
        let mut until_so_far = i64::MIN;
        for output in outputs_of(&mut started) {
            match output {
                Output::Video { rung, sample, .. } if rung == wanted => {
                    assert!(sample.dts >= until_so_far, "it was said not to come");
                }
                Output::VideoUntil { rung, until, .. } if rung == wanted => {
                    assert!(until >= until_so_far);
                    until_so_far = until;
                }
                _ => {}
            }
        }
        if wanted == 0 {
            assert_eq!(until_so_far, 40 * 3000, "all of them are out");
        }
    }
}

#[test]
fn a_constant_clock_fills_gaps_and_ticks_before_each_frame() {
    let (video, mut samples) = source(70, 200);
    samples.retain(|sample| !(20..30).contains(&(sample.dts / 3000)));
    let mut started = Transcoder::start(&job(video, FPS30)).unwrap();
    feed(&mut started, samples, |_| false);
    let outputs = outputs(started);
    let (times, keyframes) = frames(&outputs, 0);
    assert_eq!(times, (0..70).collect::<Vec<_>>());
    assert_eq!(keyframes, [0, 30]);
    let mut ticked = -1;
    for output in &outputs {
        match output {
            Output::Tick { pts, opens_segment } => {
                ticked = *pts;
                assert_eq!(*opens_segment, [0, 90_000].contains(pts));
            }
            Output::Video { sample, .. } => assert!(sample.dts <= ticked),
            _ => {}
        }
    }
    assert_eq!(ticked, 69 * 3000);
}

fn silence(n: i64) -> Sample {
    let stereo = aac::Config::parse(&bytes::Bytes::from_static(STEREO_48K)).unwrap();
    Sample {
        track: crate::media::TrackKind::Audio,
        dts: n * 1024,
        composition_offset: 0,
        is_sync: true,
        data: silent_frame(&stereo).unwrap(),
    }
}

/// A job on a constant clock for a source with sound.
fn job_with_sound(video: Arc<VideoConfig>) -> Job {
    let stereo =
        AudioConfig::parse(AudioKind::Aac, &bytes::Bytes::from_static(STEREO_48K)).unwrap();
    Job {
        audio: Some(Arc::new(stereo)),
        ..job(video, FPS30)
    }
}

const STEREO_48K: &[u8] = &[0x11, 0x90];

#[test]
fn a_picture_that_stands_still_goes_on_for_as_long_as_there_is_sound() {
    let (video, samples) = source(30, 60);
    let mut started = Transcoder::start(&job_with_sound(video)).unwrap();
    feed(&mut started, samples, |_| false);
    let mut made = Vec::new();
    for n in 0..31 * 48_000 / 1024 {
        started.transcoder.audio(silence(n));
        // Not faster than the encoders: what waits is bounded.
        while started.transcoder.input_tx.as_ref().unwrap().len() > 100 {
            made.extend(next(&mut started.output_rx));
        }
    }
    made.extend(outputs(started));
    let (times, keyframes) = frames(&made, 0);
    let last = *times.last().unwrap();
    assert!(
        (915..930).contains(&last),
        "{last}: 300 ms before the sound"
    );
    assert_eq!(times, (0..=last).collect::<Vec<_>>());
    let whole = (30..=last).step_by(60);
    let expected: Vec<_> = std::iter::once(0).chain(whole).collect();
    assert_eq!(keyframes, expected);
}

#[test]
fn a_sparse_source_whose_sound_has_gone_is_moved_on_by_wall_time() {
    let (video, mut samples) = source(30, 60);
    samples.retain(|sample| [0, 1, 20].contains(&(sample.dts / 3000)));
    let mut started = Transcoder::start(&job_with_sound(video)).unwrap();
    feed(&mut started, samples, |_| false);
    for n in 0..40 {
        started.transcoder.audio(silence(n));
    }
    let mut ticked = 0;
    while ticked < 60 * 3000 {
        match next(&mut started.output_rx) {
            Some(Output::Tick { pts, .. }) => ticked = pts,
            Some(_) => {}
            None => panic!("it ended at {ticked}"),
        }
    }
}

#[test]
fn the_queues_take_a_start_of_the_longest_segment_at_once() {
    let queued = |segment_ms, fps_millis| {
        let (video, _) = source(1, 30);
        let job = Job {
            fps_millis,
            segment_ms,
            ..job_with_sound(video)
        };
        job.queued()
    };
    assert_eq!(queued(2000, 60_000), 512);
    // Ten and a half seconds of 60 pictures and 46.9 frames of sound.
    assert!((1123..2000).contains(&queued(10_000, 60_000)));
    assert_eq!(queued(10_000, u32::MAX), 4096);
}

#[test]
fn pictures_before_the_first_wanted_one_are_decoded_only() {
    let (video, samples) = source(30, 60);
    let job = Job {
        first_pts: Some(10 * 3000),
        ..job(video, FPS30)
    };
    let mut started = Transcoder::start(&job).unwrap();
    feed(&mut started, samples, |_| false);
    let (times, keyframes) = frames(&outputs(started), 0);
    assert_eq!((times[0], times.len(), keyframes), (10, 20, vec![10]));
}

#[test]
fn another_configuration_is_not_seen_outside() {
    let (video, first) = source(20, 60);
    let mut encoder = X264Encoder::open(&settings(640, 360)).unwrap();
    let second = (20..60).map(|n| encoder.encode(&pattern(640, 360, n), n == 20));
    let second = second.map(|sample| sample.unwrap().unwrap()).collect();
    let mut started = Transcoder::start(&job(video, FPS30)).unwrap();
    feed(&mut started, first, |_| false);
    started
        .transcoder
        .video_config(Arc::clone(encoder.config()));
    feed(&mut started, second, |_| false);
    let (times, keyframes) = frames(&outputs(started), 0);
    assert_eq!(times, (0..60).collect::<Vec<_>>());
    // Segments open there, and nothing but them.
    assert_eq!(keyframes, [0, 30]);
}

/// An encoder that fails or panics at its n-th frame; each one opened counts.
struct Broken {
    inner: X264Encoder,
    left: u32,
    panics: bool,
}

impl EncodeVideo for Broken {
    fn encode(&mut self, frame: &RawFrame, is_keyframe: bool) -> Result<Option<Sample>, Error> {
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            assert!(!self.panics, "seeded");
            return Err(Error::Unsupported("seeded".to_owned()));
        }
        self.inner.encode(frame, is_keyframe)
    }

    fn config(&self) -> &Arc<VideoConfig> {
        self.inner.config()
    }
}

fn open_broken(panics: bool) -> (Arc<OpenEncoder>, Arc<AtomicU32>) {
    let opened = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&opened);
    let open = move |rung: &VideoRung| {
        let inner = X264Encoder::open(&settings(rung.width, rung.height))?;
        let is_first = count.fetch_add(1, Ordering::Relaxed) == 0;
        let left = if is_first { 11 } else { u32::MAX };
        let encoder: Box<dyn EncodeVideo> = Box::new(Broken {
            inner,
            left,
            panics,
        });
        Ok(encoder)
    };
    (Arc::new(open), opened)
}

#[test]
fn an_encoder_that_breaks_is_made_anew_and_hurts_no_other() {
    for panics in [false, true] {
        let (video, samples) = source(90, 30);
        let (open, opened) = open_broken(panics);
        let mut started = Transcoder::start_with(&job(video, FrameClock::Source), &open).unwrap();
        let mut made = Vec::new();
        let has_failed = |made: &[Output]| made.iter().any(|o| matches!(o, Output::Failed { .. }));
        for chunk in samples.chunks(30) {
            feed(&mut started, chunk.to_vec(), |sample| sample.is_sync);
            while !has_failed(&made) {
                made.extend(next(&mut started.output_rx));
            }
            std::thread::sleep(Duration::from_millis(120)); // As long as the pause after a failure.
        }
        made.extend(outputs(started));
        let outputs = made;
        let failed = outputs
            .iter()
            .filter(|o| matches!(o, Output::Failed { .. }));
        assert_eq!(failed.count(), 1);
        assert_eq!(opened.load(Ordering::Relaxed), 3, "two, and one again");
        let (times, keyframes) = frames(&outputs, 0);
        assert_eq!(&times[..10], (0..10).collect::<Vec<_>>());
        assert_eq!(times.last(), Some(&89));
        let back = times.iter().find(|time| **time > 10).unwrap();
        assert!(keyframes.contains(back), "it returns with a keyframe");
        assert_eq!(times[10..], (*back..90).collect::<Vec<_>>(), "one gap");
        assert!(back - 10 <= 60, "{} frames of two seconds", back - 10);
        let (times, keyframes) = frames(&outputs, 1);
        assert_eq!(times, (0..90).step_by(2).collect::<Vec<_>>());
        assert_eq!(keyframes, [0, 30, 60]);
    }
}

/// An encoder that needs much longer than a frame's duration while it is told so.
struct Slow {
    inner: X264Encoder,
    while_set: Option<Arc<AtomicBool>>,
    needs: Duration,
}

impl EncodeVideo for Slow {
    fn encode(&mut self, frame: &RawFrame, is_keyframe: bool) -> Result<Option<Sample>, Error> {
        let is_slow = self.while_set.as_ref();
        if is_slow.is_some_and(|is_slow| is_slow.load(Ordering::Relaxed)) {
            std::thread::sleep(self.needs);
        }
        self.inner.encode(frame, is_keyframe)
    }

    fn config(&self) -> &Arc<VideoConfig> {
        self.inner.config()
    }
}

/// The rung called `name` needs so many frames' duration for each.
fn open_slow(is_slow: &Arc<AtomicBool>, name: &'static str, frames: u32) -> Arc<OpenEncoder> {
    let is_slow = Arc::clone(is_slow);
    Arc::new(move |rung: &VideoRung| {
        let encoder: Box<dyn EncodeVideo> = Box::new(Slow {
            inner: X264Encoder::open(&settings(rung.width, rung.height))?,
            while_set: (rung.name == name).then(|| Arc::clone(&is_slow)),
            needs: frames * FRAME,
        });
        Ok(encoder)
    })
}

/// The duration of a frame, at which an encoder sends.
const FRAME: Duration = Duration::from_millis(33);

#[test]
fn overload_sheds_the_most_expensive_rung_until_it_is_over() {
    let is_slow = Arc::new(AtomicBool::new(true));
    let mut encoder = X264Encoder::open(&settings(320, 180)).unwrap();
    let mut job = job(Arc::clone(encoder.config()), FrameClock::Source);
    job.config.max_lag_ms = 200;
    let mut started = Transcoder::start_with(&job, &open_slow(&is_slow, "large", 2)).unwrap();
    let mut made = Vec::new();
    let position = |made: &[Output], is_it: fn(&Output) -> bool| made.iter().position(is_it);
    let mut fed = 0;
    while position(&made, |o| matches!(o, Output::Restored { .. })).is_none() {
        assert!(fed < 3000, "neither shed nor back: {made:?}");
        let sample = encoder.encode(&pattern(320, 180, fed), fed % 60 == 0);
        feed(&mut started, vec![sample.unwrap().unwrap()], |s| s.is_sync);
        fed += 1;
        std::thread::sleep(FRAME);
        made.extend(started.output_rx.ready());
        let is_shed = position(&made, |o| matches!(o, Output::Shed { .. })).is_some();
        is_slow.store(!is_shed, Ordering::Relaxed);
    }
    let after = (fed..fed + 30).map(|n| encoder.encode(&pattern(320, 180, n), n % 60 == 0));
    let after = after.map(|sample| sample.unwrap().unwrap()).collect();
    feed(&mut started, after, |sample| sample.is_sync);
    fed += 30;
    made.extend(outputs(started));

    let changes: Vec<_> = made
        .iter()
        .filter(|o| matches!(o, Output::Shed { .. } | Output::Restored { .. }))
        .collect();
    assert!(
        matches!(
            changes[..],
            [Output::Shed { rung: 0 }, Output::Restored { rung: 0 }]
        ),
        "{changes:?}"
    );
    assert!(!made.iter().any(|o| matches!(o, Output::Failed { .. })));
    let (times, keyframes) = frames(&made, 0);
    let holes: Vec<_> = times.windows(2).filter(|t| t[1] != t[0] + 1).collect();
    assert_eq!((times[0], holes.len()), (0, 1), "{holes:?}");
    let back = holes[0][1];
    assert!(keyframes.contains(&back), "it returns with a keyframe");
    assert_eq!(times.last(), Some(&(fed - 1)), "to the end");
    let restored = position(&made, |o| matches!(o, Output::Restored { .. })).unwrap();
    assert!(
        !frames(&made[..restored], 0).0.contains(&back),
        "only after it is back"
    );
    // What is shed is said not to come, frame by frame.
    for frame in holes[0][0] + 1..back {
        let said = |o: &Output| matches!(o, Output::VideoUntil { rung: 0, until, .. } if *until > frame * 3000 && *until <= (frame + 1) * 3000);
        assert!(
            made[..restored].iter().any(said) || frame + 2 >= back,
            "{frame}"
        );
    }
    let (times, keyframes) = frames(&made, 1);
    let expected = (0..fed).step_by(2);
    assert_eq!(times, expected.collect::<Vec<_>>(), "the other one has all");
    assert_eq!(keyframes, (0..fed).step_by(60).collect::<Vec<_>>());
}

#[test]
fn what_was_shed_before_is_left_out_from_the_first_frame_on() {
    for (shed, other, every) in [(0, 1, 2), (1, 0, 1)] {
        let (video, samples) = source(60, 60);
        let job = Job {
            shed: 1 << shed,
            ..job(video, FPS30)
        };
        let mut started = Transcoder::start(&job).unwrap();
        feed(&mut started, samples, |_| false);
        let made = outputs(started);
        assert_eq!(frames(&made, shed).0, [] as [i64; 0]);
        let lost = made.iter().filter_map(|output| match output {
            Output::VideoUntil {
                rung,
                until,
                is_lost: true,
            } if *rung == shed => Some(until / 3000),
            _ => None,
        });
        assert_eq!(lost.collect::<Vec<_>>(), (1..=60).collect::<Vec<_>>());
        let whole = (0..60).step_by(every).collect::<Vec<_>>();
        assert_eq!(frames(&made, other).0, whole);
    }
}

#[test]
fn a_lane_that_is_far_too_slow_is_shed_and_holds_up_no_other() {
    let is_slow = Arc::new(AtomicBool::new(true));
    let mut encoder = X264Encoder::open(&settings(320, 180)).unwrap();
    let job = job(Arc::clone(encoder.config()), FrameClock::Source);
    let open = open_slow(&is_slow, "small", 12);
    let mut started = Transcoder::start_with(&job, &open).unwrap();
    let (mut latest, mut shed) = (Duration::ZERO, None);
    for n in 0..300 {
        let sample = encoder.encode(&pattern(320, 180, n), n % 60 == 0);
        feed(&mut started, vec![sample.unwrap().unwrap()], |s| s.is_sync);
        std::thread::sleep(FRAME);
        for made in started.output_rx.ready() {
            match made {
                Output::Video {
                    rung: 0, arrival, ..
                } => latest = latest.max(arrival.elapsed()),
                Output::Shed { rung } => shed = Some(rung),
                _ => {}
            }
        }
        if shed.is_some() {
            break;
        }
    }
    assert_eq!(shed, Some(1), "the one that is slow");
    assert!(latest < Duration::from_millis(900), "{latest:?}");
}

#[test]
fn pictures_that_are_garbage_cost_no_more_than_their_gop() {
    let (video, samples) = source(120, 30);
    let damaged = samples.into_iter().enumerate().map(|(n, mut sample)| {
        // Slices of nonsense behind true headers, and no slice at all.
        let kept = match n {
            40 => 6,
            70 => 0,
            _ => return sample,
        };
        let garbage = (0..sample.data.len()).map(|at| u8::try_from(at * 37 % 251).unwrap());
        sample.data = [&sample.data[..kept], &garbage.collect::<Vec<_>>()[kept..]]
            .concat()
            .into();
        sample
    });
    let damaged = damaged.collect();
    let mut started = Transcoder::start(&job(video, FrameClock::Source)).unwrap();
    feed(&mut started, damaged, |sample| sample.is_sync);
    let outputs = outputs(started);
    for (rung, every) in [(0, 1), (1, 2)] {
        let (times, keyframes) = frames(&outputs, rung);
        assert_eq!(keyframes, [0, 30, 60, 90]);
        assert!(times.is_sorted_by(|a, b| a < b));
        // Every GOP without damage is whole.
        for whole in [0..30, 90..120] {
            let there = times.iter().copied().filter(|time| whole.contains(time));
            assert_eq!(
                there.collect::<Vec<_>>(),
                whole.step_by(every).collect::<Vec<_>>()
            );
        }
        // What was decoded before the damage has come.
        for begun in [30..40, 60..70] {
            let there = times.iter().copied().filter(|time| begun.contains(time));
            assert_eq!(
                there.collect::<Vec<_>>(),
                begun.step_by(every).collect::<Vec<_>>()
            );
        }
    }
}

#[test]
fn a_dropped_transcoder_ends_its_threads() {
    let (video, samples) = source(90, 30);
    let mut started = Transcoder::start(&job(video, FrameClock::Source)).unwrap();
    feed(&mut started, samples, |sample| sample.is_sync);
    let Started {
        transcoder,
        mut output_rx,
        ..
    } = started;
    drop(transcoder);
    // All senders go with their threads.
    while next(&mut output_rx).is_some() {}
}

#[test]
fn sound_alone_needs_no_decoder_of_pictures() {
    let (video, _) = source(1, 30);
    let job = Job {
        rungs: Vec::new(),
        audio_encodes: vec![AudioEncode {
            bitrate_bps: 64_000,
        }],
        ..job_with_sound(video)
    };
    let mut started = Transcoder::start(&job).unwrap();
    assert_eq!((started.video.len(), started.audio.len()), (0, 1));
    for n in 0..50 {
        started.transcoder.audio(silence(n));
    }
    let outputs = outputs(started);
    let times: Vec<_> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Audio { encode: 0, sample } => Some(sample.dts / 1024),
            _ => None,
        })
        .collect();
    assert_eq!(
        times,
        (0..i64::try_from(times.len()).unwrap()).collect::<Vec<_>>()
    );
    assert!(times.len() >= 50, "{}", times.len());
}
