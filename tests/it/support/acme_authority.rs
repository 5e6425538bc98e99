//! An ACME authority as small as can be (RFC 8555): it believes every signature, but looks itself whether the server answers
//! its challenge (RFC 8737), and gives certificates by an issuer of its own.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use rcgen::{BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use weir::base::clock::{Clock as _, SystemClock};
use weir::base::http::{Config, Server};
use weir::base::tasks::Tasks;
use weir::base::tls::certificates::Certificates;
use weir::base::tls::{self, dev};

const PROTOCOL: &[u8] = b"acme-tls/1";
/// DER of the object identifier of the extension that a challenge's certificate has.
const ACME_IDENTIFIER: [u8; 10] = [0x06, 0x08, 0x2b, 6, 1, 5, 5, 7, 1, 31];

/// A running authority.
pub(crate) struct Authority {
    shared: Arc<Shared>,
    address: SocketAddr,
    folder: TempDir,
    tasks: Tasks,
}

struct Shared {
    /// The server that asks for certificates.
    server: SocketAddr,
    issuer: rcgen::Certificate,
    issuer_key: KeyPair,
    orders: AtomicUsize,
    is_valid: AtomicBool,
    chain_pem: Mutex<Option<String>>,
}

impl Drop for Authority {
    fn drop(&mut self) {
        self.tasks.token().cancel();
    }
}

impl Authority {
    /// One whose only customer listens for TLS at `server`.
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let issuer_key = KeyPair::generate().unwrap();
        let mut issuer = CertificateParams::new([]).unwrap();
        issuer.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let shared = Arc::new(Shared {
            server,
            issuer: issuer.self_signed(&issuer_key).unwrap(),
            issuer_key,
            orders: AtomicUsize::new(0),
            is_valid: AtomicBool::new(false),
            chain_pem: Mutex::new(None),
        });
        let folder = tempfile::tempdir().unwrap();
        let made = dev::certificate(&["localhost".to_owned()], SystemClock.now()).unwrap();
        let [certificate_file, key_file] =
            ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
        std::fs::write(&certificate_file, made.chain_pem).unwrap();
        std::fs::write(&key_file, made.key_pem).unwrap();
        let config = tls::Config {
            certificate_file,
            key_file,
            ..tls::Config::default()
        };
        let (certificates, _) = Certificates::open(&config, folder.path()).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = Tasks::new();
        let answering = Arc::clone(&shared);
        let handle = move |request| answer(Arc::clone(&answering), address, request);
        let http = Server::new(Config::default(), tasks.clone(), handle);
        let take = move |greeted: tls::Greeted| http.take(greeted.stream, greeted.client);
        let listening = tls::listen(listener, config, certificates, tasks.clone(), take);
        tasks.spawn("acme authority", listening);
        Self {
            shared,
            address,
            folder,
            tasks,
        }
    }

    /// What the server is configured with: directory, and the file of whom to trust.
    pub(crate) fn configuration(&self) -> (String, String) {
        let trusted = self.folder.path().join("cert.pem").display().to_string();
        let directory = format!("https://localhost:{}/directory", self.address.port());
        (directory, trusted)
    }

    /// Who vouches for the certificates.
    pub(crate) fn issuer_pem(&self) -> String {
        self.shared.issuer.pem()
    }

    /// Certificates ordered so far.
    pub(crate) fn orders(&self) -> usize {
        self.shared.orders.load(Ordering::Relaxed)
    }
}

async fn answer(
    shared: Arc<Shared>,
    own: SocketAddr,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let url = |path: &str| format!("https://localhost:{}/{path}", own.port());
    let path = request.uri().path().trim_start_matches('/').to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let status = |is_done: bool| if is_done { "valid" } else { "pending" };
    let order = || {
        let is_valid = shared.is_valid.load(Ordering::Relaxed);
        let is_issued = shared.chain_pem.lock().unwrap().is_some();
        let ready = if is_valid { "ready" } else { "pending" };
        json!({
            "status": if is_issued { "valid" } else { ready },
            "authorizations": [url("authorization")],
            "finalize": url("finalize"),
            "certificate": url("certificate"),
        })
    };
    let mut text = None;
    let said = match &*path {
        "directory" => json!({
            "newNonce": url("nonce"),
            "newAccount": url("account"),
            "newOrder": url("order/new"),
        }),
        "order/new" => {
            shared.orders.fetch_add(1, Ordering::Relaxed);
            order()
        }
        "order" => order(),
        "authorization" => json!({
            "status": status(shared.is_valid.load(Ordering::Relaxed)),
            "identifier": { "type": "dns", "value": "localhost" },
            "challenges": [{ "type": "tls-alpn-01", "url": url("challenge"), "token": "a" }],
        }),
        "challenge" => {
            let answers = is_challenge_answered(shared.server).await;
            shared.is_valid.store(answers, Ordering::Relaxed);
            json!({})
        }
        "finalize" => {
            *shared.chain_pem.lock().unwrap() = Some(shared.issue(&body));
            order()
        }
        "certificate" => {
            text.clone_from(&shared.chain_pem.lock().unwrap());
            Value::Null
        }
        "nonce" => {
            text = Some(String::new());
            Value::Null
        }
        _ => json!({}),
    };
    Response::builder()
        .status(StatusCode::OK)
        .header("replay-nonce", "1")
        .header("location", url("order"))
        .body(Full::from(text.unwrap_or_else(|| said.to_string())))
        .unwrap()
}

impl Shared {
    /// The chain for a request to sign, as it comes in a signed body.
    fn issue(&self, body: &[u8]) -> String {
        let decoded = |value: &Value| URL_SAFE_NO_PAD.decode(value.as_str().unwrap()).unwrap();
        let body: Value = serde_json::from_slice(body).unwrap();
        let payload: Value = serde_json::from_slice(&decoded(&body["payload"])).unwrap();
        let request = decoded(&payload["csr"]).into();
        let request = CertificateSigningRequestParams::from_der(&request).unwrap();
        let signed = request.signed_by(&self.issuer, &self.issuer_key).unwrap();
        signed.pem() + &self.issuer.pem()
    }
}

/// Whether the server shows a challenge's certificate to whoever asks for that protocol.
async fn is_challenge_answered(server: SocketAddr) -> bool {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut client = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Challenge))
        .with_no_client_auth();
    client.alpn_protocols = vec![PROTOCOL.to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TcpStream::connect(server).await.unwrap();
    let shaken = TlsConnector::from(Arc::new(client)).connect(name, stream);
    let shaken = shaken.await.ok();
    shaken.is_some_and(|stream| stream.get_ref().1.alpn_protocol() == Some(PROTOCOL))
}

/// Accepts what has the extension of a challenge.
#[derive(Debug)]
struct Challenge;

impl ServerCertVerifier for Challenge {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let mut windows = shown.windows(ACME_IDENTIFIER.len());
        if windows.any(|window| window == ACME_IDENTIFIER) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(rustls::Error::General("no challenge".to_owned()))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
