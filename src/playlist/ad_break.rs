//! Ad breaks as a playlist tells them: EXT-X-DATERANGE with SCTE-35, and as interstitials where somebody decides on ads.
//!
//! In:  breaks. Out: their lines, each before the segment in which it begins or ends.
//! Not here: whether a break may be (`api`), the ads.
//! Read: §4.4.5.1 for the tag, §4.4.5.1.1 for SCTE-35, appendix D for interstitials.

use std::iter::Peekable;
use std::vec;

use super::scte35;
use super::tags::{Millis, Tag};
use super::window::{Listing, Segment};
use crate::base::clock::WallTime;

/// What interstitials are told by.
const INTERSTITIAL: &str = "com.apple.hls.interstitial";

/// A break of the stream for ads. The stream itself goes on meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdBreak {
    /// `adBreakId`, alphanumeric; not unique.
    pub id: String,
    /// When it begins, on the clock of EXT-X-PROGRAM-DATE-TIME.
    pub start: WallTime,
    /// How long it is.
    pub duration_ms: u32,
    /// URL at which players ask for the ads to show in place of the stream (X-ASSET-LIST), if they are to.
    pub asset_list: Option<String>,
}

impl AdBreak {
    /// When it ends.
    pub fn end(&self) -> WallTime {
        self.start.plus_millis(self.duration_ms.into())
    }

    /// The tag's ID, which no other break of the channel has: one begins at a time.
    fn tag_id(&self) -> String {
        format!("ad-break-{}-{}", self.id, self.start.0)
    }

    fn write_out(&self, text: &mut String) {
        let duration = Millis(self.duration_ms);
        let mut tag = Tag::new(text, "#EXT-X-DATERANGE").quoted("ID", self.tag_id());
        if self.asset_list.is_some() {
            tag = tag.quoted("CLASS", INTERSTITIAL);
        }
        tag = tag
            .quoted("START-DATE", self.start)
            .attribute("PLANNED-DURATION", duration)
            .attribute("SCTE35-OUT", scte35::out(&self.id, self.duration_ms))
            .quoted("X-AD-BREAK-ID", &self.id);
        if let Some(url) = &self.asset_list {
            // Without X-RESUME-OFFSET, the stream goes on where it is by then.
            tag = tag
                .quoted("X-ASSET-LIST", url)
                .attribute("X-PLAYOUT-LIMIT", duration)
                .quoted("X-RESTRICT", "SKIP,JUMP");
        }
        tag.end();
    }

    fn write_in(&self, text: &mut String) {
        Tag::new(text, "#EXT-X-DATERANGE")
            .quoted("ID", self.tag_id())
            .quoted("START-DATE", self.start)
            .attribute("DURATION", Millis(self.duration_ms))
            .attribute("SCTE35-IN", scte35::back(&self.id))
            .end();
    }
}

/// The lines of a listing's breaks that are not written yet, in order.
pub(super) struct BreakLines(Peekable<vec::IntoIter<(WallTime, String)>>);

impl BreakLines {
    /// The end of a break is told once it is listed.
    pub(super) fn new(listing: &Listing) -> Self {
        let until = listing.until();
        let mut lines = Vec::new();
        for ad_break in listing.ad_breaks.iter() {
            let mut out = String::new();
            ad_break.write_out(&mut out);
            lines.push((ad_break.start, out));
            if until.is_some_and(|until| ad_break.end() <= until) {
                let mut back = String::new();
                ad_break.write_in(&mut back);
                lines.push((ad_break.end(), back));
            }
        }
        lines.sort_by_key(|(at, _)| *at);
        Self(lines.into_iter().peekable())
    }

    /// Writes those of before the end of `segment`.
    pub(super) fn write_before(&mut self, text: &mut String, segment: &Segment) {
        let until = segment.until();
        while let Some((_, line)) = self.0.next_if(|(at, _)| *at < until) {
            text.push_str(&line);
        }
    }

    /// Writes those that are still to come.
    pub(super) fn write_rest(&mut self, text: &mut String) {
        self.0.by_ref().for_each(|(_, line)| text.push_str(&line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playlist::fixtures::{PART, START, push_parts, push_segment, window};
    use crate::playlist::{Config, Window};

    fn ad_break(start_ms: i64, duration_ms: u32) -> AdBreak {
        AdBreak {
            id: "123456789".to_owned(),
            start: START.plus_millis(start_ms),
            duration_ms,
            asset_list: None,
        }
    }

    /// The lines of breaks and of segments, dates of segments without their day.
    fn lines(window: &Window) -> Vec<String> {
        let text = window.snapshot().playlist(false, false);
        let text = String::from_utf8(text.to_vec()).unwrap();
        let is_shown = |line: &&str| {
            let is_segment = line.split('.').nth(1) == Some("m4s");
            is_segment || line.starts_with("#EXT-X-DATERANGE") || line.starts_with("#EXT-X-PRE")
        };
        text.lines().filter(is_shown).map(str::to_owned).collect()
    }

    #[test]
    fn a_break_stands_before_its_segments_and_its_end_where_that_is_listed() {
        // The fifth segment is there up to 8.333 s, later the seventh; the break ends in the sixth.
        let mut window = window(&Config::default(), 7, 4, 1);
        window.add_break(ad_break(8_100, 2_000));
        insta::assert_snapshot!(lines(&window).join("\n"), @r#"
        7.m4s
        8.m4s
        9.m4s
        10.m4s
        #EXT-X-DATERANGE:ID="ad-break-123456789-1790848808100",START-DATE="2026-10-01T10:00:08.100Z",PLANNED-DURATION=2.0,SCTE35-OUT=0xFC302000000000000000FFF00F050376E6E77FFFFE0002BF200000000000008F0432BC,X-AD-BREAK-ID="123456789"
        #EXT-X-PRELOAD-HINT:TYPE=PART,URI="11.1.m4s"
        #EXT-X-PREFETCH:11.m4s
        #EXT-X-PREFETCH:12.m4s
        "#);
        let at = push_parts(&mut window, 8 * 90_000 + PART, &[PART; 5], true);
        let at = push_segment(&mut window, at, &[PART; 6]);
        insta::assert_snapshot!(lines(&window).join("\n"), @r#"
        7.m4s
        8.m4s
        9.m4s
        10.m4s
        #EXT-X-DATERANGE:ID="ad-break-123456789-1790848808100",START-DATE="2026-10-01T10:00:08.100Z",PLANNED-DURATION=2.0,SCTE35-OUT=0xFC302000000000000000FFF00F050376E6E77FFFFE0002BF200000000000008F0432BC,X-AD-BREAK-ID="123456789"
        11.m4s
        12.m4s
        #EXT-X-DATERANGE:ID="ad-break-123456789-1790848808100",START-DATE="2026-10-01T10:00:08.100Z",DURATION=2.0,SCTE35-IN=0xFC301B00000000000000FFF00A050376E6E77F5F0000000000008AC31589
        13.m4s
        #EXT-X-PRELOAD-HINT:TYPE=PART,URI="14.0.m4s"
        #EXT-X-PREFETCH:14.m4s
        #EXT-X-PREFETCH:15.m4s
        "#);
        push_segment(&mut window, at, &[PART; 6]);
    }

    #[test]
    fn a_break_to_come_is_listed_in_all_forms() {
        let config = Config {
            is_low_latency: false,
            ..Config::default()
        };
        let mut window = window(&config, 7, 2, 1);
        let mut later = ad_break(60_000, 30_500);
        later.asset_list = Some("https://ads.example/?a=1&b=\"2".to_owned());
        window.add_break(later);
        let text = window.snapshot().playlist(false, false);
        let text = String::from_utf8(text.to_vec()).unwrap();
        insta::assert_snapshot!(text.split_once("8.m4s\n").unwrap().1, @r#"
        #EXT-X-DATERANGE:ID="ad-break-123456789-1790848860000",CLASS="com.apple.hls.interstitial",START-DATE="2026-10-01T10:01:00.000Z",PLANNED-DURATION=30.5,SCTE35-OUT=0xFC302000000000000000FFF00F050376E6E77FFFFE0029E2A80000000000008BB61C4F,X-AD-BREAK-ID="123456789",X-ASSET-LIST="https://ads.example/?a=1&b=2",X-PLAYOUT-LIMIT=30.5,X-RESTRICT="SKIP,JUMP"
        "#);
        let mirrored = window.snapshot().mirror_playlist(0..=8).unwrap();
        assert!(mirrored.contains("#EXT-X-DATERANGE"), "{mirrored}");
    }

    #[test]
    fn what_is_over_is_forgotten_with_its_last_segment() {
        let mut window = window(&Config::default(), 0, 6, 0);
        window.add_break(ad_break(20_000, 1_000));
        window.add_break(ad_break(12_000, 2_000));
        let count = |window: &Window| {
            let lines = lines(window);
            lines.iter().filter(|line| line.contains("-OUT=")).count()
        };
        let mut at = 12 * 90_000;
        let mut counts = Vec::new();
        for _ in 0..22 {
            counts.push(count(&window));
            at = push_segment(&mut window, at, &[PART; 6]);
        }
        // A window of 30 s: the break until 14 s leaves when 14 to 44 s are listed, that until 21 s with 22 to 52 s.
        let expected = [[2; 16].as_slice(), &[1; 4], &[0; 2]].concat();
        assert_eq!(counts, expected);
    }

    #[test]
    fn a_delta_update_tells_every_break() {
        let config = Config {
            window_seconds: 70,
            ..Config::default()
        };
        let mut window = window(&config, 0, 40, 0);
        window.add_break(ad_break(50_000, 2_000));
        let delta = window.snapshot().playlist(true, false);
        let delta = String::from_utf8(delta.to_vec()).unwrap();
        assert!(delta.contains("#EXT-X-SKIP"), "{delta}");
        assert_eq!(delta.matches("#EXT-X-DATERANGE").count(), 2, "{delta}");
    }
}
