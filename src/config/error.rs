//! What is wrong with the configuration: the key, where it stands, the remedy.

use std::path::PathBuf;

use figment::Figment;

/// Why the configuration was refused; causes are part of the text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {}", .0.display(), .1)]
    Read(PathBuf, std::io::Error),
    /// The file is no TOML.
    #[error("{} is not valid TOML: {}", .0.display(), .1)]
    Syntax(PathBuf, String),
    /// A key that does not exist.
    #[error("unknown key `{key}` in {origin}; the nearest valid key is `{nearest}`")]
    Unknown {
        /// The key as it stands there.
        key: String,
        /// File or environment variable.
        origin: String,
        /// What was probably meant.
        nearest: String,
    },
    /// A secret where others may read it.
    #[error("`{key}` in {origin} holds a secret; give it in the environment as {variable}")]
    SecretInFile {
        /// The key.
        key: String,
        /// The file.
        origin: String,
        /// The variable to use.
        variable: String,
    },
    /// A value that is not allowed.
    #[error("`{key}`, from {origin}, is not valid: {problem}")]
    Invalid {
        /// The key.
        key: String,
        /// File, environment variable or defaults.
        origin: String,
        /// What is wrong with the value.
        problem: String,
    },
}

impl From<figment::Error> for Error {
    /// A value of the wrong type.
    fn from(error: figment::Error) -> Self {
        Self::Invalid {
            key: error.path.join("."),
            origin: error
                .metadata
                .map_or("the configuration".into(), |m| m.name.into_owned()),
            problem: error.kind.to_string(),
        }
    }
}

impl Error {
    /// A value that breaks a rule, with the layer it came from.
    pub(super) fn of_value(figment: &Figment, key: &str, problem: String) -> Self {
        let origin = figment
            .find_metadata(key)
            .map_or("the defaults", |m| &m.name);
        Self::Invalid {
            key: key.to_owned(),
            origin: origin.to_owned(),
            problem,
        }
    }
}
