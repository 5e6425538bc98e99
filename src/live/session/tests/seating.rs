//! Several publishers of one channel: who has the place, who waits for it, who has to go.

use super::*;

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_place_is_not_driven_away_by_a_lower_priority() {
    let mut bench = Bench::new();
    let mut first = bench.publish("st-a", None);
    first.start().await;
    bench.hear("Stream Start").await;
    let mut waiting = bench.publish("st-b", Some(5));
    for (stream_id, priority) in [("st-c", Some(4)), ("st-d", None)] {
        let mut lower = bench.publish(stream_id, priority);
        let words = lower.refusal().await;
        assert!(words.contains("a higher priority"), "{words}");
        assert!(waiting.is_there() && first.is_there());
    }
    let mut equal = bench.publish("st-e", Some(5));
    assert_eq!(waiting.refusal().await, REPLACED);
    assert!(first.is_there());
    equal.start().await;
    assert_eq!(bench.hear("Stream Takeover").await, "st-a");
    assert!(first.refusal().await.contains("a higher priority"));
    assert!(equal.is_there());
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_place_has_to_go_with_the_one_that_had_it() {
    let mut bench = Bench::new();
    let mut starting = bench.publish("st-a", None);
    starting.configure().await;
    starting.pictures(GOP / 2).await;
    let mut waiting = bench.publish("st-b", None);
    waiting.configure().await;
    waiting.pictures(GOP / 2).await;
    let mut higher = bench.publish("st-c", Some(5));
    assert_eq!(starting.refusal().await, REPLACED);
    assert_eq!(waiting.refusal().await, REPLACED);
    higher.start().await;
    assert_eq!(bench.hear("Stream Start").await, "st-c");
    assert!(higher.is_there());
}

#[tokio::test(start_paused = true)]
async fn no_more_channels_than_configured_are_on_air() {
    let config = Config {
        max_streams: 1,
        ..gaps()
    };
    let mut bench = Bench::with(config, false, Arc::new(SimulatedClock::default()));
    let mut first = bench.publish("st-a", None);
    first.start().await;
    bench.hear("Stream Start").await;
    let own = bench.channel.clone();
    bench.channel = Channel::create(&Settings::default(), WallTime(0)).unwrap();
    let mut other = bench.publish("st-b", None);
    assert!(other.refusal().await.contains("1 channels are on air"));
    bench.hear("Concurrent Broadcasts").await;
    let other = std::mem::replace(&mut bench.channel, own);
    // The same channel goes on, and when it is over there is room.
    let mut taker = bench.publish("st-c", Some(1));
    taker.start().await;
    bench.hear("Stream Takeover").await;
    taker.send(MediaEvent::End(EndReason::Unpublished)).await;
    bench.hear("Stream End").await;
    bench.settle().await;
    bench.channel = other;
    let mut second = bench.publish("st-d", None);
    second.start().await;
    assert_eq!(bench.hear("Stream Start").await, "st-d");
}

#[tokio::test(start_paused = true)]
async fn a_takeover_leaves_the_stream_its_start_and_a_new_stream_has_its_own() {
    let clock = Arc::new(SimulatedClock::default());
    let mut bench = Bench::with(gaps(), false, Arc::clone(&clock) as SharedClock);
    let mut first = bench.publish("st-a", None);
    first.start().await;
    bench.hear("Stream Start").await;
    bench.settle().await;
    let started = bench.status().started;
    clock.advance_millis(7000);
    let mut second = bench.publish("st-b", Some(1));
    second.start().await;
    bench.hear("Stream Takeover").await;
    bench.settle().await;
    let status = bench.status();
    assert_eq!((&*status.stream_id, status.started), ("st-a", started));
    drop(second);
    bench.hear("Stream End").await;
    let mut third = bench.publish("st-c", None);
    third.start().await;
    bench.hear("Stream Start").await;
    bench.settle().await;
    let status = bench.status();
    assert_eq!(status.stream_id, "st-c");
    assert!(status.started.millis_since(started) >= 7000, "{status:?}");
}

#[tokio::test(start_paused = true)]
async fn two_encoders_with_one_key_do_not_keep_each_other_from_the_start() {
    let mut bench = Bench::new();
    let mut first = bench.publish("st-a", None);
    first.configure().await;
    first.pictures(GOP / 2).await;
    // It comes again and again, each time for less than its start takes.
    for n in 0..3 {
        let mut other = bench.publish(&format!("st-b{n}"), None);
        other.configure().await;
        other.pictures(GOP / 2).await;
        bench.settle().await;
        assert!(first.is_there() && other.is_there());
    }
    first.pictures(GOP).await;
    assert_eq!(bench.hear("Stream Start").await, "st-a");
    let mut newest = bench.publish("st-c", None);
    newest.start().await;
    assert_eq!(bench.hear("Stream Start").await, "st-c");
    assert_eq!(first.refusal().await, REPLACED);
}
