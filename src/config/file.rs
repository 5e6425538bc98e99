//! The TOML file as a layer: known keys only, and no secrets.

use std::path::Path;

use figment::providers::{Format as _, Toml};
use figment::value::Dict;

use super::error::Error;
use super::layer::Layer;

/// Names that stand for secrets in any section.
const SECRET_NAMES: [&str; 6] = [
    "secret_key",
    "root_access_key_id",
    "root_secret_access_key",
    "access_key_id",
    "secret_access_key",
    "password",
];

/// Reads `path`; refuses keys that `defaults` does not have.
pub(super) fn read(path: &Path, defaults: &Layer) -> Result<Layer, Error> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::Read(path.to_owned(), e))?;
    let dict: Dict =
        Toml::from_str(&text).map_err(|e| Error::Syntax(path.to_owned(), e.to_string()))?;
    let layer = Layer {
        origin: path.display().to_string(),
        dict,
    };
    for key in layer.keys() {
        refuse_secret(&layer, &key)?;
        if !defaults.knows(&key) {
            let nearest = defaults.nearest(&key);
            return Err(Error::Unknown {
                key,
                origin: layer.origin,
                nearest,
            });
        }
    }
    Ok(layer)
}

fn refuse_secret(layer: &Layer, key: &str) -> Result<(), Error> {
    let name = key.rsplit('.').next().unwrap_or_default();
    let text = layer
        .value(key)
        .and_then(|value| value.as_str())
        .unwrap_or_default();
    let has_password = url::Url::parse(text).is_ok_and(|url| url.password().is_some());
    if !has_password && !SECRET_NAMES.contains(&name) {
        return Ok(());
    }
    let variable = match name {
        "access_key_id" | "secret_access_key" => format!("AWS_{}", name.to_uppercase()),
        _ if has_password => super::environment::variable_of(key),
        _ => format!("WEIR_{}", name.to_uppercase()),
    };
    Err(Error::SecretInFile {
        key: key.to_owned(),
        origin: layer.origin.clone(),
        variable,
    })
}
