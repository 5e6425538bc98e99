//! What a multivariant playlist says later than at first: a source that changes cannot be foreseen.
//!
//! In:  the playlist whenever it was loaded again. Out: what was said of a variant. Bounded.
//! Not here: when it is loaded (`check`), whether it is true (`together`).

use std::collections::HashMap;

use url::Url;

use super::check::tail;
use super::parse::{MultivariantPlaylist, Variant};

/// Most that is kept of one variant.
const MAX_KEPT: usize = 50;

/// What was said of the variants, by the end of their URIs: the rest may be new for each that asks.
#[derive(Default)]
pub(super) struct Later {
    /// How often it was asked for.
    pub(super) loads: usize,
    variants: HashMap<String, Vec<Variant>>,
}

impl Later {
    /// It was asked for; this came, from there.
    pub(super) fn add(&mut self, list: Option<(MultivariantPlaylist, Url)>) {
        self.loads += 1;
        let Some((list, base)) = list else { return };
        for variant in list.variants {
            let Ok(url) = base.join(&variant.uri) else {
                continue;
            };
            let known = self.variants.entry(tail(&url, 2)).or_default();
            if known.len() < MAX_KEPT && !known.iter().any(|known| says_the_same(known, &variant)) {
                known.push(variant);
            }
        }
    }

    /// What was said of the variant with this URL.
    pub(super) fn of(&self, url: &Url) -> &[Variant] {
        self.variants.get(&tail(url, 2)).map_or(&[], Vec::as_slice)
    }
}

/// Whether two say the same of their media.
fn says_the_same(one: &Variant, other: &Variant) -> bool {
    let said = |variant: &Variant| {
        (
            variant.resolution,
            variant.bandwidth_bps,
            variant.average_bps,
        )
    };
    said(one) == said(other) && one.codecs == other.codecs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_variant_again_is_kept_once_and_not_without_end() {
        let base = Url::parse("http://h/m.m3u8").unwrap();
        let says = |bps: usize| {
            let variant = Variant {
                uri: "a/i.m3u8".to_owned(),
                bandwidth_bps: u64::try_from(bps).ok(),
                ..Variant::default()
            };
            let list = MultivariantPlaylist {
                variants: vec![variant; 1_000],
                ..MultivariantPlaylist::default()
            };
            Some((list, base.clone()))
        };
        let mut later = Later::default();
        for bps in [1, 1, 2] {
            later.add(says(bps));
        }
        let url = base.join("a/i.m3u8").unwrap();
        assert_eq!(later.of(&url).len(), 2);
        for bps in 0..2 * MAX_KEPT {
            later.add(says(bps));
        }
        assert_eq!(later.of(&url).len(), MAX_KEPT);
        assert!(later.of(&base).is_empty());
    }
}
