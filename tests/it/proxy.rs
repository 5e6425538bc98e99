//! The PROXY protocol on every listener: limits and logs see the client that a load balancer names.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use weir::ingest::Config;

use super::support::rtmp_client::Publisher;
use super::support::rtmp_server::Server;
use super::support::server::TestServer;
use super::support::tls::Secured;
use super::support::{eventually, within};

const TRUSTED: &str = r#"["127.0.0.1"]"#;

/// Version 2, from 192.0.2.`host`:4660 to 198.51.100.1:443.
fn v2(host: u8) -> Vec<u8> {
    let addresses = [192, 0, 2, host, 198, 51, 100, 1, 0x12, 0x34, 1, 187];
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &addresses].concat()
}

fn v1(host: u8) -> Vec<u8> {
    format!("PROXY TCP4 192.0.2.{host} 198.51.100.1 4660 443\r\n").into_bytes()
}

/// A publisher that comes through a load balancer with this header.
async fn through(header: &[u8], server: SocketAddr) -> std::io::Result<Publisher> {
    let mut publisher = Publisher::dial(server).await?;
    publisher.send_raw(header).await?;
    publisher.handshake().await?;
    publisher.send_connect("app").await?;
    publisher.send_publish("good").await?;
    Ok(publisher)
}

/// What a server answers to these bytes until it closes.
async fn answer(server: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let closed = stream.read_to_end(&mut answer);
    // A reset counts.
    within(20, "end of the answer", closed).await.ok();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn publishers_are_counted_by_the_address_that_is_named() {
    let trusted = vec!["127.0.0.1".parse().unwrap()];
    let config = Config {
        max_connections_per_address: 1,
        proxy_protocol_from: weir::base::proxy::Trusted::new(trusted),
        ..Config::default()
    };
    let mut server = Server::start(config).await;
    let mut publishers = Vec::new();
    for (header, remote) in [(v1(1), "192.0.2.1:4660"), (v2(2), "192.0.2.2:4660")] {
        publishers.push(through(&header, server.address).await.unwrap());
        let published = server.published_rx.recv().await.unwrap();
        assert_eq!(published.request.remote.to_string(), remote);
    }
    // A second one of the same address; what is no header; a header without an end.
    assert!(through(&v1(2), server.address).await.is_err());
    let endless = [&b"PROXY TCP4 "[..], &[b'1'; 4096]].concat();
    let large = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff"[..], &[0; 9_000]].concat();
    for bytes in [&[3; 1537][..], &endless, &large] {
        let mut attacker = Publisher::dial(server.address).await.unwrap();
        // It may be closed before all of it is sent.
        attacker.send_raw(bytes).await.ok();
        attacker.expect_closed().await.unwrap();
    }
    assert!(server.published_rx.try_recv().is_err());
    drop(publishers);
    server.tasks.stop().await;
}

#[tokio::test]
async fn without_proxies_a_header_is_nothing_but_wrong_bytes() {
    let server = Server::start(Config::default()).await;
    assert!(through(&v1(1), server.address).await.is_err());
    server.tasks.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn access_logs_tell_the_address_that_is_named() {
    const GET: &[u8] = b"GET /v1/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let env = [
        ("WEIR__HTTP__PROXY_PROTOCOL_FROM", TRUSTED),
        ("WEIR_LOG", "info,weir::access=debug"),
    ];
    let server = TestServer::start_with(&env).await;
    for header in [v1(7), v2(8)] {
        let answered = answer(server.http, &[&header, GET].concat()).await;
        assert!(answered.starts_with("HTTP/1.1 200"), "{answered}");
    }
    assert_eq!(answer(server.http, GET).await, "", "the header is required");
    assert!(server.metric("weir_proxy_refused_total").await >= 1.0);
    let log = server.log();
    for remote in ["remote=192.0.2.7:4660", "remote=192.0.2.8:4660"] {
        let told = |line: &&str| line.contains(remote) && line.contains("path=\"/v1/live\"");
        assert_eq!(log.lines().filter(told).count(), 1, "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_passes_tls_through() {
    let env = [
        ("WEIR__TLS__PROXY_PROTOCOL_FROM", TRUSTED),
        ("WEIR_LOG", "info,weir::access=debug"),
    ];
    let stage = Secured::start(&env).await;
    let url = format!("https://{}/v1/live", stage.tls);
    // curl speaks version 1 itself, of its own address.
    for option in ["--http2", "--http1.1"] {
        let (told, body) = stage.curl(&url, &["--haproxy-protocol", option]).await;
        assert!(
            told.ends_with(" 200") && body.contains("channels"),
            "{told}"
        );
    }
    let log = eventually(10, "access log", || async {
        let log = stage.server.log();
        (log.matches("path=\"/v1/live\"").count() == 2).then_some(log)
    });
    assert!(log.await.contains("version=HTTP/2.0"));
    assert!(stage.client().get(&url).send().await.is_err());
}
