//! Where a client is, by its address.
//!
//! In:  a database in MaxMind's format, for example `GeoLite2-Country`; an address. Out:
//! a country, or nothing if nobody knows.
//! Read: the MaxMind DB File Format Specification 2.0.

use std::fmt;
use std::net::IpAddr;

use maxminddb::{MaxMindDbError, PathElement, Reader};

/// A country by the two letters of ISO 3166-1.
pub(super) type Country = [u8; 2];

/// A database of addresses and countries, in memory.
pub struct Countries(Reader<Vec<u8>>);

impl Countries {
    /// The database of a file with these bytes.
    pub fn new(bytes: Vec<u8>) -> Result<Self, MaxMindDbError> {
        Reader::from_source(bytes).map(Self)
    }

    /// Where `address` is.
    pub(super) fn of(&self, address: IpAddr) -> Option<Country> {
        let found = self.0.lookup(address.to_canonical()).ok()?;
        let at = |path: &[PathElement<'_>]| found.decode_path::<&str>(path).ok().flatten();
        let key = PathElement::Key;
        let code = at(&[key("country"), key("iso_code")]).or_else(|| at(&[key("country_code")]))?;
        code.as_bytes().try_into().ok()
    }
}

impl fmt::Debug for Countries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.metadata().fmt(f)
    }
}
