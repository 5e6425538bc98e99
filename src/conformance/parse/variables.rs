//! EXT-X-DEFINE: values are put in for variables before a playlist is read (RFC 8216bis §4.3 and §4.4.2.3).
//!
//! In:  a playlist's text, where it came from, the variables of its multivariant playlist. Out: the text with values
//! for references, line for line, and what is wrong with them.
//! Not here: what the lines mean. Bounded: so many variables, so long values, and text of so many bytes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use url::Url;

use super::Flaws;
use super::values::Attributes;

/// Most variables of a playlist.
const MAX_VARIABLES: usize = 1_000;
/// Most bytes of a value: values may refer to values before them.
const MAX_VALUE: usize = 8 * 1024;
/// Most bytes of a playlist with all values.
const MAX_TEXT: usize = 8 * 1024 * 1024;
/// How a reference begins; `}` ends it.
const REFERENCE: &str = "{$";

/// Values by name.
pub type Variables = BTreeMap<String, String>;

/// What a playlist may take values from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings<'a> {
    /// Where the playlist came from, redirects followed.
    pub url: Option<&'a Url>,
    /// The variables of the multivariant playlist that names it.
    pub imports: Option<&'a Variables>,
}

/// A playlist's text with values for variables.
#[derive(Debug)]
pub(super) struct Substituted<'a> {
    pub(super) text: Cow<'a, str>,
    pub(super) variables: Variables,
    /// Whether values come out of the query.
    pub(super) has_query_parameters: bool,
    /// Whether a bound was reached.
    pub(super) is_cut: bool,
}

/// Whether a URI has a reference for which there was no value.
pub fn has_reference(uri: &str) -> bool {
    uri.contains(REFERENCE)
}

/// Puts values in.
pub(super) fn substitute<'a>(
    text: &'a str,
    surroundings: Surroundings<'_>,
    flaws: &mut Flaws,
) -> Substituted<'a> {
    let mut substituted = Substituted {
        text: Cow::Borrowed(text),
        variables: Variables::new(),
        has_query_parameters: false,
        is_cut: false,
    };
    if !text.contains(DEFINE) && !has_reference(text) {
        return substituted;
    }
    let mut out = String::with_capacity(text.len());
    for (number, line) in (1..).zip(text.split('\n')) {
        if number > 1 {
            out.push('\n');
        }
        if let Some(value) = line.strip_prefix(DEFINE) {
            substituted.define(value.trim_end_matches('\r'), number, surroundings, flaws);
            out.push_str(line);
        } else if line.starts_with("#EXTINF") || !has_reference(line) {
            out.push_str(line);
        } else {
            let is_tag = line.starts_with('#');
            let is_comment = is_tag && !line.starts_with("#EXT");
            if is_comment {
                out.push_str(line);
            } else {
                substituted.put_in(line, is_tag, (number, MAX_TEXT), &mut out, flaws);
            }
        }
        if out.len() > MAX_TEXT {
            substituted.is_cut = true;
            break;
        }
    }
    substituted.text = Cow::Owned(out);
    substituted
}

const DEFINE: &str = "#EXT-X-DEFINE:";

impl Substituted<'_> {
    fn define(
        &mut self,
        value: &str,
        line: usize,
        surroundings: Surroundings<'_>,
        flaws: &mut Flaws,
    ) {
        let attributes = flaws.attributes(line, value);
        let kinds = ["NAME", "QUERYPARAM", "IMPORT"];
        let mut kinds = kinds.into_iter().filter_map(|kind| {
            let name = attributes.quoted(kind)?;
            Some((kind, name))
        });
        let (Some((kind, name)), None) = (kinds.next(), kinds.next()) else {
            flaws.must(1, "define-malformed", line, || {
                "EXT-X-DEFINE has not one of NAME, QUERYPARAM and IMPORT".to_owned()
            });
            return;
        };
        if name.is_empty() || !name.bytes().all(is_name) {
            let text = || format!("`{name}` is no name of a variable");
            return flaws.must(1, "define-malformed", line, text);
        }
        if self.variables.contains_key(name) {
            let text = || format!("the variable {name} is defined twice");
            return flaws.must(1, "variable-redefined", line, text);
        }
        let value = match kind {
            "NAME" => self.value(&attributes, line, flaws),
            "QUERYPARAM" => {
                self.has_query_parameters = true;
                let value = query_parameter(surroundings.url, name);
                if value.is_none() {
                    let text = || format!("the playlist's URL has no usable parameter {name}");
                    flaws.must(1, "query-parameter-missing", line, text);
                }
                value
            }
            _ => {
                let value = surroundings.imports.and_then(|imports| imports.get(name));
                if value.is_none() {
                    let text = || format!("no multivariant playlist defines {name}");
                    flaws.must(1, "import-undefined", line, text);
                }
                value.cloned()
            }
        };
        let Some(value) = value else { return };
        if value.len() > MAX_VALUE || self.variables.len() >= MAX_VARIABLES {
            self.is_cut = true;
            return;
        }
        self.variables.insert(name.to_owned(), value);
    }

    /// VALUE, which may refer to what is defined before it.
    fn value(
        &mut self,
        attributes: &Attributes<'_>,
        line: usize,
        flaws: &mut Flaws,
    ) -> Option<String> {
        let text = flaws.required(attributes.quoted("VALUE"), line, "EXT-X-DEFINE's VALUE")?;
        let mut value = String::new();
        self.put_in(text, false, (line, MAX_VALUE), &mut value, flaws);
        Some(value)
    }

    /// Appends `text` with values for its references. In a tag they stand in quoted strings, or are a whole value.
    fn put_in(
        &mut self,
        text: &str,
        is_tag: bool,
        (line, most): (usize, usize),
        out: &mut String,
        flaws: &mut Flaws,
    ) {
        let mut rest = text;
        let mut is_quoted = false;
        while let Some((before, reference)) = rest.split_once(REFERENCE) {
            out.push_str(before);
            is_quoted ^= before.bytes().filter(|byte| *byte == b'"').count() % 2 == 1;
            let is_place = !is_tag || is_quoted || before.ends_with('=');
            let length = reference.bytes().take_while(|byte| is_name(*byte)).count();
            let (name, behind) = reference.split_at(length);
            let behind = behind.strip_prefix('}').filter(|_| is_place && length > 0);
            let Some(behind) = behind else {
                out.push_str(REFERENCE);
                rest = reference;
                continue;
            };
            match self.variables.get(name) {
                Some(value) if out.len().saturating_add(value.len()) > most => {
                    self.is_cut = true;
                    return;
                }
                Some(value) => out.push_str(value),
                None => {
                    let text = || {
                        format!("{REFERENCE}{name}}} refers to nothing that is defined before it")
                    };
                    flaws.must(1, "undefined-variable", line, text);
                    out.extend([REFERENCE, name, "}"]);
                }
            }
            rest = behind;
        }
        out.push_str(rest);
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// A parameter's decoded value; none that would end a quoted string or a line.
fn query_parameter(url: Option<&Url>, name: &str) -> Option<String> {
    let mut pairs = url?.query_pairs();
    let (_, value) = pairs.find(|(key, _)| key == name)?;
    let is_usable = !value.contains(|c: char| c == '"' || c.is_control());
    is_usable.then(|| value.into_owned())
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn substituted(text: &str) -> (String, Vec<&'static str>, bool) {
        let url = Url::parse("http://127.0.0.1/a.m3u8?token=a%2Fb&bad=%22").unwrap();
        let imports = Variables::from([("host".to_owned(), "cdn".to_owned())]);
        let surroundings = Surroundings {
            url: Some(&url),
            imports: Some(&imports),
        };
        let mut flaws = Flaws::default();
        let found = substitute(text, surroundings, &mut flaws);
        let kinds = flaws.0.iter().map(|flaw| flaw.rule.kind).collect();
        (found.text.into_owned(), kinds, found.is_cut)
    }

    #[test]
    fn values_stand_where_they_are_referred_to() {
        let head = "#EXT-X-DEFINE:NAME=\"a\",VALUE=\"x\"\n#EXT-X-DEFINE:NAME=\"b-2\",VALUE=\"{$a}y\"\n\
            #EXT-X-DEFINE:IMPORT=\"host\"\r\n#EXT-X-DEFINE:QUERYPARAM=\"token\"\n";
        for (line, expected) in [
            ("{$a}/1.m4s?{$token}", "x/1.m4s?a/b"),
            (
                "#EXT-X-MAP:URI=\"{$b-2}{$host}\",A={$a},B=1{$a}",
                "#EXT-X-MAP:URI=\"xycdn\",A=x,B=1{$a}",
            ),
            ("#EXTINF:2,{$a}", "#EXTINF:2,{$a}"),
            ("# {$a}", "# {$a}"),
            ("{${$a}{$}{$a", "{$x{$}{$a"),
        ] {
            let (text, flaws, is_cut) = substituted(&format!("{head}{line}"));
            assert_eq!(text, format!("{head}{expected}"));
            assert_eq!((flaws, is_cut), (vec![], false), "{line}");
        }
    }

    #[test]
    fn what_is_wrong_with_variables_is_said() {
        let define = |attributes: &str| format!("#EXT-X-DEFINE:{attributes}\n");
        let one = define("NAME=\"a\",VALUE=\"x\"");
        for (text, kind) in [
            ("{$a}\n".to_owned() + &one, "undefined-variable"),
            (one.repeat(2), "variable-redefined"),
            (define("NAME=\"a\""), "required-value"),
            (define("NAME=\"a b\",VALUE=\"x\""), "define-malformed"),
            (define("VALUE=\"x\""), "define-malformed"),
            (
                define("NAME=\"a\",IMPORT=\"host\",VALUE=\"\""),
                "define-malformed",
            ),
            (define("IMPORT=\"a\""), "import-undefined"),
            (define("QUERYPARAM=\"a\""), "query-parameter-missing"),
            (define("QUERYPARAM=\"bad\""), "query-parameter-missing"),
        ] {
            assert_eq!(substituted(&text).1, [kind], "{text}");
        }
    }

    #[test]
    fn values_that_grow_are_bounded() {
        let mut text = format!("#EXT-X-DEFINE:NAME=\"v0\",VALUE=\"{}\"\n", "x".repeat(100));
        for n in 1..40 {
            let before = format!("{{$v{}}}", n - 1).repeat(2);
            writeln!(text, "#EXT-X-DEFINE:NAME=\"v{n}\",VALUE=\"{before}\"").unwrap();
        }
        text += &"{$v6}".repeat(4_000);
        let (text, _, is_cut) = substituted(&text);
        assert!(
            is_cut && text.len() <= MAX_TEXT + MAX_VALUE,
            "{}",
            text.len()
        );
        let many = |n| format!("#EXT-X-DEFINE:NAME=\"v{n}\",VALUE=\"\"\n");
        let (_, flaws, is_cut) = substituted(&(0..=MAX_VARIABLES).map(many).collect::<String>());
        assert_eq!((flaws, is_cut), (vec![], true));
    }
}
