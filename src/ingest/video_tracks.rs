//! Several tracks of pictures from one encoder: may they come, must they, and which have come.
//!
//! In:  what the channel takes, what the tracks say, times of the first one's pictures. Out: their configurations, or a
//! [`Refusal`] with the code that ends the stream session. Pure.
//! Standard: Veovera Enhanced RTMP v2 "multitrack"; Amazon IVS multitrack video.

use std::sync::Arc;

use bytes::Bytes;

use super::flv::VideoTag;
use super::gate::{Refusal, RefusalCode};
use crate::media::codec::VideoConfig;

/// Most tracks of pictures, the first one counted.
const MAX_TRACKS: usize = 5;
/// So long after the first picture the other tracks must have said that they are there: encoders send all configurations
/// before the first picture.
const PATIENCE_MS: u32 = 500;
/// A timestamp farther on than this lies in the past.
const HALF: u32 = 1 << 31;

/// Whether an encoder may send several tracks of pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MultitrackInput {
    /// It may not.
    #[default]
    Refused,
    /// As it likes.
    Allowed,
    /// It must.
    Required,
}

/// The tracks of one publisher.
#[derive(Debug, Default)]
pub(super) struct VideoTracks {
    input: MultitrackInput,
    /// Numbers of the tracks that are not the first, with the configuration record that each sent last.
    others: Vec<(u8, Bytes)>,
    /// Timestamp of the first picture of the first track.
    began_ms: Option<u32>,
}

impl VideoTracks {
    pub(super) fn new(input: MultitrackInput) -> Self {
        Self {
            input,
            ..Self::default()
        }
    }

    /// Other tracks have come; whether they are the first ones.
    pub(super) fn saw_others(&mut self, tags: &[(u8, VideoTag)]) -> Result<bool, Refusal> {
        let were_none = self.others.is_empty();
        for (number, _) in tags {
            if self.input == MultitrackInput::Refused {
                return Err(refusal(
                    "MultitrackInputNotAllowed",
                    "this channel takes one video track: switch multitrack video off in the encoder, or on for the channel"
                        .to_owned(),
                ));
            }
            if self.others.iter().any(|(known, _)| known == number) {
                continue;
            }
            self.others.push((*number, Bytes::new()));
            if self.others.len() >= MAX_TRACKS {
                return Err(refusal(
                    "InvalidMultitrackInputTrackCount",
                    format!("more than {MAX_TRACKS} video tracks: set the encoder to fewer"),
                ));
            }
        }
        Ok(were_none && !self.others.is_empty())
    }

    /// What a track that came says of itself, if that is new; refused where it cannot stand beside the first.
    pub(super) fn configuration(
        &mut self,
        number: u8,
        tag: &VideoTag,
        first: Option<&VideoConfig>,
    ) -> Result<Option<Arc<VideoConfig>>, Refusal> {
        let refuse = |words| {
            Err(refusal(
                "InvalidMultitrackInputVideoTrackMediaProperties",
                words,
            ))
        };
        let (kind, record) = match tag {
            VideoTag::Config(kind, record) => (*kind, record),
            VideoTag::Unsupported(name) => {
                return refuse(format!("{name} of video track {number} is not supported"));
            }
            _ => return Ok(None),
        };
        let known = self.others.iter_mut().find(|(known, _)| *known == number);
        let Some((_, known)) = known.filter(|(_, known)| known != record) else {
            return Ok(None);
        };
        // Copied: it outlives the network buffer it lies in. One that is broken is looked at once.
        *known = Bytes::copy_from_slice(record);
        let Ok(config) = VideoConfig::parse(kind, known) else {
            return Ok(None);
        };
        let pixels = |(width, height): (u16, u16)| u32::from(width).saturating_mul(height.into());
        let size = config.display_size();
        if let Some(first) = first.filter(|first| pixels(size) > pixels(first.display_size())) {
            let (width, height) = first.display_size();
            return refuse(format!(
                "video track {number} of {}x{} is larger than the first one of {width}x{height}: the first has to be the best",
                size.0, size.1
            ));
        }
        Ok(Some(Arc::new(config)))
    }

    /// A picture of the first track has come.
    pub(super) fn saw_picture(&mut self, timestamp: u32) -> Result<(), Refusal> {
        if self.input != MultitrackInput::Required || !self.others.is_empty() {
            return Ok(());
        }
        let began_ms = *self.began_ms.get_or_insert(timestamp);
        if (PATIENCE_MS..HALF).contains(&timestamp.wrapping_sub(began_ms)) {
            return Err(refusal(
                "MultitrackInputRequired",
                "this channel takes several video tracks only: switch multitrack video on in the encoder"
                    .to_owned(),
            ));
        }
        Ok(())
    }
}

fn refusal(code: &'static str, words: String) -> Refusal {
    Refusal {
        event_code: Some(code),
        ..Refusal::new(RefusalCode::Rejected, words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code<T>(answer: Result<T, Refusal>) -> Option<&'static str> {
        answer.err().and_then(|refusal| refusal.event_code)
    }

    #[test]
    fn tracks_come_where_they_may_and_no_more_than_five() {
        let seen = |tracks: &mut VideoTracks, numbers: &[u8]| {
            let tags = numbers.iter().map(|number| (*number, VideoTag::Nothing));
            tracks.saw_others(&tags.collect::<Vec<_>>())
        };
        let mut refused = VideoTracks::new(MultitrackInput::Refused);
        assert_eq!(seen(&mut refused, &[]), Ok(false));
        assert_eq!(
            code(seen(&mut refused, &[1])),
            Some("MultitrackInputNotAllowed")
        );
        for input in [MultitrackInput::Allowed, MultitrackInput::Required] {
            let mut tracks = VideoTracks::new(input);
            assert_eq!(seen(&mut tracks, &[]), Ok(false));
            assert_eq!(seen(&mut tracks, &[1, 2]), Ok(true));
            assert_eq!(seen(&mut tracks, &[2, 3, 9]), Ok(false), "the fifth");
            assert_eq!(seen(&mut tracks, &[1]), Ok(false));
            let sixth = seen(&mut tracks, &[4]);
            assert_eq!(code(sixth), Some("InvalidMultitrackInputTrackCount"));
        }
    }

    #[test]
    fn where_several_must_come_one_alone_is_refused_soon() {
        let required = || VideoTracks::new(MultitrackInput::Required);
        for began in [0, 70_000, u32::MAX - 100] {
            let mut alone = required();
            for ms in [0, 33, 499] {
                assert_eq!(alone.saw_picture(began.wrapping_add(ms)), Ok(()));
            }
            let back = began.wrapping_sub(40);
            assert_eq!(alone.saw_picture(back), Ok(()), "it jumps back");
            let late = alone.saw_picture(began.wrapping_add(500));
            assert_eq!(code(late), Some("MultitrackInputRequired"));
        }
        let mut joined = required();
        assert_eq!(joined.saw_picture(0), Ok(()));
        assert_eq!(joined.saw_others(&[(1, VideoTag::Nothing)]), Ok(true));
        assert_eq!(joined.saw_picture(5_000), Ok(()));
        let mut allowed = VideoTracks::new(MultitrackInput::Allowed);
        assert_eq!(allowed.saw_picture(0), Ok(()));
        assert_eq!(allowed.saw_picture(5_000), Ok(()));
    }
}
