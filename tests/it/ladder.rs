//! Ladders from every kind of source: all renditions on one grid, all decode to the last frame, the
//! playlist tells the truth, sound and picture belong together.

use std::ops::Range;
use std::time::Duration;

use tokio::time::Instant;

use super::support::clips::{clip, frame_count, real_clip};
use super::support::flv::Recording;
use super::support::ladder::scene::{
    Frames, Scene, Source, check_frames, check_sync, file, heights, play, play_all, recording,
    scene,
};
use super::support::ladder::{Ladder, Rendition, variants, watch};
use super::support::server::TestServer;
use super::support::{MACHINE, within};

fn property(rendition: &Rendition, name: &str) -> String {
    let value = rendition.decode().property("video", name).unwrap();
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_channel_type_makes_its_ladder_from_a_720p_source() {
    let of = |name, options, heights| Scene {
        options,
        ..scene(name, file("ladder_720p30.flv"), heights, Frames::All)
    };
    let scenes = [
        of("standard", &["--type", "STANDARD"], &[720, 480, 360, 160]),
        of("basic", &["--type", "BASIC"], &[720]),
        of(
            "hd",
            &[
                "--type",
                "ADVANCED_HD",
                "--preset",
                "HIGHER_BANDWIDTH_DELIVERY",
            ],
            &[720, 480, 360, 160, 0],
        ),
        of(
            "sd",
            &[
                "--type",
                "ADVANCED_SD",
                "--preset",
                "CONSTRAINED_BANDWIDTH_DELIVERY",
            ],
            &[480, 360, 160, 0],
        ),
    ];
    let ladders = play_all(&scenes).await;
    let rate = |ladder: &Ladder, name: &str| ladder.rendition(name).variant.frame_rate();
    assert_eq!(rate(&ladders[0], "480p30"), Some(30.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_frames_a_second_are_halved_below_720p() {
    let scenes = [scene(
        "halved",
        file("ladder_480p60.flv"),
        &[480, 360, 160],
        Frames::All,
    )];
    let ladders = play_all(&scenes).await;
    let rates = ladders[0]
        .renditions
        .iter()
        .map(|rendition| rendition.variant.frame_rate());
    assert_eq!(
        rates.collect::<Vec<_>>(),
        [Some(60.0), Some(30.0), Some(30.0)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_frame_rate_makes_a_ladder() {
    let small = |name, clip| scene(name, file(clip), &[180, 160], Frames::All);
    let scenes = [
        small("fps24", "fps24.flv"),
        small("fps25", "fps25.flv"),
        small("fps29_97", "fps29_97.flv"),
        small("fps12_5", "fps12_5.flv"),
        small("fps10", "fps10.flv"),
        // Rates that give no good parts are made constant by copies.
        scene(
            "fps11",
            file("fps11.flv"),
            &[180, 160],
            Frames::Seconds(8.0),
        ),
        scene("fps5", file("fps5.flv"), &[180, 160], Frames::Seconds(8.0)),
    ];
    play_all(&scenes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_gops_and_surround_sound_make_a_ladder() {
    let mut scenes = vec![scene(
        "longgop51",
        file("longgop51.flv"),
        &[360, 160],
        Frames::All,
    )];
    if let Some(path) = real_clip("big-buck-bunny-480p24-30s.mp4") {
        scenes.push(scene(
            "bunny",
            Source::File(path),
            &[480, 360, 160],
            Frames::All,
        ));
    }
    for ladder in play_all(&scenes).await {
        for rendition in &ladder.renditions {
            let channels = rendition.decode().property("audio", "channels").unwrap();
            assert_eq!(channels, 2, "{}", rendition.variant.name);
            let extinfs = rendition.watched.segments.values().copied();
            assert!(
                extinfs.fold(0.0, f64::max) < 2.5,
                "{}",
                rendition.variant.name
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_pictures_end_as_plain_ones() {
    let scenes = [
        scene("portrait", file("portrait.flv"), &[640, 284], Frames::All),
        scene(
            "anamorphic",
            file("anamorphic.flv"),
            &[468, 350, 156],
            Frames::All,
        ),
        scene("high422", file("high422.flv"), &[180, 160], Frames::All),
        scene("fullrange", file("fullrange.flv"), &[180, 160], Frames::All),
    ];
    for (scene, ladder) in std::iter::zip(&scenes, play_all(&scenes).await) {
        let shape = |rendition: &Rendition| {
            let (width, height) = rendition.variant.resolution().unwrap();
            f64::from(width) / f64::from(height)
        };
        for rendition in &ladder.renditions {
            // What is passed through keeps the range that it has and says so.
            let is_passed = rendition.decode().property("video", "profile").unwrap() != "Main";
            let is_full = is_passed && scene.name == "fullrange";
            let expected = if is_full { "yuvj420p" } else { "yuv420p" };
            assert_eq!(property(rendition, "pix_fmt"), expected, "{}", scene.name);
        }
        let (source, rungs) = ladder.renditions.split_first().unwrap();
        for rung in rungs {
            assert_eq!(
                property(rung, "sample_aspect_ratio"),
                "1:1",
                "{}",
                scene.name
            );
            let off = shape(rung) / shape(source) - 1.0;
            assert!(
                off.abs() < 0.02,
                "{}: {} is {off:+.3} wider",
                scene.name,
                rung.variant.name
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_that_is_sent_lying_stands_upright() {
    let scenes = [scene(
        "rotated",
        file("rotated.flv"),
        &[320, 284],
        Frames::All,
    )];
    for rendition in &play_all(&scenes).await[0].renditions {
        let (width, height) = rendition.variant.resolution().unwrap();
        assert!(width < height, "{width}x{height}");
        let [upper, lower] = rendition.decode().halves();
        assert!(upper < 60 && lower > 200, "{upper} above {lower}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uneven_frame_rates_and_standstills_play_on() {
    let still = frame_count(&clip("standstill.flv"));
    let scenes = [
        scene(
            "vfr",
            file("vfr.flv"),
            &[360, 160],
            // 3 s are passed on with 30 pictures a second, some more with 5, and then each gets its copies.
            Frames::AtLeast(340),
        ),
        scene(
            "standstill",
            file("standstill.flv"),
            &[360, 160],
            Frames::AtLeast(still),
        ),
        scene(
            "standstill-mute",
            file("standstill_noaudio.flv"),
            &[360, 160],
            // ffmpeg sends the picture behind the pause before it: the next ones are late for half a second,
            // and viewers see the slate for as long.
            Frames::AtLeast(still - 20),
        ),
    ];
    let server = TestServer::start().await;
    // ffmpeg keeps the sound back until a picture comes: nothing tells how long that stands still. What is sent as it
    // becomes due is the next test's.
    for (scene, expected) in std::iter::zip(scenes, [13.5..14.5, 8.5..12.5, 7.5..12.5]) {
        let name = scene.name;
        let ladder = play_unevenly(&server, scene).await;
        let played = played(&ladder);
        assert!(expected.contains(&played), "{name}: {played} s in all");
        if name == "vfr" {
            ladder.check_whole();
        }
    }
}

/// How many seconds were to be seen.
fn played(ladder: &Ladder) -> f64 {
    ladder.renditions[0].watched.segments.values().sum()
}

/// Plays a source that is not what it is at its beginning all the time.
async fn play_unevenly(server: &TestServer, mut scene: Scene) -> Ladder {
    // Whether a pause is bridged or broken by a discontinuity may differ; that all agree may not.
    let _shared = MACHINE.read().await;
    let channel = server.new_channel_with(scene.name, scene.options).await;
    let both = async {
        tokio::join!(
            watch(&channel.playback_url),
            scene.source.publish(server, &channel)
        )
    };
    let (ladder, ()) = within(90, "end of the ladder", both).await;
    scene.discontinuities = ladder.renditions[0].watched.discontinuities.len();
    assert_eq!(heights(&ladder), scene.heights, "{}", scene.name);
    ladder.check_grid();
    check_frames(&scene, &ladder);
    ladder
}

/// Longer than what is ever filled at once, and than a publisher may be without a picture.
#[tokio::test(flavor = "multi_thread")]
async fn a_screen_that_stands_still_while_sound_goes_on_plays_on() {
    let recording = recording("ladder_360p30.flv")
        .then(recording("ladder_360p30.flv").gops(4))
        .without_pictures(3_000..17_950);
    let server = TestServer::start_with(&[("WEIR__LIVE__VIDEO_SILENCE_SECONDS", "3")]).await;
    let scene = scene(
        "still",
        Source::Edited(recording),
        &[360, 160],
        Frames::AtLeast(575),
    );
    let played = played(&play_unevenly(&server, scene).await);
    assert!((played - 20.0).abs() < 0.5, "{played} s of 20 s");
    let log = server.log();
    assert!(!log.contains("publisher lost"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_screen_that_stands_still_from_its_first_picture_on_plays_on() {
    let source = recording("ladder_360p30.flv").without_pictures(30..7_990);
    let server = TestServer::start().await;
    let channel = server
        .new_channel_with("still-at-once", &["--type", "STANDARD"])
        .await;
    let source = Source::Edited(source);
    let _shared = MACHINE.read().await;
    let begin = Instant::now();
    let playable = async {
        variants(&channel.playback_url).await;
        begin.elapsed()
    };
    let both = async {
        tokio::join!(
            watch(&channel.playback_url),
            source.publish(&server, &channel),
            playable
        )
    };
    let (ladder, (), waited) = within(60, "end of the ladder", both).await;
    assert!(
        waited < Duration::from_secs(6),
        "decided only after {waited:?}, when the next picture came"
    );
    assert_eq!(heights(&ladder), [360, 160]);
    ladder.check_whole();
    ladder.check_grid();
    let played = played(&ladder);
    assert!((played - 12.0).abs() < 0.5, "{played} s of 12 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_long_before_the_first_picture_is_in_place() {
    let source = recording("sync.flv").without_pictures(0..5_990);
    let early = scene("early", Source::Edited(source), &[360, 160], Frames::All);
    let ladder = play(&TestServer::start().await, &early).await;
    check_sync(&early, &ladder, &(0.0..0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_size_in_mid_stream_is_played_by_all() {
    let source = recording("ladder_360p30.flv")
        .gops(3)
        .then(recording("fps30_480p.flv"));
    let advanced = recording("ladder_360p30.flv")
        .gops(3)
        .then(recording("fps30_480p.flv"));
    let scenes = [
        // The source rendition changes with its source; all renditions break there.
        Scene {
            discontinuities: 1,
            ..scene("size", Source::Edited(source), &[360, 160], Frames::All)
        },
        // Everything is encoded: the change is hidden.
        Scene {
            options: &["--type", "ADVANCED_HD"],
            ..scene(
                "size-hidden",
                Source::Edited(advanced),
                &[360, 160, 0],
                Frames::All,
            )
        },
    ];
    play_all(&scenes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_parameter_sets_of_the_same_size_are_played_by_all() {
    let source = || {
        let first = recording("ladder_360p30.flv").gops(3);
        Source::Edited(first.then(recording("plain_360p30.flv")))
    };
    let scenes = [
        Scene {
            discontinuities: 1,
            ..scene("sets", source(), &[360, 160], Frames::All)
        },
        Scene {
            options: &["--type", "ADVANCED_HD"],
            // Without B pictures the first ones are shown where the last ones before them are.
            ..scene(
                "sets-hidden",
                source(),
                &[360, 160, 0],
                Frames::AtLeast(357),
            )
        },
    ];
    play_all(&scenes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_that_comes_late_or_vanishes_where_everything_is_encoded() {
    let vanishing = recording("ladder_360p30.flv").without_audio(4_500..7_500);
    let vanishing = Source::Edited(vanishing);
    let server = TestServer::start().await;
    let mut ladders = Vec::new();
    for (name, source, heights, breaks) in [
        ("late", file("late_audio.flv"), &[160][..], 1),
        ("vanishing", vanishing, &[360, 160, 0], 0),
    ] {
        let scene = Scene {
            options: &["--type", "ADVANCED_HD"],
            ..scene(name, source, heights, Frames::All)
        };
        let ladder = play_unevenly(&server, scene).await;
        ladder.check_whole();
        let found = &ladder.renditions[0].watched.discontinuities;
        assert_eq!(found.len(), breaks, "{name}");
        ladders.push(ladder);
    }
    for rendition in ladders.iter().flat_map(|ladder| &ladder.renditions) {
        let (loudest, _) = rendition.decode().loudness(3.0);
        let name = &rendition.variant.name;
        assert!(loudest > -40.0, "{name}: {loudest:.0} dB at last");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_that_vanishes_does_not_stop_the_picture() {
    let vanishing =
        |range: Range<u32>| Source::Edited(recording("ladder_360p30.flv").without_audio(range));
    let scenes = [
        scene("gap", vanishing(4_500..7_500), &[360, 160], Frames::All),
        scene(
            "forever",
            vanishing(5_000..u32::MAX),
            &[360, 160],
            Frames::All,
        ),
    ];
    let ladders = play_all(&scenes).await;
    for (ladder, is_back) in std::iter::zip(&ladders, [true, false]) {
        for rendition in &ladder.renditions {
            let (loudest, silent_ms) = rendition.decode().loudness(3.0);
            let what = format!(
                "{}: {loudest:.0} dB at last, {silent_ms} ms are silent",
                rendition.variant.name
            );
            assert_eq!(loudest > -40.0, is_back, "{what}");
            let expected = if is_back { 2_300..3_600 } else { 6_000..7_800 };
            assert!(expected.contains(&silent_ms), "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_segment_of_one_picture_begins_together_in_all_renditions() {
    // The third segment begins at 3 s; sound ends a little earlier.
    let recording = recording("plain_360p30.flv");
    let pictures = recording.without_pictures(3_030..u32::MAX);
    let source = Source::Edited(pictures.without_audio(2_940..));
    let scene = Scene {
        options: &["--type", "ADVANCED_HD"],
        ..scene("end", source, &[360, 160, 0], Frames::All)
    };
    play(&TestServer::start().await, &scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_jump_are_followed_by_all() {
    let jumping = |by_ms| Source::Edited(recording("ladder_360p30.flv").jump(6_000, by_ms));
    // Viewers see no break: media time goes on where wall time is.
    let jump = |name, by_ms| scene(name, jumping(by_ms), &[360, 160], Frames::All);
    play_all(&[
        jump("forward", 60_000),
        jump("back", -5_000),
        jump("small", 40),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_and_picture_belong_together_in_every_rendition() {
    let scenes = [
        scene("sync", file("sync.flv"), &[360, 160], Frames::All),
        scene(
            "sync-long",
            file("sync_longgop51.flv"),
            &[360, 160],
            Frames::All,
        ),
        Scene {
            options: &["--type", "ADVANCED_HD"],
            ..scene("sync-hd", file("sync.flv"), &[360, 160, 0], Frames::All)
        },
    ];
    for (scene, ladder) in std::iter::zip(&scenes, play_all(&scenes).await) {
        check_sync(scene, &ladder, &(0.0..0.0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_and_picture_stay_together_whatever_the_source_does() {
    let edited = |name, recording: Recording| {
        scene(name, Source::Edited(recording), &[360, 160], Frames::All)
    };
    let sync = || recording("sync.flv");
    let silence = 3_300.0..6_700.0;
    let hd = &["--type", "ADVANCED_HD"];
    let scenes = [
        scene("fps10", file("sync_fps10.flv"), &[360, 160], Frames::All),
        scene("22050", file("sync_22050.flv"), &[360, 160], Frames::All),
        scene(
            "uneven",
            file("sync_vfr.flv"),
            &[360, 160],
            Frames::Seconds(10.0),
        ),
        edited("jump", sync().jump(4_500, 60_000)),
        edited("jump-back", sync().jump(4_500, -5_000)),
        // Three frames of sound are lost between two beeps, and then two.
        edited("lost", sync().without_audio(4_300..4_363)),
        edited("lost-two", sync().without_audio(4_300..4_342)),
        edited("held-up", sync().held_up(110)),
        edited("quiet", sync().without_audio(3_500..6_500)),
        Scene {
            options: hd,
            heights: &[360, 160, 0],
            ..edited("quiet-hd", sync().without_audio(3_500..6_500))
        },
        Scene {
            discontinuities: 1,
            ..edited("switch", recording("sync_switch.flv"))
        },
    ];
    for (scene, ladder) in std::iter::zip(&scenes, play_all(&scenes).await) {
        let is_quiet = scene.name.starts_with("quiet");
        let silence = if is_quiet { &silence } else { &(0.0..0.0) };
        check_sync(scene, &ladder, silence);
        if scene.name == "held-up" {
            let holes = ladder.renditions.iter().map(|r| r.decode().holes());
            assert_eq!(holes.sum::<usize>(), 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transmuxed_stream_passes_the_same_checks() {
    let options = &["--type", "BASIC"];
    let of = |name, source, heights| Scene {
        options,
        ..scene(name, source, heights, Frames::All)
    };
    let edited = Source::Edited(recording("fps30_480p.flv").gops(3));
    let scenes = [
        of("basic-sync", file("sync.flv"), &[360]),
        of("basic-edited", edited, &[480]),
    ];
    let ladders = play_all(&scenes).await;
    check_sync(&scenes[0], &ladders[0], &(0.0..0.0));
}
