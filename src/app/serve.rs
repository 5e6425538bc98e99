//! The running server: everything assembled in order, and taken down again.
//!
//! Up:   state on disk and database -> directory and registry -> playlists of a process that died ->
//!       mirror -> HTTP -> RTMP -> TLS, so that nobody can publish into a server that cannot serve.
//! Down: RTMP first (publishers are told), then the channels (their playlists end), the mirror (it
//!       uploads the ends), HTTP and TLS (waiting viewers are answered); all within [`DRAIN_DEADLINE`], or
//!       until a second signal.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use http::header::{HOST, HeaderValue};
use http::{Request, Response};
use http_body_util::Either;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_service::Service as _;

use super::control;
use super::info::Info;
use super::open::{self, Opened};
use crate::base::accept;
use crate::base::clock::SystemClock;
use crate::base::http::{self as http_server, Pieces};
use crate::base::output::print;
use crate::base::proxy::Trusted;
use crate::base::shutdown::Shutdown;
use crate::base::stream::Stream;
use crate::base::tasks::Tasks;
use crate::base::telemetry::Metrics;
use crate::base::tls::certificates::{Certificates, Upkeep};
use crate::base::tls::{self, Greeted};
use crate::config::Config;
use crate::events::Bus;
use crate::live::measures::{self, Measures};
use crate::live::registry::Context;
use crate::live::{Admission, Registry, Transcoding};
use crate::model::repository::{ChannelRepository as _, EpochRepository as _, Page};
use crate::origin::protection::{self, Countries, Protection};
use crate::origin::{Growing, Origin, request};
use crate::playlist::Directory;
use crate::recording::restore::Restorer;
use crate::storage::Store;
use crate::{api, console, db, ingest, model, recording};

/// How long a drain may take before everything is dropped.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(30);
/// Open files asked of the system: a socket for every viewer, where it lets us.
const MAX_OPEN_FILES: u64 = 1 << 16;
/// How long the database may take to show that it is there.
const READY_DEADLINE: Duration = Duration::from_secs(2);
/// Most channels whose playlists are taken up at a start.
const MAX_TAKEN_UP: u32 = 1_000;
/// How often the metrics' sliding windows move on.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// The task groups, in the order they are stopped.
#[derive(Default)]
struct Groups {
    ingest: Tasks,
    live: Tasks,
    mirror: Tasks,
    http: Tasks,
    webhooks: Tasks,
    admin: Tasks,
}

impl Groups {
    async fn stop(&self) {
        for group in [
            &self.ingest,
            &self.live,
            &self.mirror,
            &self.http,
            &self.webhooks,
            &self.admin,
        ] {
            group.stop().await;
        }
    }
}

/// Runs the server until SIGTERM or SIGINT.
pub async fn serve(config: Config) -> anyhow::Result<()> {
    let metrics = Metrics::install()?;
    match rlimit::increase_nofile_limit(MAX_OPEN_FILES) {
        Ok(limit) => tracing::debug!(limit, "open files"),
        Err(error) => tracing::warn!(%error, "cannot raise the limit of open files"),
    }
    let shutdown = Shutdown::new();
    let groups = Groups::default();
    let opened = open::open(&config, &SystemClock).await?;
    let _sole = open::claim(&opened.data_dir)?;
    let info = Info::gather(&opened).await?;
    let http = bind(config.http.listen, "http.listen")?;
    let rtmp = bind(config.ingest.listen, "ingest.listen")?;
    let admin = bind(config.admin.listen, "admin.listen")?;
    let tls = open_tls(&config, &opened)?;

    let directory = Arc::new(Directory::new());
    let registry = Registry::new(Context {
        config: config.live.clone(),
        grid: config.hls,
        transcoding: Transcoding {
            config: config.transcode.clone(),
            ladders: Arc::new(config.ladders()?),
        },
        directory: Arc::clone(&directory),
        epochs: opened.repository.clone(),
        events: Arc::new(Bus::new()),
        clock: Arc::new(SystemClock),
        tasks: groups.live.clone(),
    });
    if config.recording.mirror_enabled {
        let location = config.storage.location(&opened.data_dir)?;
        let store = Store::open(&location, &config.storage, std::env::vars())?;
        take_up(&config, &opened.repository, &registry, store.clone()).await;
        recording::mirror::start(
            &config.recording,
            &config.hls,
            store,
            Arc::clone(&directory),
            Arc::new(SystemClock),
            &groups.mirror,
        );
    }
    let measures = Arc::new(Measures::default());
    let keeping = measures::keep(
        Arc::clone(&measures),
        Arc::clone(&registry),
        Arc::new(SystemClock),
        config.origin.max_viewers,
    );
    groups.live.spawn_cancellable("measures", keeping);
    let protection = open_protection(&config, &opened, &groups.http).await?;
    let served = (&directory, &registry, protection, Arc::clone(&measures));
    let take_http = serve_http(&config, &opened, served, http, &groups)?;
    let repository = Arc::clone(&opened.repository);
    serve_admin(
        &config,
        admin,
        (metrics, measures, shutdown.soft.clone()),
        repository,
        &groups.admin,
    );
    let keys = opened.repository.clone();
    let documents = opened.repository.clone();
    let requires_tls = config.ingest.require_tls;
    let gate = Arc::new(Admission::new(keys, documents, registry, requires_tls));
    let ingest = ingest::Server::new(config.ingest.clone(), gate, groups.ingest.clone());
    let listening = Arc::clone(&ingest).listen(rtmp);
    groups.ingest.spawn("rtmp listener", listening);
    if let Some(tls) = tls {
        serve_tls(&config, tls, take_http, ingest, &groups.http);
    }

    print(&info.to_string())?;
    tracing::info!(http = %config.http.listen, rtmp = %config.ingest.listen, "serving");
    run_until_stopped(&shutdown, &groups).await
}

/// Takes up the playlists of a process that died: before anybody can ask for them, but without waiting
/// until they are there.
async fn take_up(
    config: &Config,
    repository: &db::Repository,
    registry: &Arc<Registry>,
    store: Store,
) {
    let hold = Duration::from_secs(config.live.hold_seconds);
    let restorer = Restorer::new(store, Arc::new(SystemClock), &config.hls, hold);
    let found = async {
        for running in repository.running_epochs(MAX_TAKEN_UP).await? {
            if let Some(channel) = repository.load_channel(&running.channel_id).await? {
                registry.resume(channel, running, &restorer);
            }
        }
        Ok::<_, model::repository::Error>(())
    };
    match tokio::time::timeout(READY_DEADLINE, found).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "cannot look for playlists to take up"),
        Err(_) => tracing::error!("the database is slow; no more playlists are taken up"),
    }
}

/// Waits for the signal, then drains.
async fn run_until_stopped(shutdown: &Shutdown, groups: &Groups) -> anyhow::Result<()> {
    let signals = shutdown.clone().watch_signals();
    tokio::pin!(signals);
    tokio::select! {
        outcome = &mut signals => outcome.context("cannot watch signals")?,
        () = shutdown.soft.cancelled() => {}
    }
    tokio::select! {
        () = groups.stop() => tracing::info!("drained"),
        outcome = &mut signals => {
            outcome.context("cannot watch signals")?;
            tracing::warn!("stopped at once by a second signal");
        }
        () = tokio::time::sleep(DRAIN_DEADLINE) => {
            tracing::warn!("the drain took too long; dropping what is left");
        }
    }
    Ok(())
}

fn bind(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    accept::listen(address).with_context(|| {
        format!("cannot listen on {address}: free the port, or set {key} to another")
    })
}

/// What the TLS listener begins with.
struct Tls {
    listener: TcpListener,
    certificates: Certificates,
    upkeep: Upkeep,
}

/// The TLS listener's port and certificate, if there is one.
fn open_tls(config: &Config, opened: &Opened) -> anyhow::Result<Option<Tls>> {
    if !config.tls.is_enabled() {
        return Ok(None);
    }
    let (certificates, upkeep) = Certificates::open(&config.tls, &opened.data_dir)?;
    let listener = bind(config.tls.listen, "tls.listen")?;
    Ok(Some(Tls {
        listener,
        certificates,
        upkeep,
    }))
}

/// HTTPS and RTMPS, told apart by what a client says first. The listener goes with HTTP, which ends last.
fn serve_tls(
    config: &Config,
    tls: Tls,
    take_http: impl Fn(Stream, SocketAddr) + Send + Sync + 'static,
    ingest: Arc<ingest::Server>,
    tasks: &Tasks,
) {
    let take = move |greeted: Greeted| {
        let Greeted {
            stream,
            client,
            first_byte,
        } = greeted;
        match first_byte {
            Some(ingest::RTMP_VERSION) => ingest.take(stream, client),
            _ => take_http(stream, client),
        }
    };
    tasks.spawn_cancellable("certificates", tls.upkeep);
    tracing::info!(tls = %config.tls.listen, "serving HTTPS and RTMPS");
    let listening = tls::listen(
        tls.listener,
        config.tls.clone(),
        tls.certificates,
        tasks.clone(),
        take,
    );
    tasks.spawn("tls listener", listening);
}

/// Who may watch, kept fresh.
async fn open_protection(
    config: &Config,
    opened: &Opened,
    tasks: &Tasks,
) -> anyhow::Result<Arc<Protection>> {
    let path = &config.origin.country_database;
    let countries = if path.as_os_str().is_empty() {
        None
    } else {
        let bytes = tokio::fs::read(path).await.map_err(anyhow::Error::from);
        let countries = bytes.and_then(|bytes| Ok(Countries::new(bytes)?));
        let words = || format!("origin.country_database: cannot use {}", path.display());
        Some(countries.with_context(words)?)
    };
    let sources = protection::Sources {
        repository: opened.repository.clone(),
        countries,
        clock: Arc::new(SystemClock),
    };
    let scope = opened.endpoints.scope().clone();
    let protection = Protection::open(scope, opened.secret.expose(), sources).await?;
    tasks.spawn_cancellable("who may watch", Arc::clone(&protection).keep_fresh());
    Ok(protection)
}

/// Media straight to the origin, everything else through axum. Returns what takes further connections.
fn serve_http(
    config: &Config,
    opened: &Opened,
    (directory, registry, protection, measures): (
        &Arc<Directory>,
        &Arc<Registry>,
        Arc<Protection>,
        Arc<Measures>,
    ),
    listener: TcpListener,
    groups: &Groups,
) -> anyhow::Result<impl Fn(Stream, SocketAddr) + Send + Sync + 'static> {
    let tasks = &groups.http;
    let scope = opened.endpoints.scope();
    let origin = Origin::new(
        Arc::clone(directory),
        (scope.region(), scope.account()),
        config.hls.target_duration_s,
        &config.origin,
        Arc::new(SystemClock),
    );
    let origin = origin.protected_by(Arc::clone(&protection));
    let sources = control::sources(config, opened, (registry, measures), protection, tasks);
    control::start(&sources, &groups.webhooks)?;
    let router = api::router(sources, console::router());
    let handle = move |request, client: SocketAddr| {
        answer(origin.clone(), router.clone(), request, client.ip())
    };
    let server = http_server::Server::new(config.http.clone(), tasks.clone(), handle);
    tasks.spawn("http listener", Arc::clone(&server).listen(listener));
    Ok(move |stream, client| server.take(stream, client))
}

type Answer = Response<Either<Either<Pieces, Growing>, axum::body::Body>>;

async fn answer(
    origin: Origin,
    mut router: Router,
    mut request: Request<Incoming>,
    client: IpAddr,
) -> Answer {
    if request.uri().path().starts_with(request::PREFIX) {
        return origin.handle(&request, client).await.map(Either::Left);
    }
    // HTTP/2 has the host in the URI.
    let authority = request.uri().authority().map(|it| it.as_str().parse());
    if let Some(Ok(host)) = authority {
        let host: HeaderValue = host;
        request.headers_mut().entry(HOST).or_insert(host);
    }
    let Ok(answer) = router.call(request).await;
    answer.map(Either::Right)
}

/// Health and metrics, for the operator's eyes only.
fn serve_admin(
    config: &Config,
    listener: TcpListener,
    (metrics, measures, draining): (Metrics, Arc<Measures>, CancellationToken),
    repository: Arc<db::Repository>,
    tasks: &Tasks,
) {
    let rendered = metrics.clone();
    let render = move || async move { rendered.render() + &measures.render() };
    let ready = move || {
        let (draining, repository) = (draining.clone(), Arc::clone(&repository));
        async move {
            if draining.is_cancelled() {
                return (StatusCode::SERVICE_UNAVAILABLE, "draining\n");
            }
            let first = Page {
                after: None,
                limit: 1,
            };
            let asked = tokio::time::timeout(READY_DEADLINE, repository.list_channels(&first));
            match asked.await {
                Ok(Ok(_)) => (StatusCode::OK, "ready\n"),
                _ => (
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the database does not answer\n",
                ),
            }
        }
    };
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(render));
    let handle = move |request: Request<Incoming>, _: SocketAddr| {
        let mut router = router.clone();
        async move {
            let Ok(answer) = router.call(request).await;
            answer
        }
    };
    let limits = http_server::Config {
        listen: config.admin.listen,
        proxy_protocol_from: Trusted::default(),
        ..config.http.clone()
    };
    let server = http_server::Server::new(limits, tasks.clone(), handle);
    tasks.spawn("admin listener", server.listen(listener));
    tasks.spawn_cancellable("metrics upkeep", async move {
        loop {
            tokio::time::sleep(METRICS_UPKEEP).await;
            metrics.upkeep();
        }
    });
}
