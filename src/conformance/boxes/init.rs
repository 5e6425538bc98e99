//! The initialization section: its tracks, and what makes it unfit for HLS.
//!
//! In:  `ftyp` and `moov`. Out: [`Init`].

use bytes::Bytes;

use super::walk::{Fields, boxes, children, descend};
use crate::media::codec::{VideoConfig, VideoKind, aac};

/// Most tracks read.
const MAX_TRACKS: usize = 16;
/// Most entries read of an edit list.
const MAX_EDITS: u32 = 16;
/// The `objectTypeIndication` of MPEG-4 audio.
const OBJECT_TYPE_AAC: u8 = 0x40;

/// The boxes that hold a decoder configuration.
const RECORDS: [(VideoKind, [u8; 4]); 3] = [
    (VideoKind::Avc, *b"avcC"),
    (VideoKind::Hevc, *b"hvcC"),
    (VideoKind::Av1, *b"av1C"),
];

/// What a track carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
    /// Anything else.
    Other,
}

/// A track of an initialization section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// `track_ID`.
    pub id: u32,
    /// From `hdlr`.
    pub kind: Kind,
    /// Ticks per second; never 0.
    pub timescale: u32,
    /// The sample entry's four characters, for example `avc1`.
    pub entry: String,
    /// RFC 6381, where it can be told exactly.
    pub codec: Option<String>,
    /// Pixels as decoded; none for sound.
    pub size: Option<(u64, u64)>,
    /// Width and height for which the track is meant, where pixels are not square; from `tkhd`.
    pub display: Option<(u64, u64)>,
    /// What an edit list takes off presentation times, in ticks.
    pub edit: i64,
    /// The decoder configuration of H.264, HEVC or AV1.
    pub video: Option<VideoConfig>,
    /// From `trex`.
    pub default_duration: u32,
    /// From `trex`.
    pub default_size: u32,
    /// From `trex`.
    pub default_flags: u32,
}

/// An initialization section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub struct Init {
    /// In order.
    pub tracks: Vec<Track>,
    /// Whether `moov` has `mvex`.
    pub has_mvex: bool,
    /// Whether a duration in `mvhd` or `mdhd` is not zero.
    pub has_duration: bool,
    /// Whether `stts` lists samples.
    pub has_samples: bool,
    /// Whether `ftyp` is first.
    pub begins_with_ftyp: bool,
}

impl Init {
    /// Reads a section.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut init = Self::default();
        let mut moov = None;
        for (index, found) in boxes(bytes).enumerate() {
            let found = found?;
            init.begins_with_ftyp |= index == 0 && found.kind == *b"ftyp";
            if found.kind == *b"moov" {
                moov = Some(found.body);
            }
        }
        let moov = moov.ok_or("it has no moov")?;
        let mvex = children(moov, *b"mvex").next();
        init.has_mvex = mvex.is_some();
        let movie = children(moov, *b"mvhd").next().and_then(header);
        init.has_duration = movie.is_some_and(|(_, duration)| is_duration(duration));
        for trak in children(moov, *b"trak").take(MAX_TRACKS) {
            let mut track = read_track(trak).ok_or("a trak cannot be read")?;
            track.edit = edit(trak, movie.map_or(0, |(scale, _)| scale), track.timescale);
            let mdhd = descend(trak, &[*b"mdia", *b"mdhd"]);
            init.has_duration |= mdhd.and_then(duration_of).is_some_and(is_duration);
            let stts = descend(trak, &[*b"mdia", *b"minf", *b"stbl", *b"stts"]);
            init.has_samples |= stts.is_some_and(|stts| {
                let mut fields = Fields(stts);
                fields.full();
                fields.u32().is_some_and(|count| count > 0)
            });
            for trex in mvex.into_iter().flat_map(|mvex| children(mvex, *b"trex")) {
                read_defaults(trex, &mut track);
            }
            init.tracks.push(track);
        }
        Ok(init)
    }

    /// The track with this id.
    pub fn track(&self, id: u32) -> Option<&Track> {
        self.tracks.iter().find(|track| track.id == id)
    }

    /// The first track of this kind.
    pub fn first(&self, kind: Kind) -> Option<&Track> {
        self.tracks.iter().find(|track| track.kind == kind)
    }
}

/// All ones stand for an unknown duration.
fn is_duration(ticks: u64) -> bool {
    ticks != 0 && ticks != u64::MAX && ticks != u64::from(u32::MAX)
}

/// `mvhd` and `mdhd` begin alike: version, creation, modification, timescale, duration.
fn header(body: &[u8]) -> Option<(u32, u64)> {
    let mut fields = Fields(body);
    let (version, _) = fields.full()?;
    fields.wide(version)?;
    fields.wide(version)?;
    Some((fields.u32()?, fields.wide(version)?))
}

fn duration_of(body: &[u8]) -> Option<u64> {
    header(body).map(|(_, duration)| duration)
}

fn read_track(trak: &[u8]) -> Option<Track> {
    let mut tkhd = Fields(children(trak, *b"tkhd").next()?);
    let (version, _) = tkhd.full()?;
    tkhd.wide(version)?;
    tkhd.wide(version)?;
    let id = tkhd.u32()?;
    let display = display(tkhd, version);
    let (timescale, _) = header(descend(trak, &[*b"mdia", *b"mdhd"])?)?;
    let mut hdlr = Fields(descend(trak, &[*b"mdia", *b"hdlr"])?);
    hdlr.skip(8)?;
    let kind = match &hdlr.u32()?.to_be_bytes() {
        b"vide" => Kind::Video,
        b"soun" => Kind::Audio,
        _ => Kind::Other,
    };
    let stsd = descend(trak, &[*b"mdia", *b"minf", *b"stbl", *b"stsd"])?;
    let entry = boxes(stsd.get(8..)?).next()?.ok()?;
    let mut track = Track {
        id,
        kind,
        timescale: timescale.max(1),
        entry: entry.name(),
        codec: None,
        size: None,
        display,
        edit: 0,
        video: None,
        default_duration: 0,
        default_size: 0,
        default_flags: 0,
    };
    match kind {
        // What cannot be told stays untold.
        Kind::Video => drop(read_visual(entry.body, &mut track)),
        Kind::Audio => drop(read_sound(entry.body, &mut track)),
        Kind::Other => {}
    }
    Some(track)
}

/// What stands in `tkhd` behind the track's id: reserved, duration, reserved, layer to volume, matrix, then 16.16.
fn display(mut tkhd: Fields<'_>, version: u8) -> Option<(u64, u64)> {
    tkhd.u32()?;
    tkhd.wide(version)?;
    tkhd.skip(8 + 8 + 36)?;
    let (width, height) = (tkhd.u32()? >> 16, tkhd.u32()? >> 16);
    (width > 0 && height > 0).then_some((width.into(), height.into()))
}

/// Where in the media the presentation begins; an empty edit before it delays it.
fn edit(trak: &[u8], movie_timescale: u32, timescale: u32) -> i64 {
    let read = || {
        let mut fields = Fields(descend(trak, &[*b"edts", *b"elst"])?);
        let (version, _) = fields.full()?;
        let mut delay = 0i64;
        for _ in 0..fields.u32()?.min(MAX_EDITS) {
            let duration = fields.wide(version)?;
            let at = fields.wide(version)?;
            fields.u32()?;
            // -1: an empty edit.
            if (version == 1 && at == u64::MAX) || (version == 0 && at == u64::from(u32::MAX)) {
                let ticks = u128::from(duration).checked_mul(timescale.into())?;
                let ticks = ticks.checked_div(movie_timescale.into())?;
                delay = delay.checked_add(i64::try_from(ticks).ok()?)?;
            } else {
                return i64::try_from(at).ok()?.checked_sub(delay);
            }
        }
        None
    };
    read().unwrap_or(0)
}

/// The format that an encrypted sample entry had before.
fn original(entry: &[u8]) -> Option<String> {
    let format = descend(entry, &[*b"sinf", *b"frma"])?.get(..4)?;
    Some(String::from_utf8_lossy(format).into_owned())
}

fn read_visual(body: &[u8], track: &mut Track) -> Option<()> {
    let mut fields = Fields(body);
    fields.skip(24)?;
    track.size = Some((fields.u16()?.into(), fields.u16()?.into()));
    if let Some(format) = original(body.get(78..)?) {
        track.entry = format;
    }
    let mut records = RECORDS.iter();
    let (kind, record) = records.find_map(|(kind, name)| {
        let record = children(body.get(78..)?, *name).next()?;
        Some((*kind, record))
    })?;
    let config = VideoConfig::parse(kind, &Bytes::copy_from_slice(record)).ok()?;
    track.size = Some((config.width.into(), config.height.into()));
    // Told under the name of the sample entry; of those that are another thing altogether nothing is.
    let is_plain = matches!(&*track.entry, "avc1" | "avc3" | "hvc1" | "hev1" | "av01");
    let told = config.codec_string();
    let told = told.get(4..).filter(|_| is_plain);
    track.codec = told.map(|form| format!("{}{form}", track.entry));
    track.video = Some(config);
    Some(())
}

/// The codec string of an `mp4a` entry is in its `esds`.
fn read_sound(body: &[u8], track: &mut Track) -> Option<()> {
    let mut fields = Fields(body);
    fields.skip(8)?;
    // QuickTime's version 1 has 16 bytes more.
    let more = if fields.u16()? == 1 { 16 } else { 0 };
    let inner = body.get(28usize.saturating_add(more)..)?;
    if let Some(format) = original(inner) {
        track.entry = format;
    }
    let esds = children(inner, *b"esds").next()?;
    let elementary = descriptor(esds.get(4..)?, 3)?;
    let decoder = descriptor(elementary.get(3..)?, 4)?;
    if decoder.first() != Some(&OBJECT_TYPE_AAC) {
        return None;
    }
    let specific = descriptor(decoder.get(13..)?, 5)?;
    let config = aac::Config::parse(&Bytes::copy_from_slice(specific)).ok()?;
    track.codec = Some(config.codec_string());
    Some(())
}

/// The body of the descriptor at the front of `bytes`, if it has this tag.
fn descriptor(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    let mut fields = Fields(bytes);
    if fields.u8()? != tag {
        return None;
    }
    let mut len = 0usize;
    for _ in 0..4 {
        let byte = fields.u8()?;
        len = len << 7 | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            break;
        }
    }
    fields.skip(len)
}

fn read_defaults(trex: &[u8], track: &mut Track) {
    let mut fields = Fields(trex);
    let mut read = || {
        fields.full()?;
        let id = fields.u32()?;
        fields.u32()?;
        Some((id, fields.u32()?, fields.u32()?, fields.u32()?))
    };
    if let Some((id, duration, size, flags)) = read()
        && id == track.id
    {
        track.default_duration = duration;
        track.default_size = size;
        track.default_flags = flags;
    }
}
