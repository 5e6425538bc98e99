#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "the bytes are our own"
)]

use super::walk::{boxes, descend};
use super::*;

/// A box around `body`.
fn wrap(kind: [u8; 4], body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len() + 8).unwrap();
    [&size.to_be_bytes()[..], &kind, body].concat()
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// A section of one video track without decoder configuration, 90 kHz, id 1.
fn init() -> Vec<u8> {
    let tkhd = wrap(*b"tkhd", &words(&[7, 0, 0, 1, 0, 0]));
    section(&tkhd, &wrap(*b"vp09", &[0; 78]))
}

/// As [`init`], with this `tkhd` and whatever is to stand behind it, and this sample entry.
fn section(tkhd: &[u8], entry: &[u8]) -> Vec<u8> {
    let mdhd = wrap(*b"mdhd", &words(&[0, 0, 0, 90_000, 0, 0]));
    let hdlr = wrap(*b"hdlr", &[&words(&[0, 0])[..], b"vide", &[0; 13]].concat());
    let stsd = wrap(*b"stsd", &[&words(&[0, 1])[..], entry].concat());
    let stts = wrap(*b"stts", &words(&[0, 0]));
    let minf = wrap(*b"minf", &wrap(*b"stbl", &[stsd, stts].concat()));
    let trak = wrap(
        *b"trak",
        &[tkhd.to_vec(), wrap(*b"mdia", &[mdhd, hdlr, minf].concat())].concat(),
    );
    let mvhd = wrap(*b"mvhd", &words(&[0, 0, 0, 1000, 0]));
    let mvex = wrap(
        *b"mvex",
        &wrap(*b"trex", &words(&[0, 1, 1, 3000, 4, NON_SYNC])),
    );
    let moov = wrap(*b"moov", &[mvhd, trak, mvex].concat());
    [wrap(*b"ftyp", b"iso6\0\0\0\0"), moov].concat()
}

const NON_SYNC: u32 = 0x0001_0000;

/// A fragment of three samples of 4 bytes from tick 9000 on, the first a sync sample.
fn fragment() -> Vec<u8> {
    let tfhd = wrap(*b"tfhd", &words(&[0x0002_0000, 1]));
    let tfdt = wrap(*b"tfdt", &words(&[0, 9000]));
    let trun = |offset| wrap(*b"trun", &words(&[0x0805, 3, offset, 0, 6000, 0, 3000]));
    let moof = |offset| {
        let traf = [tfhd.clone(), tfdt.clone(), trun(offset)].concat();
        wrap(*b"moof", &wrap(*b"traf", &traf))
    };
    let offset = u32::try_from(moof(0).len() + 8).unwrap();
    [moof(offset), wrap(*b"mdat", b"aaaabbbbcccc")].concat()
}

#[test]
fn a_section_and_a_fragment_are_read() {
    let init = Init::parse(&init()).unwrap();
    assert!(init.has_mvex && init.begins_with_ftyp);
    assert!(!init.has_duration && !init.has_samples);
    let track = init.first(Kind::Video).unwrap();
    assert_eq!(
        (track.id, track.timescale, &*track.entry),
        (1, 90_000, "vp09")
    );

    let media = Media::parse(&fragment(), &init).unwrap();
    assert_eq!((media.fragments, &media.oddities[..]), (1, &[][..]));
    let times: Vec<_> = media
        .samples
        .iter()
        .map(|s| (s.dts, s.pts, s.is_sync))
        .collect();
    assert_eq!(
        times,
        [
            (9000, 15_000, true),
            (12_000, 12_000, false),
            (15_000, 18_000, false)
        ]
    );
    assert_eq!(media.ticks(1), 9000);
    let [a, b, _] = &media.samples[..] else {
        panic!("{media:?}")
    };
    assert_ne!(a.digest, b.digest);
}

#[test]
fn what_is_odd_is_said() {
    let init = Init::parse(&init()).unwrap();
    let fragment = fragment();
    let swapped = [wrap(*b"mdat", b""), wrap(*b"what", b""), fragment.clone()].concat();
    let media = Media::parse(&swapped, &init).unwrap();
    let kinds: Vec<_> = media.oddities.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, ["mdat-without-moof", "strange-box"]);
    for cut in 1..fragment.len() {
        let cut_off = Media::parse(&fragment[..cut], &init);
        let is_odd = cut_off.is_err() || cut_off.is_ok_and(|media| !media.oddities.is_empty());
        assert!(is_odd, "{cut} bytes");
    }
}

#[test]
fn sizes_for_display_edits_and_what_encryption_hides_are_read() {
    let mut fields = vec![0; 21];
    (fields[3], fields[19], fields[20]) = (1, 1024 << 16, 576 << 16);
    let tkhd = wrap(*b"tkhd", &words(&fields));
    // Half a second of nothing in 1000ths, then the media from tick 48000 on.
    let edits = words(&[0, 2, 500, u32::MAX, 1 << 16, 0, 48_000, 1 << 16]);
    let edits = wrap(*b"edts", &wrap(*b"elst", &edits));
    let hidden = wrap(*b"sinf", &wrap(*b"frma", b"hvc1"));
    let entry = wrap(*b"encv", &[&[0; 78][..], &hidden].concat());
    let init = Init::parse(&section(&[tkhd, edits].concat(), &entry)).unwrap();
    let track = init.first(Kind::Video).unwrap();
    assert_eq!(track.display, Some((1024, 576)));
    assert_eq!(track.edit, 48_000 - 45_000);
    assert_eq!(track.entry, "hvc1");
}

/// A few bytes could make it read gigabytes.
#[test]
fn samples_do_not_lie_over_each_other() {
    let init = Init::parse(&init()).unwrap();
    // So many runs of one sample, all with the same data.
    let run = |count: u32| {
        let tfhd = wrap(*b"tfhd", &words(&[0x0002_0010, 1, 1_200]));
        let tfdt = wrap(*b"tfdt", &words(&[0, 9000]));
        let moof = |offset: u32| {
            let trun = |_| wrap(*b"trun", &words(&[1, 1, offset]));
            let truns = (0..count).flat_map(trun).collect::<Vec<_>>();
            let traf = [tfhd.clone(), tfdt.clone(), truns].concat();
            wrap(*b"moof", &wrap(*b"traf", &traf))
        };
        let offset = u32::try_from(moof(0).len() + 8).unwrap();
        [moof(offset), wrap(*b"mdat", &[7; 1_200])].concat()
    };
    assert_eq!(Media::parse(&run(1), &init).unwrap().samples.len(), 1);
    assert!(Media::parse(&run(200), &init).is_err());
}

#[test]
fn oddities_are_bounded() {
    let init = Init::parse(&init()).unwrap();
    let odd = wrap(*b"what", b"").repeat(1_000);
    assert_eq!(Media::parse(&odd, &init).unwrap().oddities.len(), 100);
}

#[test]
fn sizes_of_zero_and_64_bits() {
    let large = [
        &words(&[1])[..],
        b"free",
        &17u64.to_be_bytes(),
        b"x",
        &words(&[0]),
        b"mdat",
        b"yz",
    ];
    let bytes = large.concat();
    let found: Vec<_> = boxes(&bytes).map(|found| found.unwrap().body).collect();
    assert_eq!(found, [&b"x"[..], b"yz"]);
    assert_eq!(descend(&bytes, &[*b"none"]), None);
}

proptest::proptest! {
    /// One byte of a good file replaced by another, anywhere.
    #[test]
    fn nothing_panics(at in 0usize..600, byte: u8, cut in 0usize..600) {
        let (mut section, mut media) = (init(), fragment());
        for bytes in [&mut section, &mut media] {
            if let Some(old) = bytes.get_mut(at) {
                *old = byte;
            }
            bytes.truncate(bytes.len() - cut.min(bytes.len()) / 2);
        }
        if let Ok(init) = Init::parse(&section) {
            let samples = Media::parse(&media, &init).map_or(0, |media| media.samples.len());
            proptest::prop_assert!(samples <= 100_000);
        }
    }
}
