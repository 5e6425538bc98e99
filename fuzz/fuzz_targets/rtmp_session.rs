//! An encoder's bytes through session, FLV and timeline.
//!
//! The first byte is the size of the pieces in which the rest arrives; its top bit says whether a
//! handshake comes first. Whoever asks may publish.
#![no_main]

use std::time::Duration;

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use weir::ingest::{MediaEvent, MultitrackInput};
use weir::ingest::demux::Demuxer;
use weir::ingest::session::{Event, Session};
use weir::media::TrackKind;

fuzz_target!(|data: &[u8]| {
    let Some((&first, rest)) = data.split_first() else {
        return;
    };
    let remote = ([192, 0, 2, 1], 1935).into();
    let mut session = match first >> 7 {
        0 => Session::new_after_handshake(remote),
        _ => Session::new(remote),
    };
    let mut demuxer = Demuxer::new(MultitrackInput::Allowed);
    let mut input = BytesMut::new();
    let (mut last_video, mut last_audio) = (-1, None);
    let mut now = Duration::ZERO;
    for piece in rest.chunks(usize::from(first & 127) + 1) {
        now += Duration::from_millis(10);
        input.extend_from_slice(piece);
        loop {
            let event = match session.poll(&mut input) {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(_) => return,
            };
            let media = match event {
                Event::Publish(_) => {
                    session.accept().expect("our own words can be written");
                    None
                }
                Event::Video { timestamp, body } => match demuxer.video(timestamp, &body, now) {
                    Ok(media) => media,
                    Err(_) => return,
                },
                Event::Audio { timestamp, body } => match demuxer.audio(timestamp, &body, now) {
                    Ok(media) => media,
                    Err(_) => return,
                },
                Event::Metadata(metadata) => {
                    demuxer.metadata(&metadata);
                    None
                }
                Event::Text(_) => None,
                Event::Unpublished => return,
            };
            let mut next = media;
            while let Some(media) = next {
                match media {
                    // A new sampling rate changes the unit of audio times.
                    MediaEvent::AudioConfig(_) => last_audio = None,
                    MediaEvent::Sample(sample) => match sample.track {
                        TrackKind::Video => {
                            assert!(sample.dts > last_video, "video goes back");
                            last_video = sample.dts;
                        }
                        TrackKind::Audio => {
                            assert!(
                                Some(sample.dts) > last_audio && sample.dts >= 0,
                                "audio goes back"
                            );
                            last_audio = Some(sample.dts);
                        }
                    },
                    _ => {}
                }
                next = demuxer.rest();
            }
        }
        session.take_outgoing();
    }
});
