//! Frame times: exact rates, and which picture is shown at which instant.
//!
//! In:  decoded frames' times. Out: [`Slot`]s: frames of the output with their place in the segment.
//! Pure. With [`FrameClock::Source`] frames keep their times and segments open where the source's do;
//! with [`FrameClock::Constant`] frames go onto a grid: the nearest instant, empty instants repeat the
//! picture before, and a segment opens every so many frames. The first segment may be half as long: nobody
//! can begin to play before there is a whole one, and its pictures are all encoded for that.
//! Not here: pixels, threads.

use std::collections::VecDeque;

/// Ticks per second of video.
const HZ: i64 = 90_000;
/// Rates that encoders have; others are taken as they are.
const RATES: [(u32, u32); 16] = [
    (5, 1),
    (15, 2),
    (10, 1),
    (12, 1),
    (25, 2),
    (15, 1),
    (20, 1),
    (24_000, 1001),
    (24, 1),
    (25, 1),
    (30_000, 1001),
    (30, 1),
    (48, 1),
    (50, 1),
    (60_000, 1001),
    (60, 1),
];
/// Most that is filled with repeated pictures at once, in ticks: 12 s. A picture that stands still
/// while time goes on is repeated step by step, for as long as it takes.
const MAX_FILL: i64 = 12 * HZ;
/// How much further sound may be ahead of the grid than it usually is before the picture is
/// repeated: 300 ms.
const SOUND_LEAD: i64 = 27_000;
/// Most that sound is believed to be ahead of its pictures as an encoder sends them: 2 s.
const MAX_LEAD: i64 = 2 * HZ;
/// A lead that is not reached any more is forgotten by this share with each picture.
const LEAD_DECAY: i64 = 64;
/// A picture that stays longer than this makes the source sparse: one part.
const SPARSE: i64 = 30_060;

/// A frame rate as a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameRate {
    /// Frames in [`FrameRate::seconds`]; not zero.
    pub frames: u32,
    /// Seconds; not zero.
    pub seconds: u32,
}

impl FrameRate {
    /// The rate nearest to a measured one, in frames per 1000 seconds: one that encoders have if
    /// that is within a quarter of a percent.
    pub fn near(fps_millis: u32) -> Self {
        let fps_millis = fps_millis.max(1);
        let distance = |rate: &Self| rate.fps_millis().abs_diff(fps_millis);
        let known = RATES.map(|(frames, seconds)| Self { frames, seconds });
        let nearest = known.into_iter().min_by_key(distance);
        let near = nearest.filter(|rate| u64::from(distance(rate)) * 400 <= u64::from(fps_millis));
        near.unwrap_or(Self {
            frames: fps_millis,
            seconds: 1000,
        })
    }

    /// Frames per 1000 seconds, rounded.
    pub fn fps_millis(self) -> u32 {
        let (frames, seconds) = (u64::from(self.frames), u64::from(self.seconds.max(1)));
        u32::try_from((frames * 1000 + seconds / 2) / seconds).unwrap_or(u32::MAX)
    }

    /// 90 kHz ticks from frame 0 to frame `n`, rounded down.
    pub fn ticks(self, n: i64) -> i64 {
        let ticks = i128::from(n) * i128::from(HZ) * i128::from(self.seconds);
        let ticks = ticks.div_euclid(i128::from(self.frames.max(1)));
        i64::try_from(ticks).unwrap_or(i64::MAX)
    }

    /// The frame nearest to `ticks`.
    fn nearest(self, ticks: i64) -> i64 {
        let hz = i128::from(HZ) * i128::from(self.seconds.max(1));
        let frames = i128::from(ticks) * i128::from(self.frames);
        i64::try_from((frames + hz / 2).div_euclid(hz)).unwrap_or(i64::MAX)
    }
}

/// Who sets the times of the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameClock {
    /// The source.
    Source,
    /// A constant rate, from the first frame on.
    Constant(FrameRate),
}

/// One frame of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// When it is shown, in 90 kHz ticks.
    pub(super) pts: i64,
    /// Its number in its segment; 0 opens one.
    pub(super) index: u32,
    /// No later frame is shown before this, if that is known already.
    pub(super) until: Option<i64>,
    /// Whether the picture is the one just given, or the one before it again.
    pub(super) is_new: bool,
}

impl Slot {
    /// Whether a rung has it that has one frame of so many, from each segment's first.
    pub(super) fn is_for(&self, every: u32) -> bool {
        self.index.is_multiple_of(every.max(1))
    }
}

/// The schedule of one stream's frames.
#[derive(Debug)]
pub(super) enum Schedule {
    Source(SourceSchedule),
    Constant(Grid),
}

impl Schedule {
    pub(super) fn new(clock: FrameClock, segment_ms: u32, begins_short: bool) -> Self {
        match clock {
            FrameClock::Source => Self::Source(SourceSchedule::default()),
            FrameClock::Constant(rate) => Self::Constant(Grid::new(rate, segment_ms, begins_short)),
        }
    }

    /// A segment opens at the first frame that is not shown before `pts` (the source's clock only).
    pub(super) fn open_at(&mut self, pts: i64) {
        if let Self::Source(schedule) = self {
            schedule.opens_at.push_back(pts);
        }
    }

    /// The slots that a picture shown at `pts` fills; `next` is when the one after it is shown, if
    /// that is known.
    pub(super) fn picture(&mut self, pts: i64, next: Option<i64>) -> Vec<Slot> {
        match self {
            Self::Source(schedule) => vec![schedule.picture(pts, next)],
            Self::Constant(grid) => grid.picture(pts),
        }
    }

    /// The slots that repeat the last picture because sound has gone on to `pts` without another.
    pub(super) fn sound(&mut self, pts: i64) -> Vec<Slot> {
        match self {
            Self::Source(_) => Vec::new(),
            Self::Constant(grid) => grid.sound(pts),
        }
    }

    /// Whether the picture would be repeated because sound has gone on to `pts`.
    pub(super) fn is_behind(&self, pts: i64) -> bool {
        match self {
            Self::Source(_) => false,
            Self::Constant(grid) => grid.is_behind(pts),
        }
    }

    /// The slots that repeat the last picture of a sparse source, whose sound is silent too, because
    /// wall time has gone on for `idle` ticks since that picture.
    pub(super) fn idle(&mut self, idle: i64) -> Vec<Slot> {
        match self {
            Self::Source(_) => Vec::new(),
            Self::Constant(grid) => grid.idle(idle),
        }
    }
}

/// The source's own times.
#[derive(Debug, Default)]
pub(super) struct SourceSchedule {
    opens_at: VecDeque<i64>,
    next_index: u32,
}

impl SourceSchedule {
    fn picture(&mut self, pts: i64, until: Option<i64>) -> Slot {
        while self.opens_at.pop_front_if(|at| *at <= pts).is_some() {
            self.next_index = 0;
        }
        let index = self.next_index;
        self.next_index += 1;
        Slot {
            pts,
            index,
            until,
            is_new: true,
        }
    }
}

/// A constant rate.
#[derive(Debug)]
pub(super) struct Grid {
    rate: FrameRate,
    segment_frames: i64,
    /// Of the first segment.
    first_frames: i64,
    origin: Option<i64>,
    /// The next free frame.
    next: i64,
    /// When the last picture came, in the source's time.
    last_picture: i64,
    is_sparse: bool,
    /// How far sound has gone on.
    heard: Option<i64>,
    /// How far sound is ahead when a picture comes.
    lead: i64,
}

impl Grid {
    fn new(rate: FrameRate, segment_ms: u32, begins_short: bool) -> Self {
        let segment_ticks = i64::from(segment_ms) * HZ / 1000;
        let segment_frames = rate.nearest(segment_ticks).max(1);
        Self {
            rate,
            segment_frames,
            // An even number: half the frames of it are every second one.
            first_frames: if begins_short {
                (segment_frames / 4 * 2).max(1)
            } else {
                segment_frames
            },
            origin: None,
            next: 0,
            last_picture: 0,
            is_sparse: false,
            heard: None,
            lead: 0,
        }
    }

    fn at(&self, n: i64) -> i64 {
        self.origin.unwrap_or(0).saturating_add(self.rate.ticks(n))
    }

    fn take(&mut self, is_new: bool) -> Slot {
        let n = self.next;
        self.next += 1;
        let index = if n < self.first_frames {
            n
        } else {
            (n - self.first_frames) % self.segment_frames
        };
        Slot {
            pts: self.at(n),
            index: u32::try_from(index).unwrap_or(0),
            until: Some(self.at(n + 1)),
            is_new,
        }
    }

    fn picture(&mut self, pts: i64) -> Vec<Slot> {
        let origin = *self.origin.get_or_insert(pts);
        let from = self.at(self.next);
        if pts - from > MAX_FILL {
            // What no source does: the grid jumps with it.
            self.origin = Some(origin + (pts - from) - MAX_FILL);
        }
        self.is_sparse |= self.next > 0 && pts - self.last_picture > SPARSE;
        self.last_picture = pts;
        self.note_lead(pts);
        let n = self.rate.nearest(pts - self.origin.unwrap_or(pts));
        let mut slots = self.fill(n);
        if n >= self.next {
            slots.push(self.take(true));
        }
        slots
    }

    /// Learns by how much the source sends its sound before its pictures: that much of it does not
    /// mean that a picture is missing.
    fn note_lead(&mut self, pts: i64) {
        let Some(heard) = self.heard else { return };
        let lead = heard.saturating_sub(pts).clamp(0, MAX_LEAD);
        let forgotten = (self.lead - lead).max(0) / LEAD_DECAY;
        self.lead = lead.max(self.lead - forgotten);
    }

    fn sound(&mut self, pts: i64) -> Vec<Slot> {
        self.heard = Some(pts);
        self.fill_until(self.shown_by(pts))
    }

    /// Until when pictures should have come when sound has gone on to `pts`.
    fn shown_by(&self, pts: i64) -> i64 {
        pts.saturating_sub(SOUND_LEAD + self.lead)
    }

    fn is_behind(&self, pts: i64) -> bool {
        self.origin.is_some() && self.shown_by(pts) > self.at(self.next)
    }

    fn idle(&mut self, idle: i64) -> Vec<Slot> {
        if !self.is_sparse {
            return Vec::new();
        }
        self.fill_until(self.last_picture.saturating_add(idle) - SPARSE)
    }

    /// Repeats the last picture in all free frames before `pts`, unless that is a jump.
    fn fill_until(&mut self, pts: i64) -> Vec<Slot> {
        match self.origin {
            Some(origin) if pts.saturating_sub(self.at(self.next)) <= MAX_FILL => {
                self.fill(self.rate.nearest(pts - origin))
            }
            _ => Vec::new(),
        }
    }

    /// Repeats the last picture in all free frames before frame `n`.
    fn fill(&mut self, n: i64) -> Vec<Slot> {
        let missing = usize::try_from(n - self.next).unwrap_or(0);
        (0..missing).map(|_| self.take(false)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FPS30: FrameRate = FrameRate {
        frames: 30,
        seconds: 1,
    };

    #[test]
    fn knows_the_rates_of_encoders() {
        for (measured, frames, seconds) in [
            (29_970, 30_000, 1001),
            (29_999, 30, 1),
            (30_010, 30, 1),
            (23_976, 24_000, 1001),
            (12_500, 25, 2),
            (59_939, 60_000, 1001),
            (17_300, 17_300, 1000),
        ] {
            let rate = FrameRate::near(measured);
            assert_eq!((rate.frames, rate.seconds), (frames, seconds), "{measured}");
        }
        assert_eq!(FrameRate::near(29_970).ticks(60), 180_180);
        assert_eq!(FrameRate::near(0).fps_millis(), 1);
    }

    /// Whether each slot is new or repeated, in a letter; upper case opens a segment.
    fn letters(slots: &[Slot]) -> String {
        let letter = |slot: &Slot| match (slot.is_new, slot.index) {
            (true, 0) => 'N',
            (true, _) => 'n',
            (false, 0) => 'R',
            (false, _) => 'r',
        };
        slots.iter().map(letter).collect()
    }

    fn run(schedule: &mut Schedule, times: &[i64]) -> Vec<Slot> {
        let pictures = times.iter().flat_map(|pts| schedule.picture(*pts, None));
        pictures.collect()
    }

    #[test]
    fn jitter_falls_onto_the_grid_and_gaps_are_filled() {
        let mut grid = Schedule::new(FrameClock::Constant(FPS30), 2000, true);
        let slots = run(&mut grid, &[9000, 12_100, 14_900, 24_000, 24_200]);
        // The last picture has no place of its own.
        assert_eq!(letters(&slots), "Nnnrrn");
        let times: Vec<_> = slots.iter().map(|slot| slot.pts).collect();
        assert_eq!(times, [9000, 12_000, 15_000, 18_000, 21_000, 24_000]);
        assert!(slots.iter().all(|slot| slot.until == Some(slot.pts + 3000)));
    }

    #[test]
    fn segments_open_every_so_many_frames_and_the_first_is_half_as_long() {
        let ntsc = FrameRate::near(29_970);
        let mut grid = Schedule::new(FrameClock::Constant(ntsc), 2000, true);
        let times: Vec<_> = (0..200).map(|n| ntsc.ticks(n)).collect();
        let slots = run(&mut grid, &times);
        let openers: Vec<_> = slots
            .iter()
            .filter(|s| s.index == 0)
            .map(|s| s.pts)
            .collect();
        assert_eq!(openers, [0, 90_090, 270_270, 450_450]);
    }

    #[test]
    fn a_slow_source_is_multiplied() {
        let twice = FrameRate {
            frames: 22,
            seconds: 1,
        };
        let mut grid = Schedule::new(FrameClock::Constant(twice), 2000, true);
        let times: Vec<_> = (0..23).map(|n| n * 90_000 / 11).collect();
        let slots = run(&mut grid, &times);
        let expected: String = (0..45)
            .map(|n| match (n, n % 2) {
                (0 | 22, _) => 'N',
                (_, 0) => 'n',
                _ => 'r',
            })
            .collect();
        assert_eq!(letters(&slots), expected);
    }

    #[test]
    fn sound_moves_a_still_picture_on() {
        let mut grid = Schedule::new(FrameClock::Constant(FPS30), 2000, true);
        assert!(grid.sound(0).is_empty(), "before any picture");
        run(&mut grid, &[0]);
        assert!(grid.sound(27_000).is_empty());
        assert_eq!(letters(&grid.sound(36_000)), "rr");
        // The picture comes late and has its place taken, the next one not.
        assert_eq!(letters(&run(&mut grid, &[6000, 9000, 15_000])), "nrn");
    }

    #[test]
    fn a_picture_that_stands_still_is_repeated_for_as_long_as_there_is_sound() {
        let mut grid = Schedule::new(FrameClock::Constant(FPS30), 2000, true);
        run(&mut grid, &[0]);
        let repeated = (1..=30 * 50).flat_map(|n| grid.sound(n * HZ / 50));
        let repeated: Vec<_> = repeated.collect();
        assert_eq!(repeated.len(), 30 * 30 - 10, "all but the last 300 ms");
        assert!(repeated.iter().all(|slot| !slot.is_new));
        let after = run(&mut grid, &[30 * HZ]);
        assert!(after.last().unwrap().is_new && after.len() == 10);
    }

    #[test]
    fn sound_that_is_sent_early_does_not_shift_the_picture() {
        let mut grid = Schedule::new(FrameClock::Constant(FPS30), 2000, true);
        let early = 54_000; // 600 ms
        let mut slots = Vec::new();
        for n in 0..120 {
            let at = n * 3000;
            slots.extend(grid.sound(at + early));
            slots.extend(grid.picture(at, None));
        }
        assert!(slots.iter().all(|slot| slot.is_new), "{}", letters(&slots));
        assert_eq!(slots.len(), 120);
        // The picture stands still: it is repeated all the same, only later.
        let repeated: Vec<_> = (0..60)
            .flat_map(|n| grid.sound(120 * 3000 + n * 3000 + early))
            .collect();
        assert_eq!(repeated.len(), 50);
        // What is not so early any more is forgotten.
        for n in 180..480 {
            grid.sound(n * 3000);
            grid.picture(n * 3000, None);
        }
        assert_eq!(grid.sound(480 * 3000 + 33_000).len(), 2);
    }

    #[test]
    fn wall_time_moves_a_sparse_silent_source_on() {
        let mut grid = Schedule::new(FrameClock::Constant(FPS30), 2000, true);
        run(&mut grid, &[0, 3000]);
        assert!(grid.idle(90_000).is_empty(), "it may be the network");
        run(&mut grid, &[93_000]);
        let slots = grid.idle(90_000);
        assert_eq!(slots.len(), 19, "{slots:?}");
        assert!(slots.iter().all(|slot| !slot.is_new));
        // As long as it takes, in small steps.
        let slots = (11..=400).flat_map(|n| grid.idle(n * 9000));
        assert_eq!(slots.count(), 39 * 30);
    }

    #[test]
    fn fills_are_bounded() {
        let mut grid = Schedule::new(FrameClock::Constant(FPS30), 2000, true);
        run(&mut grid, &[0]);
        assert!(grid.sound(i64::MAX / 4).is_empty());
        let slots = run(&mut grid, &[i64::MAX / 4]);
        assert_eq!(slots.len(), 12 * 30 + 1);
        assert!(slots.last().unwrap().is_new);
        let steady = run(&mut grid, &[i64::MAX / 4 + 3000]);
        assert_eq!(letters(&steady), "n");
    }

    #[test]
    fn the_sources_own_times_are_kept() {
        let mut schedule = Schedule::new(FrameClock::Source, 2000, true);
        schedule.open_at(1000);
        schedule.open_at(7000);
        let slots = run(&mut schedule, &[1000, 4000, 7500, 9000]);
        let places: Vec<_> = slots.iter().map(|slot| (slot.pts, slot.index)).collect();
        assert_eq!(places, [(1000, 0), (4000, 1), (7500, 0), (9000, 1)]);
        assert_eq!(
            schedule.picture(12_000, Some(15_000))[0].until,
            Some(15_000)
        );
        assert!(schedule.sound(1_000_000).is_empty());
    }
}
