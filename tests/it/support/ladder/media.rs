//! What a rendition is when decoded, and whether the playlist told the truth about it (rules 52, 55).

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::super::clips::frame_count;
use super::super::{fragments, sync};
use super::Rendition;

/// Peaks below this are silence.
const SILENCE_DB: f64 = -60.0;
/// BANDWIDTH may be so many times what is there: next to nothing is, where the picture is black.
const MOST_TOO_MUCH: f64 = 8.0;
/// Below this a picture stands still: bits per second.
const STILL_BPS: f64 = 60_000.0;

impl Rendition {
    /// Rule 52: BANDWIDTH is not exceeded by more than a quarter over any run of segments of about a
    /// target duration, AVERAGE-BANDWIDTH not by more than a tenth over all.
    pub(super) fn check_rates(&self) {
        let Self { variant, watched } = self;
        let segments: Vec<(f64, f64)> = watched
            .segments
            .iter()
            .filter_map(|(msn, extinf)| {
                let parts = watched.parts.range((*msn, 0)..(msn + 1, 0));
                let bytes: usize = parts.map(|(_, (_, bytes))| bytes.len()).sum();
                #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
                (bytes > 0).then_some((bytes as f64 * 8.0, *extinf))
            })
            .collect();
        let rate = |run: &[(f64, f64)]| {
            let (bits, seconds) = run.iter().fold((0.0, 0.0), |(b, s), (bits, seconds)| {
                (b + bits, s + seconds)
            });
            ((1.0..=3.0).contains(&seconds) || run.len() == segments.len())
                .then_some(bits / seconds)
        };
        let runs = (0..segments.len())
            .flat_map(|from| (from + 1..=segments.len()).map(move |to| from..to));
        let peak = runs
            .filter_map(|run| rate(&segments[run]))
            .fold(0.0, f64::max);
        let average = rate(&segments).unwrap_or(peak);
        let (allowed, allowed_average) = (variant.number("BANDWIDTH"), variant.average_bps());
        assert!(allowed_average <= allowed, "{}", variant.tag);
        // A picture in which next to nothing happens needs less than anybody could declare.
        assert!(
            peak < STILL_BPS || allowed <= MOST_TOO_MUCH * peak,
            "{}: peak {peak:.0} b/s only: {}",
            variant.name,
            variant.tag
        );
        assert!(
            peak <= 1.25 * allowed,
            "{}: peak {peak:.0} b/s: {}",
            variant.name,
            variant.tag
        );
        assert!(
            // What a picture that stands still needs now and then is more than its first seconds tell.
            peak < STILL_BPS || average <= 1.1 * allowed_average,
            "{}: average {average:.0} b/s: {}",
            variant.name,
            variant.tag
        );
    }

    /// CODECS, RESOLUTION and FRAME-RATE are those of the media. A source that changes its size in
    /// mid-stream is described by its first stretch.
    pub(super) fn check_tracks(&self) {
        let Self { variant, watched } = self;
        let folder = tempfile::tempdir().unwrap();
        let file = &watched.write(folder.path())[0];
        let streams = probe(file);
        let of = |kind: &str| streams.iter().find(|stream| stream["codec_type"] == kind);
        let declared = variant.attribute("CODECS");
        let init = watched.inits.first_key_value().unwrap().1;
        let mut codecs: Vec<String> = fragments::video_codec(init).into_iter().collect();
        if let Some(audio) = of("audio") {
            assert_eq!(
                (&audio["codec_name"], &audio["profile"]),
                (&"aac".into(), &"LC".into()),
                "{}",
                variant.name
            );
            codecs.push("mp4a.40.2".to_owned());
        }
        assert_eq!(declared, codecs.join(","), "{}", variant.name);
        let Some(video) = of("video") else {
            assert_eq!(
                variant.resolution(),
                None,
                "{}: {}",
                variant.name,
                variant.tag
            );
            return;
        };
        check_kind(&declared, video);
        let pixels = |name: &str| u32::try_from(video[name].as_u64().unwrap()).unwrap();
        let (width, height) = variant.resolution().unwrap();
        assert_eq!(
            (width, height),
            (displayed_width(video), pixels("height")),
            "{}",
            variant.name
        );
        let extension = video["pix_fmt"].as_str().unwrap();
        assert!(
            extension.starts_with("yuv"),
            "{}: {extension}",
            variant.name
        );
        if let Some(rate) = variant.frame_rate() {
            let times: Vec<f64> = pictures(file).into_iter().map(|(at, _)| at).collect();
            let seconds = times.last().unwrap() - times[0];
            #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
            let measured = (times.len() - 1) as f64 / seconds;
            assert!(
                (measured - rate).abs() < 0.01 * rate,
                "{}: {measured:.3} fps: {}",
                variant.name,
                variant.tag
            );
        }
    }

    /// Decodes all of it; each stretch between discontinuities is a decoder's job of its own.
    pub(crate) fn decode(&self) -> Decoded {
        let folder = tempfile::tempdir().unwrap();
        let files = self.watched.write(folder.path());
        for file in &files {
            let output = Command::new("ffmpeg")
                .args(["-nostdin", "-loglevel", "warning", "-xerror", "-i"])
                .arg(file)
                .args(["-map", "0", "-f", "null", "-"])
                .output()
                .unwrap();
            let words = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success() && words.is_empty(),
                "{} {}: {words}",
                self.variant.name,
                file.display()
            );
        }
        Decoded {
            files,
            _folder: folder,
        }
    }
}

/// What a rendition is as files, all of which decode without a complaint.
pub(crate) struct Decoded {
    pub(crate) files: Vec<PathBuf>,
    _folder: TempDir,
}

impl Decoded {
    /// Pictures of all stretches.
    pub(crate) fn frames(&self) -> u64 {
        self.files.iter().map(|file| frame_count(file)).sum()
    }

    /// When each picture of the last stretch is shown, in seconds, and whether it is a keyframe.
    pub(crate) fn pictures(&self) -> Vec<(f64, bool)> {
        pictures(self.files.last().unwrap())
    }

    /// The largest distance of sound and picture in the `sync` clips, in milliseconds; there is no sound in
    /// `silence`, in milliseconds.
    pub(crate) fn worst_offset_ms(&self, silence: &std::ops::Range<f64>) -> f64 {
        let offsets = self.files.iter().flat_map(|file| {
            let late_ms = late_ms(file);
            let measured = sync::offsets_ms(file, silence).into_iter();
            measured.map(move |offset| offset + late_ms)
        });
        offsets.map(f64::abs).fold(0.0, f64::max)
    }

    /// How often a frame of sound does not begin where the one before it ended.
    pub(crate) fn holes(&self) -> usize {
        let holes = self.files.iter().map(|file| {
            let sound = packets(file, "a:0", "pts_time");
            let starts: Vec<f64> = sound.iter().map(|at| at.parse().unwrap()).collect();
            let usual = starts[1] - starts[0];
            let steps = starts.windows(2).map(|pair| pair[1] - pair[0]);
            steps.filter(|step| (step - usual).abs() > 0.001).count()
        });
        holes.sum()
    }

    /// The loudest 20 ms of the last `seconds` of the sound, as a peak in dB; and how many milliseconds
    /// in all are silence.
    pub(crate) fn loudness(&self, seconds: f64) -> (f64, usize) {
        let levels = sync::loudness(self.files.last().unwrap());
        let (end, _) = levels.last().unwrap();
        let last = levels.iter().filter(|(at, _)| *at > end - seconds * 1000.0);
        let loudest = last
            .map(|(_, peak)| *peak)
            .fold(f64::NEG_INFINITY, f64::max);
        let silent = levels.iter().filter(|(_, peak)| *peak < SILENCE_DB);
        (loudest, 20 * silent.count())
    }

    /// Mean luma, 0 to 255, of the upper and the lower half of the first picture.
    pub(crate) fn halves(&self) -> [u8; 2] {
        ["0", "ih/2"].map(|top| {
            let output = Command::new("ffmpeg")
                .args(["-nostdin", "-loglevel", "error", "-i"])
                .arg(&self.files[0])
                .args(["-an", "-frames:v", "1", "-f", "rawvideo"])
                .args([
                    "-vf",
                    &format!("crop=iw:ih/2:0:{top},scale=1:1:flags=area,format=gray"),
                ])
                .arg("-")
                .output()
                .unwrap();
            let [luma] = output.stdout[..] else {
                panic!("{}", String::from_utf8_lossy(&output.stderr));
            };
            luma
        })
    }

    /// Entry `name` of ffprobe's description of the first track of this kind, in the last stretch.
    pub(crate) fn property(&self, kind: &str, name: &str) -> Option<Value> {
        let streams = probe(self.files.last().unwrap());
        let stream = streams
            .into_iter()
            .find(|stream| stream["codec_type"] == kind)?;
        Some(stream[name].clone())
    }
}

/// How much later ffmpeg shows the pictures of a fragmented file than their boxes say: by the deepest of their
/// composition offsets below zero. Sound it does not delay.
fn late_ms(media: &Path) -> f64 {
    let ticks = fragments::deepest_composition_offset(&std::fs::read(media).unwrap());
    f64::from(u32::try_from(ticks).unwrap()) / 90.0
}

/// The codec and its level as another program sees them.
fn check_kind(declared: &str, video: &Value) {
    let level = video["level"].as_i64().unwrap();
    let (name, level) = match &declared[..4] {
        "avc1" => ("h264", format!("{level:02X}")),
        "hvc1" => ("hevc", format!(".L{level}.")),
        "av01" => ("av1", format!(".{level:02}M.")),
        other => panic!("{other}"),
    };
    assert_eq!(video["codec_name"], name, "{declared}");
    let own = declared.split(',').next().unwrap();
    assert!(own.contains(&level), "{declared}: {level}");
}

/// The width at which pixels are square.
fn displayed_width(video: &Value) -> u32 {
    let width = video["width"].as_u64().unwrap();
    let ratio = video["sample_aspect_ratio"].as_str().and_then(|text| {
        let (across, down) = text.split_once(':')?;
        Some((across.parse::<u64>().ok()?, down.parse::<u64>().ok()?))
    });
    let (across, down) = ratio
        .filter(|(across, down)| across * down > 0)
        .unwrap_or((1, 1));
    u32::try_from((width * across + down / 2) / down).unwrap()
}

/// ffprobe's streams of a file.
fn probe(media: &Path) -> Vec<Value> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-show_streams", "-of", "json"])
        .arg(media)
        .output()
        .unwrap();
    let streams: Value = serde_json::from_slice(&output.stdout).unwrap();
    streams["streams"].as_array().unwrap().clone()
}

/// When each picture is shown, in seconds and in that order, and whether it is a keyframe.
fn pictures(media: &Path) -> Vec<(f64, bool)> {
    let packets = packets(media, "v:0", "pts_time,flags");
    let pictures = packets.iter().filter_map(|line| {
        let (at, flags) = line.split_once(',')?;
        Some((at.parse().ok()?, flags.starts_with('K')))
    });
    let mut pictures: Vec<(f64, bool)> = pictures.collect();
    pictures.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    pictures
}

/// What ffprobe says of each packet of a track: `fields`, with commas between them.
fn packets(media: &Path, track: &str, fields: &str) -> Vec<String> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", track])
        .args(["-show_entries", &format!("packet={fields}")])
        .args(["-of", "csv=p=0"])
        .arg(media)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(str::to_owned).collect()
}
