//! `weir dev-cert`: a certificate that one's own machine can be served with, in the data directory.

use std::net::IpAddr;

use clap::Args;
use url::{Host, Url};

use crate::app::dev_cert;
use crate::base::clock::Clock;
use crate::config::Config;

/// Hosts that every machine calls itself by.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A further name or address to make it for; may be given more than once. This machine, and the hosts of the public
    /// URL and of ingest, are in it anyway.
    #[arg(long = "host", value_name = "HOST", value_parser = host)]
    hosts: Vec<String>,
}

fn host(text: &str) -> Result<String, String> {
    if text.parse::<IpAddr>().is_err() {
        Host::parse(text).map_err(|error| error.to_string())?;
    }
    Ok(text.to_owned())
}

/// Makes it anew each time; the answer says how to use it.
pub(super) fn run(
    arguments: Arguments,
    config: &Config,
    clock: &dyn Clock,
) -> anyhow::Result<String> {
    let endpoints = config.endpoints()?;
    let ingest = format!("rtmp://{}", endpoints.ingest_endpoint());
    let configured = [endpoints.public_url(), &ingest];
    let configured = configured.into_iter().filter_map(host_of);
    let mut hosts: Vec<String> = LOCAL.map(str::to_owned).into();
    for host in configured.chain(arguments.hosts) {
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    let made = dev_cert::make(config.data_dir(), &hosts, clock.now())?;
    let (certificate, key) = (made.certificate.display(), made.key.display());
    Ok(format!(
        "certificate   {certificate}\nkey           {key}\nhosts         {}\ngood until    {}\n\n\
         Serve with it, by HTTPS and RTMPS on port {}; a running server takes a new one by itself:\n  \
         WEIR__TLS__CERTIFICATE_FILE={certificate} WEIR__TLS__KEY_FILE={key} weir serve\n\
         Clients must be told to trust it:\n  \
         curl --cacert {certificate} https://localhost:{}/\n",
        hosts.join(", "),
        made.until.date_naive(),
        config.tls.listen.port(),
        config.tls.listen.port(),
    ))
}

/// Without the brackets of an IPv6 address.
fn host_of(url: &str) -> Option<String> {
    let host = Url::parse(url).ok()?.host_str()?.to_owned();
    Some(host.trim_matches(['[', ']']).to_owned())
}
