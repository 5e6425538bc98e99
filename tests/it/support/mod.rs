//! What the scenarios share: a real server process, real encoders, a viewer, prepared clips.

pub(crate) mod acme_authority;
pub(crate) mod clips;
pub(crate) mod enhanced;
pub(crate) mod faults;
pub(crate) mod flv;
pub(crate) mod fragments;
pub(crate) mod ladder;
pub(crate) mod mirror;
pub(crate) mod playback;
pub(crate) mod postgres;
pub(crate) mod publisher;
pub(crate) mod reference_origin;
pub(crate) mod rtmp_client;
pub(crate) mod rtmp_server;
pub(crate) mod s3;
pub(crate) mod server;
pub(crate) mod sync;
pub(crate) mod tls;
pub(crate) mod viewer;

use std::future::Future;
use std::time::Duration;

use tokio::sync::RwLock;

/// Who overloads this machine on purpose writes; who needs encoders to keep up reads. Take it once a
/// test at a time: writers go first.
pub(crate) static MACHINE: RwLock<()> = RwLock::const_new(());

/// Fails loudly when something that must happen does not, instead of hanging the run.
pub(crate) async fn within<T>(seconds: u64, what: &str, future: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(Duration::from_secs(seconds), future).await;
    outcome.unwrap_or_else(|_| panic!("no {what} within {seconds} s"))
}

/// Asks `probe` again every 50 ms until it gives a value: for facts of another process that
/// cannot be awaited.
pub(crate) async fn eventually<T, F>(seconds: u64, what: &str, mut probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    within(seconds, what, async {
        loop {
            if let Some(value) = probe().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
}
