//! AAC: the `AudioSpecificConfig` of FLV's sequence header and of the `esds` box.
//!
//! In:  the bytes of ISO/IEC 14496-3 §1.6.2.1. Out: [`Config`]. Not here: AAC decoding; SBR that
//! is only signalled implicitly (it decodes as AAC-LC at the core rate, which is what is said).

use bytes::Bytes;

use super::Error;
use super::bits::Bits;
use crate::media::time::Timescale;

/// Samples per channel in one AAC frame; frames of 960 are refused.
pub const SAMPLES_PER_FRAME: i64 = 1024;

/// Most bytes a configuration may have; real ones have 2 to 16.
const MAX_BYTES: usize = 64;

/// An AAC decoder configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The `AudioSpecificConfig`, byte for byte.
    pub bytes: Bytes,
    /// Audio object type: 2 is AAC-LC, 5 and 29 are HE-AAC.
    pub object_type: u8,
    /// Core sampling rate in Hz; never zero.
    pub sample_rate: u32,
    /// 1 mono, 2 stereo, up to 8; 0 means "described in the stream".
    pub channels: u8,
}

impl Config {
    /// Parses an `AudioSpecificConfig`.
    pub fn parse(bytes: &Bytes) -> Result<Self, Error> {
        if bytes.len() > MAX_BYTES {
            return Err(malformed(format!(
                "{} bytes, at most {MAX_BYTES}",
                bytes.len()
            )));
        }
        let mut bits = Bits::new(bytes);
        let mut take = |count| {
            bits.take(count)
                .ok_or_else(|| malformed("ends too early".into()))
        };
        let object_type = match take(5)? {
            31 => take(6)?.saturating_add(32),
            short => short,
        };
        let sample_rate = match take(4)? {
            15 => take(24)?,
            index => sampling_rate(index)
                .ok_or_else(|| malformed(format!("sampling frequency index {index}")))?,
        };
        let channels = match take(4)? {
            7 => 8,
            layout @ 0..=6 => layout,
            layout => return Err(malformed(format!("channel configuration {layout}"))),
        };
        if sample_rate == 0 {
            return Err(malformed("sampling rate 0".into()));
        }
        if object_type == 2 && take(1)? == 1 {
            let detail = "frames of 960 samples".into();
            return Err(Error::Unsupported {
                what: "AudioSpecificConfig",
                detail,
            });
        }
        let narrow = |v: u32| u8::try_from(v).unwrap_or(u8::MAX);
        let (object_type, channels) = (narrow(object_type), narrow(channels));
        Ok(Self {
            bytes: bytes.clone(),
            object_type,
            sample_rate,
            channels,
        })
    }

    /// Ticks per second of the track: the sampling rate.
    pub fn timescale(&self) -> Timescale {
        Timescale::new(self.sample_rate).unwrap_or(Timescale::MILLIS)
    }

    /// RFC 6381 codec string, for example `mp4a.40.2`.
    pub fn codec_string(&self) -> String {
        format!("mp4a.40.{}", self.object_type)
    }

    /// Whether every player takes it as it is: AAC-LC, mono or stereo.
    pub fn is_stereo_or_mono_lc(&self) -> bool {
        self.object_type == 2 && matches!(self.channels, 1 | 2)
    }

    /// Whether it is passed through where that is asked for: as [`Self::is_stereo_or_mono_lc`], at one
    /// of the two usual rates.
    pub fn is_widely_playable(&self) -> bool {
        self.is_stereo_or_mono_lc() && matches!(self.sample_rate, 44_100 | 48_000)
    }

    /// The configuration in words, for notices and logs.
    pub fn describe(&self) -> String {
        let profile = match self.object_type {
            2 => "AAC-LC".to_owned(),
            5 => "HE-AAC".to_owned(),
            29 => "HE-AAC v2".to_owned(),
            other => format!("AAC object type {other}"),
        };
        let layout = match self.channels {
            0 => "unusual channel layout".to_owned(),
            1 => "mono".to_owned(),
            2 => "stereo".to_owned(),
            6 => "5.1".to_owned(),
            8 => "7.1".to_owned(),
            n => format!("{n} channels"),
        };
        format!("{profile}, {layout}, {} Hz", self.sample_rate)
    }
}

fn malformed(detail: String) -> Error {
    Error::Malformed {
        what: "AudioSpecificConfig",
        detail,
    }
}

/// ISO/IEC 14496-3 table 1.18.
fn sampling_rate(index: u32) -> Option<u32> {
    const RATES: [u32; 13] = [
        96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025,
        8_000, 7_350,
    ];
    RATES.get(usize::try_from(index).ok()?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &'static [u8]) -> Result<Config, Error> {
        Config::parse(&Bytes::from_static(bytes))
    }

    #[test]
    fn reads_what_encoders_send() {
        // OBS and ffmpeg: AAC-LC 48 kHz stereo; mono 22.05 kHz; 5.1; an explicit rate.
        let cases: [(&[u8], u8, u32, u8, &str); 5] = [
            (&[0x11, 0x90], 2, 48_000, 2, "AAC-LC, stereo, 48000 Hz"),
            (
                &[0x12, 0x10, 0x56, 0xe5, 0x00],
                2,
                44_100,
                2,
                "AAC-LC, stereo, 44100 Hz",
            ),
            (&[0x13, 0x88], 2, 22_050, 1, "AAC-LC, mono, 22050 Hz"),
            (&[0x11, 0xb0], 2, 48_000, 6, "AAC-LC, 5.1, 48000 Hz"),
            (
                &[0x17, 0x80, 0x5d, 0xc0, 0x10],
                2,
                48_000,
                2,
                "AAC-LC, stereo, 48000 Hz",
            ),
        ];
        for (bytes, object_type, rate, channels, words) in cases {
            let config = parse(bytes).unwrap();
            assert_eq!(
                (config.object_type, config.sample_rate),
                (object_type, rate),
                "{bytes:x?}"
            );
            assert_eq!(
                (config.channels, config.describe().as_str()),
                (channels, words)
            );
        }
    }

    #[test]
    fn refuses_what_is_no_configuration() {
        for bytes in [
            &[][..],
            &[0x11],
            &[0x16, 0xf0],
            &[0x11, 0xc0],
            &[0x17, 0x80, 0, 0, 0x10],
        ] {
            assert!(parse(bytes).is_err(), "{bytes:x?}");
        }
        assert!(matches!(
            parse(&[0x11, 0x94]),
            Err(Error::Unsupported { .. })
        ));
        assert!(Config::parse(&Bytes::from(vec![0x11; 65])).is_err());
    }
}
