//! What protected channels need: keys and the tokens they sign, and a small database of countries.

use std::net::Ipv4Addr;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::Value;
use weir::base::clock::{Clock as _, SystemClock};

/// A `SubjectPublicKeyInfo` of P-384 up to the point.
const P384_HEAD: [u8; 23] = [
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b,
    0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00,
];

/// Whole seconds since 1970.
pub(crate) fn now_s() -> i64 {
    SystemClock.now().0 / 1000
}

/// A key pair of whoever hands out tokens.
pub(crate) struct Signer(EcdsaKeyPair);

impl Signer {
    pub(crate) fn new() -> Self {
        let (random, algorithm) = (SystemRandom::new(), &ECDSA_P384_SHA384_FIXED_SIGNING);
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap())
    }

    /// The public half, as `ImportPlaybackKeyPair` takes it.
    pub(crate) fn pem(&self) -> String {
        let der = [&P384_HEAD[..], self.0.public_key().as_ref()].concat();
        let digits = STANDARD.encode(der);
        format!("-----BEGIN PUBLIC KEY-----\n{digits}\n-----END PUBLIC KEY-----\n")
    }

    /// A token with these claims.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let header = encode(r#"{"alg":"ES384","typ":"JWT"}"#);
        let signed = format!("{header}.{}", encode(&claims.to_string()));
        let signature = self
            .0
            .sign(&SystemRandom::new(), signed.as_bytes())
            .unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// A database in MaxMind's format that knows where these addresses are.
pub(crate) fn country_database(places: &[(Ipv4Addr, &str)]) -> Vec<u8> {
    let mut nodes: Vec<[Option<Child>; 2]> = vec![[None; 2]];
    let mut data = Vec::new();
    for (address, country) in places {
        let at = data.len();
        data.extend([0xE1, 0x47]);
        data.extend(b"country");
        data.extend([0xE1, 0x48]);
        data.extend(b"iso_code");
        data.push(0x42);
        data.extend(country.bytes());
        let mut node = 0;
        for depth in (0..32).rev() {
            let bit = (u32::from(*address) >> depth & 1) as usize;
            if depth == 0 {
                nodes[node][bit] = Some(Child::Data(at));
            } else if let Some(Child::Node(next)) = nodes[node][bit] {
                node = next;
            } else {
                nodes.push([None; 2]);
                nodes[node][bit] = Some(Child::Node(nodes.len() - 1));
                node = nodes.len() - 1;
            }
        }
    }
    let count = nodes.len();
    let record = |child: &Option<Child>| match child {
        None => count,
        Some(Child::Node(node)) => *node,
        Some(Child::Data(at)) => count + 16 + at,
    };
    let records = nodes.iter().flatten().map(record);
    let tree =
        records.flat_map(|record| u32::try_from(record).unwrap().to_be_bytes()[1..].to_vec());
    let mut bytes: Vec<u8> = tree.collect();
    bytes.extend([0; 16]);
    bytes.extend(data);
    bytes.extend(b"\xab\xcd\xefMaxMind.com");
    bytes.extend(metadata(u32::try_from(count).unwrap()));
    bytes
}

#[derive(Clone, Copy)]
enum Child {
    Node(usize),
    Data(usize),
}

fn metadata(node_count: u32) -> Vec<u8> {
    let key = |name: &str| [&[0x40 | u8::try_from(name.len()).unwrap()], name.as_bytes()].concat();
    let u16_of = |value: u16| [&[0xA2], &value.to_be_bytes()[..]].concat();
    [
        vec![0xE9],
        key("binary_format_major_version"),
        u16_of(2),
        key("binary_format_minor_version"),
        u16_of(0),
        key("build_epoch"),
        // An extended type: 64 bits.
        vec![0x01, 0x02, 0x01],
        key("database_type"),
        key("Test"),
        key("description"),
        vec![0xE0],
        key("ip_version"),
        u16_of(4),
        key("languages"),
        // An extended type: an array.
        vec![0x00, 0x04],
        key("node_count"),
        [&[0xC4], &node_count.to_be_bytes()[..]].concat(),
        key("record_size"),
        u16_of(24),
    ]
    .concat()
}
