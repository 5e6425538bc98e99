//! The initialization section: `ftyp` and `moov`.
//!
//! In:  [`Tracks`]. Out: [`InitSection`]; equal tracks give equal bytes, so that a restart does
//! not change the section's URI. Decoder configurations are carried byte for byte, because a
//! parsed and rewritten one may differ from what the encoder said.
//! Not here: edit lists (composition offsets stay as they are), `colr` and `pasp` (the sequence
//! parameter set says both).
//! Read: ISO/IEC 14496-12 §8 for `moov`, 14496-14 §5.6 for `mp4a`, 14496-15 §5.4 and §8.4 for `avc1` and `hvc1`,
//! "AV1 ISOBMFF" §2.2 for `av01`,
//! 23000-19 §7.3 and RFC 8216bis §3.1.2 for what a section must and must not hold.

use std::fmt::Write as _;

use bytes::Bytes;
use mp4_atom::{
    Audio, BufMut, Dinf, Dref, Encode, Esds, FourCC, Ftyp, Hdlr, Mdhd, Mp4a, Mvex, Mvhd, Result,
    Smhd, Stco, Stsc, Stsz, Stts, Tkhd, Trex, Url, Visual, Vmhd, esds,
};

use super::{AUDIO_TRACK_ID, InitSection, VIDEO_TRACK_ID};
use crate::media::codec::{VideoConfig, VideoKind};
use crate::media::{AudioTrack, Timescale, Tracks, VideoTrack};

/// MPEG-4 audio, the `objectTypeIndication` of `esds`.
const OBJECT_TYPE_AAC: u8 = 0x40;
/// The `streamType` of audio in `esds`.
const STREAM_TYPE_AUDIO: u8 = 5;

impl InitSection {
    /// The section of `tracks`.
    pub(super) fn new(tracks: Tracks) -> Self {
        let mut bytes = Vec::with_capacity(2048);
        write_section(&tracks, &mut bytes).expect("configurations of kilobytes fit their boxes");
        Self {
            hash: content_hash(&bytes),
            bytes: Bytes::from(bytes),
            tracks,
        }
    }
}

/// What names a section with this content.
pub(super) fn content_hash(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let mut hash = String::with_capacity(8);
    for byte in digest.as_ref().iter().take(4) {
        write!(hash, "{byte:02x}").expect("a String takes any text");
    }
    hash
}

fn write_section(tracks: &Tracks, out: &mut Vec<u8>) -> Result<()> {
    let brand = |name| FourCC::new(name);
    Ftyp {
        major_brand: brand(b"iso6"),
        minor_version: 0,
        compatible_brands: vec![brand(b"iso6"), brand(b"cmfc"), brand(b"mp41")],
    }
    .encode(out)?;
    // Written box by box, in the customary order: the tree types of `mp4_atom` would put `mvex`
    // before the tracks, and parse `avcC`.
    out.encode_atom(b"moov", |out| {
        Mvhd {
            rate: 1.into(),
            volume: 1.into(),
            next_track_id: AUDIO_TRACK_ID + 1,
            ..Mvhd::default()
        }
        .encode(out)?;
        if let Some(video) = &tracks.video {
            write_video_track(video, out)?;
        }
        if let Some(audio) = &tracks.audio {
            write_audio_track(audio, out)?;
        }
        let video = tracks.video.iter().map(|_| extends(VIDEO_TRACK_ID));
        let audio = tracks.audio.iter().map(|_| extends(AUDIO_TRACK_ID));
        let trex = video.chain(audio).collect();
        Mvex { mehd: None, trex }.encode(out)
    })
}

/// Fragments say everything themselves, as CMAF wants it; only the sample entry is named here.
fn extends(track_id: u32) -> Trex {
    Trex {
        track_id,
        default_sample_description_index: 1,
        ..Trex::default()
    }
}

fn write_video_track(track: &VideoTrack, out: &mut Vec<u8>) -> Result<()> {
    let header = Tkhd {
        track_id: VIDEO_TRACK_ID,
        enabled: true,
        in_movie: true,
        width: track.config.width.into(),
        height: track.config.height.into(),
        ..Tkhd::default()
    };
    let handler = Hdlr {
        handler: FourCC::new(b"vide"),
        name: "VideoHandler".to_owned(),
    };
    let timescale = VideoTrack::TIMESCALE;
    let body = (Vmhd::default(), VideoSampleEntry(&track.config));
    write_track(&header, timescale, &handler, &body, out)
}

fn write_audio_track(track: &AudioTrack, out: &mut Vec<u8>) -> Result<()> {
    let config = &track.config;
    let header = Tkhd {
        track_id: AUDIO_TRACK_ID,
        enabled: true,
        in_movie: true,
        alternate_group: 1,
        volume: 1.into(),
        ..Tkhd::default()
    };
    let handler = Hdlr {
        handler: FourCC::new(b"soun"),
        name: "SoundHandler".to_owned(),
    };
    let sample_entry = Mp4a {
        audio: Audio {
            data_reference_index: 1,
            // 0 means "described in the stream"; the field wants some number.
            channel_count: config.channels.max(1).into(),
            sample_size: 16,
            // 16 bits before the point; a rate above is written as 0, the configuration counts.
            sample_rate: u16::try_from(config.sample_rate).unwrap_or(0).into(),
        },
        esds: elementary_stream(&config.bytes),
        btrt: None,
        taic: None,
    };
    let body = (Smhd::default(), sample_entry);
    write_track(&header, track.timescale(), &handler, &body, out)
}

fn elementary_stream(audio_specific_config: &Bytes) -> Esds {
    Esds {
        es_desc: esds::EsDescriptor {
            dec_config: esds::DecoderConfig {
                object_type_indication: OBJECT_TYPE_AAC,
                stream_type: STREAM_TYPE_AUDIO,
                dec_specific: Some(esds::DecoderSpecific {
                    raw: audio_specific_config.to_vec(),
                    ..esds::DecoderSpecific::default()
                }),
                ..esds::DecoderConfig::default()
            },
            ..esds::EsDescriptor::default()
        },
    }
}

/// The sample entry of a codec and the box of its configuration: parameter sets out of band only, since Safari refuses
/// `hev1` and `avc3`.
pub(super) const SAMPLE_ENTRIES: [(VideoKind, [u8; 4], [u8; 4]); 4] = [
    (VideoKind::Avc, *b"avc1", *b"avcC"),
    (VideoKind::Hevc, *b"hvc1", *b"hvcC"),
    (VideoKind::Av1, *b"av01", *b"av1C"),
    (VideoKind::Vp9, *b"vp09", *b"vpcC"),
];

/// A sample entry with the encoder's own configuration.
struct VideoSampleEntry<'a>(&'a VideoConfig);

impl Encode for VideoSampleEntry<'_> {
    fn encode<B: BufMut>(&self, out: &mut B) -> Result<()> {
        let kind = self.0.kind();
        let names = SAMPLE_ENTRIES.iter().find(|(known, ..)| *known == kind);
        let (_, entry, record) = names.expect("each codec has its entry");
        out.encode_atom(entry, |out| {
            Visual {
                data_reference_index: 1,
                width: self.0.width,
                height: self.0.height,
                ..Visual::default()
            }
            .encode(out)?;
            out.encode_atom(record, |out| {
                out.append_slice(&self.0.bytes);
                Ok(())
            })
        })
    }
}

/// A `trak` without samples; `body` is its media header and its sample entry.
fn write_track(
    header: &Tkhd,
    timescale: Timescale,
    handler: &Hdlr,
    body: &(impl Encode, impl Encode),
    out: &mut Vec<u8>,
) -> Result<()> {
    let media_header = Mdhd {
        timescale: timescale.hz(),
        language: "und".to_owned(),
        ..Mdhd::default()
    };
    let data_reference = Dinf {
        dref: Dref {
            entries: vec![Url::default().into()],
        },
    };
    out.encode_atom(b"trak", |out| {
        header.encode(out)?;
        out.encode_atom(b"mdia", |out| {
            media_header.encode(out)?;
            handler.encode(out)?;
            out.encode_atom(b"minf", |out| {
                body.0.encode(out)?;
                data_reference.encode(out)?;
                out.encode_atom(b"stbl", |out| write_sample_table(&body.1, out))
            })
        })
    })
}

/// The body of an `stbl` that has a sample entry and no samples.
fn write_sample_table(sample_entry: &impl Encode, out: &mut Vec<u8>) -> Result<()> {
    out.encode_atom(b"stsd", |out| {
        0u32.encode(out)?; // version and flags
        1u32.encode(out)?; // entries
        sample_entry.encode(out)
    })?;
    Stts::default().encode(out)?;
    Stsc::default().encode(out)?;
    Stsz::default().encode(out)?;
    Stco::default().encode(out)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mp4_atom::{Codec, Decode, Moov};

    use super::*;
    use crate::media::codec::av1::tests::SVT_360P;
    use crate::media::codec::avc::tests::X264_360P30;
    use crate::media::codec::hevc::tests::X265_360P30;
    use crate::media::codec::{aac, avc};

    fn tracks(asc: Option<&'static [u8]>) -> Tracks {
        let audio = asc.map(|asc| AudioTrack {
            config: Arc::new(aac::Config::parse(&Bytes::from_static(asc)).unwrap()),
        });
        Tracks {
            video: Some(VideoTrack {
                config: Arc::new(avc::parse(&Bytes::from_static(X264_360P30)).unwrap()),
            }),
            audio,
        }
    }

    fn decode(section: &InitSection) -> (Ftyp, Moov) {
        let mut rest = &section.bytes[..];
        let ftyp = Ftyp::decode(&mut rest).unwrap();
        let moov = Moov::decode(&mut rest).unwrap();
        assert!(rest.is_empty(), "ftyp and moov, nothing else");
        (ftyp, moov)
    }

    /// The content of the only box of this kind.
    fn content(section: &InitSection, kind: [u8; 4]) -> &[u8] {
        let bytes = &section.bytes;
        let at = bytes.windows(4).position(|w| *w == kind).unwrap();
        let size = u32::from_be_bytes(bytes[at - 4..at].try_into().unwrap());
        &bytes[at + 4..at - 4 + usize::try_from(size).unwrap()]
    }

    #[test]
    fn a_section_describes_both_tracks_and_no_sample() {
        let section = InitSection::new(tracks(Some(&[0x11, 0x90])));
        let (ftyp, moov) = decode(&section);
        assert!(ftyp.compatible_brands.contains(&FourCC::new(b"cmfc")));
        assert_eq!(moov.mvhd.duration, 0);
        assert_eq!(moov.mvhd.next_track_id, 3);
        let ids: Vec<_> = moov.trak.iter().map(|t| t.tkhd.track_id).collect();
        let extended: Vec<_> = moov.mvex.unwrap().trex.iter().map(|t| t.track_id).collect();
        assert_eq!((&ids[..], &extended[..]), (&[1, 2][..], &[1, 2][..]));
        for (trak, timescale) in std::iter::zip(&moov.trak, [90_000, 48_000]) {
            assert_eq!((trak.tkhd.duration, trak.mdia.mdhd.duration), (0, 0));
            assert_eq!(trak.mdia.mdhd.timescale, timescale);
            assert!(trak.edts.is_none());
            let table = &trak.mdia.minf.stbl;
            assert!(table.stts.entries.is_empty() && table.stsc.entries.is_empty());
        }
        let [Codec::Avc1(avc1)] = &moov.trak[0].mdia.minf.stbl.stsd.codecs[..] else {
            panic!("no avc1");
        };
        assert_eq!((avc1.visual.width, avc1.visual.height), (640, 360));
        let [Codec::Mp4a(mp4a)] = &moov.trak[1].mdia.minf.stbl.stsd.codecs[..] else {
            panic!("no mp4a");
        };
        assert_eq!(
            (mp4a.audio.channel_count, mp4a.audio.sample_rate),
            (2, 48_000.into())
        );
    }

    #[test]
    fn decoder_configurations_are_carried_byte_for_byte() {
        // With the SBR extension that FDK's encoder appends; and an explicit 96 kHz.
        for asc in [
            &[0x11, 0x90][..],
            &[0x12, 0x10, 0x56, 0xe5, 0x00],
            &[0x17, 0x80, 0xbb, 0x80, 0x10],
        ] {
            let section = InitSection::new(tracks(Some(asc)));
            assert_eq!(content(&section, *b"avcC"), X264_360P30);
            let esds = content(&section, *b"esds");
            let descriptor = [&[5, u8::try_from(asc.len()).unwrap()], asc].concat();
            assert!(
                esds.windows(descriptor.len()).any(|w| w == descriptor),
                "{asc:x?}"
            );
            decode(&section);
        }
        // Reserved bits that encoders leave 0 stay 0, and bytes behind the record stay.
        let odd: &'static [u8] = {
            let mut record = X264_360P30.to_vec();
            record[4] &= 0x03;
            record[5] &= 0x1f;
            record.push(0xaa);
            record.leak()
        };
        let mut odd_tracks = tracks(None);
        let config = avc::parse(&Bytes::from_static(odd)).unwrap();
        odd_tracks.video = Some(VideoTrack {
            config: Arc::new(config),
        });
        assert_eq!(content(&InitSection::new(odd_tracks), *b"avcC"), odd);
    }

    #[test]
    fn each_codec_has_its_entry_with_its_record() {
        let of = |kind, record: &'static [u8]| {
            let config = VideoConfig::parse(kind, &Bytes::from_static(record)).unwrap();
            InitSection::new(Tracks {
                video: Some(VideoTrack {
                    config: Arc::new(config),
                }),
                ..tracks(Some(&[0x11, 0x90]))
            })
        };
        let hevc = of(VideoKind::Hevc, X265_360P30);
        assert_eq!(content(&hevc, *b"hvcC"), X265_360P30);
        assert_eq!(hevc.tracks.codecs(), "hvc1.1.6.L63.90,mp4a.40.2");
        let entry = |section: &InitSection| {
            let (_, moov) = decode(section);
            moov.trak[0].mdia.minf.stbl.stsd.codecs[0].clone()
        };
        let Codec::Hvc1(found) = entry(&hevc) else {
            panic!("no hvc1");
        };
        assert_eq!((found.visual.width, found.visual.height), (640, 360));
        let av1 = of(VideoKind::Av1, SVT_360P);
        assert_eq!(content(&av1, *b"av1C"), SVT_360P);
        assert!(matches!(entry(&av1), Codec::Av01(found) if found.visual.width == 640));
        for written in [hevc, av1] {
            let read = InitSection::read(written.bytes.clone(), &written.hash);
            assert_eq!(read, Some(written));
        }
    }

    #[test]
    fn equal_tracks_give_equal_bytes_over_versions_of_weir() {
        let hash = |asc| InitSection::new(tracks(asc)).hash;
        assert_eq!(
            InitSection::new(tracks(None)).bytes,
            InitSection::new(tracks(None)).bytes
        );
        let all = [None, Some(&[0x11, 0x90][..]), Some(&[0x12, 0x10])].map(hash);
        insta::assert_snapshot!(all.join(" "), @"87856117 0434b7f7 20e93630");
    }
}
