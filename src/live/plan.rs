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
        let has_source = job.clock == FrameClock::Source;
        let most = job.rungs.len() - usize::from(!has_source && !job.rungs.is_empty());
        for (n, rung) in job.rungs.iter().enumerate().take(most) {
            if shed.contains(&rung.name) {
                job.shed |= 1 << n;
                self.shed.insert(rung.name.clone());
            }
        }
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
        let ladder = match (self.config.enabled, slots) {
            (false, _) => passed_through(&source),
            (true, None) => Ladder::plan(self.table(channel), &source),
            (true, Some(slots)) => slots.refit(self.table(channel), &source),
        };
        let mut setup = Setup {
            ladder,
            job: None,
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
        let passes = facts.way == Way::Pass && videos.any(|video| *video == RungVideo::Source);
        passes.then_some(Setup {
            ladder,
            job: None,
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
            first_pts: None,
            rungs,
            shed: 0,
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
    Variant {
        name: format!("{}p{}", width.min(height), (facts.fps_millis + 500) / 1000),
        bandwidth_bps: (average * 3 / 2).max(facts.measured_bps * 11 / 10),
        average_bandwidth_bps: average,
        codecs: String::new(),
        width,
        height,
        frame_rate_millis: facts.fps_millis,
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
        is_passable: facts.way == Way::Pass,
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
mod tests {
    use ChannelType::{AdvancedHd, AdvancedSd, Basic, Standard};
    use bytes::Bytes;

    use super::*;
    use crate::base::clock::WallTime;
    use crate::live::start::tests::video;
    use crate::media::codec::aac;
    use crate::model::channel::Settings;

    const STEREO_48K: Option<&[u8]> = Some(&[0x11, 0x90]);
    const MONO_22K: Option<&[u8]> = Some(&[0x13, 0x88]);

    fn transcoding(enabled: bool, basic: transcode::Basic) -> Transcoding {
        let config = transcode::Config {
            enabled,
            basic,
            ..transcode::Config::default()
        };
        let ladders = Arc::default();
        Transcoding { config, ladders }
    }

    fn channel(channel_type: ChannelType) -> Channel {
        let settings = Settings {
            channel_type: Some(channel_type),
            ..Settings::default()
        };
        Channel::create(&settings, WallTime(0)).unwrap()
    }

    /// 720p at 30 frames a second.
    fn facts(is_passable: bool, audio: Option<&'static [u8]>) -> Facts {
        let parse = |bytes| Arc::new(aac::Config::parse(&Bytes::from_static(bytes)).unwrap());
        let encoded = Way::Transcode {
            rate: FrameRate::near(30_000),
            reason: None,
        };
        Facts {
            source: SourceConfig {
                video: video(1280),
                audio: audio.map(parse),
                audio_bps: 192_000,
                is_turned: false,
            },
            fps_millis: 30_000,
            bps: 3_000_000,
            declared_bps: None,
            measured_bps: 3_000_000,
            way: if is_passable { Way::Pass } else { encoded },
            segment_ms: 2000,
        }
    }

    fn plan(channel_type: ChannelType, facts: &Facts, slots: Option<&Ladder>) -> Setup {
        let transcoding = transcoding(true, transcode::Basic::Transcode);
        transcoding.plan(&channel(channel_type), facts, slots)
    }

    fn names(ladder: &Ladder) -> String {
        let names = ladder.rungs.iter().map(|rung| rung.name.as_str());
        names.collect::<Vec<_>>().join(" ")
    }

    /// Of each audio encode the kilobits and the renditions.
    fn sounds(setup: &Setup) -> Vec<(u32, &[usize])> {
        let encodes = setup.job.iter().flat_map(|job| &job.audio_encodes);
        let kbps = encodes.map(|encode| encode.bitrate_bps / 1000);
        kbps.zip(setup.encode_slots.iter().map(Vec::as_slice))
            .collect()
    }

    #[test]
    fn each_channel_type_has_its_renditions_and_encodes_each_sound_once() {
        let (basic, low) = ("source audio_only", "480p30 360p30 160p30 audio_only");
        let (passed, hd) = (format!("source {low}"), format!("720p30 {low}"));
        let few: &[(u32, &[usize])] = &[(64, &[2]), (48, &[3])];
        let sd: &[(u32, &[usize])] = &[(128, &[0]), (64, &[1, 3]), (48, &[2])];
        let all: &[(u32, &[usize])] = &[(128, &[0, 1]), (64, &[2, 4]), (48, &[3])];
        for (channel_type, is_passable, expected, slots, encodes) in [
            (Basic, true, basic, 0..0, &[][..]),
            (Basic, false, basic, 0..1, &[]),
            (Standard, true, &passed, 1..4, few),
            (Standard, false, &hd, 0..4, few),
            (AdvancedSd, true, low, 0..3, sd),
            (AdvancedSd, false, low, 0..3, sd),
            (AdvancedHd, true, &hd, 0..4, all),
            (AdvancedHd, false, &hd, 0..4, all),
        ] {
            let setup = plan(channel_type, &facts(is_passable, STEREO_48K), None);
            let case = format!("{channel_type:?}, passable: {is_passable}");
            assert_eq!(names(&setup.ladder), expected, "{case}");
            assert_eq!(setup.rung_slots, slots.collect::<Vec<_>>(), "{case}");
            assert_eq!(sounds(&setup), encodes, "{case}");
            let own_clock = setup.job.map(|job| job.clock != FrameClock::Source);
            let is_needed = !setup.rung_slots.is_empty();
            let has_leader = setup.ladder.rungs[0].video == RungVideo::Source;
            assert_eq!(own_clock, is_needed.then_some(!has_leader), "{case}");
        }
        // Sound that cannot pass is encoded for all who would have it.
        let setup = plan(Standard, &facts(true, MONO_22K), None);
        let expected: [(u32, &[usize]); 3] = [(128, &[0, 1, 4]), (64, &[2]), (48, &[3])];
        assert_eq!(sounds(&setup), expected);
    }

    fn bandwidth(facts: &Facts) -> u64 {
        source_variant(facts).bandwidth_bps / 1000
    }

    fn measured(mean_kbps: u64, peak_kbps: u64) -> Measured {
        Measured {
            fps_millis: None,
            mean_bps: mean_kbps * 1000,
            peak_bps: peak_kbps * 1000,
        }
    }

    #[test]
    fn what_is_said_of_a_source_follows_what_it_sends() {
        let mut facts = facts(true, None);
        facts.source.audio_bps = 0;
        assert_eq!(bandwidth(&facts), 4500);
        facts.measure(measured(2000, 3000));
        assert_eq!(bandwidth(&facts), 4500, "as it was");
        facts.measure(measured(2000, 5000));
        assert_eq!(bandwidth(&facts), 5500, "a peak");
        facts.measure(measured(4000, 5000));
        assert_eq!(bandwidth(&facts), 6000);

        // It becomes another one of twice the pixels, of which nothing is declared.
        let first = facts.source.clone();
        let of = |width| SourceConfig {
            video: video(width),
            ..first.clone()
        };
        let (large, small) = (of(2560), of(640));
        facts.change(large, None);
        assert_eq!((facts.bps, bandwidth(&facts)), (8_000_000, 12_000));
        facts.measure(measured(3000, 3000));
        assert_eq!(bandwidth(&facts), 4500, "less than was likely");

        // A smaller one is declared, and another one is not.
        facts.change(small, Some(600_000));
        facts.measure(measured(100, 100));
        assert_eq!(bandwidth(&facts), 900, "it may be dark");
        facts.measure(measured(700, 700));
        assert_eq!(bandwidth(&facts), 1050, "more than declared");
        facts.change(of(1280), Some(600_000));
        assert_eq!(facts.bps, 1_400_000);
        let same = facts.source.clone();
        facts.change(same, Some(1));
        assert_eq!(facts.bps, 1_400_000, "only its sound has changed");
    }

    #[test]
    fn what_was_shed_stays_so_but_not_all_pictures() {
        let left_out = |is_passable, shed: &[&str]| {
            let mut setup = plan(Standard, &facts(is_passable, STEREO_48K), None);
            setup.leave_out(&shed.iter().map(|name| (*name).to_owned()).collect());
            let names = setup.shed.into_iter().collect::<Vec<_>>().join(" ");
            (setup.job.unwrap().shed, names)
        };
        let named = |mask, names: &str| (mask, names.to_owned());
        assert_eq!(left_out(true, &[]), named(0, ""));
        assert_eq!(left_out(true, &["480p30", "gone"]), named(1, "480p30"));
        let all = ["720p30", "480p30", "360p30", "160p30"];
        assert_eq!(left_out(true, &all), named(0b111, "160p30 360p30 480p30"));
        assert_eq!(left_out(false, &all), named(0b111, "360p30 480p30 720p30"));
    }

    #[test]
    fn a_source_without_sound_has_no_sound_encoded() {
        for channel_type in [Basic, Standard, AdvancedSd, AdvancedHd] {
            let setup = plan(channel_type, &facts(false, None), None);
            assert!(sounds(&setup).is_empty() && setup.encode_slots.is_empty());
            assert!(!names(&setup.ladder).contains(ladder::AUDIO_ONLY));
        }
    }

    #[test]
    fn types_and_settings_decide_what_may_pass_and_what_may_be_transcoded() {
        let all = [Basic, Standard, AdvancedSd, AdvancedHd].map(channel);
        assert_eq!(all.each_ref().map(may_pass), [true, true, false, false]);
        let allowed = |enabled, basic| {
            let transcoding = transcoding(enabled, basic);
            all.each_ref()
                .map(|channel| transcoding.is_allowed(channel))
        };
        assert_eq!(allowed(true, transcode::Basic::Transcode), [true; 4]);
        let refusing = allowed(true, transcode::Basic::Refuse);
        assert_eq!(refusing, [false, true, true, true]);
        assert_eq!(allowed(false, transcode::Basic::Transcode), [false; 4]);
        let off = transcoding(false, transcode::Basic::Transcode);
        for (channel, audio) in all.iter().zip([STEREO_48K, MONO_22K, None, STEREO_48K]) {
            let setup = off.plan(channel, &facts(true, audio), None);
            assert!(setup.job.is_none() && setup.rung_slots.is_empty());
            assert_eq!(names(&setup.ladder), ladder::SOURCE);
            assert_eq!(setup.ladder.rungs[0].video, RungVideo::Source);
        }
    }

    #[test]
    fn what_can_pass_does_so_where_nothing_can_be_encoded() {
        use RungAudio::{None as Mute, Source};
        let transcoding = transcoding(true, transcode::Basic::Transcode);
        let alone = |channel_type, facts: &Facts, slots: Option<&Ladder>| {
            transcoding.plan_without_encoding(&channel(channel_type), facts, slots)
        };
        let sounds = |ladder: &Ladder| {
            let sounds = ladder.rungs.iter().map(|rung| rung.audio.clone());
            sounds.collect::<Vec<_>>()
        };
        for (audio, sound) in [(STEREO_48K, Source), (MONO_22K, Source), (None, Mute)] {
            let setup = alone(Standard, &facts(true, audio), None).unwrap();
            assert!(setup.job.is_none() && setup.rung_slots.is_empty());
            assert_eq!(names(&setup.ladder), ladder::SOURCE);
            assert_eq!(sounds(&setup.ladder), [sound]);
        }
        let passed = plan(Standard, &facts(true, STEREO_48K), None).ladder;
        let again = alone(Standard, &facts(true, MONO_22K), Some(&passed)).unwrap();
        assert_eq!(names(&again.ladder), names(&passed));
        assert_eq!(sounds(&again.ladder), [Source, Mute, Mute, Mute, Source]);
        let encoded = plan(Standard, &facts(false, STEREO_48K), None).ladder;
        assert!(alone(Standard, &facts(true, STEREO_48K), Some(&encoded)).is_none());
        assert!(alone(Standard, &facts(false, STEREO_48K), None).is_none());
    }

    #[test]
    fn who_returns_keeps_the_renditions_whatever_the_source_is_now() {
        for (is_passable, audio) in [(true, None), (false, MONO_22K), (false, STEREO_48K)] {
            let first = plan(Standard, &facts(true, STEREO_48K), None).ladder;
            let again = plan(Standard, &facts(is_passable, audio), Some(&first));
            assert_eq!(names(&again.ladder), names(&first));
            let encoded = usize::from(is_passable)..4;
            assert_eq!(again.rung_slots, encoded.collect::<Vec<_>>());
            assert_eq!(again.encode_slots.is_empty(), audio.is_none());
        }
        // It could be passed on now, but there is no place for it: something has to be the clock.
        let first = plan(Standard, &facts(false, STEREO_48K), None).ladder;
        let again = plan(Standard, &facts(true, STEREO_48K), Some(&first));
        assert_eq!(names(&again.ladder), names(&first));
        assert_ne!(again.job.unwrap().clock, FrameClock::Source);
    }
}
