//! The outbox in SQL: what happened, who is told, and what they did not take. Secrets are sealed at rest.

use async_trait::async_trait;
use sqlx::types::Json;

use super::stream_session::SAVE as SAVE_SESSION;
use super::{Repository, insertion, on, statements, transact};
use crate::base::clock::WallTime;
use crate::db::seal::Sealer;
use crate::model::StreamSession;
use crate::model::repository::{Error, OutboxRepository};
use crate::model::webhook::{DeadLetter, Progress, Told, Webhook};

statements! {
    TELL = "INSERT INTO outbox (id, detail_type, resource, told_ms, body) \
        VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING";
    AFTER = "SELECT seq, id, detail_type, resource, told_ms, body FROM outbox \
        WHERE seq > $1 ORDER BY seq LIMIT $2";
    NEWEST = "SELECT COALESCE(MAX(seq), 0) FROM outbox";
    FORGET = "DELETE FROM outbox WHERE told_ms < $1";
    INSERT = "INSERT INTO webhooks (id, url, sealed_secret, detail_types, resources, created_ms, \
        after_seq, attempts, failing_ms, due_ms, disabled) \
        SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11 \
        WHERE (SELECT COUNT(*) FROM webhooks) < $12";
    LIST = "SELECT id, url, sealed_secret, detail_types, resources, created_ms, \
        after_seq, attempts, failing_ms, due_ms, disabled FROM webhooks ORDER BY created_ms, id";
    DELETE = "DELETE FROM webhooks WHERE id = $1";
    SAVE = "UPDATE webhooks SET after_seq = $2, attempts = $3, failing_ms = $4, due_ms = $5, \
        disabled = $6 WHERE id = $1";
    BURY = "INSERT INTO dead_letters (webhook_id, event_id, failed_ms, reason, body, replayed) \
        VALUES ($1, $2, $3, $4, $5, FALSE) ON CONFLICT (webhook_id, event_id) DO UPDATE SET \
        failed_ms = excluded.failed_ms, reason = excluded.reason, replayed = FALSE";
    LETTERS = "SELECT event_id, failed_ms, reason, body FROM dead_letters \
        WHERE webhook_id = $1 AND (replayed OR $2) ORDER BY failed_ms, event_id LIMIT $3";
    REPLAY = "UPDATE dead_letters SET replayed = TRUE WHERE webhook_id = $1 AND event_id = $2";
    UNBURY = "DELETE FROM dead_letters WHERE webhook_id = $1 AND event_id = $2";
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    url: String,
    sealed_secret: Vec<u8>,
    detail_types: Json<Vec<String>>,
    resources: Json<Vec<String>>,
    created_ms: i64,
    after_seq: i64,
    attempts: i64,
    failing_ms: Option<i64>,
    due_ms: i64,
    disabled: Option<String>,
}

impl Row {
    fn open(self, sealer: &Sealer) -> Result<Webhook, Error> {
        let secret = sealer.open(&self.id, &self.sealed_secret)?;
        Ok(Webhook {
            secret: String::from_utf8(secret).map_err(|_| Error::Sealed)?,
            id: self.id,
            url: self.url,
            detail_types: self.detail_types.0,
            resources: self.resources.0,
            created: WallTime(self.created_ms),
            progress: Progress {
                after_seq: self.after_seq,
                attempts: u32::try_from(self.attempts)
                    .map_err(|e| Error::Unreadable(format!("webhooks.attempts: {e}")))?,
                failing: self.failing_ms.map(WallTime),
                due: WallTime(self.due_ms),
                disabled: self.disabled,
            },
        })
    }
}

/// Runs a webhook's statement that must meet one row.
macro_rules! of_one {
    ($outcome:expr, $what:literal) => {
        ($outcome.rows_affected() == 1)
            .then_some(())
            .ok_or(Error::NotFound($what))
    };
}

#[async_trait]
impl OutboxRepository for Repository {
    async fn tell(&self, session: Option<&StreamSession>, told: &[Told]) -> Result<(), Error> {
        transact!(&self.db, tx => {
            if let Some(session) = session {
                sqlx::query(SAVE_SESSION)
                    .bind(&session.stream_id)
                    .bind(session.channel_id.as_str())
                    .bind(session.started.0)
                    .bind(session.ended.map(|ended| ended.0))
                    .bind(session.has_error)
                    .bind(Json(&session.details))
                    .bind(Json(&session.events))
                    .execute(&mut *tx)
                    .await?;
            }
            for told in told {
                sqlx::query(TELL)
                    .bind(&told.id)
                    .bind(&told.detail_type)
                    .bind(&told.resource)
                    .bind(told.at.0)
                    .bind(&told.body)
                    .execute(&mut *tx)
                    .await?;
            }
        });
        Ok(())
    }

    async fn told_after(&self, seq: i64, limit: u32) -> Result<Vec<Told>, Error> {
        let rows: Vec<(i64, String, String, String, i64, String)> = on!(&self.db, pool => {
            sqlx::query_as(AFTER).bind(seq).bind(i64::from(limit)).fetch_all(pool).await?
        });
        let read = |(seq, id, detail_type, resource, told_ms, body)| Told {
            seq,
            id,
            detail_type,
            resource,
            at: WallTime(told_ms),
            body,
        };
        Ok(rows.into_iter().map(read).collect())
    }

    async fn newest_told(&self) -> Result<i64, Error> {
        Ok(on!(&self.db, pool => sqlx::query_scalar(NEWEST).fetch_one(pool).await?))
    }

    async fn forget_told(&self, before: WallTime) -> Result<(), Error> {
        on!(&self.db, pool => sqlx::query(FORGET).bind(before.0).execute(pool).await?.rows_affected());
        Ok(())
    }

    async fn create_webhook(&self, webhook: &Webhook, limit: u32) -> Result<(), Error> {
        let sealed = self.sealer.seal(&webhook.id, webhook.secret.as_bytes());
        let progress = &webhook.progress;
        let inserted = on!(&self.db, pool => {
            sqlx::query(INSERT)
                .bind(&webhook.id)
                .bind(&webhook.url)
                .bind(sealed)
                .bind(Json(&webhook.detail_types))
                .bind(Json(&webhook.resources))
                .bind(webhook.created.0)
                .bind(progress.after_seq)
                .bind(i64::from(progress.attempts))
                .bind(progress.failing.map(|at| at.0))
                .bind(progress.due.0)
                .bind(&progress.disabled)
                .bind(i64::from(limit))
                .execute(pool)
                .await
                .map(|done| done.rows_affected())
        });
        match inserted.map_err(|e| insertion(e, "webhook"))? {
            0 => Err(Error::Full(limit)),
            _ => Ok(()),
        }
    }

    async fn list_webhooks(&self) -> Result<Vec<Webhook>, Error> {
        let rows: Vec<Row> = on!(&self.db, pool => sqlx::query_as(LIST).fetch_all(pool).await?);
        rows.into_iter().map(|row| row.open(&self.sealer)).collect()
    }

    async fn delete_webhook(&self, id: &str) -> Result<(), Error> {
        on!(&self.db, pool => {
            of_one!(sqlx::query(DELETE).bind(id).execute(pool).await?, "webhook")
        })
    }

    async fn save_progress(
        &self,
        id: &str,
        progress: &Progress,
        dead: Option<&DeadLetter>,
    ) -> Result<(), Error> {
        transact!(&self.db, tx => {
            let saved = sqlx::query(SAVE)
                .bind(id)
                .bind(progress.after_seq)
                .bind(i64::from(progress.attempts))
                .bind(progress.failing.map(|at| at.0))
                .bind(progress.due.0)
                .bind(&progress.disabled)
                .execute(&mut *tx)
                .await?;
            of_one!(saved, "webhook")?;
            if let Some(dead) = dead {
                sqlx::query(BURY)
                    .bind(id)
                    .bind(&dead.event_id)
                    .bind(dead.failed.0)
                    .bind(&dead.reason)
                    .bind(&dead.body)
                    .execute(&mut *tx)
                    .await?;
            }
        });
        Ok(())
    }

    async fn dead_letters(
        &self,
        id: &str,
        is_all: bool,
        limit: u32,
    ) -> Result<Vec<DeadLetter>, Error> {
        let rows: Vec<(String, i64, String, String)> = on!(&self.db, pool => {
            sqlx::query_as(LETTERS)
                .bind(id)
                .bind(is_all)
                .bind(i64::from(limit))
                .fetch_all(pool)
                .await?
        });
        let read = |(event_id, failed_ms, reason, body)| DeadLetter {
            event_id,
            failed: WallTime(failed_ms),
            reason,
            body,
        };
        Ok(rows.into_iter().map(read).collect())
    }

    async fn replay_dead_letter(&self, id: &str, event_id: &str) -> Result<(), Error> {
        on!(&self.db, pool => {
            of_one!(sqlx::query(REPLAY).bind(id).bind(event_id).execute(pool).await?, "dead letter")
        })
    }

    async fn delete_dead_letter(&self, id: &str, event_id: &str) -> Result<(), Error> {
        on!(&self.db, pool => {
            of_one!(sqlx::query(UNBURY).bind(id).bind(event_id).execute(pool).await?, "dead letter")
        })
    }
}
