//! Playlists fed without a pace: a source that is passed on, and one rung beside it that is really encoded.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use mp4_atom::{Decode as _, Emsg, EmsgTimestamp};

use crate::media::Timescale;
use crate::media::codec::{AudioConfig, AudioKind, aac};
use crate::playlist::Position;
use crate::transcode::ladder::Rung;
use crate::transcode::slate::Reel;
use crate::transcode::slate::tests::black;
use crate::transcode::{self, AudioEncode, FrameClock, Job, Transcoder, VideoRung, silent_frame};

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

fn audio(config: &'static [u8]) -> Arc<AudioConfig> {
    Arc::new(AudioConfig::parse(AudioKind::Aac, &Bytes::from_static(config)).unwrap())
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
            frame: silent_frame(audio(LC).as_aac().unwrap()).unwrap(),
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
            keeps_last: false,
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
        let ladder = ladder(&self.sound);
        self.begin_as(ladder, started, recipe);
    }

    /// As `begin`, with a place more.
    fn begin_with_missing(&mut self) {
        let mut ladder = ladder(&self.sound);
        ladder.rungs.push(Rung {
            name: "original".to_owned(),
            video: RungVideo::Missing,
            audio: RungAudio::None,
            audio_bps: 0,
            is_listed_always: true,
        });
        let place = Place {
            channel_id: "channel".to_owned(),
            epoch: 2,
            first_msn: 1,
        };
        let grid = playlist::Config::default();
        self.output = Output::new(place, &grid, &ladder, Arc::new(Directory::new()));
        let started = self.start();
        self.begin_as(ladder, started, None);
    }

    fn begin_as(&mut self, ladder: Ladder, started: Started, recipe: Option<Job>) {
        let is_encoded = matches!(self.sound, RungAudio::Encode { .. });
        let setup = Setup {
            ladder,
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

#[tokio::test]
async fn a_rendition_that_a_source_does_not_fill_has_gaps_on_the_same_grid() {
    let mut bench = Bench::new(LC, RungAudio::Source);
    bench.begin_with_missing();
    bench.send(75, true);
    bench.until(1, 7).await;
    assert_eq!(bench.parts(0), "IpppppI");
    assert_eq!(bench.parts(2), "-------");
    bench.output.interrupt().await;
    let durations = |slot: usize| {
        let snapshot = bench.output.renditions[slot].window.snapshot();
        let text = String::from_utf8(snapshot.playlist(false, false).to_vec()).unwrap();
        let lines = text.lines().filter(|line| line.starts_with("#EXTINF"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(durations(0).len(), 2);
    assert_eq!(durations(0), durations(2));
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

#[tokio::test]
async fn a_text_is_in_one_part_of_each_rendition_at_the_same_time() {
    let mut bench = Bench::new(LC, RungAudio::Source);
    bench.begin();
    assert!(
        !bench.output.say(Author::Owner, "early"),
        "nothing is shown"
    );
    // The eighth part has begun; the rung is behind.
    bench.send(64 + 10, true);
    assert!(bench.output.say(Author::Owner, "here"));
    assert!(bench.output.say(Author::Publisher, "there"));
    bench.send(40, true);
    bench.until(0, 9).await;
    bench.until(1, 9).await;
    for slot in 0..2 {
        let snapshot = bench.output.renditions[slot].window.snapshot();
        let parts = (1..=2).flat_map(|msn| (0..6).map(move |part| Position { msn, part }));
        let said: Vec<_> = parts
            .filter_map(|position| Some((position, snapshot.part(position)?)))
            .flat_map(|(position, part)| texts(position, &part))
            .collect();
        let at = Position { msn: 2, part: 1 };
        let shown = 73 * FRAME;
        let expected = [
            (at, shown, "metadata.live-video.net\0here".to_owned()),
            (
                at,
                shown,
                "inband.metadata.live-video.net\0there".to_owned(),
            ),
        ];
        assert_eq!(said, expected, "{slot}");
    }
}

/// The private frames before a part's `moof`, and when they are shown.
fn texts(position: Position, part: &Bytes) -> Vec<(Position, i64, String)> {
    let (mut rest, mut found) = (&part[..], Vec::new());
    while let Ok(event) = Emsg::decode(&mut rest) {
        let (tag, frame) = event.message_data.split_at(20);
        if let EmsgTimestamp::Absolute(time) = event.presentation_time
            && tag.get(10..14) == Some(b"PRIV")
        {
            let text = String::from_utf8(frame.to_vec()).unwrap();
            found.push((position, i64::try_from(time).unwrap(), text));
        }
    }
    found
}
