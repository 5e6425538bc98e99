//! Tags in SQL: a column of JSON beside each resource.

use async_trait::async_trait;
use sqlx::types::Json;

use super::{Repository, on, statements, transact};
use crate::model::arn::Resource;
use crate::model::repository::{Error, TagRepository};
use crate::model::tags::{TagChange, Tags};

statements! {
    LOAD_OF_CHANNEL = "SELECT tags FROM channels WHERE id = $1 AND 'channel' = $2";
    LOAD_OF_STREAM_KEY = "SELECT tags FROM stream_keys WHERE id = $1 AND 'stream-key' = $2";
    LOAD_OF_DOCUMENT = "SELECT tags FROM documents WHERE id = $1 AND kind = $2";
    /// To no effect: whoever changes the same row waits.
    HOLD_CHANNEL = "UPDATE channels SET tags = tags WHERE id = $1 AND 'channel' = $2 RETURNING tags";
    HOLD_STREAM_KEY = "UPDATE stream_keys SET tags = tags WHERE id = $1 AND 'stream-key' = $2 \
        RETURNING tags";
    HOLD_DOCUMENT = "UPDATE documents SET tags = tags WHERE id = $1 AND kind = $2 RETURNING tags";
    SAVE_OF_CHANNEL = "UPDATE channels SET tags = $3 WHERE id = $1 AND 'channel' = $2";
    SAVE_OF_STREAM_KEY = "UPDATE stream_keys SET tags = $3 WHERE id = $1 AND 'stream-key' = $2";
    SAVE_OF_DOCUMENT = "UPDATE documents SET tags = $3 WHERE id = $1 AND kind = $2";
}

/// The statements for one table, and the row: all bind id and kind.
struct Place<'a> {
    load: &'static str,
    hold: &'static str,
    save: &'static str,
    id: &'a str,
    kind: &'a str,
}

impl<'a> From<&'a Resource> for Place<'a> {
    fn from(resource: &'a Resource) -> Self {
        match resource {
            Resource::Channel(id) => Self {
                load: LOAD_OF_CHANNEL,
                hold: HOLD_CHANNEL,
                save: SAVE_OF_CHANNEL,
                id: id.as_str(),
                kind: "channel",
            },
            Resource::StreamKey(id) => Self {
                load: LOAD_OF_STREAM_KEY,
                hold: HOLD_STREAM_KEY,
                save: SAVE_OF_STREAM_KEY,
                id: id.as_str(),
                kind: "stream-key",
            },
            Resource::Document(kind, id) => Self {
                load: LOAD_OF_DOCUMENT,
                hold: HOLD_DOCUMENT,
                save: SAVE_OF_DOCUMENT,
                id: id.as_str(),
                kind: kind.word(),
            },
        }
    }
}

#[async_trait]
impl TagRepository for Repository {
    async fn load_tags(&self, resource: &Resource) -> Result<Option<Tags>, Error> {
        let Place { load, id, kind, .. } = Place::from(resource);
        let tags: Option<Json<Tags>> = on!(&self.db, pool => {
            sqlx::query_scalar(load).bind(id).bind(kind).fetch_optional(pool).await?
        });
        Ok(tags.map(|tags| tags.0))
    }

    async fn change_tags(&self, resource: &Resource, change: &TagChange) -> Result<(), Error> {
        let Place {
            hold,
            save,
            id,
            kind,
            ..
        } = Place::from(resource);
        transact!(&self.db, tx => {
            let held = sqlx::query_scalar(hold).bind(id).bind(kind);
            let tags: Option<Json<Tags>> = held.fetch_optional(&mut *tx).await?;
            let tags = change.apply(tags.ok_or(Error::NotFound("resource"))?.0)?;
            sqlx::query(save).bind(id).bind(kind).bind(Json(tags)).execute(&mut *tx).await?;
        });
        Ok(())
    }
}
