#!/usr/bin/env bash
# Makes the clips that tests publish, once, into target/clips (git-ignored): no test encodes live video.
# usage: tests/clips.sh [demo|bench]    all test clips, or the one clip of `make demo` or `make bench`
# Safe to call again, and at the same time from several processes: each clip appears whole, by rename. A changed
# recipe (this file) makes all clips anew.
#
# H.264 + AAC-LC in FLV, as an encoder would send it: closed GOPs of exactly the stated length, no scene cuts,
# decoding times from zero; stereo 48 kHz and GOPs of 2 s unless said. testsrc2 burns frame time and number into the picture.
set -euo pipefail
cd "$(dirname "$0")/.."
OUT=target/clips
mkdir -p "$OUT"
exec 9>"$OUT/.lock"
flock 9
made_by=$(cksum <tests/clips.sh)
if [ "$(cat "$OUT/.made-by" 2>/dev/null)" != "$made_by" ]; then
    rm -f "$OUT"/*.flv
    echo "$made_by" >"$OUT/.made-by"
fi

# clip NAME SECONDS SIZE RATE GOP_FRAMES B_FRAMES AUDIO...   AUDIO: ffmpeg arguments; none = no audio track
clip() {
    local name=$1 seconds=$2 size=$3 rate=$4 gop=$5 b_frames=$6
    shift 6
    [ -e "$OUT/$name.flv" ] && return
    local audio_input=() audio_output=(-an)
    if [ $# -gt 0 ]; then
        local delay=${AUDIO_DELAY:-0}
        audio_input=(-itsoffset "$delay" -f lavfi -i "sine=frequency=440:beep_factor=4:sample_rate=48000:duration=$((seconds - delay))")
        audio_output=(-map 1:a -c:a aac "$@")
    fi
    ffmpeg -nostdin -loglevel error -y \
        -f lavfi -i "testsrc2=size=$size:rate=$rate:duration=$seconds" "${audio_input[@]}" \
        -map 0:v -c:v libx264 -preset "${PRESET:-veryfast}" -pix_fmt yuv420p -profile:v "${PROFILE:-high}" \
        -g "$gop" -keyint_min "$gop" -sc_threshold 0 -bf "$b_frames" -flags +cgop \
        -b:v "${BITRATE:-300k}" -maxrate "${BITRATE:-300k}" -bufsize "${BITRATE:-300k}" \
        "${audio_output[@]}" -flvflags no_duration_filesize -f flv "$OUT/$name.tmp"
    mv "$OUT/$name.tmp" "$OUT/$name.flv"
}
STEREO=(-ac 2 -ar 48000 -b:a 64k)

if [ "${1:-}" = bench ]; then
    # The same kind of picture, long enough to be sent once: the seam of a loop is a hiccup of its own.
    BITRATE=3000k clip bench 80 1280x720 30 60 2 -ac 2 -ar 48000 -b:a 160k
    exit
fi
if [ "${1:-}" = demo ]; then
    # 720p30 at 3 Mb/s with B-frames, as OBS sends it; looped, the seam is 11 ms.
    BITRATE=3000k clip demo 20 1280x720 30 60 2 -ac 2 -ar 48000 -b:a 160k
    exit
fi

# Frame rates: with and without B-frames; 29.97 has a GOP of 2.002 s, 12.5 and 10 are slower than three parts a second want.
clip fps24 8 320x180 24 48 2 "${STEREO[@]}"
clip fps25 8 320x180 25 50 0 "${STEREO[@]}"
clip fps29_97 8 320x180 30000/1001 60 0 "${STEREO[@]}"
clip fps30 8 320x180 30 60 2 "${STEREO[@]}"
clip fps60 8 320x180 60 120 2 "${STEREO[@]}"
PROFILE=baseline clip fps12_5 8 320x180 25/2 25 0 "${STEREO[@]}"
PROFILE=baseline clip fps10 8 320x180 10 20 0 "${STEREO[@]}"
# 600 frames for counting what a browser decodes.
BITRATE=800k clip fps30_20s 20 640x360 30 60 2 "${STEREO[@]}"
# Another resolution than fps30: an encoder that returns with changed parameters.
BITRATE=600k clip fps30_480p 8 854x480 30 60 2 "${STEREO[@]}"
# No audio track at all.
clip noaudio30 8 320x180 30 60 2
# Audio of an unusual shape: mono at 22.05 kHz; six channels, which are refused in words.
clip mono22050 8 320x180 30 60 2 -ac 1 -ar 22050 -b:a 48k
clip audio51 8 320x180 30 60 2 -ac 6 -ar 48000 -b:a 192k
# Declared at the start, but the first audio frame comes 4 s later.
AUDIO_DELAY=4 clip late_audio 12 320x180 30 60 2 "${STEREO[@]}"
# A GOP of 10 s, as x264's default allows: too long to pass through in 2 s segments.
clip longgop 12 320x180 30 300 2 "${STEREO[@]}"
