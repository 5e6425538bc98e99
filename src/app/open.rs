//! From a configuration to open state; on the first start that state is made.
//!
//! In:  the configuration. Out: [`Opened`]: a migrated database, the API key, the URLs.
//! The first start makes the data directory (0700), `secret.key` and `credentials` (0600), the
//! database and a channel named `default` with its stream key. Processes that start on the same
//! directory at once take turns by a lock file.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};

use super::credentials::Credentials;
use super::private_file;
use crate::base::clock::Clock;
use crate::base::ids;
use crate::config::{Config, Secret};
use crate::db::seal::Sealer;
use crate::db::{self, Access, Db};
use crate::model::channel::Settings;
use crate::model::repository::{
    ChannelRepository as _, Error, NO_LIMIT, Page, StreamKeyRepository as _,
};
use crate::model::{Channel, Endpoints, StreamKey};

/// Characters of a new secret key: 256 bits.
const SECRET_KEY_CHARS: usize = 43;
/// Name of the channel that the first start makes.
pub const DEFAULT_CHANNEL: &str = "default";

/// Everything that outlives the process, ready for use.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Channels, stream keys and epochs.
    pub repository: Arc<db::Repository>,
    /// The first API key.
    pub credentials: Credentials,
    /// What stored secrets and viewer sessions are sealed under.
    pub secret: Secret,
    /// The URLs handed out.
    pub endpoints: Arc<Endpoints>,
    /// The folder of all local state.
    pub data_dir: PathBuf,
}

/// Opens the state, making what is missing.
pub async fn open(config: &Config, clock: &dyn Clock) -> anyhow::Result<Opened> {
    let data_dir = config.data_dir().to_owned();
    let turn = lock(&data_dir).await?;
    let secret = secret_key(&data_dir, config.secrets.secret_key.as_ref())?;
    let db = connect(config, Access::Create).await?;
    db.migrate().await?;
    let repository = db::Repository::new(db, Sealer::new(secret.expose()));
    let given = config.secrets.root_access_key.as_ref();
    let credentials = Credentials::establish(&data_dir, given)?;
    ensure_channel(&repository, &config.server.region, clock).await?;
    drop(turn);
    Ok(Opened {
        repository: Arc::new(repository),
        credentials,
        secret,
        endpoints: Arc::new(config.endpoints()?),
        data_dir,
    })
}

/// Connects to the configured database without migrating it.
pub async fn connect(config: &Config, access: Access) -> anyhow::Result<Db> {
    let location = config.database_url().location()?;
    Ok(Db::connect(&location, access, config.database.max_connections).await?)
}

/// Makes the data directory and waits for this process's turn to open what is in it.
async fn lock(data_dir: &Path) -> anyhow::Result<File> {
    let dir = data_dir.to_owned();
    let waiting = tokio::task::spawn_blocking(move || {
        private_file::create_dir(&dir)?;
        let file = File::options()
            .create(true)
            .append(true)
            .open(dir.join("lock"))?;
        file.lock()?;
        Ok::<_, std::io::Error>(file)
    });
    waiting.await?.with_context(|| {
        format!(
            "cannot use the data directory {}; set WEIR_DATA_DIR",
            data_dir.display()
        )
    })
}

/// Claims the data directory for one server: two would write the same playlists' store. The claim
/// ends with the file.
pub fn claim(data_dir: &Path) -> anyhow::Result<File> {
    let path = data_dir.join("serve.lock");
    let shown = path.display();
    let file = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("cannot open {shown}"))?;
    file.try_lock().with_context(|| {
        format!("{shown} is held: another weir serves from this data directory; stop it, or set WEIR_DATA_DIR")
    })?;
    Ok(file)
}

fn secret_key(data_dir: &Path, given: Option<&Secret>) -> anyhow::Result<Secret> {
    if let Some(given) = given {
        return Ok(given.clone());
    }
    let path = data_dir.join("secret.key");
    let shown = path.display();
    match private_file::read(&path).with_context(|| format!("cannot read {shown}"))? {
        Some(text) if text.trim().is_empty() => {
            bail!("{shown} is empty; restore it, or set WEIR_SECRET_KEY")
        }
        Some(text) => Ok(Secret::new(text.trim().to_owned())),
        None => {
            let key = ids::alphanumeric(SECRET_KEY_CHARS);
            private_file::write(&path, &format!("{key}\n"))
                .with_context(|| format!("cannot write {shown}"))?;
            Ok(Secret::new(key))
        }
    }
}

/// Makes the default channel if there is none at all. Otherwise reads one stream key, so that a
/// wrong secret key stops the start and not the first publisher.
async fn ensure_channel(
    repository: &db::Repository,
    region: &str,
    clock: &dyn Clock,
) -> anyhow::Result<()> {
    let first = repository
        .list_channels(&Page {
            after: None,
            limit: 1,
        })
        .await?;
    if let Some(channel) = first.first() {
        return match repository.stream_key_of(&channel.id).await {
            Err(Error::Sealed) => bail!(
                "the stored stream keys were sealed with another secret key; restore secret.key \
                 in the data directory, or set WEIR_SECRET_KEY to what it was"
            ),
            outcome => Ok(outcome.map(drop)?),
        };
    }
    let now = clock.now();
    let named = Settings {
        name: Some(DEFAULT_CHANNEL.to_owned()),
        ..Settings::default()
    };
    let channel = Channel::create(&named, now)?;
    let key = StreamKey::create(&channel.id, region, now);
    repository.create_channel(&channel, &key, NO_LIMIT).await?;
    tracing::info!(channel.id = %channel.id, "made the channel \"default\"");
    Ok(())
}
