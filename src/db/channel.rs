//! Channels in SQL.

use async_trait::async_trait;
use sqlx::types::Json;

use super::{Repository, TAKE_TURN, after, on, statements, stream_key, transact, word};
use crate::base::clock::WallTime;
use crate::model::channel::{Attached, Channel, Multitrack};
use crate::model::id::ChannelId;
use crate::model::repository::{ChannelRepository, Error, Filter, Page};
use crate::model::stream_key::StreamKey;
use crate::model::tags::Tags;

/// By name, never `*`: a column that a newer version adds must not disturb this one.
macro_rules! columns {
    () => {
        "id, name, channel_type, latency_mode, preset, container_format, is_authorized, \
         is_insecure_ingest, part_target_ms, multitrack, recording_configuration_arn, \
         playback_restriction_policy_arn, ad_configuration_arn, failover_slate_configuration_arn, \
         created_ms, tags"
    };
}

/// A page of the channels of which `$filter` holds.
macro_rules! listing {
    ($filter:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            " FROM channels WHERE (created_ms, id) > ($1, $2)",
            $filter,
            " ORDER BY created_ms, id LIMIT $3"
        )
    };
}

statements! {
    INSERT = concat!("INSERT INTO channels (", columns!(), ") \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)");
    UPDATE = "UPDATE channels SET name = $2, channel_type = $3, latency_mode = $4, preset = $5, \
        container_format = $6, is_authorized = $7, is_insecure_ingest = $8, part_target_ms = $9, \
        multitrack = $10, recording_configuration_arn = $11, playback_restriction_policy_arn = $12, \
        ad_configuration_arn = $13, failover_slate_configuration_arn = $14 WHERE id = $1";
    COUNT = "SELECT COUNT(*) FROM channels";
    LOAD = concat!("SELECT ", columns!(), " FROM channels WHERE id = $1");
    FIND_BY_NAME = concat!("SELECT ", columns!(), " FROM channels WHERE name = $1 \
        ORDER BY created_ms, id LIMIT 1");
    LIST = listing!("");
    LIST_OF_NAME = listing!(" AND name = $4");
    LIST_OF_RECORDING_CONFIGURATION = listing!(" AND recording_configuration_arn = $4");
    LIST_OF_RESTRICTION_POLICY = listing!(" AND playback_restriction_policy_arn = $4");
    LIST_OF_AD_CONFIGURATION = listing!(" AND ad_configuration_arn = $4");
    LIST_OF_SLATE_CONFIGURATION = listing!(" AND failover_slate_configuration_arn = $4");
    LIST_PROTECTED = listing!(" AND (is_authorized OR playback_restriction_policy_arn <> $4)");
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
    multitrack: Option<Json<Multitrack>>,
    recording_configuration_arn: String,
    playback_restriction_policy_arn: String,
    ad_configuration_arn: String,
    failover_slate_configuration_arn: String,
    created_ms: i64,
    tags: Json<Tags>,
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
            multitrack: row.multitrack.map(|multitrack| multitrack.0),
            attached: Attached {
                recording_configuration_arn: row.recording_configuration_arn,
                playback_restriction_policy_arn: row.playback_restriction_policy_arn,
                ad_configuration_arn: row.ad_configuration_arn,
                failover_slate_configuration_arn: row.failover_slate_configuration_arn,
            },
            tags: row.tags.0,
            created: WallTime(row.created_ms),
        })
    }
}

/// `INSERT` and `UPDATE` bind the same values in the same order; only `INSERT` goes on to `$15`.
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
            .bind($channel.multitrack.map(Json))
            .bind(&$channel.attached.recording_configuration_arn)
            .bind(&$channel.attached.playback_restriction_policy_arn)
            .bind(&$channel.attached.ad_configuration_arn)
            .bind(&$channel.attached.failover_slate_configuration_arn)
    };
}

#[async_trait]
impl ChannelRepository for Repository {
    async fn create_channel(
        &self,
        channel: &Channel,
        key: &StreamKey,
        limit: u32,
    ) -> Result<(), Error> {
        let sealed = stream_key::seal(&self.sealer, key);
        transact!(&self.db, tx => {
            sqlx::query(TAKE_TURN).bind("channel").execute(&mut *tx).await?;
            let count: i64 = sqlx::query_scalar(COUNT).fetch_one(&mut *tx).await?;
            if count >= i64::from(limit) {
                return Err(Error::Full(limit));
            }
            bind!(INSERT, channel)
                .bind(channel.created.0)
                .bind(Json(&channel.tags))
                .execute(&mut *tx)
                .await?;
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
        let (created_ms, id) = after(page);
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

    async fn filter_channels(&self, filter: &Filter, page: &Page) -> Result<Vec<Channel>, Error> {
        let (sql, value) = match filter {
            Filter::Name(name) => (LIST_OF_NAME, name),
            Filter::RecordingConfiguration(arn) => (LIST_OF_RECORDING_CONFIGURATION, arn),
            Filter::PlaybackRestrictionPolicy(arn) => (LIST_OF_RESTRICTION_POLICY, arn),
            Filter::AdConfiguration(arn) => (LIST_OF_AD_CONFIGURATION, arn),
            Filter::FailoverSlateConfiguration(arn) => (LIST_OF_SLATE_CONFIGURATION, arn),
            Filter::Protected => (LIST_PROTECTED, &String::new()),
        };
        let (created_ms, id) = after(page);
        let rows: Vec<Row> = on!(&self.db, pool => {
            sqlx::query_as(sql)
                .bind(created_ms)
                .bind(id)
                .bind(i64::from(page.limit))
                .bind(value)
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
