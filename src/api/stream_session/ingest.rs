//! What an encoder sends, in the words of a stream session.
//!
//! In:  what the registry knows of a live stream. Out: `ingestConfiguration`, `ingestConfigurations`.
//! Standard: RFC 6381 (the codec's name holds profile and level), H.264 annex A.

use serde_json::{Map, Value, json};

use crate::api::Sources;
use crate::live::{Ingest, Status, TrackIngest};
use crate::model::StreamSession;

/// The member that a session has once its stream is known.
pub(super) const MEMBER: &str = "ingestConfiguration";

/// Both members, while the session is live; none otherwise.
pub(super) fn members(sources: &Sources, session: &StreamSession) -> Map<String, Value> {
    let known = sources.registry.health(&session.channel_id);
    let status = known.map(|(status, _)| status);
    let status = status.filter(|status| status.stream_id == session.stream_id);
    let members = status.and_then(|status| Some(describe(&status, status.ingest.as_ref()?)));
    members.unwrap_or_default()
}

fn describe(status: &Status, ingest: &Ingest) -> Map<String, Value> {
    let audio_bps = ingest.audio.as_ref().map_or(0, |audio| audio.bps);
    let video_bps = ingest
        .declared_bps
        .map_or(0, |bps| bps.saturating_sub(u64::from(audio_bps)));
    let (profile, level) = profile_and_level(&ingest.video_codec);
    let (width, height) = status.size;
    let video = json!({
        "codec": ingest.video_codec,
        "encoder": ingest.encoder,
        "targetBitrate": video_bps,
        "targetFramerate": (status.fps_millis + 500) / 1000,
        "videoWidth": width,
        "videoHeight": height,
        "profile": profile,
        "level": level,
        "track": "Track0",
    });
    let audio = ingest.audio.as_ref().map(|audio| {
        json!({
            "codec": audio.codec,
            "targetBitrate": audio.bps,
            "sampleRate": audio.sample_rate,
            "channels": audio.channels,
            "track": "Track0",
        })
    });
    let with = |mut video: Value, profile: &str, level: &str| {
        video["avcProfile"] = json!(profile);
        video["avcLevel"] = json!(level);
        video
    };
    let mut first = json!({"video": with(video.clone(), profile, &level)});
    if let Some(audio) = &audio {
        first["audio"] = audio.clone();
    }
    let mut videos = vec![with(video, "", "")];
    for (number, track) in &ingest.tracks {
        videos.push(with(further(status, ingest, *number, track), "", ""));
    }
    let all = json!({
        "videoConfigurations": videos,
        "audioConfigurations": audio.into_iter().collect::<Vec<_>>(),
    });
    Map::from_iter([
        (MEMBER.to_owned(), first),
        ("ingestConfigurations".to_owned(), all),
    ])
}

/// A track that is not the first. Encoders declare one rate for all of them.
fn further(status: &Status, ingest: &Ingest, number: u8, track: &TrackIngest) -> Value {
    let (profile, level) = profile_and_level(&track.codec);
    let (width, height) = track.size;
    let fps_millis = track.fps_millis.unwrap_or(status.fps_millis);
    json!({
        "codec": track.codec,
        "encoder": ingest.encoder,
        "targetBitrate": 0,
        "targetFramerate": (fps_millis + 500) / 1000,
        "videoWidth": width,
        "videoHeight": height,
        "profile": profile,
        "level": level,
        "track": format!("Track{number}"),
    })
}

/// Of `avc1.PPCCLL`; empty for another codec.
fn profile_and_level(codec: &str) -> (&'static str, String) {
    let digits = codec
        .strip_prefix("avc1.")
        .filter(|digits| digits.len() == 6);
    let byte = |range| u8::from_str_radix(digits?.get(range)?, 16).ok();
    let (Some(profile), Some(level)) = (byte(0..2), byte(4..6)) else {
        return ("", String::new());
    };
    let profile = match profile {
        66 => "Baseline",
        77 => "Main",
        88 => "Extended",
        100 => "High",
        110 => "High10",
        122 => "High422",
        244 => "High444",
        _ => "",
    };
    (profile, format!("{}.{}", level / 10, level % 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codec_names_profile_and_level() {
        for (codec, profile, level) in [
            ("avc1.42C028", "Baseline", "4.0"),
            ("avc1.64001f", "High", "3.1"),
            ("avc1.4d4033", "Main", "5.1"),
            ("hvc1.1.6.L93.B0", "", ""),
            ("avc1.64", "", ""),
        ] {
            assert_eq!(
                profile_and_level(codec),
                (profile, level.to_owned()),
                "{codec}"
            );
        }
    }
}
