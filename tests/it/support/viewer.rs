//! A low-latency viewer: follows a channel by blocking reload, fetches every part as it appears,
//! checks what every answer must hold, and keeps the bytes for a decoder to judge.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::{Client, Response, StatusCode, Url};

/// The shared HTTP client.
pub(crate) fn client() -> &'static Client {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        // An error means that another test installed it already.
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        Client::builder()
            .timeout(Duration::from_secs(30))
            .build()
            .unwrap()
    })
}

/// `GET url`.
pub(crate) async fn get(url: impl AsRef<str>) -> Response {
    client().get(url.as_ref()).send().await.unwrap()
}

/// `GET url`, which must succeed; the body as text.
pub(crate) async fn text(url: impl AsRef<str>) -> String {
    let answer = get(url.as_ref()).await;
    assert_eq!(answer.status(), StatusCode::OK, "{}", url.as_ref());
    answer.text().await.unwrap()
}

/// Where the media playlist of the passed-through source lies, or of the first variant if there is
/// none, once the channel is playable.
pub(crate) async fn media_playlist_url(playback_url: &str) -> Url {
    let answer = super::eventually(30, "live channel", || async {
        let answer = get(playback_url).await;
        (answer.status() != StatusCode::NOT_FOUND).then_some(answer)
    })
    .await;
    assert_eq!(answer.status(), StatusCode::OK);
    let multivariant = answer.text().await.unwrap();
    let children = multivariant
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let source = children.clone().find(|uri| uri.contains("/source/"));
    let child = source.or_else(|| children.clone().next());
    Url::parse(playback_url)
        .unwrap()
        .join(child.unwrap())
        .unwrap()
}

/// One line of a media playlist that matters to a viewer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ListedPart {
    pub(crate) msn: u64,
    pub(crate) part: u32,
    pub(crate) duration: f64,
    pub(crate) is_independent: bool,
    /// Nothing is there to fetch.
    pub(crate) is_gap: bool,
    pub(crate) uri: String,
}

/// An EXT-X-RENDITION-REPORT: how far another media playlist is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Report {
    pub(crate) uri: String,
    /// MSN and index of its last part.
    pub(crate) last: (u64, u32),
}

/// A media playlist as a viewer reads it.
#[derive(Clone, Debug, Default)]
pub(crate) struct MediaPlaylist {
    pub(crate) first_msn: u64,
    pub(crate) parts: Vec<ListedPart>,
    /// MSN, EXTINF, URI.
    pub(crate) segments: Vec<(u64, f64, String)>,
    /// (MSN it precedes, URI).
    pub(crate) maps: Vec<(u64, String)>,
    /// MSNs that a DISCONTINUITY precedes.
    pub(crate) discontinuities: Vec<u64>,
    /// EXT-X-DISCONTINUITY-SEQUENCE: of the first segment.
    pub(crate) discontinuity_sequence: u64,
    /// (MSN, date): EXT-X-PROGRAM-DATE-TIME.
    pub(crate) dates: Vec<(u64, String)>,
    /// MSNs of segments that EXT-X-GAP marks.
    pub(crate) gaps: Vec<u64>,
    pub(crate) reports: Vec<Report>,
    pub(crate) hint: Option<String>,
    pub(crate) is_ended: bool,
}

impl Report {
    fn parse(line: &str) -> Self {
        let number = |name| attribute(line, name).unwrap().parse().unwrap();
        Self {
            uri: attribute(line, "URI").unwrap(),
            last: (
                number("LAST-MSN"),
                u32::try_from(number("LAST-PART")).unwrap(),
            ),
        }
    }
}

impl ListedPart {
    fn parse(line: &str, (msn, part): (u64, u32)) -> Self {
        let is = |name| attribute(line, name).as_deref() == Some("YES");
        Self {
            msn,
            part,
            duration: attribute(line, "DURATION").unwrap().parse().unwrap(),
            is_independent: is("INDEPENDENT"),
            is_gap: is("GAP"),
            uri: attribute(line, "URI").unwrap(),
        }
    }
}

impl MediaPlaylist {
    /// Reads a full (not a delta) playlist.
    pub(crate) fn parse(text: &str) -> Self {
        let mut list = Self::default();
        let (mut msn, mut part, mut extinf) = (0, 0, 0.0);
        for line in text.lines() {
            if let Some(value) = line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:") {
                msn = value.parse().unwrap();
                list.first_msn = msn;
            } else if line.starts_with("#EXT-X-MAP:") {
                list.maps.push((msn, attribute(line, "URI").unwrap()));
            } else if line == "#EXT-X-DISCONTINUITY" {
                list.discontinuities.push(msn);
            } else if let Some(value) = line.strip_prefix("#EXT-X-DISCONTINUITY-SEQUENCE:") {
                list.discontinuity_sequence = value.parse().unwrap();
            } else if let Some(value) = line.strip_prefix("#EXT-X-PROGRAM-DATE-TIME:") {
                list.dates.push((msn, value.to_owned()));
            } else if line == "#EXT-X-GAP" {
                list.gaps.push(msn);
            } else if line.starts_with("#EXT-X-RENDITION-REPORT:") {
                list.reports.push(Report::parse(line));
            } else if line.starts_with("#EXT-X-PART:") {
                list.parts.push(ListedPart::parse(line, (msn, part)));
                part += 1;
            } else if line.starts_with("#EXT-X-PRELOAD-HINT:TYPE=PART") {
                list.hint = attribute(line, "URI");
            } else if let Some(value) = line.strip_prefix("#EXTINF:") {
                extinf = value.split(',').next().unwrap().parse().unwrap();
            } else if line == "#EXT-X-ENDLIST" {
                list.is_ended = true;
            } else if !line.is_empty() && !line.starts_with('#') {
                list.segments.push((msn, extinf, line.to_owned()));
                msn += 1;
                part = 0;
            }
        }
        list
    }

    /// MSN and part index that a viewer asks for next.
    pub(crate) fn next(&self) -> (u64, u32) {
        let open = self
            .segments
            .last()
            .map_or(self.first_msn, |(msn, ..)| msn + 1);
        let parts = self.parts.iter().filter(|part| part.msn == open).count();
        (open, u32::try_from(parts).unwrap())
    }
}

/// The value of an attribute in a tag line, quotes removed.
pub(crate) fn attribute(line: &str, name: &str) -> Option<String> {
    let (_, attributes) = line.split_once(':')?;
    let at = attributes
        .match_indices(name)
        .find(|(at, _)| {
            let before = attributes.as_bytes().get(at.wrapping_sub(1));
            before.is_none_or(|b| *b == b',') && attributes[at + name.len()..].starts_with('=')
        })?
        .0;
    let value = &attributes[at + name.len() + 1..];
    Some(match value.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?.to_owned(),
        None => value.split(',').next()?.to_owned(),
    })
}

/// Everything a viewer saw of one media playlist until its end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watched {
    pub(crate) last: MediaPlaylist,
    /// Every part listed, in order, with its bytes.
    pub(crate) parts: BTreeMap<(u64, u32), (ListedPart, Vec<u8>)>,
    /// EXTINF by MSN.
    pub(crate) segments: BTreeMap<u64, f64>,
    /// Initialization section by the MSN from which it holds.
    pub(crate) inits: BTreeMap<u64, Vec<u8>>,
    pub(crate) discontinuities: Vec<u64>,
    /// Discontinuity sequence number by MSN.
    pub(crate) discontinuity_sequences: BTreeMap<u64, u64>,
    /// PROGRAM-DATE-TIME by MSN.
    pub(crate) dates: BTreeMap<u64, String>,
    /// Segments that are gaps.
    pub(crate) gaps: Vec<u64>,
    /// Every report seen, behind this playlist's own last part then.
    pub(crate) reports: Vec<((u64, u32), Vec<Report>)>,
}

/// Follows a media playlist by blocking reload until `stop` says so or ENDLIST.
pub(crate) async fn follow(url: &Url, mut stop: impl FnMut(&Watched) -> bool) -> Watched {
    let mut watched = Watched::default();
    let mut target = url.clone();
    loop {
        let answer = get(target.as_str()).await;
        assert_eq!(answer.status(), StatusCode::OK, "{target}");
        watched
            .take(url, MediaPlaylist::parse(&answer.text().await.unwrap()))
            .await;
        if watched.last.is_ended || stop(&watched) {
            return watched;
        }
        let (msn, part) = watched.last.next();
        target.set_query(Some(&format!("_HLS_msn={msn}&_HLS_part={part}")));
    }
}

/// Follows until ENDLIST.
pub(crate) async fn follow_to_end(url: &Url) -> Watched {
    follow(url, |_| false).await
}

impl Watched {
    async fn take(&mut self, url: &Url, list: MediaPlaylist) {
        for (msn, uri) in &list.maps {
            if !self.inits.contains_key(msn) && *msn >= list.first_msn {
                self.inits.insert(*msn, bytes(url, uri).await);
            }
        }
        for part in &list.parts {
            let key = (part.msn, part.part);
            if let Some((seen, _)) = self.parts.get(&key) {
                assert_eq!(seen, part, "a listed part changed (rule 3)");
                continue;
            }
            if part.is_gap {
                self.parts.insert(key, (part.clone(), Vec::new()));
                continue;
            }
            let body = bytes(url, &part.uri).await;
            let is_fragment = matches!(body.get(4..8), Some(b"moof" | b"emsg"));
            assert!(is_fragment, "a part starts with moof or emsg (rule 26)");
            self.parts.insert(key, (part.clone(), body));
        }
        for (msn, extinf, uri) in &list.segments {
            let is_new = self.segments.insert(*msn, *extinf).is_none();
            if is_new && list.gaps.contains(msn) {
                self.gaps.push(*msn);
            } else if is_new {
                let whole = bytes(url, uri).await;
                // One that ran past a slow viewer is no longer listed in parts.
                let has_parts = list.parts.iter().any(|part| part.msn == *msn);
                assert!(
                    !has_parts || whole == self.parts_of(*msn),
                    "segment {msn} is its parts (rule 24)"
                );
            }
        }
        for msn in &list.discontinuities {
            if !self.discontinuities.contains(msn) {
                self.discontinuities.push(*msn);
            }
        }
        self.take_numbers(&list);
        self.last = list;
    }

    /// What names times and places; none of it may change once listed (rule 3).
    fn take_numbers(&mut self, list: &MediaPlaylist) {
        let mut sequence = list.discontinuity_sequence;
        let last_part = list.parts.last().map(|part| part.msn);
        let last = list.segments.last().map(|(msn, ..)| *msn).max(last_part);
        for msn in list.first_msn..=last.unwrap_or(0) {
            sequence += u64::from(list.discontinuities.contains(&msn));
            let seen = *self.discontinuity_sequences.entry(msn).or_insert(sequence);
            assert_eq!(
                seen, sequence,
                "the discontinuity sequence of {msn} changed"
            );
        }
        for (msn, date) in &list.dates {
            let seen = self.dates.entry(*msn).or_insert_with(|| date.clone());
            assert_eq!(seen, date, "the date of {msn} changed");
        }
        if let Some(last) = list.parts.last() {
            self.reports
                .push(((last.msn, last.part), list.reports.clone()));
        }
    }

    fn parts_of(&self, msn: u64) -> Vec<u8> {
        let parts = self.parts.range((msn, 0)..(msn + 1, 0));
        parts
            .flat_map(|(_, (_, bytes))| bytes.iter().copied())
            .collect()
    }

    /// Writes each stretch between discontinuities as a file of its own: what a decoder sees.
    pub(crate) fn write(&self, folder: &Path) -> Vec<PathBuf> {
        let mut files: Vec<(PathBuf, Vec<u8>)> = Vec::new();
        for ((msn, part), (_, bytes)) in &self.parts {
            let starts = *part == 0 && self.discontinuities.contains(msn);
            if files.is_empty() || starts {
                let path = folder.join(format!("{msn}.mp4"));
                let init = self.inits.range(..=*msn).next_back().unwrap().1;
                files.push((path, init.clone()));
            }
            files.last_mut().unwrap().1.extend_from_slice(bytes);
        }
        for (path, bytes) in &files {
            std::fs::write(path, bytes).unwrap();
        }
        files.into_iter().map(|(path, _)| path).collect()
    }
}

async fn bytes(base: &Url, uri: &str) -> Vec<u8> {
    let url = base.join(uri).unwrap();
    let answer = get(url.as_str()).await;
    assert_eq!(answer.status(), StatusCode::OK, "{url}");
    let declared = answer.content_length();
    let body = answer.bytes().await.unwrap();
    assert_eq!(
        declared,
        Some(body.len() as u64),
        "Content-Length on every part (rule 49)"
    );
    body.to_vec()
}
