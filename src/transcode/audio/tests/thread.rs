//! What outlives a full queue, a panic and a listener who leaves.

use std::sync::mpsc::{channel, sync_channel};
use std::time::Duration;

use super::*;
use crate::media::codec::AudioKind;

/// What has not come by then hangs.
const DEADLINE: Duration = Duration::from_mins(1);

#[test]
fn equal_settings_have_equal_configurations() {
    let source = Source::clicking(44_100, 2, 100, &[], 0);
    let configs = || Run::start(&source.config, &ENCODES).configs;
    assert_eq!(configs(), configs());
    assert_eq!(configs()[0], configs()[2]);
}

#[test]
fn a_configuration_that_cannot_be_decoded_is_refused() {
    // AAC Main with a reserved frequency extension is no stream that libav opens.
    let bytes = Bytes::from_static(&[0xf9, 0x26, 0x20]);
    let config = AudioConfig::parse(AudioKind::Aac, &bytes).unwrap();
    assert!(AudioWorker::start((&Arc::new(config), 256), &ENCODES, |_| true).is_err());
}

#[test]
fn a_full_queue_never_waits_and_the_loss_is_silence() {
    let source = Source::clicking(48_000, 2, 10_000, &[300, 9000], 0);
    let (output_tx, output_rx) = channel();
    let (started_tx, started_rx) = channel();
    let (go_tx, go_rx) = sync_channel::<()>(0);
    let mut is_going = false;
    let emit = move |output| {
        if !is_going {
            started_tx.send(()).unwrap();
            go_rx.recv_timeout(DEADLINE).unwrap();
            is_going = true;
        }
        output_tx.send(output).is_ok()
    };
    let encodes = &ENCODES[..1];
    let (mut worker, configs) = AudioWorker::start((&source.sound(), 256), encodes, emit).unwrap();
    // The thread stands still: 10 s come, of which 5 s and a bit have room.
    let (early, late) = source.samples.split_at(415);
    for sample in early {
        worker.push(sample.clone());
    }
    started_rx.recv_timeout(DEADLINE).unwrap();
    go_tx.send(()).unwrap();
    let mut outputs = output_rx.iter().map(|output| match output {
        AudioOutput::Sample { sample, .. } => sample,
        AudioOutput::Failed { what } => panic!("{what}"),
    });
    // What had room has come out when this one comes.
    let mut samples: Vec<_> = outputs.by_ref().take(200).collect();
    for sample in late {
        worker.push(sample.clone());
    }
    worker.finish().unwrap().join().unwrap();
    samples.extend(outputs);
    let sound = Sound {
        tracks: vec![Source {
            config: Arc::clone(&configs[0]),
            samples,
        }],
        failures: 0,
    };
    sound.check_grid(0, 0).check_clicks(&[300, 9000]);
}

#[test]
fn a_panic_costs_a_moment_and_the_grid_goes_on() {
    let source = Source::clicking(48_000, 2, 4000, &[300, 3500], 5);
    let (output_tx, output_rx) = channel();
    let mut count = 0;
    let emit = move |output| {
        count += 1;
        // In the middle of a frame: some encodes have it, some have not. Then two in a row.
        assert!(![100, 160, 162].contains(&count), "a panic for the test");
        output_tx.send(output).is_ok()
    };
    let (worker, configs) = AudioWorker::start((&source.sound(), 256), &ENCODES, emit).unwrap();
    let run = Run {
        worker,
        configs,
        output_rx,
    };
    let count = source.samples.len();
    let mut sound = run.push(source.samples).finish();
    assert_eq!(sound.failures, 3);
    let mut missing = 0;
    for track in &mut sound.tracks {
        missing += count - track.samples.len();
        track.samples.retain(|sample| sample.dts > 3 * 48_000);
    }
    assert_eq!(missing, 3, "only what was being given");
    let first = sound.tracks[0].samples[0].dts;
    assert_eq!(first % 1024, 5);
    sound.check_grid(first, 0).check_clicks(&[3500]);
}

#[test]
fn a_listener_who_leaves_ends_the_thread() {
    let source = Source::clicking(48_000, 2, 1000, &[], 0);
    let (alive_tx, alive_rx) = channel::<()>();
    let emit = move |_| {
        let _is_held = &alive_tx;
        false
    };
    let (mut worker, _) = AudioWorker::start((&source.sound(), 256), &ENCODES, emit).unwrap();
    source
        .samples
        .into_iter()
        .for_each(|sample| worker.push(sample));
    let ended = Err(std::sync::mpsc::RecvTimeoutError::Disconnected);
    assert_eq!(
        alive_rx.recv_timeout(DEADLINE),
        ended,
        "the closure is dropped"
    );
}

#[test]
fn dropping_stops_without_draining() {
    let source = Source::clicking(48_000, 2, 2000, &[], 0);
    let (output_tx, output_rx) = sync_channel(0);
    let emit = move |output| output_tx.send(output).is_ok();
    let (mut worker, _) = AudioWorker::start((&source.sound(), 256), &ENCODES, emit).unwrap();
    source
        .samples
        .into_iter()
        .for_each(|sample| worker.push(sample));
    output_rx.recv_timeout(DEADLINE).unwrap();
    drop(worker);
    // What one queued sample makes may still come.
    assert!(output_rx.iter().count() <= 6);
}
