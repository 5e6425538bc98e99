//! Who may watch private and restricted channels.
//!
//! In:  what is stored (`model::repository`), loaded at the start, when the API says that it changed, and every two
//! seconds, for another process may have changed it. Out: for each request from memory: everybody may, this viewer
//! may, or a refusal; and a word to running requests whose viewer is to watch no more.
//! A database that fails leaves what was known. Not here: HTTP (`answer`), what a rule says (`rules`).

pub mod origins;
pub mod rules;
pub mod single_use;
pub mod tries;
mod countries;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

pub use countries::Countries;
pub use rules::Refusal;

use origins::is_let_in;
use rules::{ChannelRule, Policy, Revoked, Rules};
use single_use::{Use, UsedTokens};
use tries::Tries;

use super::playback_token::{PlaybackToken, VerifyingKey};
use super::viewer_session::{Sealer, Viewer, ViewerSession, seconds};
use crate::base::clock::{SharedClock, WallTime};
use crate::base::ids;
use crate::model::document::{Contents, DocumentKind};
use crate::model::playback::{PlaybackKeyPair, PlaybackRestrictionPolicy};
use crate::model::repository::{Error, Filter, NO_LIMIT, Page, Repository};
use crate::model::{Channel, Document, DocumentId, Scope};

/// How often everything is loaded again.
const PERIOD: Duration = Duration::from_secs(2);
/// How long the database may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// Channels, and revocations, loaded at a time.
const PAGE: u32 = 1_000;
/// Revocations are read again for so long: they may become visible in another order than their times'.
const OVERLAP_MS: i64 = 60_000;

/// What is known of who may watch.
#[derive(Debug)]
pub struct Protection {
    sources: Sources,
    scope: Scope,
    sealer: Sealer,
    rules: watch::Sender<Arc<Rules>>,
    used: Mutex<UsedTokens>,
    tries: Tries,
    loading: tokio::sync::Mutex<Loading>,
}

/// Where it is known from.
pub struct Sources {
    /// Channels, keys, policies and revocations.
    pub repository: Arc<dyn Repository>,
    /// Where clients are; none: nobody knows.
    pub countries: Option<Countries>,
    /// When tokens expire.
    pub clock: SharedClock,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.countries.fmt(f)
    }
}

/// How loading goes.
#[derive(Debug, Default)]
struct Loading {
    /// The newest revocation that was seen.
    revoked: WallTime,
    is_failing: bool,
}

/// Who asks for a channel's entry.
#[derive(Clone, Copy, Debug)]
pub struct Visitor<'a> {
    /// The playback token of the URL.
    pub token: Option<&'a str>,
    /// The page that the request comes from.
    pub origin: Option<&'a str>,
    /// The client.
    pub address: IpAddr,
}

/// The right to begin a viewer session.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    /// What is sealed into the session.
    pub session: ViewerSession,
    /// Whether the right depends on the page that asks.
    pub is_of_origin: bool,
    /// A UUID that is used up by it, and when its token expires.
    single_use: Option<(u128, u64)>,
}

impl Protection {
    /// Loads what is stored under `scope`. Sessions are sealed under `secret`.
    pub async fn open(scope: Scope, secret: &str, sources: Sources) -> Result<Arc<Self>, Error> {
        let protection = Self {
            sources,
            scope,
            sealer: Sealer::new(secret),
            rules: watch::Sender::default(),
            used: Mutex::default(),
            tries: Tries::default(),
            loading: tokio::sync::Mutex::default(),
        };
        let mut loading = protection.loading.lock().await;
        protection.load(&mut loading).await?;
        drop(loading);
        Ok(Arc::new(protection))
    }

    /// Loads everything again; requests are judged by it from the return on.
    pub async fn refresh(&self) {
        let mut loading = self.loading.lock().await;
        let loaded = tokio::time::timeout(DEADLINE, self.load(&mut loading)).await;
        let problem = match loaded {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no answer within {} s", DEADLINE.as_secs())),
        };
        match (problem, loading.is_failing) {
            (Some(problem), false) => {
                tracing::error!(problem, "cannot load who may watch; what was known holds");
                loading.is_failing = true;
            }
            (None, true) => {
                tracing::info!("who may watch is loaded again");
                loading.is_failing = false;
            }
            _ => {}
        }
    }

    /// Loads everything again and again.
    pub async fn keep_fresh(self: Arc<Self>) {
        loop {
            tokio::time::sleep(PERIOD).await;
            self.refresh().await;
        }
    }

    async fn load(&self, loading: &mut Loading) -> Result<(), Error> {
        // Channels first: what they refer to was there before.
        let channels = self.protected_channels().await?;
        let mut policies = HashMap::new();
        for (id, policy) in self.documents::<PlaybackRestrictionPolicy>().await? {
            let arn = self
                .scope
                .document_arn(DocumentKind::PlaybackRestrictionPolicy, &id);
            policies.insert(arn.to_string(), Arc::new(Policy::from(&policy)));
        }
        let keys = self.documents::<PlaybackKeyPair>().await?;
        let points = keys.iter().filter_map(|(_, key)| key.point());
        let rule = |channel: Channel| {
            let policy = policies.get(&channel.attached.playback_restriction_policy_arn);
            let rule = ChannelRule {
                is_private: channel.is_authorized,
                policy: policy.cloned(),
            };
            (channel.id.as_str().to_owned(), rule)
        };
        let rules = Rules {
            keys: points.map(VerifyingKey::new).collect(),
            channels: channels.into_iter().map(rule).collect(),
            revocations: self.revocations(loading).await?,
        };
        // Requests that wait need to hear of revocations only.
        self.rules.send_if_modified(|known| {
            let is_new = !Arc::ptr_eq(&known.revocations, &rules.revocations);
            *known = Arc::new(rules);
            is_new
        });
        Ok(())
    }

    async fn protected_channels(&self) -> Result<Vec<Channel>, Error> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = Page { after, limit: PAGE };
            let repository = &self.sources.repository;
            let channels = repository
                .filter_channels(&Filter::Protected, &page)
                .await?;
            let is_last = channels.len() < PAGE as usize;
            found.extend(channels);
            after = found
                .last()
                .map(|it: &Channel| (it.created, it.id.as_str().to_owned()));
            if is_last {
                return Ok(found);
            }
        }
    }

    async fn documents<C: Contents>(&self) -> Result<Vec<(DocumentId, C)>, Error> {
        let all = Page {
            after: None,
            limit: NO_LIMIT,
        };
        let documents = self
            .sources
            .repository
            .list_documents(C::KIND, &all)
            .await?;
        let read = |document: Document| Some((document.id.clone(), document.read()?));
        Ok(documents.into_iter().filter_map(read).collect())
    }

    /// Those known, and those that were added; the same if there are none.
    async fn revocations(&self, loading: &mut Loading) -> Result<Arc<rules::Revocations>, Error> {
        let mut known = Arc::clone(&self.rules.borrow().revocations);
        let mut after = loading.revoked.plus_millis(-OVERLAP_MS);
        loop {
            let page = Page {
                after: Some((after, String::new())),
                limit: PAGE,
            };
            let found = self.sources.repository.list_revocations(&page).await?;
            for revocation in &found {
                let name = &revocation.viewer_id;
                let viewer = self.sealer.viewer(revocation.channel_id.as_str(), name);
                let revoked = Revoked {
                    version: revocation.version.into(),
                    at: revocation.at,
                };
                if known.get(viewer) != Some(revoked) {
                    Arc::make_mut(&mut known).add(viewer, revoked);
                }
            }
            let Some(last) = found.last().filter(|_| found.len() == PAGE as usize) else {
                let newest = found.last().map(|last| last.at);
                loading.revoked = newest.unwrap_or_default().max(loading.revoked);
                return Ok(known);
            };
            // Rows of one instant have no order of their own: the last one's are read again.
            after = last.at.plus_millis(-1).max(after.plus_millis(1));
        }
    }

    /// Whether somebody may begin to watch; nothing if everybody may.
    pub fn admit_visitor(
        &self,
        channel_id: &str,
        visitor: &Visitor<'_>,
    ) -> Result<Option<Ticket>, Refusal> {
        let rules = Arc::clone(&self.rules.borrow());
        let Some(rule) = rules.channels.get(channel_id) else {
            return Ok(None);
        };
        let countries = self.sources.countries.as_ref();
        let country = countries.and_then(|countries| countries.of(visitor.address));
        rule.admit(country, visitor.origin)?;
        let now = self.sources.clock.now();
        let (is_of_origin, _) = rule.restricts_origins();
        let ticket = Ticket {
            session: ViewerSession {
                id: ids::random_bytes(),
                begun_s: seconds(now),
                has_token: false,
                viewer: None,
                origin: None,
                maximum_resolution: None,
            },
            is_of_origin,
            single_use: None,
        };
        if !rule.is_private {
            return Ok(Some(ticket));
        }
        let text = visitor.token.ok_or(Refusal::NoToken)?;
        let arn = self.scope.arns_of("channel") + channel_id;
        let verify = || PlaybackToken::verify(text, &rules.keys, &arn, now);
        let token = self.tries.judge(visitor.address, Instant::now(), verify)?;
        let ticket = self.with_token(ticket, channel_id, &token, visitor.origin)?;
        rules.judge(&ticket.session)?;
        Ok(Some(ticket))
    }

    /// The ticket of whoever has the token.
    fn with_token(
        &self,
        ticket: Ticket,
        channel_id: &str,
        token: &PlaybackToken,
        origin: Option<&str>,
    ) -> Result<Ticket, Refusal> {
        if !is_let_in(token.origins.as_ref(), token.is_strict, origin) {
            return Err(Refusal::Origin);
        }
        let viewer = token.viewer.as_ref().map(|name| Viewer {
            tag: self.sealer.viewer(channel_id, name),
            version: token.version,
        });
        let bound = origin.filter(|_| token.is_strict);
        let lists = token.origins.as_ref().is_some_and(|list| !list.is_any());
        Ok(Ticket {
            session: ViewerSession {
                has_token: true,
                viewer,
                origin: bound.map(|origin| self.sealer.origin(origin)),
                maximum_resolution: token.maximum_resolution,
                ..ticket.session
            },
            is_of_origin: ticket.is_of_origin || token.is_strict || lists,
            single_use: token.single_use.map(|uuid| (uuid, token.expires_s)),
        })
    }

    /// The viewer session that a ticket begins: what stands in its URLs. A token for one use is used by it.
    pub fn begin(&self, channel_id: &str, ticket: &Ticket) -> Result<String, Refusal> {
        if let Some((uuid, expires_s)) = ticket.single_use {
            let now_s = seconds(self.sources.clock.now()).into();
            let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            match used.spend(uuid, expires_s, now_s) {
                Use::First => {}
                Use::Again => return Err(Refusal::Used),
                Use::Full => return Err(Refusal::Busy),
            }
        }
        Ok(self.sealer.seal(channel_id, &ticket.session))
    }

    /// Whether a media request is let in: nothing if everybody is, else the session it belongs to.
    pub fn admit(
        &self,
        channel_id: &str,
        session: &str,
        origin: Option<&str>,
    ) -> Result<Option<ViewerSession>, Refusal> {
        let rules = self.rules.borrow();
        if !rules.channels.contains_key(channel_id) {
            return Ok(None);
        }
        let now = self.sources.clock.now();
        rules.admit(&self.sealer, (channel_id, session), origin, now)
    }

    /// Whether each request's origin counts on that channel, or in that session.
    pub fn is_strict(&self, channel_id: &str, session: &ViewerSession) -> bool {
        let rules = self.rules.borrow();
        let rule = rules.channels.get(channel_id);
        session.origin.is_some() || rule.is_some_and(|rule| rule.restricts_origins().1)
    }

    /// Comes when the session is revoked.
    pub fn revoked(&self, session: ViewerSession) -> impl Future<Output = Refusal> + Send + use<> {
        let mut rules = self.rules.subscribe();
        async move {
            loop {
                if let Err(refusal) = rules.borrow_and_update().judge(&session) {
                    return refusal;
                }
                if rules.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}
