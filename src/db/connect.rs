//! From a database URL to a migrated pool of connections.
//!
//! In:  `sqlite:PATH` or `postgres://…`. Out: [`Db`].
//! SQLite runs in WAL mode with `synchronous = FULL`: a commit is on the disk when it returns,
//! which epochs rely on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use super::{on, statements};

/// How long a writer waits for another one in SQLite, and a task for a free connection; as long
/// a server that is just starting is tried again.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same where somebody waits for the answer.
const BRIEF_PATIENCE: Duration = Duration::from_secs(2);

statements! {
    COUNT_MIGRATIONS = "SELECT COUNT(*) FROM _sqlx_migrations WHERE success";
}

/// A pool of connections to one of the two databases.
#[derive(Clone, Debug)]
pub enum Db {
    /// SQLite.
    Lite(SqlitePool),
    /// PostgreSQL.
    Pg(PgPool),
}

/// Whether a missing SQLite file is made, and how patiently a server is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Made, as serving needs it.
    Create,
    /// An error, as checking wants it.
    Existing,
}

/// Where the database lies.
#[derive(Clone, Debug)]
pub enum Location {
    /// A file.
    Sqlite(PathBuf),
    /// A server.
    Postgres(Box<PgConnectOptions>),
}

impl std::str::FromStr for Location {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self, Error> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path == ":memory:" {
                return Err(Error::Url("sqlite: needs the path of a file".to_owned()));
            }
            return Ok(Self::Sqlite(PathBuf::from(path)));
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let options = url
                .parse()
                .map_err(|e: sqlx::Error| Error::Url(e.to_string()))?;
            return Ok(Self::Postgres(Box::new(options)));
        }
        Err(Error::Url(
            "it starts with sqlite: or postgres://".to_owned(),
        ))
    }
}

impl Db {
    /// Opens a pool of at most `max_connections`; does not migrate.
    pub async fn connect(
        location: &Location,
        access: Access,
        max_connections: u32,
    ) -> Result<Self, Error> {
        let patience = if access == Access::Create {
            PATIENCE
        } else {
            BRIEF_PATIENCE
        };
        match location {
            Location::Sqlite(path) => {
                let pool = SqlitePoolOptions::new()
                    .max_connections(max_connections)
                    .acquire_timeout(patience)
                    .connect_with(sqlite_options(path, access))
                    .await
                    .map_err(|e| Error::Sqlite(path.clone(), e))?;
                Ok(Self::Lite(pool))
            }
            Location::Postgres(options) => {
                let pool = PgPoolOptions::new()
                    .max_connections(max_connections)
                    .acquire_timeout(patience)
                    .connect_with(options.as_ref().clone().application_name("weir"))
                    .await
                    .map_err(|e| Error::Postgres(options.get_host().to_owned(), e))?;
                Ok(Self::Pg(pool))
            }
        }
    }

    /// Runs the migrations that this database has not seen. Those of a newer version of Weir are
    /// left alone: `migrations/README.md` promises that this version can live with them.
    pub async fn migrate(&self) -> Result<(), Error> {
        let mut migrator = self.migrator();
        migrator.set_ignore_missing(true);
        on!(self, pool => migrator.run(pool).await).map_err(Error::Migrate)
    }

    /// How many of the known migrations have run, and how many there are.
    pub async fn migrations(&self) -> Result<(usize, usize), Error> {
        let total = self.migrator().iter().count();
        // The table is missing in an empty database; connect() has shown that it is reachable.
        let applied: i64 = on!(self, pool => {
            sqlx::query_scalar(COUNT_MIGRATIONS).fetch_one(pool).await
        })
        .unwrap_or_default();
        Ok((usize::try_from(applied).unwrap_or_default(), total))
    }

    /// Closes every connection, waiting for those in use.
    pub async fn close(&self) {
        on!(self, pool => pool.close().await);
    }

    fn migrator(&self) -> Migrator {
        match self {
            Self::Lite(_) => sqlx::migrate!("migrations/sqlite"),
            Self::Pg(_) => sqlx::migrate!("migrations/postgres"),
        }
    }
}

fn sqlite_options(path: &Path, access: Access) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(access == Access::Create)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(PATIENCE)
}

/// Why there is no database; causes are part of the text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The URL names no database that Weir knows.
    #[error("not a database URL: {0}")]
    Url(String),
    /// The file cannot be opened.
    #[error("cannot open the SQLite database {}: {}", .0.display(), .1)]
    Sqlite(PathBuf, sqlx::Error),
    /// The server cannot be reached or refuses.
    #[error("cannot connect to the PostgreSQL server {0}: {1}")]
    Postgres(String, sqlx::Error),
    /// A migration failed.
    #[error("cannot migrate the database: {0}")]
    Migrate(sqlx::migrate::MigrateError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_one_of_two_databases() {
        for (url, path) in [
            ("sqlite:data/weir.db", "data/weir.db"),
            ("sqlite:///srv/weir.db", "/srv/weir.db"),
            ("sqlite:/srv/we?ir.db", "/srv/we?ir.db"),
        ] {
            let location = url.parse::<Location>().unwrap();
            assert!(
                matches!(location, Location::Sqlite(p) if p == Path::new(path)),
                "{url}"
            );
        }
        let location = "postgres://weir@127.0.0.1:5433/weir".parse().unwrap();
        assert!(matches!(location, Location::Postgres(o) if o.get_port() == 5433));
        for url in [
            "",
            "weir.db",
            "sqlite:",
            "sqlite::memory:",
            "mysql://x/y",
            "postgres://x:y",
        ] {
            assert!(url.parse::<Location>().is_err(), "{url}");
        }
    }

    #[test]
    fn every_migration_is_embedded_for_both_databases() {
        let names = |folder: &str| {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("migrations")
                .join(folder);
            let mut names: Vec<_> = std::fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        assert_eq!(names("sqlite"), names("postgres"));
        for migrator in [
            sqlx::migrate!("migrations/sqlite"),
            sqlx::migrate!("migrations/postgres"),
        ] {
            let embedded: Vec<_> = migrator
                .iter()
                .map(|m| format!("{}_{}.sql", m.version, m.description.replace(' ', "_")))
                .collect();
            assert_eq!(
                embedded,
                names("sqlite"),
                "touch src/db/connect.rs and build again"
            );
        }
    }
}
