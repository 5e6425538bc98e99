//! The real `weir` binary as a child process on free ports with its own data folder.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::{eventually, within};

const WEIR: &str = env!("CARGO_BIN_EXE_weir");
/// Where a server's output goes, in its folder.
const LOG: &str = "weir.log";

/// A running server; killed when dropped.
pub(crate) struct TestServer {
    child: Child,
    env: Vec<(String, String)>,
    pub(crate) http: SocketAddr,
    pub(crate) rtmp: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) data: TempDir,
}

/// What `weir info --json` and `weir channel create` tell of a channel.
#[derive(Clone, Debug)]
pub(crate) struct Channel {
    pub(crate) id: String,
    pub(crate) ingest_url: String,
    pub(crate) stream_key: String,
    pub(crate) playback_url: String,
    pub(crate) watch_url: String,
}

impl TestServer {
    /// A server with defaults.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// A server with these environment variables besides.
    pub(crate) async fn start_with(extra: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let [http, rtmp, admin] = free_addresses();
        let mut env: Vec<(String, String)> = [
            (
                "WEIR_DATA_DIR",
                data.path().join("data").display().to_string(),
            ),
            ("WEIR_HTTP_LISTEN", http.to_string()),
            ("WEIR_RTMP_LISTEN", rtmp.to_string()),
            ("WEIR_ADMIN_LISTEN", admin.to_string()),
            ("WEIR_PUBLIC_URL", format!("http://{http}")),
            ("WEIR_INGEST_HOST", rtmp.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        env.extend(
            extra
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        let child = spawn(&env, data.path());
        let server = Self {
            child,
            env,
            http,
            rtmp,
            admin,
            data,
        };
        server.ready().await;
        server
    }

    async fn ready(&self) {
        let url = format!("http://{}/readyz", self.admin);
        eventually(30, "ready server", || async {
            let answer = super::viewer::client().get(&url).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    /// Runs the `weir` program with the server's environment; its standard output.
    pub(crate) async fn weir(&self, args: &[&str]) -> String {
        let output = self.run(args, &[]).await;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "weir {args:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// As [`TestServer::weir`] with more environment, but it must fail; its standard error.
    pub(crate) async fn weir_fails_with(&self, args: &[&str], extra: &[(&str, &str)]) -> String {
        let output = self.run(args, extra).await;
        assert!(!output.status.success(), "weir {args:?} succeeded");
        String::from_utf8(output.stderr).unwrap()
    }

    /// As [`TestServer::weir`] with more environment; whatever comes of it.
    pub(crate) async fn run(&self, args: &[&str], extra: &[(&str, &str)]) -> Output {
        let mut command = Command::new(WEIR);
        command
            .args(args)
            .env_clear()
            .envs(self.env.clone())
            .envs(extra.iter().copied())
            .current_dir(self.data.path());
        within(60, "end of weir", command.output()).await.unwrap()
    }

    /// The default channel.
    pub(crate) async fn channel(&self) -> Channel {
        let info: Value = serde_json::from_str(&self.weir(&["info", "--json"]).await).unwrap();
        Channel::read(&info)
    }

    /// A new channel.
    pub(crate) async fn new_channel(&self, name: &str) -> Channel {
        let made = self
            .weir(&["channel", "create", "--name", name, "--json"])
            .await;
        Channel::read(&serde_json::from_str(&made).unwrap())
    }

    /// A new channel with more options of `weir channel create`, for example `--type BASIC`.
    pub(crate) async fn new_channel_with(&self, name: &str, options: &[&str]) -> Channel {
        let args = ["channel", "create", "--name", name, "--json"];
        let made = self.weir(&[&args[..], options].concat()).await;
        Channel::read(&serde_json::from_str(&made).unwrap())
    }

    /// The value of `GET /v1/live` for a channel, if it is listed.
    pub(crate) async fn live(&self, channel: &Channel) -> Option<Value> {
        self.live_by_id(&channel.id).await
    }

    /// The same by the channel's id.
    pub(crate) async fn live_by_id(&self, id: &str) -> Option<Value> {
        let url = format!("http://{}/v1/live", self.http);
        let list: Value = serde_json::from_str(&super::viewer::text(url).await).unwrap();
        let channels = list.get("channels").unwrap().as_array().unwrap().clone();
        channels
            .into_iter()
            .find(|entry| entry.get("channelId").unwrap() == id)
    }

    /// What the events of a channel tell, the first one first.
    pub(crate) async fn events(&self, channel: &Channel) -> Vec<Value> {
        let url = format!("http://{}/v1/channels/{}/events", self.http, channel.id);
        let asked = super::viewer::client().get(url);
        let answer = asked.bearer_auth(&channel.stream_key).send().await.unwrap();
        let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        // The newest is the first.
        let events = answer["events"].as_array().unwrap().iter().rev();
        events.map(|event| event["detail"].clone()).collect()
    }

    /// The folders of a live channel's renditions that are shed.
    pub(crate) async fn shed(&self, channel: &Channel) -> Option<Vec<String>> {
        let live = self.live(channel).await?;
        let shed = live.get("shedRenditions").unwrap().as_array().unwrap();
        let names = shed.iter().map(|name| name.as_str().unwrap().to_owned());
        Some(names.collect())
    }

    /// The sum of a metric's values over its labels.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let url = format!("http://{}/metrics", self.admin);
        let text = super::viewer::text(url).await;
        let of_name = |line: &&str| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with([' ', '{']))
        };
        text.lines()
            .filter(of_name)
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum()
    }

    /// The names of its threads.
    pub(crate) fn threads(&self) -> Vec<String> {
        let tasks = format!("/proc/{}/task", self.child.id().unwrap());
        let tasks = std::fs::read_dir(tasks).unwrap().flatten();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.map(|name| name.trim().to_owned()).collect()
    }

    /// All that the server has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.data.path().join(LOG)).unwrap()
    }

    /// Kills the process without warning and starts it again on the same data and ports.
    pub(crate) async fn kill_and_restart(&mut self) {
        self.kill_and_restart_after(|_| {}).await;
    }

    /// As [`Self::kill_and_restart`]; `change` is given the data directory while no process runs.
    pub(crate) async fn kill_and_restart_after(&mut self, change: impl FnOnce(&Path)) {
        self.child.kill().await.unwrap();
        change(&self.data.path().join("data"));
        self.child = spawn(&self.env, self.data.path());
        self.ready().await;
    }

    /// SIGTERM; the exit status once the drain is over.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        let pid = self.child.id().unwrap().to_string();
        let sent = Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .await
            .unwrap();
        assert!(sent.success());
        within(35, "exit after SIGTERM", self.child.wait())
            .await
            .unwrap()
    }
}

impl Channel {
    fn read(json: &Value) -> Self {
        let text = |key: &str| json.get(key).unwrap().as_str().unwrap().to_owned();
        Self {
            id: text("channelArn").rsplit('/').next().unwrap().to_owned(),
            ingest_url: text("ingestUrl"),
            stream_key: text("streamKey"),
            playback_url: text("playbackUrl"),
            watch_url: text("watchUrl"),
        }
    }
}

fn spawn(env: &[(String, String)], folder: &Path) -> Child {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join(LOG))
        .unwrap();
    Command::new(WEIR)
        .arg("serve")
        .env_clear()
        .envs(env.iter().cloned())
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Three free addresses below the range from which the kernel takes ports for connections; no two
/// calls of this process give the same.
pub(crate) fn free_addresses() -> [SocketAddr; 3] {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 10_000).unwrap();
    [(); 3].map(|()| {
        loop {
            let offset = (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
            let address = SocketAddr::from(([127, 0, 0, 1], 20_000 + offset));
            if TcpListener::bind(address).is_ok() {
                return address;
            }
        }
    })
}
