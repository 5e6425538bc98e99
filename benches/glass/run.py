#!/usr/bin/env python3
"""How old a picture is when a viewer sees it, and which part of that each step adds.

In:  the release program; ffmpeg with libx264; node with the packages of `web/`, and Chromium.
Out: for hls.js and the Amazon IVS player, over --seconds: p50 and p95 of the time from a picture's being drawn to its being
     shown by the browser, and the parts of it: the encoder and the way to the server, the way to a fetchable part, what the
     player holds back. The players play the source's rendition, or the one their measurements choose.
How: a thread draws pictures with the present time in their upper left corner (`web/e2e/glass.mjs` reads it from the
     screen's picture), ffmpeg encodes them as OBS does for low latency (x264 veryfast, zerolatency, a keyframe every
     --gop-seconds) and sends them by RTMP. All clocks are this machine's. Amazon's player begins with the last complete
     segment and does not catch up: it is never less late than a segment, so that its target needs segments of a second.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness import Weir, print_target, quantiles, start, temporary_folder, wait_until

WEB = Path(__file__).resolve().parents[2] / "web"
WIDTH, HEIGHT, FPS = 1280, 720, 30
SQUARE = 24
TARGETS_S = {"hls": 1.5, "ivs": 2.0}
PART_METRIC = "weir_part_delay_seconds"
ROOM = 2**30


def clock_rows(ms):
    """The luma of the picture's first SQUARE rows: what `web/e2e/glass.mjs` reads."""
    check = sum(ms.to_bytes(8, "big")) % 256
    bits = f"{ms:044b}{check:08b}"
    row = b"".join(b"\xeb" * SQUARE if bit == "1" else b"\x10" * SQUARE for bit in bits)
    return row.ljust(WIDTH, b"\x10") * SQUARE


def draw(pipe, stop):
    """Writes a picture each 1/FPS s; what is below the clock moves."""
    luma = bytes((x * 3 ^ y * 5) % 200 + 20 for y in range(16) for x in range(WIDTH)) * (HEIGHT // 16 + 2)
    chroma = b"\x80" * (WIDTH * HEIGHT // 2)
    begin, number = time.monotonic(), 0
    with contextlib.suppress(BrokenPipeError), pipe:
        while not stop.is_set():
            wait = begin + number / FPS - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            moved = number % 16 * WIDTH
            clock = clock_rows(time.time_ns() // 1_000_000)
            pipe.write(clock + luma[moved:moved + WIDTH * (HEIGHT - SQUARE)] + chroma)
            number += 1


def encoder(url, gop_seconds):
    return ["ffmpeg", "-nostdin", "-loglevel", "warning", "-f", "rawvideo", "-pix_fmt", "yuv420p",
            "-video_size", f"{WIDTH}x{HEIGHT}", "-framerate", str(FPS), "-use_wallclock_as_timestamps", "1",
            "-fflags", "nobuffer", "-i", "pipe:0", "-f", "lavfi", "-i", "sine=sample_rate=48000",
            "-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency", "-b:v", "3000k", "-maxrate", "3000k",
            "-bufsize", "3000k", "-g", str(gop_seconds * FPS), "-sc_threshold", "0", "-r", str(FPS), "-c:a", "aac", "-b:a", "128k",
            "-flush_packets", "1", "-f", "flv", "-flvflags", "no_duration_filesize", url]


@contextlib.contextmanager
def publisher(url, log, gop_seconds):
    """Who draws and who encodes."""
    with open(log, "wb") as output:
        process = subprocess.Popen(encoder(url, gop_seconds), stdin=subprocess.PIPE, stdout=output, stderr=output)
    stop = threading.Event()
    thread = threading.Thread(target=draw, args=(process.stdin, stop), name="draw")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        process.terminate()
        process.wait()


def watch(player, url, seconds):
    done = subprocess.run(["node", "e2e/glass.mjs", "--url", url, "--player", player, "--seconds", str(seconds)], cwd=WEB,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"benches: glass.mjs: {done.stdout} {done.stderr}")
    return json.loads(done.stdout)


def measure(player, weir, seconds):
    before = weir.delays_by_label(PART_METRIC)
    seen = watch(player, weir.channels[0]["playbackUrl"], seconds)
    glass, server, buffer = seen["glass"], seen["server"], seen["buffer"]
    print(f"\n## {player}: {seen['pictures']} pictures, {seen['unread']} of them unread, {seen['stalls']} stalls")
    print(f"from being drawn to being shown: p50 {glass['p50']:.2f} s, p95 {glass['p95']:.2f} s")
    if server:
        print(f"  encoder and the way to the server: {glass['p50'] - server['p50']:.2f} s")
        print(f"  from there to the screen: p50 {server['p50']:.2f} s, p95 {server['p95']:.2f} s, of which")
    for labels, after in sorted(weir.delays_by_label(PART_METRIC).items()):
        found = quantiles(before.get(labels, {}), after)
        if found and 'rendition="source"' in labels:
            print(f"  from a part's last picture to the part being fetchable: p50 {found[0]:.0f} ms, p99 {found[1]:.0f} ms")
    print(f"  what the player has in its buffer: p50 {buffer['p50']:.2f} s, p95 {buffer['p95']:.2f} s")
    print_target("p50", glass["p50"], TARGETS_S[player], " s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weir", type=Path, default=Path("target/release/weir"))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--players", nargs="+", choices=TARGETS_S, default=list(TARGETS_S))
    parser.add_argument("--type", default="BASIC", help="the channel's type; BASIC passes the source on and encodes nothing")
    parser.add_argument("--gop-seconds", type=int, default=2, help="between keyframes; segments are as long")
    arguments = parser.parse_args()
    with temporary_folder(ROOM) as folder, contextlib.ExitStack() as stack:
        weir = Weir(arguments.weir.resolve(), arguments.type)
        (folder / "weir").mkdir()
        gop_seconds = arguments.gop_seconds
        settings = {"WEIR_HLS_TARGET_DURATION_S": str(max(gop_seconds, 1))}
        [url] = weir.start(stack, folder / "weir", 1, settings)
        stack.enter_context(publisher(url, folder / "encoder.log", gop_seconds))
        wait_until(lambda: weir.live() == 1, "the channel is live", 30, folder)
        print(f"{WIDTH}x{HEIGHT} at {FPS}, a keyframe every {gop_seconds} s; channel type {arguments.type}; load {os.getloadavg()[0]:.1f}")
        for player in arguments.players:
            measure(player, weir, arguments.seconds)


if __name__ == "__main__":
    main()
