use ChannelType::{AdvancedHd, AdvancedSd, Basic, Standard};
use bytes::Bytes;

use super::*;
use crate::base::clock::WallTime;
use crate::live::start::tests::{hevc, video};
use crate::media::codec::{AudioConfig, AudioKind};
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
    let parse =
        |bytes| Arc::new(AudioConfig::parse(AudioKind::Aac, &Bytes::from_static(bytes)).unwrap());
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

#[test]
fn on_demand_all_have_the_sound_of_a_source_that_passes() {
    let mut transcoding = transcoding(true, transcode::Basic::Transcode);
    transcoding.config.ladder = transcode::Mode::OnDemand;
    let plan = |facts: &Facts| transcoding.plan(&channel(Standard), facts, None);
    let setup = plan(&facts(true, STEREO_48K));
    assert_eq!(sounds(&setup), []);
    let is_passed = |rung: &Rung| rung.audio == RungAudio::Source && rung.audio_bps > 0;
    assert!(setup.ladder.rungs.iter().all(is_passed), "{setup:?}");
    // As ever where the pictures or the sound are encoded anyway.
    assert_eq!(sounds(&plan(&facts(false, STEREO_48K))).len(), 2);
    assert_eq!(sounds(&plan(&facts(true, MONO_22K))).len(), 3);
    assert!(sounds(&plan(&facts(true, None))).is_empty());
}

#[test]
fn what_only_some_players_take_leads_a_whole_ladder() {
    let beside = |is_passable| {
        let mut facts = facts(is_passable, STEREO_48K);
        facts.source.video = hevc();
        facts
    };
    let low = "480p30 360p30 160p30";
    let setup = plan(Standard, &beside(true), None);
    assert_eq!(
        names(&setup.ladder),
        format!("720p30 {low} original audio_only")
    );
    let job = setup.job.unwrap();
    assert_eq!(
        (job.clock, setup.rung_slots),
        (FrameClock::Source, vec![0, 1, 2, 3])
    );
    // An overloaded server leaves a rung to those who cannot play the source.
    assert!(job.keeps_last);
    let setup = plan(Standard, &facts(true, STEREO_48K), None);
    assert!(!setup.job.unwrap().keeps_last);
    assert_eq!(source_variant(&beside(true)).name, "720p30-hevc");
    assert_eq!(source_variant(&facts(true, None)).name, "720p30");
    // Where it cannot be passed on it is a source like any other.
    let setup = plan(Standard, &beside(false), None);
    assert_eq!(names(&setup.ladder), format!("720p30 {low} audio_only"));

    // A server that cannot encode now does not begin with it, but goes on with it.
    let transcoding = transcoding(true, transcode::Basic::Transcode);
    let without =
        |facts: &Facts, slots| transcoding.plan_without_encoding(&channel(Standard), facts, slots);
    assert!(without(&beside(true), None).is_none());
    assert!(without(&facts(true, None), None).is_some());
    let slots = plan(Standard, &beside(true), None).ladder;
    let setup = without(&beside(true), Some(&slots)).unwrap();
    assert_eq!(setup.ladder.rungs[4].video, RungVideo::Source);
}

fn bandwidth(facts: &Facts) -> u64 {
    source_variant(facts).bandwidth_bps / 1000
}

fn measured(mean_kbps: u64, peak_kbps: u64) -> Measured {
    Measured {
        fps_millis: None,
        rate: None,
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
fn a_frame_grid_becomes_as_fast_as_the_source() {
    for is_passable in [false, true] {
        let slow = Facts {
            fps_millis: 15_000,
            ..facts(is_passable, STEREO_48K)
        };
        let first = plan(AdvancedHd, &slow, None).ladder;
        let mut facts = slow.clone();
        facts.measure(Measured {
            fps_millis: Some(60_000),
            rate: Some(FrameRate::near(60_000)),
            ..Measured::default()
        });
        let setup = plan(AdvancedHd, &facts, Some(&first));
        assert_ne!(setup.ladder, first);
        let clock = setup.job.unwrap().clock;
        assert_eq!(clock, FrameClock::Constant(FrameRate::near(60_000)));
    }
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
