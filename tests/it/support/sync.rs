//! Whether sound and picture belong together: in the clips `sync*.flv` a white flash and a beep begin
//! at each whole second. Measured on decoded media, at the time stamps a player shows them.

use std::ops::Range;
use std::path::Path;
use std::process::Command;

#[cfg(test)]
use super::clips::clip;
#[cfg(test)]
use super::flv::{Recording, kind};

/// Luma above which a picture is the flash; black is 16, white 235.
const FLASH_LUMA: f64 = 120.0;
/// Peak in dB above which a millisecond of sound is the beep.
const BEEP_DB: f64 = -26.0;
/// A beep and a flash this far apart are not the same second's.
const SAME_MS: f64 = 400.0;

/// How much later each beep begins than its flash, in milliseconds; negative: the sound is early. A
/// flash without a beep fails, except at the very end and within `silence`, in milliseconds.
pub(crate) fn offsets_ms(media: &Path, silence: &Range<f64>) -> Vec<f64> {
    let folder = tempfile::tempdir().unwrap();
    let [video, audio] = ["video", "audio"].map(|name| folder.path().join(name));
    let filter = format!(
        "[0:v]scale=64:36:flags=neighbor,signalstats,metadata=print:key=lavfi.signalstats.YAVG:file={}[v];\
         [0:a]asetnsamples=48,astats=metadata=1:reset=1:length=0.01,\
         ametadata=print:key=lavfi.astats.Overall.Peak_level:file={}[a]",
        video.display(),
        audio.display()
    );
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-xerror", "-i"])
        .arg(media)
        .args([
            "-filter_complex",
            &filter,
            "-map",
            "[v]",
            "-map",
            "[a]",
            "-f",
            "null",
            "-",
        ])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.is_empty(), "{}: {errors}", media.display());
    let flashes = onsets(&measured(&video), FLASH_LUMA);
    let beeps = onsets(&measured(&audio), BEEP_DB);
    assert!(
        flashes.len() >= 3,
        "{}: flashes {flashes:?}",
        media.display()
    );
    let inner = &flashes[..flashes.len() - 1];
    let offset = |flash: &f64| {
        let near = beeps.iter().map(|beep| beep - flash);
        let nearest = near.min_by(|a, b| a.abs().total_cmp(&b.abs()));
        nearest
            .filter(|offset| offset.abs() < SAME_MS)
            .unwrap_or_else(|| panic!("{}: no beep at {flash} ms: {beeps:?}", media.display()))
    };
    let heard = inner.iter().filter(|flash| !silence.contains(flash));
    heard.map(offset).collect()
}

/// (Milliseconds, peak in dB) of each 20 ms of the sound.
pub(crate) fn loudness(media: &Path) -> Vec<(f64, f64)> {
    let folder = tempfile::tempdir().unwrap();
    let levels = folder.path().join("levels");
    let filter = format!(
        "asetnsamples=960,astats=metadata=1:reset=1:length=0.02,\
         ametadata=print:key=lavfi.astats.Overall.Peak_level:file={}",
        levels.display()
    );
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-xerror", "-i"])
        .arg(media)
        .args(["-vn", "-af", &filter, "-f", "null", "-"])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.is_empty(), "{}: {errors}", media.display());
    measured(&levels)
}

/// (Milliseconds, value) of each frame, from what ffmpeg's `metadata=print` wrote.
fn measured(file: &Path) -> Vec<(f64, f64)> {
    let text = std::fs::read_to_string(file).unwrap();
    let mut at_ms = 0.0;
    let mut values = Vec::new();
    for line in text.lines() {
        if let Some((_, seconds)) = line.split_once("pts_time:") {
            at_ms = seconds.trim().parse::<f64>().unwrap() * 1000.0;
        } else if let Some((_, value)) = line.split_once('=') {
            values.push((at_ms, value.parse().unwrap_or(f64::NEG_INFINITY)));
        }
    }
    values
}

/// Where the value rises above `threshold` after at least half a second below it; what is above from
/// the very beginning has begun elsewhere.
fn onsets(values: &[(f64, f64)], threshold: f64) -> Vec<f64> {
    let mut found = Vec::new();
    let mut is_above = values.first().is_some_and(|(_, value)| *value > threshold);
    let mut last_above = values.first().map_or(0.0, |(at, _)| *at);
    for (at, value) in values {
        if *value > threshold {
            if !is_above && at - last_above > 500.0 {
                found.push(*at);
            }
            last_above = *at;
        }
        is_above = *value > threshold;
    }
    found
}

#[test]
fn the_sync_clips_are_in_sync() {
    const LONG: &[&str] = &[
        "sync.flv",
        "sync_longgop51.flv",
        "sync_switch.flv",
        "sync_vfr.flv",
        "sync_22050.flv",
        "sync_fps10.flv",
    ];
    const SHORT: &[&str] = &[
        "sync_720p60.flv",
        "sync_720p30.flv",
        "sync_upright.flv",
        "sync_small.flv",
        "sync_cropped.flv",
        "sync_odd.flv",
    ];
    for (names, least) in [(LONG, 7), (SHORT, 4)] {
        for name in names {
            let offsets = offsets_ms(&clip(name), &(0.0..0.0));
            assert!(offsets.len() >= least, "{name}: {offsets:?}");
            assert!(
                offsets.iter().all(|offset| offset.abs() <= 5.0),
                "{name}: {offsets:?}"
            );
        }
    }
}

#[test]
fn late_sound_is_measured() {
    let mut recording = Recording::read(&clip("sync.flv"));
    let mut sounds = recording
        .tags
        .iter_mut()
        .filter(|tag| tag.kind == kind::AUDIO);
    sounds.next().unwrap();
    sounds.for_each(|tag| tag.at_ms += 80);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("late.flv");
    recording.write(&path);
    let offsets = offsets_ms(&path, &(0.0..0.0));
    assert!(
        offsets.iter().all(|offset| (offset - 80.0).abs() <= 5.0),
        "{offsets:?}"
    );
}
