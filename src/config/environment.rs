//! The environment as layers: `WEIR__SECTION__KEY` for every key, short names for some of them,
//! and the secrets.
//!
//! A short name is overridden by the long form of the same key. An empty variable counts as unset,
//! because compose files pass `${NAME:-}` along.

use figment::util::nest;
use figment::value::Value;

use super::error::Error;
use super::layer::Layer;
use super::secret::{Secret, Secrets};

/// Short names and the keys they stand for.
const NAMED: [(&str, &str); 12] = [
    ("WEIR_DATA_DIR", "server.data_dir"),
    ("WEIR_DATABASE_URL", "database.url"),
    ("WEIR_STORAGE_URL", "storage.url"),
    ("WEIR_RECORDING_STORE_URL", "recording.store_url"),
    ("WEIR_PUBLIC_URL", "server.public_url"),
    ("WEIR_INGEST_HOST", "server.ingest_host"),
    ("WEIR_REGION", "server.region"),
    ("WEIR_ACCOUNT_ID", "server.account_id"),
    ("WEIR_HTTP_LISTEN", "http.listen"),
    ("WEIR_RTMP_LISTEN", "ingest.listen"),
    ("WEIR_ADMIN_LISTEN", "admin.listen"),
    ("WEIR_LOG", "log.filter"),
];
const SECRET_KEY: &str = "WEIR_SECRET_KEY";
const ROOT_ID: &str = "WEIR_ROOT_ACCESS_KEY_ID";
const ROOT_SECRET: &str = "WEIR_ROOT_SECRET_ACCESS_KEY";
/// An unknown variable this close to a known one is a slip of the pen; others belong to somebody
/// else (Kubernetes sets `WEIR_SERVICE_HOST` for a service called weir).
const SLIP_EDITS: usize = 2;
/// Fewest characters of a given secret key.
const MIN_SECRET_KEY_CHARS: usize = 32;

/// Layers in rising precedence, and the secrets.
pub(super) fn read(
    environment: impl IntoIterator<Item = (String, String)>,
    defaults: &Layer,
) -> Result<(Vec<Layer>, Secrets), Error> {
    let (mut short, mut long) = (Vec::new(), Vec::new());
    let mut secrets = Given::default();
    for (name, value) in environment {
        if value.is_empty() || !name.starts_with("WEIR_") {
            continue;
        }
        if let Some(path) = name.strip_prefix("WEIR__") {
            let key = path.to_lowercase().replace("__", ".");
            long.push(layer(&name, &key, &value, defaults)?);
        } else if let Some((_, key)) = NAMED.iter().find(|(known, _)| *known == name) {
            short.push(layer(&name, key, &value, defaults)?);
        } else {
            secrets.take(&name, value)?;
        }
    }
    short.extend(long);
    Ok((short, secrets.check()?))
}

/// The variable that sets `key`: its short name if it has one.
pub(super) fn variable_of(key: &str) -> String {
    let short = NAMED
        .iter()
        .find(|(_, known)| *known == key)
        .map(|(name, _)| (*name).to_owned());
    short.unwrap_or_else(|| format!("WEIR__{}", key.to_uppercase().replace('.', "__")))
}

fn layer(name: &str, key: &str, text: &str, defaults: &Layer) -> Result<Layer, Error> {
    let origin = format!("the environment variable {name}");
    // The default's type decides how the text is read: an account of 12 digits stays a text.
    let value = match defaults.value(key) {
        None | Some(Value::Dict(..)) => {
            let nearest = variable_of(&defaults.nearest(key));
            return Err(Error::Unknown {
                key: key.to_owned(),
                origin,
                nearest,
            });
        }
        Some(Value::String(..)) => Value::from(text),
        Some(_) => text.parse().unwrap_or_else(|never| match never {}),
    };
    let dict = nest(key, value).into_dict().unwrap_or_default();
    Ok(Layer { origin, dict })
}

/// Secrets as they are met.
#[derive(Default)]
struct Given {
    secret_key: Option<String>,
    root_id: Option<String>,
    root_secret: Option<String>,
}

impl Given {
    fn take(&mut self, name: &str, value: String) -> Result<(), Error> {
        let slot = match name {
            SECRET_KEY => &mut self.secret_key,
            ROOT_ID => &mut self.root_id,
            ROOT_SECRET => &mut self.root_secret,
            _ => return refuse_slip(name),
        };
        *slot = Some(value);
        Ok(())
    }

    fn check(self) -> Result<Secrets, Error> {
        let invalid = |key: &str, problem: &str| Error::Invalid {
            key: key.to_owned(),
            origin: "the environment".to_owned(),
            problem: problem.to_owned(),
        };
        let is_short = |key: &String| key.chars().count() < MIN_SECRET_KEY_CHARS;
        if self.secret_key.as_ref().is_some_and(is_short) {
            return Err(invalid(
                SECRET_KEY,
                "it must have at least 32 random characters",
            ));
        }
        let root_access_key = match (self.root_id, self.root_secret) {
            (None, None) => None,
            (None, Some(_)) => {
                return Err(invalid(ROOT_SECRET, "WEIR_ROOT_ACCESS_KEY_ID is unset"));
            }
            (Some(_), None) => {
                return Err(invalid(ROOT_ID, "WEIR_ROOT_SECRET_ACCESS_KEY is unset"));
            }
            (Some(id), Some(secret)) => {
                let is_plain = |text: &str| text.len() <= 128 && text.bytes().all(is_graphic);
                if !is_plain(&id) || !is_plain(&secret) {
                    let problem = "id and secret must be at most 128 visible ASCII characters";
                    return Err(invalid(ROOT_ID, problem));
                }
                Some((id, Secret::new(secret)))
            }
        };
        Ok(Secrets {
            secret_key: self.secret_key.map(Secret::new),
            root_access_key,
        })
    }
}

fn is_graphic(byte: u8) -> bool {
    byte.is_ascii_graphic()
}

fn refuse_slip(name: &str) -> Result<(), Error> {
    let known = NAMED
        .iter()
        .map(|(known, _)| *known)
        .chain([SECRET_KEY, ROOT_ID, ROOT_SECRET]);
    let edits = |known: &str| strsim::damerau_levenshtein(known, name);
    match known.min_by_key(|known| edits(known)) {
        Some(nearest) if edits(nearest) <= SLIP_EDITS => Err(Error::Unknown {
            key: name.to_owned(),
            origin: "the environment".to_owned(),
            nearest: nearest.to_owned(),
        }),
        _ => Ok(()),
    }
}
