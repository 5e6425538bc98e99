//! Ladders from sources of every size and shape: which renditions they get, how large these are, how many pictures a
//! second they have and what they may cost. All of it is true of what comes out, which decodes to the last frame.

use super::support::ladder::scene::{Frames, Scene, check_sync, file, play_all, play_alone, scene};
use super::support::ladder::{Ladder, Rendition};

/// Width, height and frames a second of every rendition, the largest first; sound alone is none.
fn sizes(ladder: &Ladder) -> Vec<(u32, u32, f64)> {
    let size = |rendition: &Rendition| {
        let (width, height) = rendition.variant.resolution()?;
        Some((width, height, rendition.variant.frame_rate()?))
    };
    let mut sizes: Vec<_> = ladder.renditions.iter().filter_map(size).collect();
    sizes.sort_by_key(|(width, height, _)| std::cmp::Reverse(width * height));
    sizes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_of_720p60_is_passed_on_as_it_is_and_halved_below() {
    let source = file("sync_720p60.flv");
    let scene = scene("720p60", source, &[720, 480, 360, 160], Frames::All);
    let ladder = play_alone(&scene).await;
    check_sync(&scene, &ladder, &(0.0..0.0));
    let expected = [
        (1280, 720, 60.0),
        (852, 480, 30.0),
        (640, 360, 30.0),
        (284, 160, 30.0),
    ];
    assert_eq!(sizes(&ladder), expected);
    let top = ladder.rendition("720p60");
    let profile = top.decode().property("video", "profile").unwrap();
    assert_eq!(profile, "High", "as it was sent; what is encoded is Main");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_constrained_hd_channel_has_the_rates_of_its_preset() {
    let scene = Scene {
        options: &[
            "--type",
            "ADVANCED_HD",
            "--preset",
            "CONSTRAINED_BANDWIDTH_DELIVERY",
        ],
        ..scene(
            "constrained",
            file("sync_720p30.flv"),
            &[720, 480, 360, 160, 0],
            Frames::All,
        )
    };
    let ladder = play_alone(&scene).await;
    check_sync(&scene, &ladder, &(0.0..0.0));
    let kbps = |name: &str| ladder.rendition(name).variant.average_bps() / 1000.0;
    // Picture and sound, as Amazon IVS has them.
    for (name, expected) in [
        ("720p30", 1900.0 + 128.0),
        ("480p30", 800.0 + 128.0),
        ("360p30", 400.0 + 64.0),
        ("160p30", 220.0 + 48.0),
        ("audio_only", 64.0),
    ] {
        let (kbps, most) = (kbps(name), expected + 12.0);
        assert!((expected..=most).contains(&kbps), "{name}: {kbps} kb/s");
    }
    let expected = [
        (1280, 720, 30.0),
        (852, 480, 30.0),
        (640, 360, 30.0),
        (284, 160, 30.0),
    ];
    assert_eq!(sizes(&ladder), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upright_source_of_full_size_stands_upright_in_every_rendition() {
    let heights = &[1920, 1280, 852, 640, 284];
    let scene = scene("upright", file("sync_upright.flv"), heights, Frames::All);
    let ladder = play_alone(&scene).await;
    check_sync(&scene, &ladder, &(0.0..0.0));
    let expected = [
        (1080, 1920, 10.0),
        (720, 1280, 10.0),
        (480, 852, 10.0),
        (360, 640, 10.0),
        (160, 284, 10.0),
    ];
    assert_eq!(sizes(&ladder), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_and_cropped_sizes_become_even_ones() {
    let scenes = [
        scene("odd", file("sync_odd.flv"), &[480, 360, 160], Frames::All),
        scene(
            "cropped",
            file("sync_cropped.flv"),
            &[480, 360, 160],
            Frames::All,
        ),
        scene("small", file("sync_small.flv"), &[238, 160], Frames::All),
    ];
    let expected: [&[_]; 3] = [
        // 4:4:4 cannot pass: it is encoded at its own size, without the odd column and line.
        &[(852, 480, 30.0), (636, 360, 30.0), (284, 160, 30.0)],
        &[(848, 480, 30.0), (636, 360, 30.0), (280, 160, 30.0)],
        &[(426, 238, 30.0), (284, 160, 30.0)],
    ];
    let ladders = play_all(&scenes).await;
    for ((scene, ladder), expected) in scenes.iter().zip(ladders).zip(expected) {
        check_sync(scene, &ladder, &(0.0..0.0));
        assert_eq!(sizes(&ladder), expected);
        for rendition in &ladder.renditions {
            let format = rendition.decode().property("video", "pix_fmt").unwrap();
            assert_eq!(format, "yuv420p", "{}", rendition.variant.name);
        }
    }
}
