use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::base::clock::SimulatedClock;
use crate::media::codec::avc;
use crate::media::{Tracks, VideoTrack};
use crate::packaging::{self, InitSection, Packager};
use crate::storage::{Config, Location};

const CHANNEL: &str = "abcdABCDefgh";
const MULTIVARIANT: &str = "#EXTM3U
#EXT-X-STREAM-INF:BANDWIDTH=900000,AVERAGE-BANDWIDTH=700000,CODECS=\"avc1.64001E\",RESOLUTION=640x360,FRAME-RATE=30.000,VIDEO=\"360p30\"
source/live.m3u8
";

/// A store in a folder, as a mirror leaves it.
struct Stage {
    folder: tempfile::TempDir,
    init: Arc<InitSection>,
}

impl Stage {
    fn new() -> Self {
        let record = Bytes::from_static(avc::tests::X264_360P30);
        let tracks = Tracks {
            video: Some(VideoTrack {
                config: Arc::new(avc::parse(&record).unwrap()),
            }),
            audio: None,
        };
        let packager = Packager::new(&packaging::Config::default(), tracks).unwrap();
        Self {
            folder: tempfile::tempdir().unwrap(),
            init: Arc::clone(packager.init()),
        }
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.folder.path().join("live").join(CHANNEL).join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// An epoch with these segments, two seconds each.
    fn epoch(&self, epoch: u64, segments: RangeInclusive<u64>) {
        let hash = &self.init.hash;
        let head = format!(
            "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:{}\n\
             #EXT-X-DISCONTINUITY-SEQUENCE:0\n#EXT-X-MAP:URI=\"init-{hash}.mp4\"\n",
            segments.start()
        );
        let lines = segments.map(|msn| {
            self.write(&format!("{epoch}/source/{msn}.m4s"), format!("media {msn}"));
            let date = START.plus_millis(i64::try_from(msn).unwrap() * 2000);
            format!("#EXT-X-PROGRAM-DATE-TIME:{date}\n#EXTINF:2.00000,live\n{msn}.m4s\n")
        });
        let text: String = std::iter::once(head).chain(lines).collect();
        self.write(&format!("{epoch}/multivariant.m3u8"), MULTIVARIANT);
        self.write(&format!("{epoch}/source/live.m3u8"), text);
        self.write(&format!("{epoch}/source/init-{hash}.mp4"), &self.init.bytes);
    }

    async fn read(&self, epochs: RangeInclusive<u64>) -> Result<Restored, Error> {
        self.read_until(epochs, Instant::now() + Duration::from_mins(1))
            .await
    }

    /// Three seconds after the end of number 20.
    async fn read_until(
        &self,
        epochs: RangeInclusive<u64>,
        until: Instant,
    ) -> Result<Restored, Error> {
        let location = Location::Folder(self.folder.path().to_owned());
        let store = Store::open(&location, &Config::default(), []).unwrap();
        let clock = Arc::new(SimulatedClock::new(START.plus_millis(45_000)));
        let hold = Duration::from_secs(30);
        let restorer = Restorer::new(store, clock, &playlist::Config::default(), hold);
        restorer.read(CHANNEL, epochs, until).await
    }

    async fn error(&self) -> String {
        self.read(5..=5).await.unwrap_err().to_string()
    }
}

/// 2026-10-01T10:00:00.000Z
const START: WallTime = WallTime(1_790_848_800_000);

fn media(restored: &Restored) -> Vec<Option<String>> {
    let segments = restored.renditions[0].past.segments.iter();
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    segments
        .map(|segment| segment.bytes.as_ref().map(text))
        .collect()
}

#[tokio::test]
async fn reads_what_a_mirror_left() {
    let stage = Stage::new();
    stage.epoch(5, 18..=20);
    let restored = stage.read(5..=5).await.unwrap();
    assert_eq!(restored.next_msn, 24);
    let rendition = &restored.renditions[0];
    assert_eq!(
        (&*rendition.name, &*rendition.variant.name),
        ("source", "360p30")
    );
    assert_eq!(rendition.past.first_msn, 18);
    assert!(rendition.past.segments.iter().all(|s| s.init == stage.init));
    let media = media(&restored);
    let expected = [
        Some("media 18"),
        Some("media 19"),
        Some("media 20"),
        None,
        None,
        None,
    ];
    assert_eq!(
        media.iter().map(Option::as_deref).collect::<Vec<_>>(),
        expected
    );
}

#[tokio::test]
async fn the_copy_that_got_furthest_counts() {
    let stage = Stage::new();
    stage.epoch(4, 30..=40);
    stage.epoch(5, 10..=20);
    // It had continued number 5 and copied a part of it; then died in turn.
    stage.epoch(6, 10..=12);
    stage.write("7/source/10.m4s", "media 10");
    // Neither had one that died before it had copied anything.
    for epoch in 8..=10 {
        stage.write(&format!("{epoch}/source/10.m4s"), "media 10");
    }
    let restored = stage.read(5..=10).await.unwrap();
    assert_eq!(media(&restored)[10].as_deref(), Some("media 20"));
    assert_eq!(restored.next_msn, 21 + 3 + 5);

    let restored = stage.read(5..=7).await.unwrap();
    assert_eq!(media(&restored)[10].as_deref(), Some("media 20"));
    assert_eq!(
        restored.next_msn,
        21 + 3 + 2,
        "one more for each continuation"
    );

    stage.epoch(6, 10..=20);
    stage.write("6/source/20.m4s", "newer");
    let restored = stage.read(5..=7).await.unwrap();
    assert_eq!(media(&restored)[10].as_deref(), Some("newer"));
}

#[tokio::test]
async fn a_segment_that_is_gone_is_a_gap() {
    let stage = Stage::new();
    stage.epoch(5, 18..=20);
    let gone = format!("live/{CHANNEL}/5/source/19.m4s");
    std::fs::remove_file(stage.folder.path().join(gone)).unwrap();
    let restored = stage.read(5..=5).await.unwrap();
    assert_eq!(media(&restored)[1], None);
}

#[tokio::test]
async fn what_cannot_be_read_is_named() {
    let stage = Stage::new();
    let nothing = "nothing to continue: the store has no playlists of it";
    assert_eq!(stage.error().await, nothing);
    stage.write("5/source/live.m3u8", "");
    assert_eq!(stage.error().await, nothing);
    stage.write("5/multivariant.m3u8", "../x/live.m3u8\n");
    assert!(stage.error().await.contains("5/multivariant.m3u8: line 1"));
    stage.write("5/multivariant.m3u8", MULTIVARIANT.replace("source", ".."));
    assert!(stage.error().await.contains("cannot name a stored object"));
    stage.write("5/multivariant.m3u8", MULTIVARIANT);
    assert!(stage.error().await.contains("5/source/live.m3u8: line 0"));

    stage.epoch(5, 18..=20);
    let init = format!("5/source/init-{}.mp4", stage.init.hash);
    stage.write(&init, "other bytes");
    assert!(stage.error().await.ends_with("is damaged"));
    let path = Path::new("live").join(CHANNEL).join(init);
    std::fs::remove_file(stage.folder.path().join(path)).unwrap();
    assert!(stage.error().await.contains("is not in folder"));

    stage.epoch(5, 1..=3);
    assert!(
        stage
            .error()
            .await
            .contains("longer than playlists are held")
    );
}

#[tokio::test]
async fn a_window_that_takes_too_long_is_listed_from_where_it_was_read() {
    let stage = Stage::new();
    stage.epoch(5, 1..=20);
    // The first of these discontinuities is left out with its segment.
    let path = stage
        .folder
        .path()
        .join("live")
        .join(CHANNEL)
        .join("5/source/live.m3u8");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = [5, 10].iter().fold(text, |text, msn| {
        let date = START.plus_millis(msn * 2000);
        let line = format!("#EXT-X-PROGRAM-DATE-TIME:{date}\n");
        text.replace(&line, &format!("#EXT-X-DISCONTINUITY\n{line}"))
    });
    std::fs::write(&path, text).unwrap();
    for (until, first, sequence, count) in [
        (Instant::now() + Duration::from_mins(1), 1, 0, 20 + 3),
        (Instant::now(), 6, 1, 15 + 3),
    ] {
        let restored = stage.read_until(5..=5, until).await.unwrap();
        assert_eq!(restored.next_msn, 24);
        let past = &restored.renditions[0].past;
        assert_eq!(
            (past.first_msn, past.discontinuity_sequence),
            (first, sequence)
        );
        assert_eq!(past.segments.len(), count);
        assert_eq!(
            past.segments
                .iter()
                .filter(|s| s.listed.discontinuity)
                .count(),
            2 - usize::try_from(sequence).unwrap()
        );
        let expected = format!("media {first}");
        assert_eq!(media(&restored)[0].as_deref(), Some(&*expected));
    }
}
