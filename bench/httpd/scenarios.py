# SPDX-License-Identifier: Apache-2.0
"""The comparison's table: what is measured, and the one configuration that every MPM gets.

To add a scenario: a Scenario in SCENARIOS. Its `measure(server, seconds)` returns figures by name;
compare.py takes medians over the rounds and prints ratios to the reference server.
"""

from collections.abc import Callable
from dataclasses import dataclass

from harness.drive import Conns
from measure import memory, under_load, wrk

WARM_UP = 1  # seconds
IDLE = 10_000

DIRECTIVES = """
LogLevel warn
LogFormat "%h %l %u %t \\"%r\\" %>s %b" test
KeepAliveTimeout 120
"""


@dataclass
class Scenario:
    """One row family of the result."""

    name: str
    title: str
    measure: Callable
    directives: str = ""
    threads: int = 64      # a process's threads, for every MPM
    rounds: int = 0        # how many rounds at most; 0: as many as asked for


def static(path, clients, headers=()):
    """Requests for one file, from `clients` clients."""
    def measure(server, seconds):
        url = f"http://127.0.0.1:{server.port}{path}"
        wrk(url, WARM_UP, clients, headers=headers)
        return under_load(server, lambda: wrk(url, seconds, clients, headers=headers))
    return measure


def idle(count):
    """What `count` keep-alive connections that do nothing cost."""
    def measure(server, _seconds):
        with Conns(server.port, path="/45.txt", sources=8, batch=32) as warm:
            warm.open(200)
        with Conns(server.port, path="/45.txt", sources=8, batch=32) as conns:
            before = memory(server)
            opened = conns.open(count)
            used = memory(server) - before
        return {"PSS bytes/connection": used / count, "failed": count - opened.open}
    return measure


SCENARIOS = [
    Scenario("small", "45-byte file, keep-alive, 64 clients", static("/45.txt", 64)),
    Scenario("idle", f"{IDLE:,} idle keep-alive connections", idle(IDLE), rounds=3,
             directives="AsyncRequestWorkerFactor 400\n"),
]


def prepare(server):
    """Puts the files that the scenarios ask for under the document root."""
    server.page("45.txt", "x" * 44 + "\n")
