use super::*;

const DOCUMENTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/weir.toml");

fn load(toml: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    std::fs::write(file.path(), toml).unwrap();
    let environment = environment
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    Config::load(Some(file.path()), environment).map_err(|e| {
        e.to_string()
            .replace(&file.path().display().to_string(), "FILE")
    })
}

#[test]
fn the_documented_file_is_the_default_and_complete() {
    let config = Config::load(Some(Path::new(DOCUMENTED)), []).unwrap();
    assert_eq!(config, Config::default());
    let defaults = layer::Layer::defaults();
    let documented = file::read(Path::new(DOCUMENTED), &defaults).unwrap();
    assert_eq!(documented.keys(), defaults.keys());
    let text = std::fs::read_to_string(DOCUMENTED).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    for pair in lines.windows(2) {
        let is_key = pair[1].contains(" = ") && !pair[1].starts_with('#');
        assert!(
            !is_key || pair[0].starts_with('#'),
            "no comment above {}",
            pair[1]
        );
    }
}

#[test]
fn later_sources_win() {
    const FILE: &str = "[server]\nregion = \"file\"";
    const SHORT: (&str, &str) = ("WEIR_REGION", "short");
    const LONG: (&str, &str) = ("WEIR__SERVER__REGION", "long");
    for (toml, environment, region) in [
        ("", &[][..], "us-east-1"),
        (FILE, &[], "file"),
        ("", &[SHORT], "short"),
        (FILE, &[SHORT], "short"),
        (FILE, &[LONG], "long"),
        (FILE, &[LONG, SHORT], "long"),
        (FILE, &[SHORT, LONG], "long"),
        (FILE, &[("WEIR_REGION", "")], "file"),
        (FILE, &[("WEIR__SERVER__REGION", ""), SHORT], "short"),
    ] {
        let config = load(toml, environment).unwrap();
        assert_eq!(config.server.region, region, "{toml} {environment:?}");
    }
}

#[test]
fn every_named_variable_reaches_its_key() {
    let config = load(
        "",
        &[
            ("WEIR_DATA_DIR", "/srv/weir"),
            ("WEIR_DATABASE_URL", "postgres://weir@db/weir"),
            ("WEIR_STORAGE_URL", "s3://media?region=eu-west-1"),
            ("WEIR_RECORDING_STORE_URL", "file:/srv/recordings"),
            ("WEIR_ROOT_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("WEIR_ROOT_SECRET_ACCESS_KEY", "example"),
            ("WEIR_PUBLIC_URL", "https://live.example.org"),
            ("WEIR_SECRET_KEY", "0123456789abcdef0123456789abcdef"),
            ("WEIR_INGEST_HOST", "in.example.org:19350"),
            ("WEIR_REGION", "eu-west-1"),
            ("WEIR_ACCOUNT_ID", "012345678901"),
            ("WEIR_HTTP_LISTEN", "127.0.0.1:80"),
            ("WEIR_RTMP_LISTEN", "[::]:1935"),
            ("WEIR_ADMIN_LISTEN", "0.0.0.0:9090"),
            ("WEIR_LOG", "debug"),
            ("WEIR__LOG__FORMAT", "json"),
            ("WEIR__HLS__WINDOW_SECONDS", "60"),
            ("WEIR_SERVICE_HOST", "not ours"),
            ("PATH", "/bin"),
        ],
    )
    .unwrap();
    assert_eq!(config.data_dir(), Path::new("/srv/weir"));
    assert_eq!(config.database_url().to_string(), "postgres://weir@db/weir");
    assert_eq!(config.storage.url, "s3://media?region=eu-west-1");
    assert_eq!(config.recording.store_url, "file:/srv/recordings");
    let (id, secret) = config.secrets.root_access_key.clone().unwrap();
    assert_eq!((&*id, secret.expose()), ("AKIDEXAMPLE", "example"));
    assert!(config.secrets.secret_key.is_some());
    let endpoints = config.endpoints().unwrap();
    assert_eq!(endpoints.public_url(), "https://live.example.org");
    assert_eq!(endpoints.ingest_endpoint(), "in.example.org:19350");
    assert_eq!(endpoints.scope().region(), "eu-west-1");
    assert_eq!(endpoints.scope().account(), "012345678901");
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:80");
    assert_eq!(config.ingest.listen.to_string(), "[::]:1935");
    assert_eq!(config.admin.listen.to_string(), "0.0.0.0:9090");
    assert_eq!(config.log.filter, "debug");
    assert_eq!(config.log.format, telemetry::Format::Json);
    assert_eq!(config.hls.window_seconds, 60);
}

#[test]
fn what_is_empty_lies_in_the_data_directory() {
    let config = load("", &[("WEIR_DATA_DIR", "/srv/weir")]).unwrap();
    assert_eq!(
        config.database_url().to_string(),
        "sqlite:/srv/weir/weir.db"
    );
    let store = config.storage.location(config.data_dir()).unwrap();
    assert_eq!(store.to_string(), "folder /srv/weir/storage");
}

#[test]
fn refusals_name_key_place_and_remedy() {
    for (toml, environment, message) in [
        (
            "[live]\nhold_secnds = 3",
            &[][..],
            "unknown key `live.hold_secnds` in FILE; the nearest valid key is `live.hold_seconds`",
        ),
        (
            "[server]\nhold_seconds = 3",
            &[],
            "unknown key `server.hold_seconds` in FILE; the nearest valid key is `live.hold_seconds`",
        ),
        (
            "[lvie]",
            &[],
            "unknown key `lvie` in FILE; the nearest valid key is `live`",
        ),
        (
            "",
            &[("WEIR__SERVER__REGOIN", "x")],
            "unknown key `server.regoin` in the environment variable WEIR__SERVER__REGOIN; the nearest valid key is `WEIR_REGION`",
        ),
        (
            "",
            &[("WEIR_DATABSE_URL", "x")],
            "unknown key `WEIR_DATABSE_URL` in the environment; the nearest valid key is `WEIR_DATABASE_URL`",
        ),
        (
            "[server]\nsecret_key = \"x\"",
            &[],
            "`server.secret_key` in FILE holds a secret; give it in the environment as WEIR_SECRET_KEY",
        ),
        (
            "[database]\nurl = \"postgres://weir:hunter2@db/weir\"",
            &[],
            "`database.url` in FILE holds a secret; give it in the environment as WEIR_DATABASE_URL",
        ),
        (
            "[hls]\nwindow_seconds = \"long\"",
            &[],
            "`hls.window_seconds`, from FILE, is not valid: invalid type: found string \"long\", expected u32",
        ),
        (
            "",
            &[("WEIR_HTTP_LISTEN", "8080")],
            "`http.listen`, from the environment variable WEIR_HTTP_LISTEN, is not valid: invalid socket address syntax",
        ),
        (
            "[server]\naccount_id = \"12\"",
            &[],
            "`server.account_id`, from FILE, is not valid: malformed ARN: the account must have 12 digits",
        ),
        (
            "",
            &[("WEIR_ROOT_ACCESS_KEY_ID", "AKID")],
            "`WEIR_ROOT_ACCESS_KEY_ID`, from the environment, is not valid: WEIR_ROOT_SECRET_ACCESS_KEY is unset",
        ),
        (
            "",
            &[("WEIR_SECRET_KEY", "short")],
            "`WEIR_SECRET_KEY`, from the environment, is not valid: it must have at least 32 random characters",
        ),
    ] {
        assert_eq!(load(toml, environment).unwrap_err(), message);
    }
    assert!(
        load("[server", &[])
            .unwrap_err()
            .starts_with("FILE is not valid TOML")
    );
    let missing = Config::load(Some(Path::new("/nowhere.toml")), []).unwrap_err();
    assert!(
        missing
            .to_string()
            .starts_with("cannot read the configuration file /nowhere.toml")
    );
}

#[test]
fn listeners_that_could_not_work_are_refused() {
    for (toml, message) in [
        (
            "[http]\nidle_timeout_seconds = 6",
            "`http.idle_timeout_seconds`, from FILE, is not valid: it must be more than three target durations, 6",
        ),
        (
            "[tls]\ncertificate_file = \"cert.pem\"",
            "`tls.certificate_file`, from FILE, is not valid: set tls.key_file, too",
        ),
        (
            "[ingest]\nproxy_protocol_from = [\"10.0.0.1\", \"balancer\"]",
            "`ingest.proxy_protocol_from.1`, from FILE, is not valid: `balancer` is neither an address nor a network such as 10.0.0.0/8",
        ),
    ] {
        assert_eq!(load(toml, &[]).unwrap_err(), message);
    }
}

#[test]
fn secrets_are_masked() {
    let config = load(
        "",
        &[
            ("WEIR_SECRET_KEY", "hunter2hunter2hunter2hunter2hunter2"),
            ("WEIR_DATABASE_URL", "postgres://weir:hunter2@db/weir"),
        ],
    )
    .unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    assert_eq!(
        config.database_url().to_string(),
        "postgres://weir:***@db/weir"
    );
}
