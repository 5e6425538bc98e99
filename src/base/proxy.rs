//! The PROXY protocol, versions 1 and 2: a load balancer says first for whom it speaks.
//!
//! In:  a socket whose first bytes are unread, and the proxies that are trusted. Out: the client's address, with
//! everything behind the header still unread; or why the connection is closed.
//! Where proxies are trusted, a header is required, from one of them: it is never guessed whether there is one.
//! Read: `doc/proxy-protocol.txt` of `HAProxy`.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use proxy_header::{ParseConfig, ProxyHeader};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// From accept to the end of the header.
const DEADLINE: Duration = Duration::from_secs(5);
/// Every header is longer, of either version.
const BEGINNING: usize = 12;
/// How version 2 begins.
const SIGNATURE: &[u8; BEGINNING] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of version 2 before what its length counts.
const FIXED_V2: usize = 16;
/// Longest header of version 1.
const MAX_V1: usize = 107;
/// Longest header of version 2 that is taken: the addresses and what load balancers add to them.
const MAX_V2: usize = 2048;

/// An address, or a network in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(IpNet);

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let network = text.parse().or_else(|_| text.parse().map(IpAddr::into));
        let words = |_| format!("`{text}` is neither an address nor a network such as 10.0.0.0/8");
        network.map(Self).map_err(words)
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The proxies that are believed; none: there is no proxy, and no header.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Trusted(Vec<Network>);

/// Why a connection is closed before it begins.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It does not come from a trusted proxy.
    #[error("{0} is no trusted proxy")]
    Untrusted(IpAddr),
    /// What came is no header.
    #[error("the connection does not begin with a PROXY header")]
    NoHeader,
    /// The header is longer than any proxy needs.
    #[error("a PROXY header of more than {0} bytes")]
    TooLong(usize),
    /// The header breaks the protocol.
    #[error("malformed PROXY header: {0}")]
    Malformed(String),
    /// The header did not come in time.
    #[error("no PROXY header within {} ms", DEADLINE.as_millis())]
    Late,
    /// The connection broke.
    #[error("no PROXY header: {0}")]
    Io(#[from] io::Error),
}

impl Error {
    /// For metrics.
    fn label(&self) -> &'static str {
        match self {
            Self::Untrusted(_) => "untrusted",
            Self::NoHeader => "no_header",
            Self::TooLong(_) => "too_long",
            Self::Malformed(_) => "malformed",
            Self::Late => "late",
            Self::Io(_) => "io",
        }
    }
}

impl Trusted {
    /// Believes these.
    pub fn new(networks: Vec<Network>) -> Self {
        Self(networks)
    }

    /// Who is at the other end of a connection from `peer`: that peer itself, or whom the header names.
    pub async fn client<S>(&self, stream: &mut S, peer: SocketAddr) -> Result<SocketAddr, Error>
    where
        S: AsyncRead + Unpin,
    {
        if self.0.is_empty() {
            return Ok(peer);
        }
        let named = self.named(stream, peer).await;
        if let Err(error) = &named {
            metrics::counter!("weir_proxy_refused_total", "reason" => error.label()).increment(1);
        }
        named
    }

    /// Whom the header names.
    async fn named<S>(&self, stream: &mut S, peer: SocketAddr) -> Result<SocketAddr, Error>
    where
        S: AsyncRead + Unpin,
    {
        let address = peer.ip().to_canonical();
        if !self.0.iter().any(|network| network.0.contains(&address)) {
            return Err(Error::Untrusted(address));
        }
        let header = tokio::time::timeout(DEADLINE, read(stream)).await;
        let header = header.map_err(|_| Error::Late)??;
        let parsed = ProxyHeader::parse(&header, ParseConfig::default());
        let (parsed, _) = parsed.map_err(|error| Error::Malformed(error.to_string()))?;
        // The proxy speaks for itself: it looks whether we are there.
        Ok(parsed.proxied_address().map_or(peer, |named| named.source))
    }
}

/// The bytes of one header, and not one more.
async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Vec<u8>, Error> {
    let mut header = vec![0; BEGINNING];
    stream.read_exact(&mut header).await?;
    if header == SIGNATURE {
        header.resize(FIXED_V2, 0);
        stream.read_exact(&mut header[BEGINNING..]).await?;
        let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
        if FIXED_V2 + length > MAX_V2 {
            return Err(Error::TooLong(MAX_V2));
        }
        header.resize(FIXED_V2 + length, 0);
        stream.read_exact(&mut header[FIXED_V2..]).await?;
        return Ok(header);
    }
    if !header.starts_with(b"PROXY ") {
        return Err(Error::NoHeader);
    }
    while header.last() != Some(&b'\n') {
        if header.len() == MAX_V1 {
            return Err(Error::TooLong(MAX_V1));
        }
        header.push(stream.read_u8().await?);
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const PEER: &str = "10.1.2.3:4000";

    fn trusted() -> Trusted {
        Trusted::new(vec!["10.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()])
    }

    /// The client of a connection that begins so, and what is left to read.
    async fn client(bytes: &[u8]) -> Result<(String, Vec<u8>), String> {
        let mut stream = bytes;
        let client = trusted().client(&mut stream, PEER.parse().unwrap()).await;
        let client = client.map_err(|error| error.to_string())?;
        Ok((client.to_string(), stream.to_vec()))
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    #[tokio::test]
    async fn both_versions_name_the_client_and_leave_the_rest_unread() {
        let v4 = [192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x34, 1, 187];
        let mut v6 = [0; 36];
        v6[..2].copy_from_slice(&[0x20, 1]);
        v6[15] = 9;
        v6[33] = 80;
        let with_tlv = [&v4[..], &[4, 0, 3, 0, 0, 0]].concat();
        for (header, expected) in [
            (
                b"PROXY TCP4 192.0.2.7 198.51.100.1 4660 443\r\n".to_vec(),
                "192.0.2.7:4660",
            ),
            (
                b"PROXY TCP6 2001::9 ::1 80 443\r\n".to_vec(),
                "[2001::9]:80",
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), PEER),
            (v2(0x21, 0x11, &v4), "192.0.2.7:4660"),
            (v2(0x21, 0x11, &with_tlv), "192.0.2.7:4660"),
            (v2(0x21, 0x21, &v6), "[2001::9]:80"),
            (v2(0x20, 0x00, &[]), PEER),
            (v2(0x20, 0x11, &v4), PEER),
        ] {
            let stream = [&header[..], b"\x03rest"].concat();
            let (named, rest) = client(&stream).await.unwrap();
            assert_eq!((&*named, &rest[..]), (expected, &b"\x03rest"[..]));
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused_in_words() {
        let long_v1 = [&b"PROXY TCP4 "[..], &[b'1'; 200], b"\r\n"].concat();
        let long_v2 = [&SIGNATURE[..], &[0x21, 0x11, 0xff, 0xff]].concat();
        for (bytes, words) in [
            (
                &b"GET / HTTP/1.1\r\n"[..],
                "the connection does not begin with a PROXY header",
            ),
            (
                &[3; 1537],
                "the connection does not begin with a PROXY header",
            ),
            (&long_v1, "a PROXY header of more than 107 bytes"),
            (&long_v2, "a PROXY header of more than 2048 bytes"),
            (
                b"PROXY TCP4 192.0.2.300 1.1.1.1 1 2\r\n",
                "malformed PROXY header: ",
            ),
            (
                b"PROXY TCP4 192.0.2.1 1.1.1.1 1 2\n",
                "malformed PROXY header: ",
            ),
            (b"PROXY TCP4 192", "no PROXY header: "),
            (&v2(0x21, 0x11, &[1, 2, 3]), "malformed PROXY header: "),
            (&v2(0x31, 0x11, &[0; 12]), "malformed PROXY header: "),
            (b"", "no PROXY header: "),
        ] {
            let refused = client(bytes).await.unwrap_err();
            assert!(refused.starts_with(words), "{refused}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_that_does_not_come_is_not_waited_for() {
        let (mut ours, _theirs) = tokio::io::duplex(64);
        let late = trusted().client(&mut ours, PEER.parse().unwrap()).await;
        assert!(matches!(late, Err(Error::Late)), "{late:?}");
    }

    #[tokio::test]
    async fn only_trusted_proxies_are_believed_and_nobody_by_default() {
        let mut header = &b"PROXY UNKNOWN\r\n"[..];
        let stranger = "192.0.2.1:1".parse().unwrap();
        let refused = trusted().client(&mut header, stranger).await;
        assert!(matches!(refused, Err(Error::Untrusted(_))), "{refused:?}");
        for peer in ["[::ffff:10.0.0.1]:1", "[::1]:1"] {
            let mut header = &b"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n"[..];
            let named = trusted().client(&mut header, peer.parse().unwrap()).await;
            assert_eq!(named.unwrap().to_string(), "1.2.3.4:9");
        }
        let mut header = &b"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n"[..];
        let unread = header;
        let peer = Trusted::default().client(&mut header, stranger).await;
        assert_eq!((peer.unwrap(), header), (stranger, unread));
    }

    #[test]
    fn networks_are_read_and_written_alike() {
        for (text, written) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.0.0.1", "10.0.0.1/32"),
            ("::1", "::1/128"),
        ] {
            assert_eq!(String::from(text.parse::<Network>().unwrap()), written);
        }
        assert!("loadbalancer".parse::<Network>().is_err());
    }

    proptest! {
        /// Whatever comes is read no further than a header may be long.
        #[test]
        fn any_bytes_are_survived(
            beginning in prop_oneof![Just(&b""[..]), Just(&SIGNATURE[..]), Just(&b"PROXY "[..])],
            rest in vec(any::<u8>(), 0..4096),
        ) {
            let bytes = [beginning, &rest].concat();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            let mut stream = &bytes[..];
            let peer = PEER.parse().unwrap();
            let client = runtime.unwrap().block_on(trusted().client(&mut stream, peer));
            prop_assert!(bytes.len() - stream.len() <= MAX_V2, "{client:?}");
        }
    }
}
