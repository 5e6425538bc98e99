//! What libav can do here; the ladder's home.
//!
//! In:  nothing. Out: [`codecs::Codecs`], for `weir check`.
//! Not here: boxes, playlists. `ffmpeg_next` is used in this room only.

pub mod codecs;
