//! The gauge of concurrent viewers, one for each channel: what IVS calls `ConcurrentViews`.
//!
//! In:  the audiences of all channels that have anything to fetch (`playlist::Directory`).
//! Out: `weir_concurrent_viewers`, and how many requests went uncounted because there were too many.
//! Not here: counting (`playlist::audience`).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::playlist::Directory;

/// From one look to the next.
const INTERVAL: Duration = Duration::from_secs(5);

/// Keeps the gauges current for ever.
pub async fn report(directory: Arc<Directory>) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = HashSet::new();
    loop {
        ticks.tick().await;
        known = report_once(&directory, &known);
    }
}

/// Sets all gauges, to zero for those of `known` that are gone; gives the channels there are.
fn report_once(directory: &Directory, known: &HashSet<String>) -> HashSet<String> {
    let mut channels = HashSet::new();
    for (channel, audience) in directory.audiences() {
        let viewers = audience.count(Instant::now());
        set(&channel, viewers);
        metrics::counter!("weir_viewer_requests_uncounted_total", "channel" => channel.clone())
            .absolute(audience.unplaced());
        channels.insert(channel);
    }
    for gone in known.difference(&channels) {
        set(gone, 0);
    }
    channels
}

#[expect(clippy::cast_precision_loss, reason = "a gauge of a million at most")]
fn set(channel: &str, viewers: u64) {
    metrics::gauge!("weir_concurrent_viewers", "channel" => channel.to_owned()).set(viewers as f64);
}
