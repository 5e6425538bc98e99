//! The IVS API: an unmodified boto3 drives it, on SQLite and on PostgreSQL. The scripts are in `boto3/`.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::support::clips::clip;
use super::support::postgres;
use super::support::server::TestServer;
use super::support::within;

pub(crate) const KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";
pub(crate) const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
/// Most scripts ask more often than IVS lets a client.
pub(crate) const UNLIMITED: (&str, &str) = ("WEIR__API__RATE_FACTOR", "0");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A script that is given a server; `.ci/setup test` installs its boto3.
pub(crate) fn script(name: &str) -> Command {
    let mut command = Command::new("python3");
    command
        .arg(root().join("tests/it/boto3").join(name))
        .env("PYTHONPATH", root().join("target/tools/boto3"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("AWS_ACCESS_KEY_ID", KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
        .kill_on_drop(true);
    command
}

async fn succeeds(command: &mut Command, seconds: u64) -> String {
    let output = within(seconds, "end of the script", command.output())
        .await
        .unwrap();
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}{errors}");
    words
}

pub(crate) async fn server(extra: &[(&str, &str)]) -> TestServer {
    let keys = [
        ("WEIR_ROOT_ACCESS_KEY_ID", KEY_ID),
        ("WEIR_ROOT_SECRET_ACCESS_KEY", SECRET),
    ];
    TestServer::start_with(&[&keys[..], extra].concat()).await
}

/// An operation that is about to be called: what takes boto3 long is behind it.
pub(crate) struct Call(Child);

impl Call {
    /// The operation by its name as boto3 spells it.
    pub(crate) async fn prepare(server: &TestServer, name: &str, input: &Value) -> Self {
        let mut call = script("call.py");
        call.env("ENDPOINT", format!("http://{}", server.http));
        call.env("CALL", name).env("INPUT", input.to_string());
        let piped = call.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let mut ready = [0; 6];
        let output = child.stdout.as_mut().unwrap();
        within(60, "boto3", output.read_exact(&mut ready))
            .await
            .unwrap();
        assert_eq!(&ready, b"ready\n");
        Self(child)
    }

    /// Calls it; its output.
    pub(crate) async fn make(mut self) -> Value {
        self.0.stdin.take().unwrap().write_all(b"\n").await.unwrap();
        let output = within(60, "answer", self.0.wait_with_output())
            .await
            .unwrap();
        assert!(output.status.success());
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// The output of an operation.
pub(crate) async fn call(server: &TestServer, name: &str, input: &Value) -> Value {
    Call::prepare(server, name, input).await.make().await
}

async fn passes(server: &TestServer, name: &str) -> String {
    let endpoint = format!("http://{}", server.http);
    succeeds(script(name).env("ENDPOINT", endpoint), 240).await
}

/// A server on a PostgreSQL of its own.
async fn on_postgres() -> TestServer {
    let url = postgres::empty_database().await;
    server(&[UNLIMITED, ("WEIR_DATABASE_URL", &url)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn boto3_drives_every_operation_on_sqlite() {
    passes(&server(&[UNLIMITED]).await, "operations.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn boto3_drives_every_operation_on_postgresql() {
    passes(&on_postgres().await, "operations.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_aws_cli_drives_every_operation() {
    for server in [server(&[UNLIMITED]).await, on_postgres().await] {
        let mut cli = script("aws_cli.py");
        let tools = root().join("target/tools");
        cli.env("PYTHONPATH", tools.join("awscli"))
            .env("AWS_DATA_PATH", tools.join("boto3/botocore/data"))
            .env("ENDPOINT", format!("http://{}", server.http));
        succeeds(&mut cli, 120).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_aws_sdk_for_javascript_drives_every_operation() {
    for server in [server(&[UNLIMITED]).await, on_postgres().await] {
        let mut sdk = Command::new("node");
        sdk.arg(root().join("web/e2e/aws_sdk.mjs"))
            .env("AWS_ACCESS_KEY_ID", KEY_ID)
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
            .env("ENDPOINT", format!("http://{}", server.http))
            .kill_on_drop(true);
        succeeds(&mut sdk, 60).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_broken_constraint_is_told_by_its_member() {
    passes(&server(&[UNLIMITED]).await, "constraints.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_limited_and_malformed_arns_may_be_let_through() {
    passes(
        &server(&[("WEIR__API__LENIENT_ARNS", "true")]).await,
        "limits.py",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_a_channel() {
    for server in [server(&[UNLIMITED]).await, on_postgres().await] {
        let mut live = script("live.py");
        let endpoint = format!("http://{}", server.http);
        live.env("ENDPOINT", endpoint)
            .env("CLIP", clip("fps30.flv"));
        succeeds(&mut live, 120).await;
    }
}

/// Bits per second of a clip's pictures.
async fn video_bps(path: &Path) -> String {
    let mut probe = Command::new("ffprobe");
    probe.args(["-v", "error", "-select_streams", "v", "-of", "json"]);
    probe.args(["-show_entries", "packet=size"]).arg(path);
    let packets: Value = serde_json::from_str(&succeeds(&mut probe, 30).await).unwrap();
    let packets = packets["packets"].as_array().unwrap();
    let size = |packet: &Value| packet["size"].as_str().unwrap().parse::<usize>().unwrap();
    let bits = 8 * packets.iter().map(size).sum::<usize>();
    (bits * 30 / packets.len()).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn cloudwatch_and_prometheus_tell_what_is_published() {
    let server = server(&[UNLIMITED]).await;
    let clip = clip("fps30.flv");
    let mut metrics = script("metrics.py");
    metrics
        .env("ENDPOINT", format!("http://{}", server.http))
        .env("ADMIN", format!("http://{}", server.admin))
        .env("DOCUMENT", root().join("docs/metrics.md"))
        .env("VIDEO_BPS", video_bps(&clip).await)
        .env("CLIP", clip);
    succeeds(&mut metrics, 120).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_may_what_their_role_and_prefix_say() {
    let server = server(&[UNLIMITED]).await;
    let arn = |id: &str| format!("arn:aws:ivs:us-east-1:000000000000:channel/{id}");
    let own = arn(&server.channel().await.id);
    let other = arn(&server.new_channel("other").await.id);
    let mut keys = serde_json::Map::new();
    for (name, options) in [
        ("admin", &[][..]),
        ("reader", &["--role", "read-only"]),
        ("chat", &["--role", "chat"]),
        ("bound", &["--arn-prefix", &own]),
        ("session", &["--hours", "1"]),
    ] {
        let made = server
            .weir(&[&["access-key", "create", "--json"], options].concat())
            .await;
        keys.insert(name.to_owned(), serde_json::from_str(&made).unwrap());
    }
    let id_of = |name: &str| keys[name]["accessKeyId"].as_str().unwrap().to_owned();
    let listed = server.weir(&["access-key", "list", "--json"]).await;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 5);
    assert!(
        listed
            .as_array()
            .unwrap()
            .iter()
            .all(|key| key.get("secretAccessKey").is_none())
    );
    let mut rights = script("rights.py");
    rights
        .env("ENDPOINT", format!("http://{}", server.http))
        .env("KEYS", Value::Object(keys.clone()).to_string())
        .env("OWN", own)
        .env("OTHER", other);
    succeeds(&mut rights, 60).await;
    server
        .weir(&["access-key", "delete", &id_of("admin")])
        .await;
    let left = server.weir(&["access-key", "list"]).await;
    assert!(
        !left.contains(&id_of("admin")) && left.contains(&id_of("session")),
        "{left}"
    );
    let missing = server
        .weir_fails_with(&["access-key", "delete", "AKIDNOBODY"], &[])
        .await;
    assert!(missing.contains("no such access key"), "{missing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shapes_are_those_of_botocore() {
    let derived = succeeds(&mut script("derive.py"), 60).await;
    let path: PathBuf = root().join("src/api/restjson/ivs.json");
    let ours = std::fs::read_to_string(path).unwrap();
    assert!(
        derived == ours,
        "run: python3 tests/it/boto3/derive.py > src/api/restjson/ivs.json"
    );
}
