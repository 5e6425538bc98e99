//! Tags: what an operator writes on a resource.
//!
//! In:  tags to set, or keys to remove. Out: the tags afterwards, or why not.
//! Standard: at most 50 a resource; keys that begin with `aws:` are Amazon's own.

use std::collections::BTreeMap;

/// Most tags of a resource.
pub const MAX_TAGS: usize = 50;

/// By key.
pub type Tags = BTreeMap<String, String>;

/// What is to be done to a resource's tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagChange {
    /// These are added, or replace those of the same key.
    Set(Tags),
    /// Those of these keys go, where there are any.
    Remove(Vec<String>),
}

impl TagChange {
    /// The tags afterwards.
    pub fn apply(&self, mut tags: Tags) -> Result<Tags, Invalid> {
        match self {
            Self::Set(set) => {
                check(set)?;
                tags.extend(set.clone());
            }
            Self::Remove(keys) => tags.retain(|key, _| !keys.contains(key)),
        }
        (tags.len() <= MAX_TAGS)
            .then_some(tags)
            .ok_or(Invalid::TooMany)
    }
}

/// Refuses tags that are not for an operator to set.
pub fn check(tags: &Tags) -> Result<(), Invalid> {
    let is_reserved = |key: &String| key.get(..4).is_some_and(|s| s.eq_ignore_ascii_case("aws:"));
    match tags.keys().find(|key| is_reserved(key)) {
        Some(key) => Err(Invalid::Reserved(key.clone())),
        None => Ok(()),
    }
}

/// Tags that may not be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// More than [`MAX_TAGS`].
    #[error("a resource has at most {MAX_TAGS} tags")]
    TooMany,
    /// One of Amazon's own.
    #[error("the tag key {0} begins with aws:, which is reserved")]
    Reserved(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(keys: impl IntoIterator<Item = usize>) -> Tags {
        keys.into_iter()
            .map(|n| (format!("k{n}"), "v".to_owned()))
            .collect()
    }

    #[test]
    fn fifty_may_be_and_none_of_amazons() {
        let full = TagChange::Set(tags(0..25)).apply(tags(25..50)).unwrap();
        assert_eq!(full.len(), MAX_TAGS);
        assert_eq!(
            TagChange::Set(tags(0..50)).apply(full.clone()),
            Ok(full.clone())
        );
        assert_eq!(
            TagChange::Set(tags(50..51)).apply(full.clone()),
            Err(Invalid::TooMany)
        );
        let reserved = Tags::from([("AWS:x".to_owned(), String::new())]);
        assert!(TagChange::Set(reserved).apply(Tags::new()).is_err());
        let removed = TagChange::Remove(vec!["k0".to_owned(), "none".to_owned()]).apply(full);
        assert_eq!(removed, Ok(tags(1..50)));
    }
}
