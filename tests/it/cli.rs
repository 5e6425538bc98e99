//! The `weir` program as an operator meets it: the real binary in an empty folder.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// An empty working folder and an environment with nothing of ours in it.
struct Desk {
    folder: TempDir,
    env: Vec<(&'static str, String)>,
}

impl Desk {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            env: Vec::new(),
        }
    }

    fn with(name: &'static str, value: &str) -> Self {
        let mut desk = Self::new();
        desk.env.push((name, value.to_owned()));
        desk
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(args)
            .current_dir(self.folder.path())
            .env_clear()
            .envs(self.env.iter().cloned())
            .output()
            .unwrap()
    }

    /// Standard output of a command that must succeed.
    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let (out, err) = texts(&output);
        assert!(output.status.success(), "weir {args:?}: {out}{err}");
        assert_eq!(err, "", "weir {args:?}");
        out
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(args)).unwrap()
    }

    /// Both outputs of a command that must fail with `code`.
    fn fails(&self, code: i32, args: &[&str]) -> String {
        let output = self.run(args);
        let (out, err) = texts(&output);
        assert_eq!(
            output.status.code(),
            Some(code),
            "weir {args:?}: {out}{err}"
        );
        out + &err
    }
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn text<'a>(json: &'a Value, key: &str) -> &'a str {
    json.get(key)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("no text {key} in {json}"))
}

#[test]
fn the_first_start_makes_everything_once() {
    let desk = Desk::new();
    let first = desk.json(&["info", "--json"]);
    assert_eq!(mode(&desk.path("data")), 0o700);
    assert_eq!(mode(&desk.path("data/credentials")), 0o600);
    assert_eq!(mode(&desk.path("data/secret.key")), 0o600);
    let arn = text(&first, "channelArn");
    let id = arn
        .strip_prefix("arn:aws:ivs:us-east-1:000000000000:channel/")
        .unwrap();
    let key = text(&first, "streamKey");
    assert!(key.starts_with("sk_us-east-1_"), "{key}");
    assert_eq!(
        text(&first, "ingestUrl"),
        format!("rtmp://127.0.0.1/app/{key}")
    );
    assert_eq!(
        text(&first, "watchUrl"),
        format!("http://127.0.0.1:8080/watch/{id}")
    );
    let playback =
        format!("http://127.0.0.1:8080/api/video/v1/us-east-1.000000000000.channel.{id}.m3u8");
    assert_eq!(text(&first, "playbackUrl"), playback);
    let credentials = std::fs::read_to_string(desk.path("data/credentials")).unwrap();
    assert_eq!(text(&first, "credentialsFile"), "./data/credentials");
    assert!(
        credentials.starts_with("[default]\naws_access_key_id = AKIA"),
        "{credentials}"
    );

    assert_eq!(desk.json(&["info", "--json"]), first);
    assert_eq!(
        std::fs::read_to_string(desk.path("data/credentials")).unwrap(),
        credentials
    );
    let shown = desk.ok(&["info"]);
    for wanted in [
        key,
        text(&first, "watchUrl"),
        "rtmp://127.0.0.1/app",
        "data/credentials",
    ] {
        assert!(shown.contains(wanted), "{wanted} is not in {shown}");
    }
}

#[test]
fn starts_at_once_agree_on_one_state() {
    let desk = Desk::new();
    let answers: Vec<Value> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| desk.json(&["info", "--json"])))
            .collect();
        starts
            .into_iter()
            .map(|start| start.join().unwrap())
            .collect()
    });
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:?}"
    );
}

#[test]
fn the_environment_gives_addresses_and_credentials() {
    let mut desk = Desk::with("WEIR_PUBLIC_URL", "https://live.example.org");
    desk.env.extend([
        ("WEIR_INGEST_HOST", "in.example.org:19350".to_owned()),
        (
            "WEIR_DATA_DIR",
            desk.path("elsewhere").display().to_string(),
        ),
        ("WEIR_ROOT_ACCESS_KEY_ID", "AKIDEXAMPLE".to_owned()),
        ("WEIR_ROOT_SECRET_ACCESS_KEY", "example".to_owned()),
    ]);
    let info = desk.json(&["info", "--json"]);
    assert!(text(&info, "ingestUrl").starts_with("rtmp://in.example.org:19350/app/sk_"));
    assert!(text(&info, "watchUrl").starts_with("https://live.example.org/watch/"));
    let credentials = std::fs::read_to_string(desk.path("elsewhere/credentials")).unwrap();
    let expected = "[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = example\n";
    assert_eq!(credentials, expected);
    assert!(!desk.path("data").exists());
}

#[test]
fn a_channel_is_made_listed_changed_and_deleted() {
    let desk = Desk::new();
    let made = desk.json(&[
        "channel", "create", "--name", "games", "--type", "BASIC", "--json",
    ]);
    let arn = text(&made, "channelArn");
    let id = arn.rsplit('/').next().unwrap();
    assert_eq!(
        (text(&made, "type"), text(&made, "latencyMode")),
        ("BASIC", "LOW")
    );
    assert_eq!(desk.json(&["channel", "show", id, "--json"]), made);

    let listed = desk.json(&["channel", "list", "--json"]);
    let names: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|row| text(row, "name"))
        .collect();
    assert_eq!(names, ["default", "games"]);
    let lists = [desk.ok(&["channel", "list"]), listed.to_string()];
    assert!(
        lists
            .iter()
            .all(|list| list.contains("games") && !list.contains("sk_"))
    );

    let changed = desk.json(&[
        "channel",
        "set",
        arn,
        "--type",
        "ADVANCED_HD",
        "--latency-mode",
        "NORMAL",
        "--part-target-ms",
        "500",
        "--authorized",
        "false",
        "--json",
    ]);
    assert_eq!(text(&changed, "name"), "games");
    assert_eq!(text(&changed, "preset"), "HIGHER_BANDWIDTH_DELIVERY");
    assert_eq!(text(&changed, "streamKey"), text(&made, "streamKey"));
    assert_eq!(changed.get("partTargetMs"), Some(&500.into()));
    assert_eq!(changed.get("authorized"), Some(&false.into()));
    assert_eq!(desk.json(&["channel", "show", arn, "--json"]), changed);
    assert!(desk.ok(&["channel", "show", id]).contains("ADVANCED_HD"));

    assert_eq!(
        desk.ok(&["channel", "delete", id]),
        format!("deleted {arn}\n")
    );
    assert!(
        desk.fails(1, &["channel", "show", id])
            .contains("weir channel list")
    );
    assert!(
        desk.fails(1, &["channel", "delete", arn])
            .contains("there is no channel")
    );
}

#[test]
fn mistakes_name_what_is_wrong_and_what_would_be_right() {
    let desk = Desk::new();
    std::fs::write(desk.path("my.toml"), "[live]\nhold_secnds = 3\n").unwrap();
    for (code, args, wanted) in [
        (
            1,
            &["info", "--config", "my.toml"][..],
            "live.hold_secnds` in my.toml",
        ),
        (
            1,
            &["info", "--config", "my.toml"],
            "nearest valid key is `live.hold_seconds`",
        ),
        (
            1,
            &["info", "--config", "none.toml"],
            "cannot read the configuration file none.toml",
        ),
        (
            1,
            &["channel", "create", "--name", "a b"],
            "name must be at most 128 characters",
        ),
        (
            1,
            &["channel", "create", "--preset", "HIGHER_BANDWIDTH_DELIVERY"],
            "preset is for the types ADVANCED_SD and ADVANCED_HD, not for STANDARD",
        ),
        (
            1,
            &[
                "channel",
                "show",
                "arn:aws:ivs:eu-west-1:1:channel/abcdABCDefgh",
            ],
            "no channel",
        ),
        (
            2,
            &["channel", "create", "--type", "HUGE"],
            "BASIC, STANDARD, ADVANCED_SD",
        ),
        (2, &["serv"], "serve"),
        (2, &[], "Usage"),
    ] {
        let said = desk.fails(code, args);
        assert!(said.contains(wanted), "weir {args:?}: {said}");
    }
}

#[test]
fn a_wrong_secret_key_stops_the_start_with_the_remedy() {
    let mut desk = Desk::new();
    desk.ok(&["info"]);
    desk.env.push(("WEIR_SECRET_KEY", "x".repeat(32)));
    let said = desk.fails(1, &["info"]);
    assert!(said.contains("restore secret.key"), "{said}");
}

#[test]
fn check_tells_one_line_each_and_leaves_nothing_behind() {
    let desk = Desk::new();
    let lines = desk.ok(&["check"]);
    let names: Vec<_> = lines
        .lines()
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert_eq!(names, ["config", "database", "store", "ladders", "codecs"]);
    assert_eq!(std::fs::read_dir(desk.folder.path()).unwrap().count(), 0);
    desk.ok(&["info"]);
    assert!(desk.ok(&["check"]).contains("schema up to date"));

    // A file where a folder belongs: cannot be written to, not even by root.
    let blocked = Desk::with("WEIR_STORAGE_URL", "file:blocker/store");
    std::fs::write(blocked.path("blocker"), "").unwrap();
    let said = blocked.fails(1, &["check"]);
    assert!(said.contains("store     FAILED"), "{said}");
    let unreachable = Desk::with("WEIR_DATABASE_URL", "postgres://weir:hunter2@127.0.0.1:1/x");
    let said = unreachable.fails(1, &["check"]);
    assert!(said.contains("database  FAILED  cannot connect"), "{said}");
    assert!(
        said.contains("store     ok") && !said.contains("hunter2"),
        "{said}"
    );
    let ladders = Desk::with("WEIR__TRANSCODE__LADDERS_FILE", "ladders.toml");
    std::fs::write(ladders.path("ladders.toml"), "[basic]\nspeed = 1\n").unwrap();
    let said = ladders.fails(1, &["check"]);
    assert!(said.contains("ladders   FAILED"), "{said}");
    assert!(said.contains("ladders.toml"), "{said}");
    let said = Desk::with("WEIR__LIVE__HOLD", "1").fails(1, &["check"]);
    assert!(
        said.contains("config    FAILED  unknown key `live.hold`"),
        "{said}"
    );
}

#[test]
fn a_development_certificate_is_made_and_checked() {
    let mut desk = Desk::with("WEIR__TLS__CERTIFICATE_FILE", "data/dev-cert.pem");
    desk.env
        .push(("WEIR__TLS__KEY_FILE", "data/dev-key.pem".to_owned()));
    let url = "https://live.example.org:8443".to_owned();
    desk.env.push(("WEIR_PUBLIC_URL", url));
    let said = desk.fails(1, &["check"]);
    assert!(said.contains("tls       FAILED  cannot read data/dev-cert.pem, set as tls.cert"));
    let said = desk.ok(&["dev-cert", "--host", "media.example.org", "--host", "::1"]);
    let hosts = "localhost, 127.0.0.1, ::1, live.example.org, media.example.org\n";
    assert!(said.contains(hosts), "{said}");
    assert_eq!(mode(&desk.path("data/dev-key.pem")), 0o600);
    let said = desk.ok(&["check"]);
    assert!(
        said.contains("tls       ok      data/dev-cert.pem, a chain of 2"),
        "{said}"
    );
    std::fs::write(desk.path("data/dev-key.pem"), "").unwrap();
    let said = desk.fails(1, &["serve"]);
    assert!(
        said.contains("dev-key.pem, set as tls.key_file, cannot be used: "),
        "{said}"
    );
    let said = desk.fails(2, &["dev-cert", "--host", "no host"]);
    assert!(said.contains("invalid value 'no host'"), "{said}");
}

#[tokio::test]
async fn postgres_serves_as_well() {
    let url = crate::support::postgres::empty_database().await;
    let desk = Desk::with("WEIR_DATABASE_URL", &url);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/postgres");
    let count = std::fs::read_dir(folder).unwrap().count();
    let said = desk.ok(&["check"]);
    assert!(
        said.contains(&format!("{count} migrations run at the next start")),
        "{said}"
    );
    let said = desk.ok(&["migrate"]);
    assert_eq!(said, format!("{count} migrations are in place\n"));
    let info = desk.json(&["info", "--json"]);
    assert_eq!(desk.json(&["info", "--json"]), info);
    assert!(
        desk.ok(&["check"])
            .contains(&format!("{url}, schema up to date"))
    );
    assert!(!desk.path("data/weir.db").exists());
}

#[test]
fn version_and_help_are_told() {
    let desk = Desk::new();
    assert!(
        desk.ok(&["version"])
            .starts_with(&format!("weir {}\n", env!("CARGO_PKG_VERSION")))
    );
    for args in [
        &["--help"][..],
        &["serve", "--help"],
        &["channel", "create", "--help"],
    ] {
        assert!(desk.ok(args).contains("--config <FILE>"), "{args:?}");
    }
}
