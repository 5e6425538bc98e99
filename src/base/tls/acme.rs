//! Certificates from an ACME authority (Let's Encrypt and its kin), by the challenge TLS-ALPN-01: the authority connects to
//! port 443 of each name and must reach this listener there.
//!
//! In:  the names, the authority, a folder. Out: what handshakes ask; a task that orders, renews, and keeps account and
//! certificate in the folder.
//! Read: RFC 8555, 8737.

use std::path::Path;
use std::sync::Arc;

use futures_util::StreamExt as _;
use rustls::server::ResolvesServerCert;
use rustls::{ClientConfig, RootCertStore};
use rustls_acme::AcmeConfig;
use rustls_acme::caches::DirCache;

use super::certificates::{Error, Upkeep, chain};
use super::{Config, provider};

/// What the authority asks for by ALPN.
pub(super) const CHALLENGE: &[u8] = rustls_acme::acme::ACME_TLS_ALPN_NAME;

/// Begins with what the folder holds; nothing is ordered before the task runs.
pub(super) fn open(
    config: &Config,
    folder: &Path,
) -> Result<(Arc<dyn ResolvesServerCert>, Upkeep), Error> {
    let domains = &config.acme_domains;
    let acme = if config.acme_ca_file.as_os_str().is_empty() {
        AcmeConfig::new_with_provider(domains, provider())
    } else {
        AcmeConfig::new_with_client_config(domains, Arc::new(private_client(&config.acme_ca_file)?))
    };
    let email = Some(&config.acme_email).filter(|email| !email.is_empty());
    let mut state = acme
        .contact(email.map(|email| format!("mailto:{email}")))
        .directory(&config.acme_directory)
        .cache(DirCache::new(folder.to_owned()))
        .state();
    let resolver = state.resolver();
    let upkeep = async move {
        while let Some(event) = state.next().await {
            match event {
                Ok(event) => tracing::info!(?event, "ACME"),
                Err(error) => tracing::error!("ACME: {error}; it is tried again"),
            }
        }
    };
    Ok((resolver, Box::pin(upkeep)))
}

/// A client that trusts nobody but who is in the file.
fn private_client(file: &Path) -> Result<ClientConfig, Error> {
    let key = "tls.acme_ca_file";
    let unusable = |problem| Error::Content {
        key,
        file: file.to_owned(),
        problem,
    };
    let text = std::fs::read(file).map_err(|problem| Error::Read {
        key,
        file: file.to_owned(),
        problem,
    })?;
    let mut roots = RootCertStore::empty();
    for certificate in chain(&text).map_err(unusable)? {
        roots
            .add(certificate)
            .map_err(|error| unusable(error.to_string()))?;
    }
    let builder = ClientConfig::builder_with_provider(provider());
    let builder = builder
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
