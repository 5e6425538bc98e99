//! Which pages may play: lists of web origins.
//!
//! In:  a list as a token or a policy has it, and what a request's `Origin` says. Out: whether it is in the list.
//! An entry is an origin, `https://*.example.com` for whatever ends like that, or `*` for any. Pure.
//! Read: RFC 6454 §6.2 (how browsers write origins: lower case, no default port, no path).

/// Origins that are let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins(Vec<Entry>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Any,
    Exact(String),
    /// What stands before the star, with the scheme's `//`, and what stands behind it.
    Ending(String, String),
}

impl Origins {
    /// The origins of such entries; none of them: nobody is let in.
    pub fn new<'a>(entries: impl IntoIterator<Item = &'a str>) -> Self {
        let entries = entries
            .into_iter()
            .map(str::trim)
            .filter(|entry| !entry.is_empty());
        Self(entries.map(Entry::parse).collect())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody is let in.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether they are no restriction.
    pub fn is_any(&self) -> bool {
        self.0.contains(&Entry::Any)
    }

    /// Whether `origin` is one of them.
    pub fn allow(&self, origin: &str) -> bool {
        self.0.iter().any(|entry| entry.allows(origin))
    }
}

impl Entry {
    fn parse(text: &str) -> Self {
        let text = text.strip_suffix('/').unwrap_or(text).to_ascii_lowercase();
        if text == "*" {
            return Self::Any;
        }
        match text.split_once("://*") {
            Some((scheme, ending)) => Self::Ending(format!("{scheme}://"), ending.to_owned()),
            None => Self::Exact(text),
        }
    }

    fn allows(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => exact.eq_ignore_ascii_case(origin),
            Self::Ending(beginning, ending) => {
                let split = origin.split_at_checked(beginning.len());
                let host = split.filter(|(own, _)| own.eq_ignore_ascii_case(beginning));
                let split = host.and_then(|(_, host)| {
                    host.split_at_checked(host.len().checked_sub(ending.len())?)
                });
                split.is_some_and(|(name, own)| {
                    own.eq_ignore_ascii_case(ending) && is_of_a_host(name)
                })
            }
        }
    }
}

/// Whether a star may stand for it: at least one character, and nothing that ends a host's name.
fn is_of_a_host(text: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    !text.is_empty() && text.bytes().all(is_allowed)
}

/// Whether a request that says `origin` is let in. One that says none is not sent by a page: it is let in, unless all
/// must say where they come from.
pub fn is_let_in(allowed: Option<&Origins>, is_strict: bool, origin: Option<&str>) -> bool {
    match origin {
        None => !is_strict,
        Some(origin) => allowed.is_none_or(|allowed| allowed.allow(origin)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_stands_for_itself_or_for_what_ends_like_it() {
        for (list, origin, is_allowed) in [
            ("https://example.com", "https://example.com", true),
            ("https://example.com/", "https://EXAMPLE.com", true),
            ("https://example.com", "http://example.com", false),
            ("https://example.com", "https://example.com:8443", false),
            ("https://example.com", "https://www.example.com", false),
            (
                "https://a.example, https://b.example",
                "https://b.example",
                true,
            ),
            (
                "https://a.example,,https://b.example",
                "https://c.example",
                false,
            ),
            ("https://*.example.com", "https://www.example.com", true),
            ("https://*.example.com", "https://a.b.example.com", true),
            ("https://*.example.com", "https://example.com", false),
            ("https://*.example.com", "https://.example.com", false),
            ("https://*.example.com", "http://www.example.com", false),
            (
                "https://*.example.com",
                "https://www.example.com.evil.test",
                false,
            ),
            (
                "https://*.example.com",
                "https://evil.test/.example.com",
                false,
            ),
            (
                "https://*.example.com",
                "https://evil.test#.example.com",
                false,
            ),
            (
                "https://*.example.com:8443",
                "https://www.example.com:8443",
                true,
            ),
            (
                "https://*.example.com:8443",
                "https://www.example.com",
                false,
            ),
            ("https://*.exämple.com", "https://ä", false),
            ("*", "https://anything.example", true),
            ("*", "null", true),
            ("https://a.example, *", "https://b.example", true),
            ("null", "null", true),
            ("https://example.com", "null", false),
            ("example.com", "https://example.com", false),
            ("", "https://example.com", false),
            ("https://example.com", "", false),
        ] {
            let origins = Origins::new(list.split(','));
            assert_eq!(origins.allow(origin), is_allowed, "{list} for {origin}");
        }
    }

    #[test]
    fn who_says_no_origin_is_no_page() {
        let list = Origins::new(["https://a.example"]);
        for (allowed, is_strict, origin, expected) in [
            (None, false, None, true),
            (None, true, None, false),
            (None, true, Some("https://b.example"), true),
            (Some(&list), false, None, true),
            (Some(&list), true, None, false),
            (Some(&list), false, Some("https://a.example"), true),
            (Some(&list), false, Some("https://b.example"), false),
        ] {
            assert_eq!(is_let_in(allowed, is_strict, origin), expected);
        }
    }
}
