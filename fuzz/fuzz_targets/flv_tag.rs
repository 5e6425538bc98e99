//! FLV and Enhanced RTMP tag bodies. The first byte says which: even video, odd audio.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use weir::ingest::flv::{self, AudioTag, VideoTag};

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
        match flv::parse_video(&body) {
            Ok(VideoTag::Config(part) | VideoTag::Frame { data: part, .. }) => inside(&part),
            Ok(VideoTag::Unsupported(name)) => assert!(name.len() < 500),
            _ => {}
        }
    } else {
        match flv::parse_audio(&body) {
            Ok(AudioTag::Config(part) | AudioTag::Frame(part)) => inside(&part),
            Ok(AudioTag::Unsupported(name)) => assert!(name.len() < 500),
            _ => {}
        }
    }
});
