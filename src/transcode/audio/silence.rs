//! One AAC frame of silence, for a stream whose sound is missing.
//!
//! In:  the configuration that the frame must suit. Out: the frame, which is kept.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::decoder::{Decoder, Pcm};
use super::encoder::Encoder;
use super::{Error, FRAME_TICKS, Shape, ticks};
use crate::media::codec::{AudioKind, aac};

/// Frames after which the encoder has settled.
const FRAMES: i64 = 8;
/// Bit rate asked for, per channel; silence needs next to nothing.
const BITRATE_BPS: u32 = 16_000;
/// What counts as silence: -90 dB.
const QUIET: f32 = 3e-5;

/// Most configurations whose frame is kept: more than encoders have.
const MAX_KEPT: usize = 64;

/// One raw AAC frame of silence that decodes with `config` (1024 ticks of its sampling rate).
/// Takes some milliseconds once for each configuration.
///
/// # Errors
/// If `config` is not AAC-LC, or of a layout or rate that cannot be encoded.
pub fn silent_frame(config: &aac::Config) -> Result<Bytes, Error> {
    static KEPT: Mutex<Vec<(aac::Config, Bytes)>> = Mutex::new(Vec::new());
    let kept = || KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, frame)) = kept().iter().find(|(known, _)| known == config) {
        return Ok(frame.clone());
    }
    let frame = encode(config)?;
    let mut kept = kept();
    if kept.len() < MAX_KEPT {
        // Not a slice of what was received with it.
        let bytes = Bytes::copy_from_slice(&config.bytes);
        kept.push((
            aac::Config {
                bytes,
                ..config.clone()
            },
            frame.clone(),
        ));
    }
    Ok(frame)
}

fn encode(config: &aac::Config) -> Result<Bytes, Error> {
    let unsupported = || Error::Unsupported(format!("silence for {}", config.describe()));
    if config.object_type != 2 || config.channels == 0 {
        return Err(unsupported());
    }
    let shape = Shape {
        rate: config.sample_rate,
        channels: usize::from(config.channels),
    };
    let bitrate_bps = BITRATE_BPS * u32::from(config.channels);
    let mut encoder = Encoder::open(shape, bitrate_bps)?;
    let zeros = Pcm::silent(shape.rate, shape.channels, super::FRAME)?.frame;
    let mut last = None;
    for n in 0..FRAMES {
        let encoded = encoder.encode(&zeros, n * FRAME_TICKS, &mut |sample| {
            last = Some(sample.data);
            Ok(())
        });
        encoded.map_err(|_| unsupported())?;
    }
    let frame = last.ok_or_else(unsupported)?;
    if is_silent(config, &frame)? {
        Ok(frame)
    } else {
        Err(unsupported())
    }
}

/// Whether a decoder of `config` makes a frame of silence of it, twice in a row.
fn is_silent(config: &aac::Config, frame: &[u8]) -> Result<bool, Error> {
    let mut decoder = Decoder::open(AudioKind::Aac, &config.bytes)?;
    let mut is_silent = || {
        decoder.decode(frame).is_some_and(|pcm| {
            let lasts = i64::from(config.sample_rate) * ticks(pcm.frame.samples());
            let is_quiet = |channel| {
                let mut values = pcm.frame.plane::<f32>(channel).iter();
                values.all(|value| value.abs() < QUIET)
            };
            lasts == i64::from(pcm.rate) * FRAME_TICKS
                && (pcm.channels == usize::from(config.channels))
                && (0..pcm.channels).all(is_quiet)
        })
    };
    Ok(is_silent() && is_silent())
}
