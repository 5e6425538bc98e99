//! A server with a TLS listener and a development certificate, and clients that trust it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use reqwest::{Certificate, Client};
use tempfile::TempDir;
use tokio::process::Command;

use super::server::{Channel, TestServer, free_addresses};
use super::within;

/// A server, its TLS listener, and where its certificate is.
pub(crate) struct Secured {
    pub(crate) server: TestServer,
    pub(crate) tls: SocketAddr,
    folder: TempDir,
}

impl Secured {
    /// With these environment variables besides.
    pub(crate) async fn start(extra: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let told = dev_cert(folder.path()).await;
        assert!(told.contains("localhost, 127.0.0.1, ::1"), "{told}");
        let [tls, ..] = free_addresses();
        let file = |name: &str| folder.path().join(name).display().to_string();
        let (certificate, key) = (file("dev-cert.pem"), file("dev-key.pem"));
        let (listen, url) = (tls.to_string(), format!("https://{tls}"));
        let env = [
            ("WEIR_PUBLIC_URL", &*url),
            ("WEIR__TLS__LISTEN", &listen),
            ("WEIR__TLS__CERTIFICATE_FILE", &certificate),
            ("WEIR__TLS__KEY_FILE", &key),
            ("WEIR__TLS__RELOAD_SECONDS", "1"),
        ];
        let server = TestServer::start_with(&[&env[..], extra].concat()).await;
        Self {
            server,
            tls,
            folder,
        }
    }

    /// The certificate's chain, which clients may trust.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.path().join("dev-cert.pem")
    }

    /// Has another certificate made in the place of this one.
    pub(crate) async fn renew(&self) {
        dev_cert(self.folder.path()).await;
    }

    /// What an encoder publishes to.
    pub(crate) fn ingest_url(&self, channel: &Channel) -> String {
        format!("rtmps://{}/app/{}", self.tls, channel.stream_key)
    }

    /// A client that trusts the certificate as it is now, and nobody else.
    pub(crate) fn client(&self) -> Client {
        super::viewer::client();
        let chain = std::fs::read(self.certificate()).unwrap();
        let trusted = Certificate::from_pem_bundle(&chain).unwrap();
        Client::builder().tls_certs_only(trusted).build().unwrap()
    }

    /// What curl says to `%{http_version} %{http_code}` and the body, separated by a line.
    pub(crate) async fn curl(&self, url: &str, options: &[&str]) -> (String, String) {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--max-time", "20", "--cacert"])
            .arg(self.certificate())
            .args(["--write-out", "\n%{http_version} %{http_code}"])
            .args(options)
            .arg(url)
            .stdin(Stdio::null());
        let output = within(30, "end of curl", curl.output()).await.unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{url}: {words}");
        let text = String::from_utf8(output.stdout).unwrap();
        let (body, told) = text.rsplit_once('\n').unwrap();
        (told.to_owned(), body.to_owned())
    }
}

/// Runs `weir dev-cert`; what it says.
async fn dev_cert(folder: &Path) -> String {
    let mut weir = Command::new(env!("CARGO_BIN_EXE_weir"));
    weir.arg("dev-cert")
        .env_clear()
        .env("WEIR_DATA_DIR", folder);
    let output = within(30, "end of weir dev-cert", weir.output())
        .await
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    String::from_utf8(output.stdout).unwrap()
}
