//! Playlists of foreign servers, as the stream checker reads them.
//!
//! Input: the bytes of a playlist. What parses must have numbers that go together, and not more flaws than are kept.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir::conformance::parse::{Playlist, parse};

fuzz_target!(|data: &[u8]| {
    match parse(data) {
        Ok(Playlist::Media(list)) => {
            assert!(list.next_msn() >= list.first_msn());
            let last = list.last_position();
            assert!(last.is_none_or(|last| last.msn <= list.next_msn()));
            assert!(list.flaws.len() <= 100);
        }
        Ok(Playlist::Multivariant(list)) => assert!(list.flaws.len() <= 100),
        Err(_) => {}
    }
});
