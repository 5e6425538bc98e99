#!/usr/bin/env python3
"""Ten minutes of publishers that come, publish for a moment and die in every way there is, with viewers attached.

In:  the release program, clips of `tests/clips.sh`.
Out: resident memory, open files, threads and tasks over time; at the end whether they are back where they were and every
     counter adds up; exit status 1 if not.
How: one channel is churned, another is published all the time and must not notice. Each publisher is an ffmpeg behind a
     proxy of ours, which can cut the connection (RST), close it half, stop reading, or send garbage in mid-stream. The
     ways are drawn from a seed, so that a run can be repeated.
All traffic stays on 127.0.0.1; only processes started here are stopped.
"""

import argparse
import contextlib
import os
import random
import re
import select
import signal
import socket
import struct
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness import Weir, push_command, resident_mb, start, temporary_folder, wait_until

CLIP = Path("target/clips/ladder_360p30.flv")
SETTLE_SECONDS = 100  # hold, ended playlists, the viewers' last requests, and 90 s until a mirrored epoch is deleted
EXTRA = {"WEIR__LIVE__HOLD_SECONDS": "4", "WEIR__LIVE__ENDED_SECONDS": "4", "WEIR__HLS__WINDOW_SECONDS": "12"}
COUNTER = re.compile(r'^(\w+)(?:{([^}]*)})? (\S+)$', re.MULTILINE)


class Proxy:
    """One connection to the server that can be made to fail in every way; `url` is what the encoder is given."""

    def __init__(self, target):
        parsed = urllib.parse.urlparse(target)
        self.server = (parsed.hostname, parsed.port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = parsed._replace(netloc=f"127.0.0.1:{self.listener.getsockname()[1]}").geturl()
        self.is_reading = True
        self.is_left = False  # whether the server closed it first
        self.pair = None
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        with contextlib.suppress(OSError):
            self.listener.settimeout(10)
            encoder, _ = self.listener.accept()
            upstream = socket.create_connection(self.server)
            self.pair = (encoder, upstream)
            while True:
                ready, _, _ = select.select([encoder, upstream] if self.is_reading else [upstream], [], [], 0.05)
                for source in ready:
                    data = source.recv(65536)
                    if not data:
                        self.is_left = source is upstream
                        return
                    (upstream if source is encoder else encoder).sendall(data)

    def reset(self):
        """RST to the server."""
        self.upstream().setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.upstream().close()

    def half_close(self):
        self.upstream().shutdown(socket.SHUT_WR)

    def garbage(self):
        self.upstream().sendall(os.urandom(4096))

    def freeze(self):
        self.is_reading = False

    def upstream(self):
        if self.pair is None:
            raise OSError("not connected yet")
        return self.pair[1]

    def close(self):
        for end in (*(self.pair or ()), self.listener):
            with contextlib.suppress(OSError):
                end.close()


class Viewer(threading.Thread):
    """Follows a channel by blocking reload and fetches every part, whatever happens to the channel."""

    def __init__(self, playback_url):
        super().__init__(daemon=True)
        self.playback_url, self.is_stopped = playback_url, False
        self.parts = self.errors = 0

    def run(self):
        while not self.is_stopped:
            with contextlib.suppress(OSError, ValueError, IndexError):
                self.watch()
            time.sleep(0.2)

    def watch(self):
        entry = read(self.playback_url)
        media = [line for line in entry.splitlines() if line and not line.startswith("#")][-1]
        url, seen = urllib.parse.urljoin(self.playback_url, media), set()
        ask = ""
        while not self.is_stopped:
            text = read(url + ask)
            for uri in re.findall(r'#EXT-X-PART:.*?URI="([^"]+)"(?!.*GAP=YES)', text):
                if uri not in seen:
                    seen.add(uri)
                    self.fetch(urllib.parse.urljoin(url, uri))
            if "#EXT-X-ENDLIST" in text:
                return
            hint = re.search(r'PRELOAD-HINT:TYPE=PART,URI="(\d+)\.(\d+)\.m4s"', text)
            ask = f"?_HLS_msn={hint[1]}&_HLS_part={hint[2]}"

    def fetch(self, url):
        try:
            read(url, as_text=False)
            self.parts += 1
        except urllib.error.HTTPError:
            self.errors += 1


def read(url, as_text=True):
    with urllib.request.urlopen(url, timeout=15) as response:
        body = response.read()
    return body.decode() if as_text else body


def kill(process, proxy):
    process.kill()


def say_goodbye(process, proxy):
    process.send_signal(signal.SIGINT)


def cut(process, proxy):
    proxy.reset()


def half_close(process, proxy):
    proxy.half_close()


def send_garbage(process, proxy):
    proxy.garbage()


def fall_silent(process, proxy):
    """The connection stays, and nobody is behind it any more: it is closed once the next publisher is there."""
    proxy.freeze()


WAYS = [kill, say_goodbye, cut, half_close, send_garbage, fall_silent]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weir", type=Path, default=Path("target/release/weir"))
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--publish-seconds", type=float, default=3, help="how long each publisher lives")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(temporary_folder(2**30))
        weir = Weir(options.weir, "STANDARD")
        churned, steady = weir.start(stack, folder, 2, EXTRA)
        sys.exit(churn(weir, churned, steady, options, folder))


def churn(weir, churned, steady, options, folder):
    """Runs it all; the number of things that are not as they should be."""
    draw = random.Random(options.seed)
    with contextlib.ExitStack() as stack:
        start(stack, ["ffmpeg", "-nostdin", "-loglevel", "error", "-re", "-stream_loop", "-1", "-i", CLIP, "-c", "copy",
                      "-f", "flv", steady], folder / "steady.log")
        wait_until(lambda: weir.live() == 1, "the steady stream", 30, folder)
        viewers = [Viewer(channel["playbackUrl"]) for channel in weir.channels for _ in range(2)]
        for viewer in viewers:
            viewer.start()
        time.sleep(5)
        baseline, samples, cycles = sample(weir), [], 0
        print(f"{'s':>5}{'cycles':>8}{'RSS MB':>8}{'files':>7}{'threads':>9}{'tasks':>7}")
        began = time.monotonic()
        ways = {way.__name__: 0 for way in WAYS}
        half_open = HalfOpen()
        stack.callback(half_open.judge)
        while time.monotonic() - began < options.minutes * 60:
            way = draw.choice(WAYS)
            ways[way.__name__] += 1
            cycle(churned, way, options.publish_seconds, folder, half_open)
            cycles += 1
            if cycles % 10 == 0:
                samples.append(sample(weir))
                show(time.monotonic() - began, cycles, samples[-1])
        time.sleep(SETTLE_SECONDS)
        half_open.judge()
        settled = sample(weir)
        show(time.monotonic() - began, cycles, settled)
        for viewer in viewers:
            viewer.is_stopped = True
        print(f"ways: {ways}; parts fetched: {sum(viewer.parts for viewer in viewers)}, "
              f"refused: {sum(viewer.errors for viewer in viewers)}")
        return judge(weir, baseline, samples, settled, viewers, (cycles, options.minutes), half_open)


class HalfOpen:
    """The connection whose encoder fell silent: nobody closes it but the server, before the next cycle is over."""

    def __init__(self):
        self.proxy, self.kept, self.left = None, 0, 0

    def keep(self, proxy):
        self.proxy = proxy
        self.kept += 1

    def judge(self):
        """The next publisher has been there for a while: the server must have left the one before."""
        if self.proxy is not None:
            self.left += self.proxy.is_left
            self.proxy.close()
            self.proxy = None


def cycle(url, way, seconds, folder, half_open):
    proxy = Proxy(url)
    with contextlib.ExitStack() as stack:
        closing = stack.enter_context(contextlib.ExitStack())
        closing.callback(proxy.close)
        process = start(stack, push_command(CLIP, [proxy.url]), folder / "publisher.log")
        time.sleep(seconds)
        half_open.judge()
        with contextlib.suppress(OSError):
            way(process, proxy)
        time.sleep(0.5)
        if way is fall_silent:
            closing.pop_all()
            half_open.keep(proxy)
        if way is not say_goodbye:
            process.kill()


def sample(weir):
    pid = weir.process.pid
    by_name = {labels: value for name, labels, value in counters(weir) if name == "weir_tasks" and value > 0}
    return {"rss": resident_mb([pid]), "files": len(os.listdir(f"/proc/{pid}/fd")),
            "threads": len(os.listdir(f"/proc/{pid}/task")), "tasks": sum(by_name.values()), "by_name": by_name}


def counters(weir):
    return [(name, labels, float(value)) for name, labels, value in COUNTER.findall(weir.metrics())]


def show(seconds, cycles, found):
    print(f"{seconds:>5.0f}{cycles:>8}{found['rss']:>8.0f}{found['files']:>7}{found['threads']:>9}{found['tasks']:>7.0f}", flush=True)


def judge(weir, baseline, samples, settled, viewers, effort, half_open):
    """Prints what must hold, and whether it does; how often it does not."""
    def events(name):
        return sum(value for metric, labels, value in counters(weir) if metric == "weir_events_total" and f'name="{name}"' in labels)

    def total(name):
        return sum(value for metric, _, value in counters(weir) if metric == name)

    cycles, minutes = effort
    half = len(samples) // 2
    early, late = (max(s["rss"] for s in part) for part in (samples[:half] or [settled], samples[half:] or [settled]))
    checks = [
        ("open files are back", settled["files"] <= baseline["files"] + 4, f"{baseline['files']} -> {settled['files']}"),
        ("tasks are back", settled["tasks"] <= baseline["tasks"] + 4, f"{baseline['by_name']} -> {settled['by_name']}"),
        ("threads are back", settled["threads"] <= baseline["threads"] + 4, f"{baseline['threads']} -> {settled['threads']}"),
        ("memory is flat", late <= early * 1.1 + 8, f"most {early:.0f} MB in the first half, {late:.0f} MB in the second"),
        # The steady publisher's session is still going on.
        ("sessions add up", events("Session Created") == events("Session Ended") + 1,
         f"{events('Session Created'):.0f} created, {events('Session Ended'):.0f} ended"),
        ("streams add up", events("Stream Start") == events("Stream End") + 1,
         f"{events('Stream Start'):.0f} started, {events('Stream End'):.0f} ended"),
        ("150 cycles in ten minutes", cycles >= 15 * minutes, f"{cycles} in {minutes:g} minutes"),
        # The steady one is not of these.
        ("every publisher was seen", events("Session Created") - 1 >= cycles * 0.95, f"{cycles} cycles"),
        ("the server left each half-open connection", half_open.left == half_open.kept > 0,
         f"{half_open.left} of {half_open.kept}"),
        ("one channel is left", total("weir_channels_active") == 1, f"{total('weir_channels_active'):.0f}"),
        ("one publisher is left", total("weir_ingest_publishers") == 1, f"{total('weir_ingest_publishers'):.0f}"),
        ("nothing panicked", total("weir_task_panics_total") == 0, ""),
        ("the steady channel went on", all(viewer.errors == 0 and viewer.parts > 0 for viewer in viewers[2:]), ""),
    ]
    for what, holds, figures in checks:
        print(f"  {what}: {'yes' if holds else 'NO'} {figures}")
    return min(1, sum(not holds for _, holds, _ in checks))


if __name__ == "__main__":
    main()
