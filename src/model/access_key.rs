//! The key with which a program signs its requests, and what it may do with it.
//!
//! In:  a role, an ARN prefix, an expiry. Out: a new random [`AccessKey`].
//! Not here: signatures (`api::sigv4`), keeping secrets encrypted (`db`).
//! Standard: AWS access keys: `AKIA…`, or `ASIA…` with a session token where they expire.

use std::fmt;

use super::words::words;
use crate::base::clock::WallTime;
use crate::base::ids;

/// As AWS draws access key ids: 32 characters, so that five bits choose one.
const ID_ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const SECRET_CHARS: usize = 40;
const TOKEN_CHARS: usize = 64;

words! {
    /// What a key is for.
    pub enum Role as "role" {
        /// Everything.
        Admin = "admin",
        /// Whatever changes nothing and tells no secret.
        ReadOnly = "read-only",
        /// The chat service.
        Chat = "chat",
    }
}

/// Half of a session key: who has one presents the token besides, until it expires.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    /// `X-Amz-Security-Token`.
    pub token: String,
    /// From then on the key opens nothing.
    pub expires: WallTime,
}

/// An access key as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// For example `AKIAIOSFODNN7EXAMPLE`.
    pub id: String,
    /// What signatures are made with.
    pub secret: String,
    /// Set for a key that expires.
    pub session: Option<Session>,
    /// What it is for.
    pub role: Role,
    /// What every resource begins with that the key is for; empty: all.
    pub arn_prefix: String,
    /// Creation.
    pub created: WallTime,
}

impl AccessKey {
    /// A new random key; one that expires has a session token.
    pub fn create(role: Role, arn_prefix: &str, expires: Option<WallTime>, now: WallTime) -> Self {
        let session = expires.map(|expires| Session {
            token: ids::alphanumeric(TOKEN_CHARS),
            expires,
        });
        let (id, secret) = random_pair(if session.is_some() { "ASIA" } else { "AKIA" });
        Self {
            id,
            secret,
            session,
            role,
            arn_prefix: arn_prefix.to_owned(),
            created: now,
        }
    }
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, role, .. } = self;
        write!(f, "AccessKey({id}, {role}, masked)")
    }
}

/// A random id with that prefix, and a random secret.
pub fn random_pair(prefix: &str) -> (String, String) {
    let chars = ids::random_bytes::<16>()
        .map(|byte| char::from(ID_ALPHABET[usize::from(byte) % ID_ALPHABET.len()]));
    let id = std::iter::chain(prefix.chars(), chars).collect();
    (id, ids::alphanumeric(SECRET_CHARS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_expires_has_a_token_and_no_key_shows_its_secrets() {
        let lasting = AccessKey::create(Role::Admin, "", None, WallTime(0));
        let passing = AccessKey::create(Role::Chat, "arn:", Some(WallTime(9)), WallTime(0));
        assert!(lasting.id.starts_with("AKIA") && lasting.session.is_none());
        assert!(passing.id.starts_with("ASIA"));
        let session = passing.session.clone().unwrap();
        assert_eq!(session.expires, WallTime(9));
        assert_eq!((passing.id.len(), passing.secret.len()), (20, 40));
        let shown = format!("{passing:?}");
        assert!(!shown.contains(&passing.secret) && !shown.contains(&session.token));
    }
}
