//! The one source of randomness: identifiers, keys, nonces.
//!
//! Alphanumeric because every IVS identifier is `[A-Za-z0-9]` (contract §3), drawn from the
//! operating system's generator, without modulo bias.

use rand::TryRngCore;
use rand::rngs::OsRng;

const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// `N` random bytes.
///
/// # Panics
/// If the operating system has no random generator: nothing safe can be done then.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    OsRng
        .try_fill_bytes(&mut bytes)
        .expect("the operating system has a random generator");
    bytes
}

/// A random identifier of `len` characters of `[A-Za-z0-9]` (5.95 bits each).
///
/// # Panics
/// As [`random_bytes`].
pub fn alphanumeric(len: usize) -> String {
    let mut id = String::with_capacity(len);
    while id.len() < len {
        // 248 = 4 * 62: bytes above would favour the alphabet's head.
        let usable = random_bytes::<32>().into_iter().filter(|b| *b < 248);
        let chars = usable.map(|b| char::from(ALPHABET[usize::from(b) % ALPHABET.len()]));
        id.extend(chars.take(len - id.len()));
    }
    id
}

/// A random UUID as text: version 4 of RFC 9562.
///
/// # Panics
/// As [`random_bytes`].
pub fn uuid() -> String {
    let bits = u128::from_be_bytes(random_bytes());
    let bits = (bits & !(0xF << 76)) | (4 << 76);
    let bits = (bits & !(0x3 << 62)) | (2 << 62);
    let group = |shift: u32| (bits >> shift) & 0xFFFF;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        bits >> 96,
        group(80),
        group(64),
        group(48),
        bits & 0xFFFF_FFFF_FFFF
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_length_and_the_alphabet() {
        for len in [0, 1, 12, 23, 64] {
            let id = alphanumeric(len);
            assert_eq!(id.len(), len);
            assert!(id.bytes().all(|b| b.is_ascii_alphanumeric()));
        }
        assert_ne!(alphanumeric(12), alphanumeric(12));
    }

    #[test]
    fn a_uuid_has_its_version_and_variant() {
        let uuid = uuid();
        let groups: Vec<&str> = uuid.split('-').collect();
        let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{uuid}");
        assert!(groups[2].starts_with('4'), "{uuid}");
        assert!(groups[3].starts_with(['8', '9', 'a', 'b']), "{uuid}");
        assert_ne!(uuid, super::uuid());
    }
}
