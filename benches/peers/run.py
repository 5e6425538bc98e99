#!/usr/bin/env python3
"""What one stream costs Weir, beside nginx-rtmp, in one run on one machine.

In:  the release program and the clip of `tests/clips.sh bench` (720p30, 3 Mb/s, 2 s GOPs).
Out: for 1, 10 and 50 publishers: CPU-seconds per stream-second and resident memory of each server, their ratio, and
     Weir's delay from a part's last frame arriving to the part being fetchable.
How: ffmpeg copies the clip to each stream in real time; after a warm-up the server's processes are read from /proc at
     both ends of a window. Both write to the same file system (memory, where there is room). nginx-rtmp writes 2 s
     MPEG-TS segments; Weir makes 1/3 s CMAF parts, playlists and its segment mirror.
All traffic stays on 127.0.0.1; only processes started here are stopped.
"""

import argparse
import contextlib
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness import (Weir, cpu_seconds, fail, nginx_version, output_of, print_target, push_command, quantiles, resident_mb,
                     start, temporary_folder, wait_until)
from nginx_rtmp import WINDOW_SECONDS, NginxRtmp

CLIP = Path("target/clips/bench.flv")
CLIP_SECONDS = 80
OUTPUTS_PER_PUSHER = 10
# Weir keeps what leaves the playlist for as long as the longest playlist and the segment itself last (RFC 8216bis §6.2.2).
KEPT_SECONDS = 2 * (WINDOW_SECONDS + 2)
RSS_TARGET_MB = 30  # besides the media in the windows
DELAY_TARGET_MS = 50
DELAY_METRIC = "weir_part_delay_seconds"  # from the part's last picture, which the next one has to follow
OWN_DELAY_METRIC = "weir_part_own_delay_seconds"  # from the sample that completes the part


def main():
    options = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print(f"{output_of(options.weir, 'version').splitlines()[0]}; {nginx_version()}; {os.cpu_count()} cores; "
          f"windows of {options.seconds} s after {options.warm_up} s\n")
    print(f"{'publishers':>10} {'server':<12}{'CPU-s/stream-s':>15}{'ratio':>7}{'RSS MB':>8}{'part delay p50 / p99 ms':>26}")
    results = {}
    for count in options.counts:
        for server in (NginxRtmp(), Weir(options.weir, "BASIC")):
            result = measure(server, count, options)
            results[server.name, count] = result
            print_row(server.name, count, result, results["nginx-rtmp", count])
    print_targets(results, max(options.counts))


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weir", type=Path, default=Path("target/release/weir"))
    parser.add_argument("--counts", type=lambda text: [int(n) for n in text.split(",")], default=[1, 10, 50])
    parser.add_argument("--seconds", type=int, default=30, help="length of a measuring window")
    parser.add_argument("--warm-up", type=int, default=10, help="seconds from the first frame to the window")
    return parser.parse_args()


def measure(server, count, options):
    """Runs `count` publishers against `server` and gives its costs over the window."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(temporary_folder(room(count)))
        urls = server.start(stack, folder, count)
        pushers = [
            start(stack, push_command(CLIP, urls[at : at + OUTPUTS_PER_PUSHER]), folder / f"pusher-{at}.log")
            for at in range(0, count, OUTPUTS_PER_PUSHER)
        ]
        sending = time.monotonic()
        wait_until(lambda: server.live() == count, f"{server.name}: {count} live streams", 30, folder)
        time.sleep(options.warm_up)
        own_before = server.delays(OWN_DELAY_METRIC)
        before, cpu, began = server.delays(DELAY_METRIC), cpu_seconds(server.pids()), time.monotonic()
        time.sleep(options.seconds)
        cpu, elapsed = cpu_seconds(server.pids()) - cpu, time.monotonic() - began
        if server.live() != count or any(pusher.poll() is not None for pusher in pushers):
            fail(f"{server.name}: {server.live()} of {count} streams live at the end of the window", folder)
        return {
            "cpu": cpu / elapsed / count,
            "rss": resident_mb(server.pids()),
            "media": media_mb(count, min(time.monotonic() - sending, KEPT_SECONDS)),
            "delay": quantiles(before, server.delays(DELAY_METRIC)),
            "own_delay": quantiles(own_before, server.delays(OWN_DELAY_METRIC)),
        }


def room(count):
    """For every stream's media, several times over."""
    return count * CLIP.stat().st_size / CLIP_SECONDS * WINDOW_SECONDS * 6


def media_mb(count, seconds):
    return count * CLIP.stat().st_size / CLIP_SECONDS * seconds / 2**20


def print_row(name, count, result, peer):
    delay = "{:.1f} / {:.1f}".format(*result["delay"]) if result["delay"] else "-"
    ratio = result["cpu"] / peer["cpu"]
    print(f"{count:>10} {name:<12}{result['cpu']:>15.4f}{ratio:>7.2f}{result['rss']:>8.0f}{delay:>26}", flush=True)


def print_targets(results, count):
    weir, peer = results["weir", count], results["nginx-rtmp", count]
    allowed = RSS_TARGET_MB + weir["media"]
    print(f"\nTargets with {count} publishers:")
    print_target("CPU beside nginx-rtmp", weir["cpu"] / peer["cpu"], 1.0, "x")
    print_target(f"RSS ({RSS_TARGET_MB} MB + {weir['media']:.0f} MB of media in the windows)", weir["rss"], allowed, " MB")
    if weir["delay"]:
        print_target("part delay p99", weir["delay"][1], DELAY_TARGET_MS, " ms")
        print("  of it after the sample that completes the part: p50 {:.1f} ms, p99 {:.1f} ms".format(*weir["own_delay"]))
    else:
        print(f"  part delay: {DELAY_METRIC} is not among the metrics")


if __name__ == "__main__":
    main()
