//! Stream sessions in SQL: details and events as JSON.

use async_trait::async_trait;
use serde_json::{Map, Value};
use sqlx::types::Json;

use super::{Repository, on, statements, word};
use crate::base::clock::WallTime;
use crate::model::id::ChannelId;
use crate::model::repository::{Error, Page, StreamSessionRepository};
use crate::model::stream_session::{StreamEvent, StreamSession};

statements! {
    SAVE = "INSERT INTO stream_sessions \
        (stream_id, channel_id, started_ms, ended_ms, has_error, details, events) \
        VALUES ($1, $2, $3, $4, $5, $6, $7) \
        ON CONFLICT (stream_id) DO UPDATE SET ended_ms = excluded.ended_ms, \
        has_error = excluded.has_error, details = excluded.details, events = excluded.events";
    LOAD = "SELECT stream_id, channel_id, started_ms, ended_ms, has_error, details, events \
        FROM stream_sessions WHERE channel_id = $1 AND stream_id = $2";
    LOAD_NEWEST = "SELECT stream_id, channel_id, started_ms, ended_ms, has_error, details, events \
        FROM stream_sessions WHERE channel_id = $1 ORDER BY started_ms DESC, stream_id DESC LIMIT 1";
    LIST = "SELECT stream_id, channel_id, started_ms, ended_ms, has_error \
        FROM stream_sessions WHERE channel_id = $1 AND (started_ms, stream_id) < ($2, $3) \
        ORDER BY started_ms DESC, stream_id DESC LIMIT $4";
    LIST_OPEN = "SELECT stream_id, channel_id, started_ms, ended_ms, has_error, details, events \
        FROM stream_sessions WHERE ended_ms IS NULL ORDER BY started_ms, stream_id LIMIT $1";
    DELETE_OLD = "DELETE FROM stream_sessions WHERE started_ms < $1";
}

#[derive(sqlx::FromRow)]
struct Row {
    stream_id: String,
    channel_id: String,
    started_ms: i64,
    ended_ms: Option<i64>,
    has_error: bool,
    #[sqlx(default)]
    details: Option<Json<Map<String, Value>>>,
    #[sqlx(default)]
    events: Option<Json<Vec<StreamEvent>>>,
}

impl TryFrom<Row> for StreamSession {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        Ok(Self {
            stream_id: row.stream_id,
            channel_id: word("stream_sessions.channel_id", &row.channel_id)?,
            started: WallTime(row.started_ms),
            ended: row.ended_ms.map(WallTime),
            has_error: row.has_error,
            details: row.details.map(|details| details.0).unwrap_or_default(),
            events: row.events.map(|events| events.0).unwrap_or_default(),
        })
    }
}

#[async_trait]
impl StreamSessionRepository for Repository {
    async fn load_stream_session(
        &self,
        channel: &ChannelId,
        stream_id: Option<&str>,
    ) -> Result<Option<StreamSession>, Error> {
        let row: Option<Row> = on!(&self.db, pool => {
            let query = match stream_id {
                Some(id) => sqlx::query_as(LOAD).bind(channel.as_str()).bind(id),
                None => sqlx::query_as(LOAD_NEWEST).bind(channel.as_str()),
            };
            query.fetch_optional(pool).await?
        });
        row.map(StreamSession::try_from).transpose()
    }

    async fn list_stream_sessions(
        &self,
        channel: &ChannelId,
        page: &Page,
    ) -> Result<Vec<StreamSession>, Error> {
        // Above every start, so that the first page needs no statement of its own.
        let start = (i64::MAX, String::new());
        let (started_ms, id) = page
            .after
            .as_ref()
            .map_or(start, |(at, id)| (at.0, id.clone()));
        let rows: Vec<Row> = on!(&self.db, pool => {
            sqlx::query_as(LIST)
                .bind(channel.as_str())
                .bind(started_ms)
                .bind(id)
                .bind(i64::from(page.limit))
                .fetch_all(pool)
                .await?
        });
        rows.into_iter().map(StreamSession::try_from).collect()
    }

    async fn open_stream_sessions(&self, limit: u32) -> Result<Vec<StreamSession>, Error> {
        let rows: Vec<Row> = on!(&self.db, pool => {
            sqlx::query_as(LIST_OPEN).bind(i64::from(limit)).fetch_all(pool).await?
        });
        rows.into_iter().map(StreamSession::try_from).collect()
    }

    async fn delete_stream_sessions(&self, before: WallTime) -> Result<(), Error> {
        on!(&self.db, pool => {
            sqlx::query(DELETE_OLD).bind(before.0).execute(pool).await?.rows_affected()
        });
        Ok(())
    }
}
