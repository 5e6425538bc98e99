//! The certificate that clients are shown: from two files that may change at any time, or from an ACME authority.
//!
//! In:  the configuration. Out: [`Certificates`]: what handshakes ask, and a task that keeps it fresh.
//! New files that cannot be used leave the old certificate in its place, and are complained of once.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::{Config, acme, provider};

/// Why a certificate cannot be used; causes are part of the text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {}, set as {key}: {problem}", file.display())]
    Read {
        /// The setting.
        key: &'static str,
        /// The file.
        file: PathBuf,
        /// What is wrong.
        problem: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{}, set as {key}, cannot be used: {problem}", file.display())]
    Content {
        /// The setting.
        key: &'static str,
        /// The file.
        file: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// What keeps certificates fresh; it does not end.
pub type Upkeep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where handshakes find the certificate.
#[derive(Clone, Debug)]
pub struct Certificates {
    resolver: Arc<dyn ResolvesServerCert>,
    answers_challenges: bool,
}

impl Certificates {
    /// Reads the configured files, or opens the ACME account kept below `data_dir`; and what to run to keep them fresh.
    pub fn open(config: &Config, data_dir: &Path) -> Result<(Self, Upkeep), Error> {
        if !config.acme_domains.is_empty() {
            let (resolver, upkeep) = acme::open(config, &data_dir.join("acme"))?;
            let answers_challenges = true;
            return Ok((
                Self {
                    resolver,
                    answers_challenges,
                },
                upkeep,
            ));
        }
        let files = Arc::new(Files::open(config)?);
        let resolver = Arc::<Files>::clone(&files);
        let upkeep = files.watch(Duration::from_secs(config.reload_seconds));
        let answers_challenges = false;
        Ok((
            Self {
                resolver,
                answers_challenges,
            },
            Box::pin(upkeep),
        ))
    }

    pub(super) fn resolver(&self) -> Arc<dyn ResolvesServerCert> {
        Arc::clone(&self.resolver)
    }

    pub(super) fn answers_challenges(&self) -> bool {
        self.answers_challenges
    }
}

/// The number of certificates in the configured chain, if it and its key can be used.
pub fn check(config: &Config) -> Result<usize, Error> {
    let (certificate, key) = Files::paths(config);
    let texts = read(&certificate, &key)?;
    Ok(parse(&texts, &certificate, &key)?.cert.len())
}

/// The bytes of both files.
#[derive(PartialEq, Eq)]
struct Texts {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// The two files, and the last certificate in them that could be used.
#[derive(Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Files {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current))
    }
}

impl Files {
    fn paths(config: &Config) -> (PathBuf, PathBuf) {
        (config.certificate_file.clone(), config.key_file.clone())
    }

    fn open(config: &Config) -> Result<Self, Error> {
        let (certificate, key) = Self::paths(config);
        let texts = read(&certificate, &key)?;
        let current = parse(&texts, &certificate, &key)?;
        let current = RwLock::new(Arc::new(current));
        Ok(Self {
            certificate,
            key,
            current,
        })
    }

    /// Looks at the files again and again.
    async fn watch(self: Arc<Self>, every: Duration) {
        let mut seen = None;
        loop {
            let files = Arc::clone(&self);
            let read = tokio::task::spawn_blocking(move || read(&files.certificate, &files.key));
            if let Ok(texts) = read.await {
                seen = Some(self.take(texts, seen.as_ref()));
            }
            tokio::time::sleep(every).await;
        }
    }

    /// Takes what was read, unless that is what was `seen` the last time; what to see as old the next time.
    fn take(&self, read: Result<Texts, Error>, seen: Option<&Seen>) -> Seen {
        let now = match read {
            Ok(texts) => Seen::Texts(texts),
            Err(error) => Seen::Unreadable(error.to_string()),
        };
        if seen == Some(&now) {
            return now;
        }
        let parsed = match &now {
            Seen::Unreadable(words) => Err(words.clone()),
            Seen::Texts(texts) => {
                parse(texts, &self.certificate, &self.key).map_err(|error| error.to_string())
            }
        };
        match parsed {
            Ok(fresh) => self.replace(fresh),
            Err(words) => {
                metrics::counter!("weir_tls_reloads_total", "outcome" => "failed").increment(1);
                tracing::error!("the TLS certificate stays as it was: {words}");
            }
        }
        now
    }

    fn replace(&self, fresh: CertifiedKey) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.cert != fresh.cert {
            *current = Arc::new(fresh);
            metrics::counter!("weir_tls_reloads_total", "outcome" => "done").increment(1);
            tracing::info!("the TLS certificate is a new one");
        }
    }
}

/// What a look at the files found.
#[derive(PartialEq, Eq)]
enum Seen {
    Texts(Texts),
    Unreadable(String),
}

fn read(certificate: &Path, key: &Path) -> Result<Texts, Error> {
    let read = |setting, file: &Path| {
        std::fs::read(file).map_err(|problem| Error::Read {
            key: setting,
            file: file.to_owned(),
            problem,
        })
    };
    Ok(Texts {
        certificate: read("tls.certificate_file", certificate)?,
        key: read("tls.key_file", key)?,
    })
}

fn parse(texts: &Texts, certificate: &Path, key: &Path) -> Result<CertifiedKey, Error> {
    let refuse = |setting, file: &Path, problem: String| Error::Content {
        key: setting,
        file: file.to_owned(),
        problem,
    };
    let certificates = chain(&texts.certificate)
        .map_err(|problem| refuse("tls.certificate_file", certificate, problem))?;
    let private = PrivateKeyDer::from_pem_slice(&texts.key)
        .map_err(|error| refuse("tls.key_file", key, error.to_string()))?;
    CertifiedKey::from_der(certificates, private, &provider()).map_err(|error| {
        refuse(
            "tls.key_file",
            key,
            format!("with this certificate: {error}"),
        )
    })
}

/// The certificates of a PEM text, at least one.
pub(super) fn chain(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let chain = chain.map_err(|error| error.to_string())?;
    if chain.is_empty() {
        return Err("it holds no certificate".to_owned());
    }
    Ok(chain)
}

#[cfg(test)]
mod tests {
    use super::super::dev;
    use super::*;
    use crate::base::clock::WallTime;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn config(&self) -> Config {
            Config {
                certificate_file: self.0.path().join("cert.pem"),
                key_file: self.0.path().join("key.pem"),
                ..Config::default()
            }
        }

        fn write(&self, certificate: &str, key: &str) {
            std::fs::write(self.0.path().join("cert.pem"), certificate).unwrap();
            std::fs::write(self.0.path().join("key.pem"), key).unwrap();
        }
    }

    fn made(name: &str) -> dev::Made {
        dev::certificate(&[name.to_owned()], WallTime(0)).unwrap()
    }

    #[test]
    fn only_what_can_be_used_takes_the_old_ones_place() {
        let folder = Folder(tempfile::tempdir().unwrap());
        let [old, new] = ["old.example", "new.example"].map(made);
        folder.write(&old.chain_pem, &old.key_pem);
        let files = Files::open(&folder.config()).unwrap();
        let shown = || files.current.read().unwrap().cert.clone();
        let of = |made: &dev::Made| chain(made.chain_pem.as_bytes()).unwrap();
        assert_eq!(shown(), of(&old));

        let look = |seen: Option<&Seen>| files.take(read(&files.certificate, &files.key), seen);
        let mut seen = Some(look(None));
        for (certificate, key) in [
            ("", ""),
            ("nonsense", &*new.key_pem),
            (&*new.chain_pem, "nonsense"),
            // The certificate came first; its key is not there yet.
            (&*new.chain_pem, &*old.key_pem),
        ] {
            folder.write(certificate, key);
            seen = Some(look(seen.as_ref()));
            assert_eq!(shown(), of(&old), "{certificate} {key}");
        }
        std::fs::remove_file(&files.certificate).unwrap();
        seen = Some(look(seen.as_ref()));
        assert_eq!(shown(), of(&old));
        folder.write(&new.chain_pem, &new.key_pem);
        look(seen.as_ref());
        assert_eq!(shown(), of(&new));
    }

    #[test]
    fn a_start_with_unusable_files_names_setting_and_file() {
        let folder = Folder(tempfile::tempdir().unwrap());
        let config = folder.config();
        let refused = || {
            Certificates::open(&config, Path::new(""))
                .err()
                .unwrap()
                .to_string()
        };
        let words = refused();
        assert!(
            words.contains("cert.pem, set as tls.certificate_file: "),
            "{words}"
        );
        let made = [made("a.example"), made("b.example")];
        folder.write("", &made[0].key_pem);
        assert!(
            refused().ends_with("it holds no certificate"),
            "{}",
            refused()
        );
        folder.write(&made[0].chain_pem, &made[1].key_pem);
        let words = refused();
        assert!(
            words.contains("key.pem, set as tls.key_file, cannot be used: with this"),
            "{words}"
        );
        folder.write(&made[0].chain_pem, &made[0].key_pem);
        assert_eq!(check(&config).unwrap(), 2);
    }
}
