//! Revocations of viewer sessions in SQL.

use async_trait::async_trait;

use super::{Repository, after, insertion, on, statements, word};
use crate::base::clock::WallTime;
use crate::model::repository::{Error, Page, Revocation, RevocationRepository};

statements! {
    SAVE = "INSERT INTO viewer_revocations (channel_id, viewer_id, version, revoked_ms) \
        VALUES ($1, $2, $3, $4) ON CONFLICT (channel_id, viewer_id) DO UPDATE SET \
        version = CASE WHEN viewer_revocations.version < excluded.version \
        THEN excluded.version ELSE viewer_revocations.version END, \
        revoked_ms = excluded.revoked_ms";
    LIST = "SELECT channel_id, viewer_id, version, revoked_ms FROM viewer_revocations \
        WHERE (revoked_ms, viewer_id) > ($1, $2) ORDER BY revoked_ms, viewer_id LIMIT $3";
    DELETE_OLD = "DELETE FROM viewer_revocations WHERE revoked_ms < $1";
}

#[async_trait]
impl RevocationRepository for Repository {
    async fn revoke(&self, revocation: &Revocation) -> Result<(), Error> {
        let saved = on!(&self.db, pool => {
            sqlx::query(SAVE)
                .bind(revocation.channel_id.as_str())
                .bind(&revocation.viewer_id)
                .bind(i64::from(revocation.version))
                .bind(revocation.at.0)
                .execute(pool)
                .await
                .map(drop)
        });
        saved.map_err(|e| insertion(e, "channel"))
    }

    async fn list_revocations(&self, page: &Page) -> Result<Vec<Revocation>, Error> {
        let (revoked_ms, viewer_id) = after(page);
        let rows: Vec<(String, String, i64, i64)> = on!(&self.db, pool => {
            sqlx::query_as(LIST)
                .bind(revoked_ms)
                .bind(viewer_id)
                .bind(i64::from(page.limit))
                .fetch_all(pool)
                .await?
        });
        let read = |(channel_id, viewer_id, version, revoked_ms): (String, _, i64, _)| {
            let version = u32::try_from(version);
            Ok(Revocation {
                channel_id: word("viewer_revocations.channel_id", &channel_id)?,
                viewer_id,
                version: version
                    .map_err(|e| Error::Unreadable(format!("viewer_revocations.version: {e}")))?,
                at: WallTime(revoked_ms),
            })
        };
        rows.into_iter().map(read).collect()
    }

    async fn forget_revocations(&self, before: WallTime) -> Result<(), Error> {
        on!(&self.db, pool => {
            sqlx::query(DELETE_OLD).bind(before.0).execute(pool).await?.rows_affected()
        });
        Ok(())
    }
}
