//! One fragment: `moof` and `mdat`.
//!
//! In:  a [`Run`] of samples per track, video first. Out: the bytes of one part.
//! Not here: which samples belong together (`segmenter`), the initialization section (`init`).
//! Read: ISO/IEC 14496-12 §8.8; 23000-19 §7.3.2 for what CMAF adds: `tfdt` in each `traf`,
//! `default-base-is-moof`, defaults in `tfhd` and not in `trex`.
//!
//! Browsers need more than the standard says: no empty `trun`, and flags that tell sync samples
//! from others, or they wait for a keyframe that they have already got.

use bytes::Bytes;
use mp4_atom::{Encode, FourCC, Header, Mfhd, Moof, Tfdt, Tfhd, Traf, Trun, TrunEntry};

use crate::media::{Sample, TrackKind};

/// `sample_depends_on = 2`: decodable alone.
pub(super) const FLAGS_SYNC: u32 = 0x0200_0000;
/// `sample_depends_on = 1`, `sample_is_non_sync_sample`.
const FLAGS_NON_SYNC: u32 = 0x0101_0000;
/// `mdat` before its data.
const MDAT_HEADER_BYTES: usize = 8;
/// More than `moof` needs for two tracks without their samples.
const MOOF_BYTES: usize = 256;
/// What `trun` needs for one sample at most.
const TRUN_ENTRY_BYTES: usize = 16;

/// Consecutive samples of one track.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// The track's id in the initialization section.
    pub track_id: u32,
    /// The samples; not empty, the decoding times increase, the first is not negative.
    pub samples: &'a [Sample],
    /// When the last sample ends: the decoding time of the track's next one.
    pub end: i64,
    /// Written decoding times are this much later and composition offsets as much smaller, so that
    /// a segment's first `tfdt` is the time its picture is shown; presentation is untouched.
    pub decode_shift: i32,
}

/// Writes the fragment of `runs`, of which none is empty, behind the boxes in `head`. The samples' data is copied once.
///
/// # Panics
/// If samples break what [`Run`] asks for, or are too large for a box of 4 GiB.
pub fn write(sequence_number: u32, head: &[u8], runs: &[Run<'_>]) -> Bytes {
    let samples = || runs.iter().flat_map(|run| run.samples);
    let data_bytes: usize = samples().map(|sample| sample.data.len()).sum();
    let overhead = MOOF_BYTES + TRUN_ENTRY_BYTES * samples().count() + MDAT_HEADER_BYTES;
    let mut out = Vec::with_capacity(head.len() + overhead + data_bytes);
    out.extend_from_slice(head);

    let mut moof = Moof {
        mfhd: Mfhd { sequence_number },
        traf: runs.iter().map(track_fragment).collect(),
    };
    // The data's offsets are from the start of `moof` on, and depend on its length, which does not depend on them.
    encode(&moof, &mut out);
    let mut offset = out.len() - head.len() + MDAT_HEADER_BYTES;
    for (traf, run) in std::iter::zip(&mut moof.traf, runs) {
        for trun in &mut traf.trun {
            trun.data_offset = Some(i32::try_from(offset).expect("parts are far below 2 GiB"));
        }
        offset += run.samples.iter().map(|s| s.data.len()).sum::<usize>();
    }
    out.truncate(head.len());
    encode(&moof, &mut out);
    let mdat = Header {
        kind: FourCC::new(b"mdat"),
        size: Some(data_bytes),
    };
    encode(&mdat, &mut out);
    for sample in samples() {
        out.extend_from_slice(&sample.data);
    }
    Bytes::from(out)
}

fn encode(atom: &impl Encode, out: &mut Vec<u8>) {
    atom.encode(out).expect("the box is far below 4 GiB");
}

fn track_fragment(run: &Run<'_>) -> Traf {
    let first = run.samples.first().expect("a run is not empty");
    let mut entries = entries(run);
    let mut tfhd = Tfhd {
        track_id: run.track_id,
        default_base_is_moof: true,
        ..Tfhd::default()
    };
    hoist_defaults(&mut tfhd, &mut entries);
    Traf {
        tfhd,
        tfdt: Some(Tfdt {
            base_media_decode_time: u64::try_from(first.dts + i64::from(run.decode_shift))
                .expect("media time begins at 0"),
        }),
        trun: vec![Trun {
            data_offset: Some(0),
            samples: entries.into(),
        }],
        ..Traf::default()
    }
}

/// Every field of every sample.
fn entries(run: &Run<'_>) -> Vec<TrunEntry> {
    let next = run.samples.iter().skip(1).map(|sample| sample.dts);
    let ends = next.chain(std::iter::once(run.end));
    let entry = |(sample, end): (&Sample, i64)| TrunEntry {
        // A duration of half a day or more is no duration; the next `tfdt` tells the truth.
        duration: Some(u32::try_from(end - sample.dts).unwrap_or(u32::MAX)),
        size: Some(u32::try_from(sample.data.len()).expect("samples are far below 4 GiB")),
        flags: Some(flags(sample)),
        cts: Some((sample.composition_offset.saturating_sub(run.decode_shift)).into()),
    };
    std::iter::zip(run.samples, ends).map(entry).collect()
}

fn flags(sample: &Sample) -> u32 {
    match sample.track {
        TrackKind::Audio => FLAGS_SYNC,
        TrackKind::Video if sample.is_sync => FLAGS_SYNC,
        TrackKind::Video => FLAGS_NON_SYNC,
    }
}

/// Says once in `tfhd` what all samples have in common; flags may differ in the first sample.
fn hoist_defaults(tfhd: &mut Tfhd, entries: &mut [TrunEntry]) {
    let Some(last) = entries.last().copied() else {
        return;
    };
    if entries.iter().all(|entry| entry.duration == last.duration) {
        tfhd.default_sample_duration = last.duration;
        for entry in entries.iter_mut() {
            entry.duration = None;
        }
    }
    if entries.iter().all(|entry| entry.cts == Some(0)) {
        for entry in entries.iter_mut() {
            entry.cts = None;
        }
    }
    let behind_first = entries.iter().skip(1);
    if behind_first
        .map(|entry| entry.flags)
        .all(|flags| flags == last.flags)
    {
        tfhd.default_sample_flags = last.flags;
        for (index, entry) in entries.iter_mut().enumerate() {
            if index > 0 || entry.flags == last.flags {
                entry.flags = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use mp4_atom::{Decode, Mdat};
    use proptest::prelude::*;

    use super::*;

    fn sample(track: TrackKind, dts: i64, offset: i32, is_sync: bool, data: &[u8]) -> Sample {
        Sample {
            track,
            dts,
            composition_offset: offset,
            is_sync,
            data: Bytes::copy_from_slice(data),
        }
    }

    fn video(dts: i64, offset: i32, is_sync: bool, data: &[u8]) -> Sample {
        sample(TrackKind::Video, dts, offset, is_sync, data)
    }

    fn audio(dts: i64, data: &[u8]) -> Sample {
        sample(TrackKind::Audio, dts, 0, true, data)
    }

    fn run(track_id: u32, samples: &[Sample], end: i64) -> Run<'_> {
        Run {
            track_id,
            samples,
            end,
            decode_shift: 0,
        }
    }

    fn decode(bytes: &Bytes) -> (Moof, Mdat) {
        let mut rest = &bytes[..];
        let moof = Moof::decode(&mut rest).unwrap();
        let mdat = Mdat::decode(&mut rest).unwrap();
        assert!(rest.is_empty(), "one moof, one mdat");
        (moof, mdat)
    }

    /// What a reader finds: per track its id, start, and duration, flags, offset, data per sample.
    type Found = Vec<(u32, u64, Vec<(u32, u32, i64, Vec<u8>)>)>;

    fn read(bytes: &Bytes) -> Found {
        let (moof, _) = decode(bytes);
        let track = |traf: &Traf| {
            let trun = &traf.trun[0];
            let mut offset = usize::try_from(trun.data_offset.unwrap()).unwrap();
            let entry = |entry: TrunEntry| {
                let size = usize::try_from(entry.size.unwrap()).unwrap();
                let data = bytes[offset..offset + size].to_vec();
                offset += size;
                let duration = entry.duration.or(traf.tfhd.default_sample_duration);
                let flags = entry.flags.or(traf.tfhd.default_sample_flags);
                (
                    duration.unwrap(),
                    flags.unwrap(),
                    entry.cts.unwrap_or(0),
                    data,
                )
            };
            let start = traf.tfdt.as_ref().unwrap().base_media_decode_time;
            assert!(traf.tfhd.default_base_is_moof && traf.trun.len() == 1);
            (
                traf.tfhd.track_id,
                start,
                trun.samples.iter().map(entry).collect(),
            )
        };
        moof.traf.iter().map(track).collect()
    }

    #[test]
    fn two_tracks_share_one_fragment() {
        let picture = [
            video(1 << 40, 6000, true, b"idr"),
            video((1 << 40) + 3000, -90, false, b"p"),
        ];
        let sound = [audio(7, b"one"), audio(1031, b"two!"), audio(2055, b"")];
        let bytes = write(
            9,
            &[],
            &[run(1, &picture, (1 << 40) + 6100), run(2, &sound, 3079)],
        );
        let (moof, mdat) = decode(&bytes);
        assert_eq!(moof.mfhd.sequence_number, 9);
        assert_eq!(mdat.data, b"idrponetwo!", "video first, then audio");
        assert_eq!(
            read(&bytes),
            [
                (
                    1,
                    1 << 40,
                    vec![
                        (3000, FLAGS_SYNC, 6000, b"idr".to_vec()),
                        (3100, FLAGS_NON_SYNC, -90, b"p".to_vec()),
                    ]
                ),
                (
                    2,
                    7,
                    vec![
                        (1024, FLAGS_SYNC, 0, b"one".to_vec()),
                        (1024, FLAGS_SYNC, 0, b"two!".to_vec()),
                        (1024, FLAGS_SYNC, 0, vec![]),
                    ]
                ),
            ]
        );
    }

    #[test]
    fn offsets_do_not_count_what_stands_before() {
        let samples = [video(5, 0, true, b"x")];
        let plain = write(1, &[], &[run(1, &samples, 10)]);
        let behind = write(1, b"head", &[run(1, &samples, 10)]);
        assert_eq!(behind, [b"head", &plain[..]].concat());
    }

    #[test]
    fn boxes_of_another_version_are_never_written() {
        let samples = [video(5, -1, true, b"x")];
        let bytes = write(1, &[], &[run(1, &samples, 10)]);
        for (kind, version) in [(b"tfhd", 0), (b"tfdt", 1), (b"trun", 1)] {
            let at = bytes.windows(4).position(|w| w == kind).unwrap();
            assert_eq!(bytes[at + 4], version, "{}", kind.escape_ascii());
        }
    }

    #[test]
    fn what_samples_share_is_said_once() {
        // Sync flags of the samples; bytes of `trun` per sample, and whether it opens with flags.
        let (s, n) = (true, false);
        let table: [(&[bool], u32, bool); 6] = [
            (&[s, n, n], 4, true),
            (&[n, n, n], 4, false),
            (&[s, s, s], 4, false),
            (&[s], 4, false),
            (&[n, s, n], 8, false),
            (&[s, n, s], 8, false),
        ];
        for (syncs, entry_bytes, has_first_flags) in table {
            let samples: Vec<_> = std::iter::zip(0.., syncs)
                .map(|(n, is_sync)| video(n * 3000, 0, *is_sync, b"data"))
                .collect();
            let end = i64::try_from(syncs.len()).unwrap() * 3000;
            let bytes = write(1, &[], &[run(1, &samples, end)]);
            let at = bytes.windows(4).position(|w| w == b"trun").unwrap();
            let size = u32::from_be_bytes(bytes[at - 4..at].try_into().unwrap());
            let header = if has_first_flags { 24 } else { 20 };
            let count = u32::try_from(syncs.len()).unwrap();
            assert_eq!(size, header + entry_bytes * count, "{syncs:?}");
        }
    }

    fn any_run(track: TrackKind) -> impl Strategy<Value = (Vec<Sample>, i64)> {
        let entry = (1i64..5000, -9000i32..9000, any::<bool>(), 0usize..40);
        (0i64..1 << 50, prop::collection::vec(entry, 1..30)).prop_map(move |(start, entries)| {
            let mut dts = start;
            let samples = entries.into_iter().map(|(duration, offset, is_sync, len)| {
                let data: Vec<u8> = (0u8..).take(len).collect();
                let sample = sample(track, dts, offset, is_sync, &data);
                dts += duration;
                sample
            });
            let samples = samples.collect();
            (samples, dts)
        })
    }

    proptest! {
        #[test]
        fn every_run_is_read_back(
            video in any_run(TrackKind::Video),
            audio in any_run(TrackKind::Audio),
            which in 1u8..4,
        ) {
            let all = [(1, &video, 1u8), (2, &audio, 2)];
            let present: Vec<_> = all.iter().filter(|(_, _, bit)| which & bit != 0).collect();
            let runs: Vec<_> = present.iter().map(|(id, (s, end), _)| run(*id, s, *end)).collect();
            let found = read(&write(1, &[], &runs));
            prop_assert_eq!(found.len(), runs.len());
            for (run, (id, start, entries)) in std::iter::zip(&runs, found) {
                prop_assert_eq!(run.track_id, id);
                prop_assert_eq!(u64::try_from(run.samples[0].dts).unwrap(), start);
                prop_assert_eq!(run.samples.len(), entries.len());
                let mut dts = run.samples[0].dts;
                for (sample, (duration, flags, offset, data)) in std::iter::zip(run.samples, entries) {
                    prop_assert_eq!(sample.dts, dts);
                    prop_assert_eq!(flags, super::flags(sample));
                    prop_assert_eq!(i64::from(sample.composition_offset), offset);
                    prop_assert_eq!(&sample.data[..], &data[..]);
                    dts += i64::from(duration);
                }
                prop_assert_eq!(dts, run.end);
            }
        }
    }
}
