//! Reads an initialization section of this room back, for who finds one in a store.
//!
//! In:  bytes and the hash they were stored under. Out: [`InitSection`], or nothing if the bytes are
//! not those, or not of ours. Not here: other people's files.

use std::sync::Arc;

use bytes::Bytes;
use mp4_atom::{Decode as _, Esds};

use super::InitSection;
use super::init::{SAMPLE_ENTRIES, content_hash};
use crate::media::codec::{VideoConfig, aac};
use crate::media::{AudioTrack, Tracks, VideoTrack};

/// From a sample description box to its first entry.
const DESCRIPTION_HEAD: usize = 8;
/// From a sample entry to its first box: of pictures, and of sound.
const VISUAL_HEAD: usize = 78;
const AUDIO_HEAD: usize = 28;

impl InitSection {
    /// The section whose `bytes` have this `hash`.
    pub fn read(bytes: Bytes, hash: &str) -> Option<Self> {
        if content_hash(&bytes) != hash {
            return None;
        }
        let movie = Children(&bytes).find(*b"moov")?;
        let mut tracks = Tracks {
            video: None,
            audio: None,
        };
        for (_, track) in Children(movie).filter(|(kind, _)| kind == b"trak") {
            let mut table = track;
            for kind in [b"mdia", b"minf", b"stbl", b"stsd"] {
                table = Children(table).find(*kind)?;
            }
            let (kind, entry) = Children(table.get(DESCRIPTION_HEAD..)?).next()?;
            if kind == *b"mp4a" {
                tracks.audio = Some(audio(entry)?);
            } else {
                tracks.video = Some(video(kind, entry)?);
            }
        }
        (tracks.video.is_some() || tracks.audio.is_some()).then(|| Self {
            bytes,
            hash: hash.to_owned(),
            tracks,
        })
    }
}

fn video(kind: [u8; 4], entry: &[u8]) -> Option<VideoTrack> {
    let mut known = SAMPLE_ENTRIES.iter();
    let (codec, _, record) = known.find(|(_, name, _)| *name == kind)?;
    let record = Children(entry.get(VISUAL_HEAD..)?).find(*record)?;
    let config = VideoConfig::parse(*codec, &Bytes::copy_from_slice(record)).ok()?;
    let config = Arc::new(config);
    Some(VideoTrack { config })
}

fn audio(entry: &[u8]) -> Option<AudioTrack> {
    let mut boxes = entry.get(AUDIO_HEAD..)?;
    let stream = Esds::decode(&mut boxes).ok()?;
    let config = stream.es_desc.dec_config.dec_specific?.raw;
    let config = aac::Config::parse(&Bytes::from(config)).ok()?;
    let config = Arc::new(config);
    Some(AudioTrack { config })
}

/// Boxes that follow one another: each one's kind and content. Ends at the first that is cut off.
struct Children<'a>(&'a [u8]);

impl<'a> Children<'a> {
    fn find(mut self, wanted: [u8; 4]) -> Option<&'a [u8]> {
        let found = Iterator::find(&mut self, |(kind, _)| *kind == wanted)?;
        Some(found.1)
    }
}

impl<'a> Iterator for Children<'a> {
    type Item = ([u8; 4], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (size, rest) = self.0.split_first_chunk::<4>()?;
        let size = usize::try_from(u32::from_be_bytes(*size)).ok()?;
        let (kind, _) = rest.split_first_chunk::<4>()?;
        let content = self.0.get(8..size)?;
        self.0 = self.0.get(size..)?;
        Some((*kind, content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::codec::avc;
    use crate::media::codec::avc::tests::X264_360P30;

    fn section(asc: Option<&'static [u8]>) -> InitSection {
        let picture = avc::parse(&Bytes::from_static(X264_360P30)).unwrap();
        InitSection::new(Tracks {
            video: Some(VideoTrack {
                config: Arc::new(picture),
            }),
            audio: asc.map(|asc| AudioTrack {
                config: Arc::new(aac::Config::parse(&Bytes::from_static(asc)).unwrap()),
            }),
        })
    }

    #[test]
    fn reads_what_is_written() {
        let mut sections = [
            None,
            Some(&[0x11, 0x90][..]),
            Some(&[0x12, 0x10, 0x56, 0xe5, 0x00]),
        ]
        .map(section)
        .to_vec();
        sections.push(InitSection::new(Tracks {
            video: None,
            ..sections[1].tracks.clone()
        }));
        for written in sections {
            let read = InitSection::read(written.bytes.clone(), &written.hash);
            assert_eq!(read, Some(written));
        }
    }

    #[test]
    fn refuses_other_bytes() {
        let written = section(Some(&[0x11, 0x90]));
        assert_eq!(InitSection::read(written.bytes.clone(), "00000000"), None);
        for end in 0..written.bytes.len() {
            let cut = written.bytes.slice(..end);
            assert_eq!(InitSection::read(cut.clone(), &content_hash(&cut)), None);
        }
        for at in 0..written.bytes.len() {
            // Never a panic, whatever is in it.
            let mut changed = written.bytes.to_vec();
            changed[at] ^= 0xff;
            let changed = Bytes::from(changed);
            let read = InitSection::read(changed.clone(), &content_hash(&changed));
            assert!(read.is_none_or(|read| read.bytes == changed));
        }
    }
}
