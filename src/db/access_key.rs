//! Access keys in SQL: secret and session token sealed at rest.

use async_trait::async_trait;

use super::{Repository, insertion, on, statements, word};
use crate::base::clock::WallTime;
use crate::db::seal::Sealer;
use crate::model::access_key::{AccessKey, Session};
use crate::model::repository::{AccessKeyRepository, Error};

statements! {
    INSERT = "INSERT INTO access_keys \
        (id, sealed_secret, sealed_token, expires_ms, role, arn_prefix, created_ms) \
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    LOAD = "SELECT id, sealed_secret, sealed_token, expires_ms, role, arn_prefix, created_ms \
        FROM access_keys WHERE id = $1";
    LIST = "SELECT id, sealed_secret, sealed_token, expires_ms, role, arn_prefix, created_ms \
        FROM access_keys ORDER BY created_ms, id LIMIT $1";
    DELETE = "DELETE FROM access_keys WHERE id = $1";
    DELETE_EXPIRED = "DELETE FROM access_keys WHERE expires_ms < $1";
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    sealed_secret: Vec<u8>,
    sealed_token: Option<Vec<u8>>,
    expires_ms: Option<i64>,
    role: String,
    arn_prefix: String,
    created_ms: i64,
}

impl Row {
    fn open(self, sealer: &Sealer) -> Result<AccessKey, Error> {
        let text = |row: &str, sealed: &[u8]| {
            let plain = sealer.open(row, sealed)?;
            String::from_utf8(plain).map_err(|_| Error::Sealed)
        };
        let session = match (&self.sealed_token, self.expires_ms) {
            (Some(sealed), Some(expires_ms)) => Some(Session {
                token: text(&token_row(&self.id), sealed)?,
                expires: WallTime(expires_ms),
            }),
            (None, None) => None,
            // Half a session is none that could be let in.
            _ => return Err(Error::Unreadable("access_keys.sealed_token".to_owned())),
        };
        Ok(AccessKey {
            secret: text(&self.id, &self.sealed_secret)?,
            session,
            role: word("access_keys.role", &self.role)?,
            arn_prefix: self.arn_prefix,
            created: WallTime(self.created_ms),
            id: self.id,
        })
    }
}

/// What the token is sealed for: not the secret's place.
fn token_row(id: &str) -> String {
    format!("{id} token")
}

#[async_trait]
impl AccessKeyRepository for Repository {
    async fn create_access_key(&self, key: &AccessKey) -> Result<(), Error> {
        let sealed_secret = self.sealer.seal(&key.id, key.secret.as_bytes());
        let seal_token = |s: &Session| self.sealer.seal(&token_row(&key.id), s.token.as_bytes());
        let sealed_token = key.session.as_ref().map(seal_token);
        let expires_ms = key.session.as_ref().map(|session| session.expires.0);
        let inserted = on!(&self.db, pool => {
            sqlx::query(DELETE_EXPIRED).bind(key.created.0).execute(pool).await?;
            sqlx::query(INSERT)
                .bind(&key.id)
                .bind(sealed_secret)
                .bind(sealed_token)
                .bind(expires_ms)
                .bind(key.role.word())
                .bind(&key.arn_prefix)
                .bind(key.created.0)
                .execute(pool)
                .await
                .map(drop)
        });
        inserted.map_err(|e| insertion(e, "access key"))
    }

    async fn load_access_key(&self, id: &str) -> Result<Option<AccessKey>, Error> {
        let row: Option<Row> = on!(&self.db, pool => {
            sqlx::query_as(LOAD).bind(id).fetch_optional(pool).await?
        });
        row.map(|row| row.open(&self.sealer)).transpose()
    }

    async fn list_access_keys(&self, limit: u32) -> Result<Vec<AccessKey>, Error> {
        let rows: Vec<Row> = on!(&self.db, pool => {
            sqlx::query_as(LIST).bind(i64::from(limit)).fetch_all(pool).await?
        });
        rows.into_iter().map(|row| row.open(&self.sealer)).collect()
    }

    async fn delete_access_key(&self, id: &str) -> Result<(), Error> {
        let deleted = on!(&self.db, pool => {
            sqlx::query(DELETE).bind(id).execute(pool).await?.rows_affected()
        });
        (deleted == 1)
            .then_some(())
            .ok_or(Error::NotFound("access key"))
    }
}
