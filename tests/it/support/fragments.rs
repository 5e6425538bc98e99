//! Looks into CMAF bytes: where a part begins, which tracks an initialization section declares.

use mp4_atom::{Atom as _, Decode as _, DecodeAtom as _, Ftyp, Header, Moof, Moov};

/// One track of an initialization section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Track {
    pub(crate) id: u32,
    pub(crate) is_video: bool,
    pub(crate) timescale: u32,
}

/// Where a track's samples in a part begin, in its timescale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) decode: i64,
    pub(crate) presentation: i64,
}

/// The tracks of an initialization section.
pub(crate) fn tracks(init: &[u8]) -> Vec<Track> {
    let mut rest = init;
    Ftyp::decode(&mut rest).unwrap();
    let moov = Moov::decode(&mut rest).unwrap();
    let track = |trak: &mp4_atom::Trak| Track {
        id: trak.tkhd.track_id,
        is_video: trak.mdia.hdlr.handler == b"vide".into(),
        timescale: trak.mdia.mdhd.timescale,
    };
    moov.trak.iter().map(track).collect()
}

/// The fragment headers in a part or a file.
fn headers(bytes: &[u8]) -> impl Iterator<Item = Moof> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        while let Ok(header) = Header::decode(&mut rest) {
            let (body, behind) = rest.split_at(header.size.unwrap_or(rest.len()));
            rest = behind;
            if header.kind == Moof::KIND {
                return Some(Moof::decode_atom(&header, &mut &*body).unwrap());
            }
        }
        None
    })
}

/// Where `track` begins in a part; `None` if the part has no sample of it.
pub(crate) fn start(part: &[u8], track: u32) -> Option<Start> {
    let of_track = |moof: Moof| {
        let mut fragments = moof.traf.into_iter();
        fragments.find(|traf| traf.tfhd.track_id == track)
    };
    let traf = headers(part).find_map(of_track)?;
    let decode = i64::try_from(traf.tfdt.unwrap().base_media_decode_time).unwrap();
    let first = traf.trun.first()?.samples.iter().next()?;
    Some(Start {
        decode,
        presentation: decode + first.cts.unwrap_or(0),
    })
}

/// How far the earliest of a file's pictures is shown before it is decoded by its header, in its timescale.
pub(crate) fn deepest_composition_offset(media: &[u8]) -> i64 {
    let runs = headers(media)
        .flat_map(|moof| moof.traf)
        .flat_map(|traf| traf.trun);
    let deepest = runs.filter_map(|run| run.samples.iter().filter_map(|sample| sample.cts).min());
    deepest.min().unwrap_or(0).min(0).abs()
}

/// The RFC 6381 string of the picture's track: what its configuration says. Sample entries are those of parameter sets
/// out of band.
pub(crate) fn video_codec(init: &[u8]) -> Option<String> {
    let record = |entry: &[u8; 4], name: &[u8; 4]| {
        init.windows(4).position(|word| word == entry)?;
        let at = init.windows(4).position(|word| word == name)?;
        Some(&init[at + 4..])
    };
    if let Some(avc) = record(b"avc1", b"avcC") {
        let [profile, compatibility, level] = avc[1..4] else {
            return None;
        };
        return Some(format!("avc1.{profile:02X}{compatibility:02X}{level:02X}"));
    }
    if let Some(hevc) = record(b"hvc1", b"hvcC") {
        // Main profiles of the main tier; of the constraints only the first byte is ever set.
        let flags = u32::from_be_bytes(hevc[2..6].try_into().unwrap()).reverse_bits();
        let (profile, constraints, level) = (hevc[1], hevc[6], hevc[12]);
        assert!(profile < 32 && hevc[7..12] == [0; 5], "{:x?}", &hevc[..13]);
        return Some(format!("hvc1.{profile}.{flags:X}.L{level}.{constraints:X}"));
    }
    let av1 = record(b"av01", b"av1C")?;
    let (profile, level) = (av1[1] >> 5, av1[1] & 31);
    let depth = if av1[2] & 0x40 == 0 { 8 } else { 10 };
    Some(format!("av01.{profile}.{level:02}M.{depth:02}"))
}
