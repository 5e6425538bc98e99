//! The storage URL as a value: `file:PATH`, or `s3://BUCKET?endpoint=…&region=…`.
//!
//! In:  text from the configuration. Out: [`Location`], or an error that says what to write.
//! Not here: credentials: a URL that carries any is refused, and not repeated in the error.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use url::Url;

use super::Error;

/// Where objects live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A folder on this machine.
    Folder(PathBuf),
    /// A bucket of an S3 server.
    Bucket(Bucket),
}

/// A bucket of an S3 server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// The server's origin; none: Amazon's.
    pub endpoint: Option<String>,
    /// The region; none: `AWS_REGION`, `AWS_DEFAULT_REGION` or `us-east-1`.
    pub region: Option<String>,
}

impl FromStr for Location {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if let Some(path) = text.strip_prefix("file:") {
            return parse_folder(path);
        }
        let url = Url::parse(text).map_err(|e| Error::Url(format!("is not a URL ({e})")))?;
        match url.scheme() {
            "s3" => Ok(Self::Bucket(parse_bucket(&url)?)),
            other => Err(Error::Url(format!("has the unknown scheme {other}"))),
        }
    }
}

/// `PATH`, and `//PATH` as in `file:///var/lib/weir`.
fn parse_folder(path: &str) -> Result<Location, Error> {
    let path = match path.strip_prefix("//") {
        Some(absolute) if absolute.starts_with('/') => absolute,
        Some(_) => return Err(Error::Url("has a host after file:".to_owned())),
        None => path,
    };
    if path.is_empty() {
        return Err(Error::Url("names no folder".to_owned()));
    }
    Ok(Location::Folder(PathBuf::from(path)))
}

fn parse_bucket(url: &Url) -> Result<Bucket, Error> {
    refuse_credentials(url)?;
    let name = url.host_str().unwrap_or_default();
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if name.is_empty() || !name.chars().all(is_name) || url.port().is_some() {
        return Err(Error::Url("names no bucket".to_owned()));
    }
    if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
        return Err(Error::Url("has a path after the bucket".to_owned()));
    }
    let (mut endpoint, mut region) = (None, None);
    for (key, value) in url.query_pairs() {
        match key.as_ref() {
            "endpoint" => endpoint = Some(parse_endpoint(&value)?),
            "region" => region = Some(value.into_owned()),
            other => return Err(Error::Url(format!("has the unknown parameter {other}"))),
        }
    }
    Ok(Bucket {
        name: name.to_owned(),
        endpoint,
        region,
    })
}

fn parse_endpoint(text: &str) -> Result<String, Error> {
    let url = Url::parse(text).map_err(|e| Error::Url(format!("has a bad endpoint ({e})")))?;
    refuse_credentials(&url)?;
    let is_origin = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if !matches!(url.scheme(), "http" | "https") || !is_origin {
        let wanted = "has an endpoint other than http(s)://HOST[:PORT]";
        return Err(Error::Url(wanted.to_owned()));
    }
    Ok(url.origin().ascii_serialization())
}

fn refuse_credentials(url: &Url) -> Result<(), Error> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(());
    }
    let where_to = "holds credentials, which belong in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
    Err(Error::Url(where_to.to_owned()))
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "folder {}", path.display()),
            Self::Bucket(bucket) => {
                let server = bucket.endpoint.as_deref().unwrap_or("Amazon S3");
                write!(f, "bucket {} at {server}", bucket.name)
            }
        }
    }
}
