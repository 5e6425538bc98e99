//! The audio thread, judged by ear: clicks go in, and must come out when they went in.
//!
//! In:  signals made and encoded here, cut and broken. Out: what a decoder makes of the encodes.
//! Not here: panics and full queues (`thread`), silence for lack of sound (`silence`).

mod mixer;
mod silence;
mod thread;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use bytes::Bytes;

use super::decoder::{Decoder, Pcm};
use super::encoder::Encoder;
use super::{AudioEncode, AudioOutput, AudioWorker, FRAME, FRAME_TICKS, Shape};
use crate::media::Sample;
use crate::media::codec::{AudioConfig, AudioKind, aac};

const ENCODES: [AudioEncode; 3] = [
    AudioEncode {
        bitrate_bps: 128_000,
    },
    AudioEncode {
        bitrate_bps: 64_000,
    },
    AudioEncode {
        bitrate_bps: 48_000,
    },
];

/// Encoded sound, as a publisher sends it.
#[derive(Clone)]
struct Source {
    config: Arc<aac::Config>,
    samples: Vec<Sample>,
}

/// As a source's configuration.
fn sound(config: &Arc<aac::Config>) -> Arc<AudioConfig> {
    Arc::new(AudioConfig::Aac(Arc::clone(config)))
}

impl Source {
    fn sound(&self) -> Arc<AudioConfig> {
        sound(&self.config)
    }

    /// `ms` of silence with a click (of 1 ms, in all channels) at each of `clicks` (ms); its
    /// samples begin at `origin` (ticks).
    fn clicking(rate: u32, channels: usize, ms: i64, clicks: &[i64], origin: i64) -> Self {
        let per_ms = i64::from(rate) / 1000;
        let is_loud = |at: i64| {
            clicks
                .iter()
                .any(|click| (0..per_ms).contains(&(at - click * i64::from(rate) / 1000)))
        };
        Self::signal(rate, channels, ms, origin, |at| {
            f32::from(u8::from(is_loud(at))) * 0.7
        })
    }

    fn signal(
        rate: u32,
        channels: usize,
        ms: i64,
        origin: i64,
        value: impl Fn(i64) -> f32,
    ) -> Self {
        let mut encoder = Encoder::open(Shape { rate, channels }, 320_000).unwrap();
        let config = Arc::new(encoder.config().unwrap());
        let mut samples = Vec::new();
        let frames = ms * i64::from(rate) / 1000 / FRAME_TICKS;
        for n in 0..frames {
            let mut pcm = Pcm::silent(rate, channels, FRAME).unwrap().frame;
            for channel in 0..channels {
                for (at, to) in (n * FRAME_TICKS..).zip(pcm.plane_mut::<f32>(channel)) {
                    *to = value(at);
                }
            }
            let mut take = |sample| {
                samples.push(sample);
                Ok(())
            };
            let dts = origin + n * FRAME_TICKS;
            encoder.encode(&pcm, dts, &mut take).unwrap();
        }
        let mut take = |sample| {
            samples.push(sample);
            Ok(())
        };
        encoder.finish(&mut take).unwrap();
        Self { config, samples }
    }

    fn rate(&self) -> i64 {
        i64::from(self.config.sample_rate)
    }

    /// The samples from `from` up to `to`, in ms after zero, moved by `by` ms.
    fn cut(&self, from: i64, to: i64, by: i64) -> Vec<Sample> {
        let range = from * self.rate() / 1000..to * self.rate() / 1000;
        let inside = self.samples.iter().filter(|s| range.contains(&s.dts));
        inside
            .map(|sample| Sample {
                dts: sample.dts + by * self.rate() / 1000,
                ..sample.clone()
            })
            .collect()
    }
}

/// A started worker and what it gives.
struct Run {
    worker: AudioWorker,
    configs: Vec<Arc<aac::Config>>,
    output_rx: Receiver<AudioOutput>,
}

impl Run {
    fn start(config: &Arc<aac::Config>, encodes: &[AudioEncode]) -> Self {
        let (output_tx, output_rx) = channel();
        let emit = move |output| output_tx.send(output).is_ok();
        let (worker, configs) = AudioWorker::start((&sound(config), 256), encodes, emit).unwrap();
        Self {
            worker,
            configs,
            output_rx,
        }
    }

    fn push(mut self, samples: impl IntoIterator<Item = Sample>) -> Self {
        for sample in samples {
            self.worker.push(sample);
        }
        self
    }

    fn finish(mut self) -> Sound {
        self.worker.finish().unwrap().join().unwrap();
        let mut encodes = vec![Vec::new(); self.configs.len()];
        let mut failures = 0;
        for output in self.output_rx.try_iter() {
            match output {
                AudioOutput::Sample { encode, sample } => encodes[encode].push(sample),
                AudioOutput::Failed { .. } => failures += 1,
            }
        }
        let with_config = self.configs.into_iter().zip(encodes);
        Sound {
            tracks: with_config
                .map(|(config, samples)| Source { config, samples })
                .collect(),
            failures,
        }
    }
}

/// What came out, one track per encode.
struct Sound {
    tracks: Vec<Source>,
    failures: usize,
}

impl Sound {
    /// Every track begins at `first` and steps by 1024, but for `jumps`, which are multiples of it.
    fn check_grid(&self, first: i64, jumps: usize) -> &Self {
        for Source { samples, .. } in &self.tracks {
            assert_eq!(samples[0].dts, first);
            let steps = samples.windows(2).map(|pair| pair[1].dts - pair[0].dts);
            assert!(steps.clone().all(|step| step > 0 && step % 1024 == 0));
            assert_eq!(steps.filter(|step| *step != 1024).count(), jumps);
        }
        self
    }

    /// Exactly these clicks (ms) are heard in every channel of every track, within 1 ms.
    fn check_clicks(&self, expected: &[i64]) {
        for track in &self.tracks {
            let channels = usize::from(track.config.channels);
            for channel in 0..channels {
                let heard = heard(track, channel);
                let near = |(heard, ms): (&i64, &i64)| (heard - ms * 1000).abs() <= 1000;
                let is_same = heard.len() == expected.len() && heard.iter().zip(expected).all(near);
                let what = track.config.describe();
                assert!(is_same, "{what}: {heard:?} us, expected {expected:?} ms");
            }
        }
    }
}

/// A track's decoded channel: runs of samples, each with its time in ticks.
fn decode(track: &Source, channel: usize) -> Vec<(i64, f32)> {
    let mut decoder = Decoder::open(AudioKind::Aac, &track.config.bytes).unwrap();
    let mut line = Vec::new();
    for sample in &track.samples {
        let pcm = decoder.decode(&sample.data).expect("decodes");
        assert_eq!(pcm.channels, usize::from(track.config.channels));
        let to_ticks = i64::from(pcm.rate) / track.rate();
        let at = |n: usize| sample.dts + i64::try_from(n).unwrap() / to_ticks;
        let values = pcm.frame.plane::<f32>(channel).iter();
        line.extend(values.enumerate().map(|(n, value)| (at(n), *value)));
    }
    line
}

/// The middles of the clicks that are heard, less half a click, in microseconds.
fn heard(track: &Source, channel: usize) -> Vec<i64> {
    let mut clicks: Vec<(i64, i64)> = Vec::new();
    let loud = decode(track, channel)
        .into_iter()
        .filter(|(_, v)| v.abs() > 0.2);
    for (at, _) in loud {
        match clicks.last_mut() {
            Some((_, end)) if at - *end < track.rate() / 50 => *end = at,
            _ => clicks.push((at, at)),
        }
    }
    let micros = |(from, to): (i64, i64)| (from + to) * 500_000 / track.rate() - 500;
    clicks.into_iter().map(micros).collect()
}

#[test]
fn clicks_keep_their_time_through_every_rate_and_layout() {
    let cases = [
        (48_000, 1, 48_000),
        (48_000, 2, 48_000),
        (48_000, 3, 48_000),
        (48_000, 4, 48_000),
        (48_000, 5, 48_000),
        (48_000, 6, 48_000),
        (48_000, 8, 48_000),
        (44_100, 2, 44_100),
        (44_100, 6, 44_100),
        (22_050, 1, 44_100),
        (11_025, 2, 44_100),
        (32_000, 2, 48_000),
        (16_000, 1, 48_000),
        (8_000, 1, 48_000),
        (96_000, 2, 48_000),
    ];
    for (rate, channels, output_rate) in cases {
        // The source's clock stands at an odd value when it begins.
        let origin = i64::from(rate) * 3 / 1000;
        let source = Source::clicking(rate, channels, 2000, &[500, 1234], origin);
        let end = i64::try_from(source.samples.len()).unwrap() * FRAME_TICKS + origin;
        let sound = Run::start(&source.config, &ENCODES)
            .push(source.samples)
            .finish();
        for track in &sound.tracks {
            assert_eq!(track.rate(), output_rate);
            assert_eq!(usize::from(track.config.channels), channels.min(2));
            assert!(track.config.is_stereo_or_mono_lc());
            let last = track.samples.last().unwrap().dts;
            let end = end * output_rate / i64::from(rate);
            assert!(
                (last..=last + FRAME_TICKS).contains(&end),
                "{rate} {channels}"
            );
        }
        let first = origin * output_rate / i64::from(rate);
        sound.check_grid(first, 0).check_clicks(&[503, 1237]);
    }
}

#[test]
fn he_aac_has_twice_its_rate_and_the_same_time() {
    // LC frames under an HE-AAC configuration: a decoder doubles the rate all the same.
    let source = Source::clicking(22_050, 2, 3000, &[500, 1500], 0);
    let he_aac = [0x2b, 0x92, 0x08, 0x00];
    let config = aac::Config::parse(&Bytes::copy_from_slice(&he_aac)).unwrap();
    assert_eq!((config.object_type, config.sample_rate), (5, 22_050));
    let source = Source {
        config: Arc::new(config),
        ..source
    };
    let pcm = Decoder::open(AudioKind::Aac, &source.config.bytes)
        .unwrap()
        .decode(&source.samples[0].data);
    assert_eq!(pcm.unwrap().rate, 44_100, "the test tests something");

    // SBR itself delays a little; the reference is what a player of the source hears.
    let reference = heard(&source, 0);
    let sound = Run::start(&source.config, &ENCODES)
        .push(source.samples)
        .finish();
    sound.check_grid(0, 0);
    for track in &sound.tracks {
        assert_eq!(track.rate(), 44_100);
        let heard = heard(track, 0);
        assert_eq!(heard.len(), 2);
        for (heard, reference) in heard.iter().zip(&reference) {
            assert!((heard - reference).abs() <= 1000, "{heard} {reference}");
        }
    }
}

#[test]
fn gaps_become_silence_and_overlaps_are_dropped() {
    for (rate, channels) in [(48_000, 2), (22_050, 1), (48_000, 6)] {
        let clicks = [300, 700, 1300, 1700];
        let source = Source::clicking(rate, channels, 2000, &clicks, 0);
        // One second is missing.
        let gap = [source.cut(0, 1000, 0), source.cut(1000, 2000, 1000)].concat();
        let sound = Run::start(&source.config, &ENCODES).push(gap).finish();
        sound.check_grid(0, 0).check_clicks(&[300, 700, 2300, 2700]);

        // The last 400 ms come again, and are heard once.
        let overlap = [source.cut(0, 1000, 0), source.cut(600, 2000, 0)].concat();
        let sound = Run::start(&source.config, &ENCODES).push(overlap).finish();
        sound.check_grid(0, 0).check_clicks(&clicks);
    }
}

#[test]
fn what_rounding_makes_is_left_and_a_missing_frame_is_not() {
    let source = Source::clicking(48_000, 2, 2000, &[300, 1300, 1800], 0);
    let late = |ms| [source.cut(0, 1000, 0), source.cut(1000, 2000, ms)].concat();
    let sound = Run::start(&source.config, &ENCODES).push(late(4)).finish();
    sound.check_grid(0, 0).check_clicks(&[300, 1300, 1800]);
    let sound = Run::start(&source.config, &ENCODES).push(late(21)).finish();
    sound.check_grid(0, 0).check_clicks(&[300, 1321, 1821]);
}

#[test]
fn a_long_gap_is_a_jump_on_the_grid() {
    for (rate, channels) in [(48_000, 2), (22_050, 1)] {
        let source = Source::clicking(rate, channels, 2000, &[300, 1300], 7);
        let hours = 5 * 3_600_000;
        let jump = [source.cut(0, 1000, 0), source.cut(1000, 2000, hours)].concat();
        let sound = Run::start(&source.config, &ENCODES).push(jump).finish();
        let first = if rate == 48_000 { 7 } else { 14 };
        sound
            .check_grid(first, 1)
            .check_clicks(&[300, hours + 1300]);
        assert!(sound.tracks[0].samples.len() < 110);
    }
}

#[test]
fn broken_frames_are_silence_and_the_rest_keeps_its_time() {
    let clicks = [300, 1500];
    let source = Source::clicking(48_000, 2, 2000, &clicks, 0);
    let mut samples = source.samples.clone();
    let mut noise = 1u32;
    // A second of every kind of garbage, but no frame is missing.
    for (n, sample) in samples.iter_mut().enumerate().skip(20).take(45) {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let length = sample.data.len();
        sample.data = match n % 3 {
            0 => Bytes::new(),
            1 => sample.data.slice(..length / 2),
            _ => (0..length).map(|i| noise.to_le_bytes()[i % 4]).collect(),
        };
    }
    let count = samples.len();
    let sound = Run::start(&source.config, &ENCODES).push(samples).finish();
    sound.check_grid(0, 0);
    let is_late = |us: &i64| *us > 1_450_000;
    for track in &sound.tracks {
        assert_eq!(track.samples.len(), count);
        let late: Vec<_> = heard(track, 0).into_iter().filter(is_late).collect();
        assert_eq!(late.len(), 1);
        assert!((late[0] - 1_500_000).abs() <= 1000, "{late:?}");
    }
}

#[test]
fn nothing_but_garbage_is_no_panic() {
    let source = Source::clicking(48_000, 2, 4000, &[], 0);
    let mut noise = 7u32;
    let mut samples = source.samples.clone();
    for sample in &mut samples {
        sample.data = (0..300)
            .map(|_| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                noise.to_be_bytes()[0]
            })
            .collect();
    }
    let sound = Run::start(&source.config, &ENCODES).push(samples).finish();
    assert_eq!(sound.failures, 0);
}

#[test]
fn a_loud_mix_stays_below_full_scale() {
    // 0.9 in all six channels would add up to 2.2.
    let turn = |at: i64| f32::from(i16::try_from(at % 96).unwrap()) / 96.0;
    let value = |at| (turn(at) * std::f32::consts::TAU).sin() * 0.9;
    let source = Source::signal(48_000, 6, 1000, 0, value);
    let sound = Run::start(&source.config, &ENCODES[..1])
        .push(source.samples)
        .finish();
    let line = decode(&sound.tracks[0], 0);
    let loudest = line
        .iter()
        .fold(0f32, |loudest, (_, v)| loudest.max(v.abs()));
    assert!((0.8..1.0).contains(&loudest), "{loudest}");
}
