//! May this viewer watch? What each request pays for it: on a public channel, on private and strict ones, and for
//! sessions that nobody began; beside what the start of playback pays for its token. At most 2 µs a request are allowed.
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on has failed"
)]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use criterion::{Criterion, criterion_group, criterion_main};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::json;

use weir::base::clock::{Clock as _, SystemClock, WallTime};
use weir::db::connect::Location;
use weir::db::seal::Sealer;
use weir::db::{self, Access, Db};
use weir::model::channel::Settings;
use weir::model::playback::PlaybackKeyPair;
use weir::model::repository::{
    ChannelRepository as _, DocumentRepository as _, NO_LIMIT, Revocation,
    RevocationRepository as _,
};
use weir::model::{Channel, Document, Scope, StreamKey, Tags};
use weir::origin::protection::{Protection, Sources, Visitor};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const PAGE: Option<&str> = Some("https://www.example.com");
const PRIVATE_CHANNELS: usize = 200;
const REVOCATIONS: usize = 1_000;
const P384_HEAD: [u8; 23] = [
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b,
    0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00,
];

/// Private channels, a key, revocations, all loaded from a database; one of the channels, and a token for it.
async fn stage(folder: &std::path::Path) -> (Arc<Protection>, String, String) {
    let location: Location = format!("sqlite:{}", folder.join("weir.db").display())
        .parse()
        .unwrap();
    let db = Db::connect(&location, Access::Create, 1).await.unwrap();
    db.migrate().await.unwrap();
    let repository = db::Repository::new(db, Sealer::new(SECRET));
    let scope = Scope::new("us-east-1", "000000000000").unwrap();
    let (random, algorithm) = (SystemRandom::new(), &ECDSA_P384_SHA384_FIXED_SIGNING);
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap();
    let der = STANDARD.encode([&P384_HEAD[..], pair.public_key().as_ref()].concat());
    let key = PlaybackKeyPair {
        name: String::new(),
        public_key_material: format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----"),
        fingerprint: String::new(),
    };
    let key = Document::create(&key, Tags::new(), "", WallTime(0));
    repository.create_document(&key, NO_LIMIT).await.unwrap();
    let settings = Settings {
        is_authorized: Some(true),
        ..Settings::default()
    };
    let mut channels = Vec::new();
    for _ in 0..PRIVATE_CHANNELS {
        let channel = Channel::create(&settings, WallTime(0)).unwrap();
        let key = StreamKey::create(&channel.id, "us-east-1", WallTime(0));
        repository
            .create_channel(&channel, &key, NO_LIMIT)
            .await
            .unwrap();
        channels.push(channel);
    }
    let channel = channels.swap_remove(0);
    for n in 0..REVOCATIONS {
        let revocation = Revocation {
            channel_id: channel.id.clone(),
            viewer_id: n.to_string(),
            version: 0,
            at: WallTime(1),
        };
        repository.revoke(&revocation).await.unwrap();
    }
    let claims = json!({
        "aws:channel-arn": scope.channel_arn(&channel.id).to_string(),
        "exp": SystemClock.now().0 / 1000 + 600,
        "aws:viewer-id": "ann",
        "aws:access-control-allow-origin": "https://*.example.com",
        "aws:strict-origin-enforcement": true,
    });
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let signed = format!(
        "{}.{}",
        encode(r#"{"alg":"ES384"}"#),
        encode(&claims.to_string())
    );
    let signature = pair.sign(&random, signed.as_bytes()).unwrap();
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
    let sources = Sources {
        repository: Arc::new(repository),
        countries: None,
        clock: Arc::new(SystemClock),
    };
    let protection = Protection::open(scope, SECRET, sources).await.unwrap();
    (protection, channel.id.to_string(), token)
}

fn check(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (protection, channel, token) = runtime.block_on(stage(folder.path()));
    let visitor = Visitor {
        token: Some(&token),
        origin: PAGE,
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    let mut group = c.benchmark_group("playback_check");
    group.bench_function("start_with_token", |b| {
        b.iter(|| {
            protection
                .admit_visitor(&channel, black_box(&visitor))
                .unwrap()
        });
    });
    let ticket = protection
        .admit_visitor(&channel, &visitor)
        .unwrap()
        .unwrap();
    let strict = protection.begin(&channel, &ticket).unwrap();
    let mut anywhere = ticket;
    anywhere.session.origin = None;
    let private = protection.begin(&channel, &anywhere).unwrap();
    let made_up = "A".repeat(private.len());
    for (name, channel, session, is_let_in) in [
        ("public", "abcdABCDefgh", "aaaaaaaaaaaaaaaa", true),
        ("private", &channel, &private, true),
        ("private_strict_origin", &channel, &strict, true),
        ("private_made_up_session", &channel, &made_up, false),
    ] {
        let admit = || protection.admit(channel, black_box(session), PAGE);
        assert_eq!(admit().is_ok(), is_let_in, "{name}");
        group.bench_function(name, |b| b.iter(admit));
    }
    group.finish();
}

criterion_group!(benches, check);
criterion_main!(benches);
