//! Makes a development certificate and keeps it in the data directory.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use chrono::{DateTime, Utc};

use super::private_file;
use crate::base::clock::WallTime;
use crate::base::tls::dev;

/// Where it is.
pub struct Made {
    /// The chain.
    pub certificate: PathBuf,
    /// Its key, readable by its owner only.
    pub key: PathBuf,
    /// How long it is good for.
    pub until: DateTime<Utc>,
}

/// Makes a certificate for `hosts`, in place of an earlier one.
pub fn make(data_dir: &Path, hosts: &[String], now: WallTime) -> anyhow::Result<Made> {
    let made = dev::certificate(hosts, now).context("cannot make a certificate for these hosts")?;
    private_file::create_dir(data_dir)
        .with_context(|| format!("cannot make the folder {}", data_dir.display()))?;
    let write = |name: &str, text: &str| {
        let path = data_dir.join(name);
        private_file::write(&path, text)
            .with_context(|| format!("cannot write {}", path.display()))?;
        anyhow::Ok(path)
    };
    Ok(Made {
        key: write("dev-key.pem", &made.key_pem)?,
        certificate: write("dev-cert.pem", &made.chain_pem)?,
        until: made.until,
    })
}
