//! Accepts publishers: connection limits, one task each. Step 1 of the walk.
//!
//! In:  a bound [`TcpListener`], and connections that came through TLS. Out: a connection task for everyone who is let in.
//! Not here: the connection itself (`connection`), TLS and sockets (`base`).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::Instrument;

use super::connection::Connection;
use super::gate::Gate;
use crate::base::accept::{accept, counted_address};
use crate::base::proxy::Trusted;
use crate::base::stream::Stream;
use crate::base::tasks::Tasks;

/// What every RTMP connection begins with.
pub const RTMP_VERSION: u8 = 3;

/// `[ingest]`: where publishers connect, and what they may cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port for RTMP.
    pub listen: SocketAddr,
    /// From accept to the end of the handshake.
    pub handshake_timeout_ms: u64,
    /// From the handshake to `publish`; also how long the gate may think.
    pub publish_timeout_ms: u64,
    /// From acceptance to the first audio or video message.
    pub first_media_timeout_ms: u64,
    /// Without audio and video for so long, a publisher is closed.
    pub silence_timeout_ms: u64,
    /// How long a stream session that does not take its media is waited for.
    pub queue_timeout_ms: u64,
    /// Connections in all.
    pub max_connections: usize,
    /// Connections of one IPv4 address, or of one IPv6 /64.
    pub max_connections_per_address: usize,
    /// Connections that have not been accepted as publishers yet.
    pub max_unpublished: usize,
    /// Whether channels without `insecureIngest` are published to through TLS only.
    pub require_tls: bool,
    /// Load balancers that speak the PROXY protocol on the plain listener.
    pub proxy_protocol_from: Trusted,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 1935)),
            handshake_timeout_ms: 5_000,
            publish_timeout_ms: 10_000,
            first_media_timeout_ms: 10_000,
            silence_timeout_ms: 10_000,
            queue_timeout_ms: 5_000,
            max_connections: 1024,
            max_connections_per_address: 128,
            max_unpublished: 256,
            require_tls: false,
            proxy_protocol_from: Trusted::default(),
        }
    }
}

impl Config {
    /// Refuses limits with which nobody could publish; the key and the problem.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        let limits = [
            ("ingest.handshake_timeout_ms", self.handshake_timeout_ms),
            ("ingest.publish_timeout_ms", self.publish_timeout_ms),
            ("ingest.first_media_timeout_ms", self.first_media_timeout_ms),
            ("ingest.silence_timeout_ms", self.silence_timeout_ms),
            ("ingest.queue_timeout_ms", self.queue_timeout_ms),
            ("ingest.max_connections", self.max_connections as u64),
            (
                "ingest.max_connections_per_address",
                self.max_connections_per_address as u64,
            ),
            ("ingest.max_unpublished", self.max_unpublished as u64),
        ];
        let refused = limits
            .into_iter()
            .find(|(_, limit)| !(1..=86_400_000).contains(limit));
        refused.map_or(Ok(()), |(key, _)| {
            Err((key, "it must be 1 to 86400000".to_owned()))
        })
    }
}

/// Takes in publishers: those of a listener, and those that come through TLS. The limits are theirs together.
pub struct Server {
    config: Arc<Config>,
    gate: Arc<dyn Gate>,
    tasks: Tasks,
    limits: Arc<Limits>,
}

impl Server {
    /// A server whose connections are tasks of `tasks`: they see its cancellation themselves and tell their encoders.
    pub fn new(config: Config, gate: Arc<dyn Gate>, tasks: Tasks) -> Arc<Self> {
        let limits = Arc::new(Limits::new(&config));
        let config = Arc::new(config);
        Arc::new(Self {
            config,
            gate,
            tasks,
            limits,
        })
    }

    /// Accepts publishers until the task group is cancelled.
    pub async fn listen(self: Arc<Self>, listener: TcpListener) {
        let token = self.tasks.token();
        loop {
            let (mut stream, peer) = tokio::select! {
                biased;
                () = token.cancelled() => return,
                accepted = accept(&listener) => accepted,
            };
            let Some(unpublished) = self.enter(peer) else {
                continue;
            };
            let server = Arc::clone(&self);
            self.tasks.spawn("rtmp connection", async move {
                let client = server.config.proxy_protocol_from.client(&mut stream, peer);
                match server.tasks.token().run_until_cancelled(client).await {
                    None => {}
                    Some(Ok(client)) => {
                        let stream = Stream::Plain(stream);
                        server.serve(stream, client, unpublished).await;
                    }
                    Some(Err(error)) => {
                        tracing::debug!(remote = %peer, %error, "connection closed");
                    }
                }
            });
        }
    }

    /// Serves a connection that was accepted elsewhere; closes it if it meets a limit or the server stops.
    pub fn take(self: &Arc<Self>, stream: Stream, client: SocketAddr) {
        if self.tasks.token().is_cancelled() {
            return;
        }
        let Some(unpublished) = self.enter(client) else {
            return;
        };
        let server = Arc::clone(self);
        self.tasks.spawn("rtmp connection", async move {
            server.serve(stream, client, unpublished).await;
        });
    }

    /// Room among those that have not published yet.
    fn enter(&self, remote: SocketAddr) -> Option<OwnedSemaphorePermit> {
        let unpublished = Arc::clone(&self.limits.unpublished).try_acquire_owned();
        if unpublished.is_err() {
            turn_away(remote, "unpublished");
        }
        unpublished.ok()
    }

    async fn serve(&self, stream: Stream, client: SocketAddr, unpublished: OwnedSemaphorePermit) {
        let _place = match Limits::admit(&self.limits, client.ip()) {
            Ok(place) => place,
            Err(reason) => return turn_away(client, reason),
        };
        let span = tracing::info_span!(
            "rtmp",
            remote = %client,
            session.id = tracing::field::Empty,
        );
        let (config, token) = (Arc::clone(&self.config), self.tasks.token().clone());
        let connection = Connection::new(stream, client, config, token);
        let gate = Arc::clone(&self.gate);
        connection.run(gate, unpublished).instrument(span).await;
    }
}

fn turn_away(remote: SocketAddr, reason: &'static str) {
    metrics::counter!("weir_ingest_turned_away_total", "reason" => reason).increment(1);
    tracing::debug!(%remote, reason, "connection turned away");
}

/// The connection limits and what counts against them.
struct Limits {
    max_connections: usize,
    max_per_address: usize,
    unpublished: Arc<Semaphore>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A connection's share of the limits.
struct Place {
    limits: Arc<Limits>,
    address: IpAddr,
}

impl Limits {
    fn new(config: &Config) -> Self {
        let unpublished = config.max_unpublished.min(Semaphore::MAX_PERMITS);
        Self {
            max_connections: config.max_connections,
            max_per_address: config.max_connections_per_address,
            unpublished: Arc::new(Semaphore::new(unpublished)),
            open: Mutex::default(),
        }
    }

    /// Lets a connection in, or names the limit that it meets.
    fn admit(limits: &Arc<Self>, address: IpAddr) -> Result<Place, &'static str> {
        let address = counted_address(address);
        let mut open = limits.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.total >= limits.max_connections {
            return Err("total");
        }
        let of_address = open.by_address.get(&address).copied().unwrap_or(0);
        if of_address >= limits.max_per_address {
            return Err("address");
        }
        open.total = open.total.saturating_add(1);
        open.by_address
            .insert(address, of_address.saturating_add(1));
        metrics::gauge!("weir_ingest_connections").increment(1.0);
        let limits = Arc::clone(limits);
        Ok(Place { limits, address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self
            .limits
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        open.total = open.total.saturating_sub(1);
        let left = open
            .by_address
            .get(&self.address)
            .map_or(0, |n| n.saturating_sub(1));
        if left == 0 {
            open.by_address.remove(&self.address);
        } else {
            open.by_address.insert(self.address, left);
        }
        metrics::gauge!("weir_ingest_connections").decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::{Publication, PublishRequest, Refusal, RefusalCode};

    fn limits(total: usize, per_address: usize) -> Arc<Limits> {
        Arc::new(Limits::new(&Config {
            max_connections: total,
            max_connections_per_address: per_address,
            ..Config::default()
        }))
    }

    fn admit(limits: &Arc<Limits>, address: &str) -> Result<Place, &'static str> {
        Limits::admit(limits, address.parse().unwrap())
    }

    #[test]
    fn each_limit_holds_and_places_are_given_back() {
        let by_total = limits(2, 9);
        let first = admit(&by_total, "10.0.0.1").ok();
        let _second = admit(&by_total, "10.0.0.2").ok();
        assert_eq!(admit(&by_total, "10.0.0.3").err(), Some("total"));
        drop(first);
        assert!(admit(&by_total, "10.0.0.3").is_ok());

        let by_address = limits(9, 1);
        let first = admit(&by_address, "2001:db8::1").ok();
        assert_eq!(admit(&by_address, "2001:db8::2").err(), Some("address"));
        assert!(admit(&by_address, "2001:db8:0:1::2").is_ok());
        let _v4 = admit(&by_address, "10.0.0.1").ok();
        assert_eq!(admit(&by_address, "::ffff:10.0.0.1").err(), Some("address"));
        drop(first);
        assert!(admit(&by_address, "2001:db8::2").is_ok());
        assert_eq!(by_address.open.lock().unwrap().by_address.len(), 1);
    }

    struct Nobody;

    #[async_trait::async_trait]
    impl Gate for Nobody {
        async fn publish(&self, _: PublishRequest) -> Result<Publication, Refusal> {
            Err(Refusal::new(RefusalCode::BadName, "nobody"))
        }
    }

    #[test]
    fn those_who_have_not_published_are_few() {
        let config = Config {
            max_unpublished: 1,
            ..Config::default()
        };
        let server = Server::new(config, Arc::new(Nobody), Tasks::new());
        let remote = ([10, 0, 0, 1], 1).into();
        let first = server.enter(remote);
        assert!(first.is_some() && server.enter(remote).is_none());
        drop(first);
        assert!(server.enter(remote).is_some());
    }
}
