//! One source of settings, and the keys that exist.

use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};

use super::Config;

/// Settings from one place.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    /// The place, as messages name it.
    pub(super) origin: String,
    /// Section to key to value.
    pub(super) dict: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.clone())
    }

    fn data(&self) -> figment::error::Result<Map<Profile, Dict>> {
        Ok(Map::from([(Profile::Default, self.dict.clone())]))
    }
}

impl Layer {
    /// Every key with its default; what is not in it does not exist.
    pub(super) fn defaults() -> Self {
        let value = Value::serialize(Config::default())
            .expect("the configuration is structs of plain values");
        let dict = value
            .into_dict()
            .expect("a struct serializes into a dictionary");
        Self {
            origin: "the defaults".to_owned(),
            dict,
        }
    }

    /// The value of a dotted key.
    pub(super) fn value(&self, key: &str) -> Option<&Value> {
        let (section, rest) = key.split_once('.')?;
        self.dict.get(section)?.find_ref(rest)
    }

    /// Dotted keys of all values.
    pub(super) fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        collect_keys("", &self.dict, &mut keys);
        keys
    }

    /// Whether `key` is one of these keys or a section of them.
    pub(super) fn knows(&self, key: &str) -> bool {
        let is_below = |known: &str| known.strip_prefix(key).is_some_and(|r| r.starts_with('.'));
        self.keys()
            .iter()
            .any(|known| known == key || is_below(known))
    }

    /// What a writer of `unknown` most likely meant: a section if it is one, else a key of the same
    /// name in another section, else the key of fewest edits.
    pub(super) fn nearest(&self, unknown: &str) -> String {
        let name = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
        let distance = |known: &String| {
            let is_elsewhere = name(known) == name(unknown);
            (!is_elsewhere, strsim::damerau_levenshtein(known, unknown))
        };
        let is_section = !unknown.contains('.');
        let known = if is_section {
            self.dict.keys().cloned().collect()
        } else {
            self.keys()
        };
        known.into_iter().min_by_key(distance).unwrap_or_default()
    }
}

fn collect_keys(prefix: &str, dict: &Dict, keys: &mut Vec<String>) {
    for (name, value) in dict {
        let key = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}.{name}")
        };
        match value.as_dict() {
            Some(section) if !section.is_empty() => collect_keys(&key, section, keys),
            _ => keys.push(key),
        }
    }
}
