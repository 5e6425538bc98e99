#!/usr/bin/env python3
"""What viewers cost: thousands of low-latency viewers of one channel, and the same bytes from nginx as static files.

In:  the release program, the load client (`cargo build --release --example load_viewers`), the clip of
     `tests/clips.sh bench` (720p30, 3 Mb/s), nginx.
Out: for 1,000 and 2,000 viewers, over HTTP/1.1 and over HTTP/2 with TLS: requests per CPU-second of the server, how much
     later than the first viewer the others had each blocking playlist and part, resident memory. Then floods of requests
     for one playlist and for one part of about 150 KB, from Weir and from nginx in turns: requests per CPU-second.
How: a passed-on stream is published in real time. What the server costs without viewers is measured first and taken off,
     for nginx only sends files. The client has one thread, so on two cores it and the server do not share one much.
All traffic stays on 127.0.0.1; only processes started here are stopped.
"""

import argparse
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urljoin

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness import (Weir, cpu_seconds, fail, free_port, is_open, nginx_program, nginx_version, output_of, push_command,
                     resident_mb, start, temporary_folder, wait_until, worker_pids)

CLIP = Path("target/clips/bench.flv")
PART_BYTES = 150_000
PLAYLIST_TARGET = 1.3  # times nginx's requests per CPU-second
PART_TARGET = 0.9
FLOOD_CONNECTIONS = 32
ROOM = 2**29


def main():
    options = parse_arguments()
    print(f"{output_of(options.weir, 'version').splitlines()[0]}; {nginx_version()}; {os.cpu_count()} cores; "
          f"windows of {options.seconds} s, {options.rounds} rounds of floods\n")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(temporary_folder(ROOM))
        weir, certificate, key = start_weir(stack, options, folder)
        time.sleep(10)  # Until a window is full.
        cpu, began = cpu_seconds(weir.pids()), time.monotonic()
        time.sleep(options.seconds)
        idle = (cpu_seconds(weir.pids()) - cpu) / (time.monotonic() - began)
        print(f"one stream without viewers: {idle:.3f} CPU-seconds per second, {resident_mb(weir.pids()):.0f} MB")
        print(f"{'viewers':>8} {'protocol':<10}{'req/s':>8}{'req/CPU-s':>11}{'RSS MB':>8}"
              f"{'playlists late p50 / p99 ms':>29}{'parts late p50 / p99 ms':>26}")
        for base in weir.bases:
            for viewers in options.viewers:
                print_viewers(weir, base, viewers, idle, options, folder)
        nginx = Nginx(stack, folder, weir, certificate, key)
        for at, name in enumerate(("HTTP/1.1", "HTTP/2 + TLS")):
            print(f"\nFloods over {name}, requests per CPU-second, medians:")
            for what, target in (("playlist", PLAYLIST_TARGET), ("part", PART_TARGET)):
                compare(what, at, target, weir, nginx, idle, options)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weir", type=Path, default=Path("target/release/weir"))
    parser.add_argument("--client", type=Path, default=Path("target/release/examples/load_viewers"))
    parser.add_argument("--viewers", type=lambda text: [int(n) for n in text.split(",")], default=[1000, 2000])
    parser.add_argument("--seconds", type=float, default=10, help="length of a measuring window")
    parser.add_argument("--rounds", type=int, default=3, help="of floods, Weir and nginx in turns")
    return parser.parse_args()


def start_weir(stack, options, folder):
    """A server with one stream of which a window is listed; its certificate."""
    environment = os.environ | {"WEIR_DATA_DIR": str(folder / "data")}
    output_of(options.weir, "dev-cert", environment=environment)
    certificate, key = sorted((folder / "data").rglob("*.pem"), key=lambda path: "key" in path.name)
    weir, tls = Weir(options.weir, "BASIC"), free_port()
    (url,) = weir.start(stack, folder, 1, {
        "WEIR__TLS__LISTEN": f"127.0.0.1:{tls}",
        "WEIR__TLS__CERTIFICATE_FILE": str(certificate),
        "WEIR__TLS__KEY_FILE": str(key),
    })
    weir.bases = [f"http://127.0.0.1:{weir.http}", f"https://localhost:{tls}"]
    loop = push_command(CLIP, [url])
    start(stack, [*loop[:1], "-stream_loop", "-1", *loop[1:]], folder / "pusher.log")
    wait_until(lambda: weir.live() == 1, "a live stream", 30, folder)
    return weir, certificate, key


def print_viewers(weir, base, viewers, idle, options, folder):
    entry = urljoin(base, weir.channels[0]["playbackUrl"].removeprefix(weir.bases[0]))
    cost, found = load(options, weir.pids(), "follow", entry, viewers, options.seconds, 3)
    if found["failed_viewers"]:
        fail(f"{found['failed_viewers']} of {viewers} viewers failed: {found['failure']}", folder)
    playlists, parts = ("{:.0f} / {:.0f}".format(*found[f"{what}_late_ms"]) for what in ("playlist", "part"))
    per_second = found["requests"] / options.seconds
    print(f"{viewers:>8} {base.split(':')[0]:<10}{per_second:>8.0f}{per_second / (cost - idle):>11.0f}"
          f"{resident_mb(weir.pids()):>8.0f}{playlists:>29}{parts:>26}", flush=True)


def compare(what, at, target, weir, nginx, idle, options):
    """One kind of answer from both servers, in turns: each round asks for what the live window then holds."""
    rates = {"weir": [], "nginx": []}
    for _ in range(options.rounds):
        playlist, text, part = newest(weir, at)
        url = playlist if what == "playlist" else part
        content = text.encode() if what == "playlist" else read(fresh(url, weir, 0))
        for name, pids, asked, own in (
            ("weir", weir.pids(), url, idle),
            ("nginx", nginx.pids(), nginx.serve(at, what, content), 0.0),
        ):
            cost, found = load(options, pids, "flood", asked, FLOOD_CONNECTIONS, options.seconds / 2)
            rates[name].append(found["requests"] / (options.seconds / 2) / (cost - own))
    ratios = [ours / theirs for ours, theirs in zip(rates["weir"], rates["nginx"])]
    ratio = statistics.median(ratios)
    shown = {name: f"{statistics.median(found):.0f}" for name, found in rates.items()}
    print(f"  {what} of {len(content)} bytes: weir {shown['weir']}, nginx {shown['nginx']}: {ratio:.2f}x "
          f"({', '.join(f'{one:.2f}' for one in ratios)}), target {target}x: {'met' if ratio >= target else 'MISSED'}",
          flush=True)


def load(options, pids, *arguments):
    """Runs the client; the server's CPU-seconds per second of the window, and what the client says."""
    command = [str(options.client), *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as client:
        marks = {}
        for line in client.stdout:
            if line.strip() in ("begin", "end"):
                marks[line.strip()] = (cpu_seconds(pids), time.monotonic())
            else:
                found = json.loads(line)
    if client.returncode != 0:
        sys.exit(f"benches: {' '.join(command)} ended with {client.returncode}")
    (before, began), (after, ended) = marks["begin"], marks["end"]
    return (after - before) / (ended - began), found


def newest(weir, at):
    """The media playlist's URL and text, and the URL of the listed part nearest to PART_BYTES, as one viewer has them."""
    entry = weir.channels[0]["playbackUrl"]
    playlist = urljoin(entry, first_uri(read(entry).decode()))
    text = read(playlist).decode()
    parts = [urljoin(playlist, uri) for uri in re.findall(r'#EXT-X-PART:.*?URI="([^"]+)"', text)]
    # Of the newer half: what is asked for stays in the window while it is asked for.
    part = min(parts[len(parts) // 2 :], key=lambda url: abs(len(read(url)) - PART_BYTES))
    return fresh(playlist, weir, at), text, fresh(part, weir, at)


def fresh(url, weir, at):
    for base in weir.bases:
        url = url.removeprefix(base)
    return weir.bases[at] + url


def first_uri(playlist):
    return next(line for line in playlist.splitlines() if line and not line.startswith("#"))


def read(url):
    with urllib.request.urlopen(url, timeout=30) as response:
        return response.read()


class Nginx:
    """Static files with all that makes nginx fast, one worker, the same certificate."""

    def __init__(self, stack, folder, weir, certificate, key):
        self.files = folder / "static"
        self.files.mkdir(mode=0o755)
        self.ports = [free_port(), free_port()]
        self.served = 0
        (folder / "static.conf").write_text(f"""
            {"user root;" if os.getuid() == 0 else ""}
            daemon off;
            worker_processes 1;
            pid {folder}/static.pid;
            events {{ worker_connections 4096; }}
            http {{
                access_log off;
                sendfile on;
                tcp_nopush on;
                keepalive_requests 1000000000;
                open_file_cache max=1000 inactive=60s;
                open_file_cache_valid 60s;
                types {{ application/vnd.apple.mpegurl m3u8; video/mp4 m4s; }}
                server {{
                    listen 127.0.0.1:{self.ports[0]} backlog=4096;
                    listen 127.0.0.1:{self.ports[1]} ssl http2 backlog=4096;
                    ssl_certificate {certificate};
                    ssl_certificate_key {key};
                    root {self.files};
                }}
            }}""")
        command = [nginx_program(), "-p", folder, "-c", folder / "static.conf", "-e", folder / "static-nginx.log"]
        self.process = start(stack, command, folder / "static.log")
        wait_until(lambda: all(map(is_open, self.ports)), "nginx listens", 10, folder)

    def serve(self, at, what, content):
        """The URL of a new file with this content."""
        self.served += 1
        name = f"{self.served}.{'m3u8' if what == 'playlist' else 'm4s'}"
        (self.files / name).write_bytes(content)
        return (f"http://127.0.0.1:{self.ports[0]}/{name}", f"https://localhost:{self.ports[1]}/{name}")[at]

    def pids(self):
        return worker_pids(self.process)


if __name__ == "__main__":
    main()
