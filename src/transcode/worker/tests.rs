//! What the decode thread does with pictures that come oddly.

use super::*;
use crate::transcode::Config;
use crate::transcode::encoder::tests::with_b_pictures;
use crate::transcode::frame_clock::FrameRate;
use crate::transcode::outlet::outlet;

#[test]
fn a_slow_picture_does_not_cost_its_gop_each_time() {
    let step = 36_000; // Two and a half pictures a second.
    let (video, samples) = with_b_pictures(41, step);
    let rate = FrameRate::near(30_000);
    let clock = FrameClock::Constant(rate);
    let job = Job {
        video,
        audio: None,
        fps_millis: 2500,
        clock,
        segment_ms: 2000,
        begins_short: true,
        first_pts: None,
        rungs: Vec::new(),
        shed: 0,
        keeps_last: true,
        cold: 0,
        is_patient: false,
        audio_encodes: Vec::new(),
        config: Config::default(),
    };
    let (outlet, _products) = outlet(10_000);
    let mut worker = Worker::new(
        &job,
        Vec::new(),
        (outlet, Placement::new(1)),
        Default::default(),
    )
    .unwrap();
    let (mut now, mut heard, mut expelled) = (0, 0, 0);
    let mut hear = |worker: &mut Worker, until: i64| {
        for pts in (heard..until).step_by(1920) {
            let was_expelled = worker.is_expelled;
            worker.take(Input::Sound { pts }).unwrap();
            expelled += u32::from(worker.is_expelled && !was_expelled);
            heard = pts + 1920;
        }
        expelled
    };
    for sample in samples {
        // A picture is sent when it was taken; what refers to a later one behind that.
        now = now.max(sample.pts());
        hear(&mut worker, now);
        let picture = Input::Video {
            sample,
            arrival: Some(Instant::now()),
            opens_at: None,
            config: None,
            follows_loss: false,
            wanted: None,
        };
        worker.take(picture).unwrap();
    }
    let expelled = hear(&mut worker, now);
    assert!(expelled <= 2, "{expelled} times for 41 pictures");
    // It stands still: what the decoder keeps is shown all the same.
    hear(&mut worker, now + 4 * 90_000);
    assert_eq!(worker.last_pts, 40 * step);
}
