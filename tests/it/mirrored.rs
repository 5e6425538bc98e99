//! What a real encoder sent plays as plain HLS from the store, with the server not in between:
//! from a folder, and from an S3 bucket written over HTTP.

use std::path::PathBuf;

use super::support::clips::{clip, frame_count};
use super::support::mirror::ended_mirror;
use super::support::publisher::Publisher;
use super::support::s3::S3Server;
use super::support::server::TestServer;

async fn publish(server: &TestServer) -> PathBuf {
    let path = clip("fps30.flv");
    let channel = server.channel().await;
    assert_eq!(
        Publisher::once(&path, &channel.ingest_url).ended().await,
        ""
    );
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_plays_from_the_folder() {
    let server = TestServer::start().await;
    let path = publish(&server).await;
    let mirror = ended_mirror(&server.data.path().join("data/storage")).await;
    assert_eq!(
        frame_count(&mirror),
        frame_count(&path),
        "every frame is in the store"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_plays_from_the_bucket() {
    let s3 = S3Server::start().await;
    let (url, env) = (s3.url(), S3Server::env());
    let mut extra = vec![("WEIR_STORAGE_URL", url.as_str())];
    extra.extend(
        env.iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    );
    let server = TestServer::start_with(&extra).await;
    let path = publish(&server).await;
    let mirror = ended_mirror(&s3.bucket_dir()).await;
    assert_eq!(
        frame_count(&mirror),
        frame_count(&path),
        "every frame is in the bucket"
    );
    assert!(
        server.weir(&["check"]).await.contains("store     ok"),
        "weir check sees the bucket"
    );
}
