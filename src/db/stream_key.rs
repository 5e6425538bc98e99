//! Stream keys in SQL: looked up by their public id, sealed at rest, compared in constant time.

use async_trait::async_trait;
use sqlx::types::Json;

use super::{Repository, insertion, on, statements, word};
use crate::base::clock::WallTime;
use crate::db::seal::Sealer;
use crate::model::channel::Channel;
use crate::model::id::{ChannelId, StreamKeyId};
use crate::model::repository::{ChannelRepository, Error, StreamKeyRepository};
use crate::model::stream_key::{StreamKey, StreamKeyValue};
use crate::model::tags::Tags;

statements! {
    INSERT = "INSERT INTO stream_keys (id, channel_id, sealed_value, created_ms, tags) \
        VALUES ($1, $2, $3, $4, $5)";
    LOAD = "SELECT id, channel_id, sealed_value, created_ms, tags FROM stream_keys WHERE id = $1";
    LOAD_OF_CHANNEL = "SELECT id, channel_id, sealed_value, created_ms, tags FROM stream_keys \
        WHERE channel_id = $1";
    DELETE = "DELETE FROM stream_keys WHERE id = $1";
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    channel_id: String,
    sealed_value: Vec<u8>,
    created_ms: i64,
    tags: Json<Tags>,
}

impl Row {
    fn open(&self, sealer: &Sealer) -> Result<StreamKey, Error> {
        let plain = sealer.open(&self.id, &self.sealed_value)?;
        let text = std::str::from_utf8(&plain).map_err(|_| Error::Sealed)?;
        Ok(StreamKey {
            channel_id: word("stream_keys.channel_id", &self.channel_id)?,
            value: text.parse().map_err(|_| Error::Sealed)?,
            tags: self.tags.0.clone(),
            created: WallTime(self.created_ms),
        })
    }
}

/// The key's value as it is stored.
pub(super) fn seal(sealer: &Sealer, key: &StreamKey) -> Vec<u8> {
    sealer.seal(key.id().as_str(), key.value.expose().as_bytes())
}

/// The insertion of a key and its sealed value, ready to run on either database.
macro_rules! bind {
    ($key:expr, $sealed:expr) => {
        sqlx::query($crate::db::stream_key::INSERT)
            .bind($key.id().as_str())
            .bind($key.channel_id.as_str())
            .bind($sealed)
            .bind($key.created.0)
            .bind(sqlx::types::Json(&$key.tags))
    };
}
pub(super) use bind;

impl Repository {
    async fn key_row(&self, id: &StreamKeyId) -> Result<Option<Row>, Error> {
        Ok(on!(&self.db, pool => {
            sqlx::query_as(LOAD).bind(id.as_str()).fetch_optional(pool).await?
        }))
    }

    /// A row that no presented key matches, for the path that an unknown id takes.
    fn decoy_row(&self, presented: &StreamKeyValue) -> Row {
        let id = presented.id().to_string();
        let never_issued = StreamKeyValue::random("decoy");
        let sealed_value = self.sealer.seal(&id, never_issued.expose().as_bytes());
        Row {
            id,
            channel_id: ChannelId::random().to_string(),
            sealed_value,
            created_ms: 0,
            tags: Json::default(),
        }
    }
}

#[async_trait]
impl StreamKeyRepository for Repository {
    async fn create_stream_key(&self, key: &StreamKey) -> Result<(), Error> {
        let sealed = seal(&self.sealer, key);
        on!(&self.db, pool => bind!(key, &sealed).execute(pool).await.map(drop))
            .map_err(|e| insertion(e, "channel"))
    }

    async fn load_stream_key(&self, id: &StreamKeyId) -> Result<Option<StreamKey>, Error> {
        let row = self.key_row(id).await?;
        row.map(|row| row.open(&self.sealer)).transpose()
    }

    async fn stream_key_of(&self, channel: &ChannelId) -> Result<Option<StreamKey>, Error> {
        let row: Option<Row> = on!(&self.db, pool => {
            sqlx::query_as(LOAD_OF_CHANNEL).bind(channel.as_str()).fetch_optional(pool).await?
        });
        row.map(|row| row.open(&self.sealer)).transpose()
    }

    async fn channel_of_key(&self, presented: &str) -> Result<Option<Channel>, Error> {
        let Ok(presented) = presented.parse::<StreamKeyValue>() else {
            return Ok(None);
        };
        let row = self.key_row(presented.id()).await?;
        let decoy = self.decoy_row(&presented);
        let stored = row.as_ref().unwrap_or(&decoy).open(&self.sealer)?;
        let is_match = stored.value.matches(&presented);
        if is_match && row.is_some() {
            return self.load_channel(&stored.channel_id).await;
        }
        Ok(None)
    }

    async fn delete_stream_key(&self, id: &StreamKeyId) -> Result<(), Error> {
        let deleted = on!(&self.db, pool => {
            sqlx::query(DELETE).bind(id.as_str()).execute(pool).await?.rows_affected()
        });
        (deleted == 1)
            .then_some(())
            .ok_or(Error::NotFound("stream key"))
    }
}
