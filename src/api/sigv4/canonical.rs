//! The canonical form of a request, which both sides hash.
//!
//! In:  a request's head as it came over the wire, which of its headers are signed, its body's hash.
//! Out: the canonical request as text. Pure.
//! The path is normalised and encoded once more, as all services but S3 have it.

use std::borrow::Cow;

use http::HeaderMap;
use percent_encoding::{
    AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode, utf8_percent_encode,
};

/// The query parameter that holds a presigned request's signature, and is not signed itself.
pub const SIGNATURE_PARAMETER: &str = "X-Amz-Signature";

/// All but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The head of a request, undecoded.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// For example `POST`.
    pub method: &'a str,
    /// As it came, percent signs and all.
    pub path: &'a str,
    /// What follows the question mark; empty without one.
    pub query: &'a str,
    /// Every header; `Host` also where HTTP/2 has an authority in its place.
    pub headers: &'a HeaderMap,
}

impl<'a> Head<'a> {
    /// Name and value of every query parameter, decoded; what is no UTF-8 is replaced.
    pub fn parameters(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> + use<'a> {
        let lossy = |text| percent_decode_str(text).decode_utf8_lossy();
        self.pairs()
            .map(move |(name, value)| (lossy(name), lossy(value)))
    }

    /// The same as they came.
    fn pairs(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let pairs = self.query.split('&').filter(|pair| !pair.is_empty());
        pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }

    /// The values of a header, spaces trimmed and joined as they are signed; none if it is missing or no text.
    pub fn header(&self, name: &str) -> Option<String> {
        let values = self.headers.get_all(name).iter();
        let mut texts = Vec::new();
        for value in values {
            let text = std::str::from_utf8(value.as_bytes()).ok()?;
            texts.push(text.split_whitespace().collect::<Vec<_>>().join(" "));
        }
        (!texts.is_empty()).then(|| texts.join(","))
    }
}

/// The canonical request; the name of a signed header that is missing otherwise.
pub fn canonical_request(
    head: &Head<'_>,
    signed_headers: &[String],
    payload_hash: &str,
) -> Result<String, String> {
    let mut lines = vec![
        head.method.to_owned(),
        canonical_path(head.path),
        canonical_query(head),
    ];
    for name in signed_headers {
        let value = head.header(name).ok_or_else(|| name.clone())?;
        lines.push(format!("{name}:{value}"));
    }
    lines.push(String::new());
    lines.push(signed_headers.join(";"));
    lines.push(payload_hash.to_owned());
    Ok(lines.join("\n"))
}

/// Dot segments and empty ones removed, everything reserved but the slash encoded (once more).
fn canonical_path(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    let encoded: Vec<_> = segments.iter().map(|segment| encode(segment)).collect();
    let end = if path.ends_with('/') && !encoded.is_empty() {
        "/"
    } else {
        ""
    };
    format!("/{}{end}", encoded.join("/"))
}

/// Sorted by encoded name, then by encoded value.
fn canonical_query(head: &Head<'_>) -> String {
    let pairs = head.pairs();
    let pairs = pairs.map(|(name, value)| (encode_anew(name), encode_anew(value)));
    let mut pairs: Vec<_> = pairs
        .filter(|(name, _)| name != SIGNATURE_PARAMETER)
        .collect();
    pairs.sort_unstable();
    let pairs: Vec<_> = pairs.iter().map(|(n, v)| format!("{n}={v}")).collect();
    pairs.join("&")
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// What is encoded somehow, encoded as it is signed; the bytes need not be text.
fn encode_anew(text: &str) -> String {
    let bytes: Cow<'_, [u8]> = percent_decode_str(text).into();
    percent_encode(&bytes, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_told_apart() {
        let headers = HeaderMap::new();
        let query = |query| {
            canonical_query(&Head {
                method: "GET",
                path: "/",
                query,
                headers: &headers,
            })
        };
        assert_eq!(query("a=%fe"), "a=%FE");
        assert_eq!(query("a=%FF&%C3%A9=+"), "%C3%A9=%2B&a=%FF");
    }

    #[test]
    fn the_form_of_a_request_of_the_aws_command_line() {
        let mut headers = HeaderMap::new();
        headers.insert("host", "127.0.0.1:8080".parse().unwrap());
        headers.insert("x-amz-date", "  20261126T000000Z ".parse().unwrap());
        headers.append("my-header", "a   b".parse().unwrap());
        headers.append("my-header", "c".parse().unwrap());
        let head = Head {
            method: "DELETE",
            path: "/tags/arn%3Aaws%3Aivs%3Aus-east-1%3A1%3Achannel%2FabcdABCDefgh",
            query: "tagKeys=b%20c&tagKeys=a&X-Amz-Signature=00&empty",
            headers: &headers,
        };
        let signed = ["host", "my-header", "x-amz-date"].map(str::to_owned);
        let expected = "DELETE\n\
             /tags/arn%253Aaws%253Aivs%253Aus-east-1%253A1%253Achannel%252FabcdABCDefgh\n\
             empty=&tagKeys=a&tagKeys=b%20c\n\
             host:127.0.0.1:8080\nmy-header:a b,c\nx-amz-date:20261126T000000Z\n\n\
             host;my-header;x-amz-date\nHASH";
        assert_eq!(canonical_request(&head, &signed, "HASH").unwrap(), expected);
        let missing = canonical_request(&head, &["x-else".to_owned()], "HASH");
        assert_eq!(missing, Err("x-else".to_owned()));
    }

    #[test]
    fn paths_are_normalised() {
        for (path, expected) in [
            ("", "/"),
            ("/", "/"),
            ("//", "/"),
            ("/a/../b/./c//", "/b/c/"),
            ("/../a", "/a"),
            ("/a b~", "/a%20b~"),
        ] {
            assert_eq!(canonical_path(path), expected, "{path}");
        }
    }
}
