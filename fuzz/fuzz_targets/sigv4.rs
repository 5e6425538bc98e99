//! Signatures: whatever stands in the head of a request to the API.
//!
//! Input: two requests as text, a zero byte between them. The first is signed with a secret, and its signature takes the
//! place of [`UNSIGNED`] in both. Nothing may panic, what nobody signed is never good, what was signed is, and another
//! request with that signature is good only if it means the same.

#![no_main]

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use libfuzzer_sys::fuzz_target;
use percent_encoding::percent_decode_str;
use ring::{digest, hmac};
use weir::api::sigv4::canonical::Head;
use weir::api::sigv4::verify::{Claim, Refusal};
use weir::base::clock::WallTime;
use weir::model::access_key::{AccessKey, Role};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const UNSIGNED: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const NOW: WallTime = WallTime(1_767_225_600_000);

/// A request as the server has it.
struct Request {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Request {
    /// `POST /path?query`, lines of headers, an empty line, the body.
    fn parse(text: &str) -> Option<Self> {
        let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
        let mut lines = head.split('\n');
        let (method, uri) = lines.next()?.split_once(' ')?;
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ")?;
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            Some((name, HeaderValue::from_bytes(value.as_bytes()).ok()?))
        });
        let mut request = Self {
            method: method.parse().ok()?,
            uri: uri.parse().ok()?,
            headers: HeaderMap::new(),
            body: body.into(),
        };
        for header in headers {
            let (name, value) = header?;
            request.headers.append(name, value);
        }
        Some(request)
    }

    fn head(&self) -> Head<'_> {
        Head {
            method: self.method.as_str(),
            path: self.uri.path(),
            query: self.uri.query().unwrap_or_default(),
            headers: &self.headers,
        }
    }

    fn verify(&self) -> Result<Claim, Refusal> {
        let claim = Claim::read(&self.head())?;
        claim.check_time(NOW)?;
        claim.check_session(&AccessKey::create(Role::Admin, "", None, NOW), NOW)?;
        claim.check_signature(&self.head(), &self.body, SECRET)?;
        Ok(claim)
    }

    fn canonical(&self) -> Option<String> {
        let claim = Claim::read(&self.head()).ok()?;
        claim.canonical_request(&self.head(), &self.body).ok()
    }

    /// The signature, made of what the request says of itself; none if it does not say enough.
    fn signature(&self) -> Option<String> {
        let canonical = self.canonical()?;
        let parameters: BTreeMap<_, _> = self.head().parameters().collect();
        let authorization = self.head().header("authorization");
        let (scope, date) = match &authorization {
            Some(text) => {
                let (_, rest) = text.rsplit_once("Credential=")?;
                (rest.split(',').next()?, self.head().header("x-amz-date")?)
            }
            None => {
                let date = parameters.get("X-Amz-Date")?.to_string();
                (&**parameters.get("X-Amz-Credential")?, date)
            }
        };
        let scope: Vec<&str> = scope.rsplitn(5, '/').take(4).collect();
        let sign = |key: &[u8], text: &str| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, key);
            hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
        };
        let first = format!("AWS4{SECRET}").into_bytes();
        let key = scope.iter().rev().fold(first, |key, part| sign(&key, part));
        let scope: Vec<&str> = scope.into_iter().rev().collect();
        let hash = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let lines = ["AWS4-HMAC-SHA256", &date, &scope.join("/"), &hash];
        Some(hex(&sign(&key, &lines.join("\n"))))
    }

    /// What it asks for, in the parts that its signature covers.
    fn meaning(&self) -> impl PartialEq + std::fmt::Debug + use<> {
        let mut path: Vec<String> = Vec::new();
        for segment in self.uri.path().split('/') {
            match segment {
                ".." => drop(path.pop()),
                "" | "." => {}
                other => path.push(other.to_owned()),
            }
        }
        let decode = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
        let pairs = self.uri.query().unwrap_or_default().split('&');
        let pairs = pairs.filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        let mut pairs: Vec<_> = pairs.filter(|(name, _)| name != b"X-Amz-Signature").collect();
        pairs.sort_unstable();
        let canonical = self.canonical().unwrap_or_default();
        let signed = canonical.lines().rev().nth(1).unwrap_or_default();
        let values = |name: &str| {
            let text = |value: &HeaderValue| String::from_utf8(value.as_bytes().to_vec());
            let values: Vec<_> = self.headers.get_all(name).iter().map(text).collect();
            let values: Result<Vec<_>, _> = values.into_iter().collect();
            let values = values.unwrap_or_default().join(",");
            // Spaces around a comma may be of either side of it.
            let words: Vec<String> = values.split(',').map(squeezed).collect();
            (name.to_owned(), words)
        };
        let headers: Vec<_> = signed.split(';').map(values).collect();
        let method = self.method.clone();
        (method, path, pairs, headers, self.body.clone())
    }
}

fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (first, second) = text.split_once('\0').unwrap_or((text, ""));
    for text in [first, second] {
        if let Some(request) = Request::parse(text) {
            assert!(request.verify().is_err(), "nobody signed it");
        }
    }
    let Some(unsigned) = Request::parse(first) else {
        return;
    };
    let Some(signature) = unsigned.signature() else {
        return;
    };
    let Some(signed) = Request::parse(&first.replace(UNSIGNED, &signature)) else {
        return;
    };
    // The signature may have been put where it is signed itself, and where there are two credentials this may sign with the other.
    let is_whole = first.matches(UNSIGNED).count() == 1
        && first.matches("Credential").count() == 1
        && Claim::read(&signed.head()) != Claim::read(&unsigned.head())
        && signed.canonical() == unsigned.canonical();
    let is_of_now = Claim::read(&signed.head()).is_ok_and(|claim| claim.check_time(NOW).is_ok());
    if is_whole && is_of_now && !first.to_lowercase().contains("security-token") {
        assert!(signed.verify().is_ok(), "it was signed");
    }
    let Some(other) = Request::parse(&second.replace(UNSIGNED, &signature)) else {
        return;
    };
    if other.verify().is_ok() {
        assert_eq!(other.meaning(), unsigned.meaning(), "it was not signed");
    }
});
