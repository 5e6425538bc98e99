//! Whom a webhook may reach: nobody within, unless the operator says so.
//!
//! In:  a URL; names, when they are about to be connected to. Out: yes or why not; only addresses that may be reached, so
//! that a name that is looked up again and then lies elsewhere leads nowhere.
//! Read: RFC 6890 and IANA's registries of special-purpose addresses; OWASP on server-side request forgery.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::LazyLock;

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Longest URL.
const MAX_CHARS: usize = 2_048;

/// What is not the public network.
static WITHIN: LazyLock<Vec<IpNet>> = LazyLock::new(|| {
    let nets = [
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/96",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",
        "2001:db8::/32",
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    ];
    let parse = |net: &str| net.parse().expect("written above as a network");
    nets.into_iter().map(parse).collect()
});

/// Why a URL cannot be a receiver's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTarget {
    /// Not one at all.
    #[error(
        "the URL must be http:// or https:// with a host, without user and fragment, of at most {MAX_CHARS} characters"
    )]
    Malformed,
    /// On this machine, or in a private network.
    #[error("the address is private; the operator can allow it ([events] allow_private_targets)")]
    Private,
}

/// The URL, if posts may go there as far as can be told without looking a name up.
pub fn check(text: &str, allow_private: bool) -> Result<Url, InvalidTarget> {
    let url = Url::parse(text).map_err(|_| InvalidTarget::Malformed)?;
    let is_plain =
        url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    let is_http = ["http", "https"].contains(&url.scheme());
    if !is_plain || !is_http || text.len() > MAX_CHARS {
        return Err(InvalidTarget::Malformed);
    }
    let is_public = match url.host().ok_or(InvalidTarget::Malformed)? {
        Host::Ipv4(address) => is_public(address.into()),
        Host::Ipv6(address) => is_public(address.into()),
        Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            name != "localhost" && !name.ends_with(".localhost")
        }
    };
    (is_public || allow_private)
        .then_some(url)
        .ok_or(InvalidTarget::Private)
}

/// Whether an address is one of the public network; those that carry another within are judged by that, too.
fn is_public(address: IpAddr) -> bool {
    let is_within = WITHIN.iter().any(|net| net.contains(&address));
    match address {
        IpAddr::V4(_) => !is_within,
        IpAddr::V6(address) => match carried(address) {
            Some(inner) => is_public(inner.into()),
            None => !is_within,
        },
    }
}

/// The address of version 4 in a mapped, translated (NAT64) or tunnelled (6to4) one.
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let ([0, 0, 0, 0, 0, 0xffff, high, low]
    | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
    | [0x2002, high, low, ..]) = address.segments()
    else {
        return None;
    };
    Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)))
}

/// Finds the public addresses of names only.
#[derive(Debug)]
pub(super) struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|it| is_public(it.ip())).collect();
            if public.is_empty() {
                return Err(InvalidTarget::Private.into());
            }
            let public: Addrs = Box::new(public.into_iter());
            Ok(public)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_may_be_reached() {
        for text in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://0x7f000001/",
            "http://2130706433/",
            "http://0/",
            "http://10.1.2.3/",
            "http://172.31.255.255/",
            "http://192.168.0.1:8080/x",
            "http://169.254.169.254/latest/meta-data/",
            "http://100.64.0.1/",
            "http://255.255.255.255/",
            "http://localhost:9090/metrics",
            "http://LOCALHOST./",
            "http://a.localhost/",
            "http://[::1]/",
            "http://[::]/",
            "http://[::127.0.0.1]/",
            "http://[::ffff:10.0.0.1]/",
            "http://[64:ff9b::a00:1]/",
            "http://[64:ff9b:1::808:808]/",
            "http://[2002:7f00:1::]/",
            "http://[2001:0:808:808::]/",
            "http://[fd00::1]/",
            "http://[fe80::1]/",
            "http://[ff02::1]/",
        ] {
            assert_eq!(check(text, false), Err(InvalidTarget::Private), "{text}");
            assert!(check(text, true).is_ok(), "{text}");
        }
        for text in [
            "https://hooks.example.com/a?b=c",
            "http://8.8.8.8:81/",
            "http://172.32.0.1/",
            "http://[2606:4700::1111]/",
            "http://[64:ff9b::808:808]/",
            "http://[2002:808:808::1]/",
        ] {
            assert!(check(text, false).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_no_receiver_is_refused() {
        let long = format!("https://a.example/{}", "a".repeat(MAX_CHARS));
        for text in [
            "",
            "hooks.example.com",
            "ftp://a.example/",
            "file:///etc/passwd",
            "https://",
            "https://user@a.example/",
            "https://:secret@a.example/",
            "https://a.example/#b",
            long.as_str(),
        ] {
            assert_eq!(check(text, true), Err(InvalidTarget::Malformed), "{text}");
        }
    }

    #[tokio::test]
    async fn a_name_leads_to_public_addresses_only() {
        let name: Name = "localhost".parse().unwrap();
        let Err(refusal) = PublicOnly.resolve(name).await else {
            panic!("this machine is not public");
        };
        assert_eq!(refusal.downcast_ref(), Some(&InvalidTarget::Private));
    }
}
