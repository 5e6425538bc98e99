//! The TLS listener: handshakes, bounded in time and number; what is within is somebody else's.
//!
//! In:  a bound listener, certificates (`certificates`) and a function that takes connections. Out: encrypted connections
//! with their client's address and first byte, each handed to that function.
//! Not here: which protocol a first byte means.
//! TLS 1.3 and 1.2, and only with forward secrecy: rustls has no other key exchange. ALPN is `h2` and `http/1.1`; clients
//! without it are welcome.

pub mod certificates;
pub mod dev;
mod acme;
mod handshakes;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::ServerSessionMemoryCache;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use self::certificates::Certificates;
use self::handshakes::{Handshakes, Place};
use super::accept::accept;
use super::proxy::{self, Trusted};
use super::stream::Stream;
use super::tasks::Tasks;

const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";
/// Sessions that can be resumed: a viewer who comes back saves a round trip and a signature.
const RESUMABLE_SESSIONS: usize = 16_384;

/// `[tls]`: HTTPS and RTMPS on one port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port; opened only with a certificate or ACME domains.
    pub listen: SocketAddr,
    /// PEM: the server's certificate, then those that vouch for it.
    pub certificate_file: PathBuf,
    /// PEM: the certificate's private key.
    pub key_file: PathBuf,
    /// How often both files are looked at for a new certificate.
    pub reload_seconds: u64,
    /// From accept to the first byte within TLS.
    pub handshake_timeout_ms: u64,
    /// Clients at once that have not shaken hands yet.
    pub max_handshakes: usize,
    /// Load balancers that speak the PROXY protocol.
    pub proxy_protocol_from: Trusted,
    /// Names to get a certificate for from an ACME authority.
    pub acme_domains: Vec<String>,
    /// Whom the authority may write to.
    pub acme_email: String,
    /// The authority's directory.
    pub acme_directory: String,
    /// PEM: whom to trust when talking to a private authority.
    pub acme_ca_file: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 8443)),
            certificate_file: PathBuf::new(),
            key_file: PathBuf::new(),
            reload_seconds: 10,
            handshake_timeout_ms: 5_000,
            max_handshakes: 1024,
            proxy_protocol_from: Trusted::default(),
            acme_domains: Vec::new(),
            acme_email: String::new(),
            acme_directory: "https://acme-v02.api.letsencrypt.org/directory".to_owned(),
            acme_ca_file: PathBuf::new(),
        }
    }
}

impl Config {
    /// Whether there is a TLS listener.
    pub fn is_enabled(&self) -> bool {
        !self.certificate_file.as_os_str().is_empty() || !self.acme_domains.is_empty()
    }

    /// Refuses what contradicts itself; the key and the problem.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        let refuse = |key, problem: &str| Err((key, problem.to_owned()));
        let has_certificate = !self.certificate_file.as_os_str().is_empty();
        let has_key = !self.key_file.as_os_str().is_empty();
        if has_certificate && !has_key {
            return refuse("tls.certificate_file", "set tls.key_file, too");
        }
        if has_key && !has_certificate {
            return refuse("tls.key_file", "set tls.certificate_file, too");
        }
        if has_certificate && !self.acme_domains.is_empty() {
            return refuse(
                "tls.acme_domains",
                "tls.certificate_file is set: use one of the two",
            );
        }
        if !self.acme_directory.starts_with("https://") {
            return refuse("tls.acme_directory", "it must start with https://");
        }
        if !(1..=86_400).contains(&self.reload_seconds) {
            return refuse("tls.reload_seconds", "it must be 1 to 86400");
        }
        if !(100..=60_000).contains(&self.handshake_timeout_ms) {
            return refuse("tls.handshake_timeout_ms", "it must be 100 to 60000");
        }
        if !(1..=1_000_000).contains(&self.max_handshakes) {
            return refuse("tls.max_handshakes", "it must be 1 to 1000000");
        }
        Ok(())
    }
}

/// A client that has shaken hands.
#[derive(Debug)]
pub struct Greeted {
    /// The connection, nothing of it read.
    pub stream: Stream,
    /// Who is at its other end.
    pub client: SocketAddr,
    /// What it begins with; none if HTTP/2 was agreed on: then that is what follows.
    pub first_byte: Option<u8>,
}

/// Why a client is not served.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Proxy(#[from] proxy::Error),
    #[error("TLS: {0}")]
    Tls(#[from] std::io::Error),
    #[error("closed without a byte")]
    Empty,
    #[error("the handshake took too long")]
    Late,
    #[error("given up for newer connections")]
    Crowded,
}

impl Refused {
    /// For metrics.
    fn label(&self) -> &'static str {
        match self {
            Self::Proxy(_) => "proxy",
            Self::Tls(_) => "failed",
            Self::Empty => "empty",
            Self::Late => "late",
            Self::Crowded => "crowded",
        }
    }
}

/// The one cryptography of this program.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// What clients are offered.
fn server_config(certificates: &Certificates) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(provider());
    let mut config = builder
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .expect("ring can do both versions")
        .with_no_client_auth()
        .with_cert_resolver(certificates.resolver());
    config.session_storage = ServerSessionMemoryCache::new(RESUMABLE_SESSIONS);
    config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
    if certificates.answers_challenges() {
        config.alpn_protocols.push(acme::CHALLENGE.to_vec());
    }
    config
}

/// What all handshakes of a listener share.
struct Greeter<T> {
    acceptor: TlsAcceptor,
    trusted: Trusted,
    limit: Duration,
    take: T,
}

/// Shakes hands with whoever connects, until `tasks` is cancelled; `take` gets those with whom that worked.
pub async fn listen<T>(
    listener: TcpListener,
    config: Config,
    certificates: Certificates,
    tasks: Tasks,
    take: T,
) where
    T: Fn(Greeted) + Send + Sync + 'static,
{
    let handshakes = Handshakes::new(config.max_handshakes);
    let greeter = Arc::new(Greeter {
        acceptor: TlsAcceptor::from(Arc::new(server_config(&certificates))),
        trusted: config.proxy_protocol_from,
        limit: Duration::from_millis(config.handshake_timeout_ms),
        take,
    });
    loop {
        let (stream, peer) = tokio::select! {
            biased;
            () = tasks.token().cancelled() => return,
            accepted = accept(&listener) => accepted,
        };
        let place = handshakes.enter(peer.ip());
        let greeter = Arc::clone(&greeter);
        tasks.spawn_cancellable("tls handshake", async move {
            greeter.welcome(stream, peer, place).await;
        });
    }
}

impl<T: Fn(Greeted)> Greeter<T> {
    /// Hands the client on, or closes its connection.
    async fn welcome(&self, stream: TcpStream, peer: SocketAddr, mut place: Place) {
        let given_up = place.given_up();
        let outcome = tokio::select! {
            () = given_up.cancelled() => Err(Refused::Crowded),
            outcome = tokio::time::timeout(self.limit, self.greet(stream, peer, &mut place)) => {
                outcome.unwrap_or(Err(Refused::Late))
            }
        };
        drop(place);
        let label = match &outcome {
            Ok(Some(_)) => "done",
            Ok(None) => "challenge",
            Err(refused) => refused.label(),
        };
        metrics::counter!("weir_tls_handshakes_total", "outcome" => label).increment(1);
        match outcome {
            Ok(Some(greeted)) => (self.take)(greeted),
            Ok(None) => tracing::info!("an ACME authority looked at its challenge"),
            Err(refused) => tracing::debug!(remote = %peer, %refused, "TLS connection closed"),
        }
    }

    /// None: it was an ACME authority that looked.
    async fn greet(
        &self,
        mut stream: TcpStream,
        peer: SocketAddr,
        place: &mut Place,
    ) -> Result<Option<Greeted>, Refused> {
        let client = self.trusted.client(&mut stream, peer).await?;
        place.belongs_to(client.ip());
        let mut stream = self.acceptor.accept(stream).await?;
        let agreed = stream.get_ref().1.alpn_protocol();
        if agreed == Some(acme::CHALLENGE) {
            stream.shutdown().await?;
            return Ok(None);
        }
        let first_byte = if agreed == Some(HTTP2) {
            None
        } else {
            let first = stream.fill_buf().await?.first().copied();
            Some(first.ok_or(Refused::Empty)?)
        };
        let stream = Stream::Tls(Box::new(stream));
        Ok(Some(Greeted {
            stream,
            client,
            first_byte,
        }))
    }
}

#[cfg(test)]
mod tests;
