//! Handshakes over real sockets, with clients that do as they should and others.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;

use ::http::{Request, Response};
use bytes::Bytes;
use hyper::body::Incoming;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::base::clock::{Clock as _, SystemClock};
use crate::base::http;

/// A listener, and those who got through.
struct Stage {
    address: SocketAddr,
    tasks: Tasks,
    greeted_rx: mpsc::Receiver<Greeted>,
    chain_pem: String,
    _folder: TempDir,
}

impl Stage {
    async fn start(config: Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = dev::certificate(&["localhost".to_owned()], SystemClock.now()).unwrap();
        let [certificate_file, key_file] =
            ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
        std::fs::write(&certificate_file, &made.chain_pem).unwrap();
        std::fs::write(&key_file, &made.key_pem).unwrap();
        let config = Config {
            certificate_file,
            key_file,
            ..config
        };
        let (certificates, _) = Certificates::open(&config, Path::new("")).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (greeted_tx, greeted_rx) = mpsc::channel(100);
        let take = move |greeted| greeted_tx.try_send(greeted).unwrap();
        let tasks = Tasks::new();
        let listening = listen(listener, config, certificates, tasks.clone(), take);
        tasks.spawn("tls listener", listening);
        Self {
            address,
            tasks,
            greeted_rx,
            chain_pem: made.chain_pem,
            _folder: folder,
        }
    }

    /// Shakes hands on a connection.
    async fn shake(
        &self,
        stream: TcpStream,
        version: &'static SupportedProtocolVersion,
        protocols: &[&[u8]],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates::chain(self.chain_pem.as_bytes()).unwrap() {
            roots.add(certificate).unwrap();
        }
        let builder = ClientConfig::builder_with_provider(provider());
        let builder = builder.with_protocol_versions(&[version]).unwrap();
        let mut client = builder.with_root_certificates(roots).with_no_client_auth();
        client.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(client))
            .connect(name, stream)
            .await
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A connection from another address of this machine.
    async fn connect_from(&self, from: [u8; 4]) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((from, 0))).unwrap();
        socket.connect(self.address).await.unwrap()
    }
}

/// Reads until the server closes.
async fn closed(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let closed = stream.read_to_end(&mut rest);
    let closed = tokio::time::timeout(Duration::from_secs(10), closed).await;
    // A reset counts.
    closed.expect("the server closes").ok();
}

#[tokio::test]
async fn clients_with_and_without_http2_are_told_apart_and_nothing_is_read() {
    let mut stage = Stage::start(Config::default()).await;
    let (tls12, tls13) = (&rustls::version::TLS12, &rustls::version::TLS13);
    for (version, protocols, sent, first_byte) in [
        (tls13, &[][..], &b"\x03rtmp"[..], Some(3)),
        (tls12, &[], b"\x03rtmp", Some(3)),
        (tls12, &[], b"GET /", Some(b'G')),
        (tls13, &[HTTP1], b"GET /", Some(b'G')),
        (tls13, &[HTTP2, HTTP1], b"PRI *", None),
        (tls12, &[HTTP2, HTTP1], b"PRI *", None),
    ] {
        let stream = stage.connect().await;
        let mut client = stage.shake(stream, version, protocols).await.unwrap();
        client.write_all(sent).await.unwrap();
        let mut greeted = stage.greeted_rx.recv().await.unwrap();
        assert_eq!(greeted.first_byte, first_byte, "{protocols:?}");
        assert_eq!(greeted.client, client.get_ref().0.local_addr().unwrap());
        assert!(greeted.stream.is_encrypted());
        let mut read = [0; 5];
        greeted.stream.read_exact(&mut read).await.unwrap();
        assert_eq!(read, sent);
        // Without TLS's goodbye: an end like any other.
        client.get_mut().0.shutdown().await.unwrap();
        assert_eq!(greeted.stream.read(&mut read).await.unwrap(), 0);
    }
    stage.tasks.stop().await;
}

#[tokio::test]
async fn who_dawdles_is_closed_and_keeps_nobody_waiting() {
    let config = Config {
        handshake_timeout_ms: 3_000,
        max_handshakes: 8,
        ..Config::default()
    };
    let mut stage = Stage::start(config).await;
    let mut idle = Vec::new();
    for n in 0..200 {
        let mut stream = stage.connect_from([127, 0, 0, 2]).await;
        // Nothing, half a ClientHello, or a whole handshake and then nothing.
        if n % 3 == 1 {
            stream
                .write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1])
                .await
                .unwrap();
        }
        idle.push(stream);
    }
    let stream = stage.connect_from([127, 0, 0, 2]).await;
    let mute = stage
        .shake(stream, &rustls::version::TLS13, &[])
        .await
        .unwrap();
    let stream = stage.connect().await;
    let good = stage.shake(stream, &rustls::version::TLS13, &[HTTP2]).await;
    let good = tokio::time::timeout(Duration::from_millis(2_900), async {
        (good.unwrap(), stage.greeted_rx.recv().await.unwrap())
    });
    good.await.expect("within the time of those who dawdle");
    for stream in idle {
        closed(stream).await;
    }
    closed(mute.into_inner().0).await;
    assert!(stage.greeted_rx.try_recv().is_err());
    stage.tasks.stop().await;
}

#[tokio::test]
async fn what_is_no_tls_is_closed() {
    let stage = Stage::start(Config::default()).await;
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[3; 1537],
        &[0; 64],
        &[0x16, 3, 1, 0xff, 0xff],
    ] {
        let mut stream = stage.connect().await;
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        closed(stream).await;
    }
    stage.tasks.stop().await;
}

#[tokio::test]
async fn a_proxy_names_the_client_before_tls() {
    let trusted = vec!["127.0.0.1".parse().unwrap()];
    let config = Config {
        proxy_protocol_from: Trusted::new(trusted),
        ..Config::default()
    };
    let mut stage = Stage::start(config).await;
    let mut stream = stage.connect().await;
    stream
        .write_all(b"PROXY TCP4 192.0.2.7 127.0.0.1 4000 443\r\n")
        .await
        .unwrap();
    stage
        .shake(stream, &rustls::version::TLS13, &[HTTP2])
        .await
        .unwrap();
    let greeted = stage.greeted_rx.recv().await.unwrap();
    assert_eq!(greeted.client.to_string(), "192.0.2.7:4000");
    // Without the header, and from elsewhere: no TLS at all.
    let refused = [
        stage.connect().await,
        stage.connect_from([127, 0, 0, 2]).await,
    ];
    for stream in refused {
        assert!(
            stage
                .shake(stream, &rustls::version::TLS13, &[])
                .await
                .is_err()
        );
    }
    stage.tasks.stop().await;
}

#[test]
fn contradictions_are_refused() {
    let valid = Config::default();
    assert_eq!(valid.validate(), Ok(()));
    assert!(!valid.is_enabled());
    let file = || "x.pem".into();
    for (config, key) in [
        (
            Config {
                certificate_file: file(),
                ..valid.clone()
            },
            "tls.certificate_file",
        ),
        (
            Config {
                key_file: file(),
                ..valid.clone()
            },
            "tls.key_file",
        ),
        (
            Config {
                certificate_file: file(),
                key_file: file(),
                acme_domains: vec!["live.example.org".to_owned()],
                ..valid.clone()
            },
            "tls.acme_domains",
        ),
        (
            Config {
                acme_directory: "http://x".to_owned(),
                ..valid.clone()
            },
            "tls.acme_directory",
        ),
        (
            Config {
                reload_seconds: 0,
                ..valid.clone()
            },
            "tls.reload_seconds",
        ),
        (
            Config {
                handshake_timeout_ms: 0,
                ..valid.clone()
            },
            "tls.handshake_timeout_ms",
        ),
        (
            Config {
                max_handshakes: 0,
                ..valid.clone()
            },
            "tls.max_handshakes",
        ),
    ] {
        assert_eq!(config.validate().unwrap_err().0, key);
    }
}

/// A body that says when nobody holds it any more.
struct Held {
    bytes: Vec<u8>,
    _held_tx: mpsc::Sender<()>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[tokio::test]
async fn a_viewer_who_reads_nothing_is_cut_off_as_without_tls() {
    let mut stage = Stage::start(Config::default()).await;
    let (held_tx, mut released_rx) = mpsc::channel(1);
    let body = Bytes::from_owner(Held {
        bytes: vec![0; 1 << 20],
        _held_tx: held_tx,
    });
    let held = Arc::new(Mutex::new(Some(body)));
    let answer = move |_: Request<Incoming>| {
        let piece = held.lock().unwrap().take().unwrap();
        // More than all buffers on the way together.
        let pieces = http::Pieces::new(vec![piece; 256]);
        async move { Response::new(pieces) }
    };
    let limits = http::Config {
        write_stall_seconds: 1,
        ..http::Config::default()
    };
    let server = http::Server::new(limits, stage.tasks.clone(), answer);
    let stream = stage.connect().await;
    let shaken = stage.shake(stream, &rustls::version::TLS13, &[HTTP1]).await;
    let mut viewer = shaken.unwrap();
    viewer
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let greeted = stage.greeted_rx.recv().await.unwrap();
    server.take(greeted.stream, greeted.client);
    let released = tokio::time::timeout(Duration::from_secs(10), released_rx.recv());
    assert_eq!(released.await.expect("it is cut off"), None);
    drop(viewer);
    stage.tasks.stop().await;
}
