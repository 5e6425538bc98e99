//! Channels in SQL.

use async_trait::async_trait;

use super::{Repository, on, statements, stream_key, transact, word};
use crate::base::clock::WallTime;
use crate::model::channel::Channel;
use crate::model::id::ChannelId;
use crate::model::repository::{ChannelRepository, Error, Page};
use crate::model::stream_key::StreamKey;

/// By name, never `*`: a column that a newer version adds must not disturb this one.
macro_rules! columns {
    () => {
        "id, name, channel_type, latency_mode, preset, container_format, is_authorized, \
         is_insecure_ingest, part_target_ms, created_ms"
    };
}

statements! {
    INSERT = concat!("INSERT INTO channels (", columns!(), ") \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)");
    UPDATE = "UPDATE channels SET name = $2, channel_type = $3, latency_mode = $4, preset = $5, \
        container_format = $6, is_authorized = $7, is_insecure_ingest = $8, part_target_ms = $9 \
        WHERE id = $1";
    LOAD = concat!("SELECT ", columns!(), " FROM channels WHERE id = $1");
    FIND_BY_NAME = concat!("SELECT ", columns!(), " FROM channels WHERE name = $1 \
        ORDER BY created_ms, id LIMIT 1");
    LIST = concat!("SELECT ", columns!(), " FROM channels WHERE (created_ms, id) > ($1, $2) \
        ORDER BY created_ms, id LIMIT $3");
    DELETE = "DELETE FROM channels WHERE id = $1";
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    name: String,
    channel_type: String,
    latency_mode: String,
    preset: Option<String>,
    container_format: String,
    is_authorized: bool,
    is_insecure_ingest: bool,
    part_target_ms: Option<i64>,
    created_ms: i64,
}

impl TryFrom<Row> for Channel {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let part_target_ms = row.part_target_ms.map(u32::try_from).transpose();
        Ok(Self {
            id: word("channels.id", &row.id)?,
            name: row.name,
            channel_type: word("channels.channel_type", &row.channel_type)?,
            latency_mode: word("channels.latency_mode", &row.latency_mode)?,
            preset: row
                .preset
                .map(|text| word("channels.preset", &text))
                .transpose()?,
            container_format: word("channels.container_format", &row.container_format)?,
            is_authorized: row.is_authorized,
            is_insecure_ingest: row.is_insecure_ingest,
            part_target_ms: part_target_ms
                .map_err(|e| Error::Unreadable(format!("channels.part_target_ms: {e}")))?,
            created: WallTime(row.created_ms),
        })
    }
}

/// `INSERT` and `UPDATE` bind the same values in the same order; only `INSERT` goes on to `$10`.
macro_rules! bind {
    ($sql:expr, $channel:expr) => {
        sqlx::query($sql)
            .bind($channel.id.as_str())
            .bind(&$channel.name)
            .bind($channel.channel_type.word())
            .bind($channel.latency_mode.word())
            .bind($channel.preset.map(|preset| preset.word()))
            .bind($channel.container_format.word())
            .bind($channel.is_authorized)
            .bind($channel.is_insecure_ingest)
            .bind($channel.part_target_ms.map(i64::from))
    };
}

#[async_trait]
impl ChannelRepository for Repository {
    async fn create_channel(&self, channel: &Channel, key: &StreamKey) -> Result<(), Error> {
        let sealed = stream_key::seal(&self.sealer, key);
        transact!(&self.db, tx => {
            bind!(INSERT, channel).bind(channel.created.0).execute(&mut *tx).await?;
            stream_key::bind!(key, &sealed).execute(&mut *tx).await?;
        });
        Ok(())
    }

    async fn load_channel(&self, id: &ChannelId) -> Result<Option<Channel>, Error> {
        let row: Option<Row> = on!(&self.db, pool => {
            sqlx::query_as(LOAD).bind(id.as_str()).fetch_optional(pool).await?
        });
        row.map(Channel::try_from).transpose()
    }

    async fn list_channels(&self, page: &Page) -> Result<Vec<Channel>, Error> {
        // Below every creation time, so that the first page needs no statement of its own.
        let start = (i64::MIN, String::new());
        let (created_ms, id) = page
            .after
            .as_ref()
            .map_or(start, |(at, id)| (at.0, id.to_string()));
        let rows: Vec<Row> = on!(&self.db, pool => {
            sqlx::query_as(LIST)
                .bind(created_ms)
                .bind(id)
                .bind(i64::from(page.limit))
                .fetch_all(pool)
                .await?
        });
        rows.into_iter().map(Channel::try_from).collect()
    }

    async fn find_channel(&self, name: &str) -> Result<Option<Channel>, Error> {
        let row: Option<Row> = on!(&self.db, pool => {
            sqlx::query_as(FIND_BY_NAME).bind(name).fetch_optional(pool).await?
        });
        row.map(Channel::try_from).transpose()
    }

    async fn save_channel(&self, channel: &Channel) -> Result<(), Error> {
        let changed = on!(&self.db, pool => {
            bind!(UPDATE, channel).execute(pool).await?.rows_affected()
        });
        (changed == 1)
            .then_some(())
            .ok_or(Error::NotFound("channel"))
    }

    async fn delete_channel(&self, id: &ChannelId) -> Result<(), Error> {
        let deleted = on!(&self.db, pool => {
            sqlx::query(DELETE).bind(id.as_str()).execute(pool).await?.rows_affected()
        });
        (deleted == 1)
            .then_some(())
            .ok_or(Error::NotFound("channel"))
    }
}
