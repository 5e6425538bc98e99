//! Epochs in SQL: one row per channel, moved forward only.

use async_trait::async_trait;

use super::{Repository, insertion, on, signed, statements, transact, unsigned, word};
use crate::model::id::ChannelId;
use crate::model::repository::{EPOCH_MSN_RESERVE, Epoch, EpochRepository, Error, RunningEpoch};

statements! {
    /// Atomic by itself: the conflicting row is locked while its successor is computed.
    BEGIN = "INSERT INTO epochs (channel_id, number, first_msn, next_msn, running_from, begun) \
        VALUES ($1, 1, 1, 1 + CAST($2 AS BIGINT), 1, (SELECT COALESCE(MAX(begun), 0) + 1 FROM epochs)) \
        ON CONFLICT (channel_id) DO UPDATE SET number = epochs.number + 1, \
        first_msn = epochs.next_msn, next_msn = epochs.next_msn + CAST($2 AS BIGINT), \
        running_from = epochs.number + 1, begun = excluded.begun \
        RETURNING number, first_msn";
    /// What the dead process had reserved stays reserved.
    RESUME = "UPDATE epochs SET number = number + 1, first_msn = $3, \
        next_msn = CASE WHEN next_msn < $4 THEN $4 ELSE next_msn END, \
        begun = (SELECT MAX(begun) + 1 FROM epochs) \
        WHERE channel_id = $1 AND number = $2 AND first_msn <= $3 AND running_from IS NOT NULL \
        RETURNING number, first_msn";
    RUNNING = "SELECT channel_id, number, running_from FROM epochs \
        WHERE running_from <= number ORDER BY begun DESC, channel_id LIMIT $1";
    EXTEND = "UPDATE epochs SET next_msn = CASE WHEN next_msn < $3 THEN $3 ELSE next_msn END \
        WHERE channel_id = $1 AND number = $2";
    END = "UPDATE epochs SET next_msn = $3, running_from = NULL \
        WHERE channel_id = $1 AND number = $2 AND first_msn <= $3";
    /// What was reserved may have been used.
    ABANDON = "UPDATE epochs SET running_from = NULL WHERE channel_id = $1 AND number = $2";
}

#[derive(sqlx::FromRow)]
struct Row {
    number: i64,
    first_msn: i64,
}

impl TryFrom<Row> for Epoch {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        Ok(Self {
            number: unsigned("epochs.number", row.number)?,
            first_msn: unsigned("epochs.first_msn", row.first_msn)?,
        })
    }
}

#[derive(sqlx::FromRow)]
struct RunningRow {
    channel_id: String,
    number: i64,
    running_from: i64,
}

impl TryFrom<RunningRow> for RunningEpoch {
    type Error = Error;

    fn try_from(row: RunningRow) -> Result<Self, Error> {
        Ok(Self {
            channel_id: word("epochs.channel_id", &row.channel_id)?,
            number: unsigned("epochs.number", row.number)?,
            running_from: unsigned("epochs.running_from", row.running_from)?,
        })
    }
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
        row.try_into()
    }

    async fn resume_epoch(
        &self,
        channel: &ChannelId,
        number: u64,
        first_msn: u64,
    ) -> Result<Epoch, Error> {
        let row: Option<Row> = transact!(&self.db, tx => {
            sqlx::query_as(RESUME)
                .bind(channel.as_str())
                .bind(signed(number))
                .bind(signed(first_msn))
                .bind(signed(first_msn.saturating_add(EPOCH_MSN_RESERVE)))
                .fetch_optional(&mut *tx)
                .await?
        });
        row.ok_or(Error::Superseded)?.try_into()
    }

    async fn running_epochs(&self, limit: u32) -> Result<Vec<RunningEpoch>, Error> {
        let rows: Vec<RunningRow> = on!(&self.db, pool => {
            sqlx::query_as(RUNNING).bind(i64::from(limit)).fetch_all(pool).await?
        });
        rows.into_iter().map(RunningEpoch::try_from).collect()
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

    async fn abandon_epoch(&self, channel: &ChannelId, number: u64) -> Result<(), Error> {
        on!(&self.db, pool => {
            sqlx::query(ABANDON)
                .bind(channel.as_str())
                .bind(signed(number))
                .execute(pool)
                .await?;
        });
        Ok(())
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
