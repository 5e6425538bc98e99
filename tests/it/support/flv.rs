//! FLV files taken apart into tags and put together again as encoders misbehave: sound that vanishes,
//! another size from here on, clocks that jump. Sent tag by tag, so that no muxer repairs them.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::rtmp_client::{self, Amf};

/// Tag types, which are RTMP's message types too.
pub(crate) mod kind {
    pub(crate) const AUDIO: u8 = 8;
    pub(crate) const VIDEO: u8 = 9;
    pub(crate) const SCRIPT: u8 = 18;
}

/// One tag: a message of the encoder.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tag {
    pub(crate) kind: u8,
    /// Its timestamp.
    pub(crate) at_ms: u32,
    /// When it is sent, counted from the first tag: the wall clock of the encoder.
    pub(crate) send_ms: u32,
    pub(crate) body: Vec<u8>,
}

/// A stream of tags in sending order, without script tags.
#[derive(Clone, Debug)]
pub(crate) struct Recording {
    pub(crate) tags: Vec<Tag>,
}

impl Tag {
    /// A picture, configurations not counted.
    pub(crate) fn is_picture(&self) -> bool {
        self.kind == kind::VIDEO && matches!(self.packet_type(), Some(1 | 3))
    }

    fn is_key_picture(&self) -> bool {
        self.is_picture() && self.body[0] >> 4 & 7 == 1
    }

    /// A decoder configuration, of video or audio.
    fn is_config(&self) -> bool {
        matches!(self.kind, kind::VIDEO | kind::AUDIO) && self.packet_type() == Some(0)
    }

    /// Of H.264 and AAC as ever, and of anything else in the enhanced form.
    fn packet_type(&self) -> Option<u8> {
        let is_enhanced = match self.kind {
            kind::VIDEO => self.body[0] & 0x80 != 0,
            _ => self.body[0] >> 4 == 9,
        };
        if is_enhanced {
            Some(self.body[0] & 15)
        } else {
            self.body.get(1).copied()
        }
    }
}

impl Recording {
    /// Reads a file; the encoder sent each tag at its timestamp.
    pub(crate) fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        assert_eq!(&bytes[..3], b"FLV", "{}", path.display());
        let mut tags = Vec::new();
        // The header, then the size of a tag before the first.
        let mut rest = &bytes[9 + 4..];
        while let Some((header, behind)) = rest.split_at_checked(11) {
            let number =
                |at: usize| u32::from_be_bytes([0, header[at], header[at + 1], header[at + 2]]);
            let at_ms = number(4) | u32::from(header[7]) << 24;
            let (body, behind) = behind.split_at(usize::try_from(number(1)).unwrap());
            tags.push(Tag {
                kind: header[0],
                at_ms,
                send_ms: at_ms,
                body: body.to_vec(),
            });
            rest = &behind[4..];
        }
        tags.retain(|tag| tag.kind != kind::SCRIPT);
        Self { tags }
    }

    /// Pictures in it.
    pub(crate) fn pictures(&self) -> u64 {
        self.tags.iter().filter(|tag| tag.is_picture()).count() as u64
    }

    /// When the last tag is sent.
    pub(crate) fn last_ms(&self) -> u32 {
        self.tags.iter().map(|tag| tag.send_ms).max().unwrap_or(0)
    }

    /// The first `count` GOPs with the sound beside them.
    pub(crate) fn gops(mut self, count: usize) -> Self {
        let keys = self.tags.iter().filter(|tag| tag.is_key_picture());
        if let Some(end) = keys.map(|tag| tag.at_ms).nth(count) {
            self.tags.retain(|tag| tag.at_ms < end);
        }
        self
    }

    /// Without the sound whose timestamp lies in `range` (milliseconds); its configuration stays.
    pub(crate) fn without_audio(mut self, range: impl std::ops::RangeBounds<u32>) -> Self {
        self.tags.retain(|tag| {
            tag.kind != kind::AUDIO || tag.is_config() || !range.contains(&tag.at_ms)
        });
        self
    }

    /// The sound as an encoder stamps it that looks at the clock and is held up for the first `held_ms` of each second.
    pub(crate) fn held_up(mut self, held_ms: u32) -> Self {
        let is_sound = |tag: &&mut Tag| tag.kind == kind::AUDIO && !tag.is_config();
        for tag in self.tags.iter_mut().filter(is_sound) {
            tag.at_ms += held_ms.saturating_sub(tag.at_ms % 1000);
        }
        self
    }

    /// Without the pictures whose timestamp lies in `range` (milliseconds): a screen that stands still.
    pub(crate) fn without_pictures(mut self, range: std::ops::Range<u32>) -> Self {
        self.tags
            .retain(|tag| !tag.is_picture() || !range.contains(&tag.at_ms));
        self
    }

    /// The pictures last a fifth longer each, though no parameter set says so. Without sound.
    pub(crate) fn slower(self) -> Self {
        let longer = |ms: u32| (ms * 6 + 2) / 5;
        let mut slower = self.without_audio(..);
        for tag in &mut slower.tags {
            (tag.at_ms, tag.send_ms) = (longer(tag.at_ms), longer(tag.send_ms));
            if tag.is_picture() {
                let composition_ms = u32::from_be_bytes([0, tag.body[2], tag.body[3], tag.body[4]]);
                let bytes = longer(composition_ms).to_be_bytes();
                tag.body[2..5].copy_from_slice(&bytes[1..]);
            }
        }
        slower
    }

    /// Timestamps from the first picture at or after `from_ms` on, sound included, are changed by
    /// `by_ms`; the tags are sent when they would have been.
    pub(crate) fn jump(mut self, from_ms: u32, by_ms: i32) -> Self {
        let at_or_after = |tag: &Tag| tag.is_key_picture() && tag.at_ms >= from_ms;
        let at = self.tags.iter().position(at_or_after).unwrap();
        for tag in &mut self.tags[at..] {
            tag.at_ms = tag.at_ms.checked_add_signed(by_ms).unwrap();
        }
        self
    }

    /// The encoder is suspended for `by_ms` before the tags from `from_ms` on; its timestamps know of it.
    pub(crate) fn suspended(mut self, from_ms: u32, by_ms: u32) -> Self {
        for tag in self.tags.iter_mut().filter(|tag| tag.at_ms >= from_ms) {
            tag.at_ms += by_ms;
            tag.send_ms += by_ms;
        }
        self
    }

    /// Timestamps begin at `ms`, and go on from zero after the last of 32 bits.
    pub(crate) fn starting_at(mut self, ms: u32) -> Self {
        for tag in &mut self.tags {
            tag.at_ms = tag.at_ms.wrapping_add(ms);
        }
        self
    }

    /// `next` behind this one, configurations included, with timestamps that go on.
    pub(crate) fn then(mut self, next: Self) -> Self {
        let pictures: Vec<u32> = self
            .tags
            .iter()
            .filter(|tag| tag.is_picture())
            .map(|tag| tag.at_ms)
            .collect();
        let [.., before, last] = pictures[..] else {
            panic!("too short to go on");
        };
        let end = last + (last - before);
        let send_end = self.last_ms() + (last - before);
        self.tags.extend(next.tags.into_iter().map(|tag| Tag {
            at_ms: tag.at_ms + end,
            // Sound may be longer than the pictures; behind it both are sent at their own time again.
            send_ms: (tag.send_ms + end).max(send_end),
            ..tag
        }));
        self
    }

    /// With a text for viewers each second, the first at `from_ms`: the time at which it is sent.
    pub(crate) fn saying(mut self, from_ms: u32) -> Self {
        for at in (from_ms..self.last_ms()).step_by(1000) {
            let place = self.tags.partition_point(|tag| tag.send_ms < at);
            let text = Amf::Object(&[("text", Amf::Text(&at.to_string()))]);
            let tag = Tag {
                kind: kind::SCRIPT,
                at_ms: at,
                send_ms: at,
                body: rtmp_client::amf(&[Amf::Text("onTextData"), text]),
            };
            self.tags.insert(place, tag);
        }
        self
    }

    /// Writes a file, for tools that only read files.
    pub(crate) fn write(&self, path: &Path) {
        let mut bytes = b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec();
        for tag in &self.tags {
            let size = u32::try_from(tag.body.len()).unwrap();
            bytes.push(tag.kind);
            bytes.extend(&size.to_be_bytes()[1..]);
            bytes.extend(&tag.at_ms.to_be_bytes()[1..]);
            bytes.extend([tag.at_ms.to_be_bytes()[0], 0, 0, 0]);
            bytes.extend(&tag.body);
            bytes.extend((size + 11).to_be_bytes());
        }
        std::fs::write(path, bytes).unwrap();
    }

    /// Publishes all tags at their time, then unpublishes and waits for the server to close.
    pub(crate) async fn publish(&self, mut publisher: rtmp_client::Publisher) -> io::Result<()> {
        let begin = Instant::now();
        for tag in &self.tags {
            // An encoder's pace, not a wait for something to happen.
            sleep_until(begin + Duration::from_millis(tag.send_ms.into())).await;
            publisher
                .send_message(tag.kind, tag.at_ms, &tag.body)
                .await?;
        }
        publisher.unpublish().await
    }
}

#[test]
fn tags_are_cut_shifted_and_joined() {
    let read = |name| Recording::read(&super::clips::clip(name));
    let whole = read("fps30.flv");
    assert_eq!(whole.pictures(), 240);
    let half = whole.clone().gops(2);
    assert_eq!(half.pictures(), 120);
    let both = half.clone().then(read("fps30_480p.flv").gops(1));
    assert_eq!(both.pictures(), 180);
    let configs = both
        .tags
        .iter()
        .filter(|tag| tag.is_config() && tag.kind == kind::VIDEO);
    assert_eq!(configs.map(|tag| tag.at_ms).collect::<Vec<_>>(), [0, 4000]);
    let steps = both
        .tags
        .windows(2)
        .map(|pair| pair[1].at_ms.abs_diff(pair[0].at_ms));
    assert!(steps.max().unwrap() < 100, "no jump at the seam");

    let mute = whole.clone().without_audio(3000..5000);
    assert!(mute.tags.len() < whole.tags.len());
    assert_eq!(mute.pictures(), 240);
    let jumped = whole.clone().jump(4000, 60_000);
    assert_eq!(
        jumped.tags.last().unwrap().at_ms,
        whole.tags.last().unwrap().at_ms + 60_000
    );
    assert_eq!(
        jumped.tags.last().unwrap().send_ms,
        whole.tags.last().unwrap().send_ms
    );
}
