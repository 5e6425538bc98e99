//! Who sent this request, and is it unchanged? What each call of the IVS API pays for its signature, by the size of its
//! body; a forged one pays the same.
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on has failed"
)]

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue};
use ring::{digest, hmac};

use weir::api::sigv4::canonical::Head;
use weir::api::sigv4::verify::{Claim, Refusal};
use weir::base::clock::WallTime;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const SCOPE: &str = "20260101/us-east-1/ivs/aws4_request";
const DATE: &str = "20260101T000000Z";
const NOW: WallTime = WallTime(1_767_225_600_000);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// The headers of a call as the SDK for Python sends them.
fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "live.example.org"),
        ("content-type", "application/json"),
        ("user-agent", "Boto3/1.44.5 md/Botocore#1.44.5 ua/2.1"),
        ("accept-encoding", "identity"),
        (
            "amz-sdk-invocation-id",
            "0c6c4d3f-8a8d-4a2f-9d36-5d1f7a3c2b11",
        ),
        ("amz-sdk-request", "attempt=1"),
        ("x-amz-date", DATE),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
}

fn head(headers: &HeaderMap) -> Head<'_> {
    Head {
        method: "POST",
        path: "/GetChannel",
        query: "",
        headers,
    }
}

/// Headers with a signature of `body`.
fn signed(body: &[u8]) -> HeaderMap {
    let mut headers = headers();
    let unsigned = "0".repeat(64);
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/{SCOPE}, \
         SignedHeaders=content-type;host;x-amz-date, Signature={unsigned}"
    );
    headers.insert("authorization", authorization.parse().unwrap());
    let claim = Claim::read(&head(&headers)).unwrap();
    let canonical = claim.canonical_request(&head(&headers), body).unwrap();
    let hash = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let sign = |key: &[u8], text: &str| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
    };
    let first = format!("AWS4{SECRET}").into_bytes();
    let key = SCOPE.split('/').fold(first, |key, part| sign(&key, part));
    let to_sign = format!("AWS4-HMAC-SHA256\n{DATE}\n{SCOPE}\n{hash}");
    let signature = hex(&sign(&key, &to_sign));
    let authorization = authorization.replace(&unsigned, &signature);
    headers.insert("authorization", authorization.parse().unwrap());
    headers
}

fn verify(headers: &HeaderMap, body: &[u8], secret: &str) -> Result<(), Refusal> {
    let head = head(headers);
    let claim = Claim::read(&head)?;
    claim.check_time(NOW)?;
    claim.check_signature(&head, body, secret)
}

fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("sigv4");
    for size in [100, 10_000, 1_000_000] {
        let body = vec![b'a'; size];
        let headers = signed(&body);
        group.throughput(Throughput::Bytes(size as u64));
        for (name, secret, is_good) in [("good", SECRET, true), ("forged", "secret", false)] {
            let run = || verify(black_box(&headers), black_box(&body), secret).is_ok();
            assert_eq!(run(), is_good, "{name}");
            group.bench_function(BenchmarkId::new(name, size), |b| b.iter(run));
        }
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
