//! Which renditions a stream gets, and what the transcoder has to do for them.
//!
//! In:  the channel, its source, the way it goes. Out: a [`Setup`]: the ladder, the transcoder's job
//! and which rendition takes which of its products. Pure.
//! Not here: sizes and rates (`transcode::ladder`), the media (`output`).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::SourceConfig;
use super::intake::Measured;
use super::start::Way;
use crate::media::codec::video::Passing;
use crate::model::Channel;
use crate::model::channel::{ChannelType, Preset};
use crate::playlist::Variant;
use crate::transcode::ladder::{
    self, Ladder, LadderKind, Ladders, Rung, RungAudio, RungVideo, Table,
};
use crate::transcode::{self, AudioEncode, FrameClock, FrameRate, Job, VideoRung};

/// What transcoding is asked for on this server.
#[derive(Clone, Debug)]
pub struct Transcoding {
    /// The room's settings.
    pub config: transcode::Config,
    /// The ladders of all channel types.
    pub ladders: Arc<Ladders>,
}

/// What is known of a stream when its renditions are decided.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) source: SourceConfig,
    /// Frames per 1000 seconds.
    pub(super) fps_millis: u32,
    /// Bits per second of both tracks in the long run: as declared or as measured, whichever is more. Before that what
    /// is likely.
    pub(super) bps: u64,
    /// What was declared last.
    pub(super) declared_bps: Option<u64>,
    /// Bits per second of both tracks, of the largest GOP that was measured; 0 before the first.
    pub(super) measured_bps: u64,
    pub(super) way: Way,
    /// EXT-X-TARGETDURATION in milliseconds.
    pub(super) segment_ms: u32,
}

impl Facts {
    /// The source changes. If no other rate was declared for it, a pixel is likely to have as many bits as before, until
    /// that is measured.
    pub(super) fn change(&mut self, source: SourceConfig, declared_bps: Option<u64>) {
        let old = std::mem::replace(&mut self.source, source);
        if old.video == self.source.video {
            return;
        }
        let pixels = |source: &SourceConfig| {
            let (width, height) = source.display_size();
            u64::from(width) * u64::from(height)
        };
        self.bps = match declared_bps {
            Some(bps) if declared_bps != self.declared_bps => bps,
            _ => self.bps.saturating_mul(pixels(&self.source)) / pixels(&old).max(1),
        };
        self.declared_bps = declared_bps;
        self.measured_bps = 0;
    }

    /// Takes in what was measured of the source's pictures since they are what they are.
    pub(super) fn measure(&mut self, measured: Measured) {
        self.fps_millis = measured.fps_millis.unwrap_or(self.fps_millis);
        if let (Way::Transcode { rate, .. }, Some(needed)) = (&mut self.way, measured.rate) {
            *rate = needed;
        }
        if measured.peak_bps == 0 {
            return;
        }
        let sound_bps = u64::from(self.source.audio_bps);
        let mean_bps = measured.mean_bps + sound_bps;
        let is_declared = self.declared_bps == Some(self.bps);
        self.bps = if self.measured_bps > 0 || is_declared {
            self.bps.max(mean_bps)
        } else {
            mean_bps
        };
        self.measured_bps = self.measured_bps.max(measured.peak_bps + sound_bps);
    }
}

/// A stream's renditions and how they are made.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) ladder: Ladder,
    /// None if nothing is encoded.
    pub(super) job: Option<Job>,
    /// What makes rungs that are encoded on demand: the job without its sound.
    pub(super) recipe: Option<Job>,
    /// The rendition of each rung of the job.
    pub(super) rung_slots: Vec<usize>,
    /// The renditions of each audio encode of the job.
    pub(super) encode_slots: Vec<Vec<usize>>,
    /// The renditions that are left out from the start.
    pub(super) shed: BTreeSet<String>,
}

impl Setup {
    /// Leaves out what was left out before because the machine was overloaded; but never all pictures.
    pub(super) fn leave_out(&mut self, shed: &BTreeSet<String>) {
        let Some(job) = &mut self.job else { return };
        let most = job.rungs.len().saturating_sub(job.keeps_last.into());
        for (n, rung) in job.rungs.iter().enumerate().take(most) {
            if shed.contains(&rung.name) {
                job.shed |= 1 << n;
                self.shed.insert(rung.name.clone());
            }
        }
    }
}

impl Setup {
    /// Rungs beside a source that is passed on are encoded on demand: what is left to do from the start is their sound.
    /// One that was left out before is not, for who knows whether anybody asks for it.
    pub(super) fn on_demand(&mut self, job: &Job) -> bool {
        let can = job.clock == FrameClock::Source && !job.rungs.is_empty();
        if job.config.ladder == transcode::Mode::OnDemand && can {
            self.shed.clear();
            self.recipe = Some(Job {
                audio: None,
                audio_encodes: Vec::new(),
                shed: 0,
                ..job.clone()
            });
        }
        self.recipe.is_some()
    }
}

/// Whether the channel's type passes sources through where they can be.
pub(super) fn may_pass(channel: &Channel) -> bool {
    matches!(
        channel.channel_type,
        ChannelType::Basic | ChannelType::Standard
    )
}

impl Transcoding {
    /// Whether a source that cannot pass may be transcoded on this channel.
    pub(super) fn is_allowed(&self, channel: &Channel) -> bool {
        let is_basic = channel.channel_type == ChannelType::Basic;
        self.config.enabled && (!is_basic || self.config.basic == transcode::Basic::Transcode)
    }

    fn table(&self, channel: &Channel) -> &Table {
        let is_higher = channel.preset != Some(Preset::ConstrainedBandwidth);
        self.ladders.table(match (channel.channel_type, is_higher) {
            (ChannelType::Basic, _) => LadderKind::Basic,
            (ChannelType::Standard, _) => LadderKind::Standard,
            (ChannelType::AdvancedSd, true) => LadderKind::AdvancedSdHigher,
            (ChannelType::AdvancedSd, false) => LadderKind::AdvancedSdConstrained,
            (ChannelType::AdvancedHd, true) => LadderKind::AdvancedHdHigher,
            (ChannelType::AdvancedHd, false) => LadderKind::AdvancedHdConstrained,
        })
    }

    /// The renditions of playlists that are taken up again, to be refitted when somebody publishes.
    /// None if they could not be filled.
    pub(super) fn known(
        &self,
        channel: &Channel,
        renditions: &[(&str, &Variant)],
    ) -> Option<Ladder> {
        let lists_audio_only = self.table(channel).lists_audio_only();
        let rungs = renditions.iter().map(|(name, variant)| Rung {
            name: (*name).to_owned(),
            video: known_video(variant),
            audio: RungAudio::Source,
            audio_bps: 0,
            is_listed_always: *name != ladder::AUDIO_ONLY || lists_audio_only,
        });
        let rungs: Vec<_> = rungs.collect();
        let is_source = |rung: &Rung| rung.name == ladder::SOURCE;
        (self.config.enabled || rungs.iter().all(is_source)).then_some(Ladder { rungs })
    }

    /// Plans a stream. `slots` are the renditions that its playlists have already.
    pub(super) fn plan(&self, channel: &Channel, facts: &Facts, slots: Option<&Ladder>) -> Setup {
        let source = describe(facts);
        let mut ladder = match (self.config.enabled, slots) {
            (false, _) => passed_through(&source),
            (true, None) => Ladder::plan(self.table(channel), &source),
            (true, Some(slots)) => slots.refit(self.table(channel), &source),
        };
        if self.config.ladder == transcode::Mode::OnDemand {
            pass_sound(&mut ladder, &source);
        }
        let mut setup = Setup {
            ladder,
            job: None,
            recipe: None,
            rung_slots: Vec::new(),
            encode_slots: Vec::new(),
            shed: BTreeSet::new(),
        };
        setup.job = self.job(facts, &mut setup);
        setup
    }

    /// Plans a stream that can pass on a server that cannot encode now: the source alone, or beside gaps
    /// in the renditions that its playlists have already. None if no rendition would have pictures.
    pub(super) fn plan_without_encoding(
        &self,
        channel: &Channel,
        facts: &Facts,
        slots: Option<&Ladder>,
    ) -> Option<Setup> {
        let source = describe(facts);
        let mut ladder = match slots {
            None => passed_through(&source),
            Some(slots) => slots.refit(self.table(channel), &source),
        };
        let audio = facts.source.audio.as_ref();
        let can_pass = audio.is_some_and(|audio| audio.is_stereo_or_mono_lc());
        let passed = source.audio.as_ref();
        let passed_bps = passed.map_or(0, ladder::SourceAudio::passed_bps);
        for rung in &mut ladder.rungs {
            (rung.audio, rung.audio_bps) = match rung.video {
                RungVideo::Source | RungVideo::None if can_pass => (RungAudio::Source, passed_bps),
                _ => (RungAudio::None, 0),
            };
        }
        let mut videos = ladder.rungs.iter().map(|rung| &rung.video);
        let mut passes = facts.way == Way::Pass && videos.any(|video| *video == RungVideo::Source);
        // Who begins with what only some players take would begin with nothing for the others.
        passes &= slots.is_some() || facts.source.video.passing() == Passing::Alone;
        passes.then_some(Setup {
            ladder,
            job: None,
            recipe: None,
            rung_slots: Vec::new(),
            encode_slots: Vec::new(),
            shed: BTreeSet::new(),
        })
    }

    fn job(&self, facts: &Facts, setup: &mut Setup) -> Option<Job> {
        let (mut rungs, mut audio_encodes) = (Vec::new(), Vec::<AudioEncode>::new());
        for (slot, rung) in setup.ladder.rungs.iter().enumerate() {
            rungs.extend(video_rung(rung));
            if matches!(rung.video, RungVideo::Encode { .. }) {
                setup.rung_slots.push(slot);
            }
            if let RungAudio::Encode { bitrate_bps } = rung.audio {
                let known = audio_encodes
                    .iter()
                    .position(|e| e.bitrate_bps == bitrate_bps);
                let encode = known.unwrap_or(audio_encodes.len());
                if known.is_none() {
                    audio_encodes.push(AudioEncode { bitrate_bps });
                    setup.encode_slots.push(Vec::new());
                }
                setup.encode_slots[encode].push(slot);
            }
        }
        let is_needed = !rungs.is_empty() || !audio_encodes.is_empty();
        let mut videos = setup.ladder.rungs.iter().map(|rung| &rung.video);
        let has_leader = videos.any(|video| *video == RungVideo::Source);
        let is_for_all = has_leader && facts.source.video.passing() == Passing::Alone;
        let clock = match &facts.way {
            Way::Transcode { rate, .. } => FrameClock::Constant(*rate),
            Way::Pass if has_leader => FrameClock::Source,
            // It could pass, but these playlists have no place for it.
            Way::Pass => FrameClock::Constant(FrameRate::near(facts.fps_millis)),
        };
        is_needed.then(|| Job {
            video: Arc::clone(&facts.source.video),
            audio: facts.source.audio.clone(),
            fps_millis: facts.fps_millis,
            clock,
            segment_ms: facts.segment_ms,
            begins_short: false,
            first_pts: None,
            rungs,
            shed: 0,
            keeps_last: !is_for_all,
            cold: 0,
            is_patient: false,
            audio_encodes,
            config: self.config.clone(),
        })
    }
}

/// What the multivariant playlist promises of a source that is passed through; its codecs come from
/// its tracks.
pub(super) fn source_variant(facts: &Facts) -> Variant {
    let (width, height) = facts.source.display_size();
    // Encoders overshoot what they declare: half again as much, and never below what was seen.
    let average = facts.bps.max(1);
    let mut name = format!("{}p{}", width.min(height), (facts.fps_millis + 500) / 1000);
    let video = &facts.source.video;
    if video.passing() == Passing::Beside {
        // There is another of this size.
        let codec = format!("-{}", video.kind().name().to_lowercase());
        name.push_str(&codec);
    }
    Variant {
        name,
        bandwidth_bps: (average * 3 / 2).max(facts.measured_bps * 11 / 10),
        average_bandwidth_bps: average,
        codecs: String::new(),
        width,
        height,
        frame_rate_millis: facts.fps_millis,
        is_source: true,
    }
}

fn known_video(variant: &Variant) -> RungVideo {
    if variant.width == 0 {
        return RungVideo::None;
    }
    RungVideo::Encode {
        width: variant.width,
        height: variant.height,
        every: 1,
        fps_millis: variant.frame_rate_millis,
        bitrate_bps: u32::try_from(variant.average_bandwidth_bps).unwrap_or(u32::MAX),
    }
}

fn video_rung(rung: &Rung) -> Option<VideoRung> {
    let RungVideo::Encode {
        width,
        height,
        every,
        fps_millis,
        bitrate_bps,
    } = rung.video
    else {
        return None;
    };
    Some(VideoRung {
        name: rung.name.clone(),
        width,
        height,
        every,
        fps_millis,
        bitrate_bps,
    })
}

/// The source as the ladder wants to know it.
fn describe(facts: &Facts) -> ladder::Source {
    let (width, height) = facts.source.display_size();
    let fps_millis = match &facts.way {
        Way::Pass => facts.fps_millis,
        Way::Transcode { rate, .. } => rate.fps_millis(),
    };
    ladder::Source {
        width,
        height,
        fps_millis,
        passing: match facts.way {
            Way::Pass => facts.source.video.passing(),
            Way::Transcode { .. } => Passing::Never,
        },
        bitrate_bps: Some(facts.bps),
        audio: facts
            .source
            .audio
            .as_ref()
            .map(|audio| ladder::SourceAudio {
                is_passable: audio.is_widely_playable(),
                bitrate_bps: facts.source.audio_bps,
            }),
    }
}

/// Beside a source that is passed on, every rendition has its sound as it is, if every player takes it: sound is encoded
/// without a break or not at all, and what nobody watches is to cost nothing.
fn pass_sound(ladder: &mut Ladder, source: &ladder::Source) {
    let mut videos = ladder.rungs.iter().map(|rung| &rung.video);
    let passes = videos.any(|video| *video == RungVideo::Source);
    let sound = source.audio.as_ref().filter(|audio| audio.is_passable);
    let Some(sound) = sound.filter(|_| passes) else {
        return;
    };
    for rung in &mut ladder.rungs {
        if matches!(rung.audio, RungAudio::Encode { .. }) {
            (rung.audio, rung.audio_bps) = (RungAudio::Source, sound.passed_bps());
        }
    }
}

/// The source alone, as it is.
fn passed_through(source: &ladder::Source) -> Ladder {
    let (audio, audio_bps) = match &source.audio {
        Some(audio) => (RungAudio::Source, audio.passed_bps()),
        None => (RungAudio::None, 0),
    };
    Ladder {
        rungs: vec![Rung {
            name: ladder::SOURCE.to_owned(),
            video: RungVideo::Source,
            audio,
            audio_bps,
            is_listed_always: true,
        }],
    }
}

#[cfg(test)]
mod tests;
