//! Playback tokens and viewer sessions: whatever stands in the query or the path of a playback URL.
//!
//! Input: a JWT, or header and claims as JSON in two lines, which are signed then; or a viewer session. Nothing may
//! panic, an unsigned text is never good, and what is good keeps the promises of its claims.

#![no_main]

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use weir::base::clock::WallTime;
use weir::origin::playback_token::{PlaybackToken, VerifyingKey};
use weir::origin::viewer_session::Sealer;

const CHANNEL: &str = "arn:aws:ivs:us-east-1:000000000000:channel/abcdABCDefgh";
const NOW_S: u64 = 1_790_848_800;

static PAIR: LazyLock<EcdsaKeyPair> = LazyLock::new(|| {
    let (random, algorithm) = (SystemRandom::new(), &ECDSA_P384_SHA384_FIXED_SIGNING);
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap()
});

fuzz_target!(|data: &[u8]| {
    let key = VerifyingKey::new(PAIR.public_key().as_ref().to_vec());
    let verify = |token: &str| {
        let now = WallTime(1000 * NOW_S as i64);
        PlaybackToken::verify(token, std::slice::from_ref(&key), CHANNEL, now)
    };
    if let Ok(text) = std::str::from_utf8(data) {
        assert!(verify(text).is_err(), "nobody signed it");
        assert!(Sealer::new("secret").open("abcdABCDefgh", text).is_none(), "nobody sealed it");
    }
    let Some(end) = data.iter().position(|byte| *byte == b'\n') else {
        return;
    };
    let encode = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
    let signed = format!("{}.{}", encode(&data[..end]), encode(&data[end + 1..]));
    let signature = PAIR.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    let token = format!("{signed}.{}", encode(signature.as_ref()));
    if let Ok(good) = verify(&token) {
        assert!(good.expires_s > NOW_S);
        let is_remembered = good.single_use.is_some() || good.viewer.is_some();
        assert!(!is_remembered || good.expires_s <= NOW_S + 630);
        assert!(good.viewer.is_none_or(|name| (1..=40).contains(&name.chars().count())));
        if let Some(origins) = good.origins {
            assert!(!good.is_strict || origins.len() <= 5);
            origins.allow("https://www.example.com");
        }
    }
});
