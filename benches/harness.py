"""What the side-by-side benchmarks share: processes with their costs, Weir's release program, its metrics, targets.

All traffic stays on 127.0.0.1; only processes started here are stopped.
"""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path


class Weir:
    """This repository's release program with its defaults."""

    name = "weir"

    def __init__(self, program, channel_type):
        self.program = program
        self.channel_type = channel_type

    def start(self, stack, folder, count, extra=None):
        """Starts the server with `count` new channels, and settings besides its defaults; the channels' ingest URLs."""
        self.http, self.admin, rtmp = free_port(), free_port(), free_port()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WEIR_")} | {
            "WEIR_DATA_DIR": str(folder / "data"),
            "WEIR_HTTP_LISTEN": f"127.0.0.1:{self.http}",
            "WEIR_PUBLIC_URL": f"http://127.0.0.1:{self.http}",
            "WEIR_ADMIN_LISTEN": f"127.0.0.1:{self.admin}",
            "WEIR_RTMP_LISTEN": f"127.0.0.1:{rtmp}",
            "WEIR_INGEST_HOST": f"127.0.0.1:{rtmp}",
        } | (extra or {})
        self.process = start(stack, [self.program, "serve"], folder / "server.log", environment)
        wait_until(self.is_ready, "weir is ready", 30, folder)
        create = [self.program, "channel", "create", "--json", "--type", self.channel_type]
        self.channels = [
            json.loads(output_of(*create, "--name", f"bench{n}", environment=environment)) for n in range(count)
        ]
        return [channel["ingestUrl"] for channel in self.channels]

    def is_ready(self):
        return fetch(f"http://127.0.0.1:{self.admin}/readyz") is not None

    def live(self):
        listed = fetch(f"http://127.0.0.1:{self.http}/v1/live") or '{"channels": []}'
        return sum(channel["state"] == "LIVE" for channel in json.loads(listed)["channels"])

    def pids(self):
        return [self.process.pid]

    def metrics(self):
        return fetch(f"http://127.0.0.1:{self.admin}/metrics") or ""

    def delays(self, metric):
        """A delay histogram so far, over all its labels: upper bound in seconds -> parts up to it."""
        buckets = {}
        for of_labels in self.delays_by_label(metric).values():
            for bound, count in of_labels.items():
                buckets[bound] = buckets.get(bound, 0) + count
        return buckets

    def delays_by_label(self, metric):
        """The same for each set of labels, written as in the metrics."""
        found = {}
        for labels, count in re.findall(rf"^{metric}_bucket{{(.*)}} (\S+)$", self.metrics(), re.MULTILINE):
            bound = float(re.search(r'le="([^"]+)"', labels)[1])
            others = ",".join(label for label in re.findall(r'\w+="[^"]*"', labels) if not label.startswith("le="))
            found.setdefault(others, {})[bound] = float(count)
        return found


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


def push_command(clip, urls):
    """One ffmpeg that sends `clip` in real time and without encoding, to several streams."""
    command = ["ffmpeg", "-nostdin", "-loglevel", "warning", "-re", "-i", clip]
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
def temporary_folder(room):
    """In memory where there are `room` bytes, else on disk."""
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
    sys.exit(f"benches: {message}")


def worker_pids(process):
    """nginx's master and its workers."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [process.pid, *map(int, children.split())]


def nginx_program():
    return shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")


def nginx_version():
    return subprocess.run([nginx_program(), "-v"], capture_output=True, text=True, check=True).stderr.strip()


def output_of(*command, environment=None):
    done = subprocess.run(list(map(str, command)), env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"benches: {' '.join(map(str, command))}: {done.stderr or done.stdout}")
    return done.stdout.strip()
