//! Fragmented MP4 of foreign servers, as the stream checker reads it.
//!
//! Input: four bytes with the length of an initialization section, the section, then fragments.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir::conformance::boxes::{Init, Media};

fuzz_target!(|data: &[u8]| {
    let Some((length, rest)) = data.split_first_chunk::<4>() else {
        return;
    };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(0);
    let (section, fragments) = rest.split_at(length.min(rest.len()));
    let init = Init::parse(section).unwrap_or_default();
    if let Ok(media) = Media::parse(fragments, &init) {
        assert!(media.samples.len() <= 100_000);
        let total: usize = media.samples.iter().map(|sample| sample.size as usize).sum();
        // Samples may overlap, but each lies within the file.
        assert!(total <= fragments.len().saturating_mul(media.samples.len()));
    }
});
