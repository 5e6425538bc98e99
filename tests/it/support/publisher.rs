//! A real encoder: ffmpeg sending a prepared clip in real time, as OBS would.

use std::path::Path;
use std::process::Stdio;

use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};

use super::within;

/// A running ffmpeg; killed when dropped.
pub(crate) struct Publisher {
    child: Child,
}

impl Publisher {
    /// Sends `clip` once to `url` and unpublishes at its end.
    pub(crate) fn once(clip: &Path, url: &str) -> Self {
        Self::start(clip, url, &[])
    }

    /// Sends `clip` again and again.
    pub(crate) fn looping(clip: &Path, url: &str) -> Self {
        Self::start(clip, url, &["-stream_loop", "-1"])
    }

    /// Sends `clip` as often as said, so many times as fast as real time, and unpublishes.
    pub(crate) fn hurrying(clip: &Path, url: &str, times: u32, speed: u32) -> Self {
        let (loops, speed) = ((times - 1).to_string(), speed.to_string());
        Self::start(clip, url, &["-stream_loop", &loops, "-readrate", &speed])
    }

    fn start(clip: &Path, url: &str, input_options: &[&str]) -> Self {
        let child = Command::new("ffmpeg")
            .args(["-nostdin", "-loglevel", "error", "-re"])
            .args(input_options)
            .arg("-i")
            .arg(clip)
            .args([
                "-map", "0:v:0", "-map", "0:a:0?", "-c", "copy", "-f", "flv", url,
            ])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { child }
    }

    /// Waits for ffmpeg to end by itself; what it complained of, empty for a clean run.
    pub(crate) async fn ended(mut self) -> String {
        let mut words = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        within(60, "end of ffmpeg", stderr.read_to_string(&mut words))
            .await
            .unwrap();
        let status = within(10, "exit of ffmpeg", self.child.wait())
            .await
            .unwrap();
        if status.success() {
            words
        } else {
            format!("{status}: {words}")
        }
    }

    /// Stops ffmpeg in its tracks: the connection stays, nothing comes.
    pub(crate) async fn pause(&self) {
        self.signal("STOP").await;
    }

    /// Goes on after [`Publisher::pause`].
    pub(crate) async fn go_on(&self) {
        self.signal("CONT").await;
    }

    async fn signal(&self, name: &str) {
        let pid = self.child.id().unwrap().to_string();
        let mut kill = Command::new("kill");
        let status = kill.args([&format!("-{name}"), &pid]).status().await;
        assert!(status.unwrap().success());
    }

    /// Kills ffmpeg without a goodbye (kill -9).
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}
