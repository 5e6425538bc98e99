//! Varnish before Weir, by the recipe of `docs/varnish`: what a hundred players ask for comes from the origin once.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use futures_util::future::join_all;
use reqwest::Url;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::support::clips::clip;
use super::support::publisher::Publisher;
use super::support::server::{TestServer, free_addresses};
use super::support::viewer::{Watched, follow, get, media_playlist_url};
use super::support::{MACHINE, eventually};

const RECIPE: &str = include_str!("../../docs/varnish/weir.vcl");
const PLAYERS: usize = 100;
/// Two segments and a half.
const PARTS: usize = 15;
/// What varnishncsa writes of each request to the origin.
const ASKED: &str = "asked";

/// Varnish, and who writes down what it asks the origin for.
struct Cache {
    _varnish: Child,
    _log: Child,
    folder: TempDir,
    port: u16,
}

impl Cache {
    async fn start(server: &TestServer) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let recipe = folder.path().join("weir.vcl");
        let to = format!(r#".port = "{}""#, server.http.port());
        let written = RECIPE.replace(r#".port = "8080""#, &to);
        assert_ne!(written, RECIPE);
        std::fs::write(&recipe, written).unwrap();
        let name = folder.path().join("varnish");
        let [address, ..] = free_addresses();
        let varnish = spawn(
            Command::new("varnishd")
                .args(["-F", "-j", "none", "-s", "malloc,256m", "-a"])
                .arg(address.to_string())
                .arg("-n")
                .arg(&name)
                .arg("-f")
                .arg(&recipe),
            &folder.path().join("varnishd.log"),
        );
        eventually(30, "varnish", || async {
            tokio::net::TcpStream::connect(address).await.ok()
        })
        .await;
        let log = spawn(
            Command::new("varnishncsa")
                .args(["-b", "-F", "%U%q", "-n"])
                .arg(&name),
            &folder.path().join(ASKED),
        );
        Self {
            _varnish: varnish,
            _log: log,
            folder,
            port: address.port(),
        }
    }

    fn url(&self, origin: &str) -> String {
        let mut url = Url::parse(origin).unwrap();
        url.set_port(Some(self.port)).unwrap();
        url.into()
    }

    /// How often the origin was asked for each thing that is the same for all viewers.
    fn asked(&self) -> BTreeMap<String, usize> {
        let mut asked = BTreeMap::new();
        let text = std::fs::read_to_string(self.folder.path().join(ASKED)).unwrap();
        for line in text.lines() {
            let session = line.strip_prefix("/api/video/v1/s/");
            if let Some((_, what)) = session.and_then(|rest| rest.split_once('/')) {
                *asked.entry(what.to_owned()).or_default() += 1;
            }
        }
        asked
    }
}

fn spawn(command: &mut Command, log: &Path) -> Child {
    let log = std::fs::File::create(log).unwrap();
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_players_ask_the_origin_once() {
    let _shared = MACHINE.read().await;
    let server = TestServer::start().await;
    let channel = server
        .new_channel_with("cached", &["--type", "BASIC"])
        .await;
    let publisher = Publisher::looping(&clip("fps30.flv"), &channel.ingest_url);
    media_playlist_url(&channel.playback_url).await;
    let cache = Cache::start(&server).await;
    let entry = cache.url(&channel.playback_url);
    let play = || async {
        // Each in a session of its own.
        let url = media_playlist_url(&entry).await;
        let watched = follow(&url, |watched| watched.parts.len() >= PARTS).await;
        (url, watched)
    };
    let players = join_all((0..PLAYERS).map(|_| play())).await;
    let sessions: std::collections::BTreeSet<_> = players.iter().map(|(url, _)| url).collect();
    assert_eq!(sessions.len(), PLAYERS);

    let last = players
        .iter()
        .filter_map(|(_, watched)| last_asked(watched));
    let last = last.max().unwrap();
    let asked = eventually(20, "the last request in the log", || async {
        let asked = cache.asked();
        asked
            .keys()
            .any(|what| what.ends_with(&last))
            .then_some(asked)
    })
    .await;
    let is_media = |what: &str| what.contains(".m4s") || what.contains(".mp4");
    let is_final = |what: &str| what.contains("_HLS_msn");
    let (mut media, mut reloads) = (0, 0);
    for (what, times) in &asked {
        media += usize::from(is_media(what));
        reloads += usize::from(is_final(what));
        assert!(
            *times == 1 || !(is_media(what) || is_final(what)),
            "{what}: {times} times"
        );
    }
    // On a busy machine several parts come with one reload.
    assert!(media >= PARTS && reloads > 0, "{asked:?}");
    for (url, watched) in &players {
        for ((msn, part), (_, bytes)) in &watched.parts {
            let same = players
                .iter()
                .filter_map(|(_, other)| other.parts.get(&(*msn, *part)));
            assert!(
                same.map(|(_, other)| other).all(|other| other == bytes),
                "{url}"
            );
        }
    }
    // What is not there is said by the origin, and asked for once, too.
    let missing = players[0].0.join("9999.m4s").unwrap();
    let answers = join_all((0..20).map(|_| get(missing.as_str()))).await;
    assert!(answers.iter().all(|answer| answer.status() == 404));
    publisher.kill().await;
}

/// The last part that a player fetched.
fn last_asked(watched: &Watched) -> Option<String> {
    let (_, (part, _)) = watched.parts.last_key_value()?;
    Some(part.uri.clone())
}
