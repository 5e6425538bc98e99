//! Secrets that an operator may give, from the environment only.

use std::fmt;

/// A text that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Masks `text` from now on.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(masked)")
    }
}

/// What the environment may set; what it does not is made on the first start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secrets {
    /// Seals stored secrets.
    pub secret_key: Option<Secret>,
    /// The first API key: its id and its secret.
    pub root_access_key: Option<(String, Secret)>,
}
