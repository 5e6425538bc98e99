//! Playlists fed without a pace: a source that is passed on, and one rung beside it that is really encoded.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::media::Timescale;
use crate::media::codec::aac;
use crate::transcode::ladder::Rung;
use crate::transcode::slate::Reel;
use crate::transcode::slate::tests::black;
use crate::transcode::{self, AudioEncode, FrameClock, Job, Transcoder, VideoRung};

use super::*;

mod on_demand;

/// A picture's duration: 30 a second.
const FRAME: i64 = 3000;
/// Pictures in two seconds.
const GOP: i64 = 60;
/// AAC-LC and HE-AAC, stereo, of 22.05 kHz.
const LC: &[u8] = &[0x13, 0x90];
const HE_AAC: &[u8] = &[0x2b, 0x92, 0x08, 0x00];
/// More than any thread here needs.
const PATIENCE: Duration = Duration::from_secs(20);

fn audio(config: &'static [u8]) -> Arc<aac::Config> {
    Arc::new(aac::Config::parse(&Bytes::from_static(config)).unwrap())
}

/// An output that passes its source on, and what the source sends.
struct Bench {
    output: Output,
    reel: Reel,
    source: SourceConfig,
    sound: RungAudio,
    frame: Bytes,
    next: i64,
    /// The next frame of sound.
    heard: i64,
}

impl Bench {
    /// Sound of `config`, passed on to all or encoded for all; nothing has begun.
    fn new(config: &'static [u8], sound: RungAudio) -> Self {
        let reel = black(60);
        let ladder = ladder(&sound);
        let place = Place {
            channel_id: "channel".to_owned(),
            epoch: 1,
            first_msn: 1,
        };
        let directory = Arc::new(Directory::new());
        let source = SourceConfig {
            video: Arc::clone(&reel.config),
            audio: Some(audio(config)),
            audio_bps: 64_000,
            is_turned: false,
        };
        Self {
            output: Output::new(place, &playlist::Config::default(), &ladder, directory),
            reel,
            source,
            sound,
            frame: silent_frame(&audio(LC)).unwrap(),
            next: 0,
            heard: 0,
        }
    }

    fn start(&self) -> Started {
        Transcoder::start(&self.job()).unwrap()
    }

    fn job(&self) -> Job {
        let audio_encodes = match self.sound {
            RungAudio::Encode { bitrate_bps } => vec![AudioEncode { bitrate_bps }],
            _ => Vec::new(),
        };
        Job {
            video: Arc::clone(&self.reel.config),
            audio: self.source.audio.clone(),
            fps_millis: 30_000,
            clock: FrameClock::Source,
            segment_ms: 2000,
            begins_short: true,
            first_pts: None,
            rungs: vec![VideoRung {
                name: "90p30".to_owned(),
                width: 160,
                height: 90,
                every: 1,
                fps_millis: 30_000,
                bitrate_bps: 100_000,
            }],
            shed: 0,
            cold: 0,
            is_patient: false,
            audio_encodes,
            config: transcode::Config::default(),
        }
    }

    fn begin(&mut self) {
        let started = self.start();
        self.begin_with(started, None);
    }

    fn begin_with(&mut self, started: Started, recipe: Option<Job>) {
        let is_encoded = matches!(self.sound, RungAudio::Encode { .. });
        let setup = Setup {
            ladder: ladder(&self.sound),
            job: None,
            recipe,
            rung_slots: vec![1],
            encode_slots: if is_encoded {
                vec![vec![0, 1]]
            } else {
                Vec::new()
            },
            shed: BTreeSet::new(),
        };
        let beginning = Beginning {
            source: &self.source,
            setup,
            started: Some(started),
            source_variant: Variant::default(),
            at: WallTime(0),
        };
        self.output.begin(beginning).unwrap();
    }

    /// So many pictures of the source, with the sound before each, unless that has gone.
    fn send(&mut self, count: i64, is_heard: bool) {
        for n in self.next..self.next + count {
            let rate = Timescale::new(22_050).unwrap();
            while rate.convert(self.heard, Timescale::VIDEO) <= n * FRAME {
                let sound = Sample::audio(self.heard, self.frame.clone());
                if is_heard {
                    self.output.push(sound, None).unwrap();
                }
                self.heard += aac::SAMPLES_PER_FRAME;
            }
            let picture = self.reel.samples[usize::try_from(n % GOP).unwrap()].clone();
            let picture = Sample {
                dts: n * FRAME,
                ..picture
            };
            self.output.push(picture, None).unwrap();
        }
        self.next += count;
    }

    /// Takes what the transcoder makes until a rendition has so many parts.
    async fn until(&mut self, slot: usize, parts: usize) {
        let take = async {
            while self.parts(slot).len() < parts {
                self.step().await;
            }
        };
        let taken = tokio::time::timeout(PATIENCE, take).await;
        assert!(taken.is_ok(), "{:?} of {parts}", self.parts(slot));
    }

    /// Takes what happens next.
    async fn step(&mut self) {
        let made = match self.output.next().await {
            Next::Made(made) => Some(made.expect("a transcoder")),
            Next::Rung(event) => self.output.take_rung(event),
        };
        if let Some(made) = made {
            self.output.take(made);
        }
    }

    /// The parts of a rendition: a gap (-), one that can be decoded from its start on (I), or another one (p).
    fn parts(&self, slot: usize) -> String {
        let snapshot = self.output.renditions[slot].window.snapshot();
        let text = String::from_utf8(snapshot.playlist(false, false).to_vec()).unwrap();
        let parts = text.lines().filter(|line| line.starts_with("#EXT-X-PART:"));
        let letter = |line: &str| match line {
            line if line.contains("GAP=YES") => '-',
            line if line.contains("INDEPENDENT=YES") => 'I',
            _ => 'p',
        };
        parts.map(letter).collect()
    }
}

fn ladder(sound: &RungAudio) -> Ladder {
    let rung = |name: &str, video| Rung {
        name: name.to_owned(),
        video,
        audio: sound.clone(),
        audio_bps: 64_000,
        is_listed_always: true,
    };
    let small = RungVideo::Encode {
        width: 160,
        height: 90,
        every: 1,
        fps_millis: 30_000,
        bitrate_bps: 100_000,
    };
    Ladder {
        rungs: vec![rung("source", RungVideo::Source), rung("90p30", small)],
    }
}

const ENCODED: RungAudio = RungAudio::Encode {
    bitrate_bps: 64_000,
};

#[tokio::test]
async fn sound_that_has_no_silent_frame_may_vanish_where_it_is_encoded() {
    let mut bench = Bench::new(HE_AAC, ENCODED);
    bench.begin();
    bench.send(45, true);
    bench.until(0, 4).await;
    // Three seconds more, in nine parts, of which half a second waits for sound.
    bench.send(90, false);
    bench.until(0, 11).await;
    bench.until(1, 11).await;
    assert_eq!(bench.parts(0)[..11], *"IpppppIpppp");
}

#[tokio::test]
async fn what_a_lost_transcoder_owes_is_a_gap_although_there_is_sound() {
    let mut bench = Bench::new(LC, RungAudio::Source);
    bench.begin();
    bench.send(75, true);
    bench.until(1, 7).await;
    bench.output.lose_transcoder();
    bench.send(45, true);
    assert!(bench.output.lacks_transcoder());
    assert_eq!(bench.parts(1), "IpppppIp---", "at once");
    let started = bench.start();
    assert!(bench.output.replace_transcoder(started));
    bench.send(46, true);
    bench.until(1, 16).await;
    assert_eq!(bench.parts(1), "IpppppIp----Ippp");
    assert_eq!(bench.parts(0), "IpppppIpppppIppp");
}

#[tokio::test]
async fn who_passes_the_source_on_does_not_wait_for_a_lost_transcoders_sound() {
    let mut bench = Bench::new(LC, ENCODED);
    bench.begin();
    bench.send(45, true);
    bench.until(0, 4).await;
    bench.output.lose_transcoder();
    bench.send(30, true);
    assert_eq!(bench.parts(0), "IpppppI");
    let started = bench.start();
    assert!(bench.output.replace_transcoder(started));
    bench.send(60, true);
    bench.until(0, 12).await;
}
