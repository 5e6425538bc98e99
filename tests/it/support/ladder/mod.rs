//! A viewer of whole ladders: follows every rendition at once, then judges what it got. One grid for
//! all renditions (rules 10, 20, 22, 30, 51), playlists that tell the truth (52, 55), media that decodes.

mod grid;
mod media;
pub(crate) mod scene;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use futures_util::future::join_all;
use reqwest::{StatusCode, Url};

use super::eventually;
use super::viewer::{Watched, attribute, follow, get};

/// One entry of the multivariant playlist.
#[derive(Clone, Debug)]
pub(crate) struct Variant {
    /// For example `480p30`.
    pub(crate) name: String,
    pub(crate) url: Url,
    /// The EXT-X-STREAM-INF line.
    tag: String,
}

/// A variant and all that a viewer saw of it.
#[derive(Debug)]
pub(crate) struct Rendition {
    pub(crate) variant: Variant,
    pub(crate) watched: Watched,
}

/// All renditions of a stream, in the order of the multivariant playlist.
#[derive(Debug)]
pub(crate) struct Ladder {
    pub(crate) renditions: Vec<Rendition>,
}

impl Variant {
    /// An attribute that must be there.
    fn attribute(&self, name: &str) -> String {
        attribute(&self.tag, name).unwrap_or_else(|| panic!("{name} in {}", self.tag))
    }

    fn number(&self, name: &str) -> f64 {
        self.attribute(name).parse().unwrap()
    }

    /// Width and height; `None` for audio only.
    pub(crate) fn resolution(&self) -> Option<(u32, u32)> {
        let text = attribute(&self.tag, "RESOLUTION")?;
        let (width, height) = text.split_once('x').unwrap();
        Some((width.parse().unwrap(), height.parse().unwrap()))
    }

    /// AVERAGE-BANDWIDTH in bits per second.
    pub(crate) fn average_bps(&self) -> f64 {
        self.number("AVERAGE-BANDWIDTH")
    }

    /// CODECS.
    pub(crate) fn codecs(&self) -> String {
        self.attribute("CODECS")
    }

    /// FRAME-RATE, if the list knows it.
    pub(crate) fn frame_rate(&self) -> Option<f64> {
        attribute(&self.tag, "FRAME-RATE").map(|rate| rate.parse().unwrap())
    }
}

/// The variants of a channel, once it is playable.
pub(crate) async fn variants(playback_url: &str) -> Vec<Variant> {
    let answer = eventually(30, "live channel", || async {
        let answer = get(playback_url).await;
        (answer.status() != StatusCode::NOT_FOUND).then_some(answer)
    })
    .await;
    assert_eq!(answer.status(), StatusCode::OK, "{playback_url}");
    parse(
        &Url::parse(playback_url).unwrap(),
        &answer.text().await.unwrap(),
    )
}

fn parse(base: &Url, multivariant: &str) -> Vec<Variant> {
    let mut found = Vec::new();
    let mut tag = String::new();
    for line in multivariant.lines() {
        if line.starts_with("#EXT-X-STREAM-INF:") {
            line.clone_into(&mut tag);
        } else if !line.is_empty() && !line.starts_with('#') {
            let url = base.join(line).unwrap();
            let folder = url
                .path_segments()
                .unwrap()
                .rev()
                .nth(1)
                .unwrap()
                .to_owned();
            let name = attribute(&tag, "IVS-NAME").or_else(|| attribute(&tag, "VIDEO"));
            let tag = std::mem::take(&mut tag);
            assert!(
                !tag.is_empty(),
                "a URI without EXT-X-STREAM-INF: {multivariant}"
            );
            let name = name.unwrap_or(folder);
            found.push(Variant { name, url, tag });
        }
    }
    let names: BTreeSet<_> = found.iter().map(|variant| &variant.name).collect();
    assert_eq!(
        names.len(),
        found.len(),
        "two variants of one name: {multivariant}"
    );
    found
}

/// Follows every rendition of a channel until `stop` says so of the first one, or until ENDLIST.
pub(crate) async fn watch_until(playback_url: &str, stop: impl Fn(&Watched) -> bool) -> Ladder {
    let variants = variants(playback_url).await;
    let views = variants.iter().map(|variant| follow(&variant.url, &stop));
    let watched = join_all(views).await;
    let pairs = std::iter::zip(variants, watched);
    let renditions = pairs.map(|(variant, watched)| Rendition { variant, watched });
    Ladder {
        renditions: renditions.collect(),
    }
}

/// Follows every rendition of a channel to its end.
pub(crate) async fn watch(playback_url: &str) -> Ladder {
    watch_until(playback_url, |_| false).await
}

impl Ladder {
    /// Names, in order.
    pub(crate) fn names(&self) -> Vec<&str> {
        let names = self
            .renditions
            .iter()
            .map(|rendition| rendition.variant.name.as_str());
        names.collect()
    }

    pub(crate) fn rendition(&self, name: &str) -> &Rendition {
        let found = self
            .renditions
            .iter()
            .find(|rendition| rendition.variant.name == name);
        found.unwrap_or_else(|| panic!("{name} is not among {:?}", self.names()))
    }

    /// No rendition has a gap.
    pub(crate) fn check_whole(&self) {
        for Rendition { variant, watched } in &self.renditions {
            let gaps = watched
                .parts
                .values()
                .filter(|(part, _)| part.is_gap)
                .count();
            assert_eq!(gaps, 0, "{}: parts are gaps", variant.name);
        }
    }

    /// All renditions show one grid: what one cuts, all cut.
    pub(crate) fn check_grid(&self) {
        let (first, others) = self.renditions.split_first().unwrap();
        for rendition in &self.renditions {
            rendition.check_itself();
            rendition.check_reports(self);
        }
        for other in others {
            other.check_numbers(first);
            other.check_times(first);
        }
    }

    /// All renditions have the same numbers, durations, dates and discontinuities; that is what is
    /// left of the grid where some renditions are late.
    pub(crate) fn check_numbers(&self) {
        let (first, others) = self.renditions.split_first().unwrap();
        for rendition in &self.renditions {
            rendition.check_itself();
        }
        for other in others {
            other.check_numbers(first);
        }
    }

    /// What the multivariant playlist says of each rendition is true of its bytes.
    pub(crate) fn check_declared(&self) {
        for rendition in &self.renditions {
            rendition.check_rates();
            rendition.check_tracks();
        }
    }
}
