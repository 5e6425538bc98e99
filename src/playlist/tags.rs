//! How a tag and its attributes are written (§4.2), and how numbers become decimals.
//!
//! In:  integers. Out: text appended to a `String`. Not here: which tags there are.

use std::fmt::{self, Display, Write as _};

/// Appends `args`.
pub(super) fn put(out: &mut String, args: fmt::Arguments<'_>) {
    out.write_fmt(args)
        .expect("a String takes every write, and our Display implementations never fail");
}

/// The value of attribute `name` in an attribute list, without its quotes.
pub(super) fn attribute<'a>(list: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = list;
    loop {
        let (key, after) = rest.split_once('=')?;
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        if key == name {
            return Some(value);
        }
        rest = after.strip_prefix(',')?;
    }
}

/// A tag with an attribute list, written from left to right.
pub(super) struct Tag<'a> {
    out: &'a mut String,
    separator: char,
}

impl<'a> Tag<'a> {
    /// Begins the line of tag `name`, for example `#EXT-X-PART`.
    pub(super) fn new(out: &'a mut String, name: &str) -> Self {
        out.push_str(name);
        Self {
            out,
            separator: ':',
        }
    }

    /// `NAME=value`.
    pub(super) fn attribute(mut self, name: &str, value: impl Display) -> Self {
        put(self.out, format_args!("{}{name}={value}", self.separator));
        self.separator = ',';
        self
    }

    /// `NAME="value"`; characters that a quoted string cannot hold are left out.
    pub(super) fn quoted(self, name: &str, value: impl Display) -> Self {
        let out = self.attribute(name, '"').out;
        let start = out.len();
        put(out, format_args!("{value}"));
        let is_forbidden = |c: char| c == '"' || c.is_control();
        if out[start..].contains(is_forbidden) {
            let clean = out[start..].replace(is_forbidden, "");
            out.truncate(start);
            out.push_str(&clean);
        }
        out.push('"');
        Self {
            out,
            separator: ',',
        }
    }

    /// Ends the line.
    pub(super) fn end(self) {
        self.out.push('\n');
    }
}

/// Units of 10 microseconds, printed as seconds with five decimals. Never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds5(u64);

impl Seconds5 {
    /// `ticks` of 90 kHz rounded down: a part's duration never prints above its target.
    pub(super) fn floor(ticks: i64) -> Self {
        Self(u64::try_from(ticks).unwrap_or(0).saturating_mul(10) / 9)
    }

    /// `ticks` of 90 kHz rounded to the nearest.
    pub(super) fn nearest(ticks: i64) -> Self {
        let tenths = u64::try_from(ticks).unwrap_or(0).saturating_mul(10);
        Self(tenths.saturating_add(4) / 9)
    }

    /// What prints as `text`, which has five decimals.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (whole, decimals) = text.split_once('.')?;
        let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if decimals.len() != 5 || !is_digits(decimals) || !(1..=9).contains(&whole.len()) {
            return None;
        }
        let whole: u64 = whole.parse().ok().filter(|_| is_digits(whole))?;
        let decimals: u64 = decimals.parse().ok()?;
        Some(Self(whole * 100_000 + decimals))
    }

    /// The first tick that rounds to this; none does for one value in ten.
    pub(super) fn ticks(self) -> Option<i64> {
        // Ticks are the longer unit: nine of them are ten of these.
        let ticks = self.nearest_ticks();
        (Self::nearest(ticks) == self).then_some(ticks)
    }

    /// The tick nearest to this.
    pub(super) fn nearest_ticks(self) -> i64 {
        i64::try_from(self.0.saturating_mul(9).saturating_add(5) / 10).unwrap_or(i64::MAX)
    }

    /// This many milliseconds.
    pub fn of_millis(millis: u32) -> Self {
        Self(u64::from(millis) * 100)
    }

    /// Whole milliseconds.
    pub fn millis(self) -> u64 {
        self.0 / 100
    }

    /// As much later as `other` is long.
    pub(super) fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// From `earlier` to here.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }
}

impl Display for Seconds5 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:05}", self.0 / 100_000, self.0 % 100_000)
    }
}

/// Milliseconds, printed as seconds with one to three decimals: `0.334`, `6.0`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Millis(pub(super) u32);

impl Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1000, self.0 % 1000);
        match rest {
            _ if rest % 100 == 0 => write!(f, "{whole}.{}", rest / 100),
            _ if rest % 10 == 0 => write!(f, "{whole}.{:02}", rest / 10),
            _ => write!(f, "{whole}.{rest:03}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals() {
        let seconds = [(0, "0.00000"), (30_000, "0.33333"), (30_030, "0.33366")];
        for (ticks, text) in seconds {
            assert_eq!(Seconds5::floor(ticks).to_string(), text);
        }
        assert_eq!(Seconds5::nearest(30_030).to_string(), "0.33367");
        assert_eq!(Seconds5::nearest(180_180).to_string(), "2.00200");
        assert_eq!(Seconds5::floor(-1).to_string(), "0.00000");
        let millis = [
            (334, "0.334"),
            (6000, "6.0"),
            (1500, "1.5"),
            (1050, "1.05"),
            (7, "0.007"),
        ];
        for (value, text) in millis {
            assert_eq!(Millis(value).to_string(), text);
        }
    }

    #[test]
    fn attributes_are_read_back() {
        let list = r#"URI="a,B=2",B=1,C="",D=x"#;
        let cases = [
            ("URI", Some("a,B=2")),
            ("B", Some("1")),
            ("C", Some("")),
            ("D", Some("x")),
            ("E", None),
            ("RI", None),
        ];
        for (name, value) in cases {
            assert_eq!(attribute(list, name), value, "{name}");
        }
        for broken in ["", "B", "B=\"1", "A=\"1\"x,B=1", "A,B=1"] {
            assert_eq!(attribute(broken, "B"), None, "{broken}");
        }
    }

    #[test]
    fn decimals_are_read_back() {
        for ticks in 0..1000 {
            let seconds = Seconds5::nearest(ticks * 7_919);
            assert_eq!(Seconds5::parse(&seconds.to_string()), Some(seconds));
            assert_eq!(seconds.ticks(), Some(ticks * 7_919));
        }
        // Between the ticks.
        assert_eq!(Seconds5(5).ticks(), None);
        for text in [
            "", "2", "2.0", "2.000000", "-2.00000", "+2.00000", ".00000", "2.+0000",
        ] {
            assert_eq!(Seconds5::parse(text), None, "{text}");
        }
        assert_eq!(Seconds5::parse("1000000000.00000"), None);
    }

    #[test]
    fn a_quoted_string_cannot_break_out() {
        let mut out = String::new();
        Tag::new(&mut out, "#T")
            .quoted("NAME", "a\"\r\nb,c")
            .attribute("N", 1)
            .end();
        assert_eq!(out, "#T:NAME=\"ab,c\",N=1\n");
    }
}
