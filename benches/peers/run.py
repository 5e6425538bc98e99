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
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

CLIP = Path("target/clips/bench.flv")
CLIP_SECONDS = 80
OUTPUTS_PER_PUSHER = 10
WINDOW_SECONDS = 30  # media that both servers keep listed
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
        for server in (Nginx(), Weir(options.weir)):
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
        folder = stack.enter_context(temporary_folder(count))
        urls = server.start(stack, folder, count)
        pushers = [
            start(stack, push_command(urls[at : at + OUTPUTS_PER_PUSHER]), folder / f"pusher-{at}.log")
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


class Nginx:
    """Debian's nginx with libnginx-mod-rtmp, writing HLS as its documentation shows."""

    name = "nginx-rtmp"

    def start(self, stack, folder, count):
        port = free_port()
        self.hls = folder / "hls"
        (folder / "nginx.conf").write_text(f"""
            load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
            {"user root;" if os.getuid() == 0 else ""}
            daemon off;
            worker_processes 1;
            pid {folder}/nginx.pid;
            error_log {folder}/nginx.log warn;
            events {{ worker_connections 1024; }}
            rtmp {{
                access_log off;
                server {{
                    listen 127.0.0.1:{port};
                    application live {{
                        live on;
                        hls on;
                        hls_path {self.hls};
                        hls_fragment 2s;
                        hls_playlist_length {WINDOW_SECONDS}s;
                    }}
                }}
            }}""")
        command = [nginx_program(), "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "nginx.log"]
        self.process = start(stack, command, folder / "server.log")
        wait_until(lambda: is_open(port), "nginx listens", 10, folder)
        return [f"rtmp://127.0.0.1:{port}/live/bench{n}" for n in range(count)]

    def live(self):
        """Streams whose playlist was written lately."""
        playlists = self.hls.glob("*.m3u8")
        return sum(time.time() - playlist.stat().st_mtime < 6 for playlist in playlists)

    def pids(self):
        master = self.process.pid
        return [master, *map(int, Path(f"/proc/{master}/task/{master}/children").read_text().split())]

    def delays(self, metric):
        return {}


class Weir:
    """This repository's release program with its defaults."""

    name = "weir"

    def __init__(self, program):
        self.program = program

    def start(self, stack, folder, count):
        self.http, self.admin, rtmp = free_port(), free_port(), free_port()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WEIR_")} | {
            "WEIR_DATA_DIR": str(folder / "data"),
            "WEIR_HTTP_LISTEN": f"127.0.0.1:{self.http}",
            "WEIR_PUBLIC_URL": f"http://127.0.0.1:{self.http}",
            "WEIR_ADMIN_LISTEN": f"127.0.0.1:{self.admin}",
            "WEIR_RTMP_LISTEN": f"127.0.0.1:{rtmp}",
            "WEIR_INGEST_HOST": f"127.0.0.1:{rtmp}",
        }
        self.process = start(stack, [self.program, "serve"], folder / "server.log", environment)
        wait_until(self.is_ready, "weir is ready", 30, folder)
        urls = []
        for n in range(count):
            created = output_of(self.program, "channel", "create", "--name", f"bench{n}", "--json", environment=environment)
            urls.append(json.loads(created)["ingestUrl"])
        return urls

    def is_ready(self):
        return fetch(f"http://127.0.0.1:{self.admin}/readyz") is not None

    def live(self):
        listed = fetch(f"http://127.0.0.1:{self.http}/v1/live") or '{"channels": []}'
        return sum(channel["state"] == "LIVE" for channel in json.loads(listed)["channels"])

    def pids(self):
        return [self.process.pid]

    def delays(self, metric):
        """A delay histogram so far: upper bound in seconds -> parts up to it."""
        text = fetch(f"http://127.0.0.1:{self.admin}/metrics") or ""
        pattern = re.compile(rf'^{metric}_bucket{{.*?le="([^"]+)".*?}} (\S+)$', re.MULTILINE)
        buckets = {}
        for bound, count in pattern.findall(text):
            buckets[float(bound)] = buckets.get(float(bound), 0) + float(count)
        return buckets


def quantiles(before, after):
    """p50 and p99 in milliseconds of what a histogram counted between two readings, interpolated in its buckets."""
    counts = [(bound, after[bound] - before.get(bound, 0)) for bound in sorted(after)]
    if not counts or counts[-1][1] == 0:
        return None
    found = []
    for quantile in (0.5, 0.99):
        wanted, low, below = quantile * counts[-1][1], 0.0, 0.0
        for bound, count in counts:
            if count >= wanted:
                share = (wanted - below) / (count - below) if count > below else 1.0
                found.append(1000 * (low if bound == float("inf") else low + (bound - low) * share))
                break
            low, below = bound, count
    return tuple(found)


def push_command(urls):
    """One ffmpeg that sends the clip in real time and without encoding, to several streams."""
    command = ["ffmpeg", "-nostdin", "-loglevel", "warning", "-re", "-i", CLIP]
    for url in urls:
        command += ["-map", "0", "-c", "copy", "-f", "flv", "-flvflags", "no_duration_filesize", url]
    return command


def start(stack, command, log, environment=None):
    """Starts a process that ends with `stack`."""
    with open(log, "wb") as output:
        process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=subprocess.STDOUT, env=environment)

    def stop():
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    stack.callback(stop)
    return process


@contextlib.contextmanager
def temporary_folder(count):
    """In memory where there is room for every stream's media twice over, else on disk."""
    room = count * CLIP.stat().st_size / CLIP_SECONDS * WINDOW_SECONDS * 6
    memory = Path("/dev/shm")
    is_memory = memory.is_dir() and shutil.disk_usage(memory).free > room
    with tempfile.TemporaryDirectory(prefix="weir-bench-", dir=memory if is_memory else "target") as folder:
        yield Path(folder).resolve()


def cpu_seconds(pids):
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # utime, stime
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_mb(pids):
    statuses = [Path(f"/proc/{pid}/status").read_text() for pid in pids]
    return sum(int(re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)[1]) for status in statuses) / 1024


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


def print_target(what, value, target, unit):
    print(f"  {what}: {value:.2f}{unit}, target {target:.2f}{unit}: {'met' if value <= target else 'MISSED'}")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def is_open(port):
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def fetch(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.read().decode()
    except OSError:
        return None


def wait_until(condition, what, seconds, folder):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            fail(f"waited {seconds} s in vain for: {what}", folder)
        time.sleep(0.1)


def fail(message, folder):
    for log in sorted(folder.glob("*.log")):
        print(f"--- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-15:]), file=sys.stderr)
    sys.exit(f"benches/peers: {message}")


def output_of(*command, environment=None):
    done = subprocess.run(list(map(str, command)), env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"benches/peers: {' '.join(map(str, command))}: {done.stderr or done.stdout}")
    return done.stdout.strip()


def nginx_program():
    return shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")


def nginx_version():
    return subprocess.run([nginx_program(), "-v"], capture_output=True, text=True, check=True).stderr.strip()


if __name__ == "__main__":
    main()
