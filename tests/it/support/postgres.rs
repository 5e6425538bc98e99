//! A throwaway PostgreSQL server from Debian's packages, one for all tests of this process.
//!
//! A shell script makes the cluster in a temporary folder, tells the port it listens on, and waits
//! on a pipe from this process: when the process ends, however it ends, the pipe closes and the
//! script stops the server and removes the folder. As root the server runs as user `postgres`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{Connection as _, Executor as _};

const SCRIPT: &str = r#"
set -e
trap : INT TERM HUP
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
if [ -z "$bin" ]; then echo "PostgreSQL is not installed: apt-get install postgresql" >&2; exit 1; fi
dir=$(mktemp -d "${TMPDIR:-/tmp}/weir-postgres-XXXXXX")
trap 'rm -rf "$dir"' EXIT
chmod 711 "$dir"
mkdir -m 700 "$dir/cluster"
as=
if [ "$(id -u)" = 0 ]; then
  chown postgres "$dir/cluster"
  as="setpriv --reuid=postgres --regid=postgres --init-groups"
fi
cd "$dir"
export LC_ALL=C.UTF-8
$as "$bin/initdb" -D "$dir/cluster" -U weir -A trust -E UTF8 --locale=C.UTF-8 --no-sync \
  --no-instructions >/dev/null
options="-c listen_addresses=127.0.0.1 -c port=$1 -c unix_socket_directories= -c fsync=off \
  -c full_page_writes=off -c shared_buffers=64MB -c max_connections=200"
$as "$bin/pg_ctl" -D "$dir/cluster" -s -w -l "$dir/cluster/log" -o "$options" start >/dev/null || { cat "$dir/cluster/log" >&2; exit 1; }
echo ready
while read -r word; do
  case $word in
    stop) $as "$bin/pg_ctl" -D "$dir/cluster" -s -m immediate stop ;;
    start) $as "$bin/pg_ctl" -D "$dir/cluster" -s -w -l "$dir/cluster/log" -o "$options" start >/dev/null ;;
  esac
  echo "$word"
done
$as "$bin/pg_ctl" -D "$dir/cluster" -s -m immediate stop || true
"#;

/// A running server.
pub(crate) struct Server {
    port: u16,
    /// Holds the pipe whose end stops the server.
    watcher: Child,
    words: BufReader<ChildStdout>,
}

impl Server {
    /// One for a test alone, which may stop it.
    pub(crate) async fn own() -> Self {
        tokio::task::spawn_blocking(start).await.unwrap()
    }

    /// The URL of its database, empty at first.
    pub(crate) fn url(&self) -> String {
        format!("postgres://weir@127.0.0.1:{}/postgres", self.port)
    }

    /// It is gone at once, and all connections with it.
    pub(crate) fn stop(&mut self) {
        self.order("stop");
    }

    /// It is there again, with what was in it.
    pub(crate) fn start_again(&mut self) {
        self.order("start");
    }

    fn order(&mut self, word: &str) {
        writeln!(self.watcher.stdin.as_mut().unwrap(), "{word}").unwrap();
        let mut line = String::new();
        self.words.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), word);
    }
}

/// The URL of a new, empty database.
pub(crate) async fn empty_database() -> String {
    static DATABASES: AtomicU32 = AtomicU32::new(0);
    let port = tokio::task::spawn_blocking(port).await.unwrap();
    let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    let admin = format!("postgres://weir@127.0.0.1:{port}/postgres");
    let mut connection = sqlx::PgConnection::connect(&admin).await.unwrap();
    connection
        .execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .await
        .unwrap();
    connection.close().await.unwrap();
    format!("postgres://weir@127.0.0.1:{port}/{name}")
}

fn port() -> u16 {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(start).port
}

/// Tries a few ports: another process may take one between the choice and the use.
#[expect(
    clippy::zombie_processes,
    reason = "one that failed is waited for, one that runs is kept"
)]
fn start() -> Server {
    let mut complaints = String::new();
    for _ in 0..3 {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut watcher = Command::new("bash")
            .args(["-c", SCRIPT, "postgres-watcher", &port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut words = BufReader::new(watcher.stdout.take().unwrap());
        words.read_line(&mut line).unwrap();
        if line.trim() == "ready" {
            return Server {
                port,
                watcher,
                words,
            };
        }
        watcher
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut complaints)
            .unwrap();
    }
    panic!("PostgreSQL does not start: {complaints}");
}
