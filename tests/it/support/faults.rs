//! Codecs that fail or dawdle when a test says so, in the real server: a library that is loaded before
//! libavcodec, `faults.c`. A file is what tells it.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::server::TestServer;

/// Where a server's faults are told. It outlives the server.
pub(crate) struct Faults {
    folder: TempDir,
    library: PathBuf,
}

impl Faults {
    /// Builds the library; nothing is at fault yet.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("faults.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/faults.c");
        let built = Command::new("cc")
            .args(["-Wall", "-Werror", "-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .status();
        assert!(built.unwrap().success(), "{}", source.display());
        Self { folder, library }
    }

    /// A server with these codecs.
    pub(crate) async fn server(&self) -> TestServer {
        TestServer::start_with(&[
            ("LD_PRELOAD", self.library.to_str().unwrap()),
            ("FAULTS", self.folder.path().to_str().unwrap()),
        ])
        .await
    }

    /// Encoders of pictures of this height are too slow for real time from now on.
    pub(crate) fn slow_down(&self, height: u32) {
        self.tell(&slow(height));
    }

    /// They are as fast as they were.
    pub(crate) fn speed_up(&self, height: u32) {
        std::fs::remove_file(self.folder.path().join(slow(height))).unwrap();
    }

    /// The encoder of this height fails with its next pictures, so many times.
    pub(crate) fn fail_encoder(&self, height: u32, times: u32) {
        (0..times).for_each(|n| self.tell(&format!("encoder-{height}-fails.{n}")));
    }

    /// The decoder fails with its next pictures, so many times.
    pub(crate) fn fail_decoder(&self, times: u32) {
        (0..times).for_each(|n| self.tell(&format!("decoder-fails.{n}")));
    }

    fn tell(&self, fault: &str) {
        std::fs::write(self.folder.path().join(fault), "").unwrap();
    }
}

fn slow(height: u32) -> String {
    format!("encoder-{height}-is-slow")
}
