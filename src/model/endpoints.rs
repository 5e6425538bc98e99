//! The URLs that this server hands out, built in one place.
//!
//! In:  the configured public URL and ingest host. Out: playback, watch and ingest URLs.
//! Standard: IVS `playbackUrl` (its path ends in `.m3u8`), `ingestEndpoint` (no scheme, no path).

use url::Url;

use super::arn::Scope;
use super::id::ChannelId;
use super::stream_key::StreamKeyValue;

/// RTMP's port; handed out only where it differs.
const STANDARD_PORT: u16 = 1935;

/// Where viewers and encoders find this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    scope: Scope,
    /// Without a slash at its end.
    public_url: String,
    ingest_endpoint: String,
}

impl Endpoints {
    /// From the public URL (http or https, no query) and the ingest host with its port if that
    /// is not standard; an empty host means the public URL's host and `rtmp_port`.
    pub fn new(
        scope: Scope,
        public_url: &str,
        ingest_host: &str,
        rtmp_port: u16,
    ) -> Result<Self, Invalid> {
        let url = Url::parse(public_url).map_err(|e| Invalid::PublicUrl(e.to_string()))?;
        let refuse = |why: &str| Err(Invalid::PublicUrl(why.to_owned()));
        if !matches!(url.scheme(), "http" | "https") {
            return refuse("it starts with http:// or https://");
        }
        if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
            return refuse("it has no user, query or fragment");
        }
        let host = url.host_str().unwrap_or_default();
        let ingest_endpoint = match (ingest_host, rtmp_port) {
            ("", STANDARD_PORT) => host.to_owned(),
            ("", port) => format!("{host}:{port}"),
            (given, _) => given.to_owned(),
        };
        let is_bare = |url: Url| url.path() == "/" && url.username().is_empty() && url.has_host();
        if !Url::parse(&format!("rtmp://{ingest_endpoint}/")).is_ok_and(is_bare) {
            return Err(Invalid::IngestHost);
        }
        let public_url = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self {
            scope,
            public_url,
            ingest_endpoint,
        })
    }

    /// Region and account of every ARN.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Base of all HTTP URLs, without a slash at its end.
    pub fn public_url(&self) -> &str {
        &self.public_url
    }

    /// Host, and port if not standard, that encoders connect to.
    pub fn ingest_endpoint(&self) -> &str {
        &self.ingest_endpoint
    }

    /// Path of a channel's multivariant playlist.
    pub fn playback_path(&self, channel: &ChannelId) -> String {
        let (region, account) = (self.scope.region(), self.scope.account());
        format!("/api/video/v1/{region}.{account}.channel.{channel}.m3u8")
    }

    /// A channel's multivariant playlist.
    pub fn playback_url(&self, channel: &ChannelId) -> String {
        format!("{}{}", self.public_url, self.playback_path(channel))
    }

    /// A channel's watch page.
    pub fn watch_url(&self, channel: &ChannelId) -> String {
        format!("{}/watch/{channel}", self.public_url)
    }

    /// What an encoder is given as server, without the key.
    pub fn ingest_server(&self) -> String {
        format!("rtmp://{}/app", self.ingest_endpoint)
    }

    /// What an encoder publishes to; it contains the secret.
    pub fn ingest_url(&self, key: &StreamKeyValue) -> String {
        format!("{}/{}", self.ingest_server(), key.expose())
    }
}

/// A configured address that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// The public URL.
    #[error("not a usable public URL: {0}")]
    PublicUrl(String),
    /// The ingest host.
    #[error("not a host, or host:port: it has no scheme and no path")]
    IngestHost,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(public_url: &str, ingest_host: &str) -> Result<Endpoints, Invalid> {
        let scope = Scope::new("us-east-1", "000000000000").unwrap();
        Endpoints::new(scope, public_url, ingest_host, STANDARD_PORT)
    }

    #[test]
    fn builds_every_url() {
        let here = endpoints("https://live.example.org/base/", "in.example.org:19350").unwrap();
        let id: ChannelId = "abcdABCDefgh".parse().unwrap();
        assert_eq!(
            here.playback_url(&id),
            "https://live.example.org/base/api/video/v1/us-east-1.000000000000.channel.abcdABCDefgh.m3u8"
        );
        assert_eq!(
            here.watch_url(&id),
            "https://live.example.org/base/watch/abcdABCDefgh"
        );
        let key: StreamKeyValue = "sk_us-east-1_abcdABCDefgh_secret".parse().unwrap();
        assert_eq!(
            here.ingest_url(&key),
            "rtmp://in.example.org:19350/app/sk_us-east-1_abcdABCDefgh_secret"
        );
    }

    #[test]
    fn the_ingest_host_defaults_to_the_public_one() {
        for (public_url, host) in [
            ("http://127.0.0.1:8080", "127.0.0.1"),
            ("http://[::1]:8080", "[::1]"),
        ] {
            assert_eq!(endpoints(public_url, "").unwrap().ingest_endpoint(), host);
        }
        let scope = Scope::new("us-east-1", "000000000000").unwrap();
        let moved = Endpoints::new(scope, "http://127.0.0.1:8080", "", 19350).unwrap();
        assert_eq!(moved.ingest_server(), "rtmp://127.0.0.1:19350/app");
    }

    #[test]
    fn refuses_what_cannot_be_handed_out() {
        for public_url in [
            "",
            "live.example.org",
            "ftp://x",
            "http://x/?a=1",
            "http://u@x",
        ] {
            assert!(endpoints(public_url, "").is_err(), "{public_url}");
        }
        for host in ["rtmp://x", "x/app", "x:port", "u@x", "a b"] {
            assert_eq!(
                endpoints("http://x", host),
                Err(Invalid::IngestHost),
                "{host}"
            );
        }
    }
}
