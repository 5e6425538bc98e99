//! The store on a folder and on an S3 server: same verbs, same answers; and what a bad server does.

use std::time::Duration;

use bytes::Bytes;
use weir::storage::keys::{LiveEpoch, Prefix};
use weir::storage::{Config, Error, Location, Store};

use crate::support::s3::{Fault, S3Server, credentials};

fn epoch(channel: &str, number: u64) -> LiveEpoch {
    LiveEpoch::new(channel, number).unwrap()
}

async fn keeps_what_it_is_told(store: &Store) {
    let source = epoch("chan", 1).rendition("source").unwrap();
    let (segment, init) = (source.segment(7), source.init("0a1b2c3d").unwrap());
    store
        .put(&init, [Bytes::from_static(b"init")])
        .await
        .unwrap();
    let chunks: Vec<Bytes> = (0..6_u8).map(|i| Bytes::from(vec![i; 100_000])).collect();
    store.put(&segment, chunks.clone()).await.unwrap();
    assert_eq!(store.get(&segment, 600_000).await.unwrap(), chunks.concat());
    let error = store.get(&segment, 599_999).await.unwrap_err();
    assert!(
        matches!(error, Error::TooLarge { bytes: 600_000, .. }),
        "{error}"
    );

    store
        .put(&segment, [Bytes::from_static(b"again")])
        .await
        .unwrap();
    assert_eq!(store.get(&segment, 5).await.unwrap(), "again");
    store
        .put(&epoch("chan", 12).multivariant(), [Bytes::new()])
        .await
        .unwrap();

    let mut keys: Vec<String> = list(store, &Prefix::live(), 100).await;
    keys.sort();
    let expected = [
        "live/chan/1/source/7.m4s",
        "live/chan/1/source/init-0a1b2c3d.mp4",
        "live/chan/12/multivariant.m3u8",
    ];
    assert_eq!(keys, expected);
    // Prefixes are whole folders: epoch 1 is not the beginning of epoch 12.
    assert_eq!(list(store, &epoch("chan", 1).prefix(), 100).await.len(), 2);
    assert_eq!(list(store, &epoch("chan", 1).prefix(), 1).await.len(), 1);
    let mut folders = store
        .folders(&Prefix::live_channel("chan").unwrap())
        .await
        .unwrap();
    folders.sort();
    assert_eq!(folders, ["1", "12"]);

    let absent = source.segment(8);
    store
        .delete(&[segment.clone(), absent, init])
        .await
        .unwrap();
    store.delete(&[]).await.unwrap();
    let error = store.get(&segment, 5).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    assert!(
        error
            .to_string()
            .starts_with("live/chan/1/source/7.m4s is not in "),
        "{error}"
    );
    assert!(list(store, &epoch("chan", 1).prefix(), 9).await.is_empty());
    assert!(
        store
            .folders(&Prefix::live_channel("nobody").unwrap())
            .await
            .unwrap()
            .is_empty()
    );
}

async fn list(store: &Store, prefix: &Prefix, limit: usize) -> Vec<String> {
    let objects = store.list(prefix, limit).await.unwrap();
    objects.iter().map(|o| o.key.to_string()).collect()
}

fn folder() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let location = Location::Folder(dir.path().join("made/on/the/way"));
    let store = Store::open(&location, &Config::default(), []).unwrap();
    (dir, store)
}

#[tokio::test]
async fn a_folder_keeps_what_it_is_told() {
    let (dir, store) = folder();
    keeps_what_it_is_told(&store).await;
    store.probe().await.unwrap();
    let left = dir.path().join("made/on/the/way/live/chan/1");
    assert!(!left.exists(), "an empty folder stays behind");
}

#[tokio::test]
async fn an_s3_server_keeps_what_it_is_told() {
    let server = S3Server::start().await;
    keeps_what_it_is_told(&server.store()).await;
    server.store().probe().await.unwrap();
    assert!(
        !server
            .bucket_dir()
            .join("weir-check")
            .read_dir()
            .is_ok_and(|d| d.count() > 0)
    );
}

#[tokio::test]
async fn passing_faults_are_overcome() {
    let late = Fault::Delay(Duration::from_millis(50));
    let key = epoch("chan", 1).rendition("source").unwrap().segment(1);
    let server = S3Server::start().await;
    let store = server.store();
    for fault in [
        Fault::Status(500),
        Fault::Status(503),
        late,
        Fault::Drop,
        Fault::Hang,
    ] {
        let text = Bytes::from(format!("{fault:?}"));
        server.inject([fault]);
        store.put(&key, [text.clone()]).await.unwrap();
        server.inject([fault]);
        assert_eq!(store.get(&key, 100).await.unwrap(), text);
        server.inject([fault]);
        assert_eq!(list(&store, &Prefix::live(), 9).await.len(), 1);
    }
    let long = Bytes::from(vec![7; 300_000]);
    store.put(&key, [long.clone()]).await.unwrap();
    let before = server.requests().len();
    server.inject([Fault::CutBody]);
    assert_eq!(store.get(&key, 300_000).await.unwrap(), long);
    assert!(
        server.requests().len() > before + 1,
        "the rest was asked for"
    );
}

#[tokio::test]
async fn lasting_faults_are_told_with_place_and_reason() {
    let server = S3Server::start().await;
    let store = server.store();
    let key = epoch("chan", 1).multivariant();
    for (fault, reason) in [
        (Fault::Status(500), "InternalError"),
        (Fault::Status(503), "SlowDown"),
        (Fault::Hang, "timed out"),
    ] {
        server.inject_always(Some(fault));
        let before = server.requests().len();
        let error = store
            .put(&key, [Bytes::from_static(b"x")])
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("bucket weir-test at http://127.0.0.1"),
            "{error}"
        );
        assert!(
            error.contains("failed to write live/chan/1/multivariant.m3u8"),
            "{error}"
        );
        assert!(error.contains(reason), "{error}");
        let tries = server.requests().len() - before;
        assert!((2..=3).contains(&tries), "{tries} tries for {fault:?}");
    }
    server.inject_always(None);
    store.probe().await.unwrap();
}

#[tokio::test]
async fn wrong_keys_buckets_and_servers_are_told_apart() {
    let server = S3Server::start().await;
    let wrong_key = server.store_with("S3CRET");
    let error = wrong_key.probe().await.unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("SignatureDoesNotMatch") && !text.contains("S3CRET"),
        "{text}"
    );

    server.inject([Fault::Status(404)]);
    let error = server.store().probe().await.unwrap_err();
    assert!(matches!(error, Error::NoStore { .. }), "{error}");

    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let location = format!("s3://b?endpoint=http://{closed}").parse().unwrap();
    let nobody = Store::open(&location, &S3Server::config(), credentials("x")).unwrap();
    let error = nobody.probe().await.unwrap_err().to_string();
    assert!(error.contains("Connection refused"), "{error}");
}

#[tokio::test]
async fn requests_under_way_are_bounded() {
    let server = S3Server::start().await;
    server.inject_always(Some(Fault::Delay(Duration::from_millis(20))));
    let store = server.store();
    let keys: Vec<_> = (0..60).map(|n| epoch("chan", n).multivariant()).collect();
    let puts = keys
        .iter()
        .map(|key| store.put(key, [Bytes::from_static(b"x")]));
    for result in futures_util::future::join_all(puts).await {
        result.unwrap();
    }
    let most = server.most_at_once();
    assert!(
        (2..=Config::default().concurrency).contains(&most),
        "{most} at once"
    );
}
