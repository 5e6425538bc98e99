use super::*;
use crate::playlist::fixtures::{
    PART, START, init, push_parts, push_parts_with_gaps, push_segment, window,
};
use crate::playlist::{Config, RenditionReport, Window};

fn text(window: &Window, delta: bool) -> String {
    let bytes = window.snapshot().playlist(delta, false);
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn thirty_frames_per_second() {
    let window = window(&Config::default(), 1042, 4, 1);
    insta::assert_snapshot!(text(&window, false), @r#"
    #EXTM3U
    #EXT-X-VERSION:6
    #EXT-X-INDEPENDENT-SEGMENTS
    #EXT-X-TARGETDURATION:2
    #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.002,HOLD-BACK=6.0
    #EXT-X-PART-INF:PART-TARGET=0.334
    #EXT-X-MEDIA-SEQUENCE:1042
    #EXT-X-DISCONTINUITY-SEQUENCE:0
    #EXT-X-MAP:URI="init-7f3a09bc.mp4"
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:00:00.000Z
    #EXTINF:2.00000,live
    1042.m4s
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:00:02.000Z
    #EXT-X-PART:DURATION=0.33333,URI="1043.0.m4s",INDEPENDENT=YES
    #EXT-X-PART:DURATION=0.33333,URI="1043.1.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="1043.2.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="1043.3.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="1043.4.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="1043.5.m4s"
    #EXTINF:2.00000,live
    1043.m4s
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:00:04.000Z
    #EXT-X-PART:DURATION=0.33333,URI="1044.0.m4s",INDEPENDENT=YES
    #EXT-X-PART:DURATION=0.33333,URI="1044.1.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="1044.2.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="1044.3.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="1044.4.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="1044.5.m4s"
    #EXTINF:2.00000,live
    1044.m4s
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:00:06.000Z
    #EXT-X-PART:DURATION=0.33333,URI="1045.0.m4s",INDEPENDENT=YES
    #EXT-X-PART:DURATION=0.33333,URI="1045.1.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="1045.2.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="1045.3.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="1045.4.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="1045.5.m4s"
    #EXTINF:2.00000,live
    1045.m4s
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:00:08.000Z
    #EXT-X-PART:DURATION=0.33333,URI="1046.0.m4s",INDEPENDENT=YES
    #EXT-X-PRELOAD-HINT:TYPE=PART,URI="1046.1.m4s"
    #EXT-X-PREFETCH:1046.m4s
    #EXT-X-PREFETCH:1047.m4s
    "#);
}

#[test]
fn after_a_segment_closes_the_hint_is_the_first_part_of_the_next() {
    let window = window(&Config::default(), 1042, 2, 0);
    let text = text(&window, false);
    insta::assert_snapshot!(text.split_once("1043.5.m4s").unwrap().1, @r#"
    "
    #EXTINF:2.00000,live
    1043.m4s
    #EXT-X-PRELOAD-HINT:TYPE=PART,URI="1044.0.m4s"
    #EXT-X-PREFETCH:1044.m4s
    #EXT-X-PREFETCH:1045.m4s
    "#);
}

#[test]
fn an_interruption_with_another_encoder() {
    let mut window = window(&Config::default(), 1042, 2, 2);
    window.start_timeline(init("c0ffee00"), START.plus_millis(12_345));
    let listed = text(&window, false);
    insta::assert_snapshot!(listed.split_once("0.334\n").unwrap().1, @r#"
    #EXT-X-MEDIA-SEQUENCE:1042
    #EXT-X-DISCONTINUITY-SEQUENCE:0
    #EXT-X-MAP:URI="init-7f3a09bc.mp4"
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:00:00.000Z
    #EXT-X-PART:DURATION=0.33333,URI="1042.0.m4s",INDEPENDENT=YES
    #EXT-X-PART:DURATION=0.33333,URI="1042.1.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="1042.2.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="1042.3.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="1042.4.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="1042.5.m4s"
    #EXTINF:2.00000,live
    1042.m4s
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:00:02.000Z
    #EXT-X-PART:DURATION=0.33333,URI="1043.0.m4s",INDEPENDENT=YES
    #EXT-X-PART:DURATION=0.33333,URI="1043.1.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="1043.2.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="1043.3.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="1043.4.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="1043.5.m4s"
    #EXTINF:2.00000,live
    1043.m4s
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:00:04.000Z
    #EXT-X-PART:DURATION=0.33333,URI="1044.0.m4s",INDEPENDENT=YES
    #EXT-X-PART:DURATION=0.33333,URI="1044.1.m4s"
    #EXTINF:0.66667,live
    1044.m4s
    #EXT-X-PRELOAD-HINT:TYPE=MAP,URI="init-c0ffee00.mp4"
    #EXT-X-PRELOAD-HINT:TYPE=PART,URI="1045.0.m4s"
    #EXT-X-PREFETCH:1045.m4s
    #EXT-X-PREFETCH:1046.m4s
    "#);
    push_segment(&mut window, 900_017, &[PART, PART, 12_003]);
    push_parts(&mut window, 900_017 + 72_003, &[PART], false);
    insta::assert_snapshot!(text(&window, false), @r#"
    #EXTM3U
    #EXT-X-VERSION:6
    #EXT-X-INDEPENDENT-SEGMENTS
    #EXT-X-TARGETDURATION:2
    #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.002,HOLD-BACK=6.0
    #EXT-X-PART-INF:PART-TARGET=0.334
    #EXT-X-MEDIA-SEQUENCE:1042
    #EXT-X-DISCONTINUITY-SEQUENCE:0
    #EXT-X-MAP:URI="init-7f3a09bc.mp4"
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:00:00.000Z
    #EXTINF:2.00000,live
    1042.m4s
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:00:02.000Z
    #EXT-X-PART:DURATION=0.33333,URI="1043.0.m4s",INDEPENDENT=YES
    #EXT-X-PART:DURATION=0.33333,URI="1043.1.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="1043.2.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="1043.3.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="1043.4.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="1043.5.m4s"
    #EXTINF:2.00000,live
    1043.m4s
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:00:04.000Z
    #EXT-X-PART:DURATION=0.33333,URI="1044.0.m4s",INDEPENDENT=YES
    #EXT-X-PART:DURATION=0.33333,URI="1044.1.m4s"
    #EXTINF:0.66667,live
    1044.m4s
    #EXT-X-DISCONTINUITY
    #EXT-X-MAP:URI="init-c0ffee00.mp4"
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:00:12.345Z
    #EXT-X-PART:DURATION=0.33333,URI="1045.0.m4s",INDEPENDENT=YES
    #EXT-X-PART:DURATION=0.33333,URI="1045.1.m4s"
    #EXT-X-PART:DURATION=0.13336,URI="1045.2.m4s"
    #EXTINF:0.80003,live
    1045.m4s
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:00:13.145Z
    #EXT-X-PART:DURATION=0.33333,URI="1046.0.m4s",INDEPENDENT=YES
    #EXT-X-PRELOAD-HINT:TYPE=PART,URI="1046.1.m4s"
    #EXT-X-PREFETCH:1046.m4s
    #EXT-X-PREFETCH:1047.m4s
    "#);
}

#[test]
fn returning_with_the_same_parameters_hints_no_map_but_lists_it() {
    let mut window = window(&Config::default(), 1042, 2, 0);
    window.start_timeline(init("7f3a09bc"), START.plus_millis(9_000));
    assert!(!text(&window, false).contains("TYPE=MAP"));
    push_parts(&mut window, 0, &[PART], false);
    let text = text(&window, false);
    let (_, after) = text.split_once("1043.m4s\n").unwrap();
    insta::assert_snapshot!(after, @r#"
    #EXT-X-DISCONTINUITY
    #EXT-X-MAP:URI="init-7f3a09bc.mp4"
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:00:09.000Z
    #EXT-X-PART:DURATION=0.33333,URI="1044.0.m4s",INDEPENDENT=YES
    #EXT-X-PRELOAD-HINT:TYPE=PART,URI="1044.1.m4s"
    #EXT-X-PREFETCH:1044.m4s
    #EXT-X-PREFETCH:1045.m4s
    "#);
}

#[test]
fn ended() {
    let mut window = window(&Config::default(), 1042, 3, 2);
    window.end();
    insta::assert_snapshot!(text(&window, false), @r#"
    #EXTM3U
    #EXT-X-VERSION:6
    #EXT-X-INDEPENDENT-SEGMENTS
    #EXT-X-TARGETDURATION:2
    #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.002,HOLD-BACK=6.0
    #EXT-X-PART-INF:PART-TARGET=0.334
    #EXT-X-MEDIA-SEQUENCE:1042
    #EXT-X-DISCONTINUITY-SEQUENCE:0
    #EXT-X-MAP:URI="init-7f3a09bc.mp4"
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:00:00.000Z
    #EXTINF:2.00000,live
    1042.m4s
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:00:02.000Z
    #EXT-X-PART:DURATION=0.33333,URI="1043.0.m4s",INDEPENDENT=YES
    #EXT-X-PART:DURATION=0.33333,URI="1043.1.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="1043.2.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="1043.3.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="1043.4.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="1043.5.m4s"
    #EXTINF:2.00000,live
    1043.m4s
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:00:04.000Z
    #EXT-X-PART:DURATION=0.33333,URI="1044.0.m4s",INDEPENDENT=YES
    #EXT-X-PART:DURATION=0.33333,URI="1044.1.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="1044.2.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="1044.3.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="1044.4.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="1044.5.m4s"
    #EXTINF:2.00000,live
    1044.m4s
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:00:06.000Z
    #EXT-X-PART:DURATION=0.33333,URI="1045.0.m4s",INDEPENDENT=YES
    #EXT-X-PART:DURATION=0.33333,URI="1045.1.m4s"
    #EXTINF:0.66667,live
    1045.m4s
    #EXT-X-ENDLIST
    "#);
}

#[test]
fn two_renditions_report_each_other() {
    let mut window = window(&Config::default(), 1042, 1, 1);
    let report = |rendition: &str, msn, part| RenditionReport {
        rendition: rendition.into(),
        last: Position { msn, part },
    };
    window.set_reports(vec![report("480p30", 1043, 0), report("160p30", 1042, 5)]);
    let text = text(&window, false);
    insta::assert_snapshot!(text.split_once("1042.m4s\n").unwrap().1, @r#"
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:00:02.000Z
    #EXT-X-PART:DURATION=0.33333,URI="1043.0.m4s",INDEPENDENT=YES
    #EXT-X-PRELOAD-HINT:TYPE=PART,URI="1043.1.m4s"
    #EXT-X-PREFETCH:1043.m4s
    #EXT-X-PREFETCH:1044.m4s
    #EXT-X-RENDITION-REPORT:URI="../480p30/live.m3u8",LAST-MSN=1043,LAST-PART=0
    #EXT-X-RENDITION-REPORT:URI="../160p30/live.m3u8",LAST-MSN=1042,LAST-PART=5
    "#);
}

#[test]
fn a_delta_update_skips_what_ended_before_the_boundary() {
    let config = Config {
        window_seconds: 62,
        ..Config::default()
    };
    // 31 complete segments; the last six reach back 12 s.
    let mut window = window(&config, 7, 31, 1);
    insta::assert_snapshot!(text(&window, true), @r#"
    #EXTM3U
    #EXT-X-VERSION:9
    #EXT-X-INDEPENDENT-SEGMENTS
    #EXT-X-TARGETDURATION:2
    #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.002,HOLD-BACK=6.0,CAN-SKIP-UNTIL=12.0
    #EXT-X-PART-INF:PART-TARGET=0.334
    #EXT-X-MEDIA-SEQUENCE:7
    #EXT-X-DISCONTINUITY-SEQUENCE:0
    #EXT-X-SKIP:SKIPPED-SEGMENTS=25
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:00:50.000Z
    #EXTINF:2.00000,live
    32.m4s
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:00:52.000Z
    #EXTINF:2.00000,live
    33.m4s
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:00:54.000Z
    #EXTINF:2.00000,live
    34.m4s
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:00:56.000Z
    #EXT-X-PART:DURATION=0.33333,URI="35.0.m4s",INDEPENDENT=YES
    #EXT-X-PART:DURATION=0.33333,URI="35.1.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="35.2.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="35.3.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="35.4.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="35.5.m4s"
    #EXTINF:2.00000,live
    35.m4s
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:00:58.000Z
    #EXT-X-PART:DURATION=0.33333,URI="36.0.m4s",INDEPENDENT=YES
    #EXT-X-PART:DURATION=0.33333,URI="36.1.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="36.2.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="36.3.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="36.4.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="36.5.m4s"
    #EXTINF:2.00000,live
    36.m4s
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:01:00.000Z
    #EXT-X-PART:DURATION=0.33333,URI="37.0.m4s",INDEPENDENT=YES
    #EXT-X-PART:DURATION=0.33333,URI="37.1.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="37.2.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="37.3.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="37.4.m4s"
    #EXT-X-PART:DURATION=0.33333,URI="37.5.m4s"
    #EXTINF:2.00000,live
    37.m4s
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:01:02.000Z
    #EXT-X-PART:DURATION=0.33333,URI="38.0.m4s",INDEPENDENT=YES
    #EXT-X-PRELOAD-HINT:TYPE=PART,URI="38.1.m4s"
    "#);
    window.end();
    assert_eq!(
        text(&window, true),
        text(&window, false),
        "not after the end"
    );
}

#[test]
fn what_is_missing_keeps_its_number_and_duration_and_is_marked_as_a_gap() {
    let mut window = window(&Config::default(), 1042, 1, 0);
    let at = push_parts_with_gaps(
        &mut window,
        6 * PART,
        &[PART, PART, 12_003],
        true,
        &[0, 1, 2],
    );
    let at = push_parts_with_gaps(&mut window, at, &[PART; 3], true, &[1]);
    let at = push_segment(&mut window, at, &[PART; 2]);
    push_parts_with_gaps(&mut window, at, &[PART; 2], false, &[1]);
    insta::assert_snapshot!(text(&window, false), @r#"
    #EXTM3U
    #EXT-X-VERSION:6
    #EXT-X-INDEPENDENT-SEGMENTS
    #EXT-X-TARGETDURATION:2
    #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.002,HOLD-BACK=6.0
    #EXT-X-PART-INF:PART-TARGET=0.334
    #EXT-X-MEDIA-SEQUENCE:1042
    #EXT-X-DISCONTINUITY-SEQUENCE:0
    #EXT-X-MAP:URI="init-7f3a09bc.mp4"
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:00:00.000Z
    #EXTINF:2.00000,live
    1042.m4s
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:00:02.000Z
    #EXT-X-PART:DURATION=0.33333,URI="1043.0.m4s",GAP=YES
    #EXT-X-PART:DURATION=0.33333,URI="1043.1.m4s",GAP=YES
    #EXT-X-PART:DURATION=0.13336,URI="1043.2.m4s",GAP=YES
    #EXT-X-GAP
    #EXTINF:0.80003,live
    1043.m4s
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:00:02.800Z
    #EXT-X-PART:DURATION=0.33333,URI="1044.0.m4s",INDEPENDENT=YES
    #EXT-X-PART:DURATION=0.33333,URI="1044.1.m4s",GAP=YES
    #EXT-X-PART:DURATION=0.33333,URI="1044.2.m4s"
    #EXT-X-GAP
    #EXTINF:1.00000,live
    1044.m4s
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:00:03.800Z
    #EXT-X-PART:DURATION=0.33333,URI="1045.0.m4s",INDEPENDENT=YES
    #EXT-X-PART:DURATION=0.33333,URI="1045.1.m4s"
    #EXTINF:0.66667,live
    1045.m4s
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:00:04.466Z
    #EXT-X-PART:DURATION=0.33333,URI="1046.0.m4s",INDEPENDENT=YES
    #EXT-X-PART:DURATION=0.33333,URI="1046.1.m4s",GAP=YES
    #EXT-X-PRELOAD-HINT:TYPE=PART,URI="1046.2.m4s"
    "#);
}

#[test]
fn a_gap_that_closes_its_segment_is_followed_by_the_hint_of_the_next() {
    let mut window = window(&Config::default(), 1042, 1, 0);
    push_parts_with_gaps(&mut window, 6 * PART, &[PART; 2], true, &[1]);
    let text = text(&window, false);
    insta::assert_snapshot!(text.split_once("1042.m4s\n").unwrap().1, @r#"
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:00:02.000Z
    #EXT-X-PART:DURATION=0.33333,URI="1043.0.m4s",INDEPENDENT=YES
    #EXT-X-PART:DURATION=0.33333,URI="1043.1.m4s",GAP=YES
    #EXT-X-GAP
    #EXTINF:0.66667,live
    1043.m4s
    #EXT-X-PRELOAD-HINT:TYPE=PART,URI="1044.0.m4s"
    #EXT-X-PREFETCH:1044.m4s
    #EXT-X-PREFETCH:1045.m4s
    "#);
}

#[test]
fn a_delta_update_skips_segments_with_gaps_like_others() {
    let config = Config {
        window_seconds: 62,
        ..Config::default()
    };
    let mut window = window(&config, 7, 1, 0);
    let mut at = 6 * PART;
    for _ in 0..9 {
        at = push_parts_with_gaps(&mut window, at, &[PART; 6], true, &[4]);
    }
    push_parts_with_gaps(&mut window, at, &[PART; 2], false, &[0]);
    let [full, delta] = [false, true].map(|delta| text(&window, delta));
    // Of ten complete segments the last six are within 12 s.
    let (_, kept) = delta
        .split_once("#EXT-X-SKIP:SKIPPED-SEGMENTS=4\n")
        .unwrap();
    assert!(full.ends_with(kept), "{kept}");
    let count = |text: &str, line: &str| text.lines().filter(|l| *l == line).count();
    assert_eq!(count(&full, "#EXT-X-GAP"), 9);
    assert_eq!(count(kept, "#EXT-X-GAP"), 6);
    assert_eq!(kept.matches(",GAP=YES\n").count(), 4);
    assert!(kept.ends_with("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"17.2.m4s\"\n"));
}

#[test]
fn a_mirror_marks_segments_with_gaps() {
    let mut window = window(&Config::default(), 10, 1, 0);
    push_parts_with_gaps(&mut window, 6 * PART, &[PART; 6], true, &[5]);
    let mirror = window.snapshot().mirror_playlist(10..=11).unwrap();
    let (_, after) = mirror.split_once("10.m4s\n").unwrap();
    insta::assert_snapshot!(after, @r"
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:00:02.000Z
    #EXT-X-GAP
    #EXTINF:2.00000,live
    11.m4s
    ");
}

#[test]
fn nothing_to_skip_gives_the_full_playlist() {
    let long = Config {
        window_seconds: 62,
        ..Config::default()
    };
    for (config, segments, skipped) in [
        (Config::default(), 15, 0),
        (long, 0, 0),
        (long, 6, 0),
        (long, 7, 1),
        (long, 40, 25),
    ] {
        let window = window(&config, 7, segments, 3);
        let delta = text(&window, true);
        let expected = format!("SKIPPED-SEGMENTS={skipped}\n");
        assert_eq!(delta.contains(&expected), skipped > 0, "{segments}");
        assert_eq!(delta == text(&window, false), skipped == 0, "{segments}");
    }
}

#[test]
fn a_mirror_lists_plain_segments_that_are_there() {
    let mut window = window(&Config::default(), 10, 2, 3);
    window.start_timeline(init("c0ffee00"), START.plus_millis(60_000));
    let mut at = 0;
    for _ in 0..4 {
        at = push_segment(&mut window, at, &[PART; 6]);
    }
    let mirror = |available| window.snapshot().mirror_playlist(available);
    insta::assert_snapshot!(mirror(11..=13).unwrap(), @r#"
    #EXTM3U
    #EXT-X-VERSION:6
    #EXT-X-INDEPENDENT-SEGMENTS
    #EXT-X-TARGETDURATION:2
    #weir-part-target-ms:334
    #EXT-X-MEDIA-SEQUENCE:11
    #EXT-X-DISCONTINUITY-SEQUENCE:0
    #EXT-X-MAP:URI="init-7f3a09bc.mp4"
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:00:02.000Z
    #EXTINF:2.00000,live
    11.m4s
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:00:04.000Z
    #EXTINF:1.00000,live
    12.m4s
    #EXT-X-DISCONTINUITY
    #EXT-X-MAP:URI="init-c0ffee00.mp4"
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:01:00.000Z
    #EXTINF:2.00000,live
    13.m4s
    "#);
    let later = mirror(14..=99).unwrap();
    assert!(later.contains("MEDIA-SEQUENCE:14\n#EXT-X-DISCONTINUITY-SEQUENCE:1\n"));
    assert!(later.contains("#EXT-X-MAP:URI=\"init-c0ffee00.mp4\"\n"));
    assert_eq!(mirror(17..=99), None);
    assert_eq!(mirror(0..=9), None);
    assert_eq!(mirror(0..=10).unwrap().matches("EXTINF").count(), 1);

    window.end();
    let mirror = |available| window.snapshot().mirror_playlist(available).unwrap();
    assert!(mirror(0..=16).ends_with("16.m4s\n#EXT-X-ENDLIST\n"));
    assert!(mirror(0..=15).ends_with("15.m4s\n"));
}

#[test]
fn extinf_never_drifts_and_part_durations_never_exceed_the_target() {
    // 29.97 fps: a frame lasts 3003 ticks, whose parts are 0.333666… s.
    let mut window = Window::new(&Config::default(), 1);
    window.start_timeline(init("7f3a09bc"), START);
    let (mut at, mut sum, mut segments) = (0, 0, 0);
    while segments < 1000 {
        at = push_segment(&mut window, at, &[30_030; 5]);
        let text = text(&window, false);
        let last = text.lines().rev().find_map(|l| l.strip_prefix("#EXTINF:"));
        let digits = last
            .unwrap()
            .strip_suffix(",live")
            .unwrap()
            .replace('.', "");
        sum += digits.parse::<i64>().unwrap();
        segments += 1;
        assert!(!text.contains("DURATION=0.33367"));
    }
    assert!((sum - at * 10 / 9).abs() <= 1, "{sum} of {at} ticks");
}

#[test]
fn text_is_made_once_and_shared_and_gzip_holds_the_same() {
    use std::io::Read as _;
    let snapshot = window(&Config::default(), 7, 15, 3).snapshot();
    let full = snapshot.playlist(false, false);
    assert_eq!(full.as_ptr(), snapshot.playlist(false, false).as_ptr());
    assert_eq!(full.as_ptr(), snapshot.playlist(true, false).as_ptr());
    let zipped = snapshot.playlist(false, true);
    assert_eq!(zipped.as_ptr(), snapshot.playlist(true, true).as_ptr());
    let mut text = Vec::new();
    let mut decoder = flate2::read::GzDecoder::new(&*zipped);
    decoder.read_to_end(&mut text).unwrap();
    assert_eq!(text, full);
}

#[test]
fn without_low_latency_only_complete_segments_are_listed() {
    let config = Config {
        is_low_latency: false,
        window_seconds: 61,
        ..Config::default()
    };
    let mut window = window(&config, 1042, 40, 1);
    let report = RenditionReport {
        rendition: "480p30".into(),
        last: window.last().unwrap(),
    };
    window.set_reports(vec![report]);
    let text = text(&window, true);
    let (head, tail) = (
        text.split_once("1051.m4s").unwrap().0,
        text.rsplit_once("1080.m4s").unwrap().1,
    );
    insta::assert_snapshot!(head, @r#"
    #EXTM3U
    #EXT-X-VERSION:6
    #EXT-X-INDEPENDENT-SEGMENTS
    #EXT-X-TARGETDURATION:2
    #EXT-X-MEDIA-SEQUENCE:1051
    #EXT-X-DISCONTINUITY-SEQUENCE:0
    #EXT-X-MAP:URI="init-7f3a09bc.mp4"
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:00:18.000Z
    #EXTINF:2.00000,live
    "#);
    insta::assert_snapshot!(tail, @r#"
    #EXT-X-PROGRAM-DATE-TIME:2026-10-01T10:01:18.000Z
    #EXTINF:2.00000,live
    1081.m4s
    "#);
    assert!(!text.contains("#EXT-X-PART"));
    window.end();
    assert!(self::text(&window, false).ends_with("1082.m4s\n#EXT-X-ENDLIST\n"));
}
