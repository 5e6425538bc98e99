//! Reads the pictures of a fragment of this room back: a window's media is the one place that keeps them.
//!
//! In:  a part's bytes, as `fragment` writes them. Out: its pictures; their data is shared with the bytes.
//! Not here: sound, other people's files.

use bytes::Bytes;
use mp4_atom::{Atom as _, Decode as _, Header, Moof};

use super::VIDEO_TRACK_ID;
use super::fragment::FLAGS_SYNC;
use crate::media::{Sample, TrackKind};

/// The pictures of a part in decode order; none if it has none, or is not of ours. They are shown when they were shown
/// before they were written; decoding times are those written.
pub fn pictures(part: &Bytes) -> Vec<Sample> {
    read(part).unwrap_or_default()
}

fn read(part: &Bytes) -> Option<Vec<Sample>> {
    let mut rest = &part[..];
    let (mut moof, mut begin) = (None, 0);
    while moof.is_none() {
        begin = part.len() - rest.len();
        let header = Header::decode(&mut rest).ok()?;
        let size = header.size?;
        if header.kind == Moof::KIND {
            moof = Some(Moof::decode_body(&mut rest.get(..size)?).ok()?);
        } else {
            rest = rest.get(size..)?;
        }
    }
    let moof = moof?;
    let of_video = |traf: &&mp4_atom::Traf| traf.tfhd.track_id == VIDEO_TRACK_ID;
    let traf = moof.traf.iter().find(of_video)?;
    let run = traf.trun.first()?;
    let mut dts = i64::try_from(traf.tfdt.as_ref()?.base_media_decode_time).ok()?;
    let mut at = begin.checked_add(usize::try_from(run.data_offset?).ok()?)?;
    let mut samples = Vec::with_capacity(run.samples.len());
    for entry in &run.samples {
        let end = at.checked_add(usize::try_from(entry.size?).ok()?)?;
        let flags = entry.flags.or(traf.tfhd.default_sample_flags)?;
        let duration = entry.duration.or(traf.tfhd.default_sample_duration)?;
        samples.push(Sample {
            track: TrackKind::Video,
            dts,
            composition_offset: i32::try_from(entry.cts.unwrap_or(0)).ok()?,
            is_sync: flags == FLAGS_SYNC,
            data: (end <= part.len()).then(|| part.slice(at..end))?,
        });
        dts = dts.checked_add(i64::from(duration))?;
        at = end;
    }
    Some(samples)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packaging::fragment::{Run, write};

    fn picture(dts: i64, composition_offset: i32, is_sync: bool, data: &'static [u8]) -> Sample {
        Sample {
            track: TrackKind::Video,
            dts,
            composition_offset,
            is_sync,
            data: Bytes::from_static(data),
        }
    }

    #[test]
    fn what_was_written_is_read_back_and_shown_at_the_same_time() {
        let pictures_of = [
            picture(9000, 6000, true, b"idr"),
            picture(12_000, 12_000, false, b"p"),
            picture(15_001, 3000, false, b"b pictures"),
        ];
        let sound = [Sample::audio(7, Bytes::from_static(b"sound"))];
        let run = |track_id, samples, end, decode_shift| Run {
            track_id,
            samples,
            end,
            decode_shift,
        };
        for shift in [0, 6000] {
            let video = run(1, &pictures_of[..], 18_000, shift);
            let part = write(
                3,
                b"\0\0\0\x0cemsgtext",
                &[video, run(2, &sound[..], 1031, 0)],
            );
            let read = pictures(&part);
            let facts = |s: &Sample| (s.pts(), s.is_sync, s.data.clone());
            assert!(read.iter().map(facts).eq(pictures_of.iter().map(facts)));
            assert_eq!(read[0].dts, 9000 + i64::from(shift));
        }
    }

    #[test]
    fn what_is_cut_off_or_none_of_ours_has_no_pictures() {
        let all = [picture(0, 0, true, b"picture")];
        let video = |track_id| {
            let run = Run {
                track_id,
                samples: &all,
                end: 3000,
                decode_shift: 0,
            };
            write(1, &[], &[run])
        };
        assert_eq!(pictures(&video(2)), []);
        let part = video(1);
        for len in 0..part.len() {
            assert_eq!(pictures(&part.slice(..len)), [], "{len} bytes");
        }
    }
}
