use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, KeyPair as _,
};
use serde_json::{Value, json};

use super::*;

const CHANNEL: &str = "arn:aws:ivs:us-east-1:000000000000:channel/abcdABCDefgh";
const NOW: WallTime = WallTime(1_790_848_800_500);
const NOW_S: u64 = 1_790_848_800;

/// Made with node's `crypto`, as the sample of Amazon IVS makes tokens: `exp` is in milliseconds.
const FOREIGN: &str = "eyJhbGciOiJFUzM4NCIsInR5cCI6IkpXVCJ9.eyJhd3M6Y2hhbm5lbC1hcm4iOiJhcm46YXdzOml2czp1cy1\
    lYXN0LTE6MDAwMDAwMDAwMDAwOmNoYW5uZWwvYWJjZEFCQ0RlZmdoIiwiYXdzOmFjY2Vzcy1jb250cm9sLWF\
    sbG93LW9yaWdpbiI6IioiLCJleHAiOjE3OTA4NDg4NjAwMDB9.7FPecJ4Jvq9ypaEfTMIv5EivQyiZTKRhbB\
    GQ-18y4y6GyqQkwYLApl_MAsSS9wjTXM-xSOBwHrvDTBIrFTNjtASbc5HRMEGtdpJ7mzFoW3_LXCsQdCPWvF\
    hKSLMyurKv";
const FOREIGN_KEY: &str = "BCPuQwm++QiHy0DbljtnQUOg827m0Z3aVraPgbTgRHltkkUelGm1PV3WbRo3aUSu4qw12zWLvQeVz7A7zJJb\
    jspjtQ8Ivk/OogIQMAgniPCPyBPn35dWTeda7pz0hVCoTw==";

struct Signer {
    pair: EcdsaKeyPair,
    key: VerifyingKey,
}

impl Signer {
    fn new() -> Self {
        Self::of(&ECDSA_P384_SHA384_FIXED_SIGNING)
    }

    fn of(algorithm: &'static EcdsaSigningAlgorithm) -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap();
        let key = VerifyingKey::new(pair.public_key().as_ref().to_vec());
        Self { pair, key }
    }

    fn sign(&self, header: &[u8], claims: &[u8]) -> String {
        let encode = |part| URL_SAFE_NO_PAD.encode(part);
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = self
            .pair
            .sign(&SystemRandom::new(), signed.as_bytes())
            .unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn token(&self, claims: &Value) -> String {
        self.sign(
            br#"{"alg":"ES384","typ":"JWT"}"#,
            claims.to_string().as_bytes(),
        )
    }

    fn verify(&self, token: &str) -> Result<PlaybackToken, Invalid> {
        PlaybackToken::verify(token, std::slice::from_ref(&self.key), CHANNEL, NOW)
    }
}

/// A minute's claims with `changes`; a change to null takes a claim away.
fn claims(changes: &Value) -> Value {
    let mut claims = json!({"aws:channel-arn": CHANNEL, "exp": NOW_S + 60});
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
        .as_object_mut()
        .unwrap()
        .retain(|_, value| !value.is_null());
    claims
}

fn plain() -> PlaybackToken {
    PlaybackToken {
        expires_s: NOW_S + 60,
        origins: None,
        is_strict: false,
        single_use: None,
        viewer: None,
        version: 0,
        maximum_resolution: None,
    }
}

#[test]
fn a_token_of_another_library_is_good() {
    let key = VerifyingKey::new(STANDARD.decode(FOREIGN_KEY).unwrap());
    let token = PlaybackToken::verify(FOREIGN, &[Signer::new().key, key], CHANNEL, NOW);
    let expected = PlaybackToken {
        expires_s: 1_790_848_860_000,
        origins: Some(Origins::new(["*"])),
        ..plain()
    };
    assert_eq!(token, Ok(expected));
}

const UUID: &str = "0a1b2c3d-4e5f-6071-8293-A4B5C6D7E8F9";
const SIX: &str = "https://1.example,https://2.example,https://3.example,https://4.example,\
    https://5.example,https://6.example";

#[test]
fn claims_say_what_is_allowed() {
    let signer = Signer::new();
    let viewer = "ä".repeat(40);
    let with = |change: fn(&mut PlaybackToken)| {
        let mut token = plain();
        change(&mut token);
        token
    };
    let origins = |list: &str| PlaybackToken {
        origins: Some(Origins::new(list.split(','))),
        ..plain()
    };
    let number = 0x0a1b_2c3d_4e5f_6071_8293_a4b5_c6d7_e8f9;
    let once = |expires_s| PlaybackToken {
        single_use: Some(number),
        expires_s,
        ..plain()
    };
    let two = "https://a.example, https://*.b.example";
    for (changes, expected) in [
        (json!({}), plain()),
        (
            json!({"unknown": [1], "aws:ads-opt-out": true, "iat": 1.5}),
            plain(),
        ),
        (
            json!({"exp": NOW_S + 1}),
            with(|it| it.expires_s = NOW_S + 1),
        ),
        (json!({"exp": u64::MAX}), with(|it| it.expires_s = u64::MAX)),
        (
            json!({"aws:access-control-allow-origin": two}),
            origins(two),
        ),
        (
            json!({"aws:access-control-allow-origin": SIX}),
            origins(SIX),
        ),
        (json!({"aws:access-control-allow-origin": ""}), origins("")),
        (
            json!({"aws:strict-origin-enforcement": true}),
            with(|it| it.is_strict = true),
        ),
        (json!({"aws:single-use-uuid": UUID}), once(NOW_S + 60)),
        (
            json!({"aws:single-use-uuid": UUID, "exp": NOW_S + 600}),
            once(NOW_S + 600),
        ),
        (
            json!({"aws:viewer-id": viewer}),
            with(|it| it.viewer = Some("ä".repeat(40))),
        ),
        (
            json!({"aws:viewer-session-version": 3}),
            with(|it| it.version = 3),
        ),
        (
            json!({"aws:viewer-session-version": "-3"}),
            with(|it| it.version = -3),
        ),
        (
            json!({"aws:maximum-resolution": "FULL_HD"}),
            with(|it| it.maximum_resolution = Some(MaximumResolution::FullHd)),
        ),
    ] {
        let token = signer.token(&claims(&changes));
        assert_eq!(signer.verify(&token), Ok(expected), "{changes}");
    }
}

#[test]
fn claims_that_are_missing_wrong_or_late_are_refused() {
    use Invalid::{Channel, Claims, Expired, TooFarAhead, TooManyOrigins};
    let signer = Signer::new();
    let long = "ä".repeat(41);
    for (changes, expected) in [
        (json!({"aws:channel-arn": null}), Claims),
        (json!({"aws:channel-arn": format!("{CHANNEL}x")}), Channel),
        (json!({"aws:channel-arn": [CHANNEL]}), Claims),
        (json!({"exp": null}), Claims),
        (json!({"exp": NOW_S}), Expired),
        (json!({"exp": 0}), Expired),
        (json!({"exp": -1}), Claims),
        (json!({"exp": 1.5e300}), Claims),
        (json!({"exp": (NOW_S + 60).to_string()}), Claims),
        (
            json!({"aws:access-control-allow-origin": SIX, "aws:strict-origin-enforcement": true}),
            TooManyOrigins,
        ),
        (json!({"aws:access-control-allow-origin": ["*"]}), Claims),
        (json!({"aws:strict-origin-enforcement": "true"}), Claims),
        (
            json!({"aws:single-use-uuid": UUID.replace('-', "")}),
            Claims,
        ),
        (
            json!({"aws:single-use-uuid": UUID.replacen('0', "+", 1)}),
            Claims,
        ),
        (json!({"aws:single-use-uuid": 7}), Claims),
        (
            json!({"aws:single-use-uuid": UUID, "exp": NOW_S + 631}),
            TooFarAhead,
        ),
        (json!({"aws:viewer-id": long}), Claims),
        (json!({"aws:viewer-id": ""}), Claims),
        (
            json!({"aws:viewer-id": "ann", "exp": 1000 * (NOW_S + 60)}),
            TooFarAhead,
        ),
        (json!({"aws:viewer-session-version": 1.5}), Claims),
        (json!({"aws:viewer-session-version": "v3"}), Claims),
        (json!({"aws:viewer-session-version": u64::MAX}), Claims),
        (json!({"aws:maximum-resolution": "hd"}), Claims),
    ] {
        let token = signer.token(&claims(&changes));
        assert_eq!(signer.verify(&token), Err(expected), "{changes}");
    }
}

#[test]
fn only_es384_of_a_known_key_is_a_signature() {
    let signer = Signer::new();
    let body = claims(&json!({})).to_string();
    let with_header =
        |header: &str| signer.verify(&signer.sign(header.as_bytes(), body.as_bytes()));
    assert_eq!(with_header(r#"{"alg":"ES384"}"#), Ok(plain()));
    assert_eq!(
        with_header(r#"{"typ":"at+jwt","kid":"1","alg":"ES384"}"#),
        Ok(plain())
    );
    for alg in [
        "none", "None", "HS256", "HS384", "ES256", "RS256", "es384", "",
    ] {
        let header = json!({"alg": alg}).to_string();
        assert_eq!(with_header(&header), Err(Invalid::Algorithm), "{alg}");
    }
    let crit = r#"{"alg":"ES384","crit":["exp"]}"#;
    assert_eq!(with_header(crit), Err(Invalid::Algorithm));
    for header in [
        "",
        "{}",
        "[]",
        r#"{"alg":null}"#,
        r#"{"alg":"ES384","alg":"none"}"#,
        "{",
    ] {
        assert_eq!(with_header(header), Err(Invalid::Malformed), "{header}");
    }

    let token = signer.token(&claims(&json!({})));
    let refused = Err(Invalid::Signature);
    assert_eq!(Signer::new().verify(&token), refused, "another key");
    assert_eq!(
        PlaybackToken::verify(&token, &[], CHANNEL, NOW),
        refused,
        "no key at all"
    );
    let asn1 = Signer::of(&ECDSA_P384_SHA384_ASN1_SIGNING);
    assert_eq!(
        asn1.verify(&asn1.token(&claims(&json!({})))),
        refused,
        "a signature in DER"
    );
    let (signed, signature) = token.rsplit_once('.').unwrap();
    assert_eq!(
        signer.verify(&format!("{signed}.")),
        refused,
        "no signature"
    );
    let zeros = URL_SAFE_NO_PAD.encode([0; 96]);
    assert_eq!(signer.verify(&format!("{signed}.{zeros}")), refused);
    let (header, _) = signed.split_once('.').unwrap();
    let more = URL_SAFE_NO_PAD.encode(claims(&json!({"exp": NOW_S + 61})).to_string());
    assert_eq!(
        signer.verify(&format!("{header}.{more}.{signature}")),
        refused,
        "other claims"
    );
    // The public key, which everybody may know, as the secret of a symmetric algorithm.
    let secret = signer.pair.public_key().as_ref();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA384, secret);
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS384","typ":"JWT"}"#);
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(&body));
    let seal = URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, signed.as_bytes()));
    assert_eq!(
        signer.verify(&format!("{signed}.{seal}")),
        Err(Invalid::Algorithm)
    );
}

#[test]
fn any_changed_character_is_noticed() {
    let signer = Signer::new();
    let token = signer.token(&claims(&json!({})));
    for at in 0..token.len() {
        let mut bent = token.clone();
        let other = if &token[at..=at] == "A" { "B" } else { "A" };
        bent.replace_range(at..=at, other);
        assert!(signer.verify(&bent).is_err(), "{at}: {bent}");
    }
}

#[test]
fn what_is_no_jwt_is_refused() {
    let signer = Signer::new();
    let token = signer.token(&claims(&json!({})));
    let long = signer.token(&claims(&json!({"padding": "x".repeat(MAX_TOKEN_BYTES)})));
    assert_eq!(signer.verify(&long), Err(Invalid::TooLong));
    let longest = MAX_TOKEN_BYTES - token.len();
    let longest = signer.token(&claims(
        &json!({"padding": "x".repeat(longest * 3 / 4 - 14)}),
    ));
    assert!(longest.len() <= MAX_TOKEN_BYTES && longest.len() > MAX_TOKEN_BYTES - 8);
    assert_eq!(signer.verify(&longest), Ok(plain()));
    for text in [
        "",
        ".",
        "..",
        "...",
        "a.b",
        "a.b.c",
        &format!("{token}."),
        &format!(".{token}"),
    ] {
        assert_eq!(signer.verify(text), Err(Invalid::Malformed), "{text}");
    }
    for (from, to) in [(".", ".="), (".", ". "), ("e", "é"), ("e", "+")] {
        let text = token.replacen(from, to, 1);
        assert_eq!(signer.verify(&text), Err(Invalid::Malformed), "{text}");
    }
    let twice = format!(
        r#"{{"exp":{0},"exp":{0},"aws:channel-arn":"{CHANNEL}"}}"#,
        NOW_S + 60
    );
    let deep = "[".repeat(1000);
    for claims in ["", "null", "[]", "{}", "{", &twice, &deep, "\u{0}"] {
        let token = signer.sign(br#"{"alg":"ES384"}"#, claims.as_bytes());
        assert_eq!(signer.verify(&token), Err(Invalid::Claims), "{claims}");
    }
}

#[test]
fn a_maximum_resolution_counts_the_shorter_side() {
    use MaximumResolution::{FullHd, Hd, Sd};
    for (largest, width, height, is_allowed) in [
        (Sd, 852, 480, true),
        (Sd, 480, 852, true),
        (Sd, 854, 482, false),
        (Hd, 1280, 720, true),
        (Hd, 1920, 1080, false),
        (FullHd, 1080, 1920, true),
        (FullHd, 2560, 1440, false),
        // Sound alone.
        (Sd, 0, 0, true),
    ] {
        assert_eq!(
            largest.allows(width, height),
            is_allowed,
            "{largest:?} {width}x{height}"
        );
    }
}
