//! The mixer alone, sample by sample.

use super::super::mixer::Mixer;
use super::*;
use crate::media::Timescale;

/// A level signal of 0.5 in all channels.
fn level(rate: u32, channels: usize) -> Pcm {
    let mut pcm = Pcm::silent(rate, channels, FRAME).unwrap();
    for channel in 0..channels {
        pcm.frame.plane_mut::<f32>(channel).fill(0.5);
    }
    pcm
}

/// Pushes frames at these times (ticks) and returns those that come out: `dts` and first plane.
fn mix(shape: Shape, rate: u32, times: &[i64]) -> Vec<(i64, Vec<f32>)> {
    let mut mixer = Mixer::new(shape, None).unwrap();
    let mut frames = Vec::new();
    let mut sink = |frame: &ffmpeg_next::frame::Audio, dts| {
        frames.push((dts, frame.plane::<f32>(0).to_vec()));
        Ok(())
    };
    for at in times {
        let timescale = Timescale::new(rate).unwrap();
        mixer
            .push(*at, timescale, &level(rate, 1), &mut sink)
            .unwrap();
    }
    mixer.finish(&mut sink).unwrap();
    frames
}

const MONO: Shape = Shape {
    rate: 44_100,
    channels: 1,
};

#[test]
fn every_sample_comes_out_even_the_resamplers_last() {
    let frames = mix(MONO, 22_050, &[0, 1024]);
    assert_eq!(frames.len(), 4);
    for (n, (dts, values)) in (0..).zip(&frames) {
        assert_eq!(*dts, n * 1024);
        assert!(values.iter().all(|value| (value - 0.5).abs() < 0.01), "{n}");
    }
}

#[test]
fn a_gap_is_filled_to_the_sample_even_that_of_one_frame() {
    // In ticks of the input, of which each is two in the output.
    for (next, gap) in [(1500, 2048..3000), (2048, 2048..4096), (5000, 2048..10_000)] {
        let frames = mix(MONO, 22_050, &[0, next]);
        let line: Vec<_> = frames.into_iter().flat_map(|(_, values)| values).collect();
        let is_level = |value: &f32| (value - 0.5).abs() < 0.01;
        let end = gap.end + 2048;
        assert!(line[..gap.start].iter().all(is_level), "{next}");
        assert!(
            line[gap.clone()].iter().all(|value| *value == 0.0),
            "{next}"
        );
        assert!(line[gap.end..end].iter().all(is_level), "{next}");
        assert!(line[end..].iter().all(|value| *value == 0.0), "{next}");
    }
}

#[test]
fn absurd_times_are_neither_a_panic_nor_a_flood() {
    let times = [
        i64::MIN,
        i64::MIN + 1024,
        i64::MAX,
        0,
        i64::MAX - 5000,
        i64::MIN,
    ];
    assert!(mix(MONO, 44_100, &times).len() < 20);
    assert!(mix(MONO, 22_050, &times).len() < 20);
}
