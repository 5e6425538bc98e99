//! Numbers, dates and attribute lists as §4.2 of RFC 8216bis spells them.
//!
//! In:  text of a tag's value. Out: integers (times in microseconds), attributes; none for what is malformed.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use chrono::{DateTime, NaiveDateTime};

/// Most attributes read of one tag.
const MAX_ATTRIBUTES: usize = 100;

/// Decimal seconds in microseconds; digits behind the sixth are dropped.
pub(super) fn micros(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 10 || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let micros = whole.parse::<u64>().ok()?.checked_mul(1_000_000)?;
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(6);
    let fraction = digits.fold(0u64, |sum, digit| {
        sum.saturating_mul(10)
            .saturating_add(u64::from(digit.saturating_sub(b'0')))
    });
    micros.checked_add(fraction)
}

/// A decimal integer without sign.
pub(super) fn integer(text: &str) -> Option<u64> {
    let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_digits.then(|| text.parse().ok()).flatten()
}

/// An ISO 8601 date with time, in microseconds since the Unix epoch; a zone should be there, and is UTC if not.
pub(super) fn date_us(text: &str) -> Option<i64> {
    let date = DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"));
    let utc = || NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f");
    let date = date.ok().map(|date| date.to_utc());
    let date = date.or_else(|| utc().ok().map(|date| date.and_utc()));
    date.map(|date| date.timestamp_micros())
}

/// `WIDTHxHEIGHT`.
pub(super) fn resolution(text: &str) -> Option<(u64, u64)> {
    let (width, height) = text.split_once('x')?;
    Some((integer(width)?, integer(height)?))
}

/// A tag's attributes, in order.
#[derive(Debug, Default)]
pub(super) struct Attributes<'a>(Vec<Attribute<'a>>);

#[derive(Debug)]
struct Attribute<'a> {
    name: &'a str,
    value: &'a str,
    is_quoted: bool,
}

impl<'a> Attributes<'a> {
    /// Reads as far as it can be understood; `complain` is told what is malformed.
    pub(super) fn parse(text: &'a str, complain: &mut dyn FnMut(String)) -> Self {
        let mut attributes = Self::default();
        let mut rest = text;
        while !rest.is_empty() {
            let Some((attribute, behind)) = split_attribute(rest) else {
                complain(format!("malformed attribute list at `{rest}`"));
                break;
            };
            let is_name =
                |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-';
            if attribute.name.is_empty() || !attribute.name.bytes().all(is_name) {
                complain(format!("malformed attribute name `{}`", attribute.name));
            }
            if attributes.find(attribute.name).is_some() {
                complain(format!("attribute {} appears twice", attribute.name));
            }
            attributes.0.push(attribute);
            if attributes.0.len() >= MAX_ATTRIBUTES {
                complain(format!("more than {MAX_ATTRIBUTES} attributes"));
                break;
            }
            rest = behind;
        }
        attributes
    }

    fn find(&self, name: &str) -> Option<&Attribute<'a>> {
        self.0.iter().find(|attribute| attribute.name == name)
    }

    /// A value that must be quoted.
    pub(super) fn quoted(&self, name: &str) -> Option<&'a str> {
        self.find(name)
            .filter(|found| found.is_quoted)
            .map(|found| found.value)
    }

    /// A value that must not be quoted.
    pub(super) fn plain(&self, name: &str) -> Option<&'a str> {
        self.find(name)
            .filter(|found| !found.is_quoted)
            .map(|found| found.value)
    }

    /// A value, quoted or not.
    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.find(name).map(|found| found.value)
    }

    /// Decimal seconds.
    pub(super) fn micros(&self, name: &str) -> Option<u64> {
        self.plain(name).and_then(micros)
    }

    /// A decimal integer.
    pub(super) fn integer(&self, name: &str) -> Option<u64> {
        self.plain(name).and_then(integer)
    }

    /// Whether it says `YES`.
    pub(super) fn is_yes(&self, name: &str) -> bool {
        self.plain(name) == Some("YES")
    }
}

/// The first attribute of a list that is not empty, and what follows its comma.
fn split_attribute(text: &str) -> Option<(Attribute<'_>, &str)> {
    let (name, value) = text.split_once('=')?;
    if let Some(quoted) = value.strip_prefix('"') {
        let (value, rest) = quoted.split_once('"')?;
        let rest = match rest.strip_prefix(',') {
            Some(rest) if !rest.is_empty() => rest,
            None if rest.is_empty() => rest,
            _ => return None,
        };
        let is_quoted = true;
        return Some((
            Attribute {
                name,
                value,
                is_quoted,
            },
            rest,
        ));
    }
    let (value, rest) = match value.split_once(',') {
        Some((_, "")) => return None,
        Some(split) => split,
        None => (value, ""),
    };
    let is_malformed = |c: char| c.is_whitespace() || c == '"';
    if value.is_empty() || value.contains(is_malformed) {
        return None;
    }
    let is_quoted = false;
    Some((
        Attribute {
            name,
            value,
            is_quoted,
        },
        rest,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        for (text, expected) in [
            ("0.33333", Some(333_330)),
            ("2", Some(2_000_000)),
            ("6.0", Some(6_000_000)),
            ("1.0000019", Some(1_000_001)),
            ("", None),
            (".5", None),
            ("-1", None),
            ("1e3", None),
            ("99999999999", None),
        ] {
            assert_eq!(micros(text), expected, "{text}");
        }
    }

    #[test]
    fn dates_with_any_zone() {
        let expected = Some(1_790_848_800_007_000);
        for text in [
            "2026-10-01T10:00:00.007Z",
            "2026-10-01T12:00:00.007+02:00",
            "2026-10-01T12:00:00.007+0200",
            "2026-10-01T10:00:00.007",
        ] {
            assert_eq!(date_us(text), expected, "{text}");
        }
        assert_eq!(date_us("2026-10-01"), None);
    }

    #[test]
    fn attribute_lists_are_taken_apart_or_complained_of() {
        let mut words = Vec::new();
        let list = Attributes::parse(r#"URI="a,b=c",GAP=YES,DURATION=0.5"#, &mut |w| {
            words.push(w);
        });
        assert_eq!(list.quoted("URI"), Some("a,b=c"));
        assert!(list.is_yes("GAP"));
        assert_eq!(list.micros("DURATION"), Some(500_000));
        assert_eq!(list.plain("URI"), None);
        assert!(words.is_empty(), "{words:?}");
        for malformed in [
            "A",
            "A=",
            "A=1,",
            r#"A="x"#,
            r#"A="x"B=1"#,
            "A=1,A=2",
            "a=1",
            "A= 1",
            r#"A="x","#,
        ] {
            let mut words = Vec::new();
            Attributes::parse(malformed, &mut |w| {
                words.push(w);
            });
            assert_eq!(words.len(), 1, "{malformed}: {words:?}");
        }
    }
}
