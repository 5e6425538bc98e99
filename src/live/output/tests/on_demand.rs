//! Rungs that are encoded when somebody asks for them, without a pace.

use super::*;
use crate::base::tasks::Tasks;
use crate::packaging::pictures;
use crate::playlist::Snapshot;

/// The slot that is encoded.
const RUNG: usize = 1;

/// What stands before a part's media.
fn events(part: &Bytes) -> Vec<Emsg> {
    let mut rest = &part[..];
    std::iter::from_fn(|| Emsg::decode(&mut rest).ok()).collect()
}

/// A bench whose rung is cold.
fn cold(sound: RungAudio) -> Bench {
    let mut bench = Bench::new(LC, sound);
    let patience = Duration::from_hours(1);
    bench.output.encode_on_demand(Tasks::new(), patience);
    let job = bench.job();
    let recipe = Job {
        audio: None,
        audio_encodes: Vec::new(),
        ..job.clone()
    };
    bench.begin_with(Transcoder::start_sound(&job).unwrap(), Some(recipe));
    bench
}

impl Bench {
    fn snapshot(&self) -> Arc<Snapshot> {
        self.output.renditions[RUNG].window.snapshot()
    }

    fn demand(&self) -> Arc<RungDemand> {
        let demand = &self.output.renditions[RUNG].demand;
        Arc::clone(demand.as_ref().unwrap())
    }

    /// Of each part of a segment whether it has media.
    fn made(&self, msn: u64) -> String {
        let snapshot = self.snapshot();
        let parts = (0..).map(|part| Position { msn, part });
        let is_listed = |at: &_| snapshot.part(*at).is_some() || snapshot.is_promised(*at);
        let listed = parts.take_while(is_listed);
        let has_media = |at| {
            if snapshot.part(at).is_some() {
                'x'
            } else {
                '.'
            }
        };
        listed.map(has_media).collect()
    }

    /// Takes what happens until a segment looks like this.
    async fn until_made(&mut self, msn: u64, wanted: &str) {
        let take = async {
            while self.made(msn) != wanted {
                self.step().await;
            }
        };
        let taken = tokio::time::timeout(PATIENCE, take).await;
        assert!(
            taken.is_ok(),
            "segment {msn}: {} not {wanted}",
            self.made(msn)
        );
    }

    /// Takes what happens until segment `msn` is the next one of a rendition, or under way.
    async fn until_next(&mut self, slot: usize, msn: u64) {
        let take = async {
            while self.output.renditions[slot].next_msn() < msn {
                self.step().await;
            }
        };
        let taken = tokio::time::timeout(PATIENCE, take).await;
        assert!(taken.is_ok(), "segment {msn} did not come");
    }

    /// Segments `msns` of the rung hold as many pictures as the source's, shown at the same times, and say the same.
    fn check(&self, msns: std::ops::RangeInclusive<u64>) {
        let pieces = |slot: usize| {
            let snapshot = self.output.renditions[slot].window.snapshot();
            let pieces = msns.clone().flat_map(|msn| {
                let segment = snapshot.segment(msn).expect("a complete segment");
                segment.pieces().collect::<Vec<_>>()
            });
            pieces.collect::<Vec<_>>()
        };
        let shown = |slot: usize| {
            let pictures = pieces(slot).into_iter().flat_map(|piece| pictures(&piece));
            pictures
                .map(|sample| (sample.pts(), sample.is_sync))
                .collect::<Vec<_>>()
        };
        assert_eq!(shown(RUNG), shown(0));
        let said = |slot: usize| pieces(slot).iter().map(events).collect::<Vec<_>>();
        assert_eq!(said(RUNG), said(0));
        assert_eq!(said(0)[0][0].scheme_id_uri, "urn:twitch:id3");
    }
}

#[tokio::test]
async fn a_rung_that_nobody_asks_for_is_listed_and_not_made() {
    for sound in [RungAudio::Source, ENCODED] {
        let is_encoded = sound == ENCODED;
        let mut bench = cold(sound);
        bench.send(150, true);
        if is_encoded {
            assert_eq!(bench.parts(RUNG), bench.parts(0));
            bench.until(0, 14).await;
        }
        assert_eq!(bench.parts(RUNG), "IpppppIpppppIp");
        assert_eq!(bench.parts(0), bench.parts(RUNG));
        assert_eq!(bench.made(1), "......");
        let text = bench.snapshot().playlist(false, false);
        assert!(String::from_utf8(text.to_vec()).unwrap().contains("2.m4s"));
    }
}

#[tokio::test]
async fn the_first_request_has_the_open_segment_made_and_the_next_ones_encoded() {
    for sound in [RungAudio::Source, ENCODED] {
        let mut bench = cold(sound);
        bench.send(150, true);
        bench.until(0, 14).await;
        assert!(bench.output.say(Author::Owner, "before it is asked for"));
        let before = bench.snapshot().playlist(false, false);
        bench.demand().ask(Instant::now());
        bench.until_made(3, "xx").await;
        assert_eq!(
            bench.snapshot().playlist(false, false),
            before,
            "it is listed as it was"
        );
        // The parts that come are listed at once and made as they come, up to where the next segment opens.
        bench.send(20, true);
        bench.until_made(3, "xxxx").await;
        assert!(bench.output.say(Author::Owner, "while it is made"));
        bench.send(20, true);
        bench.until_made(3, "xxxxxx").await;
        bench.send(30, true);
        assert!(bench.output.say(Author::Publisher, "of the next one"));
        bench.send(81, true);
        bench.until_made(4, "xxxxxx").await;
        bench.until_made(5, "xxx").await;
        bench.check(3..=4);
        assert_eq!(bench.made(2), "......", "nobody asked for it");
    }
}

#[tokio::test]
async fn an_older_segment_is_made_when_it_is_asked_for() {
    for sound in [RungAudio::Source, ENCODED] {
        let mut bench = cold(sound);
        bench.send(100, true);
        assert!(bench.output.say(Author::Owner, "long before"));
        bench.send(215, true);
        bench.until_next(0, 6).await;
        let demand = bench.demand();
        for msn in [2, 4, 3] {
            demand.want(msn);
            bench.until_made(msn, "xxxxxx").await;
        }
        bench.check(2..=4);
        assert_eq!(bench.made(1), "......");
        // What never was or cannot be is no work.
        demand.want(1);
        demand.want(77);
        bench.until_made(1, "xxxxxx").await;
    }
}

#[tokio::test]
async fn a_rung_turns_cold_when_nobody_asks_any_more_and_warm_again() {
    let mut bench = cold(RungAudio::Source);
    bench.send(30, true);
    bench.demand().ask(Instant::now());
    bench.until_made(1, "xx").await;
    bench.send(90, true);
    bench.until_made(2, "xx").await;
    let set_patience = |bench: &mut Bench, patience| {
        bench.output.on_demand.as_mut().unwrap().patience = patience;
    };
    set_patience(&mut bench, Duration::ZERO);
    bench.send(20, true);
    bench.until_made(2, "xxxxxx").await;
    bench.send(130, true);
    bench.until_next(RUNG, 5).await;
    assert_eq!((&*bench.made(2), &*bench.made(3)), ("xxxxxx", "......"));
    assert_eq!(bench.made(5), "..");
    // By the one that began in the middle of it, which need not be done when the next one is.
    bench.until_made(1, "xxxxxx").await;
    bench.check(1..=2);
    set_patience(&mut bench, Duration::from_hours(1));
    bench.demand().ask(Instant::now() + Duration::from_secs(1));
    bench.until_made(5, "xx").await;
    bench.send(60, true);
    bench.until_made(5, "xxxxxx").await;
    bench.send(61, true);
    bench.until_made(6, "xxxxxx").await;
    bench.check(5..=6);
}

#[tokio::test]
async fn what_is_promised_when_a_timeline_ends_is_made_all_the_same() {
    let mut bench = cold(RungAudio::Source);
    bench.send(100, true);
    bench.demand().ask(Instant::now());
    bench.until_made(2, "xxx").await;
    bench.output.interrupt().await;
    bench.until_made(2, "xxxx").await;
    bench.demand().want(1);
    bench.until_made(1, "xxxxxx").await;
    bench.check(1..=2);
    bench.output.end();
    assert_eq!(bench.parts(RUNG), bench.parts(0));
}
