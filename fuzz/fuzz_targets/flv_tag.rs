//! FLV and Enhanced RTMP tag bodies. The first byte says which: even video, odd audio.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use weir::ingest::flv::{self, AudioTag, VideoTag};
use weir::media::codec::AudioKind;

fuzz_target!(|data: &[u8]| {
    let Some((&first, rest)) = data.split_first() else {
        return;
    };
    let body = Bytes::copy_from_slice(rest);
    let inside = |part: &Bytes| {
        let (whole, part) = (body.as_ptr_range(), part.as_ptr_range());
        assert!(!part.is_empty() && whole.start <= part.start && part.end <= whole.end);
    };
    if first & 1 == 0 {
        let mut tags = Vec::new();
        match flv::parse_video(&body) {
            Ok(VideoTag::Multitrack { first, others }) => {
                assert!(others.len() <= 8 && others.iter().all(|(number, _)| *number != 0));
                tags.extend(first.map(|first| *first));
                tags.extend(others.into_iter().map(|(_, tag)| tag));
            }
            Ok(tag) => tags.push(tag),
            Err(_) => {}
        }
        for tag in tags {
            match tag {
                VideoTag::Multitrack { .. } => panic!("nothing nests"),
                VideoTag::Config(_, part) | VideoTag::Frame { data: part, .. } => inside(&part),
                VideoTag::Unsupported(name) => assert!(name.len() < 500),
                _ => {}
            }
        }
    } else {
        let tag = match flv::parse_audio(&body) {
            Ok(AudioTag::Multitrack(first)) => first.map_or(Ok(AudioTag::Nothing), |first| Ok(*first)),
            tag => tag,
        };
        match tag {
            Ok(AudioTag::Multitrack(_)) => panic!("nothing nests"),
            // The configuration of Opus alone may be empty.
            Ok(AudioTag::Config(AudioKind::Opus, part)) if part.is_empty() => {}
            Ok(AudioTag::Config(_, part) | AudioTag::Frame(_, part)) => inside(&part),
            Ok(AudioTag::Unsupported(name) | AudioTag::Unannounced(name)) => {
                assert!(name.len() < 500);
            }
            _ => {}
        }
    }
});
