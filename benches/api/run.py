#!/usr/bin/env python3
"""What a request to the IVS API costs, on SQLite and on PostgreSQL.

In:  the release program; PostgreSQL from its packages.
Out: GetChannel and CreateChannel per CPU-second of Weir, and of PostgreSQL beside it; p50 and p99 of an answer's time, which is
     the machine's and the disk's as much as Weir's.
How: signed requests over one connection that is kept open, one after the other, with quotas and rates out of the way; the
     processes are read from /proc before and after. The client's own cost does not count.
All traffic stays on 127.0.0.1; only processes started here are stopped.
"""

import argparse
import contextlib
import datetime
import hashlib
import hmac
import http.client
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness import Weir, cpu_seconds, fail, free_port, is_open, start, temporary_folder, wait_until

KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
ROOM = 2**28
WARM_UP = 200


class Client:
    """Signs and sends, and knows how long each answer took."""

    def __init__(self, port):
        self.host = f"127.0.0.1:{port}"
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def call(self, operation, members):
        body = json.dumps(members).encode()
        date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{date[:8]}/us-east-1/ivs/aws4_request"
        canonical = (f"POST\n/{operation}\n\ncontent-type:application/json\nhost:{self.host}\nx-amz-date:{date}\n\n"
                     f"content-type;host;x-amz-date\n{hashlib.sha256(body).hexdigest()}")
        key = f"AWS4{SECRET}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        began = time.monotonic()
        self.connection.request("POST", f"/{operation}", body, {
            "Content-Type": "application/json",
            "X-Amz-Date": date,
            "Authorization": f"AWS4-HMAC-SHA256 Credential={KEY}/{scope}, "
                             f"SignedHeaders=content-type;host;x-amz-date, Signature={signature}",
        })
        response = self.connection.getresponse()
        answer = response.read()
        if response.status != 200:
            sys.exit(f"benches: {operation}: {response.status} {answer.decode()}")
        return time.monotonic() - began, json.loads(answer)


class Sqlite:
    name = "SQLite"
    settings = {}

    def start(self, stack, folder):
        return self

    def pids(self):
        return []


class Postgres:
    name = "PostgreSQL"

    def start(self, stack, folder):
        """A cluster of its own, as its packages set it up; as root it runs as the user `postgres`."""
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        if not programs:
            sys.exit("benches: PostgreSQL is not installed: make setup-bench")
        self.cluster, port = folder / "cluster", free_port()
        self.cluster.mkdir(mode=0o700)
        as_user = []
        if os.geteuid() == 0:
            os.chmod(folder, 0o711)
            shutil.chown(self.cluster, "postgres")
            as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
        initdb = [*as_user, programs[-1] / "initdb", "-D", self.cluster, "-U", "weir", "-A", "trust", "-E", "UTF8"]
        subprocess.run(list(map(str, initdb)), check=True, stdout=subprocess.DEVNULL, cwd="/")
        options = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": ""}
        options = [f"--{name}={value}" for name, value in options.items()]
        start(stack, [*as_user, programs[-1] / "postgres", "-D", self.cluster, *options], folder / "postgres.log")
        wait_until(lambda: is_open(port), "PostgreSQL is there", 30, folder)
        self.settings = {"WEIR_DATABASE_URL": f"postgres://weir@127.0.0.1:{port}/postgres"}
        return self

    def pids(self):
        """The server and the processes that it began."""
        leader = int((self.cluster / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{leader}/task/{leader}/children").read_text()
        return [leader, *map(int, children.split())]


def main():
    options = parse_arguments()
    print(f"{'database':<12}{'operation':<16}{'per CPU-s of weir':>18}{'of the database':>17}{'p50 / p99 ms':>15}")
    for database in (Sqlite(), Postgres()):
        with temporary_folder(ROOM) as room, contextlib.ExitStack() as stack:
            database.start(stack, room)
            weir = Weir(options.weir, "STANDARD")
            weir.start(stack, room, 0, database.settings | {
                "WEIR_ROOT_ACCESS_KEY_ID": KEY,
                "WEIR_ROOT_SECRET_ACCESS_KEY": SECRET,
                "WEIR__API__RATE_FACTOR": "1000000",
                "WEIR__API__MAX_CHANNELS": "1000000",
            })
            client = Client(weir.http)
            _, made = client.call("CreateChannel", {})
            for operation, members in (("GetChannel", {"arn": made["channel"]["arn"]}), ("CreateChannel", {"name": "bench"})):
                for _ in range(WARM_UP):
                    client.call(operation, members)
                # The same connections to the database serve all of it.
                own, others = weir.pids(), database.pids()
                before = cpu_seconds(own), cpu_seconds(others)
                times = sorted(client.call(operation, members)[0] for _ in range(options.requests))
                used = cpu_seconds(own) - before[0], cpu_seconds(others) - before[1]
                if used[0] <= 0:
                    fail("too few requests to measure", room)
                of_database = f"{options.requests / used[1]:.0f}" if used[1] > 0 else "-"
                p50, p99 = (1000 * times[int(q * (len(times) - 1))] for q in (0.5, 0.99))
                print(f"{database.name:<12}{operation:<16}{options.requests / used[0]:>18.0f}{of_database:>17}"
                      f"{f'{p50:.2f} / {p99:.2f}':>15}")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weir", default="target/release/weir", type=Path, help="the release program")
    parser.add_argument("--requests", default=5000, type=int, help="of each operation")
    return parser.parse_args()


if __name__ == "__main__":
    main()
