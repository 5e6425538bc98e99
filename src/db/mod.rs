//! SQL behind `model::repository`, the same text for SQLite and PostgreSQL.
//!
//! In:  a database URL and the secret that seals stored secrets. Out: [`Repository`].
//! Not here: rules about channels or keys (`model`).
//! One file per aggregate. Placeholders are `$1`, ids TEXT, numbers BIGINT, times milliseconds;
//! `tests/it/repository.rs` runs everything on both databases.

mod access_key;
mod channel;
pub mod connect;
mod document;
mod epoch;
mod outbox;
mod revocation;
pub mod seal;
mod stream_key;
mod stream_session;
mod tags;

use crate::model::repository::{Error, Page};
pub use connect::{Access, Db};
use seal::Sealer;

/// Every statement of this room, for the test that prepares them on both databases.
pub const STATEMENTS: &[&[&str]] = &[
    access_key::STATEMENTS,
    channel::STATEMENTS,
    connect::STATEMENTS,
    document::STATEMENTS,
    epoch::STATEMENTS,
    outbox::STATEMENTS,
    revocation::STATEMENTS,
    stream_key::STATEMENTS,
    stream_session::STATEMENTS,
    tags::STATEMENTS,
    STATEMENTS_OF_ALL,
];

/// Declares a file's statements; none can be forgotten in `STATEMENTS` then.
macro_rules! statements {
    ($( $(#[$meta:meta])* $name:ident = $sql:expr; )+) => {
        $( $(#[$meta])* pub(super) const $name: &str = $sql; )+
        pub(super) const STATEMENTS: &[&str] = &[$($name),+];
    };
}

/// Runs one body on whichever database is connected.
macro_rules! on {
    ($db:expr, $pool:ident => $body:expr) => {
        match $db {
            $crate::db::Db::Lite($pool) => $body,
            $crate::db::Db::Pg($pool) => $body,
        }
    };
}

/// Runs one body in a transaction that is committed when the body ends. In SQLite it takes the
/// write lock at once: a reader that turns writer half-way would fail with "busy" instead of
/// waiting. Statements with RETURNING need it there too, because sqlx hands out the row before
/// the statement is complete and therefore before it is durable.
macro_rules! transact {
    ($db:expr, $tx:ident => $body:expr) => {
        match $db {
            $crate::db::Db::Lite(pool) => {
                let mut $tx = pool.begin_with("BEGIN IMMEDIATE").await?;
                let output = $body;
                $tx.commit().await?;
                output
            }
            $crate::db::Db::Pg(pool) => {
                let mut $tx = pool.begin().await?;
                let output = $body;
                $tx.commit().await?;
                output
            }
        }
    };
}

use {on, statements, transact};

/// Waits until nobody else counts what there is of a kind, up to the transaction's end.
const TAKE_TURN: &str = "UPDATE turns SET kind = kind WHERE kind = $1";
const STATEMENTS_OF_ALL: &[&str] = &[TAKE_TURN];

/// The repository over one database.
#[derive(Clone, Debug)]
pub struct Repository {
    db: Db,
    sealer: Sealer,
}

impl Repository {
    /// A repository over a database whose migrations have run.
    pub fn new(db: Db, sealer: Sealer) -> Self {
        Self { db, sealer }
    }

    /// The database underneath, for `weir check` and tests.
    pub fn db(&self) -> &Db {
        &self.db
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::ColumnDecode { .. } => Self::Unreadable(error.to_string()),
            other => Self::Database(Box::new(other)),
        }
    }
}

/// The place after which a page begins; below every time for the first, so that it needs no statement of
/// its own.
fn after(page: &Page) -> (i64, String) {
    let start = (i64::MIN, String::new());
    let after = page.after.as_ref();
    after.map_or(start, |(at, id)| (at.0, id.clone()))
}

/// What an insertion's failure means: a foreign key that points nowhere is a missing `parent`.
fn insertion(error: sqlx::Error, parent: &'static str) -> Error {
    use sqlx::error::ErrorKind::{ForeignKeyViolation, UniqueViolation};
    match error
        .as_database_error()
        .map(sqlx::error::DatabaseError::kind)
    {
        Some(ForeignKeyViolation) => Error::NotFound(parent),
        Some(UniqueViolation) => Error::Exists,
        _ => error.into(),
    }
}

/// A stored number that must not be negative.
fn unsigned(column: &str, value: i64) -> Result<u64, Error> {
    u64::try_from(value).map_err(|_| Error::Unreadable(format!("{column} is {value}")))
}

/// A number of ours as the database stores it; saturates far above what can occur.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A stored word as its enumeration or identifier.
fn word<T>(column: &str, text: &str) -> Result<T, Error>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    text.parse()
        .map_err(|e| Error::Unreadable(format!("{column}: {e}")))
}
