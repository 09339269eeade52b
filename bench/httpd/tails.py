# SPDX-License-Identifier: Apache-2.0
"""The scenarios of tails and fairness: a closed system, in which each of many clients always has
one request for a small file outstanding. How long do the slowest requests take, and does each
connection, and each process of the server, get its share?
"""

import time
from collections import Counter, defaultdict
from contextlib import ExitStack
from pathlib import Path

from harness import procs
from harness.drive import Closed

from .measure import cpu_time, server_cpu
from .scenario import Scenario, Target
from .servers import Need

PATH = "/45.txt"
GENERATORS = 2      # so that the load is not limited to one CPU
BATCH = 64          # connections being opened at the same time
CLIENTS = (64, 1_000, 10_000)
ROUNDS = {10_000: 3}


def at(times, part):
    """The time below which `part` of 1 of the requests lie; times: {us: how many}."""
    left = part * sum(times.values())
    for us in sorted(times):
        left -= times[us]
        if left <= 0:
            return us
    return 0


def jain(values):
    """Jain's index: 1 if all are equal, 1/n if one has everything."""
    values = list(values)
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 0.0


def least(values):
    """The smallest, relative to the largest."""
    return min(values) / max(1, *values) if values else 0.0


def _peer(text):
    """"0100007F:1F90", as the kernel shows an IPv4 address, in the usual form."""
    address, port = text.split(":")
    return ".".join(str(byte) for byte in bytes.fromhex(address)[::-1]) + f":{int(port, 16)}"


def owners(server):
    """{client's "address:port": pid of the process that has the connection}."""
    clients = {}
    for row in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = row.split()
        if int(fields[1].split(":")[1], 16) == server.port:
            clients[f"socket:[{fields[9]}]"] = _peer(fields[2])
    found = {}
    for pid in server.children():
        for target in procs.fds(pid).values():
            if target in clients:
                found[clients[target]] = pid
    return found


def shares(answers, owner):
    """Fairness: {figure: value}, from answers by connection and the connections' processes."""
    by_process = defaultdict(list)
    for client, count in answers.items():
        if client in owner:  # otherwise it was closed at the end
            by_process[owner[client]].append(count)
    groups = list(by_process.values())
    return {
        "least/most, connections": min(map(least, groups), default=0.0),
        "Jain, connections": min(map(jain, groups), default=0.0),
        "least/most, processes": least([sum(group) for group in groups]),
        "connections, least/most": least([len(group) for group in groups]),
    }


def run_all(generators, seconds):
    """One run of all generators: answers per second, failed requests, times."""
    times, rate, failed = Counter(), 0.0, 0
    for each in generators:
        each.start(seconds * 1000)
    for each in generators:
        got = each.finish()
        rate += got.answered * 1e6 / got.us
        failed += got.failed
    for each in generators:
        times.update(each.times())
    return rate, failed, times


def tails(count):
    """Percentiles of the time to the answer, and fairness, with `count` clients."""
    def measure(server, run):
        with ExitStack() as stack:
            generators = [stack.enter_context(Closed(server.port, PATH, BATCH))
                          for _ in range(GENERATORS)]
            opened = [each.open(count // GENERATORS) for each in generators]
            run_all(generators, run.warm_up)
            pids = [each.pid for each in generators]
            cpu, clients, start = server_cpu(server), sum(map(cpu_time, pids)), time.monotonic()
            rate, failed, times = run_all(generators, run.seconds)
            took = time.monotonic() - start
            cpu, clients = server_cpu(server) - cpu, sum(map(cpu_time, pids)) - clients
            answers = {}
            for each in generators:
                answers.update(each.each())
            fair = shares(answers, owners(server))
        return {"requests/s": rate, "CPU us/request": cpu * 1e6 / max(1, sum(times.values())),
                "p50 us": at(times, 0.5), "p99 us": at(times, 0.99), "p99.9 us": at(times, 0.999),
                "longest us": max(times, default=0), **fair, "client CPUs": clients / took,
                "failed": failed + sum(each.failed for each in opened)}
    return measure


def scene(count, threads):
    """One of the scenarios. threads: those of event."""
    why = "is not compared here"
    targets = [Target("failed", at_most=0)]
    targets += [Target(figure, "nginx", at_most=1) for figure in ("p99 us", "p99.9 us")]
    return Scenario(f"tails-{count}", f"45-byte file, {count:,} clients: tails and fairness",
                    tails(count), Need(count, threads), targets, rounds=ROUNDS.get(count, 0),
                    about=6 if count < 10_000 else 14, without={"worker": why, "prefork": why})


def scenes(threads):
    """All of them; threads(count): how many event needs."""
    return [scene(count, threads(count)) for count in CLIENTS]
