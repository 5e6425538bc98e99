//! Which URI named what: a URI that names something else later is one that caches answer wrongly (rule 47).
//!
//! In:  resources as they are listed and as their bytes come. Out: whether a name is used again, and for other bytes.
//! Not here: the judgement. Bounded: so many names, the oldest are forgotten.

use std::collections::{BTreeMap, VecDeque};

use super::Resource;

/// Names remembered.
const MAX_NAMES: usize = 4_000;

/// The names of one rendition's parts and segments.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: BTreeMap<Resource, Name>,
    in_order: VecDeque<Resource>,
}

#[derive(Debug)]
struct Name {
    msn: u64,
    digest: Option<u64>,
    /// The segment that it belonged to before, and what it named then.
    before: Option<(u64, u64)>,
}

impl Names {
    /// Something of segment `msn` is listed under this name; whether the name was another segment's before.
    pub(super) fn list(&mut self, resource: &Resource, msn: u64) -> bool {
        if let Some(name) = self.known.get_mut(resource) {
            let is_reused = name.msn != msn;
            if is_reused {
                name.before = name.digest.take().map(|digest| (name.msn, digest));
                name.msn = msn;
            }
            return is_reused;
        }
        let (digest, before) = (None, None);
        let name = Name {
            msn,
            digest,
            before,
        };
        self.known.insert(resource.clone(), name);
        self.in_order.push_back(resource.clone());
        if self.in_order.len() > MAX_NAMES
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.known.remove(&oldest);
        }
        false
    }

    /// The bytes of a listed name came. If they are others than those of an earlier segment: both segments.
    pub(super) fn fill(&mut self, resource: &Resource, digest: u64) -> Option<(u64, u64)> {
        let name = self.known.get_mut(resource)?;
        name.digest = Some(digest);
        let (msn, before) = name.before?;
        (before != digest).then_some((msn, name.msn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(n: usize) -> Resource {
        let url = format!("http://127.0.0.1/{n}").parse().unwrap();
        Resource { url, range: None }
    }

    #[test]
    fn a_name_with_other_bytes_for_another_segment_is_seen() {
        let mut names = Names::default();
        let one = resource(1);
        assert!(!names.list(&one, 7));
        assert!(!names.list(&one, 7), "a segment of one part");
        assert_eq!(names.fill(&one, 70), None);
        assert!(names.list(&one, 9));
        assert_eq!(names.fill(&one, 70), None, "a slate in a loop");
        assert!(names.list(&one, 11));
        assert_eq!(names.fill(&one, 71), Some((9, 11)));
        assert_eq!(names.fill(&resource(2), 1), None, "not listed");
    }

    #[test]
    fn names_are_bounded() {
        let mut names = Names::default();
        for n in 0..=MAX_NAMES {
            names.list(&resource(n), 1);
        }
        assert_eq!(names.known.len(), MAX_NAMES);
        assert!(!names.list(&resource(0), 2), "forgotten");
    }
}
