//! What fills the playlists while no pictures come, so that players have something to load: a slate,
//! or gaps.
//!
//! In:  the instant. Out: products like the transcoder's, for `Output::take`: the frame grid's ticks,
//! and the slate's pictures with silence, or the word that the pictures are lost.
//! Not here: when (`session`), the slate itself (`transcode::slate`).
//!
//! A filler's timeline is led by the frame grid, like a transcoder's: all renditions fill its spans.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::rendition::Rendition;
use super::{Output, Run};
use crate::base::clock::WallTime;
use crate::media::codec::aac;
use crate::media::codec::video::Coding;
use crate::media::{Sample, Timescale, Tracks, VideoTrack};
use crate::packaging::segmenter::Segmenter;
use crate::packaging::{self, Packager};
use crate::transcode::Output as Made;
use crate::transcode::slate::{self, Form, Reel, SlateGrid, SlatePicture, SlateRung};
use crate::transcode::{Error, silent_frame};

/// Most frames made at once; what is further behind is made at the next call.
const MAX_BEHIND: i64 = 64;

/// Fills one timeline.
pub(in crate::live) struct Filler {
    grid: SlateGrid,
    /// One for each rendition with pictures that shows a slate; without any: gaps.
    reels: Vec<Option<Reel>>,
    rungs: usize,
    sounds: Vec<Sound>,
    /// The next frame.
    number: i64,
    began: Instant,
}

/// What a slate is made of; making it blocks.
pub(in crate::live) struct SlatePlan {
    picture: SlatePicture,
    rungs: Vec<SlateRung>,
    /// The configuration of each rendition's sound.
    sounds: Vec<Arc<aac::Config>>,
    grid: SlateGrid,
    preset: String,
}

/// A slate's pictures, and the frame of silence for each sound where one is to be had.
pub(in crate::live) struct Slate {
    reels: Vec<Reel>,
    silences: Vec<Option<Bytes>>,
}

impl SlatePlan {
    /// Decodes the picture and encodes it for every rendition. Blocking.
    pub(in crate::live) fn make(&self) -> Result<Slate, Error> {
        let reels = slate::reels(&self.picture, &self.rungs, self.grid, &self.preset)?;
        let silences = self.sounds.iter().map(|config| silent_frame(config).ok());
        Ok(Slate {
            reels,
            silences: silences.collect(),
        })
    }
}

/// Silence for one rendition.
pub(super) struct Sound {
    frame: Bytes,
    timescale: Timescale,
    next: i64,
}

impl Sound {
    /// Frames of silence that suit `config`.
    pub(super) fn new(config: &aac::Config, frame: Bytes) -> Self {
        Self {
            frame,
            timescale: config.timescale(),
            next: 0,
        }
    }

    /// The frames that begin before `end`, in the pictures' ticks.
    fn before(&mut self, end: i64) -> impl Iterator<Item = Sample> {
        let end = Timescale::VIDEO.convert(end, self.timescale);
        std::iter::from_fn(move || {
            let dts = self.next;
            (dts < end).then(|| {
                self.next += aac::SAMPLES_PER_FRAME;
                Sample::audio(dts, self.frame.clone())
            })
        })
    }
}

impl Filler {
    /// Gaps in `rungs` renditions, from `began` on.
    pub(super) fn gaps(grid: SlateGrid, rungs: usize, began: Instant) -> Self {
        Self {
            grid,
            reels: Vec::new(),
            rungs,
            sounds: Vec::new(),
            number: 0,
            began,
        }
    }

    /// A slate, from `began` on.
    pub(super) fn slate(
        grid: SlateGrid,
        reels: Vec<Option<Reel>>,
        sounds: Vec<Sound>,
        began: Instant,
    ) -> Self {
        Self {
            rungs: reels.len(),
            reels,
            sounds,
            ..Self::gaps(grid, 0, began)
        }
    }

    /// Whether it shows nothing.
    pub(in crate::live) fn is_gap(&self) -> bool {
        self.reels.is_empty()
    }

    /// When the next frame is to be made.
    pub(in crate::live) fn due(&self) -> Instant {
        let ticks = self.grid.interval.saturating_mul(self.number);
        let micros = Timescale::VIDEO.convert(ticks, Timescale::MICROS);
        self.began + Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }

    /// Whether the next frame opens a segment: something else can begin.
    pub(in crate::live) fn opens_segment(&self) -> bool {
        self.index() == 0
    }

    fn index(&self) -> u32 {
        let index = self.number.rem_euclid(i64::from(self.grid.frames.max(1)));
        u32::try_from(index).unwrap_or(0)
    }

    /// The products of all frames that are due at `now`, at most a few.
    pub(super) fn make(&mut self, now: Instant) -> Vec<Made> {
        let mut made = Vec::new();
        let first = self.number;
        while self.due() <= now && self.number - first < MAX_BEHIND {
            self.frame(now, &mut made);
            self.number += 1;
        }
        made
    }

    fn frame(&mut self, now: Instant, made: &mut Vec<Made>) {
        let index = self.index();
        let pts = self.grid.interval * self.number;
        let until = pts + self.grid.interval;
        made.push(Made::Tick {
            pts,
            opens_segment: index == 0,
        });
        for (encode, sound) in self.sounds.iter_mut().enumerate() {
            let frames = sound.before(until);
            made.extend(frames.map(|sample| Made::Audio { encode, sample }));
        }
        for rung in 0..self.rungs {
            let reel = self.reels.get(rung).and_then(Option::as_ref);
            let index = usize::try_from(index).unwrap_or(0);
            let shown = reel.and_then(|reel| reel.samples.get(index));
            let is_lost = shown.is_none();
            if let Some(picture) = shown {
                let sample = Sample {
                    dts: pts,
                    ..picture.clone()
                };
                let arrival = now;
                made.push(Made::Video {
                    rung,
                    sample,
                    arrival,
                });
            }
            made.push(Made::VideoUntil {
                rung,
                until,
                is_lost,
            });
        }
    }
}

impl Output {
    /// What a slate of this stream would be made of: `file`, or else the last picture.
    pub(in crate::live) fn slate_plan(
        &self,
        file: Option<std::path::PathBuf>,
        preset: &str,
    ) -> SlatePlan {
        let frozen = self.renditions.iter().find_map(Rendition::last_gop);
        let picture = match (file, frozen) {
            (Some(file), _) => SlatePicture::File(file),
            (None, Some((config, gop))) => SlatePicture::Frozen { config, gop },
            (None, None) => SlatePicture::Black,
        };
        let shown = self.renditions.iter().filter_map(slate_rung);
        let heard = self.renditions.iter().filter_map(Rendition::sound);
        SlatePlan {
            picture,
            rungs: shown.collect(),
            sounds: heard.collect(),
            grid: self.slate_grid(),
            preset: preset.to_owned(),
        }
    }

    fn slate_grid(&self) -> SlateGrid {
        SlateGrid::new(
            self.packaging.part_target_ms,
            self.packaging.target_duration_s,
        )
    }

    /// Begins a filler's timeline at wall time `at`, which is `began`; the one before it has been closed by
    /// [`Output::interrupt`]. Gaps without a slate. None if there is nothing to fill.
    pub(in crate::live) fn begin_filler(
        &mut self,
        slate: Option<Slate>,
        at: WallTime,
        began: Instant,
    ) -> Result<Option<Filler>, packaging::Error> {
        let is_ready = |rendition: &Rendition| rendition.tracks().is_some();
        if !self.is_announced() || !self.renditions.iter().all(is_ready) {
            return Ok(None);
        }
        let mut run = Run::led_by_ticks(Segmenter::new(&self.packaging, true));
        let (reels, silences) = match slate {
            Some(slate) => (slate.reels, slate.silences),
            None => (Vec::new(), Vec::new()),
        };
        let has_slate = !reels.is_empty();
        let (mut reels, mut silences) = (reels.into_iter(), silences.into_iter());
        let mut shown = Vec::new();
        let mut sounds = Vec::new();
        for (slot, rendition) in self.renditions.iter_mut().enumerate() {
            let Some(mut tracks) = rendition.tracks().cloned() else {
                continue;
            };
            if tracks.video.is_some() {
                let reel = slate_form(&tracks).and_then(|_| reels.next());
                show(&mut tracks, reel.as_ref());
                shown.push(reel);
                run.rung_slots.push(slot);
            } else {
                run.sound_only_slots.push(slot);
            }
            if let (Some(track), Some(Some(frame))) = (
                &tracks.audio,
                tracks.audio.as_ref().and_then(|_| silences.next()),
            ) {
                sounds.push(Sound::new(&track.config, frame));
                run.encode_slots.push(vec![slot]);
            }
            let packager = Packager::following(&self.packaging, tracks)?;
            rendition.begin_filler(packager, at);
        }
        let rungs = run.rung_slots.len();
        self.run = Some(run);
        self.publish(&vec![true; self.renditions.len()]);
        let grid = self.slate_grid();
        Ok(Some(if has_slate {
            Filler::slate(grid, shown, sounds, began)
        } else {
            Filler::gaps(grid, rungs, began)
        }))
    }

    /// Whether anybody is there to see a slate.
    pub(in crate::live) fn is_watched(&self) -> bool {
        self.is_announced() && self.channel.audience.has_viewers(Instant::now())
    }

    /// Packages what is due of a filler.
    pub(in crate::live) fn fill(&mut self, filler: &mut Filler, now: Instant) {
        for made in filler.make(now) {
            self.take(made);
        }
    }
}

/// A slate's pictures have a configuration of their own.
fn show(tracks: &mut Tracks, reel: Option<&Reel>) {
    if let Some(reel) = reel {
        let config = Arc::clone(&reel.config);
        tracks.video = Some(VideoTrack { config });
    }
}

/// What a slate declares in the place of these pictures. It is H.264: who promised another codec has gaps instead.
fn slate_form(tracks: &Tracks) -> Option<Form> {
    match tracks.video.as_ref()?.config.coding {
        Coding::Avc(coding) => Some(Form(coding.profile, coding.compatibility, coding.level)),
        _ => None,
    }
}

fn slate_rung(rendition: &Rendition) -> Option<SlateRung> {
    let form = slate_form(rendition.tracks()?)?;
    let variant = rendition.variant();
    let bitrate_bps = u32::try_from(variant.average_bandwidth_bps).unwrap_or(u32::MAX);
    Some(SlateRung {
        width: (variant.width & !1).max(2),
        height: (variant.height & !1).max(2),
        bitrate_bps: bitrate_bps.clamp(100_000, 10_000_000),
        form,
    })
}

#[cfg(test)]
mod tests {
    use crate::media::TrackKind;

    use super::*;

    fn grid() -> SlateGrid {
        SlateGrid::new(334, 2)
    }

    fn reel() -> Reel {
        let sample = |n: i64| Sample {
            track: TrackKind::Video,
            dts: n * 15_000,
            composition_offset: 0,
            is_sync: n == 0,
            data: vec![u8::try_from(n).unwrap()].into(),
        };
        Reel {
            config: crate::live::start::tests::video(320),
            samples: (0..12).map(sample).collect(),
        }
    }

    #[test]
    fn a_slate_repeats_its_reel_in_real_time() {
        let began = Instant::now();
        let config = aac::Config::parse(&Bytes::from_static(&[0x11, 0x90])).unwrap();
        let sound = Sound::new(&config, Bytes::from_static(b"silent"));
        let mut filler = Filler::slate(grid(), vec![Some(reel())], vec![sound], began);
        assert_eq!(filler.due(), began);
        let made = filler.make(began + Duration::from_millis(2100));
        let opened = made.iter().filter_map(|made| match made {
            Made::Tick {
                pts,
                opens_segment: true,
            } => Some(*pts),
            _ => None,
        });
        assert_eq!(opened.collect::<Vec<_>>(), [0, 180_000]);
        let shown: Vec<_> = made
            .iter()
            .filter_map(|made| match made {
                Made::Video { sample, .. } => Some((sample.dts, sample.is_sync, sample.data[0])),
                _ => None,
            })
            .collect();
        assert_eq!(shown.len(), 13);
        assert_eq!((shown[0], shown[12]), ((0, true, 0), (180_000, true, 0)));
        assert_eq!(shown[7], (105_000, false, 7));
        let sounds: Vec<_> = made
            .iter()
            .filter_map(|made| match made {
                Made::Audio { sample, .. } => Some(sample.dts),
                _ => None,
            })
            .collect();
        // 13 frames of a sixth of a second at 48 kHz.
        let expected: Vec<_> = (0..102).map(|n| n * 1024).collect();
        assert_eq!(sounds, expected);
        assert!(filler.make(began + Duration::from_millis(2100)).is_empty());
        assert!(!filler.is_gap());
    }

    #[test]
    fn who_promised_another_codec_has_gaps_beside_the_slate() {
        let began = Instant::now();
        let mut filler = Filler::slate(grid(), vec![None, Some(reel())], Vec::new(), began);
        let made = filler.make(began);
        assert!(!filler.is_gap());
        let of = |wanted: usize| {
            let made = made.iter().filter_map(move |made| match made {
                Made::Video { rung, .. } => (*rung == wanted).then_some("shown"),
                Made::VideoUntil {
                    rung,
                    is_lost: true,
                    ..
                } => (*rung == wanted).then_some("lost"),
                _ => None,
            });
            made.collect::<Vec<_>>()
        };
        assert_eq!((of(0), of(1)), (vec!["lost"], vec!["shown"]));
        let tracks = |config| Tracks {
            video: Some(VideoTrack { config }),
            audio: None,
        };
        assert_eq!(slate_form(&tracks(crate::live::start::tests::hevc())), None);
        assert!(slate_form(&tracks(reel().config)).is_some());
    }

    #[test]
    fn gaps_have_ticks_and_no_pictures_and_what_is_late_is_bounded() {
        let began = Instant::now();
        let mut filler = Filler::gaps(grid(), 2, began);
        let made = filler.make(began);
        assert!(filler.is_gap());
        assert!(matches!(
            made[..],
            [
                Made::Tick {
                    pts: 0,
                    opens_segment: true
                },
                Made::VideoUntil {
                    rung: 0,
                    until: 15_000,
                    is_lost: true
                },
                Made::VideoUntil {
                    rung: 1,
                    until: 15_000,
                    is_lost: true
                },
            ]
        ));
        let late = filler.make(began + Duration::from_hours(1));
        let ticks = late.iter().filter(|made| matches!(made, Made::Tick { .. }));
        assert_eq!(i64::try_from(ticks.count()).unwrap(), MAX_BEHIND);
    }
}
