#!/usr/bin/env python3
"""What a ladder costs that nobody watches, on demand beside always and beside nginx-rtmp, which passes the source on and
encodes nothing; and how long the first viewer of a cold rung waits.

In:  the release program and the clips `bench_*` of `tests/clips.sh bench`.
Out: CPU-seconds per stream-second and resident memory of an unwatched channel with `ladder = "always"` and "on-demand",
     and of nginx-rtmp with the same source, their ratios; for each rung of the second, from the request for its playlist at the live edge to the whole of the part
     that a player begins with, and to an older segment.
How: every round is a server of its own, the clip sent in real time; after a warm-up the process is read from /proc at both
     ends of a window. A rung is cold again before it is asked the next time.
All traffic stays on 127.0.0.1; only processes started here are stopped.
"""

import argparse
import contextlib
import re
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urljoin

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness import Weir, cpu_seconds, fetch, print_target, push_command, resident_mb, start, temporary_folder, wait_until
from nginx_rtmp import NginxRtmp

CPU_TARGET = 0.1  # of the ladder that is always encoded
REMUX_TARGET = 1.2  # of nginx-rtmp
FIRST_PART_TARGET_S = 1.2
IDLE_S = 5
ROOM = 2**30


def main():
    options = parse_arguments()
    with temporary_folder(ROOM) as room:
        costs = {}
        for ladder in ("always", "on-demand"):
            rounds = [run(ladder, options, room) for _ in range(options.rounds)]
            cpu, resident, waits = min(rounds, key=lambda found: found[0])
            costs[ladder] = cpu
            print(f"{ladder:<12} {cpu:.4f} CPU-seconds per stream-second (of {[round(found[0], 4) for found in rounds]}), "
                  f"{resident:.0f} MB", flush=True)
            for what, seconds in waits:
                print(f"  {what}: {seconds:.2f} s")
            firsts = [seconds for what, seconds in waits if what.endswith("first part")]
            if firsts:
                print_target("longest wait for a first part", max(firsts), FIRST_PART_TARGET_S, " s")
        remux = [run_peer(options, room) for _ in range(options.rounds)]
        costs["nginx-rtmp"], resident = min(remux)
        print(f"{'nginx-rtmp':<12} {costs['nginx-rtmp']:.4f} CPU-seconds per stream-second (of "
              f"{[round(cpu, 4) for cpu, _ in remux]}), {resident:.0f} MB")
        print_target("unwatched against always", costs["on-demand"] / costs["always"], CPU_TARGET, "x")
        print_target("unwatched against nginx-rtmp", costs["on-demand"] / costs["nginx-rtmp"], REMUX_TARGET, "x")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weir", type=Path, default=Path("target/release/weir"))
    parser.add_argument("--clip", type=Path, default=Path("target/clips/bench_1080p30.flv"))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--warm-up", type=float, default=6)
    parser.add_argument("--seconds", type=float, default=12)
    return parser.parse_args()


def run(ladder, options, room):
    """CPU, memory, and with a ladder on demand how long first viewers wait."""
    with contextlib.ExitStack() as stack:
        folder = room / f"{ladder}-{time.monotonic_ns()}"
        folder.mkdir()
        weir = Weir(options.weir, "STANDARD")
        settings = {"WEIR__TRANSCODE__LADDER": ladder, "WEIR__TRANSCODE__IDLE_RUNG_SECONDS": str(IDLE_S)}
        (url,) = weir.start(stack, folder, 1, settings)
        start(stack, push_command(options.clip, [url]), folder / "pusher.log")
        entry = weir.channels[0]["playbackUrl"]
        wait_until(lambda: fetch(entry), "an entry playlist", 30, folder)
        pids = weir.pids()
        cost, resident = window(pids, options)
        is_cold = lambda: not any("weir-decode" in name for name in threads(pids[0]))
        waits = []
        if ladder == "on-demand":
            lists = [urljoin(entry, line) for line in fetch(entry).splitlines() if line and not line.startswith("#")]
            for playlist in (found for found in lists if "/source/" not in found):
                wait_until(is_cold, "cold rungs", 60, folder)
                name = playlist.rsplit("/", 2)[1]
                waits += [(f"{name}, {what}", seconds) for what, seconds in ask(playlist)]
        return cost, resident, waits


def run_peer(options, room):
    """CPU and memory of nginx-rtmp."""
    with contextlib.ExitStack() as stack:
        folder = room / f"nginx-{time.monotonic_ns()}"
        folder.mkdir()
        peer = NginxRtmp()
        start(stack, push_command(options.clip, peer.start(stack, folder, 1)), folder / "pusher.log")
        wait_until(lambda: peer.live() == 1, "a live stream", 30, folder)
        return window(peer.pids(), options)


def window(pids, options):
    """CPU-seconds per second after the warm-up, and memory at the end."""
    time.sleep(options.warm_up)
    cpu, began = cpu_seconds(pids), time.monotonic()
    time.sleep(options.seconds)
    return (cpu_seconds(pids) - cpu) / (time.monotonic() - began), resident_mb(pids)


def ask(playlist):
    """As a player does: the list, then the newest part that can be begun with; then the segment at HOLD-BACK."""
    began = time.monotonic()
    text = fetch(playlist)
    part = re.findall(r'#EXT-X-PART:.*URI="([^"]+)".*INDEPENDENT=YES', text)[-1]
    read(urljoin(playlist, part))
    yield "first part", time.monotonic() - began
    began = time.monotonic()
    segment = [line for line in text.splitlines() if line and not line.startswith("#")][-3]
    read(urljoin(playlist, segment))
    yield "segment at HOLD-BACK", time.monotonic() - began


def read(url):
    with urllib.request.urlopen(url, timeout=30) as response:
        if not response.read():
            sys.exit(f"benches: nothing at {url}")


def threads(pid):
    tasks = Path(f"/proc/{pid}/task").glob("*/comm")
    names = []
    for task in tasks:
        with contextlib.suppress(OSError):  # It has ended meanwhile.
            names.append(task.read_text().strip())
    return names


if __name__ == "__main__":
    main()
