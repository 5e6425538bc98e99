//! Documents in SQL: contents and tags as JSON.

use async_trait::async_trait;
use serde_json::Value;
use sqlx::types::Json;

use super::{Repository, TAKE_TURN, after, insertion, on, statements, transact, word};
use crate::base::clock::WallTime;
use crate::model::document::{Document, DocumentKind};
use crate::model::id::DocumentId;
use crate::model::repository::{DocumentRepository, Error, Page};
use crate::model::tags::Tags;

statements! {
    INSERT = "INSERT INTO documents (kind, id, created_ms, state, unique_value, tags, contents) \
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    COUNT = "SELECT COUNT(*) FROM documents WHERE kind = $1";
    LOAD = "SELECT kind, id, created_ms, state, unique_value, tags, contents FROM documents \
        WHERE kind = $1 AND id = $2";
    LIST = "SELECT kind, id, created_ms, state, unique_value, tags, contents FROM documents \
        WHERE kind = $1 AND (created_ms, id) > ($2, $3) ORDER BY created_ms, id LIMIT $4";
    UPDATE = "UPDATE documents SET state = $3, contents = $4 WHERE kind = $1 AND id = $2";
    DELETE = "DELETE FROM documents WHERE kind = $1 AND id = $2";
    IS_USED = "SELECT COUNT(*) FROM channels WHERE recording_configuration_arn = $1 \
        OR playback_restriction_policy_arn = $1 OR ad_configuration_arn = $1 \
        OR failover_slate_configuration_arn = $1";
}

#[derive(sqlx::FromRow)]
struct Row {
    kind: String,
    id: String,
    created_ms: i64,
    state: String,
    unique_value: Option<String>,
    tags: Json<Tags>,
    contents: Json<Value>,
}

impl TryFrom<Row> for Document {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        Ok(Self {
            kind: word("documents.kind", &row.kind)?,
            id: word("documents.id", &row.id)?,
            created: WallTime(row.created_ms),
            tags: row.tags.0,
            state: row.state,
            unique: row.unique_value,
            contents: row.contents.0,
        })
    }
}

#[async_trait]
impl DocumentRepository for Repository {
    async fn create_document(&self, document: &Document, limit: u32) -> Result<(), Error> {
        let kind = document.kind.word();
        transact!(&self.db, tx => {
            sqlx::query(TAKE_TURN).bind(kind).execute(&mut *tx).await?;
            let count: i64 = sqlx::query_scalar(COUNT).bind(kind).fetch_one(&mut *tx).await?;
            if count >= i64::from(limit) {
                return Err(Error::Full(limit));
            }
            sqlx::query(INSERT)
                .bind(kind)
                .bind(document.id.as_str())
                .bind(document.created.0)
                .bind(&document.state)
                .bind(&document.unique)
                .bind(Json(&document.tags))
                .bind(Json(&document.contents))
                .execute(&mut *tx)
                .await
                .map_err(|e| insertion(e, "channel"))?;
        });
        Ok(())
    }

    async fn load_document(
        &self,
        kind: DocumentKind,
        id: &DocumentId,
    ) -> Result<Option<Document>, Error> {
        let row: Option<Row> = on!(&self.db, pool => {
            sqlx::query_as(LOAD).bind(kind.word()).bind(id.as_str()).fetch_optional(pool).await?
        });
        row.map(Document::try_from).transpose()
    }

    async fn list_documents(
        &self,
        kind: DocumentKind,
        page: &Page,
    ) -> Result<Vec<Document>, Error> {
        let (created_ms, id) = after(page);
        let rows: Vec<Row> = on!(&self.db, pool => {
            sqlx::query_as(LIST)
                .bind(kind.word())
                .bind(created_ms)
                .bind(id)
                .bind(i64::from(page.limit))
                .fetch_all(pool)
                .await?
        });
        rows.into_iter().map(Document::try_from).collect()
    }

    async fn save_document(&self, document: &Document) -> Result<(), Error> {
        let changed = on!(&self.db, pool => {
            sqlx::query(UPDATE)
                .bind(document.kind.word())
                .bind(document.id.as_str())
                .bind(&document.state)
                .bind(Json(&document.contents))
                .execute(pool)
                .await?
                .rows_affected()
        });
        (changed == 1)
            .then_some(())
            .ok_or(Error::NotFound("resource"))
    }

    async fn delete_document(
        &self,
        kind: DocumentKind,
        id: &DocumentId,
        arn: &str,
    ) -> Result<(), Error> {
        transact!(&self.db, tx => {
            let deleted = sqlx::query(DELETE).bind(kind.word()).bind(id.as_str());
            if deleted.execute(&mut *tx).await?.rows_affected() == 0 {
                return Err(Error::NotFound("resource"));
            }
            let used: i64 = sqlx::query_scalar(IS_USED).bind(arn).fetch_one(&mut *tx).await?;
            if used > 0 {
                return Err(Error::InUse);
            }
        });
        Ok(())
    }
}
