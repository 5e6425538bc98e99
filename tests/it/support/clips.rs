//! Prepared clips: made once with ffmpeg by `tests/clips.sh`, sent with `-c copy`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The path of a prepared clip by its file name.
pub(crate) fn clip(name: &str) -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    let folder = MADE.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let script = Command::new("bash")
            .arg(root.join("tests/clips.sh"))
            .status()
            .unwrap();
        assert!(script.success(), "tests/clips.sh failed");
        root.join("target/clips")
    });
    let path = folder.join(name);
    assert!(path.exists(), "{} is missing", path.display());
    path
}

/// A real clip of the shared folder beside the clone, where that folder exists.
pub(crate) fn real_clip(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../shared/media")
        .join(name);
    path.exists().then_some(path)
}

/// Frames of the clip's video track, counted by decoding.
pub(crate) fn frame_count(media: &Path) -> u64 {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-select_streams", "v:0"])
        .args(["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"])
        .arg(media)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.is_empty(), "ffprobe {}: {errors}", media.display());
    // A playlist's streams are listed once with their program and once without.
    let counted = String::from_utf8_lossy(&output.stdout).into_owned();
    let first = counted.lines().next().unwrap_or_default();
    first.trim_end_matches(',').parse().unwrap()
}
