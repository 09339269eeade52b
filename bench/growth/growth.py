# SPDX-License-Identifier: Apache-2.0
"""How the costs of stm grow with idle connections, with requests in flight, and with VPs. Run by
`make bench-growth`. Memory and system calls are counts; CPU time is the least of several rounds.
"""

import argparse
import re
import signal
import time
from contextlib import ExitStack
from pathlib import Path

from bench.httpd.machine import describe
from bench.httpd.measure import kernel_threads, memory, server_cpu
from bench.httpd.report import machine_text, table
from bench.httpd.servers import Need, make
from harness import procs, progress, wait_for
from harness.drive import Conns, SlowBackend
from harness.strace import calls_of

PATH = "/45.txt"
CONNECTIONS = "1,10,100,1000,10000,100000"
IN_FLIGHT = "1,10,100,1000,3000"  # MaxThreads is 4096
VPS = "1,2,4,8,16,32,64"
HOSTS = 8          # VPs that share the connections: none has more than its limit of open files
A_CLIENT = 15_000  # connections of a load generator, for the same reason
PROBES = 160       # connections whose requests are counted
ROUNDS = 5         # of which the cheapest counts
ASLEEP = 5         # seconds after which idle connections sleep
WATCHED = 3        # seconds for which nothing happens
SOURCES = 16       # loopback addresses that connections come from
# Under strace, or on a busy machine, any handler may seem to hold up its VP.
NO_MOVES = "KernelThreads 0\nStallWarning 0\n"


def server_of(vps, clients, backend=0):
    """A started stm server with so many VPs."""
    need = Need(clients, processes=vps, backend=backend, more=NO_MOVES)
    server = make("stm", f"growth-{vps}", need)
    server.page(PATH[1:], "x" * 44 + "\n")
    return server.start()


def page_tables(server):
    """Bytes of page tables of all processes."""
    return sum(int(re.search(r"VmPTE:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()).group(1))
               for pid in server.running()) * 1024


def hold(server, stack, count):
    """Opens kept connections that have had one answer each."""
    while count > 0:
        conns = stack.enter_context(Conns(server.port, path=PATH, sources=SOURCES, batch=64))
        part = min(count, A_CLIENT)
        opened = conns.open(part)
        assert opened.open == part, opened
        count -= part


def system_calls(server, act):
    """How many system calls act() takes the VPs."""
    return len(calls_of(server, act))


def cpu_us(server, act):
    """CPU time that act() takes the server, at least."""
    def once():
        before = server_cpu(server)
        act()
        return (server_cpu(server) - before) * 1e6
    return min(once() for _ in range(ROUNDS))


def requests_cost(server):
    """A kept connection's request, and a connection with one request, beside what else there is."""
    def connect():
        with Conns(server.port, path=PATH, sources=SOURCES, batch=16) as conns:
            assert conns.open(PROBES).open == PROBES
    with Conns(server.port, path=PATH, sources=SOURCES, batch=16) as conns:
        conns.open(PROBES)
        figures = {"calls/request": system_calls(server, conns.again) / PROBES,
                   "CPU us/request": cpu_us(server, conns.again) / PROBES}
    figures["calls/connection"] = system_calls(server, connect) / PROBES
    figures["CPU us/connection"] = cpu_us(server, connect) / PROBES
    return figures


def rest_cost(server):
    """What the server does each second when nothing happens."""
    def rest():
        time.sleep(WATCHED)
    return {"calls/s at rest": system_calls(server, rest) / WATCHED,
            "CPU us/s at rest": cpu_us(server, rest) / WATCHED}


def with_connections(count):
    """Idle connections in HOSTS VPs."""
    server = server_of(HOSTS, count + 2 * PROBES)
    try:
        with ExitStack() as stack:
            requests_cost(server)
            before = memory(server)
            hold(server, stack, count)
            time.sleep(ASLEEP)
            figures = {"PSS bytes/connection": (memory(server) - before) / count}
            return {**figures, **rest_cost(server), **requests_cost(server)}
    finally:
        server.stop()


def in_flight(count):
    """Requests that a backend has not answered, in one VP."""
    with SlowBackend() as backend:
        server = server_of(1, count + 2 * PROBES, backend.port)
        try:
            requests_cost(server)
            before, tables = memory(server), page_tables(server)
            with Conns(server.port, path="/proxy/65000", sources=SOURCES, batch=64) as conns:
                conns.send(count)
                wait_for(lambda: backend.held() == count, "all requests", 60)
                time.sleep(ASLEEP)
                figures = {"PSS bytes/request": (memory(server) - before) / count,
                           "page tables/request": (page_tables(server) - tables) / count}
                figures.update(rest_cost(server))
                figures.update(requests_cost(server))
            backend.close()
            return figures
        finally:
            server.kill()


def with_vps(count):
    """An empty server with so many VPs."""
    start = time.monotonic()
    server = server_of(count, 2 * PROBES)
    try:
        took = time.monotonic() - start
        requests_cost(server)
        pids = server.running()
        return {"start s": took, "PSS MB": memory(server) / 1e6,
                "of these the master": procs.pss(server.master) / 1e6,
                "PSS MB/VP": (memory(server) - procs.pss(server.master)) / 1e6 / count,
                "kernel threads": kernel_threads(server), "processes": len(pids),
                **rest_cost(server), **requests_cost(server)}
    finally:
        server.stop()


INTRO = """\
<!-- SPDX-License-Identifier: Apache-2.0 -->
<!-- Written by `make bench-growth`. -->
# How costs grow

{machine}

A column for each size. PSS is the growth of all processes since before, divided by the number;
page tables are not in it. Calls are system calls, counted by strace. CPU time is the server's, the
least of {rounds} rounds; on a busy machine only great differences mean something. "Request" is one
on each of {probes} kept connections, "connection" one with a single request, both beside what the
column is about; "at rest" is when nothing happens, per second, for all VPs together. Calls of
requests include those that all VPs make at rest meanwhile, and under strace a round takes seconds:
with many VPs, most of them are these. What the terms are: [growth](../internals/growth.md).
"""

CURVES = {
    "connections": (f"Idle connections, in {HOSTS} VPs", with_connections, CONNECTIONS),
    "in_flight": ("Requests in flight, in one VP", in_flight, IN_FLIGHT),
    "vps": ("VPs without connections", with_vps, VPS),
}


def shown(value):
    """A figure, with one decimal where that says something."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:,.1f}"


def curve_text(title, points):
    """One curve as a table: a column for each point."""
    counts = list(points)
    rows = [[figure, *(shown(points[count][figure]) for count in counts)]
            for figure in points[counts[0]]]
    return f"## {title}\n\n" + table(["", *(f"{count:,}" for count in counts)], rows) + "\n"


def numbers(text):
    """A list of numbers; empty for none."""
    return [int(part) for part in text.split(",") if part]


def main():
    """Measures, writes, prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, (_, _, points) in CURVES.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=numbers, default=numbers(points))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    procs.adopt_orphans()
    procs.raise_file_limit()
    parts = []
    for name, (title, measure, _) in CURVES.items():
        points = {count: measure(count) for count in progress.steps(getattr(options, name))}
        if points:
            parts.append(curve_text(title, points))
            print(parts[-1], flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    intro = INTRO.format(machine=machine_text(describe()), rounds=ROUNDS, probes=PROBES)
    options.out.write_text("\n".join([intro, *parts]))


if __name__ == "__main__":
    main()
