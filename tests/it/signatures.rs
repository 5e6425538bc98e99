//! Signatures of botocore's own signer, on a thousand generated requests: each verifies, in the canonical form that
//! botocore gives it, and none does once a signed part of it is changed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use weir::api::sigv4::canonical::Head;
use weir::api::sigv4::verify::{Claim, Refusal};
use weir::base::clock::WallTime;

use super::api::script;
use super::support::within;

/// A request as botocore signed it.
struct Signed {
    method: String,
    path: String,
    query: String,
    headers: HeaderMap,
    body: Vec<u8>,
    secret: String,
    at: WallTime,
    canonical: String,
}

impl Signed {
    fn read(line: &str) -> Self {
        let json: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| json[name].as_str().unwrap().to_owned();
        let headers = json["headers"].as_array().unwrap().iter().map(|pair| {
            let part = |n: usize| pair[n].as_str().unwrap();
            let name = HeaderName::from_bytes(part(0).as_bytes()).unwrap();
            (name, HeaderValue::from_str(part(1)).unwrap())
        });
        Self {
            method: text("method"),
            path: text("path"),
            query: text("query"),
            headers: headers.collect(),
            body: STANDARD.decode(text("body")).unwrap(),
            secret: text("secret"),
            at: WallTime(json["at"].as_i64().unwrap()),
            canonical: text("canonical"),
        }
    }

    fn head(&self) -> Head<'_> {
        Head {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: &self.headers,
        }
    }

    fn verify(&self, now: WallTime) -> Result<(), Refusal> {
        let head = self.head();
        let claim = Claim::read(&head)?;
        claim.check_time(now)?;
        claim.check_signature(&head, &self.body, &self.secret)
    }
}

type Change = fn(&mut Signed);

/// Changes one signed part at a time; the name of the part.
fn changes() -> Vec<(&'static str, Change)> {
    vec![
        ("method", |s| "PUT".clone_into(&mut s.method)),
        ("path", |s| s.path.push('x')),
        ("a parameter more", |s| {
            s.query = format!(
                "{}{}x=1",
                s.query,
                if s.query.is_empty() { "" } else { "&" }
            );
        }),
        ("host", |s| {
            s.headers
                .insert("host", HeaderValue::from_static("evil.example"));
        }),
        ("body", |s| s.body.push(b' ')),
        ("secret", |s| s.secret.push('x')),
        ("a signed header", |s| {
            let name = ["x-test-0", "x-amz-date", "host"]
                .into_iter()
                .find(|n| s.headers.contains_key(*n));
            s.headers
                .insert(name.unwrap(), HeaderValue::from_static("20200101T000000Z"));
        }),
        ("a signed header less", |s| {
            s.headers.remove("host");
        }),
    ]
}

#[tokio::test]
async fn a_thousand_requests_of_botocore_verify_and_none_that_was_changed() {
    let output = script("sign.py").arg("1000").output();
    let output = within(60, "signed requests", output).await.unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let lines = String::from_utf8(output.stdout).unwrap();
    let mut presigned = 0;
    for line in lines.lines() {
        let signed = Signed::read(line);
        presigned += usize::from(!signed.headers.contains_key("authorization"));
        let claim = Claim::read(&signed.head()).unwrap();
        let canonical = claim.canonical_request(&signed.head(), &signed.body);
        assert_eq!(canonical.as_deref(), Ok(&*signed.canonical), "{line}");
        assert_eq!(signed.verify(signed.at), Ok(()), "{line}");
        for late_ms in [-16 * 60_000, 8 * 86_400_000] {
            assert!(
                signed.verify(signed.at.plus_millis(late_ms)).is_err(),
                "{line}"
            );
        }
        for (part, change) in changes() {
            let mut changed = Signed::read(line);
            change(&mut changed);
            assert!(changed.verify(signed.at).is_err(), "{part}: {line}");
        }
    }
    assert_eq!(lines.lines().count(), 1000);
    assert!((200..400).contains(&presigned), "{presigned}");
}
