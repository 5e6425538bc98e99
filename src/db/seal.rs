//! Secrets at rest: sealed with a key that is not in the database.
//!
//! In:  the server's secret and a stored secret's plain bytes. Out: nonce, ciphertext and tag.
//! Standard: ChaCha20-Poly1305 (RFC 8439) under a key derived by HKDF-SHA256 (RFC 5869). The
//! row's identity is authenticated along, so a value moved to another row does not open.

use std::fmt;
use std::sync::Arc;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};

use crate::base::ids;
use crate::model::repository::Error;

/// Seals and opens secrets. Cheap to clone.
#[derive(Clone)]
pub struct Sealer(Arc<LessSafeKey>);

impl Sealer {
    /// A sealer under `secret`, which is expected to be random and at least 32 bytes long.
    ///
    /// # Panics
    /// Never: HKDF-SHA256 yields the 32 bytes that the cipher takes.
    pub fn new(secret: &str) -> Self {
        let pseudorandom = Salt::new(HKDF_SHA256, b"weir").extract(secret.as_bytes());
        let okm = pseudorandom
            .expand(&[b"stored secrets 1"], &CHACHA20_POLY1305)
            .expect("32 bytes are within what HKDF-SHA256 can expand to");
        Self(Arc::new(LessSafeKey::new(UnboundKey::from(okm))))
    }

    /// Seals `plain` for the row `row`. Nonces are random: at 96 bits that is safe for more
    /// secrets than any installation holds.
    ///
    /// # Panics
    /// Never: the cipher's limit is 256 GiB.
    pub fn seal(&self, row: &str, plain: &[u8]) -> Vec<u8> {
        let nonce = ids::random_bytes::<NONCE_LEN>();
        let mut body = plain.to_vec();
        self.0
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(row.as_bytes()),
                &mut body,
            )
            .expect("a stored secret is shorter than the cipher's limit");
        [nonce.as_slice(), &body].concat()
    }

    /// Opens what [`Sealer::seal`] made for the same row under the same secret.
    pub fn open(&self, row: &str, sealed: &[u8]) -> Result<Vec<u8>, Error> {
        let (nonce, body) = sealed.split_at_checked(NONCE_LEN).ok_or(Error::Sealed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Error::Sealed)?;
        let mut body = body.to_vec();
        let plain = self
            .0
            .open_in_place(nonce, Aad::from(row.as_bytes()), &mut body)
            .map_err(|_| Error::Sealed)?;
        Ok(plain.to_vec())
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(masked)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_only_whole_in_its_row_and_under_its_secret() {
        let sealer = Sealer::new("0123456789abcdef0123456789abcdef");
        let sealed = sealer.seal("row-1", b"secret");
        assert_eq!(sealer.open("row-1", &sealed).unwrap(), b"secret");
        assert_ne!(
            sealer.seal("row-1", b"secret"),
            sealed,
            "a nonce is never used twice"
        );
        assert!(!sealed.windows(6).any(|w| w == b"secret"));

        assert!(sealer.open("row-2", &sealed).is_err());
        assert!(Sealer::new("another").open("row-1", &sealed).is_err());
        for len in 0..sealed.len() {
            assert!(sealer.open("row-1", &sealed[..len]).is_err(), "{len}");
        }
        for at in 0..sealed.len() {
            let mut bent = sealed.clone();
            bent[at] ^= 1;
            assert!(sealer.open("row-1", &bent).is_err(), "{at}");
        }
    }
}
