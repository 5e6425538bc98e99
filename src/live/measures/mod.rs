//! The metrics of IVS: for Prometheus as they are now, for CloudWatch's clients with their last hours.
//!
//! In:  a look at every live channel every five seconds: the seconds measured of its publisher, its viewers.
//! Out: [`Measures::render`], text for Prometheus, with series of live channels only; [`Measures::statistics`].
//! Nothing of this stands in the way of media: the looks read what `health` and `playlist::audience` have counted.
//! Not here: counting; HTTP (`app`, `api::cloudwatch`). Lost when the process ends.

mod history;
mod metric;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use self::history::History;
pub use self::history::Statistics;
pub use self::metric::{Metric, Of};
use super::health::{Second, Summary};
use super::registry::Registry;
use crate::base::clock::{SharedClock, WallTime};
use crate::base::ids;
use crate::events::{Event, Kind, ServerLimit};

/// From one look to the next.
const INTERVAL: Duration = Duration::from_secs(5);

/// A live channel, looked at.
#[derive(Debug)]
pub(super) struct Look {
    /// Its id.
    pub(super) channel: String,
    /// How its stream comes.
    pub(super) summary: Summary,
    /// How many watch.
    pub(super) viewers: u64,
    /// Requests, ever, whose session there was no place to count.
    pub(super) uncounted: u64,
    /// What was measured since the last look, the oldest first.
    pub(super) seconds: Vec<Second>,
}

/// A live channel as it is now.
#[derive(Debug, Default)]
struct Now {
    viewers: u64,
    uncounted: u64,
    delivered_s: f64,
    input_s: f64,
    /// The seconds of the newest look as one; none if nothing came.
    ingest: Option<Second>,
    /// End of the newest second that was seen.
    seen: WallTime,
}

#[derive(Debug, Default)]
struct State {
    live: BTreeMap<String, Now>,
    /// Streams by [`HEALTHS`].
    streams: [u32; HEALTHS.len()],
    history: History,
}

const HEALTHS: [Summary; 3] = [Summary::Healthy, Summary::Starving, Summary::Unknown];

/// All that was measured.
#[derive(Debug, Default)]
pub struct Measures(Mutex<State>);

/// Keeps the measures current for ever, and tells when `max_viewers` watch.
pub async fn keep(
    measures: Arc<Measures>,
    registry: Arc<Registry>,
    clock: SharedClock,
    max_viewers: u64,
) {
    let mut was_full = false;
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Instant::now();
    loop {
        let now = ticks.tick().await;
        let seen = measures.seen();
        let looks = registry.looks(|channel| seen.get(channel).copied().unwrap_or_default());
        let full = full(&looks, max_viewers, clock.now());
        if let Some(event) = full.clone().filter(|_| !was_full) {
            registry.events().emit(event);
        }
        was_full = full.is_some();
        measures.take(clock.now(), now.duration_since(last).as_secs_f64(), looks);
        last = now;
    }
}

/// The breach of `max_viewers`, if so many watch.
fn full(looks: &[Look], max_viewers: u64, now: WallTime) -> Option<Event> {
    let viewers: u64 = looks.iter().map(|look| look.viewers).sum();
    let most = looks.iter().max_by_key(|look| look.viewers)?;
    let exceeded_by = (viewers + 1)
        .checked_sub(max_viewers)
        .filter(|by| *by > 0)?;
    Some(Event {
        id: ids::uuid(),
        time: now,
        channel_id: most.channel.parse().ok()?,
        channel_name: String::new(),
        stream_id: None,
        kind: Kind::ServerLimitBreach {
            limit: ServerLimit::Viewers,
            limit_value: max_viewers,
            exceeded_by,
        },
    })
}

impl Measures {
    /// Whose metrics are known of the last hours, in order.
    pub fn keys(&self) -> Vec<(Metric, Of)> {
        self.lock().history.keys().cloned().collect()
    }

    /// A metric's statistics of periods of `length_s` seconds within `range_s` (in seconds since 1970), the oldest
    /// first. Under a minute they are known of the last 15 minutes, else of the last 3 hours.
    pub fn statistics(
        &self,
        key: &(Metric, Of),
        range_s: (i64, i64),
        length_s: i64,
    ) -> Vec<(i64, Statistics)> {
        self.lock().history.statistics(key, range_s, length_s)
    }

    /// What Prometheus reads: the live channels as they were at the last look.
    pub fn render(&self) -> String {
        let state = self.lock();
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, help: &str, rows: &mut dyn Iterator<Item = _>| {
            writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}").ok();
            for (label, value) in rows {
                let (label, id): (&str, &str) = label;
                let value: f64 = value;
                writeln!(text, "{name}{{{label}=\"{id}\"}} {value}").ok();
            }
        };
        let streams = HEALTHS.iter().zip(state.streams);
        let mut streams = streams.map(|(health, n)| (("health", health.as_str()), f64::from(n)));
        let help = "Streams now, by how they come.";
        family("weir_concurrent_streams", "gauge", help, &mut streams);
        for (name, kind, help, value) in FAMILIES {
            let rows = state.live.iter();
            let mut rows = rows.filter_map(|(id, now)| Some((("channel", &**id), value(now)?)));
            family(name, kind, help, &mut rows);
        }
        text
    }

    /// The newest second that was seen of each channel.
    fn seen(&self) -> BTreeMap<String, WallTime> {
        let state = self.lock();
        let live = state.live.iter();
        live.map(|(id, now)| (id.clone(), now.seen)).collect()
    }

    fn take(&self, at: WallTime, elapsed_s: f64, looks: Vec<Look>) {
        let mut state = self.lock();
        let state = &mut *state;
        let mut before = std::mem::take(&mut state.live);
        state.streams = HEALTHS.map(|health| {
            let count = looks.iter().filter(|look| look.summary == health).count();
            u32::try_from(count).unwrap_or(u32::MAX)
        });
        let at_s = at.0.div_euclid(1000);
        state.history.forget(at_s);
        if !looks.is_empty() {
            let all: u32 = state.streams.iter().sum();
            let viewers = looks.iter().map(|look| float(look.viewers)).sum();
            let mut push = |metric, of: &Of, value| state.history.push(metric, of, at_s, value);
            push(Metric::ConcurrentStreams, &Of::All, f64::from(all));
            push(Metric::ConcurrentViews, &Of::All, viewers);
            for (health, count) in HEALTHS.into_iter().zip(state.streams) {
                let of = Of::health(health);
                push(Metric::ConcurrentStreams, &of, f64::from(count));
            }
        }
        for look in looks {
            let mut now = before.remove(&look.channel).unwrap_or_default();
            let watched_s = float(look.viewers) * elapsed_s;
            now.delivered_s += watched_s;
            now.input_s += look.seconds.iter().map(seconds_of).sum::<f64>();
            now.seen = look.seconds.last().map_or(now.seen, |second| second.at);
            now.ingest = together(&look.seconds);
            (now.viewers, now.uncounted) = (look.viewers, look.uncounted);
            record(&mut state.history, at_s, &look, watched_s);
            state.live.insert(look.channel, now);
        }
    }

    /// A lock whose holder panicked still guards numbers.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Name, kind and meaning of what Prometheus reads of each live channel.
type Family = (
    &'static str,
    &'static str,
    &'static str,
    fn(&Now) -> Option<f64>,
);

const FAMILIES: [Family; 9] = [
    ("weir_concurrent_viewers", "gauge", "Viewers now.", |now| {
        Some(float(now.viewers))
    }),
    (
        "weir_viewer_requests_uncounted_total",
        "counter",
        "Requests of viewers that there was no place to count.",
        |now| Some(float(now.uncounted)),
    ),
    (
        "weir_live_delivered_seconds_total",
        "counter",
        "Seconds that were watched, by all viewers together.",
        |now| Some(now.delivered_s),
    ),
    (
        "weir_live_input_seconds_total",
        "counter",
        "Seconds that were published.",
        |now| Some(now.input_s),
    ),
    (
        "weir_ingest_audio_bits_per_second",
        "gauge",
        "Bits of sound that come each second.",
        |now| Some(float(now.ingest?.audio_bitrate_bps())),
    ),
    (
        "weir_ingest_video_bits_per_second",
        "gauge",
        "Bits of pictures that come each second.",
        |now| Some(float(now.ingest?.video_bitrate_bps())),
    ),
    (
        "weir_ingest_bits_per_second",
        "gauge",
        "Bits of pictures and sound that come each second.",
        |now| Some(float(now.ingest?.bitrate_bps())),
    ),
    (
        "weir_ingest_frames_per_second",
        "gauge",
        "Pictures that come each second.",
        |now| Some(float(now.ingest?.fps_millis()) / 1000.0),
    ),
    (
        "weir_keyframe_interval_seconds",
        "gauge",
        "From one keyframe to the next.",
        |now| Some(float(now.ingest?.keyframe_interval_ms?) / 1000.0),
    ),
];

/// Writes down what a look saw, for the channel and for all together.
fn record(history: &mut History, at_s: i64, look: &Look, watched_s: f64) {
    let channel = Of::Channel(look.channel.clone());
    let mut push = |metric: Metric, at_s, value| {
        history.push(metric, &channel, at_s, value);
        // Viewers of all were added up: each look is a sample of them.
        if metric.is_of_all() && metric != Metric::ConcurrentViews {
            history.push(metric, &Of::All, at_s, value);
        }
    };
    push(Metric::ConcurrentViews, at_s, float(look.viewers));
    push(Metric::LiveDeliveredTime, at_s, watched_s);
    for second in &look.seconds {
        let at_s = second.at.0.div_euclid(1000);
        push(Metric::LiveInputTime, at_s, seconds_of(second));
        for (metric, value) in [
            (Metric::IngestAudioBitrate, second.audio_bitrate_bps()),
            (Metric::IngestVideoBitrate, second.video_bitrate_bps()),
            (Metric::IngestBitrate, second.bitrate_bps()),
        ] {
            push(metric, at_s, float(value));
        }
        let fps = float(second.fps_millis()) / 1000.0;
        push(Metric::IngestFramerate, at_s, fps);
        if let Some(ms) = second.keyframe_interval_ms {
            push(Metric::KeyframeInterval, at_s, float(ms) / 1000.0);
        }
    }
}

/// Seconds as one; none of none.
fn together(seconds: &[Second]) -> Option<Second> {
    let mut sum = *seconds.last()?;
    for second in seconds.iter().rev().skip(1) {
        sum.elapsed_ms += second.elapsed_ms;
        sum.video_bits += second.video_bits;
        sum.audio_bits += second.audio_bits;
        sum.pictures += second.pictures;
    }
    Some(sum)
}

fn seconds_of(second: &Second) -> f64 {
    float(second.elapsed_ms) / 1000.0
}

#[expect(
    clippy::cast_precision_loss,
    reason = "what is measured stays far below"
)]
fn float(n: u64) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(channel: &str, viewers: u64, seconds: &[(i64, u64)]) -> Look {
        let second = |(at_s, video_bits): &(i64, u64)| Second {
            at: WallTime(at_s * 1000),
            elapsed_ms: 1000,
            video_bits: *video_bits,
            audio_bits: 8_000,
            pictures: 30,
            keyframe_interval_ms: Some(2_000),
            ..Second::default()
        };
        Look {
            channel: channel.to_owned(),
            summary: Summary::Healthy,
            viewers,
            uncounted: 0,
            seconds: seconds.iter().map(second).collect(),
        }
    }

    #[test]
    fn as_many_viewers_as_may_be_are_a_breach() {
        let looks = [look("abcdABCDefgh", 3, &[]), look("abcdABCDefgi", 7, &[])];
        let by = |max: u64| {
            let event = full(&looks, max, WallTime(0))?;
            assert_eq!(event.name(), "Concurrent Viewers");
            match event.kind {
                Kind::ServerLimitBreach { exceeded_by, .. } => Some(exceeded_by),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!([11, 10, 8].map(by), [None, Some(1), Some(3)]);
        assert!(full(&[], 0, WallTime(0)).is_none(), "nobody is live");
    }

    #[test]
    fn a_channel_is_rendered_while_it_is_live_and_remembered_after_that() {
        let measures = Measures::default();
        let seconds = [(1001, 100_000), (1002, 300_000)];
        measures.take(
            WallTime(1_002_500),
            5.0,
            vec![look("a", 3, &seconds), look("b", 1, &[])],
        );
        measures.take(
            WallTime(1_007_500),
            5.0,
            vec![look("a", 2, &[(1006, 10_000)])],
        );
        let text = measures.render();
        for line in [
            "weir_concurrent_streams{health=\"HEALTHY\"} 1",
            "weir_concurrent_streams{health=\"STARVING\"} 0",
            "weir_concurrent_viewers{channel=\"a\"} 2",
            "weir_live_delivered_seconds_total{channel=\"a\"} 25",
            "weir_live_input_seconds_total{channel=\"a\"} 3",
            "weir_ingest_video_bits_per_second{channel=\"a\"} 10000",
            "weir_ingest_frames_per_second{channel=\"a\"} 30",
            "weir_keyframe_interval_seconds{channel=\"a\"} 2",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\n{text}");
        }
        assert!(!text.contains("\"b\""), "{text}");
        assert_eq!(measures.seen()["a"], WallTime(1_006_000));
        measures.take(WallTime(1_012_500), 5.0, Vec::new());
        assert!(
            !measures.render().contains("channel="),
            "{}",
            measures.render()
        );
        let of = |metric, of| {
            let all = measures.statistics(&(metric, of), (0, 10_000), 60);
            all.iter()
                .map(|(_, s)| (s.count, s.sum))
                .collect::<Vec<_>>()
        };
        let a = || Of::Channel("a".to_owned());
        assert_eq!(of(Metric::IngestVideoBitrate, a()), [(3, 410_000.0)]);
        assert_eq!(of(Metric::IngestVideoBitrate, Of::All), []);
        assert_eq!(of(Metric::IngestBitrate, Of::All), [(3, 434_000.0)]);
        assert_eq!(of(Metric::ConcurrentViews, Of::All), [(2, 6.0)]);
        // Nothing is live: no sample.
        assert_eq!(of(Metric::ConcurrentStreams, Of::All), [(2, 3.0)]);
    }

    #[test]
    fn what_does_not_come_is_not_rendered() {
        let measures = Measures::default();
        measures.take(WallTime(0), 5.0, vec![look("held", 4, &[])]);
        let text = measures.render();
        assert!(
            text.contains("weir_concurrent_viewers{channel=\"held\"} 4"),
            "{text}"
        );
        assert!(!text.contains("bits_per_second{"), "{text}");
    }
}
