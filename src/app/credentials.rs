//! The first API key, in a file that every AWS client reads.
//!
//! In:  the environment's key, or the file of an earlier start, or nothing. Out: the key, and the
//! file `credentials` that holds it.
//! Standard: the AWS shared-credentials format, profile `default`.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::private_file;
use crate::config::Secret;
use crate::model::access_key::random_pair;

/// An API key and where it is written down.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// For example `AKIAIOSFODNN7EXAMPLE`.
    pub access_key_id: String,
    /// 40 characters unless the operator chose it.
    pub secret_access_key: Secret,
    /// The file.
    pub path: PathBuf,
}

impl Credentials {
    /// The key given by the environment, else the one in the file, else a new one; afterwards the
    /// file holds it. The caller holds the data directory's lock.
    pub(super) fn establish(
        data_dir: &Path,
        given: Option<&(String, Secret)>,
    ) -> anyhow::Result<Self> {
        let path = data_dir.join("credentials");
        let shown = path.display().to_string();
        let text = private_file::read(&path).with_context(|| format!("cannot read {shown}"))?;
        let stored = text.as_deref().map(parse);
        let (access_key_id, secret_access_key) = match (given, &stored) {
            (Some(given), _) => given.clone(),
            (None, Some(Some(stored))) => stored.clone(),
            (None, Some(None)) => bail!(
                "{shown} holds no aws_access_key_id and aws_secret_access_key in a [default] \
                 profile; restore it, or remove it to have a new key made"
            ),
            (None, None) => {
                let (id, secret) = random_pair("AKIA");
                (id, Secret::new(secret))
            }
        };
        let credentials = Self {
            access_key_id,
            secret_access_key,
            path,
        };
        if stored.flatten().as_ref() != Some(&credentials.pair()) {
            credentials
                .write()
                .with_context(|| format!("cannot write {shown}"))?;
        }
        Ok(credentials)
    }

    fn pair(&self) -> (String, Secret) {
        (self.access_key_id.clone(), self.secret_access_key.clone())
    }

    fn write(&self) -> io::Result<()> {
        let (id, secret) = (&self.access_key_id, self.secret_access_key.expose());
        let text =
            format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
        private_file::write(&self.path, &text)
    }
}

/// The key of the profile `default`, if the text has one.
fn parse(text: &str) -> Option<(String, Secret)> {
    let profile = text
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != "[default]")
        .skip(1);
    let pairs = profile.take_while(|line| !line.starts_with('['));
    let (mut id, mut secret) = (None, None);
    for (name, value) in pairs.filter_map(|line| line.split_once('=')) {
        let value = value.trim().to_owned();
        match name.trim() {
            "aws_access_key_id" => id = Some(value),
            "aws_secret_access_key" => secret = Some(value),
            _ => {}
        }
    }
    let given = |value: Option<String>| value.filter(|value| !value.is_empty());
    Some((given(id)?, Secret::new(given(secret)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn establish(dir: &Path, given: Option<(&str, &str)>) -> anyhow::Result<(String, String)> {
        let given = given.map(|(id, secret)| (id.to_owned(), Secret::new(secret.to_owned())));
        let made = Credentials::establish(dir, given.as_ref())?;
        let text = std::fs::read_to_string(&made.path).unwrap();
        assert_eq!(parse(&text).unwrap(), made.pair());
        Ok((
            made.access_key_id,
            made.secret_access_key.expose().to_owned(),
        ))
    }

    #[test]
    fn random_once_and_stable_until_the_environment_overrides() {
        let dir = tempfile::tempdir().unwrap();
        let first = establish(dir.path(), None).unwrap();
        assert_eq!((first.0.len(), first.1.len()), (20, 40));
        assert!(first.0.starts_with("AKIA"));
        assert_eq!(establish(dir.path(), None).unwrap(), first);
        let given = ("AKIDEXAMPLE", "wJalr/+XUtnFEMI=K7MDENG");
        let expected = (given.0.to_owned(), given.1.to_owned());
        assert_eq!(establish(dir.path(), Some(given)).unwrap(), expected);
        assert_eq!(establish(dir.path(), None).unwrap(), expected);
    }

    #[test]
    fn other_profiles_and_comments_are_passed_over() {
        let text = "# mine\n[other]\naws_access_key_id = A\naws_secret_access_key = B\n\
                    [default]\nregion = x\naws_secret_access_key=D\naws_access_key_id=C\n";
        let (id, secret) = parse(text).unwrap();
        assert_eq!((&*id, secret.expose()), ("C", "D"));
        assert!(parse("[default]\naws_access_key_id =\naws_secret_access_key =\n").is_none());
        assert!(parse("[other]\naws_access_key_id = A\naws_secret_access_key = B\n").is_none());
    }

    #[test]
    fn a_damaged_file_is_not_replaced_unasked() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("credentials"), "[default]\n").unwrap();
        let refusal = establish(dir.path(), None).unwrap_err().to_string();
        assert!(
            refusal.contains("remove it to have a new key made"),
            "{refusal}"
        );
    }
}
