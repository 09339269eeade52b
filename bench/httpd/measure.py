# SPDX-License-Identifier: Apache-2.0
"""Measurements of one server: a load generator's figures, CPU time, context switches, memory.

Used by scenarios.py. Servers are those of servers.py.
"""

import re
import resource
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from harness import procs

UNITS = {"us": 1, "ms": 1e3, "s": 1e6, "m": 60e6}  # microseconds
LOOK, STILL = 0.1, 10  # seconds; this many equal readings in a row
CPUCLOCK_SCHED = 2  # part of a process's clock id: CPU time, user and system, of all its threads


@dataclass
class Load:
    """The figures of a load generator."""

    requests: int   # answered
    seconds: float
    failed: int     # connection errors, timeouts, answers other than 2xx and 3xx
    p50_us: float
    p99_us: float


def microseconds(text):
    """Converts "1.23ms" to microseconds."""
    amount, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(amount) * UNITS[unit]


def _run(command, seconds):
    run = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False,
                         timeout=seconds + 20)
    if run.returncode:
        raise RuntimeError(f"{command[0]}: {(run.stderr or run.stdout).strip()[-300:]}")
    return run.stdout


def wrk(url, seconds, clients, headers=()):
    """Runs wrk with two threads, so that it is not limited to one CPU."""
    options = [part for header in headers for part in ("-H", header)]
    text = _run(["wrk", "--latency", f"-c{clients}", f"-t{min(2, clients)}", f"-d{seconds}s",
                 *options, url], seconds)
    done, took, unit = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m)", text).groups()
    errors = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    other = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    failed = sum(map(int, errors.groups())) if errors else 0
    failed += int(other.group(1)) if other else 0
    p50, p99 = (microseconds(re.search(rf"{part}%\s+([\d.]+\w+)", text).group(1))
                for part in (50, 99))
    return Load(int(done), float(took) * UNITS[unit] / 1e6, failed, p50, p99)


def percentile(ordered, part):
    """The value below which `part` per cent of the sorted values lie."""
    return ordered[min(len(ordered) - 1, len(ordered) * part // 100)]


def h2load(url, seconds, clients, streams, log):
    """Runs h2load. Its log, written to `log`, has every request's status and time."""
    log.unlink(missing_ok=True)
    text = _run(["h2load", f"-c{clients}", f"-m{streams}", f"-t{min(2, clients)}", f"-D{seconds}",
                 f"--log-file={log}", url], seconds)
    done, failed, errored, timeout = map(int, re.search(
        r"requests:.* (\d+) done, \d+ succeeded, (\d+) failed, (\d+) errored, (\d+) timeout",
        text).groups())
    took, unit = re.search(r"finished in ([\d.]+)(ms|s|m)", text).groups()
    times = sorted(int(line.split()[2]) for line in log.read_text().splitlines())
    if not times:
        raise RuntimeError(f"h2load: no request was answered ({errored} errors)")
    bad = failed + errored + timeout
    return Load(done, float(took) * UNITS[unit] / 1e6, bad, percentile(times, 50),
                percentile(times, 99))


def cpu_time(pid):
    """CPU seconds, user and system, of a process so far; exact, whereas /proc rounds to 10 ms."""
    try:
        return time.clock_gettime(~pid << 3 | CPUCLOCK_SCHED)
    except OSError:
        return 0.0


def reaped_cpu_time(pid):
    """CPU seconds of the finished children of a process."""
    text = Path(f"/proc/{pid}/stat").read_text()
    fields = text[text.rindex(")") + 2:].split()
    return (int(fields[13]) + int(fields[14])) / procs.TICK


def server_cpu(server):
    """CPU seconds of all of a server's processes, including the master and finished children."""
    return sum(map(cpu_time, server.running())) + reaped_cpu_time(server.master)


def voluntary_switches(server):
    """Voluntary context switches of all kernel threads of a server so far."""
    total = 0
    for pid in server.running():
        for status in Path(f"/proc/{pid}/task").glob("*/status"):
            found = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status.read_text(), re.M)
            total += int(found.group(1))
    return total


def kernel_threads(server):
    """Kernel threads of all processes of a server."""
    return sum(procs.stat(pid).threads for pid in server.running())


def memory(server):
    """PSS of all processes of a server, bytes."""
    return sum(procs.pss(pid) for pid in server.running())


def settled(count, most, looks=100):
    """Waits until count() is `most`, or stops growing; returns it."""
    seen = []
    while len(seen) < looks and max(seen, default=0) < most:
        seen.append(count())
        if seen[-1] > 0 and len(seen) > STILL and seen[-STILL - 1:] == seen[-1:] * (STILL + 1):
            break
        time.sleep(LOOK)
    return seen[-1]


def client_cpu():
    """CPU seconds of the load generators that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def under_load(server, load):
    """Runs `load()` and relates the server's CPU time and switches to its requests."""
    switches = voluntary_switches(server)
    cpu, clients = server_cpu(server), client_cpu()
    got = load()
    cpu, clients = server_cpu(server) - cpu, client_cpu() - clients
    switches = voluntary_switches(server) - switches
    return {
        "requests/s": got.requests / got.seconds,
        "CPU us/request": cpu * 1e6 / got.requests,
        "switches/request": switches / got.requests,
        "p50 us": got.p50_us,
        "p99 us": got.p99_us,
        "client CPUs": clients / got.seconds,
        "failed": got.failed,
    }
