//! What a mirror's store may hold: playlists, read back after a crash.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir::playlist::{Plain, multivariant};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(entries) = multivariant::parse(text) {
        let written = multivariant::render(&[], entries.clone());
        let again = multivariant::parse(&written).map(|entries| entries.len());
        assert_eq!(again, Ok(entries.len()));
    }
    if let Ok(plain) = Plain::parse(text) {
        assert!(!plain.segments.is_empty());
        assert_eq!(plain.segment(plain.last_msn()), plain.segments.last());
    }
});
