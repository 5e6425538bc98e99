//! The stream checker: on a correct origin, on one broken in each of many ways, and on Weir.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use reqwest::Url;
use serde_json::Value;
use tokio::time::sleep;
use weir::conformance::{Finding, Level, Options, Outcome, Report, check};

use super::support::clips::clip;
use super::support::publisher::Publisher;
use super::support::reference_origin::{Defect, ReferenceOrigin};
use super::support::server::TestServer;
use super::support::viewer::media_playlist_url;
use super::support::{MACHINE, within};

/// Origins checked at once.
const AT_ONCE: usize = 12;
/// Long enough for segments to leave the window, and a discontinuity with them.
const SECONDS: u64 = 8;

pub(crate) async fn checked(url: &str, seconds: u64) -> Report {
    let options = Options {
        url: Url::parse(url).unwrap(),
        duration: Duration::from_secs(seconds),
        // Many checks share this machine's cores.
        slack: Duration::from_secs(1),
        outage: Duration::from_secs(5),
    };
    within(seconds + 30, "end of the check", check(options))
        .await
        .unwrap()
}

pub(crate) fn musts(report: &Report) -> Vec<&Finding> {
    report
        .findings
        .iter()
        .filter(|finding| finding.level == Level::Must)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correct_origin_breaks_no_must() {
    let _calm = MACHINE.read().await;
    let origin = ReferenceOrigin::start(None).await;
    let report = checked(&origin.url, 12).await;
    assert_eq!(musts(&report), Vec::<&Finding>::new(), "{report}");
    // What it leaves out on purpose, and nothing else.
    let kinds: Vec<_> = report.findings.iter().map(|finding| finding.kind).collect();
    let expected = ["no-tls", "no-iframes"];
    assert!(kinds.iter().all(|kind| expected.contains(kind)), "{report}");
    for followed in &report.renditions {
        assert!(followed.parts >= 30 && followed.segments >= 7, "{report}");
    }
    let held = |rule: usize| report.rules[rule - 1].outcome == Outcome::Held;
    let judged: Vec<usize> = (1..=64).filter(|rule| held(*rule)).collect();
    for rule in [
        3, 4, 6, 8, 9, 10, 20, 22, 24, 25, 27, 28, 30, 31, 32, 33, 34, 35, 47, 51, 52, 55, 58,
    ] {
        assert!(
            judged.contains(&rule),
            "rule {rule} was not judged: {report}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rare_but_right_breaks_no_must() {
    let _calm = MACHINE.read().await;
    for rare in [
        Defect::GapsAtFirst,
        Defect::Ends,
        Defect::PlaylistsMoved,
        Defect::PartsDroppedSingly,
        Defect::Variables,
    ] {
        let origin = ReferenceOrigin::start(Some(rare)).await;
        let report = checked(&origin.url, SECONDS).await;
        assert_eq!(musts(&report), Vec::<&Finding>::new(), "{rare:?}: {report}");
        let outcome = |rule: usize| report.rules[rule - 1].outcome;
        let ended = if rare == Defect::Ends {
            Outcome::Held
        } else {
            Outcome::NotApplicable
        };
        assert_eq!(outcome(38), ended, "{rare:?}: {report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_hls_and_vod_are_judged_by_what_applies_to_them() {
    let _calm = MACHINE.read().await;
    let origin = ReferenceOrigin::start(None).await;
    for name in ["low/plain.m3u8", "high/vod.m3u8"] {
        let url = origin.url.replace("main.m3u8", name);
        let report = checked(&url, SECONDS).await;
        let kinds: Vec<_> = report.findings.iter().map(|finding| finding.kind).collect();
        assert_eq!(kinds, [""; 0], "{report}");
        let outcome = |rule: usize| report.rules[rule - 1].outcome;
        for rule in [15, 18, 19, 27, 28, 30, 32, 33, 35, 51] {
            assert_eq!(
                outcome(rule),
                Outcome::NotApplicable,
                "rule {rule}: {report}"
            );
        }
        for rule in [1, 4, 10, 11, 39, 44, 58] {
            assert_eq!(outcome(rule), Outcome::Held, "rule {rule}: {report}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_defect_is_caught_by_its_rule() {
    let _calm = MACHINE.read().await;
    let checks = stream::iter(Defect::TABLE).map(|(defect, rule, kind)| async move {
        let origin = ReferenceOrigin::start(Some(*defect)).await;
        // Only time shows that a reload is never answered.
        let is_slow = [Defect::HeldForever, Defect::RefusedLate].contains(defect);
        let report = checked(&origin.url, if is_slow { 16 } else { SECONDS }).await;
        let mut findings = report.findings.iter();
        let is_caught = findings.any(|finding| finding.rule == *rule && finding.kind == *kind);
        let words = || format!("{defect:?} is not caught by rule {rule}, {kind}:\n{report}");
        (!is_caught).then(words)
    });
    let outcomes: Vec<_> = checks.buffer_unordered(AT_ONCE).collect().await;
    let missed: Vec<_> = outcomes.into_iter().flatten().collect();
    assert!(
        missed.is_empty(),
        "{} of {}:\n{}",
        missed.len(),
        Defect::TABLE.len(),
        missed.join("\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn weir_breaks_no_must() {
    let _calm = MACHINE.read().await;
    let server = TestServer::start().await;
    let channel = server.channel().await;
    let _publisher = Publisher::looping(&clip("ladder_360p30.flv"), &channel.ingest_url);
    media_playlist_url(&channel.playback_url).await;
    let answer = server
        .weir(&[
            "check-stream",
            &channel.playback_url,
            "--seconds",
            "12",
            "--slack-ms",
            "1000",
            "--json",
        ])
        .await;
    let report: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(report["summary"]["must"], 0, "{answer}");
    let renditions = report["renditions"].as_array().unwrap();
    assert!(
        renditions
            .iter()
            .all(|rendition| rendition["parts"].as_u64() >= Some(25)),
        "{answer}"
    );
}

/// Sound alone ends with the picture, to the last part (rules 4 and 24).
#[tokio::test(flavor = "multi_thread")]
async fn sound_alone_breaks_no_must_to_its_end() {
    let _calm = MACHINE.read().await;
    let server = TestServer::start().await;
    for (name, extra) in [
        ("passed", &["--type", "STANDARD"][..]),
        ("encoded", &["--type", "ADVANCED_SD"][..]),
    ] {
        let channel = server.new_channel_with(name, extra).await;
        let publisher = Publisher::once(&clip("fps30.flv"), &channel.ingest_url);
        media_playlist_url(&channel.playback_url).await;
        let url = format!("{}?allow_audio_only=true", channel.playback_url);
        let report = checked(&url, 30).await;
        assert_eq!(publisher.ended().await, "");
        let names: Vec<_> = report.renditions.iter().map(|r| &*r.rendition).collect();
        assert!(
            names.iter().any(|name| name.contains("audio_only")),
            "{names:?}"
        );
        assert_eq!(musts(&report), Vec::<&Finding>::new(), "{name}: {report}");
        assert_eq!(report.rules[37].outcome, Outcome::Held, "it ended");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_encoder_and_a_killed_server_are_notes() {
    let _calm = MACHINE.read().await;
    let mut server = TestServer::start().await;
    let channel = server.channel().await;
    let publish = || Publisher::looping(&clip("ladder_360p30.flv"), &channel.ingest_url);
    let publisher = publish();
    media_playlist_url(&channel.playback_url).await;
    let troubles = async {
        sleep(Duration::from_secs(5)).await;
        publisher.kill().await;
        sleep(Duration::from_secs(2)).await;
        let _second = publish();
        sleep(Duration::from_secs(7)).await;
        server.kill_and_restart().await;
        let third = publish();
        sleep(Duration::from_secs(12)).await;
        third
    };
    let (report, _third) = tokio::join!(checked(&channel.playback_url, 24), troubles);
    assert_eq!(musts(&report), Vec::<&Finding>::new(), "{report}");
    let notes: Vec<_> = report.notes.iter().map(|note| note.text.as_str()).collect();
    let is_gone = notes.iter().any(|note| note.contains("is gone"));
    assert!(!is_gone, "taken up again under another name: {report}");
    for words in [
        "behind a discontinuity",
        "cannot be had",
        "there again after",
    ] {
        assert!(
            notes.iter().any(|note| note.contains(words)),
            "{words}: {report}"
        );
    }
}
