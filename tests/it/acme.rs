//! Certificates from an ACME authority: ordered once, by a challenge that the TLS listener answers, and kept.

use reqwest::{Certificate, Client};

use super::support::acme_authority::Authority;
use super::support::server::{TestServer, free_addresses};
use super::support::{eventually, viewer};

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_ordered_once_and_kept() {
    let [tls, ..] = free_addresses();
    let authority = Authority::start(tls).await;
    let (directory, trusted) = authority.configuration();
    let listen = tls.to_string();
    let env = [
        ("WEIR__TLS__LISTEN", &*listen),
        ("WEIR__TLS__ACME_DOMAINS", r#"["localhost"]"#),
        ("WEIR__TLS__ACME_DIRECTORY", &directory),
        ("WEIR__TLS__ACME_CA_FILE", &trusted),
    ];
    let mut server = TestServer::start_with(&env).await;
    viewer::client();
    let asked = || async {
        let issuer = Certificate::from_pem(authority.issuer_pem().as_bytes()).unwrap();
        let client = Client::builder().tls_certs_only([issuer]).build().unwrap();
        let url = format!("https://localhost:{}/v1/live", tls.port());
        client.get(url).send().await.ok()
    };
    eventually(30, "certificate", asked).await;
    assert_eq!(authority.orders(), 1, "{}", server.log());

    server.kill_and_restart().await;
    eventually(5, "certificate of before", asked).await;
    assert_eq!(authority.orders(), 1, "{}", server.log());
}
