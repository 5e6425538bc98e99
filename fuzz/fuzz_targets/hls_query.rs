//! Playback paths and delivery directives: whatever a viewer sends.
//!
//! Input: a path, `?`, a query. What parses must print as it came, and must get a decision.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir::origin::reload::{Answer, Edge, MsnOnly, Policy, decide};
use weir::origin::request::{Directives, PREFIX, PlaybackPath};
use weir::playlist::Position;

fuzz_target!(|data: &[u8]| {
    let Ok(target) = std::str::from_utf8(data) else {
        return;
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if let Some(PlaybackPath::Media(media)) = PlaybackPath::parse(path) {
        let printed = format!(
            "{PREFIX}s/{}/{}/{}/{}/{}",
            media.viewer_session, media.channel_id, media.epoch, media.rendition, media.file
        );
        assert_eq!(printed, path);
    }
    let Ok(directives) = Directives::parse(query) else {
        return;
    };
    let edge = Edge {
        last: Some(Position { msn: 20, part: 5 }),
        next: Some(Position { msn: 21, part: 0 }),
        is_startable: true,
    };
    for msn_only in [MsnOnly::Segment, MsnOnly::FirstPart] {
        let policy = Policy {
            advance_part_limit: 9,
            msn_only,
        };
        let answer = decide(&edge, &policy, &directives);
        if directives.part.is_none() && directives.msn.is_none_or(|msn| msn <= 20) {
            assert_eq!(answer, Answer::Ready);
        }
        let ended = Edge { next: None, ..edge };
        assert_eq!(decide(&ended, &policy, &directives), Answer::Ready);
    }
});
