# SPDX-License-Identifier: Apache-2.0
"""Measurements of one server: a load generator's figures, CPU time, context switches, memory.

Used by scenarios.py. Servers are the live tests' (tests/live/harness).
"""

import re
import subprocess
from collections import namedtuple
from pathlib import Path

from harness import procs

Load = namedtuple("Load", "requests seconds failed p99_us")

UNITS = {"us": 1, "ms": 1e3, "s": 1e6, "m": 60e6}  # microseconds


def microseconds(text):
    """What "1.23ms" is in microseconds."""
    amount, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(amount) * UNITS[unit]


def wrk(url, seconds, clients, threads=1, headers=()):
    """Runs wrk. Failed are connection errors, timeouts and answers other than 2xx and 3xx."""
    options = [part for header in headers for part in ("-H", header)]
    run = subprocess.run(["wrk", "--latency", f"-c{clients}", f"-t{threads}", f"-d{seconds}s",
                          *options, url], capture_output=True, text=True, check=True,
                         timeout=seconds + 60)
    done, took, unit = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m)", run.stdout).groups()
    errors = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", run.stdout)
    other = re.search(r"Non-2xx or 3xx responses: (\d+)", run.stdout)
    failed = sum(map(int, errors.groups())) if errors else 0
    failed += int(other.group(1)) if other else 0
    p99 = re.search(r"99%\s+([\d.]+\w+)", run.stdout).group(1)
    return Load(int(done), float(took) * UNITS[unit] / 1e6, failed, microseconds(p99))


def voluntary_switches(pids):
    """Voluntary context switches of all kernel threads of `pids` so far."""
    total = 0
    for pid in pids:
        for status in Path(f"/proc/{pid}/task").glob("*/status"):
            found = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status.read_text(), re.M)
            total += int(found.group(1))
    return total


def memory(server):
    """PSS of all processes of a server, bytes."""
    return sum(procs.pss(pid) for pid in server.running())


def under_load(server, load):
    """Runs `load()`, and puts the server's CPU time and switches in relation to its requests."""
    cpu, switches = server.cpu(), voluntary_switches(server.running())
    got = load()
    cpu = server.cpu() - cpu
    switches = voluntary_switches(server.running()) - switches
    return {
        "requests/s": got.requests / got.seconds,
        "CPU us/request": cpu * 1e6 / got.requests,
        "switches/request": switches / got.requests,
        "p99 us": got.p99_us,
        "failed": got.failed,
    }
