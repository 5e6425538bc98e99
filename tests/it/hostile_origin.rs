//! The stream checker against servers that mean it ill: whatever they do, the check ends, and in time.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use weir::base::tasks::Tasks;
use weir::conformance::{Options, Report, check};

use super::support::within;

/// What the server does.
#[derive(Clone, Copy, Debug)]
enum Malice {
    /// A playlist without end, as fast as it can.
    Endless,
    /// One byte after the other.
    Trickle,
    /// Back to itself.
    RedirectLoop,
    /// An ended playlist of absurd numbers; whoever asks for more is held for ever.
    HeldForever,
    /// The connection is closed before an answer.
    Silent,
}

/// An ended playlist; a target duration of 30 years.
const ENDED: &str = "#EXTM3U\n#EXT-X-TARGETDURATION:999999999\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES\n\
    #EXTINF:2,\n1.ts\n#EXT-X-ENDLIST\n";

async fn answer(mut stream: TcpStream, malice: Malice) -> std::io::Result<()> {
    let mut request = vec![0; 4096];
    let length = stream.read(&mut request).await?;
    let is_odd = String::from_utf8_lossy(&request[..length]).contains("_HLS_");
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.apple.mpegurl\r\nConnection: close\r\n";
    match malice {
        Malice::Endless => {
            stream
                .write_all(format!("{head}\r\n#EXTM3U\n").as_bytes())
                .await?;
            let lines = "#EXTINF:2,\na\n".repeat(1_000);
            loop {
                stream.write_all(lines.as_bytes()).await?;
            }
        }
        Malice::Trickle => {
            stream
                .write_all(format!("{head}\r\n#EXTM3U\n").as_bytes())
                .await?;
            loop {
                stream.write_all(b"#").await?;
                sleep(Duration::from_millis(200)).await;
            }
        }
        Malice::RedirectLoop => {
            let head = "HTTP/1.1 302 Found\r\nLocation: /live.m3u8\r\nContent-Length: 0\r\n\
                        Connection: close\r\n\r\n";
            stream.write_all(head.as_bytes()).await
        }
        Malice::HeldForever if is_odd => std::future::pending().await,
        Malice::HeldForever => {
            let length = ENDED.len();
            let text = format!("{head}Content-Length: {length}\r\n\r\n{ENDED}");
            stream.write_all(text.as_bytes()).await
        }
        Malice::Silent => Ok(()),
    }
}

/// The outcome of a check of two seconds, or the reason why there is none.
async fn checked(malice: Malice) -> Result<Report, String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/live.m3u8", listener.local_addr().unwrap());
    let tasks = Tasks::new();
    let connections = tasks.clone();
    tasks.spawn_cancellable("hostile origin", async move {
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn_cancellable("hostile connection", async move {
                // It ends when the checker has had enough.
                answer(stream, malice).await.ok();
            });
        }
    });
    let options = Options {
        url: url.parse().unwrap(),
        duration: Duration::from_secs(2),
        slack: Duration::from_millis(150),
        outage: Duration::from_secs(1),
    };
    let report = within(60, "end of the check", check(options)).await;
    tasks.stop().await;
    report.map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_check_ends() {
    let kinds = [
        (Malice::Endless, Some("more than 4194304 bytes")),
        (Malice::Trickle, Some("no whole answer within 10000 ms")),
        (Malice::RedirectLoop, Some("redirect")),
        (Malice::Silent, Some("connection")),
        (Malice::HeldForever, None),
    ];
    let checks = kinds.map(|(malice, words)| async move {
        match (checked(malice).await, words) {
            (Err(error), Some(words)) => assert!(error.contains(words), "{malice:?}: {error}"),
            (Ok(report), None) => {
                let notes: Vec<_> = report.notes.iter().map(|note| &*note.text).collect();
                let is_told = notes.iter().any(|note| note.contains("took too long"));
                assert!(is_told, "{malice:?}: {report}");
            }
            (outcome, _) => panic!("{malice:?}: {outcome:?}"),
        }
    });
    futures_util::future::join_all(checks).await;
}
