//! From a request to its caller: the stored key is looked up, the body read, the signature verified.
//!
//! In:  an HTTP request. Out: [`Caller`] and the body, or an error in AWS's words.
//! Bounded: bodies by size, time and number at once; only who names a known key, at the right time, may send
//! one. Keys are remembered for [`FRESH`]; while the database fails, for [`STALE`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::request::Parts;
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::canonical::Head;
use super::verify::{Claim, Refusal};
use crate::api::restjson::{Code, Error};
use crate::base::clock::SharedClock;
use crate::model::AccessKey;
use crate::model::access_key::Role;
use crate::model::repository::AccessKeyRepository;

/// Largest body.
const MAX_BODY_BYTES: usize = 5 * 1024 * 1024;
/// How long a body may take.
const BODY_DEADLINE: Duration = Duration::from_secs(10);
/// Bodies that are read at once.
const MAX_BODIES: usize = 64;
/// How long the database may take.
const LOOKUP_DEADLINE: Duration = Duration::from_secs(5);
/// How long a key is not looked up again.
const FRESH: Duration = Duration::from_secs(5);
/// How long a key still opens while the database fails.
const STALE: Duration = Duration::from_hours(1);
/// Keys remembered.
const MAX_KEYS: usize = 1000;

/// Who sent a request.
#[derive(Clone, Debug)]
pub(in crate::api) struct Caller {
    /// The key.
    pub(in crate::api) key_id: String,
    /// What it may.
    pub(in crate::api) role: Role,
    /// On which resources.
    pub(in crate::api) arn_prefix: String,
}

/// Keys by id, each with when it was looked up.
type Known = HashMap<String, (Instant, Arc<AccessKey>)>;

/// Lets in whose signature is right.
pub(in crate::api) struct Guard {
    repository: Arc<dyn AccessKeyRepository>,
    root: AccessKey,
    clock: SharedClock,
    known: Mutex<Known>,
    places: Semaphore,
}

impl Guard {
    /// A guard that knows the stored keys and the first one, `root`.
    pub(in crate::api) fn new(
        repository: Arc<dyn AccessKeyRepository>,
        root: AccessKey,
        clock: SharedClock,
    ) -> Self {
        Self {
            repository,
            root,
            clock,
            known: Mutex::default(),
            places: Semaphore::new(MAX_BODIES),
        }
    }

    /// The caller and the body of a request.
    pub(in crate::api) async fn admit(
        &self,
        parts: &Parts,
        body: Body,
    ) -> Result<(Caller, Bytes), Error> {
        let head = Head {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            headers: &parts.headers,
        };
        let claim = Claim::read(&head)?;
        claim.check_time(self.clock.now())?;
        let key = self.key(&claim.access_key_id).await?;
        let key = key.ok_or(Refusal::UnknownKey)?;
        claim.check_session(&key, self.clock.now())?;
        let body = self.read(body).await?;
        claim.check_signature(&head, &body, &key.secret)?;
        let caller = Caller {
            key_id: key.id.clone(),
            role: key.role,
            arn_prefix: key.arn_prefix.clone(),
        };
        Ok((caller, body))
    }

    async fn read(&self, body: Body) -> Result<Bytes, Error> {
        let slow = || Error::new(Code::RequestTimeout, "the request did not arrive in time");
        let reading = async {
            let place = self.places.acquire().await;
            let read = Limited::new(body, MAX_BODY_BYTES).collect().await;
            drop(place);
            read
        };
        let read = tokio::time::timeout(BODY_DEADLINE, reading).await;
        match read.map_err(|_| slow())? {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(Error::new(
                Code::RequestEntityTooLarge,
                format!("a request may have {MAX_BODY_BYTES} bytes"),
            )),
            Err(_) => Err(Error::new(Code::MalformedHttpRequest, "the body broke off")),
        }
    }

    async fn key(&self, id: &str) -> Result<Option<Arc<AccessKey>>, Error> {
        if id == self.root.id {
            return Ok(Some(Arc::new(self.root.clone())));
        }
        let known = self.known().get(id).cloned();
        let is_within = |limit| {
            known
                .as_ref()
                .is_some_and(|(since, _)| since.elapsed() < limit)
        };
        if is_within(FRESH) {
            return Ok(known.map(|(_, key)| key));
        }
        let lookup = self.repository.load_access_key(id);
        match tokio::time::timeout(LOOKUP_DEADLINE, lookup).await {
            Ok(Ok(found)) => Ok(self.remember(id, found)),
            _ if is_within(STALE) => Ok(known.map(|(_, key)| key)),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(Error::new(Code::ServiceUnavailable, "the database is slow")),
        }
    }

    fn remember(&self, id: &str, found: Option<AccessKey>) -> Option<Arc<AccessKey>> {
        let mut known = self.known();
        let Some(found) = found.map(Arc::new) else {
            known.remove(id);
            return None;
        };
        if known.len() >= MAX_KEYS {
            known.clear();
        }
        known.insert(id.to_owned(), (Instant::now(), Arc::clone(&found)));
        Some(found)
    }

    /// A lock whose holder panicked still guards whole entries.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal {
            Refusal::Unsigned => Code::MissingAuthenticationToken,
            Refusal::Incomplete(_) => Code::IncompleteSignature,
            Refusal::UnknownKey => Code::UnrecognizedClient,
            Refusal::Expired => Code::ExpiredToken,
            Refusal::Invalid(_) => Code::InvalidSignature,
        };
        Self::new(code, refusal.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use async_trait::async_trait;
    use futures_util::stream;

    use super::*;
    use crate::base::clock::{SimulatedClock, WallTime};
    use crate::model::repository;

    /// One key, until it is deleted; a database that fails when told to.
    struct Keys {
        key: Mutex<Option<AccessKey>>,
        is_down: AtomicBool,
    }

    #[async_trait]
    impl AccessKeyRepository for Keys {
        async fn create_access_key(&self, key: &AccessKey) -> Result<(), repository::Error> {
            *self.key.lock().unwrap() = Some(key.clone());
            Ok(())
        }
        async fn load_access_key(&self, id: &str) -> Result<Option<AccessKey>, repository::Error> {
            if self.is_down.load(Ordering::SeqCst) {
                return Err(repository::Error::Database("down".into()));
            }
            Ok(self.key.lock().unwrap().clone().filter(|key| key.id == id))
        }
        async fn list_access_keys(&self, _: u32) -> Result<Vec<AccessKey>, repository::Error> {
            Ok(self.key.lock().unwrap().clone().into_iter().collect())
        }
        async fn delete_access_key(&self, _: &str) -> Result<(), repository::Error> {
            *self.key.lock().unwrap() = None;
            Ok(())
        }
    }

    fn guard() -> (Guard, Arc<Keys>, String) {
        let key = AccessKey::create(Role::Admin, "", None, WallTime(0));
        let id = key.id.clone();
        let keys = Arc::new(Keys {
            key: Mutex::new(Some(key)),
            is_down: AtomicBool::new(false),
        });
        let root = AccessKey::create(Role::Admin, "", None, WallTime(0));
        let clock = Arc::new(SimulatedClock::new(WallTime(0)));
        (Guard::new(keys.clone(), root, clock), keys, id)
    }

    #[tokio::test(start_paused = true)]
    async fn a_deleted_key_is_forgotten_and_one_outlives_an_outage() {
        let (guard, keys, id) = guard();
        let is_known = async || guard.key(&id).await.map(|key| key.is_some());
        assert_eq!(is_known().await, Ok(true));
        keys.is_down.store(true, Ordering::SeqCst);
        tokio::time::advance(STALE / 2).await;
        assert_eq!(is_known().await, Ok(true), "the database is down");
        tokio::time::advance(STALE).await;
        let refused = is_known().await.unwrap_err();
        assert_eq!(refused.code, Code::ServiceUnavailable);
        keys.is_down.store(false, Ordering::SeqCst);
        assert_eq!(is_known().await, Ok(true));
        keys.delete_access_key(&id).await.unwrap();
        assert_eq!(is_known().await, Ok(true), "not looked up again yet");
        tokio::time::advance(FRESH).await;
        assert_eq!(is_known().await, Ok(false));
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_are_bounded_in_size_and_time() {
        let (guard, ..) = guard();
        let whole = guard.read(Body::from(vec![0; MAX_BODY_BYTES])).await;
        assert_eq!(whole.unwrap().len(), MAX_BODY_BYTES);
        let large = guard.read(Body::from(vec![0; MAX_BODY_BYTES + 1])).await;
        assert_eq!(large.unwrap_err().code, Code::RequestEntityTooLarge);
        let never = stream::pending::<Result<Bytes, std::io::Error>>();
        let slow = guard.read(Body::from_stream(never)).await;
        assert_eq!(slow.unwrap_err().code, Code::RequestTimeout);
        // Who waits for a place is not kept for longer either.
        let _taken = guard
            .places
            .acquire_many(u32::try_from(MAX_BODIES).unwrap())
            .await;
        let crowded = guard.read(Body::empty()).await;
        assert_eq!(crowded.unwrap_err().code, Code::RequestTimeout);
    }
}
