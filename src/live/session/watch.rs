//! The watch over a publisher: how its stream comes, and what is told of it.
//!
//! In:  its media events before anything is decided of them, each second. Out: the channel's health, events,
//! and an ending if it sends more than it may.
//! Not here: the measures and rules (`health`), the limits (`limits`).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::seats::Seats;
use super::{ChannelTask, Publisher};
use crate::events::Kind;
use crate::ingest::MediaEvent;
use crate::live::TrackIngest;
use crate::live::health::{Change, Code, Meter, Terms};
use crate::live::intake::Ending;
use crate::live::limits::{Breach, Limits};
use crate::live::plan;
use crate::live::registry::{Context, lock};
use crate::live::start::segment_limit_ms;
use crate::media::codec::VideoConfig;
use crate::model::Channel;
use crate::playlist;

const SECOND: Duration = Duration::from_secs(1);
/// Most words kept for a candidate's streamer.
const MAX_UNTOLD: usize = 8;

/// What watches one publisher.
pub(super) struct Watch {
    meter: Meter,
    limits: Limits,
    /// Whether its stream is to keep to the segments.
    may_pass: bool,
    grid: playlist::Config,
    /// When the second began that is being measured.
    since: Instant,
    /// What is to be told once it has the channel's place.
    untold: Vec<(Code, String)>,
    /// Whether it was told that too little comes, and not yet that this is over.
    is_starving: bool,
}

impl Watch {
    /// Nothing seen yet of a publisher of `channel`.
    pub(super) fn new(context: &Context, channel: &Channel) -> Self {
        Self {
            meter: Meter::default(),
            limits: Limits::new(&context.config, channel),
            may_pass: plan::may_pass(channel),
            grid: context.grid,
            since: Instant::now(),
            untold: Vec::new(),
            is_starving: false,
        }
    }

    /// Something that a candidate's streamer is told once it publishes.
    pub(super) fn tell_later(&mut self, code: Code, words: String) {
        if self.untold.len() < MAX_UNTOLD {
            self.untold.push((code, words));
        }
    }

    /// When the second is over.
    pub(super) fn next(&self) -> Instant {
        self.since + SECOND
    }

    fn terms(&self) -> Terms {
        let max_gop_ms = u64::try_from(segment_limit_ms(&self.grid)).ok();
        Terms {
            max_gop_ms: max_gop_ms.filter(|_| self.may_pass),
            good_gop_s: self.grid.target_duration_s,
            max_bps: self.limits.max_bps(),
            oversize: self.limits.oversize(),
        }
    }
}

impl ChannelTask {
    /// A publisher has the channel's place: its health is the channel's from now on.
    pub(super) fn begin_watch(&self, publisher: &mut Publisher) {
        let at = self.context.clock.now();
        // What a candidate sent while it waited is no second of the channel's.
        publisher.watch.meter.take_second(at, 0);
        publisher.watch.since = Instant::now();
        let change = lock(&self.health).begin(at);
        self.tell_change(publisher, change);
        for (code, words) in std::mem::take(&mut publisher.watch.untold) {
            self.tell(publisher, code, words);
        }
    }

    /// A publisher's part is over; what was told of its stream is brought to its end.
    pub(super) fn end_watch(&self, publisher: &mut Publisher) {
        if publisher.watch.is_starving {
            self.tell_change(publisher, Some(Change::StarvationEnd));
        }
    }

    /// Looks at an event before it is decided; more than is allowed ends the publish.
    pub(super) fn observe(&self, publisher: &mut Publisher, event: &MediaEvent) -> Option<Ending> {
        let watch = &mut publisher.watch;
        watch.meter.observe(event);
        let breach = match event {
            MediaEvent::VideoConfig(config) => watch.limits.set_size(config.width, config.height),
            MediaEvent::TracksUnused(_) => watch.limits.set_tracks(),
            MediaEvent::OtherTrack(number, config) => {
                self.note_track(publisher, *number, config);
                None
            }
            _ => None,
        }?;
        self.breach(publisher, &breach, Code::ResolutionHigh)
    }

    /// A further track of pictures is what it is from now on.
    fn note_track(&self, publisher: &mut Publisher, number: u8, config: &Arc<VideoConfig>) {
        let (width, height) = config.display_size();
        let track = TrackIngest {
            codec: config.codec_string(),
            size: (width, height),
            fps_millis: config.declared_fps_millis,
        };
        publisher.tracks.insert(number, track);
        if publisher.live_since.is_some()
            && let Some(ingest) = &mut lock(&self.status).ingest
        {
            ingest.tracks.clone_from(&publisher.tracks);
        }
    }

    /// A second of the publisher's has passed. Whether the playlists end with it.
    pub(super) async fn second_is_over(&mut self, seats: &mut Seats) -> bool {
        let Some(current) = &mut seats.current else {
            return false;
        };
        let Err(ending) = self.second(current) else {
            return false;
        };
        match seats.current.take() {
            Some(publisher) => self.part_with(seats, publisher, ending).await,
            None => false,
        }
    }

    fn second(&mut self, publisher: &mut Publisher) -> Result<(), Ending> {
        if let Some(output) = &mut self.output {
            let (parts, late) = output.take_cadence();
            publisher.watch.meter.note_parts(parts, late);
            if let Some(words) = output.take_notice() {
                self.tell(publisher, Code::AudioStopped, words.to_owned());
            }
        }
        let watch = &mut publisher.watch;
        let elapsed = watch.since.elapsed();
        watch.since += elapsed;
        let at = self.context.clock.now();
        let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let second = watch.meter.take_second(at, elapsed_ms);
        let mut health = lock(&self.health);
        let changes = health.push(second, watch.meter.facts(), watch.terms());
        let bps = health.sustained_bps();
        drop(health);
        for change in changes {
            self.tell_change(publisher, Some(change));
        }
        let breach = bps.and_then(|bps| publisher.watch.limits.bitrate(bps));
        match breach.and_then(|b| self.breach(publisher, &b, Code::BitrateHigh)) {
            Some(ending) => Err(ending),
            None => Ok(()),
        }
    }

    /// More than is allowed: IVS's event, ours with the words, and the end; unless that is switched off.
    fn breach(&self, publisher: &Publisher, breach: &Breach, code: Code) -> Option<Ending> {
        publisher.watch.limits.is_enforced().then_some(())?;
        self.emit(publisher, breach.event());
        let (code, words) = (code.as_str(), breach.words());
        self.emit(publisher, Kind::Finding { code, words });
        Some(Ending::Refused(breach.words()))
    }

    /// Something for the streamer to know.
    pub(super) fn tell(&self, publisher: &mut Publisher, code: Code, words: String) {
        let change = lock(&self.health).tell(code, words, self.context.clock.now());
        self.tell_change(publisher, change);
    }

    fn tell_change(&self, publisher: &mut Publisher, change: Option<Change>) {
        match change {
            Some(Change::StarvationStart) => publisher.watch.is_starving = true,
            Some(Change::StarvationEnd) => publisher.watch.is_starving = false,
            _ => {}
        }
        let kind = match change {
            None => return,
            Some(Change::Found(code, words)) => Kind::Finding {
                code: code.as_str(),
                words,
            },
            Some(Change::StarvationStart) => Kind::StarvationStart,
            Some(Change::StarvationEnd) => Kind::StarvationEnd,
        };
        self.emit(publisher, kind);
    }
}
