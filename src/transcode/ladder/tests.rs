use super::*;
use proptest::prelude::*;

fn source(width: u16, height: u16, fps: u32) -> Source {
    Source {
        width,
        height,
        fps_millis: fps * 1000,
        passing: Passing::Alone,
        bitrate_bps: Some(6_000_000),
        audio: Some(SourceAudio {
            is_passable: true,
            bitrate_bps: 192_000,
        }),
    }
}

/// Each rung as `name size rate/sound`, kilobits; `-` is passed through.
fn plan(kind: LadderKind, source: &Source) -> String {
    let ladders = Ladders::default();
    let ladder = Ladder::plan(ladders.table(kind), source);
    describe(&ladder)
}

fn describe(ladder: &Ladder) -> String {
    let rungs = ladder.rungs.iter().map(|rung| {
        let video = match rung.video {
            RungVideo::Source => "-".to_owned(),
            RungVideo::Missing => "missing".to_owned(),
            RungVideo::None => String::new(),
            RungVideo::Encode {
                width,
                height,
                every,
                fps_millis,
                bitrate_bps,
            } => format!(
                "{width}x{height}@{}{} {}",
                fps_millis / 1000,
                if every == 2 { "/2" } else { "" },
                bitrate_bps / 1000
            ),
        };
        let audio = match rung.audio {
            RungAudio::Source => "-".to_owned(),
            RungAudio::None => "none".to_owned(),
            RungAudio::Encode { bitrate_bps } => (bitrate_bps / 1000).to_string(),
        };
        format!("{} {video}/{audio}", rung.name)
    });
    rungs.collect::<Vec<_>>().join("\n")
}

const LOW: &str =
    "480p30 852x480@30 1400/-\n360p30 640x360@30 630/64\n160p30 284x160@30 230/48\naudio_only /-";
const LOW_HALVED: &str = "480p30 852x480@30/2 1400/-\n360p30 640x360@30/2 630/64\n160p30 284x160@30/2 230/48\naudio_only /-";

#[test]
fn standard_is_what_ivs_has() {
    let standard = |source: &Source| plan(LadderKind::Standard, source);
    let hd60 = format!("source -/-\n720p60 1280x720@60 3400/-\n{LOW_HALVED}");
    assert_eq!(standard(&source(1920, 1080, 60)), hd60);
    let hd30 = format!("source -/-\n720p30 1280x720@30 2400/-\n{LOW}");
    assert_eq!(standard(&source(1920, 1080, 30)), hd30);
    assert_eq!(
        standard(&source(1600, 900, 30)),
        hd30,
        "between the classes"
    );
    // A source that can pass replaces the rung of its own size.
    assert_eq!(
        standard(&source(1280, 720, 30)),
        format!("source -/-\n{LOW}")
    );
    assert_eq!(
        standard(&source(1280, 720, 60)),
        format!("source -/-\n{LOW_HALVED}")
    );
    assert_eq!(
        standard(&source(960, 540, 30)),
        LOW,
        "no rendition of that size"
    );
    let replaced = LOW.replace("480p30 852x480@30 1400/-", "source -/-");
    assert_eq!(standard(&source(854, 480, 30)), replaced);
}

#[test]
fn sources_that_cannot_pass_are_encoded_in_their_place() {
    let encoded = |width, height, fps| Source {
        passing: Passing::Never,
        ..source(width, height, fps)
    };
    let standard = |source: &Source| plan(LadderKind::Standard, source);
    let hd30 = format!("source 1920x1080@30 4500/-\n720p30 1280x720@30 2400/-\n{LOW}");
    assert_eq!(standard(&encoded(1920, 1080, 30)), hd30);
    let hd = format!("720p30 1280x720@30 2400/-\n{LOW}");
    assert_eq!(standard(&encoded(1280, 720, 30)), hd);
    let sd = LOW.replace("852x480", "854x480");
    assert_eq!(standard(&encoded(854, 480, 30)), sd);
    let basic = plan(LadderKind::Basic, &encoded(1920, 1080, 60));
    assert_eq!(basic, "source 1920x1080@60 6000/-\naudio_only /-");
    let thrifty = Source {
        bitrate_bps: Some(3_000_000),
        ..encoded(1920, 1080, 30)
    };
    assert!(standard(&thrifty).starts_with("source 1920x1080@30 3000/"));
    let tiny = Source {
        bitrate_bps: Some(1_000_000),
        ..encoded(1920, 1080, 30)
    };
    assert!(standard(&tiny).starts_with("source 1920x1080@30 2700/"));
}

#[test]
fn small_sources_have_what_is_below_them() {
    let standard = |width, height| plan(LadderKind::Standard, &source(width, height, 30));
    let small = "source -/-\n360p30 640x360@30 630/64\n160p30 284x160@30 230/48\naudio_only /-";
    assert_eq!(standard(768, 432), small);
    let smaller = "source -/-\n160p30 284x160@30 230/48\naudio_only /-";
    assert_eq!(standard(640, 360), smaller);
    assert_eq!(standard(320, 180), smaller);
    assert_eq!(standard(100, 100), "source -/-\naudio_only /-");
}

#[test]
fn advanced_is_always_encoded() {
    let hd = plan(LadderKind::AdvancedHdHigher, &source(1920, 1080, 60));
    insta::assert_snapshot!(hd, @r"
    720p60 1280x720@60 3000/128
    480p30 852x480@30/2 1300/128
    360p30 640x360@30/2 700/64
    160p30 284x160@30/2 270/48
    audio_only /64
    ");
    let constrained = plan(LadderKind::AdvancedHdConstrained, &source(1280, 720, 30));
    insta::assert_snapshot!(constrained, @r"
    720p30 1280x720@30 1900/128
    480p30 852x480@30 800/128
    360p30 640x360@30 400/64
    160p30 284x160@30 220/48
    audio_only /64
    ");
    let between = plan(LadderKind::AdvancedHdHigher, &source(960, 540, 30));
    assert!(between.starts_with("source 960x540@30 2300/128\n480p30 852x480"));
    let sd = plan(LadderKind::AdvancedSdHigher, &source(1920, 1080, 30));
    assert!(sd.starts_with("480p30 852x480@30 1300/128\n360p30"), "{sd}");
    let constrained = plan(LadderKind::AdvancedSdConstrained, &source(640, 480, 30));
    assert!(
        constrained.starts_with("480p30 640x480@30 800/128"),
        "{constrained}"
    );
    let below = plan(LadderKind::AdvancedHdHigher, &source(768, 432, 30));
    assert!(below.starts_with("360p30 640x360@30 700/64"), "{below}");
}

#[test]
fn shapes_are_kept() {
    let standard = |width, height| plan(LadderKind::Standard, &source(width, height, 30));
    let portrait = standard(1080, 1920);
    assert!(portrait.contains("720p30 720x1280@30") && portrait.contains("480p30 480x852@30"));
    assert!(standard(1440, 1080).contains("720p30 960x720@30"), "4:3");
    assert!(standard(1920, 800).contains("720p30 1280x532@30"), "21:9");
    assert!(standard(1280, 536).starts_with("source -/-\n480p30 852x356"));
    for (width, height, rung) in [(1600, 720, "1280x576"), (720, 1600, "576x1280")] {
        let wide = standard(width, height);
        let expected = format!("source -/-\n720p30 {rung}@30 2400/-\n480p30");
        assert!(wide.starts_with(&expected), "{wide}");
    }
    assert!(standard(853, 479).starts_with("source -/-\n360p30"), "odd");
    let slow = plan(LadderKind::Standard, &source(1920, 1080, 25));
    assert!(slow.contains("720p25 1280x720@25 2400"), "{slow}");
    let fast = plan(LadderKind::Standard, &source(1920, 1080, 50));
    assert!(fast.contains("720p50 1280x720@50 3400") && fast.contains("480p25 852x480@25/2"));
}

#[test]
fn sound_is_passed_encoded_or_not_there() {
    let surround = Source {
        audio: Some(SourceAudio {
            is_passable: false,
            bitrate_bps: 192_000,
        }),
        ..source(1280, 720, 30)
    };
    let ladder = plan(LadderKind::Standard, &surround);
    insta::assert_snapshot!(ladder, @r"
    source -/128
    480p30 852x480@30 1400/128
    360p30 640x360@30 630/64
    160p30 284x160@30 230/48
    audio_only /128
    ");
    let silent = Source {
        audio: None,
        ..source(1280, 720, 30)
    };
    let ladder = plan(LadderKind::AdvancedHdHigher, &silent);
    assert!(
        ladder.lines().all(|line| line.ends_with("/none")),
        "{ladder}"
    );
    assert!(!ladder.contains("audio_only"));
}

#[test]
fn bandwidth_counts_the_sound_that_is_there() {
    let ladders = Ladders::default();
    let of = |audio: Option<(bool, u32)>| {
        let source = Source {
            audio: audio.map(|(is_passable, bitrate_bps)| SourceAudio {
                is_passable,
                bitrate_bps,
            }),
            ..source(1280, 720, 30)
        };
        let ladder = Ladder::plan(ladders.table(LadderKind::Standard), &source);
        let picture = |rung: &&Rung| rung.name == "480p30" || rung.name == "360p30";
        let rates = ladder.rungs.iter().filter(picture);
        let without_boxes = |rung: &Rung| rung.average_bandwidth_bps() - CONTAINER_BPS;
        rates.map(without_boxes).collect::<Vec<_>>()
    };
    assert_eq!(of(None), [1_400_000, 630_000]);
    assert_eq!(of(Some((true, 320_000))), [1_720_000, 694_000]);
    assert_eq!(of(Some((true, 3_000))), [1_496_000, 694_000], "silence yet");
    assert_eq!(of(Some((false, 384_000))), [1_528_000, 694_000]);
}

#[test]
fn a_returning_publisher_keeps_the_renditions() {
    let ladders = Ladders::default();
    let table = ladders.table(LadderKind::Standard);
    let planned = Ladder::plan(table, &source(1920, 1080, 30));
    let silent = Source {
        audio: None,
        ..source(640, 360, 30)
    };
    insta::assert_snapshot!(describe(&planned.refit(table, &silent)), @r"
    source -/none
    720p30 640x360@30 2400/none
    480p30 640x360@30 1400/none
    360p30 640x360@30 630/none
    160p30 284x160@30 230/none
    audio_only /none
    ");
    let cannot_pass = Source {
        passing: Passing::Never,
        ..source(1280, 720, 30)
    };
    let again = describe(&planned.refit(table, &cannot_pass));
    assert!(
        again.starts_with("source 1280x720@30 2400/-\n720p30 1280x720"),
        "{again}"
    );
}

#[test]
fn what_only_some_players_take_stands_beside_a_whole_ladder() {
    let beside = |width, height| Source {
        passing: Passing::Beside,
        ..source(width, height, 30)
    };
    let ladder = plan(LadderKind::Standard, &beside(1280, 720));
    insta::assert_snapshot!(ladder, @r"
    720p30 1280x720@30 2400/-
    480p30 852x480@30 1400/-
    360p30 640x360@30 630/64
    160p30 284x160@30 230/48
    original -/-
    audio_only /-
    ");
    // Its own size is among them, whatever that is.
    let ladder = plan(LadderKind::Standard, &beside(960, 540));
    let tops: Vec<_> = ladder.lines().take(2).collect();
    assert_eq!(
        tops,
        ["source 960x540@30 1612/-", "480p30 852x480@30 1400/-"]
    );
    assert!(ladder.contains("original -/-"), "{ladder}");
    let ladder = plan(LadderKind::Basic, &beside(1280, 720));
    insta::assert_snapshot!(ladder, @r"
    source 1280x720@30 2400/-
    original -/-
    audio_only /-
    ");
    // Types that pass nothing pass this neither.
    for kind in [
        LadderKind::AdvancedHdHigher,
        LadderKind::AdvancedSdConstrained,
    ] {
        let never = Source {
            passing: Passing::Never,
            ..beside(1280, 720)
        };
        assert_eq!(plan(kind, &beside(1280, 720)), plan(kind, &never));
    }
}

#[test]
fn a_place_for_what_only_some_players_take_stays_and_may_be_empty() {
    let ladders = Ladders::default();
    let table = ladders.table(LadderKind::Standard);
    let of = |passing| Source {
        passing,
        ..source(1280, 720, 30)
    };
    let with = Ladder::plan(table, &of(Passing::Beside));
    assert_eq!(with.refit(table, &of(Passing::Beside)), with);
    for passing in [Passing::Alone, Passing::Never] {
        let again = with.refit(table, &of(passing));
        let place = again.rungs.iter().find(|rung| rung.name == ORIGINAL);
        let place = place.unwrap();
        assert_eq!(
            (&place.video, &place.audio),
            (&RungVideo::Missing, &RungAudio::None)
        );
        assert_eq!(again.refit(table, &of(Passing::Beside)), with);
    }
    // Playlists without such a place get none later, and nothing else takes H.264's.
    let without = Ladder::plan(table, &of(Passing::Alone));
    let again = without.refit(table, &of(Passing::Beside));
    assert!(
        again
            .rungs
            .iter()
            .all(|rung| rung.video != RungVideo::Source)
    );
    assert_eq!(again.rungs.len(), without.rungs.len());
}

#[test]
fn tables_that_make_no_sense_are_refused_in_words() {
    assert_eq!(Ladders::parse(DEFAULT_TABLES), Ok(Ladders::default()));
    for (from, to, words) in [
        (
            "passes_source = true",
            "passes_sauce = true",
            "passes_sauce",
        ),
        (
            "height = 720, max_fps = 60",
            "height = 400, max_fps = 60",
            "go down",
        ),
        ("max_fps = 60", "max_fps = 45", "out of range"),
        ("kbps = 630, audio", "kbps = 3, audio", "out of range"),
        ("kbps = 230", "kbps = 3", "kbps of sources"),
        ("audio_only_kbps = 128", "audio_only_kbps = 0", "16 to 512"),
    ] {
        let error = Ladders::parse(&DEFAULT_TABLES.replace(from, to)).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}

proptest! {
    #[test]
    fn every_ladder_is_sound(
        width in 2_u16..4096,
        height in 2_u16..4096,
        fps in 1_000_u32..121_000,
        passing in 0_usize..3,
        kind in 0_usize..6,
    ) {
        let kinds = [
            LadderKind::Basic,
            LadderKind::Standard,
            LadderKind::AdvancedSdHigher,
            LadderKind::AdvancedSdConstrained,
            LadderKind::AdvancedHdHigher,
            LadderKind::AdvancedHdConstrained,
        ];
        let ladders = Ladders::default();
        let passing = [Passing::Alone, Passing::Beside, Passing::Never][passing];
        let source = Source { fps_millis: fps, passing, ..source(width, height, 30) };
        let table = ladders.table(kinds[kind]);
        let ladder = Ladder::plan(table, &source);
        let mut names: Vec<_> = ladder.rungs.iter().map(|rung| rung.name.clone()).collect();
        names.sort();
        names.dedup();
        prop_assert_eq!(names.len(), ladder.rungs.len(), "names are unique");
        prop_assert!(ladder.rungs.iter().any(|rung| rung.video != RungVideo::None));
        for rung in &ladder.rungs {
            if let RungVideo::Encode { width: w, height: h, every, fps_millis, bitrate_bps } = rung.video {
                prop_assert!(w % 2 == 0 && h % 2 == 0 && w >= 2 && h >= 2);
                prop_assert!(w <= width.max(2) && h <= height.max(2), "{} is enlarged", rung.name);
                prop_assert!(fps_millis <= 61_000 && every >= 1 && bitrate_bps > 0);
            }
        }
        let again = ladder.refit(table, &source);
        prop_assert_eq!(again.rungs.len(), ladder.rungs.len());
    }
}
