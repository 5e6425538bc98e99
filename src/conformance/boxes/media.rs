//! Parts and segments: the samples of their fragments.
//!
//! In:  bytes of `moof` and `mdat` boxes, the initialization section. Out: [`Media`].

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::init::{Init, Kind};
use super::walk::{Fields, Found, boxes, children};

/// Most samples read of one resource.
const MAX_SAMPLES: usize = 100_000;
/// Most oddities kept.
const MAX_ODDITIES: usize = 100;
/// `sample_is_non_sync_sample`.
const NON_SYNC: u32 = 0x0001_0000;
/// Boxes that may stand before a fragment.
const HARMLESS: &[&[u8; 4]] = &[
    b"styp", b"prft", b"emsg", b"sidx", b"ssix", b"free", b"skip", b"uuid", b"mfra",
];

/// One sample; times in ticks of its track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// `track_ID`.
    pub track: u32,
    /// Decoding time.
    pub dts: u64,
    /// Presentation time.
    pub pts: i64,
    /// Ticks.
    pub duration: u32,
    /// Bytes.
    pub size: u32,
    /// As its flags say.
    pub is_sync: bool,
    /// Whether its NAL units hold an IDR picture; none if that cannot be told.
    pub is_idr: Option<bool>,
    /// Of its data.
    pub digest: u64,
}

/// A part or a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Media {
    /// In the order of the file.
    pub samples: Vec<Sample>,
    /// `moof` boxes.
    pub fragments: usize,
    /// What is odd in its structure: a stable word and the evidence.
    pub oddities: Vec<(&'static str, String)>,
    /// Bytes of the file that no sample has claimed yet.
    unread: usize,
}

impl Media {
    /// Reads the fragments of `bytes`; an error if the boxes cannot be walked.
    pub fn parse(bytes: &[u8], init: &Init) -> Result<Self, String> {
        let mut media = Self {
            unread: bytes.len(),
            ..Self::default()
        };
        let mut is_behind_moof = false;
        for found in boxes(bytes) {
            let found = found?;
            match &found.kind {
                b"moof" => {
                    media.fragments = media.fragments.saturating_add(1);
                    media.read_moof(&found, bytes, init)?;
                    is_behind_moof = true;
                }
                b"mdat" if !is_behind_moof => {
                    let text = format!("mdat at byte {} follows no moof", found.offset);
                    media.odd("mdat-without-moof", text);
                }
                b"mdat" => is_behind_moof = false,
                kind if HARMLESS.contains(&kind) => {}
                _ => {
                    let text = format!("a `{}` box at byte {}", found.name(), found.offset);
                    media.odd("strange-box", text);
                }
            }
        }
        if is_behind_moof {
            let text = "the last moof has no mdat behind it".to_owned();
            media.odd("moof-without-mdat", text);
        }
        Ok(media)
    }

    fn read_moof(&mut self, moof: &Found<'_>, bytes: &[u8], init: &Init) -> Result<(), String> {
        for traf in children(moof.body, *b"traf") {
            let run = Traf::read(traf, moof.offset, init);
            let mut run = run.ok_or("a tfhd cannot be read")?;
            if !run.has_base {
                let text = format!("track {} has no default-base-is-moof", run.track);
                self.odd("no-default-base-is-moof", text);
            }
            if run.dts.is_none() {
                let text = format!("track {} has no tfdt", run.track);
                self.odd("no-tfdt", text);
            }
            for trun in children(traf, *b"trun") {
                let read = run.read_samples(trun, bytes, self, init);
                read.ok_or_else(|| format!("a trun of track {} cannot be read", run.track))?;
            }
        }
        Ok(())
    }

    fn odd(&mut self, kind: &'static str, text: String) {
        if self.oddities.len() < MAX_ODDITIES {
            self.oddities.push((kind, text));
        }
    }

    /// The samples of one track.
    pub fn of_track(&self, id: u32) -> impl DoubleEndedIterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| sample.track == id)
    }

    /// Sum of the durations of one track's samples.
    pub fn ticks(&self, id: u32) -> u64 {
        self.of_track(id)
            .map(|sample| u64::from(sample.duration))
            .sum()
    }
}

/// What a `traf` says of all its samples, and where its reading stands.
struct Traf {
    track: u32,
    duration: u32,
    size: u32,
    flags: u32,
    base: usize,
    has_base: bool,
    dts: Option<u64>,
    /// Where the next sample's data lies if `trun` does not say.
    at: usize,
}

impl Traf {
    fn read(traf: &[u8], moof_offset: usize, init: &Init) -> Option<Self> {
        let mut fields = Fields(children(traf, *b"tfhd").next()?);
        let (_, flags) = fields.full()?;
        let track = fields.u32()?;
        let defaults = init.track(track);
        let mut optional = |flag: u32, default: u32| {
            if flags & flag == 0 {
                return Some(default);
            }
            fields.u32()
        };
        let mut base = moof_offset;
        if flags & 1 != 0 {
            let high = optional(1, 0)?;
            let low = optional(1, 0)?;
            base = usize::try_from(u64::from(high) << 32 | u64::from(low)).ok()?;
        }
        optional(2, 0)?;
        let duration = optional(8, defaults.map_or(0, |track| track.default_duration))?;
        let size = optional(0x10, defaults.map_or(0, |track| track.default_size))?;
        let sample_flags = optional(0x20, defaults.map_or(0, |track| track.default_flags))?;
        let dts = children(traf, *b"tfdt").next().and_then(|tfdt| {
            let mut fields = Fields(tfdt);
            let (version, _) = fields.full()?;
            fields.wide(version)
        });
        Some(Self {
            track,
            duration,
            size,
            flags: sample_flags,
            base,
            has_base: flags & 0x0002_0000 != 0,
            dts,
            at: base,
        })
    }

    fn read_samples(
        &mut self,
        trun: &[u8],
        bytes: &[u8],
        media: &mut Media,
        init: &Init,
    ) -> Option<()> {
        let Media {
            samples: out,
            unread,
            ..
        } = media;
        let track = init.track(self.track);
        let mut fields = Fields(trun);
        let (version, flags) = fields.full()?;
        let count = fields.u32()?;
        if flags & 1 != 0 {
            let offset = isize::try_from(fields.u32()?.cast_signed()).ok()?;
            self.at = self.base.checked_add_signed(offset)?;
        }
        let first_flags = if flags & 4 == 0 {
            None
        } else {
            Some(fields.u32()?)
        };
        for index in 0..count {
            let mut field = |flag: u32, default: u32| {
                if flags & flag == 0 {
                    return Some(default);
                }
                fields.u32()
            };
            let duration = field(0x100, self.duration)?;
            let size = field(0x200, self.size)?;
            let default = first_flags.filter(|_| index == 0).unwrap_or(self.flags);
            let sample_flags = field(0x400, default)?;
            let offset = field(0x800, 0)?;
            let offset = if version == 0 {
                i64::from(offset)
            } else {
                i64::from(offset.cast_signed())
            };
            let end = self.at.checked_add(usize::try_from(size).ok()?)?;
            let data = bytes.get(self.at..end)?;
            self.at = end;
            // Samples that lie over each other would be read again and again.
            *unread = unread.checked_sub(data.len())?;
            let dts = self.dts.unwrap_or(0);
            self.dts = Some(dts.checked_add(u64::from(duration))?);
            if out.len() >= MAX_SAMPLES {
                return None;
            }
            let mut hasher = DefaultHasher::new();
            data.hash(&mut hasher);
            let is_picture = track.is_some_and(|track| track.kind == Kind::Video);
            let config = track.and_then(|track| track.video.as_ref());
            out.push(Sample {
                track: self.track,
                dts,
                pts: i64::try_from(dts).ok()?.checked_add(offset)?,
                duration,
                size,
                is_sync: !is_picture || sample_flags & NON_SYNC == 0,
                is_idr: config.and_then(|config| config.is_sync(data).ok()),
                digest: hasher.finish(),
            });
        }
        Some(())
    }
}
