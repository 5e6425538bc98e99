//! Epochs in SQL: one row per channel, moved forward only.

use async_trait::async_trait;

use super::{Repository, insertion, on, signed, statements, transact, unsigned};
use crate::model::id::ChannelId;
use crate::model::repository::{EPOCH_MSN_RESERVE, Epoch, EpochRepository, Error};

statements! {
    /// Atomic by itself: the conflicting row is locked while its successor is computed.
    BEGIN = "INSERT INTO epochs (channel_id, number, first_msn, next_msn) \
        VALUES ($1, 1, 1, 1 + CAST($2 AS BIGINT)) \
        ON CONFLICT (channel_id) DO UPDATE SET number = epochs.number + 1, \
        first_msn = epochs.next_msn, next_msn = epochs.next_msn + CAST($2 AS BIGINT) \
        RETURNING number, first_msn";
    EXTEND = "UPDATE epochs SET next_msn = CASE WHEN next_msn < $3 THEN $3 ELSE next_msn END \
        WHERE channel_id = $1 AND number = $2";
    END = "UPDATE epochs SET next_msn = $3 \
        WHERE channel_id = $1 AND number = $2 AND first_msn <= $3";
}

#[derive(sqlx::FromRow)]
struct Row {
    number: i64,
    first_msn: i64,
}

#[async_trait]
impl EpochRepository for Repository {
    async fn begin_epoch(&self, channel: &ChannelId) -> Result<Epoch, Error> {
        let row: Row = transact!(&self.db, tx => {
            sqlx::query_as(BEGIN)
                .bind(channel.as_str())
                .bind(signed(EPOCH_MSN_RESERVE))
                .fetch_one(&mut *tx)
                .await
                .map_err(|e| insertion(e, "channel"))?
        });
        Ok(Epoch {
            number: unsigned("epochs.number", row.number)?,
            first_msn: unsigned("epochs.first_msn", row.first_msn)?,
        })
    }

    async fn extend_epoch(
        &self,
        channel: &ChannelId,
        number: u64,
        reserved_msn: u64,
    ) -> Result<(), Error> {
        let moved = self
            .move_next_msn(EXTEND, channel, number, reserved_msn)
            .await?;
        moved.then_some(()).ok_or(Error::Superseded)
    }

    async fn end_epoch(
        &self,
        channel: &ChannelId,
        number: u64,
        next_msn: u64,
    ) -> Result<(), Error> {
        self.move_next_msn(END, channel, number, next_msn)
            .await
            .map(drop)
    }
}

impl Repository {
    async fn move_next_msn(
        &self,
        statement: &'static str,
        channel: &ChannelId,
        number: u64,
        msn: u64,
    ) -> Result<bool, Error> {
        let moved = on!(&self.db, pool => {
            sqlx::query(statement)
                .bind(channel.as_str())
                .bind(signed(number))
                .bind(signed(msn))
                .execute(pool)
                .await?
                .rows_affected()
        });
        Ok(moved == 1)
    }
}
