#!/usr/bin/env bash
# Makes the clips that tests publish, once, into target/clips (git-ignored): no test encodes live video.
# usage: tests/clips.sh [demo|bench]    all test clips, or the clip of `make demo`, or those of `make bench`
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
    rm -f "$OUT"/*.flv "$OUT"/*.mp4
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
# made NAME SECONDS AUDIO X264... : as `clip`, for pictures that SOURCE and FILTER describe (any lavfi), with the given
# x264 options and a sync sample each 2 s of time, whatever frames are there. AUDIO: an audio source, or "" for none.
made() {
    local name=$1 seconds=$2 audio=$3 audio_input=() audio_output=(-an)
    shift 3
    [ -e "$OUT/$name.flv" ] && return
    if [ -n "$audio" ]; then
        audio_input=(-f lavfi -i "$audio")
        audio_output=(-map 1:a -c:a aac -b:a "${AUDIO_BITRATE:-64k}")
    fi
    ffmpeg -nostdin -loglevel error -y -f lavfi -i "$SOURCE" "${audio_input[@]}" -t "$seconds" \
        -map 0:v -vf "${FILTER:-null}" -fps_mode vfr -c:v libx264 -preset "${PRESET:-veryfast}" \
        -g 1000 -sc_threshold 0 -flags +cgop -force_key_frames "expr:if(isnan(prev_forced_t),1,gte(t,prev_forced_t+${GOP_SECONDS:-2}))" \
        -b:v "${BITRATE:-300k}" -maxrate "${BITRATE:-300k}" -bufsize "${BITRATE:-300k}" "$@" \
        "${audio_output[@]}" -flvflags no_duration_filesize -f flv "$OUT/$name.tmp"
    mv "$OUT/$name.tmp" "$OUT/$name.flv"
}
# other NAME SECONDS GOP_FRAMES VIDEO... -- AUDIO... : the `sync` picture and sound in MP4, by other codecs than FLV of ffmpeg 5.1
# can carry. A test takes the file apart and sends it as Enhanced RTMP.
other() {
    local name=$1 seconds=$2 gop=$3 video=()
    shift 3
    [ -e "$OUT/$name.mp4" ] && return
    while [ "$1" != -- ]; do
        video+=("$1")
        shift
    done
    shift
    SVT_LOG=1 ffmpeg -nostdin -loglevel error -y -f lavfi -i "$flash" -f lavfi -i "aevalsrc='$beep|$beep':c=stereo:s=48000" \
        -t "$seconds" -pix_fmt yuv420p -g "$gop" "${video[@]}" "$@" -strict -2 "$OUT/$name.tmp.mp4"
    mv "$OUT/$name.tmp.mp4" "$OUT/$name.mp4"
}
STEREO=(-ac 2 -ar 48000 -b:a 64k)
TONE="sine=frequency=440:beep_factor=4:sample_rate=48000,aformat=channel_layouts=stereo"

if [ "${1:-}" = bench ]; then
    # The same kind of picture, long enough to be sent once: the seam of a loop is a hiccup of its own.
    BITRATE=3000k clip bench 80 1280x720 30 60 2 -ac 2 -ar 48000 -b:a 160k
    # For the ladder: a test picture, a fractal zoom and noise in one, so that motion costs what it costs on camera.
    export AUDIO_BITRATE=160k
    for kind in 1920x1080:30:6000k:60:2 1280x720:30:3000k:60:2 1920x1080:60:6000k:120:2 1920x1080:30:6000k:300:10; do
        IFS=: read -r size rate rate_bps gop gop_seconds <<<"$kind"
        name=bench_${size#*x}p$rate
        [ "$gop_seconds" = 2 ] || name+=_longgop
        width=${size%x*} height=${size#*x}
        half=$((width / 2))x$((height / 2))
        SOURCE="testsrc2=size=$size:rate=$rate[a];mandelbrot=size=$half:rate=$rate[b];[a][b]overlay=x=$((width / 4)):y=$((height / 4))" \
            FILTER="noise=alls=8:allf=t,format=yuv420p" BITRATE=$rate_bps GOP_SECONDS=$gop_seconds \
            made "$name" 40 "$TONE" -profile:v high -bf 3 -x264-params nal-hrd=cbr
    done
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

# What else a ladder is made from. Sizes: above each other in the rungs they give; odd shapes and pixels.
# With B pictures that others refer to: what is shown next may be decoded much later.
BITRATE=1500k clip ladder_720p30 8 1280x720 30 60 3 "${STEREO[@]}"
BITRATE=1200k clip ladder_480p60 8 854x480 60 120 2 "${STEREO[@]}"
BITRATE=600k clip ladder_360p30 12 640x360 30 60 2 "${STEREO[@]}"
clip portrait 8 360x640 30 60 2 "${STEREO[@]}"
PROFILE=baseline clip fps11 8 320x180 11 22 0 "${STEREO[@]}"
PROFILE=baseline clip fps5 8 320x180 5 10 0 "${STEREO[@]}"
BITRATE=600k SOURCE="testsrc2=size=720x576:rate=25" FILTER="setsar=16/11,format=yuv420p" made anamorphic 8 "$TONE" -bf 2
SOURCE="testsrc2=size=320x180:rate=30" FILTER="format=yuv422p10le" made high422 8 "$TONE" -profile:v high422 -bf 2
SOURCE="testsrc2=size=320x180:rate=30" FILTER="scale=out_range=full,format=yuvj420p" made fullrange 8 "$TONE" -color_range pc -bf 2
# Sent lying, to be shown turned by a quarter anticlockwise: what is left, and white, belongs below.
SOURCE="color=black:size=320x180:rate=30,drawbox=width=160:color=white:thickness=fill,format=yuv420p" \
    made rotated 8 "$TONE" -bf 2 -bsf:v h264_metadata=display_orientation=insert:rotate=90
# Of the size of ladder_360p30, with other parameter sets.
PROFILE=baseline BITRATE=600k clip plain_360p30 6 640x360 30 60 0 "${STEREO[@]}"
# 250 frames, which OBS sends when its keyframe interval is left at 0.
BITRATE=600k clip gop250_360p30 18 640x360 30 250 2 "${STEREO[@]}"
# What ladder_360p30 becomes when its encoder is set to GOPs of 10 s.
BITRATE=600k clip longgop_360p30 12 640x360 30 300 2 "${STEREO[@]}"
# 640x360, 10 s GOPs, six channels: what `-c copy` of a film sends.
BITRATE=600k clip longgop51 24 640x360 24 240 2 -ac 6 -ar 48000 -b:a 192k
# A screen sharer: 30 fps, then 5, then a second without any picture, then 15, then whenever something moves.
SOURCE="testsrc2=size=640x360:rate=30" FILTER="select='lt(t,3)+between(t,3,5.99)*not(mod(n,6))+between(t,7,8.99)*not(mod(n,2))+gte(t,9)*lt(mod(n*n+7*n,11),5)',format=yuv420p" \
    made vfr 14 "$TONE" -bf 0
# The picture stands still for 4 s, with and without sound going on.
still="select='lt(t,4)+gte(t,8)',format=yuv420p"
SOURCE="testsrc2=size=640x360:rate=30" FILTER=$still made standstill 12 "$TONE" -bf 0
SOURCE="testsrc2=size=640x360:rate=30" FILTER=$still made standstill_noaudio 12 "" -bf 0
# Each whole second a white flash and a beep begin together, 100 ms each.
flash="color=black:size=640x360:rate=30,drawbox=color=white:thickness=fill:enable='lt(mod(n,30),3)',format=yuv420p"
beep="if(lt(mod(t,1),0.1),0.8*sin(2*PI*1000*t),0)"
SOURCE=$flash made sync 10 "aevalsrc='$beep|$beep':c=stereo:s=48000" -bf 2
SOURCE=$flash GOP_SECONDS=10 AUDIO_BITRATE=192k made sync_longgop51 16 "aevalsrc='$beep|$beep|$beep|$beep|$beep|$beep':c=5.1:s=48000" -bf 2
# The same with GOPs that become 10 s long, with pictures missing between the flashes, with sound at 22.05 kHz, and at 10 fps.
SOURCE=$flash made sync_switch 14 "aevalsrc='$beep|$beep':c=stereo:s=48000" -bf 2 -force_key_frames 0,2,4
SOURCE=$flash FILTER="select='lt(mod(n,30),5)+lt(mod(n*n+7*n,11),5)'" made sync_vfr 10 "aevalsrc='$beep|$beep':c=stereo:s=48000" -bf 0
SOURCE=$flash made sync_22050 10 "aevalsrc='$beep':c=mono:s=22050" -bf 2
SOURCE="color=black:size=640x360:rate=10,drawbox=color=white:thickness=fill:enable='lt(mod(n,10),1)',format=yuv420p" \
    made sync_fps10 10 "aevalsrc='$beep|$beep':c=stereo:s=48000" -bf 0
# Sizes and rates of all kinds, dark but not black, with the same flashes: 60 fps and 30; upright as a telephone holds it, and slow,
# for it costs most; too small for most rungs, and cropped; cropped a little above a rung; of odd edges, which 4:4:4 alone can have.
for kind in 720p60:1280x720:60 720p30:1280x720:30 upright:1080x1920:10 small:426x238:30 cropped:854x482:30 odd:853x481:30; do
    IFS=: read -r name size rate <<<"$kind"
    format=yuv420p profile=high
    [ "$name" != odd ] || format=yuv444p profile=high444
    SOURCE="testsrc2=size=$size:rate=$rate,format=$format,lutyuv=y=16+val/8,drawbox=color=white:thickness=fill:enable='lt(mod(n,$rate),$rate/10)'" \
        BITRATE=2000k made "sync_$name" 6 "aevalsrc='$beep|$beep':c=stereo:s=48000" -bf 2 -profile:v "$profile"
done

# What Enhanced RTMP adds: each codec of pictures and of sound once, GOPs of 2 s and of 10 s, open GOPs.
x265=(-c:v libx265 -preset ultrafast -tag:v hvc1)
fixed="log-level=none:info=0:scenecut=0:bframes=2"
other hevc_aac 10 60 "${x265[@]}" -x265-params "$fixed:keyint=60:min-keyint=60:open-gop=0" -- -c:a aac -b:a 64k
other hevc_mp3 12 300 "${x265[@]}" -x265-params "$fixed:keyint=300:min-keyint=300:open-gop=0" -- -c:a libmp3lame -b:a 96k
other hevc_open 10 60 "${x265[@]}" -x265-params "$fixed:keyint=60:min-keyint=60:open-gop=1" -- -c:a aac -b:a 64k
other av1_opus 10 60 -c:v libsvtav1 -preset 10 -- -c:a libopus -b:a 64k
other vp9_flac 10 60 -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 300k -- -c:a flac
other avc_opus 10 60 -c:v libx264 -preset veryfast -keyint_min 60 -sc_threshold 0 -flags +cgop -bf 2 -- -c:a libopus -b:a 64k
