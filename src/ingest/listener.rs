//! Accepts publishers: connection limits, socket options, one task each. Step 1 of the walk.
//!
//! In:  a bound [`TcpListener`]. Out: a connection task for everyone who is let in.
//! Not here: the connection itself (`connection`), TLS (a later listener wraps the same task).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::Instrument;

use super::connection::Connection;
use super::gate::Gate;
use crate::base::tasks::Tasks;

/// Pause after a failed accept: usually the process has run out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Idle time after which the kernel asks whether the peer is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);

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

/// Accepts publishers until `tasks` is cancelled. The connections are tasks of the same group:
/// they see the cancellation themselves and tell their encoders.
pub async fn serve(listener: TcpListener, config: Arc<Config>, gate: Arc<dyn Gate>, tasks: Tasks) {
    let limits = Arc::new(Limits::new(&config));
    let token = tasks.token().clone();
    loop {
        let accepted = tokio::select! {
            biased;
            () = token.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, remote)) => match Limits::admit(&limits, remote.ip()) {
                Ok(admitted) => {
                    let connection =
                        Connection::new(stream, remote, Arc::clone(&config), token.clone());
                    start(connection, admitted, Arc::clone(&gate), &tasks);
                }
                Err(reason) => {
                    metrics::counter!("weir_ingest_turned_away_total", "reason" => reason)
                        .increment(1);
                    tracing::debug!(%remote, reason, "connection turned away");
                }
            },
            Err(error) => {
                tracing::warn!(%error, "cannot accept a publisher's connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn start(connection: Connection, admitted: Admitted, gate: Arc<dyn Gate>, tasks: &Tasks) {
    let span = tracing::info_span!(
        "rtmp",
        remote = %connection.remote(),
        session.id = tracing::field::Empty,
    );
    let task = async move {
        let Admitted { unpublished, place } = admitted;
        connection.run(gate, unpublished).await;
        drop(place);
    };
    tasks.spawn("rtmp connection", task.instrument(span));
}

/// What every publisher's socket gets.
pub(super) fn set_socket_options(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))
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

/// Proof of being let in.
struct Admitted {
    /// Given back when the publisher is accepted.
    unpublished: OwnedSemaphorePermit,
    place: Place,
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
    fn admit(limits: &Arc<Self>, address: IpAddr) -> Result<Admitted, &'static str> {
        let address = counted_address(address);
        let unpublished = Arc::clone(&limits.unpublished).try_acquire_owned();
        let unpublished = unpublished.map_err(|_| "unpublished")?;
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
        Ok(Admitted {
            unpublished,
            place: Place {
                limits: Arc::clone(limits),
                address,
            },
        })
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

/// An IPv6 customer has a /64 at least.
fn counted_address(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(total: usize, per_address: usize, unpublished: usize) -> Arc<Limits> {
        Arc::new(Limits::new(&Config {
            max_connections: total,
            max_connections_per_address: per_address,
            max_unpublished: unpublished,
            ..Config::default()
        }))
    }

    fn admit(limits: &Arc<Limits>, address: &str) -> Result<Admitted, &'static str> {
        Limits::admit(limits, address.parse().unwrap())
    }

    #[test]
    fn each_limit_holds_and_places_are_given_back() {
        let by_total = limits(2, 9, 9);
        let first = admit(&by_total, "10.0.0.1").ok();
        let _second = admit(&by_total, "10.0.0.2").ok();
        assert_eq!(admit(&by_total, "10.0.0.3").err(), Some("total"));
        drop(first);
        assert!(admit(&by_total, "10.0.0.3").is_ok());

        let by_address = limits(9, 1, 9);
        let first = admit(&by_address, "2001:db8::1").ok();
        assert_eq!(admit(&by_address, "2001:db8::2").err(), Some("address"));
        assert!(admit(&by_address, "2001:db8:0:1::2").is_ok());
        let _v4 = admit(&by_address, "10.0.0.1").ok();
        assert_eq!(admit(&by_address, "::ffff:10.0.0.1").err(), Some("address"));
        drop(first);
        assert!(admit(&by_address, "2001:db8::2").is_ok());
        assert_eq!(by_address.open.lock().unwrap().by_address.len(), 1);

        let by_unpublished = limits(9, 9, 1);
        let Admitted {
            unpublished,
            place: _place,
        } = admit(&by_unpublished, "10.0.0.1").ok().unwrap();
        assert_eq!(
            admit(&by_unpublished, "10.0.0.1").err(),
            Some("unpublished")
        );
        drop(unpublished);
        assert!(admit(&by_unpublished, "10.0.0.1").is_ok());
    }
}
