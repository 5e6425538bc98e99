//! Ad breaks: inserted by boto3, listed alike in every rendition, and shown by hls.js, which asks a server that decides.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path as InPath, Query, State};
use axum::http::header::ACCESS_CONTROL_ALLOW_ORIGIN;
use axum::response::IntoResponse;
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::api::{self, Call, call};
use super::players::script;
use super::support::clips::clip;
use super::support::publisher::Publisher;
use super::support::viewer::{media_playlist_url, text};
use super::support::{MACHINE, eventually, within};

const AD_SECONDS: u32 = 6;

/// Decides on ads and serves the one there is: red all over.
struct AdServer {
    ads: Arc<Ads>,
    _serving: JoinSet<()>,
}

struct Ads {
    base: String,
    folder: tempfile::TempDir,
    /// The queries that it was asked with.
    asked: watch::Sender<Vec<Value>>,
    /// A player says that it shows the stream.
    watching: watch::Sender<bool>,
}

impl AdServer {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        encode_ad(folder.path()).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ads = Arc::new(Ads {
            base: format!("http://{}", listener.local_addr().unwrap()),
            folder,
            asked: watch::Sender::default(),
            watching: watch::Sender::default(),
        });
        let router = Router::new()
            .route("/decide", get(decide))
            .route("/ad/{file}", get(file))
            .route("/watching", get(watching))
            .with_state(Arc::clone(&ads));
        let mut serving = JoinSet::new();
        serving.spawn(async { axum::serve(listener, router).await.unwrap() });
        Self {
            ads,
            _serving: serving,
        }
    }
}

async fn decide(State(ads): State<Arc<Ads>>, Query(query): Query<Value>) -> impl IntoResponse {
    ads.asked.send_modify(|asked| asked.push(query));
    let uri = format!("{}/ad/ad.m3u8", ads.base);
    let assets = json!({"ASSETS": [{"URI": uri, "DURATION": AD_SECONDS}]});
    ([(ACCESS_CONTROL_ALLOW_ORIGIN, "*")], assets.to_string())
}

async fn watching(State(ads): State<Arc<Ads>>) -> impl IntoResponse {
    ads.watching.send_replace(true);
    [(ACCESS_CONTROL_ALLOW_ORIGIN, "*")]
}

async fn file(State(ads): State<Arc<Ads>>, InPath(name): InPath<String>) -> impl IntoResponse {
    let bytes = tokio::fs::read(ads.folder.path().join(name)).await;
    ([(ACCESS_CONTROL_ALLOW_ORIGIN, "*")], bytes.unwrap())
}

async fn encode_ad(folder: &Path) {
    let seconds = AD_SECONDS.to_string();
    let arguments = "-nostdin -loglevel error -f lavfi -i color=red:s=640x360:r=30 -f lavfi -i sine=r=48000 \
        -pix_fmt yuv420p -c:v libx264 -preset ultrafast -g 60 -c:a aac \
        -hls_time 2 -hls_playlist_type vod -hls_segment_type fmp4";
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg
        .args(arguments.split_whitespace())
        .args(["-t", &seconds, "ad.m3u8"])
        .current_dir(folder);
    let status = within(60, "the ad", ffmpeg.status()).await.unwrap();
    assert!(status.success());
}

/// The tags of breaks in every rendition, once all of them have some that hold `word`.
async fn listed(multivariant: &str, word: &str) -> Vec<String> {
    eventually(20, word, || async {
        let all = text(multivariant).await;
        let children = all
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut tags = Vec::new();
        for child in children {
            let url = reqwest::Url::parse(multivariant)
                .unwrap()
                .join(child)
                .unwrap();
            let playlist = text(url).await;
            let lines = playlist.lines();
            let ranges = lines.filter(|line| line.starts_with("#EXT-X-DATERANGE"));
            tags.push(ranges.collect::<Vec<_>>().join("\n"));
        }
        tags.iter().all(|tags| tags.contains(word)).then_some(tags)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_break_is_listed_in_every_rendition_and_hls_js_shows_its_ads() {
    let _shared = MACHINE.read().await;
    let ad_server = AdServer::start().await;
    let ads = &ad_server.ads;
    let decision = format!("{}/decide?site=1", ads.base);
    let settings = [
        ("WEIR__API__AD_DECISION_URL", decision.as_str()),
        ("WEIR__TRANSCODE__MAX_LAG_MS", "5000"),
    ];
    let server = api::server(&settings).await;
    let channel = server.channel().await;
    let arn = call(&server, "list_channels", &json!({})).await["channels"][0]["arn"].clone();
    let tailor = "arn:aws:mediatailor:us-east-1:000000000000:playbackConfiguration/a";
    let made = json!({"mediaTailorPlaybackConfigurations": [{"playbackConfigurationArn": tailor}]});
    let made = call(&server, "create_ad_configuration", &made).await;
    let configuration = &made["adConfiguration"]["arn"];
    let update = json!({"arn": arn, "adConfigurationArn": configuration});
    call(&server, "update_channel", &update).await;
    let publisher = Publisher::looping(&clip("ladder_360p30.flv"), &channel.ingest_url);
    media_playlist_url(&channel.playback_url).await;

    let input =
        json!({"channelArn": arn, "durationSeconds": AD_SECONDS, "adBreakId": "abcdABCD1234"});
    let insertion = Call::prepare(&server, "insert_ad_break", &input).await;
    let watching = format!("{}/watching", ads.base);
    let args = [
        ["--url", &channel.playback_url],
        ["--watching", &watching],
        ["--seconds", "25"],
    ];
    let story = async {
        let mut watching = ads.watching.subscribe();
        let seen = watching.wait_for(|watching| *watching);
        within(40, "the stream is shown", seen).await.unwrap();
        insertion.make().await
    };
    let tags = async {
        let out = listed(&channel.playback_url, "SCTE35-OUT=0xFC").await;
        (out, listed(&channel.playback_url, "SCTE35-IN=0xFC").await)
    };
    let (seen, inserted, (out, back)) =
        tokio::join!(script("ads.mjs", args.as_flattened()), story, tags);

    for tags in [&out, &back] {
        assert_eq!(tags.len(), 2, "{tags:?}");
        assert_eq!(tags[0], tags[1]);
    }
    let start = inserted["targetStartAt"].as_str().unwrap();
    let start = start.replace("+00:00", "").replace(' ', "T");
    assert!(
        out[0].contains(&format!("START-DATE=\"{}", &start[..19])),
        "{out:?} {start}"
    );
    assert!(
        out[0].contains("CLASS=\"com.apple.hls.interstitial\""),
        "{out:?}"
    );

    assert!(seen["fatal"].is_null(), "{seen}");
    assert_eq!(seen["shown"], json!(["stream", "ad", "stream"]), "{seen}");
    let asked = ads.asked.borrow().clone();
    assert!(!asked.is_empty());
    for query in asked {
        assert_eq!(query["site"], "1");
        assert_eq!(query["adBreakId"], "abcdABCD1234");
        assert_eq!(query["durationSeconds"], AD_SECONDS.to_string());
        assert_eq!(query["channelArn"], arn);
        assert_eq!(&query["adConfigurationArn"], configuration);
    }
    publisher.kill().await;
}
