//! HTTP for programs: the IVS-compatible control API, and Weir's own additions under `/v1`.
//!
//! In:  the registry of live channels (`live`), what happened (`events`), what is stored (`model::repository`).
//! Out: JSON. Not here: media (`origin`), pages (`console`), a rule that `model` or `live` should own.
//!
//! The IVS API: `restjson` takes a request, `sigv4` tells who sent it, `operations` has its operation run: one file
//! each, in the folder of its resource.

pub mod restjson;
pub mod sigv4;
mod operations;
mod named;
mod channel;
mod stream_key;
mod stream;
mod stream_session;
mod document;
mod viewer_session;
mod tags;
mod ad_break;
mod cloudwatch;
mod v1;

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, watch};
use url::Url;

pub use self::document::create_recording::settle_all as settle_recording_configurations;
use self::restjson::Throttle;
use self::sigv4::layer::Guard;
pub use self::stream_session::record::record as record_stream_sessions;
pub use self::v1::access::RootKey;
use crate::base::clock::SharedClock;
use crate::base::tasks::Tasks;
use crate::events::{Bus, webhook};
use crate::live::Registry;
use crate::live::measures::Measures;
use crate::model::access_key::{AccessKey, Role};
use crate::model::repository::Repository;
use crate::model::{DocumentKind, Endpoints};

/// How the IVS API answers.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How many times IVS's own quotas an operation may be called each second; 0: without limit.
    pub rate_factor: u32,
    /// Whether anything may stand for an ARN, as public mocks of IVS have it.
    pub lenient_arns: bool,
    /// Host handed out for SRT; empty: none.
    pub srt_endpoint: String,
    /// Where players ask for the ads of a break; empty: breaks are only marked.
    pub ad_decision_url: String,
    /// Most channels.
    pub max_channels: u32,
    /// Most recording configurations.
    pub max_recording_configurations: u32,
    /// Most ad configurations.
    pub max_ad_configurations: u32,
    /// Most failover slate configurations.
    pub max_failover_slate_configurations: u32,
    /// Most playback key pairs.
    pub max_playback_key_pairs: u32,
    /// Most playback restriction policies.
    pub max_playback_restriction_policies: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            rate_factor: 1,
            lenient_arns: false,
            srt_endpoint: String::new(),
            ad_decision_url: String::new(),
            max_channels: 5_000,
            max_recording_configurations: 20,
            max_ad_configurations: 20,
            max_failover_slate_configurations: 20,
            max_playback_key_pairs: 3,
            max_playback_restriction_policies: 3,
        }
    }
}

impl Config {
    /// Refuses what players could not ask.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        self.ad_decision()
            .map(drop)
            .map_err(|problem| ("api.ad_decision_url", problem))
    }

    /// Where players ask for ads, if they are to.
    fn ad_decision(&self) -> Result<Option<Url>, String> {
        if self.ad_decision_url.is_empty() {
            return Ok(None);
        }
        let url = Url::parse(&self.ad_decision_url).map_err(|e| e.to_string())?;
        let is_web = matches!(url.scheme(), "http" | "https");
        is_web
            .then_some(Some(url))
            .ok_or_else(|| "it is not an http or https URL".to_owned())
    }

    /// How many documents of a kind there may be.
    fn most(&self, kind: DocumentKind) -> u32 {
        match kind {
            DocumentKind::RecordingConfiguration => self.max_recording_configurations,
            DocumentKind::PlaybackKeyPair => self.max_playback_key_pairs,
            DocumentKind::PlaybackRestrictionPolicy => self.max_playback_restriction_policies,
            DocumentKind::AdConfiguration => self.max_ad_configurations,
            DocumentKind::FailoverSlateConfiguration => self.max_failover_slate_configurations,
        }
    }
}

/// Where recordings go.
#[async_trait]
pub trait Buckets: Send + Sync {
    /// Whether a bucket can be recorded into; why not, in words.
    async fn reach(&self, bucket: &str) -> Result<(), String>;
}

/// Who may watch, as those who serve media know it.
#[async_trait]
pub trait Playback: Send + Sync {
    /// What is stored about it has changed; every request is judged by that from the return on.
    async fn refresh(&self);
}

/// What the handlers answer from.
#[derive(Clone)]
pub struct Sources {
    /// Who is live.
    pub registry: Arc<Registry>,
    /// What was measured of them.
    pub measures: Arc<Measures>,
    /// The URLs this server hands out.
    pub endpoints: Arc<Endpoints>,
    /// What happened.
    pub events: Arc<Bus>,
    /// What is stored.
    pub repository: Arc<dyn Repository>,
    /// The access key that may everything.
    pub root_key: Arc<RootKey>,
    /// How the IVS API answers.
    pub config: Arc<Config>,
    /// Where recordings go.
    pub buckets: Arc<dyn Buckets>,
    /// Who may watch.
    pub playback: Arc<dyn Playback>,
    /// Who may be told what happened.
    pub webhooks: Arc<webhook::Config>,
    /// Clients that may hear `/events`.
    pub listeners: Arc<Semaphore>,
    /// How often something was told: a change is word that the outbox has more.
    pub told: watch::Sender<u64>,
    /// Times of creation, and of signatures.
    pub clock: SharedClock,
    /// What goes on after an answer.
    pub tasks: Tasks,
}

/// What the IVS API keeps in memory, beside its sources.
#[derive(Clone)]
struct State {
    sources: Sources,
    guard: Arc<Guard>,
    throttle: Arc<Throttle>,
}

/// The routes of this room. What it has no path for goes to `others`, but for calls of operations that do not exist.
pub fn router(sources: Sources, others: Router) -> Router {
    let root = AccessKey {
        id: sources.root_key.id.clone(),
        secret: sources.root_key.secret.clone(),
        session: None,
        role: Role::Admin,
        arn_prefix: String::new(),
        created: sources.clock.now(),
    };
    let keys = Arc::clone(&sources.repository);
    let state = State {
        guard: Arc::new(Guard::new(keys, root, Arc::clone(&sources.clock))),
        throttle: Arc::default(),
        sources: sources.clone(),
    };
    let unknown = restjson::unknown(state.clone()).fallback_service(others.clone());
    v1::router(sources)
        .merge(restjson::router(state.clone()))
        .merge(cloudwatch::router(state, others))
        .fallback_service(unknown)
}
