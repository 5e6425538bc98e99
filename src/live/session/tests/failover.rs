//! What a channel's failover slate configuration says is done.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_channel_says_when_a_slate_comes_how_long_it_stays_and_when_all_is_over() {
    let mut bench = Bench::new();
    bench.failover = Some(FailoverSlateConfiguration {
        activation_threshold_seconds: 5,
        min_slate_display_seconds: 10,
        max_slate_display_seconds: 60,
        ..FailoverSlateConfiguration::default()
    });
    let mut first = bench.publish("st-a", None);
    first.start().await;
    bench.hear("Stream Start").await;
    let mut snapshot = bench.rendition().await.snapshot.clone();
    bench.settle().await;

    // Silent for less than the threshold, then for longer.
    tokio::time::sleep(4 * SECOND).await;
    first.pictures(GOP).await;
    assert_eq!(timelines(&snapshot.borrow_and_update()), 1);
    let silent = Instant::now();
    let missing = |snapshot: &Arc<playlist::Snapshot>| timelines(snapshot) == 2;
    snapshot.wait_for(missing).await.unwrap();
    let threshold = silent.elapsed();
    assert!(
        (5 * SECOND..6 * SECOND).contains(&threshold),
        "{threshold:?}"
    );

    // It sends again at once, a GOP every two seconds.
    let shown = Instant::now();
    while timelines(&snapshot.borrow_and_update()) == 2 {
        first.pictures(GOP).await;
        tokio::time::sleep(2 * SECOND).await;
    }
    let stayed = shown.elapsed();
    assert!((10 * SECOND..15 * SECOND).contains(&stayed), "{stayed:?}");

    // It never returns.
    drop(first);
    bench.hear("Stream End").await;
    let lost = Instant::now();
    let is_over = |snapshot: &Arc<playlist::Snapshot>| text(snapshot).contains("#EXT-X-ENDLIST");
    snapshot.wait_for(is_over).await.unwrap();
    let held = lost.elapsed();
    assert!((60 * SECOND..62 * SECOND).contains(&held), "{held:?}");
}
