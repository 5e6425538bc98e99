//! Who may watch: public keys of playback tokens, and restrictions by country and origin.
//!
//! In:  the members of `ImportPlaybackKeyPair` and `CreatePlaybackRestrictionPolicy`. Out: checked contents.
//! Not here: tokens and requests (`origin`).
//! Standard: RFC 7468 (PEM), RFC 5480 (the public key's DER: P-384 on its named curve).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use ring::agreement::{ECDH_P384, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::rand::SystemRandom;
use serde::{Deserialize, Serialize};

use super::document::{Contents, DocumentKind};

/// A `SubjectPublicKeyInfo` of P-384 up to the point: its algorithm, its curve, a bit string of 97 bytes.
const P384_HEAD: [u8; 23] = [
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b,
    0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00,
];
/// Longest text looked at.
const MAX_PEM_BYTES: usize = 4096;
const MAX_COUNTRIES: usize = 200;
const MAX_ORIGINS: usize = 5;

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlaybackKeyPair {
    /// Name, not unique, possibly empty.
    #[serde(default)]
    pub name: String,
    /// PEM, as it was imported.
    pub public_key_material: String,
    /// MD5 of the DER, in pairs of digits.
    #[serde(default)]
    pub fingerprint: String,
}

impl PlaybackKeyPair {
    /// The point on the curve: 97 bytes, uncompressed; none if the text is no P-384 public key.
    pub fn point(&self) -> Option<Vec<u8>> {
        let point = der(&self.public_key_material)?
            .strip_prefix(&P384_HEAD)?
            .to_vec();
        let own = EphemeralPrivateKey::generate(&ECDH_P384, &SystemRandom::new()).ok()?;
        // Only a point of the curve can be agreed with.
        agree_ephemeral(own, &UnparsedPublicKey::new(&ECDH_P384, &point), |_| ()).ok()?;
        Some(point)
    }

    /// This key with its fingerprint.
    #[must_use]
    pub fn with_fingerprint(mut self) -> Self {
        let digest = Md5::digest(der(&self.public_key_material).unwrap_or_default());
        let pairs: Vec<_> = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        self.fingerprint = pairs.join(":");
        self
    }
}

impl Contents for PlaybackKeyPair {
    const KIND: DocumentKind = DocumentKind::PlaybackKeyPair;

    fn check(&self) -> Result<(), (&'static str, String)> {
        let rule = "Member must be the PEM of an EC public key on the curve P-384".to_owned();
        self.point().map(drop).ok_or(("publicKeyMaterial", rule))
    }
}

/// The bytes of a PEM text with one public key.
fn der(pem: &str) -> Option<Vec<u8>> {
    let text = (pem.len() <= MAX_PEM_BYTES).then(|| pem.trim())?;
    let inner = text
        .strip_prefix("-----BEGIN PUBLIC KEY-----")?
        .strip_suffix("-----END PUBLIC KEY-----")?;
    let digits: String = inner.split_ascii_whitespace().collect();
    STANDARD.decode(digits).ok()
}

/// A restriction of who may watch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PlaybackRestrictionPolicy {
    /// Name, not unique, possibly empty.
    pub name: String,
    /// ISO 3166-1 alpha-2; none: all.
    pub allowed_countries: Vec<String>,
    /// Of the pages that play; none: all.
    pub allowed_origins: Vec<String>,
    /// Whether segments are refused to other origins, too.
    pub enable_strict_origin_enforcement: bool,
}

impl Contents for PlaybackRestrictionPolicy {
    const KIND: DocumentKind = DocumentKind::PlaybackRestrictionPolicy;

    fn check(&self) -> Result<(), (&'static str, String)> {
        let most = |n| format!("Member must have length less than or equal to {n}");
        if self.allowed_countries.len() > MAX_COUNTRIES {
            return Err(("allowedCountries", most(MAX_COUNTRIES)));
        }
        if self.allowed_origins.len() > MAX_ORIGINS {
            return Err(("allowedOrigins", most(MAX_ORIGINS)));
        }
        let is_code = |code: &String| code.bytes().all(|byte| byte.is_ascii_uppercase());
        if !self.allowed_countries.iter().all(is_code) {
            let rule = "Member must be country codes of ISO 3166-1 alpha-2".to_owned();
            return Err(("allowedCountries", rule));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with `openssl ecparam -name secp384r1 -genkey | openssl ec -pubout`.
    const PEM: &str = "-----BEGIN PUBLIC KEY-----\n\
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEKBEjQnRiB6AuM8pjTWTtMphDBPs2GLzl\n\
0znqWIGeyAUDnzp/uxdddHnGb7mvnRuS9yt9wl889w1D/juj3Nlbqi7EfD0easbA\n\
qHPgvUZzykO7NgeaveBOwdGW2h/C99Z/\n\
-----END PUBLIC KEY-----\n";

    fn key(pem: &str) -> PlaybackKeyPair {
        PlaybackKeyPair {
            name: String::new(),
            public_key_material: pem.to_owned(),
            fingerprint: String::new(),
        }
    }

    #[test]
    fn a_key_has_the_fingerprint_that_openssl_gives_it() {
        // `openssl ec -pubin -outform DER | md5sum`
        assert_eq!(
            key(PEM).with_fingerprint().fingerprint,
            "85:47:07:59:0c:6e:b6:e3:05:b4:40:8d:23:07:23:35"
        );
        assert_eq!(key(PEM).check(), Ok(()));
        let windows = format!("  {}\r\n", PEM.replace('\n', "\r\n"));
        assert_eq!(key(&windows).point(), key(PEM).point());
        assert_eq!(key(PEM).point().unwrap().len(), 97);
    }

    #[test]
    fn only_points_of_p_384_are_keys() {
        let der = der(PEM).unwrap();
        let pem = |der: &[u8]| {
            let digits = STANDARD.encode(der);
            format!("-----BEGIN PUBLIC KEY-----\n{digits}\n-----END PUBLIC KEY-----\n")
        };
        assert!(key(&pem(&der)).check().is_ok());
        for at in [0, 20, 23, 24, 60, 119] {
            let mut bent = der.clone();
            bent[at] ^= 1;
            assert!(key(&pem(&bent)).check().is_err(), "{at}");
        }
        assert!(key(&pem(&der[..119])).check().is_err());
        for text in [
            "",
            "nonsense",
            "-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----",
        ] {
            assert!(key(text).check().is_err(), "{text}");
        }
    }

    #[test]
    fn a_policy_names_countries_and_few_origins() {
        let policy = |country: &str, countries: usize, origins: usize| PlaybackRestrictionPolicy {
            allowed_countries: vec![country.to_owned(); countries],
            allowed_origins: vec!["https://a.example".to_owned(); origins],
            ..PlaybackRestrictionPolicy::default()
        };
        for (policy, is_valid) in [
            (policy("KR", 200, 5), true),
            (policy("KR", 201, 0), false),
            (policy("KR", 0, 6), false),
            (policy("kr", 1, 0), false),
        ] {
            assert_eq!(policy.check().is_ok(), is_valid, "{policy:?}");
        }
    }
}
